"""Which operations a model file is made of, read from the file without running it."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_resnet.files.runtimes import kind_of, served_version

CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def operations(path: Path) -> dict[str, int]:
    """How many of each operation a file has, by name; those of a SavedModel's default signature. Empty for a Keras file."""
    read = {"saved_model": of_saved_model, ".tflite": of_tflite, ".onnx": of_onnx}.get(kind_of(path) or "")
    return dict(sorted(Counter(read(path)).items())) if read else {}


def of_tflite(path: Path) -> Iterable[str]:
    """The operations of a TFLite file. ValueError if it is none."""
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    if not schema.Model.ModelBufferHasIdentifier(content, 0):
        raise ValueError("not a TFLite file")
    model = schema.ModelT.InitFromPackedBuf(content)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return [names[codes[operator.opcodeIndex]] for graph in model.subgraphs for operator in graph.operators]


def boundaries(path: Path) -> dict[str, list[dict[str, Any]]]:
    """What a TFLite file takes and gives, as "inputs" and "outputs": name, shape, type, and for integers how they stand for
    numbers, value = scale * (integer - zero point). Nothing for other files."""
    if kind_of(path) != ".tflite":
        return {}
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    graph, types = model.subgraphs[0], {value: name.lower() for name, value in vars(schema.TensorType).items() if name.isupper()}
    names = {
        entry.tensorIndex: entry.name.decode()
        for signature in model.signatureDefs or ()
        for entry in (*signature.inputs, *signature.outputs)
    }

    def told(number: int) -> dict[str, Any]:
        tensor = graph.tensors[number]
        shape = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
        found = {
            "name": names.get(number, tensor.name.decode()),
            "shape": [int(side) for side in shape],
            "type": types[tensor.type],
        }
        integers = tensor.quantization
        if integers is not None and integers.scale is not None and len(integers.scale):
            found |= {"scale": float(integers.scale[0]), "zero_point": int(integers.zeroPoint[0])}
        return found

    return {"inputs": [told(number) for number in graph.inputs], "outputs": [told(number) for number in graph.outputs]}


def of_onnx(path: Path) -> Iterable[str]:
    """The operations of an ONNX file."""
    import onnx

    return [node.op_type for node in onnx.load(path).graph.node]


def of_saved_model(path: Path) -> Iterable[str]:
    """The operations of a SavedModel's default signature, those of the functions that it calls in their place."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    graphs = SavedModel.FromString((served_version(path) / "saved_model.pb").read_bytes()).meta_graphs[0]
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
