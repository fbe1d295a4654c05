"""`Dataset`: three splits of raw pixels and integer labels, batched by tf.data.

The order of training images depends only on (seed, epoch) and their augmentation only on (seed, step), so a run can be repeated
and resumed exactly. The other modules of this folder read the images.
"""

import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.data import digest
from keras_resnet.data.augment import augment, crop_numbers, decoded_part, decoded_whole
from keras_resnet.data.image_graph import upright_pixels
from keras_resnet.data.pipelines import without_autotune
from keras_resnet.data.random_numbers import Draws
from keras_resnet.errors import InputError, shown, unknown
from keras_resnet.lazy_tensorflow import Batches, Tensor
from keras_resnet.outside import check_class_names
from keras_resnet.recipes.recipe import Recipe

LOG = logging.getLogger("keras_resnet")
BATCH_SIZE = 128
SPLITS = ("train", "validation", "test")
NUMBERS = 2**24  # in a batch of images that no recipe decides the size of
THREADS = max(2, os.cpu_count() or 1)
SMALLEST = 4  # pixels along a side
FOR_IMAGES: dict[str, Any] = {  # fields of a recipe that change height and width, or colours, and the values that leave them alone
    "crop": 0,
    "flip": False,
    "resized_crop": None,
    "augment": "none",
    "erase": 0.0,
    "cutmix": 0.0,
    "progressive": (),
}
EVERY_EPOCH = 2**31  # a stream that no training reaches the end of


@dataclass(frozen=True)
class Split:
    """Images and labels that belong together."""

    take: Callable[[np.ndarray], np.ndarray]
    """Of indices, images (len(indices), *image_shape), from memory or files."""
    labels: np.ndarray
    encoded: Callable[[int], bytes] | None = None
    """The JPEG of an index, where images are read again each time: a random part can then be decoded without the rest."""
    decoded_in_graph: bool = False
    """Whether batches are of `encoded`, decoded by TensorFlow's threads, and not of `take`: one grey value from it at most."""
    names: Sequence[str] = ()
    """The file of each example, where it has one."""

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, images: np.ndarray, labels: np.ndarray) -> "Split":
        """A split of images in memory."""
        return cls(lambda indices: images[indices], labels)

    @classmethod
    def joined(cls, splits: Iterable["Split"]) -> "Split":
        """One split of all examples of several, in order."""
        splits = list(splits)
        where = [(split, index) for split in splits for index in range(len(split))]
        return cls(
            lambda indices: np.concatenate([where[i][0].take(np.array([where[i][1]])) for i in indices]),
            np.concatenate([split.labels for split in splits]),
            names=[split.name(place) for split in splits for place in range(len(split))],
        )

    def part(self, indices: np.ndarray) -> "Split":
        """The split of these examples only."""
        encoded = self.encoded
        return Split(
            lambda places: self.take(indices[places]),
            self.labels[indices],
            None if encoded is None else lambda place: encoded(indices[place]),
            self.decoded_in_graph,
            [self.names[place] for place in indices] if self.names else (),
        )

    def name(self, place: int) -> str:
        """The file of an example, or its number."""
        return self.names[place] if self.names else f"number {place}"


@dataclass(frozen=True)
class Dataset:
    """An image set: raw pixels 0..255, channels last, and integer labels that count into `class_names`. Of arrays also signals and
    volumes, of any values."""

    splits: dict[str, Split]
    class_names: list[str]
    image_shape: tuple[int, ...]
    dtype: str = "uint8"
    """Of the pixels: uint8, or float32 for arrays of floats."""
    batch_size: int = BATCH_SIZE
    origin: dict[str, Any] = field(default_factory=lambda: {"source": None})
    """The arguments of `load` that give this set again."""
    skipped: tuple[str, ...] = ()
    """Files and images of the source that were left out, each with the reason."""
    contents: str = ""
    """Digest of the files that the images are read from; "" for arrays."""
    knows_all_labels: ClassVar[bool] = True
    """Whether `splits` has the labels of all training images."""

    def __post_init__(self) -> None:
        check_class_names(self.class_names, shown(self.origin["source"] or "class_names"))

    def __repr__(self) -> str:
        source = shown(self.origin.get("source"))
        splits = ", ".join(f"{len(split):,} {name}" for name, split in self.splits.items())
        return f"<{type(self).__name__} {source}: {splits}; {self.image_shape} {self.dtype}, {len(self.class_names)} classes>"

    @cached_property
    def digest(self) -> str:
        """The identity of labels and images, see `digest`: that of other ones of the same number and size is another."""
        return digest.of_splits({name: self.splits[name] for name in SPLITS if name in self.splits}, self.contents)

    def resume_note(self) -> str:
        """What is not exact when a training is resumed on these images; empty except for a stream."""
        return ""

    @property
    def train(self) -> Batches:
        """One pass over the training images, in a new order each time, without augmentation. Call Keras's `fit` with
        `shuffle=False`, or it warns that it does not shuffle tf.data."""
        indices = np.arange(len(self.splits["train"]))
        return self._batched("train", tf.data.Dataset.from_tensor_slices(indices).shuffle(len(indices), seed=0))

    @property
    def validation(self) -> Batches:
        """The validation images in order."""
        return self.batches("validation")

    @property
    def test(self) -> Batches:
        """The test images in order."""
        return self.batches("test")

    def batches(self, split: str) -> Batches:
        """One pass over a split in order: (images, labels) of `batch_size`, the last batch smaller where it must be."""
        return self._batched(split, tf.data.Dataset.range(len(self.examples(split))))

    def sample_batches(self, count: int, split: str = "train") -> Iterator[np.ndarray]:
        """Batches of float32 images, at most `count` in all, drawn at random but always the same ones, without augmentation."""
        examples, size = self.examples(split), max(1, min(512, NUMBERS // math.prod(self.image_shape)))
        order = np.random.default_rng(0).permutation(len(examples))[:count]
        for start in range(0, len(order), size):
            yield examples.take(order[start : start + size]).astype("float32")

    def examples(self, split: str) -> Split:
        """The split of that name, or all of them together for "all". InputError if there is no such split."""
        if split == "all":
            return Split.joined(self.splits.values())
        if split not in self.splits:
            raise unknown("split", split, [*self.splits, "all"])
        return self.splits[split]

    def steps_per_epoch(self, batch_size: int) -> int:
        """Batches of that size after which every training image has been seen once."""
        return math.ceil(len(self.splits["train"]) / batch_size)

    def training_batches(self, recipe: Recipe, *, seed: int = 0, start: int = 0, part: int = 0, parts: int = 1) -> Batches:
        """An endless stream of full training batches, changed as `recipe` says, from step `start` on.

        Epoch follows epoch without a gap: every image comes once in each run of len(train) images (`repeats` times, or not, where
        the recipe has it), in an order that is a function of (seed, epoch), and none is dropped because the batch size does not
        divide their number. With `parts`, several machines share each batch: this one gets part number `part`, with the same
        pixels as if it were alone.
        """
        recipe = self.check(recipe, parts)
        size = recipe.batch_size // parts
        steps = recipe.epochs * self.steps_per_epoch(recipe.batch_size)
        seed_tensor = tf.constant(seed, tf.int64)
        batches, left = self._raw(recipe, seed, start, part * size, size)

        def prepare(step: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            draws = Draws(tf.stack([seed_tensor, step]), recipe.batch_size, part * size, size)
            images, labels = augment(*batch, left, draws, len(self.class_names))
            return self.resized(images, recipe.progressive, step, steps), labels

        return without_autotune(batches.enumerate(start).map(prepare, num_parallel_calls=THREADS).prefetch(2))

    def _raw(self, recipe: Recipe, seed: int, start: int, first: int, size: int) -> tuple[Batches, Recipe]:
        """An endless stream of training batches from step `start` on, of each the `size` images and labels from number `first` on;
        and what of the recipe is still to be done to them."""
        count = len(self.splits["train"])

        def order(epoch: int) -> np.ndarray:
            order = np.random.default_rng((seed, int(epoch))).permutation(count)
            return np.repeat(order, recipe.repeats)[:count]

        def one_epoch(epoch: Tensor) -> Batches:
            return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(tf.numpy_function(order, [epoch], tf.int64), [count]))

        epoch, position = divmod(start * recipe.batch_size, count)
        indices = tf.data.Dataset.range(epoch, EVERY_EPOCH).flat_map(one_epoch).skip(position)
        indices = indices.batch(recipe.batch_size, drop_remainder=True).map(lambda batch: batch[first : first + size])
        if recipe.resized_crop and self.splits["train"].encoded:
            seed_tensor = tf.constant(seed, tf.int64)
            return self._cropped(indices.enumerate(start), recipe, seed_tensor, first), replace(recipe, resized_crop=None)
        return self._fetched("train", indices, size), recipe

    def check(self, recipe: Recipe, parts: int = 1) -> Recipe:
        """`recipe`, for signals and volumes without what changes images. InputError if it cannot be carried out on these images, by
        so many devices or machines."""
        given, recipe = recipe, self.suited(recipe)
        if recipe != given:
            had = ", ".join(f"{name}={value}" for name, value in asdict(given).items() if value != getattr(recipe, name))
            LOG.warning(f"data of shape {self.image_shape} are not images: the recipe's {had} is ignored")
        if recipe.batch_size % parts:
            raise InputError(f"batch_size={recipe.batch_size} cannot be divided among {parts} devices")
        return recipe

    def suited(self, recipe: Recipe) -> Recipe:
        """`recipe`, without a word of what is left out for signals and volumes. InputError as of `check`."""
        if len(self.image_shape) != 3:
            recipe = replace(recipe, **FOR_IMAGES)
        if recipe.crop >= min(self.image_shape[:-1]):
            too_far = f"crop={recipe.crop} is too large for images of {self.image_shape}"
            raise InputError(f"{too_far}: it must be below their height and width")
        smallest = min(self.image_shape[:-1])
        if recipe.progressive and round(smallest * min(recipe.progressive)) < SMALLEST:
            few = f"fewer than {SMALLEST} pixels along a side"
            raise InputError(f"progressive={recipe.progressive}: images of {self.image_shape} would have {few}")
        return recipe

    def resized(self, images: Tensor, shares: tuple[float, ...], step: Tensor, steps: int) -> Tensor:
        """Images of the size that step number `step` of `steps` trains on: `shares` of the full one, each for an equal part."""
        if not shares:
            return images
        sides = [[max(1, round(side * share)) for side in self.image_shape[:-1]] for share in shares]
        side = tf.gather(sides, tf.minimum(step * len(shares) // steps, len(shares) - 1))
        return tf.image.resize(images, side, antialias=True)

    def sample(self, count: int, split: str = "train", seed: int = 0) -> np.ndarray:
        """`count` images of a split at random, or all of them if there are fewer."""
        examples = self.splits[split]
        return examples.take(np.random.default_rng(seed).permutation(len(examples))[:count])

    def _cropped(self, indices: Batches, recipe: Recipe, seed: Tensor, first: int) -> Batches:
        """Batches of (images, labels), each image a random part of its JPEG, which alone is decoded."""
        examples, size = self.splits["train"], indices.element_spec[1].shape[0]
        labels = tf.constant(examples.labels, tf.int32)

        def choose(step: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
            draws = Draws(tf.stack([seed, step]), recipe.batch_size, first, size, kind=1)
            return batch, crop_numbers(draws, recipe.resized_crop or 1)

        def read(index: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
            content = _content(examples, index)
            image = tf.cond(
                tf.strings.substr(content, 0, 2) == b"\xff\xd8",
                lambda: decoded_part(content, numbers, self.image_shape),
                lambda: decoded_whole(content, numbers, self.image_shape),
            )
            return image, labels[index]

        batches = indices.map(choose).unbatch().map(read, num_parallel_calls=THREADS)
        return batches.batch(size, drop_remainder=True)

    def _batched(self, split: str, indices: Batches) -> Batches:
        return without_autotune(self._fetched(split, indices.batch(self.batch_size)).prefetch(2))

    def _fetched(self, split: str, indices: Batches, batch_size: int | None = None) -> Batches:
        """Batches of indices to batches of (images, labels)."""
        examples = self.examples(split)
        labels = tf.constant(examples.labels, tf.int32)

        if examples.decoded_in_graph:

            def read(index: Tensor) -> tuple[Tensor, Tensor]:
                return upright_pixels(_content(examples, index), self.image_shape), labels[index]

            single = indices.unbatch().map(read, num_parallel_calls=THREADS)
            return single.batch(batch_size or self.batch_size, drop_remainder=bool(batch_size))

        def fetch(batch: Tensor) -> tuple[Tensor, Tensor]:
            images = tf.numpy_function(examples.take, [batch], self.dtype)
            return tf.ensure_shape(images, (batch_size, *self.image_shape)), tf.gather(labels, batch)

        return indices.map(fetch, num_parallel_calls=THREADS)


def _content(examples: Split, index: Tensor) -> Tensor:
    """The content of an image file, a scalar string."""
    return tf.ensure_shape(tf.numpy_function(examples.encoded, [index], tf.string), [])
