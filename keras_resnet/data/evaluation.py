"""Images to measure a finished run on: the run decides classes, size and channels, and nothing is set aside.

`of_run` in `keras_resnet.data` gives images to train on or to calibrate an export by: those need all classes and splits.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.data.arrays import from_arrays
from keras_resnet.data.dataset import Dataset
from keras_resnet.data.folder import MEMORY, SPLIT_FOLDERS, Files, _files, _read
from keras_resnet.data.streams import in_memory
from keras_resnet.errors import InputError, unknown
from keras_resnet.runs.run import Run

LOG = logging.getLogger("keras_resnet")
LISTED = 10  # names in a message


def from_folder_for(run: Run, folder: str | Path) -> Dataset:
    """The images under `folder`, as `run` takes them.

    Args:
        folder: one sub-folder per class, or any of train/, val/ and test/ above such. A class is one of the run, by its name; those
            that have no folder are told in a warning. One picture is enough. Without splits all images are for "test".

    Pictures are brought to the size and the channels of the run. Those that cannot be read are named in a warning and left out.
    InputError for a folder that no class of the run is named like, and where nothing can be read.
    """
    folder = Path(folder)
    height, width, channels = run.spec.require_sizes("resizing a picture")
    shape = height, width, channels
    parts = {name: _files_of(part, run.class_names) for name, part in split_folders(folder).items()}
    skipped: dict[Path, str] = {}
    keep = sum(map(len, parts.values())) * int(np.prod(shape)) <= MEMORY
    splits = {name: _read(files, run.class_names, shape, keep, skipped) for name, files in parts.items()}
    if skipped:
        shown = [f"{path}: {why}" for path, why in sorted(skipped.items())]
        lines = [f"{len(skipped)} of {sum(map(len, parts.values()))} image files cannot be read and are left out:", *shown]
        LOG.warning("\n  ".join(lines))
    splits = {name: split for name, split in splits.items() if len(split)}
    if not splits:
        raise InputError(f"none of the image files in {str(folder)!r} can be read")
    warn_of_missing(np.concatenate([split.labels for split in splits.values()]), run.class_names)
    return Dataset(splits, run.class_names, shape, skipped=tuple(f"{path}: {why}" for path, why in skipped.items()))


def split_folders(folder: Path) -> dict[str, Path]:
    """The folder of each split that is there and has class folders; without any, the folder itself for "test"."""
    inside = {entry.name.lower(): entry for entry in sorted(folder.iterdir()) if entry.is_dir()}
    found = {}
    for split, aliases in SPLIT_FOLDERS.items():
        for alias in aliases:
            if alias in inside and any(entry.is_dir() for entry in inside[alias].iterdir()):
                found[split] = inside[alias]
    return found or {"test": folder}


def _files_of(part: Path, class_names: Sequence[str]) -> Files:
    """The image files of each class folder. InputError for a folder that is no class of the run."""
    files = _files(part)
    for name in dict.fromkeys(name for _, name in files):
        if name not in class_names:
            error = unknown("class of the run", name, class_names)
            raise InputError(f"{error}; rename the folder {str(part / name)!r}, or move it away")
    if not files:
        raise InputError(
            f"{str(part)!r} has no class folders: put each picture into a folder with the name of its class, of "
            f"{', '.join(class_names[:LISTED])}; `predict` takes pictures without a class"
        )
    return files


def from_memory_for(run: Run, source: Any) -> Dataset:
    """Arrays (images, labels) or an iterable of pairs, or a dictionary of those by split; labels count into the classes of the run.

    One part is enough. Without splits all of them are for "test".
    """
    parts = dict(source) if isinstance(source, Mapping) else {"test": source}
    splits = {}
    for name, part in parts.items():
        part = in_memory(name, part)
        whole = from_arrays(dict.fromkeys(("train", "validation", "test"), part), class_names=run.class_names)
        splits[name] = whole.splits["test"]
    warn_of_missing(np.concatenate([split.labels for split in splits.values()]), run.class_names)
    return replace(whole, splits=splits)


def as_classes_of(run: Run, data: Dataset) -> Dataset:
    """A set whose classes are some of the run's, by name, with labels as the run counts them. InputError if they are others."""
    if list(data.class_names) == run.class_names:
        return data
    for name in data.class_names:
        if name not in run.class_names:
            raise unknown("class of the run", name, run.class_names)
    numbers = np.array([run.class_names.index(name) for name in data.class_names], np.int32)
    splits = {name: replace(split, labels=numbers[split.labels]) for name, split in data.splits.items()}
    warn_of_missing(np.concatenate([split.labels for split in splits.values()]), run.class_names)
    return replace(data, splits=splits, class_names=run.class_names)


def warn_of_missing(labels: np.ndarray, class_names: Sequence[str]) -> None:
    """Name the classes that have no image: their recall stays unknown."""
    missing = [name for number, name in enumerate(class_names) if number not in labels]
    if missing:
        names = ", ".join(missing[:LISTED]) + (f" and {len(missing) - LISTED} more" if len(missing) > LISTED else "")
        LOG.warning(f"no images of {len(missing)} of the run's {len(class_names)} classes: {names}; the others are measured")
