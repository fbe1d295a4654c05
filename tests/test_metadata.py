"""What a TFLite file says of itself, read as task libraries read it."""

import zipfile

import flatbuffers
import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers.number_types import Float32Flags, Int8Flags, Uint8Flags, UOffsetTFlags
from flatbuffers.table import Table

import keras_resnet as kr
from keras_resnet.export import WRITERS, Target
from keras_resnet.export.supported import Source
from keras_resnet.files.model_file import ModelFile

CLASSES = ["left", "right", "straight on"]


class Reader:
    """A table of a flat buffer, by the numbers of its fields."""

    def __init__(self, table):
        self.table = table

    def at(self, number):
        return self.table.Offset(4 + 2 * number)

    def text(self, number):
        return self.table.String(self.at(number) + self.table.Pos).decode()

    def number(self, number, flags=Int8Flags):
        return self.table.Get(flags, self.at(number) + self.table.Pos) if self.at(number) else 0

    def one(self, number):
        return Reader(Table(self.table.Bytes, self.table.Indirect(self.at(number) + self.table.Pos)))

    def all(self, number):
        start, count = self.table.Vector(self.at(number)), self.table.VectorLen(self.at(number))
        return [Reader(Table(self.table.Bytes, self.table.Indirect(start + 4 * index))) for index in range(count)]

    def floats(self, number):
        start, count = self.table.Vector(self.at(number)), self.table.VectorLen(self.at(number))
        return [self.table.Get(Float32Flags, start + 4 * index) for index in range(count)]


def write(path, target):
    """The file of a network, always the same."""
    keras.utils.set_random_seed(0)
    model = kr.build("resnet8", depths=(1,), widths=(4,), stem_width=4, input_shape=(16, 16, 3), classes=3)
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype("uint8")
    WRITERS["tflite"](Source(model=model, name="signs", class_names=CLASSES, calibration=images), path, target)


@pytest.fixture(scope="module", params=["logits", "softmax", "top2"])
def written(request, tmp_path_factory):
    target = Target("tflite", "int8", output=request.param)
    path = tmp_path_factory.mktemp("metadata") / target.file
    write(path, target)
    return path, target


def test_weights_behind_the_flat_buffer_are_kept(tmp_path):
    """As the quantizer writes files of more than 256 kB."""
    image = keras.Input((8, 8, 1))
    hidden = keras.layers.Dense(5000, activation="relu")(keras.layers.Flatten()(image))
    model = keras.Model(image, keras.layers.Dense(3)(hidden))
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype("uint8")
    source = Source(model=model, name="large", class_names=CLASSES, calibration=images)
    path = tmp_path / "model.tflite"
    WRITERS["tflite"](source, path, Target("tflite", "int8"))
    assert path.stat().st_size > 5000 * 67
    scores = model.predict_on_batch(images.astype("float32"))
    assert np.abs(ModelFile(path)(images) - scores).max() < 0.05 * np.abs(scores).max()


def test_a_file_is_the_same_when_it_is_written_again(written):
    path, target = written
    before = path.read_bytes()
    write(path, target)
    assert path.read_bytes() == before


def test_labels_are_in_the_file(written):
    with zipfile.ZipFile(written[0]) as archive:
        assert archive.read("labels.txt").decode().splitlines() == CLASSES
        assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED


def test_metadata_say_what_goes_in_and_comes_out(written):
    path, target = written
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    content = bytes(model.buffers[entry.buffer].data)
    assert content[4:8] == b"M001"
    root = Reader(Table(content, flatbuffers.encode.Get(UOffsetTFlags.packer_type, content, 0)))
    assert root.text(0) == "signs"
    assert "image classifier" in root.text(1)
    (graph,) = root.all(3)
    (image,) = graph.all(2)
    assert image.text(0) == "image"
    assert image.text(1) == "Raw pixels, 0 to 255, RGB, 16 x 16: do not scale them."
    assert image.one(3).number(0, Uint8Flags) == 2  # ImageProperties
    assert image.one(3).one(1).number(0) == 1  # RGB
    (unit,) = image.all(4)
    assert unit.number(0, Uint8Flags) == 1  # NormalizationOptions
    assert (unit.one(1).floats(0), unit.one(1).floats(1)) == ([0.0], [1.0])
    outputs = graph.all(3)
    kinds = {output.text(0): [(file.text(0), file.number(2)) for file in output.all(6)] for output in outputs}
    if target.best:
        assert kinds == {"score": [], "class": [("labels.txt", 3)]}  # TENSOR_VALUE_LABELS
    else:
        assert kinds == {"score": [("labels.txt", 2)]}  # TENSOR_AXIS_LABELS


def test_weights_lie_where_runtimes_want_them(written):
    content = written[0].read_bytes()
    model = schema.Model.GetRootAs(content)
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength():
            offset = buffer._tab.Vector(buffer._tab.Offset(4))
            assert offset % 16 == 0
