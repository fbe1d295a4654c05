"""Image sets for training and checking: raw pixels, 0 to 255, and integer labels, from a name, a folder or arrays.

`load` finds the source; `Dataset` holds the splits and batches them. TensorFlow is loaded only when batches are made.
"""

from numbers import Integral
from pathlib import Path
from typing import Any

from keras_resnet.data.arrays import from_arrays
from keras_resnet.data.dataset import BATCH_SIZE, SPLITS, Dataset, Split
from keras_resnet.data.evaluation import as_classes_of, from_folder_for, from_memory_for
from keras_resnet.data.folder import from_folder
from keras_resnet.data.images import read_image
from keras_resnet.data.named import BUILT_IN, from_tfds
from keras_resnet.data.npz import from_npz, is_npz
from keras_resnet.data.records import from_records, holds_records
from keras_resnet.data.streams import from_sources, holds_sources
from keras_resnet.errors import InputError
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.runs.run import Run

__all__ = [
    "SPLITS",
    "Dataset",
    "Split",
    "from_arrays",
    "from_folder",
    "from_records",
    "from_tfds",
    "load",
    "of_run",
    "read_image",
    "to_evaluate",
]

LARGEST_SIZE = 8192


def load(
    source: Any,
    *,
    data_dir: str | Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    class_names: list[str] | None = None,
    images_per_epoch: int | None = None,
    batch_size: int = BATCH_SIZE,
) -> Dataset:
    """An image set from `source`.

    Args:
        source: "digits" (1,797 handwritten digits of 8x8, offline); a folder of images, one sub-folder per class, or train/,
            val/ and test/ above them; a folder of TFRecord files, train*, val* and test*; the name of a TensorFlow Datasets
            image-classification set, such as "cifar10"; an `.npz` file of arrays, see `npz`; arrays, (images, labels) or
            {"train": (images, labels), "test": ...}, of images, signals or volumes, see `from_arrays`; or a `tf.data.Dataset`, a
            Keras `PyDataset`, a Grain dataset or another iterable of (image, label) pairs, batched or not, or a tuple (training,
            validation, test) or dictionary of those, see `streams`.
        data_dir: where TensorFlow Datasets keeps its files; its own default if None.
        image_size: height and width to resize images of a folder or of TensorFlow Datasets to, one number for both or two.
            None: their own size, if all have the same; see `from_folder`.
        channels: of the images of a folder: 3 repeats grey ones in three channels, 1 turns coloured ones grey; None keeps their
            own.
        class_names: for arrays and iterables, in the order of the labels; folders, records and named sets have their own.
        images_per_epoch: for an iterable without an end, or to read one again in every epoch, see `streams.from_sources`.
        batch_size: images in a batch of `train`, `validation` and `test`.

    Returns: a `Dataset`. `test` is the test set of the source, or its validation set if it has no labelled test set (ImageNet).
    If no validation set is left, `validation` is a tenth of the training images of each class, a fifth if there are fewer than
    2,000, always the same ones.
    If the source has a training set only, `test` is as many more. InputError if there is no such source, or if it cannot be used.

    >>> load("digits").image_shape
    (8, 8, 1)
    """
    check_data_dir(source, data_dir)
    if isinstance(source, Dataset):
        return source
    size = _size(image_size)
    if size and not can_resize(source):
        raise InputError("image_size is for folders and TensorFlow Datasets; digits, arrays and iterables keep their size")
    if channels is not None and (channels not in (1, 3) or not is_folder(source)):
        raise InputError(f"channels={channels}: must be 1 or 3, and is for folders of images only")
    if holds_sources(source):
        return from_sources(source, class_names=class_names, images_per_epoch=images_per_epoch, batch_size=batch_size)
    if images_per_epoch:
        raise InputError("images_per_epoch is for iterables, such as a tf.data.Dataset: other sources know their length")
    if not isinstance(source, str | Path):
        return from_arrays(source, class_names=class_names, batch_size=batch_size)
    if class_names:
        raise InputError("class_names are for arrays and iterables; folders, records and sets with a name have their own")
    if str(source) in BUILT_IN:
        return BUILT_IN[str(source)](batch_size=batch_size)
    if is_npz(source):
        return from_npz(source, batch_size=batch_size)
    if Path(source).is_dir() and holds_records(Path(source)):
        return from_records(source, image_size=size, batch_size=batch_size)
    if Path(source).is_dir():
        return from_folder(source, image_size=size, channels=channels, batch_size=batch_size)
    return from_tfds(str(source), data_dir=data_dir, image_size=size, batch_size=batch_size)


def can_resize(source: Any) -> bool:
    """Whether `load` can resize the images of a source: files, but not built-in sets or arrays."""
    return isinstance(source, str | Path) and str(source) not in BUILT_IN and not is_npz(source)


def check_data_dir(source: Any, data_dir: str | Path | None) -> None:
    """InputError for a folder of TensorFlow Datasets where the source is none of its sets."""
    is_named = can_resize(source) and not Path(source).is_dir()
    if data_dir is not None and not is_named:
        kind = repr(str(source)) if isinstance(source, str | Path) else f"a {type(source).__name__}"
        raise InputError(f"data_dir (--data-dir) is for the names of TensorFlow Datasets, and {kind} is not one")


def arguments_for(spec: ResNetSpec, source: Any) -> dict[str, Any]:
    """Arguments of `load` for the images of a source as a network takes them: in its size and, those of a folder, its channels."""
    if not can_resize(source):
        return {}
    spec.require_pictures()
    *size, channels = spec.input_shape
    return {"image_size": tuple(size), **({"channels": channels} if is_folder(source) else {})}


def is_folder(source: Any) -> bool:
    """Whether it is a folder of images, and not of records."""
    return can_resize(source) and Path(source).is_dir() and not holds_records(Path(source))


def of_run(run: Run, source: Any = None, data_dir: str | Path | None = None) -> Dataset:
    """The images that `run` was trained on, or those of another source, resized to the same size.

    InputError if the run was trained on arrays or an iterable and none is given, if shape or classes differ from the run's, or if
    its own images have changed, in number or by `Dataset.digest`: images that it was trained on could be among the test images.
    """
    origin = dict(run.data)
    digest = origin.pop("digest", None)  # none where an earlier version wrote it
    if not set(origin) <= {"source", "data_dir", "image_size", "channels"}:
        raise InputError(f"{str(run.path / 'data.json')!r} is damaged: it has {', '.join(origin)}")
    run_source = origin.pop("source", None)
    if source is None and run_source is None:
        raise InputError(
            f"{str(run.path)!r} has no images: it was trained on arrays, an iterable or elsewhere; pass them as data=, or save "
            "them as an .npz file or a folder of images for --data"
        )
    is_own = source is None
    if not is_own:
        origin = arguments_for(run.spec, source)
    if data_dir is not None:
        origin["data_dir"] = data_dir
    data = load(run_source if is_own else source, **origin)
    if data.image_shape != run.spec.input_shape or list(data.class_names) != run.class_names:
        raise InputError(
            f"the images are {data.image_shape} in {_listed(data.class_names)}; "
            f"{str(run.path)!r} takes {run.spec.input_shape} in {_listed(run.class_names)}"
        )
    counts = {name: len(split) for name, split in data.splits.items()}
    before = run.metrics.get("images")
    if is_own and (counts != before or digest not in (None, data.digest)):
        how = f"{before} then, {counts} now" if counts != before else "the same number, but other labels, pixels or files"
        raise InputError(
            f"the images of {run_source!r} have changed since training ({how}), so test images could be among the training images; "
            "train again, or pass these images as data (--data)"
        )
    return data


def to_evaluate(run: Run, source: Any = None, data_dir: str | Path | None = None) -> Dataset:
    """The images to measure `run` on: its own, or those of another source, which may lack classes of the run.

    The images of a folder are resized to the size and channels of the run, and a folder with only test/ is enough. InputError for
    classes that the run does not have.
    """
    if source is None:
        return of_run(run, data_dir=data_dir)
    check_data_dir(source, data_dir)
    is_path = isinstance(source, str | Path)
    if is_folder(source):
        return from_folder_for(run, source)
    if is_path or isinstance(source, Dataset):
        data = as_classes_of(run, load(source, data_dir=data_dir, **arguments_for(run.spec, source)))
    else:
        data = from_memory_for(run, source)
    if data.image_shape != run.spec.input_shape:
        raise InputError(f"the images are {data.image_shape}; {str(run.path)!r} takes {run.spec.input_shape}")
    return data


def _listed(class_names: list[str]) -> str:
    more = ", ..." if len(class_names) > 8 else ""
    return f"{len(class_names)} classes ({', '.join(class_names[:8])}{more})"


def _size(image_size: Any) -> tuple[int, int] | None:
    if image_size is None:
        return None
    sides = image_size if isinstance(image_size, tuple | list) else (image_size, image_size)
    are_integers = all(isinstance(side, Integral) and not isinstance(side, bool) for side in sides)
    if len(sides) != 2 or not are_integers or not all(1 <= side <= LARGEST_SIZE for side in sides):
        raise InputError(f"image_size={image_size!r}: expected one whole number or two, 1 to {LARGEST_SIZE}")
    return int(sides[0]), int(sides[1])
