"""Sources that give images one after another: a `tf.data.Dataset`, a Keras `PyDataset`, a Grain dataset, any other iterable.

What each can do is brought to one form here, `Source`; and each element that they give, to a batch of images and integer labels.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.data.labels import is_one_hot
from keras_resnet.errors import InputError
from keras_resnet.lazy_tensorflow import Batches

ENDLESS = sys.maxsize  # Grain's length of a set that repeats for ever
KEYS = ("image", "label")  # of an element that is a dictionary, as TensorFlow Datasets gives it
Arrays = tuple[np.ndarray, np.ndarray]  # images (number, ..., channels) and labels (number,)
EXPECTED = "a source gives (image, label) pairs, one at a time or batched"


@dataclass(frozen=True)
class Source:
    """Elements, each one example or a batch of them, in passes."""

    one_pass: Callable[[], Iterator[Any]]
    """The elements of a pass, as arrays."""
    length: int | None
    """Elements in a pass; `ENDLESS`, or None where it is not known."""
    once: bool = False
    """Whether the second pass goes on where the first stopped: an iterator, such as a generator."""
    item: Callable[[int], Any] | None = None
    """The element of that number, counted through all passes, where a pass can begin anywhere."""
    workers: int = 1
    """Elements to prepare at the same time, by `item`."""
    graph: Batches | None = None
    """The `tf.data.Dataset` itself, if it is one."""

    def from_element(self, first: int) -> Iterator[Any]:
        """Pass after pass without an end, from element number `first` on, where the elements before it need not be made.

        A source without an end, and one that is read once, goes on where it is. InputError where it gives nothing more.
        """
        if self.item:
            yield from map(self.item, count(first))
        elif self.length and not self.once and (start := first % self.length):
            yield from islice(self.one_pass(), start, None)
        while True:
            is_empty = True
            for element in self.one_pass():
                is_empty = False
                yield element
            if is_empty:
                raise InputError("the source ended: a generator can be read once; give a function that returns a new one")


def is_source(source: Any) -> bool:
    """Whether it gives images one after another, and is neither a path nor arrays nor several sources."""
    if isinstance(source, str | bytes | Path | Mapping | tuple | list) or hasattr(source, "__array__"):
        return False
    return callable(source) or hasattr(source, "__iter__") or (hasattr(source, "__len__") and hasattr(source, "__getitem__"))


def opened(source: Any) -> Source:
    """The one form of all kinds of source."""
    if hasattr(source, "element_spec") and hasattr(source, "cardinality"):
        count = int(source.cardinality())
        return Source(source.as_numpy_iterator, {-1: ENDLESS, -2: None}.get(count, count), graph=source)
    if hasattr(source, "num_batches") and hasattr(source, "on_epoch_end"):  # a PyDataset
        return _by_number(source, source.num_batches, getattr(source, "workers", 1))
    if hasattr(source, "__len__") and hasattr(source, "__getitem__"):  # Grain's MapDataset, a data set of PyTorch
        return _by_number(source, min(len(source), ENDLESS))
    if callable(source):
        return Source(lambda: iter(source()), None)
    length = len(source) if hasattr(source, "__len__") else None
    return Source(lambda: iter(source), length, once=hasattr(source, "__next__"))


def _by_number(source: Any, length: int | None, workers: int = 1) -> Source:
    length = ENDLESS if length is None else length

    def item(number: int) -> Any:
        if number and number % length == 0 and hasattr(source, "on_epoch_end"):
            source.on_epoch_end()
        return source[number % length]

    return Source(lambda: map(item, range(length)), length, item=item, workers=workers)


def pair_of(element: Any) -> tuple[Any, Any]:
    """Image and label of an element. InputError if it is something else."""
    if isinstance(element, Mapping) and set(KEYS) <= set(element):
        return element[KEYS[0]], element[KEYS[1]]
    if isinstance(element, tuple | list) and len(element) == 2:
        return element[0], element[1]
    kind = f"{len(element)} parts" if isinstance(element, tuple | list | Mapping) else type(element).__name__
    hint = "; for class weights set class_weight in the recipe" if kind == "3 parts" else ""
    raise InputError(f"{EXPECTED}, or dictionaries of {' and '.join(map(repr, KEYS))}; this one gives {kind}{hint}")


def batch_of(element: Any) -> Arrays:
    """An element as images (number, ..., channels) and integer labels (number,); a single example has the number 1.

    Labels (number,) or one-hot (number, classes), of any real type. It is a batch if images and labels are equally many; but one
    image, if the label is one-hot in floats and as long as the image is high. InputError for labels that are shares of classes.
    """
    images, labels = (np.asarray(part) for part in pair_of(element))
    may_be_one_label = labels.ndim == 1 and images.ndim == 3 and labels.dtype.kind in "fb"
    if labels.ndim == 0 or (labels.ndim == 1 and (len(labels) != len(images) or (may_be_one_label and is_one_hot(labels[None])))):
        images, labels = images[None], labels[None]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        if not is_one_hot(labels):
            raise InputError(
                "labels (number, classes) must be one-hot, not shares of several classes: leave MixUp and CutMix out of "
                "the source, and set mixup and cutmix in the recipe"
            )
        labels = labels.argmax(1)
    if labels.shape != images.shape[:1]:
        raise InputError(f"{EXPECTED}; this one gives images {images.shape} with labels {labels.shape}")
    if labels.dtype.kind in "fb" and np.all(labels == np.floor(labels)):
        labels = labels.astype(np.int32)
    return images, labels


def classes_in(element: Any) -> int | None:
    """The number of classes that a one-hot label of an element tells; None of integer labels."""
    labels = np.asarray(pair_of(element)[1])
    is_wide = labels.ndim == 2 and labels.shape[1] > 1
    is_single = labels.ndim == 1 and len(batch_of(element)[1]) == 1 and len(labels) > 1
    return labels.shape[-1] if is_wide or is_single else None


def examples_from(source: Source, first: int, image_shape: tuple[int, ...], dtype: str) -> Batches:
    """Single examples, (image, label), without an end, from element number `first` on, as a `tf.data.Dataset`."""
    checked, types = partial(_checked, image_shape=image_shape, dtype=dtype), [dtype, tf.int32]

    def shaped(images: Any, labels: Any) -> tuple[Any, Any]:
        return tf.ensure_shape(images, (None, *image_shape)), tf.ensure_shape(labels, (None,))

    if source.graph is not None:
        pairs = _pairs_from(source.graph, 0 if source.length in (None, ENDLESS) else first % source.length)
        batches = pairs.map(lambda *pair: tf.numpy_function(lambda *arrays: checked(arrays), pair, types))
    elif source.item and source.workers > 1:
        item, numbers = source.item, tf.data.Dataset.range(first, ENDLESS)
        one = partial(tf.numpy_function, lambda number: checked(item(int(number))), Tout=types)
        batches = numbers.map(lambda number: one([number]), num_parallel_calls=source.workers)
    else:
        signature = (tf.TensorSpec((None, *image_shape), dtype), tf.TensorSpec((None,), tf.int32))
        batches = tf.data.Dataset.from_generator(lambda: map(checked, source.from_element(first)), output_signature=signature)
    return batches.map(shaped).unbatch()


def _pairs_from(elements: Batches, start: int) -> Batches:
    """Images and labels of a `tf.data.Dataset`, without an end, from its element number `start` on."""
    endless = elements.skip(start).concatenate(elements.repeat())
    return endless.map(lambda *element: pair_of(element[0] if len(element) == 1 else element))


def _checked(element: Any, *, image_shape: tuple[int, ...], dtype: str) -> Arrays:
    """An element as `batch_of` gives it, of the form that the first ones have. InputError if it has another."""
    images, labels = batch_of(element)
    if images.shape[1:] != image_shape:
        raise other_shape(image_shape, images.shape[1:])
    return images.astype(dtype, copy=False), labels.astype(np.int32)


def other_shape(expected: tuple[int, ...], received: tuple[int, ...]) -> InputError:
    """The error for an image that is not of the shape of those before it."""
    return InputError(f"images of one shape are needed, received {expected} and {received}: resize them in the source")
