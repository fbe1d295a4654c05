"""The operations of a model file, read from the file without running it."""

from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from keras_resnet.files.runtimes import kind_of, served_version
from keras_resnet.hooks import saved_model_of

CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def operations(path: Path) -> dict[str, int]:
    """How many of each operation a file has, by name; those of a SavedModel's default signature. Empty for a Keras file."""
    reader = {"saved_model": of_saved_model, ".tflite": of_tflite, ".onnx": of_onnx}.get(kind_of(path) or "")
    return dict(sorted(Counter(reader(path)).items())) if reader else {}


def of_tflite(path: Path) -> Iterable[str]:
    """The operations of a TFLite file. ValueError if it is none."""
    return [kind for kind, _ in tflite_graph(path.read_bytes()).operations]


class TFLiteGraph(NamedTuple):
    """What a TFLite file computes."""

    inputs: list[str]
    """Names of the tensors that come in."""
    operations: list[tuple[str, str]]
    """Kind of each operation, and the name of the first tensor that it puts out."""


def tflite_graph(content: bytes) -> TFLiteGraph:
    """The graph of a TFLite file. ValueError if it is none."""
    from ai_edge_litert import schema_py_generated as schema

    if not schema.Model.ModelBufferHasIdentifier(content, 0):
        raise ValueError("not a TFLite file")
    model = schema.ModelT.InitFromPackedBuf(content)

    def names(graph: Any, numbers: Iterable[int]) -> list[str]:
        return [graph.tensors[number].name.decode() for number in numbers]

    return TFLiteGraph(
        inputs=names(model.subgraphs[0], model.subgraphs[0].inputs),
        operations=[
            (kind_of_operation(model, operator), names(graph, operator.outputs)[0])
            for graph in model.subgraphs
            for operator in graph.operators
        ],
    )


def kind_of_operation(model: Any, operator: Any) -> str:
    """The kind of an operation of a `ModelT`, such as "CONV_2D"."""
    code = model.operatorCodes[operator.opcodeIndex]
    return kinds()[max(code.builtinCode, code.deprecatedBuiltinCode)]


@cache
def kinds() -> dict[int, str]:
    """The kinds of operations of TFLite, by their numbers in a file."""
    from ai_edge_litert import schema_py_generated as schema

    return {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}


def boundaries(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The "inputs" and "outputs" of a TFLite file: name, shape, type, and for integers the scale and zero point, value = scale *
    (integer - zero point). Empty for other files."""
    if kind_of(path) != ".tflite":
        return {}
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    graph, types = model.subgraphs[0], {value: name.lower() for name, value in vars(schema.TensorType).items() if name.isupper()}
    entries = [entry for signature in model.signatureDefs or () for entry in (*signature.inputs, *signature.outputs)]
    names = {entry.tensorIndex: entry.name.decode() for entry in entries}

    def facts(number: int) -> dict[str, Any]:
        tensor = graph.tensors[number]
        shape = [int(side) for side in (tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature)]
        row = {"name": names.get(number, tensor.name.decode()), "shape": shape, "type": types[tensor.type]}
        integers = tensor.quantization
        if integers is not None and integers.scale is not None and len(integers.scale):
            row |= {"scale": float(integers.scale[0]), "zero_point": int(integers.zeroPoint[0])}
        return row

    return {"inputs": [facts(number) for number in graph.inputs], "outputs": [facts(number) for number in graph.outputs]}


def of_onnx(path: Path) -> Iterable[str]:
    import onnx

    return [node.op_type for node in onnx.load(path).graph.node]


def of_saved_model(path: Path) -> Iterable[str]:
    """The operations of a SavedModel's default signature, those of the functions that it calls in their place."""
    graphs = saved_model_of((served_version(path) / "saved_model.pb").read_bytes()).meta_graphs[0]
    functions = {function.signature.name: function.node_def for function in graphs.graph_def.library.function}
    outputs = graphs.signature_def["serving_default"].outputs
    (start,) = {output.name.split(":")[0] for output in outputs.values()}

    def inside(nodes: Iterable[Any]) -> Iterable[str]:
        for node in nodes:
            if node.op in CALLS:
                yield from inside(functions[node.attr["f"].func.name])
            else:
                yield node.op

    return inside(node for node in graphs.graph_def.node if node.name == start)
