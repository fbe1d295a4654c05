"""What a TFLite file says of itself: name, description, how its pixels are to be given, and its labels.

The form is that of TensorFlow Lite Metadata, which task libraries read: a flat buffer "TFLITE_METADATA" in the model, by the
schema `metadata_schema.fbs`, and `labels.txt` in a zip archive behind it.
"""

import zipfile
from pathlib import Path
from typing import Any

import flatbuffers

from keras_resnet.export.interface import Source
from keras_resnet.export.targets import Target

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

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    graph = model.subgraphs[0]
    integers = [graph.tensors[index].type == schema.TensorType.INT32 for index in graph.outputs]
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(packed(target, source, integers))
    entry.name, entry.buffer = NAME.encode(), len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = Aligned(0)
    builder.Finish(model.Pack(builder), file_identifier=MODEL_IDENTIFIER)
    path.write_bytes(bytes(builder.Output()))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS), "".join(f"{label}\n" for label in source.class_names))


class Aligned(flatbuffers.Builder):
    """Puts bytes, such as weights, where the runtime wants them: at multiples of 16."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:  # noqa: N802, N803
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)


def packed(target: Target, source: Source, integers: list[bool]) -> bytes:
    """The metadata of a model of one image in and these outputs, each of class numbers or scores, as a flat buffer."""
    builder = flatbuffers.Builder(1024)

    def string(value: str) -> int:
        return builder.CreateString(value)

    def table(size: int, *fields: tuple[int, str, Any]) -> int:
        """A table of so many fields, of which these are set: (number, kind, value)."""
        builder.StartObject(size)
        for number, kind, value in fields:
            getattr(builder, f"Prepend{kind}Slot")(number, value, 0)
        return builder.EndObject()

    def offsets(values: list[int]) -> int:
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependUOffsetTRelative(value)
        return builder.EndVector()

    def numbers(*values: float) -> int:
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependFloat32(value)
        return builder.EndVector()

    def tensor(name: str, description: str, content: int, units: list[int], low: float, high: float, files: list[int]) -> int:
        text, more, units_at, files_at = string(name), string(description), offsets(units), offsets(files)
        stats = table(2, (0, REFERENCE, numbers(high)), (1, REFERENCE, numbers(low)))
        held = ((0, text), (1, more), (3, content), (4, units_at), (5, stats), (6, files_at))
        return table(7, *((number, REFERENCE, value) for number, value in held))

    def content(kind: int, properties: int) -> int:
        return table(3, (0, "Uint8", kind), (1, REFERENCE, properties))

    colours = COLOURS.get(source.image_shape[-1] or 0, 0) if len(source.image_shape) == 3 else 0
    looks = content(IMAGE, table(2, (0, "Int8", colours))) if colours else content(FEATURE, table(0))
    normal = table(2, (0, REFERENCE, numbers(0.0)), (1, REFERENCE, numbers(1.0)))
    units = [table(2, (0, "Uint8", NORMALIZATION), (1, REFERENCE, normal))]
    image = tensor("image", source.preprocessing, looks, units, 0, 255, [])

    def output(are_numbers: bool) -> int:
        kind = VALUE_LABELS if are_numbers or target.best else AXIS_LABELS
        label_fields = (0, REFERENCE, string(LABELS)), (1, REFERENCE, string("Names of the classes.")), (2, "Int8", kind)
        files = [table(5, *label_fields)] if are_numbers or not target.best else []
        name = "class" if are_numbers else "score"
        what = "Numbers of the best classes." if are_numbers else {"logits": "Logits."}.get(target.output, "Probabilities.")
        return tensor(name, what, content(FEATURE, table(0)), [], 0, 1, files)

    inputs, results = offsets([image]), offsets([output(are_numbers) for are_numbers in integers])
    graph = table(10, (2, REFERENCE, inputs), (3, REFERENCE, results))
    held = ((0, string(source.name)), (1, string(DESCRIPTION)), (3, offsets([graph])), (7, string(PARSER)))
    builder.Finish(table(8, *((number, REFERENCE, value) for number, value in held)), file_identifier=IDENTIFIER)
    return bytes(builder.Output())
