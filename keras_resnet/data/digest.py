"""Digests of image sets: other images of the same number and size do not pass for those of a training.

They are cheap. All labels go in, and of the images so many bytes at most: pixels of arrays, whose digest is nothing but theirs;
of files names, sizes and the content of some, since another version of a decoder may give other pixels.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

PIXELS = 2**28  # bytes of each split: all of CIFAR's
FILES = 64  # of a folder that are read
CHUNK = 2**24  # bytes taken at a time


def of_splits(splits: Mapping[str, Any], contents: str) -> str:
    """The digest of `dataset.Split`s by name; where `contents`, a digest of what they are read from, is empty, of pixels too."""
    digest = sha256(contents.encode())
    for name, split in splits.items():
        digest.update(f"{name} {len(split)}".encode())
        digest.update(np.asarray(split.labels, "<i8").tobytes())
        for images in () if contents else _some_images(split):
            digest.update(images.tobytes())
    return digest.hexdigest()


def of_files(paths: list[Path], folder: Path) -> str:
    """The digest of files below `folder`: of all names and sizes, and of the content of `FILES` of them."""
    digest = sha256()
    for path in paths:
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode(errors="surrogateescape"))
    for index in _evenly(len(paths), FILES):
        with paths[index].open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _some_images(split: Any) -> Iterator[np.ndarray]:
    size = max(1, split.take(np.arange(1)).nbytes) if len(split) else 1
    indices = _evenly(len(split), max(1, PIXELS // size))
    step = max(1, CHUNK // size)
    for start in range(0, len(indices), step):
        yield split.take(indices[start : start + step])


def _evenly(count: int, most: int) -> np.ndarray:
    """Indices of at most `most` of `count` things, from the first to the last."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).astype(int))
