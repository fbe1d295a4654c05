"""Random numbers for the images of a step, the same ones however many devices the step is divided among."""

from typing import TYPE_CHECKING

from keras_resnet.data import lazy as tf

if TYPE_CHECKING:
    from tensorflow import Tensor


class Draws:
    """Random numbers for the images of a step: drawn for all of them, and those of images `first` to `first + count` given.

    Those of another `kind` are others.
    """

    def __init__(self, seed: "Tensor", total: int, first: int, count: int, kind: int = 0) -> None:
        self.seed = tf.random.experimental.stateless_fold_in(seed, kind)
        self.total, self.first, self.count, self.number = total, first, count, 0

    def __call__(self, *shape: int, low: float = 0, high: float = 1, dtype: str = "float32") -> "Tensor":
        """Uniform numbers (count, *shape) from `low` up to `high`, new ones at each call."""
        drawn = tf.random.stateless_uniform([self.total, *shape], self.next_seed(), low, high, dtype)
        return drawn[self.first : self.first + self.count]

    def next_seed(self) -> "Tensor":
        """A seed that no other draw has."""
        self.number += 1
        return tf.random.experimental.stateless_fold_in(self.seed, self.number)
