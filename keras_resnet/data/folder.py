"""Image sets from folders with a sub-folder for each class: finds the files, leaves out unreadable ones, makes the splits."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.data.dataset import BATCH_SIZE, Dataset, Split, complete
from keras_resnet.data.images import SUFFIXES, decode, describe, reason, upright
from keras_resnet.errors import InputError, unknown

LOG = logging.getLogger("keras_resnet")
SPLIT_FOLDERS = {"train": ("train", "training"), "validation": ("val", "valid", "validation"), "test": ("test", "testing")}
DEFAULT_SIZE = 224
LARGEST_KEPT_SIZE = 256
MEMORY = 4 * 2**30  # bytes of decoded pixels kept; a larger set is decoded from its files again in every epoch

Files = list[tuple[Path, str]]  # image files, each with its class


def from_folder(
    folder: str | Path, *, image_size: tuple[int, int] | None = None, batch_size: int = BATCH_SIZE, memory: int = MEMORY
) -> Dataset:
    """The images under `folder`: one sub-folder per class, or train/, val/ and test/ above them.

    Without test/ the images of val/ are for test, and those that choose are taken from the training images, as everywhere.
    Every file is decoded once before this returns. One that cannot be is counted and named in a warning and in `skipped`, and left
    out. With `image_size=None` images keep their size if all have the same one of at most 256 pixels, and are brought to 224x224
    if not. They are grey, one channel, if all files are. InputError if there are fewer than two classes or one has no image.
    """
    folder = Path(folder)
    parts = {name: _files(part) for name, part in _split_folders(folder).items()}
    class_names = _class_names(folder, parts)
    skipped: dict[Path, str] = {}
    shape = _image_shape([path for files in parts.values() for path, _ in files], image_size, skipped)
    keep = sum(map(len, parts.values())) * int(np.prod(shape)) <= memory
    splits = {name: _read(files, class_names, shape, keep, skipped) for name, files in parts.items()}
    if skipped:
        lines = [f"{len(skipped)} of {sum(map(len, parts.values()))} image files cannot be read and are left out:"]
        LOG.warning("\n".join([*lines, *(f"  {path}: {why}" for path, why in sorted(skipped.items()))]))
    for label, name in enumerate(class_names):
        if label not in splits["train"].labels:
            raise InputError(f"class {name!r} in {str(folder)!r} has no readable training image")
    splits = complete(splits, repr(str(folder)))
    _warn_of_classes(splits, class_names)
    return Dataset(
        splits,
        class_names,
        shape,
        batch_size=batch_size,
        origin={"source": str(folder.resolve()), "image_size": image_size},
        skipped=tuple(f"{path}: {why}" for path, why in skipped.items()),
    )


def _split_folders(folder: Path) -> dict[str, Path]:
    """The folder of each split that is there; the folder itself for training if it holds classes.

    A split's folder has class folders in it: a class may be called "train" too.
    """
    inside = {entry.name.lower(): entry for entry in folder.iterdir() if entry.is_dir()}
    folders = {name: [inside[alias] for alias in aliases if alias in inside] for name, aliases in SPLIT_FOLDERS.items()}
    if not any(entry.is_dir() for train in folders["train"] for entry in train.iterdir()):
        return {"train": folder}
    for name, entries in folders.items():
        if len(entries) > 1:
            raise InputError(f"two folders for {name}: {', '.join(repr(str(entry)) for entry in entries)}; keep one")
    return {name: entries[0] for name, entries in folders.items() if entries}


def _files(part: Path) -> Files:
    """The image files of each class. InputError for a class folder without any: to drop it would shift the labels silently."""
    files = []
    for entry in sorted(entry for entry in part.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__"))):
        paths = [path for path in sorted(entry.rglob("*")) if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
        if not paths:
            raise InputError(f"class folder {str(entry)!r} has no image files ({', '.join(SUFFIXES)})")
        files += [(path, entry.name) for path in paths]
    return files


def _class_names(folder: Path, parts: dict[str, Files]) -> list[str]:
    """The classes of the training images. A class that only validation or test has would shift labels silently: InputError."""
    class_names = sorted({name for _, name in parts["train"]})
    if len(class_names) < 2:
        names = f"only {class_names[0]!r}" if class_names else "none"
        raise InputError(f"{str(folder)!r} must hold at least two class folders with images ({', '.join(SUFFIXES)}); found {names}")
    for files in parts.values():
        for _, name in files:
            if name not in class_names:
                raise unknown("training class", name, class_names)
    return class_names


def _image_shape(paths: list[Path], image_size: tuple[int, int] | None, skipped: dict[Path, str]) -> tuple[int, int, int]:
    """(height, width, channels) for all of these files."""
    headers = _each(lambda index: describe(paths[index]), paths, skipped)
    if not headers:
        raise InputError(f"none of the {len(paths)} image files can be read; the first: {paths[0]}: {skipped[paths[0]]}")
    sizes = {size for size, _ in headers.values()}
    channels = 1 if all(grey for _, grey in headers.values()) else 3
    if image_size:
        return *image_size, channels
    height, width = sizes.pop() if len(sizes) == 1 else (DEFAULT_SIZE, DEFAULT_SIZE)
    if max(height, width) > LARGEST_KEPT_SIZE:
        height = width = DEFAULT_SIZE
    return height, width, channels


def _read(files: Files, class_names: list[str], shape: tuple[int, int, int], keep: bool, skipped: dict[Path, str]) -> Split:
    """The split of the files that can be decoded; every one is tried once, now."""
    paths = [path for path, _ in files]
    labels = np.array([class_names.index(name) for _, name in files], np.int32)
    images = np.empty((len(paths) if keep else 0, *shape), np.uint8)

    def try_one(index: int) -> None:
        pixels = decode(paths[index], shape)
        if keep:
            images[index] = pixels

    def take(indices: np.ndarray) -> np.ndarray:
        return images[indices] if keep else np.stack([decode(paths[index], shape) for index in indices])

    readable = _each(try_one, paths, skipped)
    encoded = None if keep else lambda index: upright(paths[index])
    return Split(take, labels, encoded).part(np.array(sorted(readable), int))


def _each(action: Callable[[int], Any], paths: list[Path], skipped: dict[Path, str]) -> dict[int, Any]:
    """`action` on the index of every path, in threads: results by index. What fails, or has failed before, is in `skipped`."""
    results: dict[int, Any] = {}

    def attempt(index: int) -> None:
        try:
            results[index] = action(index)
        except Exception as error:  # Pillow raises many kinds for damaged files
            skipped[paths[index]] = reason(error)

    with ThreadPoolExecutor() as threads:
        list(threads.map(attempt, (index for index, path in enumerate(paths) if path not in skipped)))
    return results


def _warn_of_classes(splits: dict[str, Split], class_names: list[str]) -> None:
    for split, examples in splits.items():
        missing = [name for label, name in enumerate(class_names) if label not in examples.labels]
        if missing:
            LOG.warning(f"no {split} images of {', '.join(missing)}")
