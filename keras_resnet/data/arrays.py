"""Image sets from NumPy arrays, and the checks that find pixels or labels in the wrong form."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_resnet.data.dataset import BATCH_SIZE, SPLITS, Dataset, Split, complete
from keras_resnet.errors import InputError, unknown


def from_arrays(arrays: Any, *, class_names: list[str] | None = None, batch_size: int = BATCH_SIZE) -> Dataset:
    """An image set from (images, labels), or from a dictionary of those under "train", "validation" and "test".

    Without "test" the arrays under "validation" are for test, as everywhere; see `dataset.held_out`.

    Images are (number, height, width, channels), raw pixels 0..255 of any real type; labels are whole numbers (number,) from 0.
    InputError for pixels scaled to 0..1, NaN, a missing axis, labels out of range or numbers that disagree.

    >>> from_arrays((images, labels), class_names=["cat", "dog"])
    """
    parts = dict(arrays) if isinstance(arrays, Mapping) else {"train": arrays}
    for name in parts:
        if name not in SPLITS:
            raise unknown("split", name, SPLITS)
    if "train" not in parts:
        raise InputError(f"no arrays under 'train'; received {', '.join(map(repr, parts))}")
    checked = {name: _checked(name, part) for name, part in parts.items()}
    shapes = {images.shape[1:] for images, _ in checked.values()}
    if len(shapes) > 1:
        raise InputError(f"images of one shape are needed in every split, received {sorted(shapes)}")
    classes = _class_names(checked, class_names)
    floats = any(images.dtype.kind == "f" for images, _ in checked.values())
    dtype = "float32" if floats else "uint8"
    splits = {name: Split.of(images.astype(dtype, copy=False), labels) for name, (images, labels) in checked.items()}
    return Dataset(complete(splits, "arrays"), classes, shapes.pop(), dtype=dtype, batch_size=batch_size)


def _checked(name: str, part: Any) -> tuple[np.ndarray, np.ndarray]:
    try:
        images, labels = (np.asarray(array) for array in part)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected (images, labels), received {type(part).__name__}") from None
    if images.ndim != 4:
        hint = "; for grey images add the axis: images[..., None]" if images.ndim == 3 else ""
        raise InputError(f"{name}: expected images (number, height, width, channels), received shape {images.shape}{hint}")
    if images.shape[1] in (1, 3) and images.shape[3] > 4:
        hint = "np.moveaxis(images, 1, -1) turns them round"
        raise InputError(f"{name}: images of shape {images.shape} look like channels first; {hint}")
    if labels.ndim == 2 and labels.shape[1] == 1:  # as keras.datasets gives them
        labels = labels[:, 0]
    if labels.shape != images.shape[:1]:
        raise InputError(f"{name}: {len(images)} images but labels of shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise InputError(f"{name}: labels must be whole numbers, received {labels.dtype}")
    _check_pixels(name, images)
    return images, labels.astype(np.int32)


def _check_pixels(name: str, images: np.ndarray) -> None:
    if images.dtype.kind not in "iuf":
        raise InputError(f"{name}: pixels must be numbers, received {images.dtype}")
    if not images.size:
        raise InputError(f"{name}: no images")
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 255):  # false for NaN too
        raise InputError(f"{name}: pixels must be 0..255, received {low:g}..{high:g}")
    if images.dtype.kind == "f" and high <= 1:
        raise InputError(f"{name}: pixels must be 0..255, but reach only {high:g}; multiply images scaled to 0..1 by 255")


def _class_names(parts: dict[str, tuple[np.ndarray, np.ndarray]], class_names: list[str] | None) -> list[str]:
    labels = np.concatenate([labels for _, labels in parts.values()])
    if class_names is not None and not all(isinstance(name, str) and name.splitlines() == [name] for name in class_names):
        raise InputError(f"class_names must be text of one line each, received {list(class_names)}")
    classes = int(labels.max()) + 1 if class_names is None else len(class_names)
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(f"labels must be 0..{classes - 1} for {classes} classes, received {labels.min()}..{labels.max()}")
    if classes < 2:
        raise InputError("labels of at least two classes are needed, received one")
    return list(map(str, range(classes) if class_names is None else class_names))
