"""Open an exported file in its own runtime: TensorFlow, LiteRT, ONNX Runtime, or Keras for a `.keras` file."""

import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.layers import load

Runner = Callable[[np.ndarray], np.ndarray]
"""Raw pixels (batch, height, width, channels) to float outputs (batch, classes)."""


def open_artefact(path: str | Path) -> Runner:
    """A function that runs the file, chosen by its name: a SavedModel folder, `.tflite`, `.onnx` or `.keras`.

    InputError if there is none, or if it is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"no model at {str(path)!r}")
    kind = "saved_model" if path.is_dir() else path.suffix
    if kind not in RUNTIMES or (path.is_dir() and not (path / "saved_model.pb").is_file()):
        raise InputError(f"{str(path)!r} is not a SavedModel folder, .tflite, .onnx or .keras file")
    with explained(path, "cannot be opened, it may be damaged"):
        runner = RUNTIMES[kind](path)

    def run(images: np.ndarray) -> np.ndarray:
        with explained(path, f"cannot take images of shape {images.shape}"):
            return runner(images)

    return run


@contextmanager
def explained(path: Path, problem: str) -> Iterator[None]:
    """Turn what a runtime raises, each its own kind, into an InputError that names the file."""
    try:
        yield
    except (ImportError, MemoryError, InputError):
        raise
    except Exception as error:
        why = next((line for line in str(error).splitlines() if line), type(error).__name__)
        raise InputError(f"{str(path)!r} {problem}: {why}") from error


def keras_model(path: Path) -> keras.Model:
    """The model in a `.keras` file, for prediction. InputError if it is damaged."""
    with explained(path, "cannot be opened, it may be damaged"):
        if not zipfile.is_zipfile(path):  # Keras would say that there is no such file
            raise ValueError("not a zip archive, as a Keras file is")
        return load(path, compile=False, safe_mode=True)


def keras_runner(path: Path) -> Runner:
    """Keras, on the backend in use."""
    return keras_model(path).predict_on_batch


def saved_model_runner(path: Path) -> Runner:
    """TensorFlow."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # the signature works only as long as this object lives
    return lambda images: loaded.serve(tf.constant(images, tf.float32)).numpy()


def tflite_runner(path: Path) -> Runner:
    """LiteRT. Integer inputs and outputs are scaled as the file says."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=os.cpu_count())

    def run(images: np.ndarray) -> np.ndarray:
        image, output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        if tuple(image["shape"]) != images.shape:
            interpreter.resize_tensor_input(image["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(image["index"], to_tensor(images, image))
        interpreter.invoke()
        return from_tensor(interpreter.get_tensor(output["index"]), output)

    return run


def onnx_runner(path: Path) -> Runner:
    """ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images.astype(np.float32)})[0]


def to_tensor(values: np.ndarray, details: dict) -> np.ndarray:
    """Real values as a tensor of LiteRT's type: value = scale * (integer - zero point)."""
    scale, zero_point = details["quantization"]
    if not scale:
        return values.astype(details["dtype"])
    limits = np.iinfo(details["dtype"])
    return np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max).astype(details["dtype"])


def from_tensor(tensor: np.ndarray, details: dict) -> np.ndarray:
    """A tensor of LiteRT as real values."""
    scale, zero_point = details["quantization"]
    return scale * (tensor.astype(np.float32) - zero_point) if scale else tensor


RUNTIMES: dict[str, Callable[[Path], Runner]] = {
    "saved_model": saved_model_runner,
    ".tflite": tflite_runner,
    ".onnx": onnx_runner,
    ".keras": keras_runner,
}
