"""A file of weights as named arrays: safetensors, HDF5 (Keras), `.keras`, `.npz` (BiT), and PyTorch's `.pth`.

The kind of a file is seen from its first bytes, not from its name. Nothing in it is run, and nothing outside of it is read.
"""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.atomic import UNREADABLE
from keras_resnet.errors import InputError
from keras_resnet.outside import regular
from keras_resnet.weights.pickled import read_legacy_pytorch, read_pytorch

Arrays = dict[str, np.ndarray]
"""Arrays by the names that they have in the file."""

LARGEST = 20 * 2**30  # bytes of all arrays
DENSEST = 50  # bytes of arrays for each byte of the file: weights hardly compress, and a bomb does a thousand times
SMALL = 2**20  # bytes that are always allowed
KERAS_WEIGHTS = "model.weights.h5"  # in a .keras file


def read_arrays(path: str | Path) -> Arrays:
    """All arrays of a file of weights, by their names there. Those of PyTorch and safetensors may be float16 or bfloat16.

    InputError, in one line, for a file that is missing, damaged, of another kind, larger inside than its size allows, or that asks
    for code to be run.
    """
    path = Path(path)
    try:
        file = open(path, "rb", opener=regular)  # noqa: SIM115
    except FileNotFoundError:
        raise InputError(f"no weights at {str(path)!r}") from None
    try:
        with file:
            return kind_of(file)(file)
    except InputError as error:
        raise InputError(f"{str(path)!r} {error}") from None
    except (*UNREADABLE, RuntimeError, TypeError, IndexError, RecursionError, MemoryError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"{str(path)!r} cannot be read, it may be damaged: {reason[:200]}") from None


def kind_of(file: Any) -> Callable[[Any], Arrays]:
    """What reads an open file, by its content."""
    start = file.read(9)
    file.seek(0)
    if start[8:] == b"{":  # first: the eight bytes before it are a length, and may be any
        return read_safetensors
    if start.startswith(b"\x89HDF"):
        return read_hdf5
    if start.startswith(b"PK"):
        return read_zip
    if start.startswith(b"\x80"):
        return read_legacy_pytorch
    raise InputError("is none of the files of weights that are read: safetensors, HDF5, .keras, .npz, PyTorch's .pth")


def size_of(file: Any) -> int:
    return os.fstat(file.fileno()).st_size if not isinstance(file, io.BytesIO) else file.getbuffer().nbytes


def check_size(declared: int, stored: int) -> None:
    """InputError where arrays of so many bytes cannot be in a file of so many."""
    if declared > LARGEST or declared > max(SMALL, DENSEST * stored):
        raise InputError(f"is refused: its {stored:,} bytes would become {declared:,} in memory, a decompression bomb")


def read_zip(file: Any) -> Arrays:
    """Of a zip archive: a `.keras` file, an `.npz`, or a PyTorch file of version 1.6 or later."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        check_size(sum(entry.file_size for entry in entries), size_of(file))
        if KERAS_WEIGHTS in names:
            return read_hdf5(io.BytesIO(archive.read(KERAS_WEIGHTS)))
        if any(name.endswith("/data.pkl") for name in names):
            return read_pytorch(archive)
    if not names or not all(name.endswith(".npy") for name in names):
        raise InputError("is an archive, but of neither Keras, PyTorch nor NumPy")
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def read_safetensors(file: Any) -> Arrays:
    """https://github.com/huggingface/safetensors. Its types of eight bits and less become float32."""
    import safetensors

    content = file.read()
    try:
        entries = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise InputError(f"cannot be read, it may be damaged: {error}") from None
    return {name: _tensor(entry) for name, entry in entries}


def _tensor(entry: dict[str, Any]) -> np.ndarray:
    import ml_dtypes

    types = {"BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2, "BOOL": "?"}
    name = entry["dtype"]
    dtype = np.dtype(types.get(name) or f"<{name[0].lower()}{int(name[1:]) // 8}")
    array = np.frombuffer(bytes(entry["data"]), dtype).reshape(entry["shape"])
    return array.astype("float32") if name.startswith("F8") else array


def read_hdf5(file: Any) -> Arrays:
    """Of Keras: the datasets of a file by their paths in it. Links to other files are refused."""
    import h5py

    arrays: Arrays = {}
    with h5py.File(file, "r") as content:
        sets: dict[str, Any] = {}
        _collect(content, sets, set())
        check_size(sum(dataset.nbytes for dataset in sets.values()), size_of(file))
        for name, dataset in sets.items():
            if dataset.external or dataset.is_virtual:
                raise InputError(f"is refused: its array {name!r} lies in another file")
            arrays[name] = np.asarray(dataset[()])
    return arrays


def _collect(group: Any, sets: dict[str, Any], seen: set[int]) -> None:
    """Add the arrays of a group. Groups that are in each other twice would have more paths than could ever be walked."""
    import h5py

    for key in group:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise InputError(f"is refused: {group.name.rstrip('/')}/{key} is a link")
        entry = group[key]
        if isinstance(entry, h5py.Group):
            place = h5py.h5o.get_info(entry.id).addr
            if place in seen:
                raise InputError(f"is refused: its group {entry.name} is there under two names")
            seen.add(place)
            _collect(entry, sets, seen)
        elif entry.dtype.kind in "fiub" or entry.dtype.itemsize == 2:
            sets[entry.name.lstrip("/")] = entry
