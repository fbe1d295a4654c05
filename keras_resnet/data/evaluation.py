"""Images to measure a finished run on: the run decides classes, size and channels, and nothing is set aside.

`of_run` in `keras_resnet.data` gives images to train on or to calibrate an export by: those need all classes and splits.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.data.arrays import from_arrays
from keras_resnet.data.dataset import SPLITS, Dataset, Split
from keras_resnet.data.folder import from_folder_as
from keras_resnet.data.labels import listed
from keras_resnet.data.streams import in_memory
from keras_resnet.errors import unknown
from keras_resnet.runs.run import Run

LOG = logging.getLogger("keras_resnet")


def from_folder_for(run: Run, folder: str | Path) -> Dataset:
    """The images under `folder`, see `from_folder_as`, as `run` takes them; classes that have no folder are told in a warning."""
    run.spec.require_pictures()
    height, width, channels = run.spec.require_sizes("resizing a picture")
    data = from_folder_as(folder, run.class_names, (height, width, channels))
    warn_of_missing(data.splits.values(), run.class_names)
    return data


def from_memory_for(run: Run, source: Any) -> Dataset:
    """Arrays (images, labels) or an iterable of pairs, or a dictionary of those by split; labels count into the classes of the run.

    One part is enough. Without splits all of them are for "test".
    """
    parts = dict(source) if isinstance(source, Mapping) else {"test": source}
    splits = {}
    for name, part in parts.items():
        part = in_memory(name, part)
        whole = from_arrays(dict.fromkeys(SPLITS, part), class_names=run.class_names, may_lack_classes=True)
        splits[name] = whole.splits["test"]
    warn_of_missing(splits.values(), run.class_names)
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
    warn_of_missing(splits.values(), run.class_names)
    return replace(data, splits=splits, class_names=run.class_names)


def warn_of_missing(splits: Iterable[Split], class_names: Sequence[str]) -> None:
    """Name the classes that have no image: their recall stays unknown."""
    labels = np.concatenate([split.labels for split in splits])
    missing = [name for number, name in enumerate(class_names) if number not in labels]
    if missing:
        LOG.warning(
            f"no images of {len(missing)} of the run's {len(class_names)} classes ({listed(missing)}): their recall is unknown"
        )
