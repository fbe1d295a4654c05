"""The metadata inside a TFLite file: name, description, the type of its pixels, and labels.

The format is TensorFlow Lite Metadata, which task libraries read: a flat buffer "TFLITE_METADATA" in the model, with the
schema `metadata_schema.fbs`, and `labels.txt` in a zip archive appended to the file.
"""

import zipfile
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np

from keras_resnet.export.supported import Source
from keras_resnet.files.targets import Target

NAME, IDENTIFIER, MODEL_IDENTIFIER, PARSER = "TFLITE_METADATA", b"M001", b"TFL3", "1.0.0"
LABELS = "labels.txt"
AXIS_LABELS, VALUE_LABELS = 2, 3  # AssociatedFileType
IMAGE, FEATURE = 2, 1  # ContentProperties
COLOURS = {3: 1, 1: 2}  # ColorSpaceType by channels
NORMALIZATION = 1  # ProcessUnitOptions
REFERENCE = "UOffsetTRelative"
DESCRIPTION = "An image classifier. The names of its classes are in labels.txt, in the order of its outputs."


def describe(path: Path, target: Target, source: Source) -> None:
    """Write metadata and labels into the TFLite file at `path`, which is changed in place."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools.flatbuffer_utils import read_model_from_bytearray

    model = read_model_from_bytearray(path.read_bytes())  # large files of the quantizer have their weights behind the flat buffer
    for buffer in model.buffers:
        if buffer.data is not None:
            buffer.data = np.frombuffer(buffer.data, np.uint8)  # an array is written at once, bytes one by one
    graph = model.subgraphs[0]
    open_batch(graph)
    integers = [graph.tensors[index].type == schema.TensorType.INT32 for index in graph.outputs]
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(packed(target, source, integers), np.uint8)
    entry.name, entry.buffer = NAME.encode(), len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = Aligned(0)
    builder.Finish(model.Pack(builder), file_identifier=MODEL_IDENTIFIER)
    path.write_bytes(bytes(builder.Output()))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS), "".join(f"{label}\n" for label in source.class_names))


def open_batch(graph: Any) -> None:
    """Let the outputs of a graph that takes any number of images say so: the quantizer forgets it in tensors of its own."""
    signature = graph.tensors[graph.inputs[0]].shapeSignature
    for tensor in (graph.tensors[number] for number in graph.outputs):
        if signature is not None and signature[0] == -1 and tensor.shapeSignature is None:
            tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)


class Aligned(flatbuffers.Builder):
    """Puts bytes, such as weights, at multiples of 16, where the runtime needs them."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:  # noqa: N802, N803
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)


def packed(target: Target, source: Source, integers: list[bool]) -> bytes:
    """The metadata of a model of one image in and these outputs, each of class numbers or scores, as a flat buffer."""
    builder = flatbuffers.Builder(1024)
    string = builder.CreateString

    def table(size: int, *fields: tuple[int, str, Any]) -> int:
        """A table of so many fields, of which these are set: (slot, kind, value)."""
        builder.StartObject(size)
        for slot, kind, value in fields:
            getattr(builder, f"Prepend{kind}Slot")(slot, value, 0)
        return builder.EndObject()

    def vector(values: list[Any], kind: str = REFERENCE) -> int:
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            getattr(builder, f"Prepend{kind}")(value)
        return builder.EndVector()

    def tensor(name: str, description: str, content: int, units: list[int], low: float, high: float, files: list[int]) -> int:
        texts, vectors = (string(name), string(description)), (vector(units), vector(files))
        stats = table(2, (0, REFERENCE, vector([high], "Float32")), (1, REFERENCE, vector([low], "Float32")))
        entries = zip((0, 1, 3, 4, 5, 6), (*texts, content, vectors[0], stats, vectors[1]), strict=True)
        return table(7, *((slot, REFERENCE, value) for slot, value in entries))

    def content(kind: int, properties: int) -> int:
        return table(3, (0, "Uint8", kind), (1, REFERENCE, properties))

    colours = COLOURS.get(source.image_shape[-1] or 0, 0) if len(source.image_shape) == 3 else 0
    image_content = content(IMAGE, table(2, (0, "Int8", colours))) if colours else content(FEATURE, table(0))
    mean_and_deviation = table(2, (0, REFERENCE, vector([0.0], "Float32")), (1, REFERENCE, vector([1.0], "Float32")))
    units = [table(2, (0, "Uint8", NORMALIZATION), (1, REFERENCE, mean_and_deviation))]
    image = tensor("image", source.preprocessing, image_content, units, 0, 255, [])

    def output(are_numbers: bool) -> int:
        kind = VALUE_LABELS if are_numbers or target.best else AXIS_LABELS
        label_fields = (0, REFERENCE, string(LABELS)), (1, REFERENCE, string("Names of the classes.")), (2, "Int8", kind)
        files = [table(5, *label_fields)] if are_numbers or not target.best else []
        name = "class" if are_numbers else "score"
        text = "Numbers of the best classes." if are_numbers else {"logits": "Logits."}.get(target.output, "Probabilities.")
        return tensor(name, text, content(FEATURE, table(0)), [], 0, 1, files)

    inputs, outputs = vector([image]), vector([output(are_numbers) for are_numbers in integers])
    graph = table(10, (2, REFERENCE, inputs), (3, REFERENCE, outputs))
    entries = ((0, string(source.name)), (1, string(DESCRIPTION)), (3, vector([graph])), (7, string(PARSER)))
    builder.Finish(table(8, *((slot, REFERENCE, value) for slot, value in entries)), file_identifier=IDENTIFIER)
    return bytes(builder.Output())
