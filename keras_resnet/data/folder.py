"""Image sets from folders with a sub-folder for each class: what `scan` finds is read, or left out if it cannot be."""

import io
import logging
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.data.dataset import BATCH_SIZE, Dataset, Split
from keras_resnet.data.digest import of_files
from keras_resnet.data.images import content_of, decode, describe, read_again, reason, upright
from keras_resnet.data.scan import Files, parts_of, parts_to_evaluate, tell
from keras_resnet.data.splits import complete
from keras_resnet.errors import InputError
from keras_resnet.outside import printable

LOG = logging.getLogger("keras_resnet")
DEFAULT_SIZE = 224
LARGEST_KEPT_SIZE = 256
MEMORY = 4 * 2**30  # bytes of decoded pixels kept; a larger set is decoded from its files again in every epoch


def from_folder(
    folder: str | Path,
    *,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    batch_size: int = BATCH_SIZE,
    memory: int = MEMORY,
) -> Dataset:
    """The images under `folder`: one sub-folder per class, or train/, val/ and test/ above them.

    Without test/ the images of val/ are used for test, and part of the training images for validation, as with all sources.
    Files with an unknown suffix are used if Pillow can read them. Every file is decoded once before this returns. What is left
    out is listed by reason in a warning and in `skipped`. With `image_size=None` images keep their size if all have the same
    one of at most 256 pixels, and are resized to 224x224 if not. They have `channels`, 1 or 3; None is one, grey, if all files are
    grey. InputError if there are fewer than two classes, if one has no image, or for another layout of folders.
    """
    folder = Path(folder)
    skipped: dict[Path, str] = {}
    parts = parts_of(folder, skipped)
    class_names = sorted({name for _, name in parts["train"]})
    paths = [path for files in parts.values() for path, _ in files]
    shape = _image_shape(paths, image_size, channels, skipped)
    keep = len(paths) * int(np.prod(shape)) <= memory
    splits = {name: _read(files, class_names, shape, keep, skipped) for name, files in parts.items()}
    tell(skipped, sum(path not in skipped for path in paths), folder)
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
        origin={"source": str(folder.resolve()), "image_size": image_size, **({"channels": channels} if channels else {})},
        skipped=tuple(printable(f"{path}: {why}") for path, why in skipped.items()),
        contents=of_files(paths, folder),
    )


def from_folder_as(
    folder: str | Path, class_names: list[str], image_shape: tuple[int, int, int], *, memory: int = MEMORY
) -> Dataset:
    """The images under `folder` to evaluate: of those classes, or some of them, resized to that size and those channels.

    The folder has one sub-folder per class, or any of train/, val/ and test/ above such; without those all images are for "test".
    One image is enough. A warning lists what is left out, as in `from_folder`. InputError for a class that is not in `class_names`,
    and if nothing can be read.
    """
    folder = Path(folder)
    skipped: dict[Path, str] = {}
    parts = parts_to_evaluate(folder, class_names, skipped)
    count = sum(map(len, parts.values()))
    keep = count * int(np.prod(image_shape)) <= memory
    splits = {name: _read(files, class_names, image_shape, keep, skipped) for name, files in parts.items()}
    splits = {name: split for name, split in splits.items() if len(split)}
    tell(skipped, sum(map(len, splits.values())), folder)
    if not splits:
        raise InputError(f"none of the {count} image files in {str(folder)!r} can be read")
    return Dataset(splits, class_names, image_shape, skipped=tuple(printable(f"{path}: {why}") for path, why in skipped.items()))


def _image_shape(
    paths: list[Path], image_size: tuple[int, int] | None, channels: int | None, skipped: dict[Path, str]
) -> tuple[int, int, int]:
    """(height, width, channels) for all of these files."""
    headers = _each(lambda index: describe(paths[index]), paths, skipped)
    if not headers:
        raise InputError(f"none of the {len(paths)} image files can be read; the first: {str(paths[0])!r}: {skipped[paths[0]]}")
    sizes = {size for size, _ in headers.values()}
    channels = channels or (1 if all(grey for _, grey in headers.values()) else 3)
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
    images, checksums = np.empty((len(paths) if keep else 0, *shape), np.uint8), np.zeros(len(paths), np.int64)

    def try_one(index: int) -> None:
        content = content_of(paths[index])
        pixels, checksums[index] = decode(content, shape), zlib.crc32(content.getvalue())
        if keep:
            images[index] = pixels

    def again(index: int) -> io.BytesIO:
        return read_again(paths[index], checksums[index])

    def take(indices: np.ndarray) -> np.ndarray:
        return images[indices] if keep else np.stack([decode(again(index), shape) for index in indices])

    readable = _each(try_one, paths, skipped)
    encoded = None if keep else lambda index: upright(again(index))
    return Split(take, labels, encoded, names=[printable(path) for path in paths]).part(np.array(sorted(readable), int))


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
