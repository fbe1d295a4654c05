"""Image sets in TFRecord files: an index of the place of each image, so that any of them can be read at any time.

All files are read once, by TensorFlow's reader, which verifies their checksums; every image is decoded then. Images are read one by
one in the order of training, like the files of a folder; none is kept decoded. Files that are compressed are kept in memory.
"""

import gzip
import io
import logging
import os
import re
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.atomic import UNREADABLE
from keras_resnet.data.dataset import BATCH_SIZE, Dataset, Split
from keras_resnet.data.folder import DEFAULT_SIZE, MEMORY
from keras_resnet.data.images import alone_if_large, decode, is_plain, limit_size, reason, unchanged, upright
from keras_resnet.data.labels import count_from_0, listed
from keras_resnet.data.splits import complete, held_out
from keras_resnet.errors import InputError
from keras_resnet.lazy_tensorflow import Batches
from keras_resnet.outside import printable

LOG = logging.getLogger("keras_resnet")
NAME = re.compile(r"\.tfrec(ord)?s?(-\d+-of-\d+)?(\.(gz|gzip|zz|zlib))?$")
PREFIXES = {"train": "train", "validation": "val", "test": "test"}
IMAGE_KEYS = ("image/encoded", "image")  # TensorFlow's research models, and TensorFlow Datasets
LABEL_KEYS = ("image/class/label", "label")
TEXT_KEY = "image/class/text"
INDEX = ".keras-resnet-index.npz"
COLUMNS = {"shard": "i8", "offset": "i8", "length": "i8", "sums": "i8", "plain": "?", "labels": "i8"}  # of the images
LISTS = ("texts", "damaged", "packed")  # label and name of classes; images that cannot be decoded; numbers of compressed files
HEADER, FOOTER = 12, 4  # bytes before a record, its length and a checksum; and behind it, another checksum
SHOWN = 20  # images that a warning names
TOGETHER = 64  # records, of which each alone takes longer to get than to read
COMPRESSED = {b"\x1f\x8b": "GZIP", b"\x78\x01": "ZLIB", b"\x78\x9c": "ZLIB", b"\x78\xda": "ZLIB"}  # by their first bytes

Table = dict[str, np.ndarray]


def from_records(
    folder: str | Path,
    *,
    image_size: tuple[int, int] | None = None,
    batch_size: int = BATCH_SIZE,
    class_names: list[str] | None = None,
) -> Dataset:
    """The TFRecord files in `folder`, named train*, val* and test*: examples with an encoded image and a whole-number label.

    Keys are "image/encoded" and "image/class/label", or "image" and "label". Images are brought to `image_size`, 224x224 if None,
    in colour. Without `class_names` the classes are named by "image/class/text" or else by their labels; labels that count from 1
    are moved down by one. Without test*, or where its labels are all below 0, the images of val* are for test, as everywhere: see
    `splits.held_out`. The index of the records is kept in the folder if one may write there. Images that cannot be decoded are
    counted, named and left out. Files that are compressed by GZIP or ZLIB are kept in memory, unpacked, up to 4 GiB. InputError if
    a checksum is wrong, or an example lacks a key.
    """
    folder = Path(folder)
    found = record_files(folder)
    parts = {name: [path for path in found if path.name.startswith(prefix)] for name, prefix in PREFIXES.items()}
    parts = {name: files for name, files in parts.items() if files}
    if "train" not in parts:
        names = listed([path.name for path in found], 3)
        raise InputError(f"{str(folder)!r} has no TFRecord files named train*; found {names}")
    tables = {name: table_of(files, folder, name) for name, files in parts.items()}
    return dataset_of(tables, class_names, image_size, batch_size, {"source": str(folder.resolve()), "image_size": image_size})


def record_files(folder: Path) -> list[Path]:
    """The files in `folder` that are named as TFRecord files, or have that in their name and begin as one does."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file() and _is_record_file(path))


def _is_record_file(path: Path) -> bool:
    if NAME.search(path.name) or "tfrec" not in path.name:
        return bool(NAME.search(path.name))
    begin = _begin(path)
    return len(begin) == HEADER and int.from_bytes(begin[:8], "little") + HEADER <= path.stat().st_size


def _begin(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEADER)


def holds_records(folder: Path) -> bool:
    """Whether `folder` is a set of TFRecord files, and not one of class folders with a stray file beside them."""
    files = record_files(folder)
    has_folders = any(path.is_dir() for path in folder.iterdir() if not path.name.startswith("."))
    return bool(files) and (not has_folders or any(path.name.startswith(PREFIXES["train"]) for path in files))


def dataset_of(
    tables: dict[str, Table], class_names: list[str] | None, image_size: Any, batch_size: int, origin: dict[str, Any]
) -> Dataset:
    """The image set of those tables of records, by the names of the source."""
    source = repr(origin["source"])
    known = held_out({name: table["labels"] for name, table in tables.items()}).values()
    labels, names = count_from_0({name: tables[name]["labels"] for name in known}, class_names, source)
    if class_names is None:
        names = _named(names, [text for table in tables.values() for text in table["texts"]])
    shape = (*(image_size or (DEFAULT_SIZE, DEFAULT_SIZE)), 3)
    splits = {name: _split(table, labels.get(name, table["labels"]), shape) for name, table in tables.items()}
    damaged = [line for table in tables.values() for line in table["damaged"].tolist()]
    if damaged:
        taken = sum(map(len, splits.values()))
        lines = [f"  {line}" for line in damaged[:SHOWN]] + ["  ..."] * (len(damaged) > SHOWN)
        LOG.warning("\n".join([f"{len(damaged)} of {taken + len(damaged)} images in {source} are left out:", *lines]))
    return Dataset(
        complete(splits, source),
        names,
        shape,
        batch_size=batch_size,
        origin=origin,
        skipped=tuple(damaged),
        contents=sha256(b"".join(table["sums"].astype("<i8").tobytes() for table in tables.values())).hexdigest(),
    )


def _named(labels: list[str], texts: list[Any]) -> list[str]:
    """The text of each label where there is one, with the label behind it where another label has the same one."""
    text_of = {label: " ".join(text.split()) for label, text in reversed(texts)}
    names = [text_of.get(label) or label for label in labels]
    return [f"{name} ({label})" if names.count(name) > 1 else name for name, label in zip(names, labels, strict=True)]


def _split(table: Table, labels: np.ndarray, shape: tuple[int, int, int]) -> Split:
    unpacked = _unpacked(table)

    def encoded(index: Any) -> bytes:
        content = _image(table, unpacked, int(index))
        return content.getvalue() if table["plain"][index] else upright(content)

    def take(indices: np.ndarray) -> np.ndarray:
        return np.stack([decode(_image(table, unpacked, int(index)), shape) for index in indices])

    return Split(take, labels.astype(np.int32), encoded, decoded_in_graph=True)


def _unpacked(table: Table) -> dict[int, bytes]:
    """The content of each compressed file, by its number: nothing in one can be read without all that is before it."""
    packed = table["packed"].tolist()
    size = sum(int((table["offset"] + table["length"])[table["shard"] == shard].max(initial=0)) for shard in packed)
    if size > MEMORY:
        what = f"{len(packed)} compressed TFRecord files, {str(table['files'][packed[0]])!r} and on, have {size / 2**30:.1f} GiB"
        raise InputError(f"{what}, too many to keep in memory; unpack them, or write them without compression")
    return {shard: _decompressed(Path(table["files"][shard])) for shard in packed}


def _decompressed(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if _compression(path) == "GZIP" else zlib.decompress(content)


def _image(table: Table, unpacked: dict[int, bytes], index: int) -> io.BytesIO:
    """The encoded image of a record. InputError if it is another one than the index says."""
    shard, offset, length = (int(table[column][index]) for column in ("shard", "offset", "length"))
    path = str(table["files"][shard])
    try:
        content = unpacked[shard][offset : offset + length] if shard in unpacked else _part(path, offset, length)
    except OSError as error:
        raise InputError(f"{path!r} cannot be read any more: {error.strerror}") from None
    return unchanged(content, table["sums"][index], f"the image at byte {offset} of {path!r}")


def _part(path: str, offset: int, length: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        return file.read(length)


def table_of(files: list[Path], folder: Path, name: str) -> Table:
    """Where the images of `files` are, and their labels: from the index in the folder, or by reading all of them once."""
    stamps = np.array([f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files])
    index_path = folder / f".{name}{INDEX}"
    paths = np.array([str(path) for path in files])
    with suppress(*UNREADABLE), np.load(index_path, allow_pickle=False) as content:
        if np.array_equal(content["stamps"], stamps):
            return {**{column: content[column] for column in (*COLUMNS, *LISTS)}, "files": paths}
    table = _read(files)
    partial = index_path.with_suffix(f".{os.getpid()}.npz")
    try:
        np.savez(partial, stamps=stamps, **table)  # type: ignore[arg-type]
        os.replace(partial, index_path)
    except OSError:  # not ours to write in, or full: the index is made anew next time
        partial.unlink(missing_ok=True)
    return {**table, "files": paths}


def _read(files: list[Path]) -> Table:
    LOG.warning(f"reading {len(files)} TFRecord files once, {files[0].name!r} and on, for an index of their images")
    rows: list[tuple[Any, ...]] = []
    texts: dict[str, str] = {}
    damaged: list[str] = []
    with ThreadPoolExecutor() as threads:
        for shard, (own_rows, own_texts, own_damaged) in enumerate(threads.map(_read_file, files)):
            rows += [(shard, *row) for row in own_rows]
            texts, damaged = {**own_texts, **texts}, damaged + own_damaged
    if not rows:
        raise InputError(f"{str(files[0])!r} holds no records" + (f"; {damaged[0]}" if damaged else ""))
    columns = {name: np.array(column, kind) for (name, kind), column in zip(COLUMNS.items(), zip(*rows, strict=True), strict=True)}
    packed = [shard for shard, path in enumerate(files) if _compression(path)]
    lists = (np.array(list(texts.items()), str).reshape(-1, 2), np.array(damaged, str), np.array(packed, int))
    return {**columns, **dict(zip(LISTS, lists, strict=True))}


def _read_file(path: Path) -> tuple[list[tuple[Any, ...]], dict[str, str], list[str]]:
    """Of every image the values of `COLUMNS` behind the first; names of labels; and images that cannot be decoded."""
    rows: list[tuple[Any, ...]] = []
    texts: dict[str, str] = {}
    damaged: list[str] = []
    keys: tuple[str, str] | None = None
    for offset, content in _records(path):
        features = _example(content, path, offset).features.feature
        keys = keys or (_key(features, IMAGE_KEYS, path), _key(features, LABEL_KEYS, path))
        images, labels = features[keys[0]].bytes_list.value, features[keys[1]].int64_list.value
        if len(labels) != 1 or not images:
            raise InputError(f"{str(path)!r}: a record at byte {offset} has no {keys[0]!r} or not one {keys[1]!r}")
        try:
            plain = _is_plain(images[0])
        except Exception as error:  # Pillow raises many kinds for damaged files
            damaged.append(printable(f"{path.name}: the image of the record at byte {offset}: {reason(error)}"))
            continue
        place = offset + HEADER + content.index(images[0])
        rows.append((place, len(images[0]), zlib.crc32(images[0]), plain, labels[0]))
        if text := features[TEXT_KEY].bytes_list.value:
            texts.setdefault(str(labels[0]), text[0].decode(errors="replace"))
    return rows, texts, damaged


def _is_plain(content: bytes) -> bool:
    """Whether TensorFlow reads an image as Pillow does. The errors that Pillow raises, if it cannot be decoded as a whole."""
    with Image.open(io.BytesIO(content)) as image, alone_if_large(image):
        plain = is_plain(image)
        image.draft("L", (1, 1))  # all of a JPEG is read, and an eighth of it computed
        limit_size(image)
        image.load()
    return plain


def _compression(path: Path) -> str:
    """ "GZIP" or "ZLIB" of a compressed file; "" of another one, which may begin with the same two bytes."""
    if kind := COMPRESSED.get(_begin(path)[:2], ""):
        with suppress(tf.errors.DataLossError):
            next(iter(tf.data.TFRecordDataset(str(path))))
            return ""
    return kind


def _records(path: Path) -> Iterator[tuple[int, bytes]]:
    """Place and content of each record of a file, unpacked, by TensorFlow's reader, which verifies checksums."""
    offset, records = 0, tf.data.TFRecordDataset(str(path), _compression(path))
    try:
        for batch in records.batch(TOGETHER):
            for content in batch.numpy():
                yield offset, content
                offset += HEADER + len(content) + FOOTER
    except tf.errors.OpError as error:
        why = "it ends within a record" if "truncated" in str(error) else "its checksum is wrong for the record"
        where = f"{why} at byte {_bytes_of_whole(records)}"
        raise InputError(f"{str(path)!r} is damaged or no TFRecord file: {where}; copy it again") from None


def _bytes_of_whole(records: Batches) -> int:
    """Bytes of the records before the first that cannot be read."""
    size = 0
    with suppress(tf.errors.OpError):
        for content in records.as_numpy_iterator():
            size += HEADER + len(content) + FOOTER
    return size


def _example(content: bytes, path: Path, offset: int) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.train import Example

    try:
        return Example.FromString(content)
    except DecodeError:
        raise InputError(f"{str(path)!r} is damaged: the record at byte {offset} is no tf.train.Example") from None


def _key(features: Any, keys: tuple[str, ...], path: Path) -> str:
    for key in keys:
        if key in features:
            return key
    raise InputError(f"{str(path)!r}: its examples have none of {', '.join(keys)}; they have {', '.join(sorted(features))}")
