"""Sets from sources that give images one after another, see `sources`: read into memory where they fit, else a `Stream`.

Every finite source of up to 4 GiB of pixels that gives the same images in each pass is read into memory. The order is then a
function of the seed, and resuming is exact, bit for bit. Larger and endless sources, and those with random augmentation of their
own, are read again in every epoch, in their own order.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.data.arrays import check_names, from_arrays
from keras_resnet.data.dataset import BATCH_SIZE, SPLITS, Dataset, Split
from keras_resnet.data.folder import MEMORY
from keras_resnet.data.pipelines import without_autotune
from keras_resnet.data.sources import ENDLESS, Arrays, Source, batch_of, classes_in, examples_from, is_source, opened, other_shape
from keras_resnet.data.splits import split_by_class
from keras_resnet.errors import InputError
from keras_resnet.lazy_tensorflow import Batches
from keras_resnet.recipes.recipe import Recipe

LOG = logging.getLogger("keras_resnet")
READ_TWICE = 64  # images of a second pass that must be among those of the first
HEAD = 2048  # images of a stream that stand for all where some are looked at


@dataclass(frozen=True, repr=False)
class Stream(Dataset):
    """A set whose training images are read from their source in every epoch, in the order of the source.

    `splits["train"]` stands for them: its length is `images_per_epoch`, its pixels and labels are the first ones, repeated.
    """

    source: Source = field(kw_only=True)
    per_element: int = field(kw_only=True)
    """Images in an element of the source."""
    knows_all_labels: ClassVar[bool] = False
    digest: ClassVar[str] = ""  # the images may come in another order, or changed, each time

    def check(self, recipe: Recipe, parts: int = 1) -> Recipe:
        """As of every set. InputError also for weights of classes that follow from their numbers of images: those are not known."""
        if recipe.class_weight == "balanced":
            raise InputError(
                "class_weight='balanced' counts the training images of each class, which are not known of a stream: "
                'give the weights, such as {"cat": 5, "dog": 1} (on the command line cat=5,dog=1)'
            )
        return super().check(recipe, parts)

    def resume_note(self) -> str:
        """What is not exact when a training is resumed on these images."""
        if self.source.once or self.source.length in (None, ENDLESS):
            return "the source of the training images cannot be set to a position: it starts again, some images are seen more often"
        return (
            "the training images come in the order of their source: the weights are those of a training without interruption "
            "only if it gives the same images in the same order in each pass, without shuffling or random changes of its own"
        )

    @property
    def train(self) -> Batches:
        """The training images of an epoch, without augmentation."""
        return self.batches("train")

    def batches(self, split: str) -> Batches:
        """One pass over a split: (images, labels) of `batch_size`, the last batch smaller where it must be."""
        if split != "train":
            return super().batches(split)
        examples = examples_from(self.source, 0, self.image_shape, self.dtype).take(len(self.splits["train"]))
        return without_autotune(examples.batch(self.batch_size).prefetch(2))

    def _raw(self, recipe: Recipe, seed: int, start: int, first: int, size: int) -> tuple[Batches, Recipe]:
        """The source's own batches; each image comes `recipe.repeats` times."""
        element, extra = divmod(start * recipe.batch_size // recipe.repeats, self.per_element)
        examples = examples_from(self.source, element, self.image_shape, self.dtype).skip(extra)
        if recipe.repeats > 1:
            examples = examples.flat_map(lambda *pair: tf.data.Dataset.from_tensors(pair).repeat(recipe.repeats))
        batches = examples.batch(recipe.batch_size, drop_remainder=True)
        return batches.map(lambda images, labels: (images[first : first + size], labels[first : first + size])), recipe


def holds_sources(source: Any) -> bool:
    """Whether `from_sources` takes it: a source, or a dictionary or tuple of such by split."""
    if isinstance(source, Mapping | tuple | list):
        return any(map(is_source, source.values() if isinstance(source, Mapping) else source))
    return is_source(source)


def from_sources(
    sources: Any, *, class_names: list[str] | None = None, images_per_epoch: int | None = None, batch_size: int = BATCH_SIZE
) -> Dataset:
    """An image set from a source, or from several in a tuple (training, validation, test) or a dictionary by split.

    Args:
        sources: each gives (image, label) pairs, one at a time or batched: raw pixels 0..255, channels last, and labels from 0 or
            one-hot. Arrays (images, labels) may stand for a source.
        class_names: in the order of the labels; those of `sources` where it has such, as Keras's `image_dataset_from_directory`.
        images_per_epoch: images after which an epoch ends. It makes a stream of the training images; an endless source needs it,
            and one that does not fit into memory and does not know its length.
        batch_size: images in a batch of `train`, `validation` and `test`.

    A stream needs validation images; without test images half of them are for test. InputError if a source cannot be read.
    """
    parts = _parts(sources)
    class_names = class_names or getattr(parts["train"], "class_names", None)
    pairs = {name: in_memory(name, part) for name, part in parts.items() if name != "train" or not is_source(part)}
    if "train" not in pairs:
        source = opened(parts["train"])
        if class_names is None and (count := _classes(source)):
            class_names = list(map(str, range(count)))
        if images_per_epoch or not (whole := _whole(source)):
            return _stream(source, pairs, class_names, images_per_epoch or _images(source), batch_size)
        pairs["train"] = whole
    return from_arrays(pairs, class_names=class_names, batch_size=batch_size)


def _parts(sources: Any) -> dict[str, Any]:
    """The source of each split."""
    if is_source(sources):
        return {"train": sources}
    parts = dict(sources) if isinstance(sources, Mapping) else dict(zip(SPLITS, sources, strict=False))
    check_names(parts, "source")
    return parts


def in_memory(name: str, part: Any) -> Any:
    """A split in memory. InputError for a source that does not fit there."""
    if not is_source(part):
        return part
    arrays = read(opened(part))
    if arrays is None:
        raise InputError(
            f"{name}: a source without an end, or of more than {MEMORY / 2**30:g} GiB of pixels; give fewer images, by take()"
        )
    return arrays


def read(source: Source) -> Arrays | None:
    """All images and labels of a pass, in memory; None if they do not fit, or have no end.

    They are in an order of their own, that of the digests of their pixels: a source that is shuffled gives the same set again.
    """
    size = 0
    batches: list[Arrays] = []
    for element in source.one_pass():
        images, labels = batch_of(element)
        if batches and images.shape[1:] != (shape := batches[0][0].shape[1:]):
            raise other_shape(shape, images.shape[1:])
        size += images.nbytes
        if size > MEMORY or images.nbytes * (source.length or 1) > MEMORY:
            return None
        batches.append((images, labels))
    if not batches:
        raise InputError("the source gives no images")
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    order = np.lexsort((labels, digests(images)))
    return images[order], labels[order]


def digests(images: np.ndarray) -> np.ndarray:
    """A number for the pixels of each image: (images,)."""
    numbers = [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).digest() for image in images]
    return np.frombuffer(b"".join(numbers), np.uint64)


def _whole(source: Source) -> Arrays | None:
    """The training images in memory; None if they do not fit, or if a second pass gives others."""
    if source.length == ENDLESS or (arrays := read(source)) is None:
        return None
    if source.once:
        return arrays
    again = np.concatenate([images for images, _ in first_images(source, READ_TWICE)])
    if np.isin(digests(again), digests(arrays[0])).all():
        return arrays
    LOG.warning(
        "train: the source augments its images at random, so it is read again in every epoch, in its own order, and the recipe "
        "augments them too; without augmentation of its own it would be kept in memory"
    )
    return None


def first_images(source: Source, count: int) -> Iterator[Arrays]:
    """The first batches of a pass, of `count` images or a little more."""
    done = 0
    for images, labels in map(batch_of, source.one_pass()):
        yield images, labels
        if (done := done + len(images)) >= count:
            return


def _classes(source: Source) -> int | None:
    """The number of classes that one-hot labels tell. The first element of an iterator is not taken from it."""
    return None if source.once else classes_in(next(source.one_pass(), None))


def _images(source: Source) -> int:
    """The number of images in a pass of a source that is a stream. InputError if it is not known."""
    if source.length in (None, ENDLESS):
        what = "has no end" if source.length == ENDLESS else "does not fit into memory and does not know its length"
        raise InputError(f"train: the source {what}; say how long an epoch is by load(source, images_per_epoch=...)")
    return source.length * len(batch_of(next(source.one_pass()))[0])


def _stream(source: Source, pairs: dict[str, Any], class_names: list[str] | None, count: int, batch_size: int) -> Stream:
    """The set of training images from a source, and the others from memory."""
    if "validation" not in pairs:
        raise InputError(
            "a stream of training images needs validation images: give (training, validation) or {'train': ..., 'validation': ..., "
            "'test': ...}"
        )
    parts = list(first_images(source, min(count, HEAD)))
    head = tuple(np.concatenate(each) for each in zip(*parts, strict=True))
    if class_names is None:
        highest = max(int(np.asarray(labels).max()) for _, labels in [head, *pairs.values()])
        class_names = list(map(str, range(highest + 1)))
    arrays = {"test": pairs["validation"], **pairs, "train": head}
    whole = from_arrays(arrays, class_names=class_names, batch_size=batch_size, may_lack_classes=True)
    splits = whole.splits if "test" in pairs else _halved(whole.splits)
    places = np.arange(count) % len(head[0])
    shared = {each.name: getattr(whole, each.name) for each in fields(whole)}
    shared["splits"] = {**splits, "train": splits["train"].part(places)}
    return Stream(**shared, source=source, per_element=len(parts[0][0]))


def _halved(splits: dict[str, Split]) -> dict[str, Split]:
    """Half of the validation images of each class for test, where there are no others."""
    LOG.warning("the stream has no test images: half of its validation images are used for test")
    chooses, reported = split_by_class(splits["validation"].labels, 0.5)
    return {**splits, "validation": splits["validation"].part(chooses), "test": splits["validation"].part(reported)}
