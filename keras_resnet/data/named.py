"""Image sets with a name: scikit-learn's digits, and the image-classification sets of TensorFlow Datasets."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_resnet.data.dataset import BATCH_SIZE, Dataset, Split
from keras_resnet.data.folder import DEFAULT_SIZE, MEMORY
from keras_resnet.data.images import fit_pixels
from keras_resnet.data.records import dataset_of, table_of
from keras_resnet.data.splits import complete, split_by_class
from keras_resnet.errors import InputError, unknown
from keras_resnet.outside import nearest_folder

DIGITS_TEST = 0.2  # share of the 1,797 digits
READ = 64  # images of one size that are read at once


def digits(*, batch_size: int = BATCH_SIZE) -> Dataset:
    """scikit-learn's 1,797 handwritten digits: 8x8 grey pixels, scaled from 0..16 to 0..255. A fifth is for test."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images[..., None] * (255 / 16)).astype(np.uint8)
    examples = Split.of(images, bunch.target.astype(np.int32))
    rest, test = split_by_class(examples.labels, DIGITS_TEST)
    return Dataset(
        complete({"train": examples.part(rest), "test": examples.part(test)}, "digits"),
        [str(name) for name in bunch.target_names],
        (8, 8, 1),
        batch_size=batch_size,
        origin={"source": "digits"},
    )


BUILT_IN = {"digits": digits}
"""Sets that come with a dependency, each of one size."""


def from_tfds(
    name: str, *, data_dir: str | Path | None = None, image_size: tuple[int, int] | None = None, batch_size: int = BATCH_SIZE
) -> Dataset:
    """An image-classification set of TensorFlow Datasets; prepared first if `data_dir` does not have it yet.

    Images of varying size are scaled to cover `image_size` (224 if None), and the centre is cropped. The "test" split, or the
    "validation" split of a set without one or without its labels (ImageNet), is for test, see `splits.held_out`. A set is decoded
    into memory, or if it is too large read from its files again in every epoch. InputError if the set is
    unknown, has no labels, or is too large and not in TFRecord files.
    """
    builder = _builder(name, data_dir)
    features = builder.info.features
    if features is None or not {"image", "label"} <= set(features) or not hasattr(features["label"], "names"):
        raise InputError(f"{name!r} of TensorFlow Datasets is not an image-classification set: no image and label")
    shape = _image_shape(features["image"].shape, image_size)
    names = _split_names(builder.info.splits)
    total = sum(builder.info.splits[split].num_examples for split in names.values()) * int(np.prod(shape))
    origin = {"source": name, "data_dir": str(Path(data_dir).resolve()) if data_dir else None, "image_size": image_size}
    if total > MEMORY:
        files = {ours: [Path(path) for path in builder.info.splits[theirs].filepaths] for ours, theirs in names.items()}
        if shape[-1] != 3 or not all("tfrecord" in path.name for paths in files.values() for path in paths):
            gib = f"{total / 2**30:.0f} GiB decoded, more than {MEMORY / 2**30:.0f}"
            raise InputError(f"{name!r} at {shape} needs {gib}; use a smaller image size")
        tables = {ours: table_of(paths, Path(builder.data_path), ours) for ours, paths in files.items()}
        return dataset_of(tables, features["label"].names, shape[:2], batch_size, origin)
    splits = {ours: _read(builder, theirs, shape) for ours, theirs in names.items()}
    return Dataset(
        complete(splits, repr(name)),
        features["label"].names,
        shape,
        batch_size=batch_size,
        origin=origin,
        contents=builder.info.full_name,  # with its version; another decoder may give other pixels
    )


def _builder(name: str, data_dir: str | Path | None) -> Any:
    if name.startswith((".", "~")) or Path(name).is_absolute():
        raise InputError(f"no folder {name!r} to read images from{nearest_folder(name)}")
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
        if not Path(builder.data_path).is_dir():
            builder.download_and_prepare()
    except Exception as error:  # no such set, version or configuration, no network, a full disk
        names = tfds.list_builders()
        head, slash, _ = name.partition("/")
        if slash and head not in names:
            raise InputError(f"no folder {name!r} to read images from{nearest_folder(name)}") from None
        if head.partition(":")[0] not in names:
            raise unknown("image set or folder", name, [*folders_here(), *BUILT_IN, *names]) from None
        where = repr(str(data_dir)) if data_dir else "the default folder of TensorFlow Datasets"
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{name!r} is not in {where} and cannot be prepared: {why}") from error
    return builder


def folders_here() -> list[str]:
    """The names of the folders in the current one, but hidden ones."""
    return sorted(path.name for path in Path().iterdir() if path.is_dir() and not path.name.startswith("."))


def _image_shape(shape: tuple[int | None, ...], image_size: tuple[int, int] | None) -> tuple[int, int, int]:
    height, width, channels = shape
    if image_size:
        height, width = image_size
    return height or DEFAULT_SIZE, width or DEFAULT_SIZE, 1 if channels == 1 else 3


def _split_names(available: Any) -> dict[str, str]:
    """The names of its splits that are read, each for the name that it has here."""
    if "train" not in available:
        raise InputError(f"the set has no split 'train', only {', '.join(available)}")
    return {name: name for name in ("train", "test", "validation") if name in available}


def _read(builder: Any, split: str, shape: tuple[int, int, int]) -> Split:
    import tensorflow_datasets as tfds

    count = builder.info.splits[split].num_examples
    images, labels = np.empty((count, *shape), np.uint8), np.empty(count, np.int32)
    examples = builder.as_dataset(split=split, shuffle_files=False).map(lambda example: (example["image"], example["label"]))
    of_one_size = builder.info.features["image"].shape == shape
    batches = tfds.as_numpy(
        examples.batch(READ if of_one_size else 1)
    )  # one by one, small images take most of their time in Python
    pairs = (pair for batch in batches for pair in zip(*batch, strict=True))
    for index, (pixels, label) in enumerate(pairs):
        if pixels.shape != shape:
            pixels = fit_pixels(Image.fromarray(pixels.squeeze()), *shape)
        images[index], labels[index] = pixels, label
    return Split.of(images, labels)
