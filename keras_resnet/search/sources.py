"""What the process of a trial loads the images of a study from."""

from pathlib import Path
from typing import Any

from keras_resnet.data import Dataset, load
from keras_resnet.data.streams import Stream
from keras_resnet.errors import InputError
from keras_resnet.search.results import IMAGES
from keras_resnet.search.study import Study


def saved_in(out: Path) -> Path:
    """The file of a search with the images that have no name."""
    return out.absolute() / IMAGES


def source_of_trials(study: Study, data: Dataset, out: Path) -> dict[str, Any]:
    """Fields of the study by which the process of a trial loads `data`, where its own do not say it.

    InputError for a stream, which another process cannot read.
    """
    if isinstance(data, Stream):
        raise InputError(
            "each trial of a search is trained in a process of its own, which cannot read a source that is read again in every "
            "epoch: give arrays, a source that fits into memory, or the path of a folder of images or TFRecords"
        )
    if isinstance(study.data, str | Path):
        return {}
    origin = {"data_dir": None, "image_size": None, **data.origin}
    source = origin.pop("source")
    if source and load(source, **origin).digest == data.digest:
        return {"data": source, **origin}
    return {"data": str(saved_in(out)), "data_dir": None, "image_size": None}
