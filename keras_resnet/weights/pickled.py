"""PyTorch's files of weights without PyTorch: tensors and the containers that hold them are rebuilt, and nothing else is run.

A pickle is a program that may call any function of Python. This one knows a handful of functions, which only make arrays.
"""

import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from keras_resnet.errors import InputError

MAGIC = 0x1950A86A20F9469CFC6C  # of files before PyTorch 1.6
LARGEST_PICKLE = 100 * 2**20  # bytes; names and shapes take far less
DEEPEST = 8  # dictionaries in each other
MOST_ENTRIES = 100_000  # of all dictionaries
MOST_SHARED = 8  # bytes of tensors for each byte of their storages: some networks use a tensor twice

STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


class Tensor(NamedTuple):
    """A tensor before its bytes are read: a view of a storage."""

    storage: tuple[str, str, int]  # key, type, elements
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class StorageType(str):
    """The name of a NumPy type, in place of a class of PyTorch."""


def tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def parameter(data: Any, *_: Any) -> Any:
    return data


ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): tensor,
    ("torch._utils", "_rebuild_tensor"): tensor,
    ("torch._utils", "_rebuild_parameter"): parameter,
    ("torch", "Size"): tuple,
    **{("torch", name): StorageType(dtype) for name, dtype in STORAGES.items()},
}


class Unpickler(pickle.Unpickler):
    """Reads a pickle with the functions of `ALLOWED`. InputError that names any other."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise InputError(
                f"is refused: its pickle asks for {module}.{name}, and a pickle can run any program. Save the weights alone, "
                "torch.save(model.state_dict(), ...), or as safetensors"
            ) from None

    def persistent_load(self, pid: Any) -> tuple[str, str, int]:
        kind, dtype, key, _, count, *rest = pid
        if kind != "storage" or not isinstance(dtype, StorageType) or rest not in ([], [None]):
            raise InputError("is refused: its pickle refers to something that is no storage of a tensor")
        return str(key), str(dtype), int(count)


def read_pytorch(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """Of a zip archive: a pickle, and a file for each storage."""
    (entry,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    folder = PurePosixPath(entry).parent
    names = set(archive.namelist())
    order = archive.read(f"{folder}/byteorder").decode() if f"{folder}/byteorder" in names else "little"
    if archive.getinfo(entry).file_size > LARGEST_PICKLE:
        raise InputError(
            f"is refused: its pickle has {archive.getinfo(entry).file_size:,} bytes, at most {LARGEST_PICKLE:,} are read"
        )
    with archive.open(entry) as stream:
        content = Unpickler(stream).load()
    storages: dict[str, np.ndarray] = {}

    def storage_of(tensor: Tensor) -> np.ndarray:
        key, dtype, _ = tensor.storage
        if key not in storages:
            storages[key] = array_of(archive.read(f"{folder}/data/{key}"), dtype, order)
        return storages[key]

    return named(content, storage_of)


def read_legacy_pytorch(file: Any) -> dict[str, np.ndarray]:
    """Of a file before PyTorch 1.6: five pickles, and then the storages, each after its number of elements."""
    if Unpickler(file).load() != MAGIC:
        raise InputError("is refused: it is a pickle, and not one of PyTorch's: a pickle can run any program")
    _, system = Unpickler(file).load(), Unpickler(file).load()
    order = "little" if not isinstance(system, dict) or system.get("little_endian", True) else "big"
    content, keys = Unpickler(file).load(), Unpickler(file).load()
    tensors = list(flattened(content).values())
    types = {tensor.storage[0]: tensor.storage[1] for tensor in tensors}
    storages = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        size = count * numpy_type(types[key]).itemsize
        data = file.read(size)
        if size < 0 or len(data) != size:
            raise InputError("cannot be read, it may be damaged: it ends early")
        storages[key] = array_of(data, types[key], order)
    return named(content, lambda tensor: storages[tensor.storage[0]])


def numpy_type(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def array_of(content: bytes, dtype: str, order: str) -> np.ndarray:
    array = np.frombuffer(content, numpy_type(dtype))
    return array if order == sys.byteorder else array.byteswap()


def named(content: Any, storage_of: Callable[[Tensor], np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a state dict, those in dictionaries inside of it by names with a dot. Each must lie within its storage, and
    all together must not need much more memory than their storages."""
    tensors = flattened(content)
    storages = {tensor.storage[0]: storage_of(tensor) for tensor in tensors.values()}
    stored, copied = sum(storage.nbytes for storage in storages.values()), 0
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        arrays[name] = view(storages[tensor.storage[0]], tensor, name)
        copied += arrays[name].nbytes
        if copied > MOST_SHARED * stored:
            raise InputError(f"is refused: its tensors are the same {stored:,} bytes again and again, a bomb")
    return arrays


def view(storage: np.ndarray, tensor: Tensor, name: str) -> np.ndarray:
    shape, strides, offset = tensor.shape, tensor.strides, tensor.offset
    numbers = (*shape, *strides, offset)
    if len(shape) != len(strides) or not all(type(number) is int and number >= 0 for number in numbers):
        raise InputError(f"is refused: tensor {name!r} has shape {shape} and strides {strides}")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) if all(shape) else offset - 1
    if last >= storage.size or np.prod(shape, dtype=object) > storage.size:
        raise InputError(f"is refused: tensor {name!r} of shape {shape} reaches beyond its storage of {storage.size} numbers")
    if not all(shape):
        return np.zeros(shape, storage.dtype)
    steps = tuple(stride * storage.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False).copy()


def flattened(content: Any) -> dict[str, Tensor]:
    """The tensors of dictionaries in each other, by their names joined with dots. Numbers and texts beside them are left out."""
    tensors: dict[str, Tensor] = {}
    seen, left = 0, [("", content, 0)]
    while left:
        name, value, depth = left.pop()
        seen += 1
        if seen > MOST_ENTRIES:  # a dictionary may be in others many times, and these in others
            raise InputError(f"is refused: its dictionaries have more than {MOST_ENTRIES:,} entries, a bomb")
        if isinstance(value, Tensor):
            tensors[name or "tensor"] = value
        elif isinstance(value, dict) and depth <= DEEPEST:
            inside = [(f"{name}.{key}" if name else str(key), entry, depth + 1) for key, entry in value.items()]
            left.extend(reversed(inside))
    return tensors
