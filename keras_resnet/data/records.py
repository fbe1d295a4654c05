"""Image sets in TFRecord files: an index of the position of each record, so that any of them can be read at any time.

Records are read one by one in the order of training, like the files of a folder; none is kept decoded.
"""

import io
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.atomic import UNREADABLE
from keras_resnet.data.dataset import BATCH_SIZE, Dataset, Split, complete, held_out
from keras_resnet.data.folder import DEFAULT_SIZE
from keras_resnet.data.images import decode, upright
from keras_resnet.errors import InputError

LOG = logging.getLogger("keras_resnet")
PATTERN = "*tfrecord*"
PREFIXES = {"train": "train", "validation": "val", "test": "test"}
IMAGE_KEYS = ("image/encoded", "image")  # TensorFlow's research models, and TensorFlow Datasets
LABEL_KEYS = ("image/class/label", "label")
INDEX = ".keras-resnet-index.npz"
COLUMNS = ("shard", "offset", "length", "labels", "image_key")
HEADER, FOOTER = 12, 4  # bytes around a record: its length and a checksum before it, a checksum behind it


def from_records(
    folder: str | Path,
    *,
    image_size: tuple[int, int] | None = None,
    batch_size: int = BATCH_SIZE,
    class_names: list[str] | None = None,
) -> Dataset:
    """The TFRecord files in `folder`, named train*, val* and test*: examples with an encoded image and a whole-number label.

    Keys are "image/encoded" and "image/class/label", or "image" and "label". Images are brought to `image_size`, 224x224 if None,
    in colour. Without `class_names` the classes are named by their labels; labels that count from 1 are moved down by one. Without
    test*, or where its labels are all below 0, the images of val* are for test, as everywhere: see `dataset.held_out`. The index of
    the records is kept in the folder if one may write there. InputError if a file is damaged or an example lacks a key.
    """
    folder = Path(folder)
    parts = {name: sorted(folder.glob(prefix + PATTERN)) for name, prefix in PREFIXES.items()}
    parts = {name: files for name, files in parts.items() if files}
    if "train" not in parts:
        names = sorted(path.name for path in folder.glob(PATTERN))
        some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise InputError(f"{str(folder)!r} has no TFRecord files named train*; found {some}")
    tables = {name: table_of(files, folder, name) for name, files in parts.items()}
    return dataset_of(tables, class_names, image_size, batch_size, {"source": str(folder.resolve()), "image_size": image_size})


def dataset_of(
    tables: dict[str, Any], class_names: list[str] | None, image_size: Any, batch_size: int, origin: dict[str, Any]
) -> Dataset:
    """The image set of those tables of records, by the names of the source."""
    parts = held_out({name: table["labels"] for name, table in tables.items()})
    lowest = min(int(tables[name]["labels"].min()) for name in parts.values())
    highest = max(int(tables[name]["labels"].max()) for name in parts.values())
    first = 1 if lowest == 1 and class_names is None else 0
    names = class_names or [str(label) for label in range(first, highest + 1)]
    if lowest < 0 or highest - first >= len(names) or len(names) < 2:
        raise InputError(f"labels {lowest}..{highest} do not count into {len(names)} classes")
    shape = (*(image_size or (DEFAULT_SIZE, DEFAULT_SIZE)), 3)
    splits = {name: _split(table, first, shape) for name, table in tables.items()}
    return Dataset(complete(splits, repr(origin["source"])), names, shape, batch_size=batch_size, origin=origin)


def _split(table: dict[str, np.ndarray], first: int, shape: tuple[int, int, int]) -> Split:
    def encoded(index: Any) -> bytes:
        return upright(io.BytesIO(_image(table, int(index))))

    def take(indices: np.ndarray) -> np.ndarray:
        return np.stack([decode(io.BytesIO(_image(table, int(index))), shape) for index in indices])

    return Split(take, (table["labels"] - first).astype(np.int32), encoded)


def _image(table: dict[str, np.ndarray], index: int) -> bytes:
    """The encoded image of a record."""
    path = str(table["files"][table["shard"][index]])
    with open(path, "rb") as file:
        file.seek(int(table["offset"][index]))
        content = file.read(int(table["length"][index]))
    return _example(content, path).features.feature[str(table["image_key"])].bytes_list.value[0]


def table_of(files: list[Path], folder: Path, name: str) -> dict[str, np.ndarray]:
    """Where the records of `files` are, and their labels: from the index in the folder, or by reading all of them once."""
    stamps = np.array([f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files])
    index_path = folder / f".{name}{INDEX}"
    paths = np.array([str(path) for path in files])
    with suppress(*UNREADABLE), np.load(index_path, allow_pickle=False) as content:
        if np.array_equal(content["stamps"], stamps):
            return {**{column: content[column] for column in COLUMNS}, "files": paths}
    table = _read(files)
    partial = index_path.with_suffix(f".{os.getpid()}.npz")
    try:
        np.savez(partial, stamps=stamps, **table)  # type: ignore[arg-type]
        os.replace(partial, index_path)
    except OSError:  # not ours to write in, or full: the index is made anew next time
        partial.unlink(missing_ok=True)
    return {**table, "files": paths}


def _read(files: list[Path]) -> dict[str, np.ndarray]:
    LOG.warning(f"reading {len(files)} TFRecord files, {files[0].name} and on, once for their labels")
    rows, labels, image_key, label_key = [], [], None, None
    for number, path in enumerate(files):
        for offset, content in _records(path):
            features = _example(content, str(path)).features.feature
            if image_key is None:
                image_key, label_key = (_key(features, keys, path) for keys in (IMAGE_KEYS, LABEL_KEYS))
            value = features[label_key].int64_list.value
            if len(value) != 1 or not features[image_key].bytes_list.value:
                raise InputError(f"{str(path)!r}: a record at byte {offset} has no {image_key!r} or not one {label_key!r}")
            rows.append((number, offset, len(content)))
            labels.append(value[0])
    if not rows:
        raise InputError(f"{str(files[0])!r} holds no records")
    shard, offset, length = np.array(rows, np.int64).T
    return {"shard": shard, "offset": offset, "length": length, "labels": np.array(labels), "image_key": np.array(image_key)}


def _records(path: Path) -> Iterator[tuple[int, bytes]]:
    """Offset and content of each record of a file."""
    with path.open("rb") as file:
        while header := file.read(HEADER):
            length = int.from_bytes(header[:8], "little")
            offset = file.tell()
            if len(header) < HEADER or offset + length + FOOTER > path.stat().st_size:
                raise InputError(f"{str(path)!r} is damaged or no TFRecord file: it ends within a record at byte {offset}")
            yield offset, file.read(length)
            file.seek(FOOTER, os.SEEK_CUR)


def _example(content: bytes, path: str) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.train import Example

    try:
        return Example.FromString(content)
    except DecodeError:
        raise InputError(f"{path!r} is damaged: a record is no tf.train.Example") from None


def _key(features: Any, keys: tuple[str, ...], path: Path) -> str:
    for key in keys:
        if key in features:
            return key
    raise InputError(f"{str(path)!r}: its examples have none of {', '.join(keys)}; they have {', '.join(sorted(features))}")
