"""Runs model files in their own runtimes: TensorFlow, LiteRT, ONNX Runtime, Keras."""

import importlib
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from keras_resnet.hooks import operations_of

INTERPRETER, COMPILED = LITERT = ("interpreter", "compiled")  # what runs a `.tflite` file in LiteRT
DELEGATE = "DELEGATE"  # name of a part of a file that another library runs
Runner = Callable[[np.ndarray], np.ndarray]
"""Raw pixels (batch, *image_shape), channels last, to outputs: (batch, classes), or (batch, k, 2), the score and number of the
best k classes, of a file that gives those. SavedModels may also take the contents of JPEG and PNG files, (batch,) of type "S"."""

SCORES = ("logits", "probabilities", "scores")
"""Names that exported files give to their outputs; "scores" are those of the best classes, beside "classes"."""


class LoadedFile(NamedTuple):
    """A file loaded by its runtime."""

    run: Runner
    shape: tuple[int | None, ...]  # of the pixels that it takes, channels last
    scores: str  # which of `SCORES` it puts out; empty where it does not say
    layers: dict[str, int] | None = None  # of a Keras file: the weights of each layer that has any
    compiled: Callable[[], Runner] | None = None  # of a `.tflite` file: makes the runner of LiteRT's CompiledModel
    accelerated: int | None = None  # of a `.tflite` file: how many of its operations the Interpreter leaves to XNNPACK


PIXELS, ENCODED = "pixels", "encoded"  # signatures of a SavedModel, beside "serving_default"
CHANNELS = (1, 3, 4)  # of pictures: an axis of so many is that of the colours


def saved_model_runner(tf: ModuleType, path: Path, threads: int) -> LoadedFile:
    """TensorFlow: a signature for integer pixels, one for float pixels, one for image files, where it has them."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(str(served_version(path)))  # its signatures work only as long as this object lives
    signatures = loaded.signatures
    if "serving_default" not in signatures:
        raise ValueError(f"it has no signature 'serving_default', but {', '.join(sorted(signatures)) or 'none at all'}")
    default = signatures[PIXELS if PIXELS in signatures else "serving_default"]
    _, pixels = only(list(default.structured_input_signature[1].items()))

    def run(images: np.ndarray) -> np.ndarray:
        assert loaded
        name = {"S": ENCODED, "f": PIXELS}.get(images.dtype.kind)
        signature = signatures[name if name in signatures else "serving_default"]
        name, spec = only(list(signature.structured_input_signature[1].items()))
        if not spec.shape.is_compatible_with(images.shape):  # TensorFlow would take two channels as two groups of one
            raise ValueError(f"it takes {spec.shape}")
        content = images if spec.dtype == tf.string else as_type(images, spec.dtype.as_numpy_dtype)
        return as_one_array([output.numpy() for output in signature(**{name: tf.constant(content)}).values()])

    return LoadedFile(in_batches(run, pixels.shape[0]), tuple(pixels.shape[1:]), named_scores(default.structured_outputs))


def served_version(path: Path) -> Path:
    """The folder of a SavedModel: `path`, or the newest of the numbered versions in it that TensorFlow Serving would take."""
    if (path / "saved_model.pb").is_file():
        return path
    return max((entry.parent for entry in path.glob("[0-9]*/saved_model.pb")), key=lambda entry: int(entry.name))


def tflite_runner(litert: ModuleType, path: Path, threads: int) -> LoadedFile:
    """LiteRT's Interpreter, and its CompiledModel beside it. Integer inputs and outputs are scaled as the file says."""
    interpreter = litert.Interpreter(model_path=str(path), num_threads=threads)
    image = only(interpreter.get_input_details())

    def run(images: np.ndarray) -> np.ndarray:
        if tuple(interpreter.get_input_details()[0]["shape"]) != images.shape:
            interpreter.resize_tensor_input(image["index"], images.shape, strict=True)
            interpreter.allocate_tensors()
        interpreter.set_tensor(image["index"], to_tensor(images, image))
        interpreter.invoke()
        details = interpreter.get_output_details()
        return as_one_array([from_tensor(interpreter.get_tensor(output["index"]), output) for output in details])

    interpreter.allocate_tensors()
    size, *shape = [int(side) if side > 0 else None for side in image["shape_signature"]]
    outputs = [name for signature in interpreter.get_signature_list().values() for name in signature["outputs"]]
    # TFLite's specification of integers: those of a softmax are always 256ths.
    is_softmax = any(output["quantization"] in ((1 / 256, 0), (1 / 256, -128)) for output in interpreter.get_output_details())
    scores = named_scores(outputs) or ("probabilities" if is_softmax else "")

    def compiled() -> Runner:
        return in_batches(compiled_runner(path, threads, image, interpreter.get_output_details()), size)

    return LoadedFile(in_batches(run, size), tuple(shape), scores, compiled=compiled, accelerated=accelerated(interpreter))


def accelerated(interpreter: Any) -> int | None:
    """How many operations of a file an Interpreter leaves to XNNPACK: those between the inputs and the outputs of the parts that it
    took over; None where it does not tell. Of CompiledModel, LiteRT only tells whether all are on a GPU or NPU."""
    try:
        rows = operations_of(interpreter)
    except ValueError:  # a tensor of a type that Python has not
        return None
    maker_of = {made: number for number, (name, _, outs) in enumerate(rows) if name != DELEGATE for made in outs}
    inputs_of = [ins for _, ins, _ in rows]
    taken: set[int] = set()
    for name, given, wanted in rows:
        waiting = [*wanted] if name == DELEGATE else []
        while waiting:
            tensor = waiting.pop()
            if tensor not in given and tensor in maker_of and maker_of[tensor] not in taken:
                taken.add(maker_of[tensor])
                waiting += inputs_of[maker_of[tensor]]
    return len(taken)


def compiled_runner(path: Path, threads: int, image: dict[str, Any], outputs: list[dict[str, Any]]) -> Runner:
    """LiteRT's CompiledModel, on the processor. It does not tell how integers are scaled: the Interpreter's `image` and `outputs`
    do, which are matched by name."""
    model = compiled_model(path, threads)
    name = only(list(model.get_signature_list()))
    scaled = {details["name"]: details for details in outputs}
    shape: tuple[int, ...] = ()

    def run(images: np.ndarray) -> np.ndarray:
        nonlocal shape
        if images.shape != shape:
            taken = only(list(model.get_input_tensor_details(name).values()))["shape"]
            if tuple(taken) != images.shape:
                model.resize_input_tensor(0, images.shape)
            shape = images.shape
        inputs, results = model.create_input_buffers(0), model.create_output_buffers(0)
        only(inputs).write(to_tensor(images, image))
        model.run_by_index(0, inputs, results)
        found = []
        for buffer, given in zip(results, model.get_output_tensor_details(name).values(), strict=True):
            values = buffer.read(math.prod(given["shape"]), np.dtype(given["dtype"]).type)
            found.append(from_tensor(values.reshape(given["shape"]), scaled[given["name"]]))
        return as_one_array(found)

    return run


def compiled_model(path: Path, threads: int) -> Any:
    """LiteRT's CompiledModel of a file, on the processor."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.cpu_options import CpuOptions
    from ai_edge_litert.options import Options

    return CompiledModel.from_buffer(path.read_bytes(), options=Options(cpu_options=CpuOptions(num_threads=threads)))


def onnx_runner(onnxruntime: ModuleType, path: Path, threads: int) -> LoadedFile:
    """ONNX Runtime on the CPU. Images are turned to channels first for a file that wants them so."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    image = only(session.get_inputs())
    dtype = {"tensor(uint8)": "uint8"}.get(image.type, "float32")
    size, *shape = [side if isinstance(side, int) else None for side in image.shape]
    layout = session.get_modelmeta().custom_metadata_map.get("layout")
    has_colours_first = len(shape) > 1 and shape[0] in CHANNELS and shape[-1] not in CHANNELS
    channels_first = layout == "NCHW" if layout else has_colours_first

    def run(images: np.ndarray) -> np.ndarray:
        if channels_first:
            images = np.moveaxis(images, -1, 1)
        return as_one_array(session.run(None, {image.name: np.ascontiguousarray(as_type(images, dtype))}))

    sides = (*shape[1:], shape[0]) if channels_first else tuple(shape)
    return LoadedFile(in_batches(run, size), sides, named_scores(output.name for output in session.get_outputs()))


def keras_runner(keras: ModuleType, path: Path, threads: int) -> LoadedFile:
    """Keras, on the backend in use. Only TensorFlow lets the number of threads be chosen."""
    from keras_resnet.networks.connections import scores_of
    from keras_resnet.networks.loading import load, weights_of_layers
    from keras_resnet.networks.settings import fixed_settings

    if keras.backend.backend() == "tensorflow":
        tf = importlib.import_module("tensorflow")
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    model = load(path, compile=False, safe_mode=True)
    image = only(keras.tree.flatten(model.inputs))

    @fixed_settings()
    def run(images: np.ndarray) -> np.ndarray:
        return as_one_array([np.asarray(output) for output in keras.tree.flatten(model.predict_on_batch(images))])

    return LoadedFile(run, tuple(image.shape[1:]), scores_of(model), weights_of_layers(model))


RUNTIMES: dict[str, tuple[str, Callable[[ModuleType, Path, int], LoadedFile]]] = {
    "saved_model": ("tensorflow", saved_model_runner),
    ".tflite": ("ai_edge_litert.interpreter", tflite_runner),
    ".onnx": ("onnxruntime", onnx_runner),
    ".keras": ("keras", keras_runner),
}


def named_scores(outputs: Iterable[str]) -> str:
    """Which of `SCORES` is among the names of a file's outputs, or nothing."""
    names = set(outputs)
    return next((kind for kind in SCORES if kind in names), "")


def kind_of(path: Path) -> str | None:
    """The key of `RUNTIMES` for a file or folder, by its name; None if there is none."""
    if path.is_dir():
        folders = [path, *(entry for entry in path.iterdir() if entry.name.isdecimal())]
        return "saved_model" if any((folder / "saved_model.pb").is_file() for folder in folders) else None
    return path.suffix if path.suffix in RUNTIMES else None


def only(inputs: list[Any]) -> Any:
    """The input of a file that has one. ValueError for another number."""
    if len(inputs) != 1:
        raise ValueError(f"it has {len(inputs)} inputs, and a classifier of images has one")
    return inputs[0]


def in_batches(run: Runner, size: int | None) -> Runner:
    """`run` for any number of images, where the file takes batches of `size`; None: of any size."""
    if size is None:
        return run

    def run_batches(images: np.ndarray) -> np.ndarray:
        missing = -len(images) % size
        padded = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        outputs = [run(padded[start : start + size]) for start in range(0, len(padded), size)]
        return np.concatenate(outputs)[: len(images)]

    return run_batches


def as_one_array(outputs: list[np.ndarray]) -> np.ndarray:
    """The outputs of a file as one array, see `Runner`."""
    if len(outputs) == 1:
        return outputs[0]
    kinds = [output.dtype.kind for output in outputs]
    if sorted(kinds) != ["f", "i"] or outputs[0].shape != outputs[1].shape:
        raise ValueError(f"it has {len(outputs)} outputs, which are not the scores and numbers of the best classes")
    numbers, scores = sorted(outputs, key=lambda output: output.dtype.kind == "f")
    return np.stack([scores, numbers.astype(scores.dtype)], axis=-1)


def as_type(images: np.ndarray, dtype: Any) -> np.ndarray:
    """Pixels as a type: rounded and clipped where it is one of integers."""
    if images.dtype == dtype:
        return images
    if np.dtype(dtype).kind == "f":
        return images.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(images), limits.min, limits.max).astype(dtype)


def to_tensor(values: np.ndarray, details: dict) -> np.ndarray:
    """Real values as a tensor of LiteRT's type: value = scale * (integer - zero point)."""
    scale, zero_point = details["quantization"]
    is_raw = not scale or (scale == 1 and zero_point == 0)  # pixels that a phone need not touch, nor does its clock run
    return as_type(values if is_raw else values / scale + zero_point, details["dtype"])


def from_tensor(tensor: np.ndarray, details: dict) -> np.ndarray:
    scale, zero_point = details["quantization"]
    return scale * (tensor.astype(np.float32) - zero_point) if scale else tensor
