"""Labels that are numbers: which classes they count into. Records and arrays have them; folders have names."""

import logging
from collections.abc import Iterable, Mapping

import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.outside import printable

LOG = logging.getLogger("keras_resnet")
SHOWN = 8  # classes that a message names


def count_from_0(
    labels: Mapping[str, np.ndarray], class_names: list[str] | None, source: str, *, may_lack_classes: bool = False
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The labels of every part, int32 from 0, and the names of their classes, which are the labels themselves if None are given.

    Without names, labels that count from 1 are moved down by one, with a warning. A class without training images is refused, or
    where the classes have names, told in a warning; not where the labels `may_lack_classes`. InputError for labels out of range, or
    of one class.
    """
    every = np.concatenate([part for part in labels.values() if len(part)] or [np.zeros(0, int)])
    if not len(every):
        raise InputError(f"{source}: no images with labels")
    lowest, highest = int(every.min()), int(every.max())
    first = 1 if lowest == 1 and class_names is None else 0
    names = list(map(str, range(first, highest + 1))) if class_names is None else list(class_names)
    if lowest < 0 or highest - first >= len(names):
        raise InputError(f"{source}: labels must be 0..{len(names) - 1} for {len(names)} classes, received {lowest}..{highest}")
    if len(names) < 2:
        raise InputError(f"{source}: labels of at least two classes are needed, received one")
    if first:
        LOG.warning(
            f"{source}: labels count from 1 to {highest}: they are shifted to start at 0, the class names are the original ones"
        )
    moved = {name: (part - first).astype(np.int32) for name, part in labels.items()}
    if not may_lack_classes:
        _check_training_images(moved, names, source, is_named=class_names is not None)
    return moved, names


def _check_training_images(labels: Mapping[str, np.ndarray], names: list[str], source: str, *, is_named: bool) -> None:
    missing = sorted(set(range(len(names))) - set(labels["train"].tolist()))
    if not missing:
        return
    elsewhere = [part for part, each in labels.items() if np.isin(each, missing).any()]
    what = f"{source}: no training images of {len(missing)} of {len(names)} classes ({listed(names[label] for label in missing)})"
    if elsewhere and not is_named:
        raise InputError(f"{what}, but {' and '.join(elsewhere)} has some: add training images of them, or leave them out")
    if not is_named:
        raise InputError(
            f"{what}; labels must have no gaps: use np.unique(labels, return_inverse=True)[1], "
            "or give the names of all classes as class_names"
        )
    LOG.warning(what)


def listed(names: Iterable[object], shown: int = SHOWN) -> str:
    """Names in a line, of many only the first."""
    texts = list(map(printable, names))
    return ", ".join([*texts[:shown], *(["..."] if len(texts) > shown else [])])


def is_one_hot(labels: np.ndarray) -> bool:
    """Whether each row has a single 1 and is 0 elsewhere."""
    return labels.dtype.kind in "iufb" and bool(np.isin(labels, (0, 1)).all() and np.all(labels.sum(1) == 1))
