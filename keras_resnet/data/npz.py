"""Sets in an `.npz` file: the arrays of each split, as keras.datasets, MedMNIST and this package save them."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.atomic import UNREADABLE, put_in_place, scratch
from keras_resnet.data.arrays import from_arrays
from keras_resnet.data.dataset import BATCH_SIZE, Dataset
from keras_resnet.errors import InputError
from keras_resnet.startup import memory

SUFFIX = ".npz"
SPELLINGS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}
CLASSES = "class_names"


def is_npz(source: object) -> bool:
    """Whether it is the path of such a file."""
    return isinstance(source, str | Path) and Path(source).suffix == SUFFIX


def from_npz(path: str | Path, *, batch_size: int = BATCH_SIZE) -> Dataset:
    """The set of a file with `train_images` and `train_labels`, or `x_train` and `y_train`, and so on for other splits.

    "val" stands for "validation"; `class_names` may be there too. See `from_arrays`. InputError if it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no file at {str(path)!r}")
    try:
        check_memory(path)
        with np.load(path, allow_pickle=False) as file:
            parts = {split: pair for split in SPELLINGS if (pair := _pair(file, split))}
            class_names = list(map(str, file[CLASSES])) if CLASSES in file else None
            names = ", ".join(file.files)
    except InputError:
        raise
    except (*UNREADABLE, TypeError) as error:
        raise InputError(f"{str(path)!r} cannot be read, it may be damaged: {error}") from None
    if "train" not in parts:
        raise InputError(
            f"{str(path)!r} has {names or 'no arrays'}: expected train_images and train_labels, or x_train and y_train"
        )
    data = from_arrays(parts, class_names=class_names, batch_size=batch_size)
    data.origin["source"] = str(path.resolve())
    return data


def check_memory(path: Path) -> None:
    """InputError for a file of more arrays than the machine has memory: zeros take a thousandth of it in the file."""
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > (has := memory() or math.inf):
        raise InputError(f"{str(path)!r} has {size / 2**30:,.1f} GiB of arrays, and this machine {has / 2**30:,.1f} GiB of memory")


def write_npz(data: Dataset, path: Path) -> None:
    """Save a set, whole or not at all."""
    arrays: dict[str, Any] = {CLASSES: np.array(data.class_names, str)}
    for name, split in data.splits.items():
        arrays |= {f"{name}_images": split.take(np.arange(len(split))), f"{name}_labels": split.labels}
    with scratch(path) as folder:
        np.savez(folder / path.name, **arrays)
        put_in_place(folder / path.name, path)


def _pair(file: np.lib.npyio.NpzFile, split: str) -> tuple[np.ndarray, np.ndarray] | None:
    for name in SPELLINGS[split]:
        for images, labels in ((f"{name}_images", f"{name}_labels"), (f"x_{name}", f"y_{name}")):
            if images in file and labels in file:
                return file[images], file[labels]
    return None
