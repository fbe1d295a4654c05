"""Sets of images, signals and volumes from NumPy arrays, and the checks that find values or labels in the wrong form."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_resnet.data.dataset import BATCH_SIZE, SPLITS, Dataset, Split
from keras_resnet.data.labels import count_from_0, is_one_hot
from keras_resnet.data.splits import complete
from keras_resnet.errors import InputError, unknown
from keras_resnet.outside import check_class_names

LOG = logging.getLogger("keras_resnet")
FORMS = (
    "images (number, height, width, channels), signals (number, length, channels) or "
    "volumes (number, depth, height, width, channels)"
)
TUPLES = {2: ("train", "test"), 3: SPLITS}  # what the pairs of keras.datasets are, by their number
LARGEST = float(np.finfo(np.float32).max)


def from_arrays(
    arrays: Any, *, class_names: list[str] | None = None, batch_size: int = BATCH_SIZE, may_lack_classes: bool = False
) -> Dataset:
    """A set from (images, labels), from ((images, labels), (images, labels)) for training and test as keras.datasets gives it, or
    from a dictionary of pairs under "train", "validation" and "test".

    Without "test" the arrays under "validation" are for test, as everywhere; see `splits.held_out`.

    Images are (number, height, width, channels), raw pixels 0..255 of any real type. Signals (number, length, channels) and volumes
    (number, depth, height, width, channels) may have any finite values; they are kept as uint8 or float32. Labels are whole numbers
    (number,) from 0 without gaps, or one-hot (number, classes); see `labels.count_from_0`. Training images of every class are
    needed, unless these are only some of all (`may_lack_classes`). InputError for pixels scaled to 0..1, NaN, a missing axis,
    labels out of range or numbers that disagree.

    >>> from_arrays((images, labels), class_names=["cat", "dog"]).image_shape
    (32, 32, 3)
    """
    parts = _parts(arrays)
    if class_names is not None:
        check_class_names(class_names, "class_names")
    values = {name: _checked_values(name, part) for name, part in parts.items()}
    shapes = {array.shape[1:] for array, _ in values.values()}
    if len(shapes) > 1:
        raise InputError(f"images of one shape are needed in every split, received {sorted(shapes)}")
    pairs = {name: _checked_labels(name, labels, len(array)) for name, (array, labels) in values.items()}
    if class_names is None and len(widths := {width for _, width in pairs.values()}) == 1 and (width := widths.pop()):
        class_names = list(map(str, range(width)))  # one-hot labels say how many there are
    every = {name: each for name, (each, _) in pairs.items()}
    labels, names = count_from_0(every, class_names, "arrays", may_lack_classes=may_lack_classes)
    shape = shapes.pop()
    dtype = _dtype([array.dtype for array, _ in values.values()], is_image=len(shape) == 3)
    splits = {name: Split.of(array.astype(dtype, copy=False), labels[name]) for name, (array, _) in values.items()}
    return Dataset(complete(splits, "arrays"), names, shape, dtype=dtype, batch_size=batch_size)


def _parts(arrays: Any) -> dict[str, Any]:
    """The pair of arrays of every split. InputError for a name that is not one's, and where there is nothing to train on."""
    if isinstance(arrays, tuple | list) and len(arrays) in TUPLES and all(map(_is_pair_of_arrays, arrays)):
        return dict(zip(TUPLES[len(arrays)], arrays, strict=True))
    parts = dict(arrays) if isinstance(arrays, Mapping) else {"train": arrays}
    check_names(parts, "arrays")
    return parts


def check_names(parts: Mapping[str, Any], what: str) -> None:
    """InputError for a name that is not a split's, and where there is nothing to train on."""
    for name in parts:
        if name not in SPLITS:
            raise unknown("split", name, SPLITS)
    if "train" not in parts:
        raise InputError(f"no {what} under 'train'; received {', '.join(map(repr, parts))}")


def _is_pair_of_arrays(part: Any) -> bool:
    return isinstance(part, tuple | list) and len(part) == 2 and getattr(part[0], "ndim", 0) >= 3


def _checked_values(name: str, part: Any) -> tuple[np.ndarray, np.ndarray]:
    """The arrays of a pair, the first of them in a form that a network can take."""
    try:
        values, labels = (np.asarray(array) for array in part)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected (images, labels), received {type(part).__name__}") from None
    if values.dtype.kind not in "iuf":
        raise InputError(f"{name}: pixels must be numbers, received {values.dtype}")
    if not values.size:
        raise InputError(f"{name}: no images")
    _check_axes(name, values)
    if values.ndim == 4:
        _check_pixels(name, values)
    elif not max(-float(values.min()), float(values.max())) <= LARGEST:  # false for NaN too
        raise InputError(f"{name}: values must be finite, received {values.min():g}..{values.max():g}")
    return values, labels


def _check_axes(name: str, values: np.ndarray) -> None:
    shape = values.shape
    if values.ndim not in (3, 4, 5):
        hint = "; for signals of one channel add the axis: signals[..., None]" if values.ndim == 2 else ""
        raise InputError(f"{name}: expected {FORMS}, received shape {shape}{hint}")
    if shape[1] in (1, 3) and shape[-1] > 4:
        raise InputError(f"{name}: arrays of shape {shape} look like channels first; convert them with np.moveaxis(images, 1, -1)")
    if values.ndim == 3 and values.dtype == np.uint8:
        remedy = "for grey images add the axis: images[..., None]; if they are signals make them floats: signals.astype('float32')"
        raise InputError(f"{name}: uint8 arrays of shape {shape} look like images without channels; {remedy}")
    if values.ndim == 3 and shape[1] == shape[2]:
        what = f"signals of length {shape[1]} with {shape[2]} channels"
        LOG.warning(f"{name}: arrays of shape {shape} are taken as {what}; for grey images add the axis: images[..., None]")


def _check_pixels(name: str, images: np.ndarray) -> None:
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 255):  # false for NaN too
        hint = "; for volumes of one channel add the axis: volumes[..., None]" if images.shape[-1] > 4 else ""
        raise InputError(f"{name}: pixels must be 0..255, received {low:g}..{high:g}{hint}")
    if high <= 1:
        remedy = "multiply images scaled to 0..1 by 255, before you convert them to integers"
        raise InputError(f"{name}: pixels must be 0..255, but the largest is {high:g}, which is black; {remedy}")


def _checked_labels(name: str, labels: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """Labels (number,) as whole numbers, and the number of classes where they were one-hot, else 0."""
    classes = 0
    if labels.ndim == 2 and labels.shape[1] == 1:  # as keras.datasets gives them
        labels = labels[:, 0]
    elif labels.ndim == 2 and len(labels) == count:
        if not is_one_hot(labels):
            raise InputError(
                f"{name}: labels of shape {labels.shape} are not one-hot: each row must have a single 1, and 0 elsewhere"
            )
        labels, classes = labels.argmax(1), labels.shape[1]
    if labels.shape != (count,):
        raise InputError(f"{name}: {count} images but labels of shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        hint = "; np.unique(labels, return_inverse=True) gives names and numbers" if labels.dtype.kind in "OUS" else ""
        raise InputError(f"{name}: labels must be whole numbers, received {labels.dtype}{hint}")
    return labels.astype(np.int64), classes


def _dtype(dtypes: list[np.dtype], *, is_image: bool) -> str:
    """uint8 where it holds every value, else float32."""
    holds = all(dtype.kind in "iu" if is_image else dtype == np.uint8 for dtype in dtypes)
    return "uint8" if holds else "float32"
