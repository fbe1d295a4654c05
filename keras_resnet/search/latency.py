"""Latency before training: LiteRT measures each distinct operation of a network once, and the times are added up."""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np

from keras_resnet.atomic import replace_text
from keras_resnet.console import end_quietly, quiet
from keras_resnet.errors import InputError, unknown
from keras_resnet.export.quantizer import FloatFile
from keras_resnet.export.rescaling import scaled_by_convolution
from keras_resnet.fields import to_json
from keras_resnet.files.runtimes import COMPILED, INTERPRETER, compiled_model
from keras_resnet.files.targets import Target
from keras_resnet.json_files import read_json
from keras_resnet.networks.fusion import is_folded, is_fused
from keras_resnet.networks.graph import Convolution, Dropout, Input, Node, Pad, Rescale, in_order
from keras_resnet.networks.layers import build, realize
from keras_resnet.networks.resnet import outputs
from keras_resnet.networks.settings import fixed_settings
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.runs.environment import processor
from keras_resnet.timing import seconds_of

KINDS = (None, "int8")
RUNTIMES = {INTERPRETER: "", COMPILED: ", CompiledModel"}  # of LiteRT, and what each adds to the name of a table
SECONDS, FEWEST, TURNS = 0.05, 10, 5  # of a turn, runs of a turn, and turns, of which the fastest counts
EXAMPLES = 4  # random inputs that the ranges of integers are found with
PIXELS, NUMBERS = (0.0, 255.0), (-2.0, 2.0)  # ranges of those of a network, and of an operation inside it
IRRELEVANT = ("inputs", "name", "shape", "zero", "momentum", "epsilon")  # fields of a node that no time depends on
OVERHEAD = "overhead"


@dataclass(frozen=True)
class Piece:
    """One operation of a file: nodes of a network in a row."""

    nodes: tuple[Node, ...]

    @property
    def key(self) -> str:
        """All that its time depends on, as text."""
        rows = []
        for node in self.nodes:
            names = [field.name for field in dataclasses.fields(node) if field.name not in IRRELEVANT]
            rows.append({"kind": type(node).__name__} | {name: getattr(node, name) for name in names})
        return json.dumps([rows, [source.shape for source in self.nodes[0].inputs]], sort_keys=True, default=str)


class LatencyTable:
    """Milliseconds of operations on this machine, by LiteRT with one thread, in a file, separately for each kind of processor and
    each runtime.

    Args:
        path: a JSON file, which is read, and extended as operations are measured.
        quantize: None for float32, or "int8".
        runtime: "interpreter", or "compiled" for LiteRT's CompiledModel.
        on_measured: called with the number of operations in the table, after each that is measured.
    """

    def __init__(
        self,
        path: str | Path,
        quantize: str | None = None,
        on_measured: Callable[[int], None] = lambda count: None,
        *,
        runtime: str = INTERPRETER,
    ) -> None:
        check_measured(quantize, runtime)
        self.path, self.quantize, self.on_measured, self.runtime = Path(path), quantize, on_measured, runtime
        self.tables: dict[str, dict[str, float]] = {}
        if self.path.exists():
            try:
                self.tables = read_json(self.path, dict[str, dict[str, float]])
            except InputError as error:
                raise InputError(f"{error}; remove it, and operations are measured again") from None
        self.milliseconds = self.tables.setdefault(f"{processor()}, {quantize or 'float32'}{RUNTIMES[runtime]}", {})

    def predict(self, spec: ResNetSpec) -> float:
        """Milliseconds for one image: the sum over the operations of the network. New ones are measured."""
        spec.require_sizes("a latency")
        image, out = outputs(spec)
        operations = pieces(image, keras.tree.flatten(out))
        examples = {piece.key: piece for piece in operations}
        counts = Counter(piece.key for piece in operations)
        overhead = self.time_of(OVERHEAD, identity)  # of every run, and so in the time of every operation
        times = {key: self.time_of(key, partial(model_of, piece)) for key, piece in examples.items()}
        return overhead + sum(count * max(0.0, times[key] - overhead) for key, count in counts.items())

    def measure(self, spec: ResNetSpec) -> float:
        """Milliseconds for one image of the whole network, measured."""
        spec.require_sizes("a latency")
        return self.time_of(f"whole: {to_json(spec)}", lambda: build(spec), PIXELS)

    @fixed_settings()
    def time_of(self, key: str, model: Callable[[], keras.Model], inputs: tuple[float, float] = NUMBERS) -> float:
        """The time in the table; a new one is measured, with inputs from that range."""
        if key not in self.milliseconds:
            self.milliseconds[key] = measure_model(as_trained(model(), inputs), self.quantize, inputs, self.runtime)
            replace_text(self.path, json.dumps(self.tables, indent=1, sort_keys=True) + "\n")
            self.on_measured(len(self.milliseconds))
        return self.milliseconds[key]


def check_measured(quantize: str | None, runtime: str) -> None:
    """InputError for files that no table has times of, and for what is no runtime of LiteRT."""
    if quantize not in KINDS:
        raise InputError(f"quantize={quantize!r}: expected None or 'int8'")
    if runtime not in RUNTIMES:
        raise unknown("runtime", runtime, RUNTIMES)


def pieces(image: Node, outputs: Iterable[Node]) -> list[Piece]:
    """The operations of a file of that network, in order."""
    nodes = [node for node in in_order(outputs) if node is not image and not isinstance(node, Dropout)]
    consumers = Counter(skip_dropout(source) for node in nodes for source in node.inputs)
    groups: list[list[Node]] = []
    group_of: dict[Node, list[Node]] = {}
    for node in nodes:
        source = skip_dropout(node.inputs[0])
        group = group_of.get(source)
        if group is None or consumers[source] != 1 or not is_joined(group, node):
            group = []
            groups.append(group)
        group.append(node)
        group_of[node] = group
    return [Piece(tuple(group)) for group in groups]


def skip_dropout(node: Node) -> Node:
    while isinstance(node, Dropout):
        (node,) = node.inputs
    return node


def is_joined(group: list[Node], node: Node) -> bool:
    """Whether a file computes `node` together with the nodes before it, or in another time than separately."""
    last = group[-1]
    if isinstance(node, Convolution):
        return isinstance(last, (Rescale, Pad)) and group == [last]
    return is_folded(node, last) or is_fused(node, last)


def model_of(piece: Piece) -> keras.Model:
    """A network of that operation only."""
    starts = {source: Input(inputs=(), name=None, given=source.shape) for source in dict.fromkeys(piece.nodes[0].inputs)}
    tensors: dict[Node, Any] = {start: keras.Input(start.shape) for start in starts.values()}
    copies: dict[Node, Node] = dict(starts)
    for node in piece.nodes:
        copies[node] = dataclasses.replace(node, inputs=tuple(copies[source] for source in node.inputs), name=None)
    last = copies[piece.nodes[-1]]
    return keras.Model(list(tensors.values()), realize(tensors, [last])[last])


def identity() -> keras.Model:
    """A network that does next to nothing."""
    number = keras.Input((1,))
    return keras.Model(number, keras.layers.ReLU()(number))


def as_trained(model: keras.Model, inputs: tuple[float, float]) -> keras.Model:
    """A model with other weights than at the start, and the normalisations of random inputs: a converter leaves out operations that
    change nothing, and where maps grew with depth, integers could not hold them, and slower code would run.
    """
    generator = np.random.default_rng(0)
    weights = model.get_weights()
    model.set_weights([weight + generator.uniform(0, 0.1, weight.shape) if weight.ndim == 1 else weight for weight in weights])
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    examples = [generator.uniform(*inputs, (EXAMPLES, *tensor.shape[1:])).astype("float32") for tensor in model.inputs]
    model(keras.tree.pack_sequence_as(model.input, examples), training=True)
    return model


def measure_model(
    model: keras.Model, quantize: str | None, inputs: tuple[float, float] = NUMBERS, runtime: str = INTERPRETER
) -> float:
    """Milliseconds of one run of a model by LiteRT with one thread, for one example: the fastest of several turns' medians.

    InputError if LiteRT cannot run it.
    """
    import tensorflow as tf

    shapes = {tensor.name: tuple(tensor.shape[1:]) for tensor in model.inputs}

    def examples() -> Iterator[dict[str, np.ndarray]]:
        generator = np.random.default_rng(0)
        for _ in range(EXAMPLES):
            yield {name: generator.uniform(*inputs, (1, *shape)).astype("float32") for name, shape in shapes.items()}

    with quiet(), scaled_by_convolution(model), TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
        path.write_bytes(FloatFile(content, examples).quantized(Target("tflite", quantize, pixels="int8")) if quantize else content)
        try:
            return float(1000 * fastest(interpreted(path) if runtime == INTERPRETER else compiled(path)))
        except RuntimeError as error:
            raise InputError(f"LiteRT cannot run the file: {str(error).splitlines()[0]}") from None


def interpreted(path: Path) -> Callable[[], Any]:
    """Runs a file once on inputs of ones, by LiteRT's Interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], np.ones(details["shape"], details["dtype"]))
    return interpreter.invoke


def compiled(path: Path) -> Callable[[], Any]:
    """Runs a file once on inputs of ones, by LiteRT's CompiledModel."""
    end_quietly()
    model = compiled_model(path, threads=1)
    (name,) = model.get_signature_list()
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    for buffer, details in zip(inputs, model.get_input_tensor_details(name).values(), strict=True):
        buffer.write(np.ones(details["shape"], details["dtype"]))
    return partial(model.run_by_index, 0, inputs, outputs)


def fastest(action: Any) -> float:
    """Seconds that an action takes: medians of several turns, and of these the smallest, since other processes only add to it."""
    count = max(FEWEST, round(SECONDS / max(min(seconds_of(action, FEWEST)), 1e-7)))
    return min(median(seconds_of(action, count)) for _ in range(TURNS))
