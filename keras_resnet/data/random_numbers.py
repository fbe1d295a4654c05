"""Random numbers for the images of a step, the same on any number of devices."""

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.lazy_tensorflow import Tensor


class Draws:
    """Random numbers of images `first` to `first + count` out of the `total` of a step; another `kind` has other ones."""

    def __init__(self, seed: Tensor, total: int, first: int, count: int, kind: int = 0) -> None:
        self.seed = tf.random.experimental.stateless_fold_in(seed, kind)
        self.total, self.first, self.count, self.number = total, first, count, 0

    def __call__(self, *shape: int, low: float = 0, high: float = 1, dtype: str = "float32") -> Tensor:
        """Uniform numbers (count, *shape) from `low` up to `high`, new ones at each call."""
        numbers = tf.random.stateless_uniform([self.total, *shape], self.next_seed(), low, high, dtype)
        return numbers[self.first : self.first + self.count]

    def next_seed(self) -> Tensor:
        """A seed that no other draw has."""
        self.number += 1
        return tf.random.experimental.stateless_fold_in(self.seed, self.number)
