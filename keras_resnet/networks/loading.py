"""Opens Keras files of networks of any depth; refuses other files with one line."""

import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.networks.pixel_range import normalizing_layers, notice_in_predictions
from keras_resnet.networks.settings import fixed_settings
from keras_resnet.outside import check_regular
from keras_resnet.shipped import by_name, suggestion

WEIGHTS, LARGEST = ".weights.h5", 2**26  # bytes of any other member
MOST_PACKED = 100  # times the size of the file, that its weights may unpack to


def load(path: str | Path, **settings: Any) -> keras.Model:
    """`keras.saving.load_model` for networks of any depth: of a `.keras` file, of that in a folder, or of a trained network of this
    project by name, such as "cifar10-resnet20" (in a clone of the repository). InputError, which names the file, if there is none
    or it cannot be read."""
    path = by_name(path)
    path = path / "model.keras" if path.is_dir() else path
    if not path.exists():
        raise InputError(f"no model at {str(path)!r}{'' if path.suffix else suggestion(path)}")
    check_regular(path)
    if not zipfile.is_zipfile(path):  # Keras would say that there is no such file
        raise InputError(f"{str(path)!r} cannot be opened, it may be damaged: it is not a zip archive, as Keras files are")
    try:
        check_members(path)
        with fixed_settings(), deep_recursion():
            model = keras.saving.load_model(path, **settings)
            keep_channels_last(model)
            notice_in_predictions(model)
            return model
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        why = next((line for line in str(error).splitlines() if line), type(error).__name__)
        if "safe_mode" in str(error):  # Keras would advise to open it without
            why = "it has Python code inside, such as a Lambda layer, which is never run"
        raise InputError(f"{str(path)!r} cannot be opened, it may be damaged: {why}") from error


def check_members(path: Path) -> None:
    """ValueError for a Keras file that unpacks to much more than weights can: Keras would read it into memory."""
    most = max(LARGEST, MOST_PACKED * path.stat().st_size)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.file_size > (most if member.filename.endswith(WEIGHTS) else LARGEST):
                raise ValueError(f"{member.filename!r} inside would take {member.file_size:,} bytes")


def weights_of_layers(model: keras.Model) -> dict[str, int]:
    """How many weights each layer of a model has, by its name; those without are left out."""
    counts = {layer.name: sum(int(np.prod(weight.shape)) for weight in layer.weights) for layer in model.layers}
    return {name: count for name, count in counts.items() if count}


def keep_channels_last(model: keras.Model) -> None:
    """Let the normalisation in a file of an earlier version scale the last axis, whatever Keras's global data format is later."""
    for layer in normalizing_layers(model):
        if np.ndim(layer.scale) == 1:
            layer.scale, layer.offset = [[layer.scale]], [[layer.offset]]


@contextmanager
def deep_recursion(limit: int = 20_000) -> Iterator[None]:
    """Room for Keras to walk a deep graph: it recurses once per node on the way to the input."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, limit))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
