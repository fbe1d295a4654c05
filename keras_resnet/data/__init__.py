"""Image sets for training and checking: raw pixels 0..255 and integer labels, from a name, a folder or arrays.

`load` finds the source, `Dataset` holds the splits and batches them. TensorFlow is loaded when batches are made.
"""

from pathlib import Path
from typing import Any

from keras_resnet.data.arrays import from_arrays
from keras_resnet.data.dataset import BATCH_SIZE, SPLITS, Dataset, Split
from keras_resnet.data.folder import from_folder
from keras_resnet.data.images import read_image
from keras_resnet.data.named import digits, from_tfds
from keras_resnet.errors import InputError
from keras_resnet.runs import Run

__all__ = ["SPLITS", "Dataset", "Split", "from_arrays", "from_folder", "from_tfds", "load", "of_run", "read_image"]


def load(
    source: Any, *, data_dir: str | Path | None = None, image_size: int | None = None, batch_size: int = BATCH_SIZE
) -> Dataset:
    """An image set from `source`.

    Args:
        source: "digits" (1,797 handwritten digits of 8x8, offline); a folder of images, one sub-folder per class, or train/,
            val/ and test/ above them; the name of a TensorFlow Datasets image-classification set, such as "cifar10";
            or arrays, (images, labels) or {"train": (images, labels), "test": ...}.
        data_dir: where TensorFlow Datasets keeps its files; its own default if None.
        image_size: height and width to bring images to. None keeps them where all have one size; see `from_folder`.
        batch_size: images in a batch of `train`, `validation` and `test`.

    Returns: a `Dataset`. Where the source has no validation or test images, a tenth of the training images of each class
    is set aside for each, always the same ones. InputError if there is no such source or nothing to learn from in it.

    >>> load("digits").image_shape
    (8, 8, 1)
    """
    if isinstance(source, Dataset):
        return source
    if not isinstance(source, str | Path):
        return from_arrays(source, batch_size=batch_size)
    if str(source) == "digits":
        return digits(batch_size=batch_size)
    if Path(source).is_dir():
        return from_folder(source, image_size=image_size, batch_size=batch_size)
    if len(Path(source).parts) != 1 or Path(source).is_absolute():
        raise InputError(f"no folder {str(source)!r} to read images from")
    return from_tfds(str(source), data_dir=data_dir, image_size=image_size, batch_size=batch_size)


def of_run(run: Run, source: Any = None, data_dir: str | Path | None = None) -> Dataset:
    """The images that `run` was trained on, or those of another source, brought to the same size.

    InputError if the run was trained on arrays and none are given, or if shape or classes differ from the run's.
    """
    origin = dict(run.data)
    trained_on = origin.pop("source")
    if source is None and trained_on is None:
        raise InputError(f"{str(run.path)!r} was trained on arrays, which it does not hold; pass them as data")
    if source is not None:
        origin = {"image_size": run.spec.input_shape[0]}
    if data_dir is not None:
        origin["data_dir"] = data_dir
    data = load(trained_on if source is None else source, **origin)
    if data.image_shape != run.spec.input_shape or list(data.class_names) != run.class_names:
        raise InputError(
            f"the images are {data.image_shape} in {len(data.class_names)} classes; {str(run.path)!r} takes {run.spec.input_shape} "
            f"in {len(run.class_names)} classes, {', '.join(run.class_names[:5])}..."
        )
    return data
