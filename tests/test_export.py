import dataclasses
import json
import os
import pickle
import re
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.atomic import occupied
from keras_resnet.confidence import interval
from keras_resnet.data import image_graph
from keras_resnet.data.images import decode, describe
from keras_resnet.export import WRITERS, Target, check, elsewhere, export, select
from keras_resnet.export.check import Check, Reference
from keras_resnet.export.operations import operations
from keras_resnet.export.pictures import encoded
from keras_resnet.export.replaceable import is_record
from keras_resnet.export.report import Report
from keras_resnet.export.supported import Source
from keras_resnet.files.manifest import verify
from keras_resnet.files.model_file import ModelFile
from keras_resnet.files.predictions import best
from keras_resnet.files.runtimes import from_tensor, to_tensor
from keras_resnet.networks.connections import gives_probabilities
from keras_resnet.outside import LARGEST_TEXT

TWO_STAGES = {"depths": (1, 1), "widths": (4, 8), "stem_width": 4}
RECORDS = {"report.json", "REPORT.md", "manifest.json"}
CLASSIFY = Path(__file__).parents[1] / "examples" / "python" / "classify.py"
PHOTOS = ((96, 72), (72, 128), (144, 72), (80, 80), (12, 9))  # heights and widths
KINDS = ("L", "LA", "L", "I;16", "L", "P")
UNDONE = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # by EXIF orientation, Pillow's number of the turn that brings it about


@pytest.fixture(scope="module")
def written():
    """The TFLite files of `copy`, by target, weights and calibration: to make one takes most of the time of an export."""
    return {}


@pytest.fixture
def copy(small_run, tmp_path, written, monkeypatch):
    """The run of a small network without its exports. A TFLite file of it is made once."""
    true_write = WRITERS["tflite"]

    def write_once(source, path, target):
        key = target, source.model.get_weights()[0].tobytes(), source.calibration.tobytes()
        if key not in written:
            true_write(source, path, target)
            written[key] = path.read_bytes()
        path.write_bytes(written[key])

    monkeypatch.setitem(WRITERS, "tflite", write_once)
    return kr.Run.open(shutil.copytree(small_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("export")))


def accepted(self, target, path, *_):
    """What `Reference.compare` gives for a good file, without running it."""
    facts = {"images": 100, "agreed": 100, "images_from": {"test": 100}, "keras_accuracy": 1.0, "max_difference": 0.0}
    return Check(file=target.file, bytes=1, mean_difference=0.0, verdict="passed", accepted=True, **facts)


def test_a_file_outside_its_tolerance_is_not_put_in_place(copy, monkeypatch):
    true_write, another = WRITERS["tflite"], keras.models.clone_model(kr.load(copy.model_path, compile=False))

    def write_another_network(source, path, target):
        true_write(dataclasses.replace(source, model=another), path, target)

    with monkeypatch.context() as patch:
        patch.setitem(WRITERS, "tflite", write_another_network)
        row = kr.export.tflite(copy)
    assert not row.passed
    assert row.verdict == "failed"
    assert "largest difference" in row.problem
    assert "--max-difference" in row.problem
    assert {path.name for path in copy.export_path.iterdir()} == {"report.json", "REPORT.md"}
    assert json.loads((copy.export_path / "report.json").read_text())[0]["passed"] is False
    assert "**failed**: largest difference" in (copy.export_path / "REPORT.md").read_text()

    kr.export.tflite(copy)  # a good one, and then again the wrong one: file and records of the good one stay
    good = {path: path.read_bytes() for path in copy.export_path.iterdir()}
    monkeypatch.setitem(WRITERS, "tflite", write_another_network)
    assert not kr.export.tflite(copy).passed
    assert {path: path.read_bytes() for path in copy.export_path.iterdir()} == good
    assert json.loads((copy.export_path / "report.json").read_text())[0]["passed"] is True


def test_tolerances_can_be_chosen(copy):
    (row,) = export(copy, "tflite", "dynamic", max_difference=1e-6)
    assert not row.passed
    assert ", allowed 1.00e-06" in row.problem
    (row,) = export(copy, "tflite", "dynamic", max_difference=10.0, min_agreement=0.5)
    assert row.passed


def test_an_undecided_file_is_put_in_place_only_where_that_is_asked_for(copy, digits):
    splits = {name: (split.take(np.arange(4)), split.labels[:4]) for name, split in digits.splits.items()}
    data = kr.data.from_arrays(splits, class_names=list(digits.class_names))
    for accept in (False, True):
        row = kr.export.tflite(copy, "int8", data=data, accept_undecided=accept)
        assert (row.verdict, row.passed, row.accepted, row.images) == ("undecided", False, accept, 12)
        assert "too few images to decide: 0 of 12 images have another top-1 class" in row.problem
        assert (copy.export_path / row.file).exists() == accept
        readable = (copy.export_path / "REPORT.md").read_text()
        assert ("| undecided: too few" if accept else "| **undecided**: too few") in readable
        assert "on 4 test images and 8 validation and training images" in readable
        assert "12 of 12: 100.00%" in readable
    [row] = json.loads((copy.export_path / "report.json").read_text())
    assert (row["verdict"], row["passed"], row["accepted"]) == ("undecided", False, True)
    assert set(row["worst_class"]) == {"name", "agreed", "images"}


def test_a_folder_has_files_of_one_model(copy, small_run, digits, monkeypatch):
    """Classes and image of a second one would replace those of the first in manifest and report."""
    monkeypatch.setattr(Reference, "compare", accepted)
    kr.export.tflite(copy)
    model = kr.load(small_run.model_path, compile=False)
    other = dataclasses.replace(digits, class_names=[f"digit {name}" for name in digits.class_names])
    there = r"has files of 'run' \(classes: 0, 1, 2, 3, 4, 5, 6, 7, ...\); "
    with pytest.raises(InputError, match=there + r"export '.*' \(classes: digit 0, .*\) to another folder"):
        export(model, targets=[], data=other, out=copy.export_path)
    with pytest.raises(InputError, match=r"has files of 'run' \(name: run\); export '.*' \(name: .*\) to another folder"):
        export(model, targets=[], data=digits, out=copy.export_path)
    renamed = kr.Run.open(copy.path.rename(copy.path.with_name("renamed")))
    assert export(renamed, targets=[]) == []
    for path in renamed.export_path.glob("model*"):  # a folder without files is free
        path.unlink()
    export(model, targets=[], data=digits, out=renamed.export_path)


def test_a_file_that_does_not_run_is_a_failed_check(copy, monkeypatch):
    monkeypatch.setitem(WRITERS, "onnx", lambda source, path, target: path.write_bytes(b"junk"))
    row, other = export(copy, targets=[Target("onnx"), Target("tflite")])
    assert not row.passed
    assert "cannot be opened" in row.problem
    assert other.passed
    assert {path.name for path in copy.export_path.iterdir()} == {"model_float32.tflite", *RECORDS}


def test_calibration_images_are_training_images(small_run, digits, monkeypatch):
    received = []
    monkeypatch.setitem(WRITERS, "onnx", lambda source, path, target: received.append(source.calibration) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(small_run, "onnx")
    images = {image.tobytes() for image in digits.splits["train"].take(np.arange(1151))}
    assert len(received[0]) == 300
    assert {image.tobytes() for image in received[0]} <= images
    assert export(small_run, targets=[]) == []


def test_each_check_is_recorded_as_it_is_made(copy, monkeypatch):
    monkeypatch.setattr(Reference, "compare", accepted)
    monkeypatch.setitem(WRITERS, "onnx", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(copy, targets=[Target("tflite"), Target("onnx")])
    assert {path.name for path in copy.export_path.iterdir()} == {"model_float32.tflite", *RECORDS}
    assert not list(copy.path.glob(".*"))


def test_ctrl_c_and_a_full_disk_leave_nothing_half_written(copy, monkeypatch):
    monkeypatch.setattr(Reference, "compare", accepted)
    before = kr.export.tflite(copy)
    files = {path: path.read_bytes() for path in copy.export_path.iterdir()}
    for error in (KeyboardInterrupt, OSError(28, "No space left on device")):

        def interrupted(source, path, target, error=error):
            path.write_bytes(b"half")
            raise error

        monkeypatch.setitem(WRITERS, "tflite", interrupted)
        with pytest.raises(type(error) if isinstance(error, OSError) else error):
            kr.export.tflite(copy)
        assert {path: path.read_bytes() for path in copy.export_path.iterdir()} == files
        assert not list(copy.path.glob(".*"))
    assert before.passed


@pytest.fixture
def on_jax(monkeypatch):
    """The backend of this process is said to be JAX; what it starts has TensorFlow."""
    monkeypatch.setattr(elsewhere.keras.backend, "backend", lambda: "jax")


@pytest.mark.usefixtures("on_jax")
def test_another_backend_exports_in_a_process_of_tensorflow(small_run, few, tmp_path, caplog):
    done, checks = [], []
    images = {"data": few, "out": tmp_path / "new" / "export"}
    rows = export(small_run.load(), "tflite", batch=1, on_check=checks.append, on_images=lambda *row: done.append(row), **images)
    (row,) = rows
    assert (row.file, row.passed, row.images, row.agreed) == ("model_float32_batch1.tflite", True, 160, 160)
    assert rows == checks
    assert sum(count for _, count in done) == 160
    assert done[0][0] == Target("tflite", batch=1)
    counts = f"; {row.accelerated_operations} of {sum(row.operations.values())} operations by XNNPACK"
    assert counts in (images["out"] / "REPORT.md").read_text()
    assert {path.name for path in images["out"].iterdir()} == {row.file, *RECORDS}
    assert caplog.messages == ["exporting in a process of TensorFlow, since the backend is jax"]
    with pytest.raises(InputError, match=r"has files of .custom. "):
        export(small_run.path, "onnx", **images)


@pytest.mark.usefixtures("on_jax")
def test_nothing_is_left_of_a_process_of_tensorflow_that_ends_early(small_run, few, tmp_path, monkeypatch):
    images = {"data": few, "out": tmp_path / "new" / "export"}

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(small_run, "keras", on_images=interrupted, **images)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(elsewhere, "START", "import sys; print('what is wrong'); sys.exit(3)")
    with pytest.raises(InputError, match="the process of TensorFlow ended with exit code 3: what is wrong"):
        export(small_run, "keras", **images)
    with pytest.raises(InputError, match="a Keras model is exported with data="):
        kr.export.debug_quantization(small_run.load())
    monkeypatch.setattr(elsewhere, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as missing:
        export(small_run, "keras", **images)
    assert (missing.value.name, list(tmp_path.iterdir())) == ("tensorflow", [])


def test_errors_come_from_the_other_process(tmp_path):
    known = elsewhere.passed_on(OSError(28, "No space left on device", "model.onnx"))
    assert str(pickle.loads(pickle.dumps(known))) == "[Errno 28] No space left on device: 'model.onnx'"
    other = pickle.loads(pickle.dumps(elsewhere.passed_on(ZeroDivisionError("division by zero"))))
    assert (type(other), str(other)) == (RuntimeError, "ZeroDivisionError: division by zero")
    assert "ZeroDivisionError" in other.__notes__[0]
    (tmp_path / "model.keras").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"by a process of TensorFlow: it is not a zip archive, .*; set KERAS_"):
        elsewhere.load_again(tmp_path / "model.keras")


def test_pixels_are_rounded_to_the_nearest_integer():
    details = {"dtype": np.uint8, "quantization": (1.0, 0)}
    raw = np.array([3, 250], "uint8")
    assert to_tensor(raw, details) is raw
    assert list(to_tensor(raw, {"dtype": np.uint8, "quantization": (2.0, 5)})) == [6, 130]
    assert list(to_tensor(np.array([0.4, 0.6, 254.7, 300, -5]), details)) == [0, 1, 255, 255, 0]
    assert list(from_tensor(np.array([3, 5], np.uint8), {"quantization": (0.5, 3)})) == [0, 1]


def source_of(model, images):
    classes = [f"class {number}" for number in range(model.output_shape[-1])]
    return Source(model=model, name="network", class_names=classes, calibration=images)


def test_grouped_convolutions_become_onnx(tmp_path):
    model = kr.build("resnext50_32x4d", depths=(1, 1), widths=(64, 64), input_shape=(32, 32, 3), classes=4)
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    expected = model.predict_on_batch(images)
    WRITERS["onnx"](source_of(model, images), tmp_path / "model.onnx", Target("onnx"))
    np.testing.assert_allclose(ModelFile(tmp_path / "model.onnx")(images), expected, atol=1e-5)
    assert not tf.config.functions_run_eagerly()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("report.json", "[{"),
        ("report.json", '{"passed": true}'),
        ("report.json", "[1]"),
        ("REPORT.md", "# My thesis"),
        ("REPORT.md/chapter", "1"),
        ("manifest.json", '{"short_name": "of a page"}'),
        ("model_float32.tflite", "of another program"),
        ("model_float32.tflite/notes", "about it"),
    ],
)
def test_what_is_somebody_elses_is_not_replaced(copy, monkeypatch, name, content):
    """Nor is anything converted before that is told."""
    monkeypatch.setattr(Reference, "of", None)
    path = copy.export_path / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(InputError, match=r"export/.*'.*(move it away|is damaged|no digest)"):
        kr.export.tflite(copy)
    assert path.read_text() == content
    assert len(list(copy.export_path.rglob("*"))) == 1 + ("/" in name)


def test_a_report_that_is_too_large_to_read_or_a_pipe_is_no_record(tmp_path):
    large, pipe = tmp_path / "REPORT.md", tmp_path / "other" / "REPORT.md"
    large.write_text("# Exported files\n")
    assert is_record(large)
    os.truncate(large, LARGEST_TEXT + 1)
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    assert not is_record(large)
    assert not is_record(pipe)


def test_only_what_the_manifest_lists_is_replaced(copy, monkeypatch):
    def write(source, path, target):
        (path / "1").mkdir(parents=True)
        (path / "1" / "saved_model.pb").write_bytes(b"graph")

    monkeypatch.setitem(WRITERS, "saved_model", write)
    monkeypatch.setattr(Reference, "compare", accepted)
    for _ in range(2):
        assert export(copy, "saved_model")[0].accepted
    mine = copy.export_path / "saved_model" / "2" / "saved_model.pb"
    mine.parent.mkdir()
    mine.touch()
    with pytest.raises(
        InputError, match=r"saved_model/2/saved_model.pb' is in the way, and no manifest.json lists it: move it away"
    ):
        export(copy, "saved_model")
    shutil.rmtree(mine.parent)
    listed = json.loads((copy.export_path / "manifest.json").read_text())
    (copy.export_path / "manifest.json").write_text(json.dumps({**listed, "files": {}}))
    with pytest.raises(InputError, match=r"saved_model/1/.*' is in the way"):
        export(copy, "saved_model")


def test_files_of_other_weights_do_not_meet(copy, digits, monkeypatch):
    monkeypatch.setitem(WRITERS, "onnx", lambda source, path, target: path.write_bytes(b"onnx"))
    monkeypatch.setitem(WRITERS, "tflite", lambda source, path, target: path.write_bytes(b"tflite"))
    monkeypatch.setattr("keras_resnet.export.report.boundaries", lambda path: {})
    monkeypatch.setattr(Reference, "compare", accepted)
    model = kr.load(copy.model_path, compile=False)
    files = {"data": digits, "out": copy.path / "files"}
    export(model, "onnx", **files)
    export(model, "tflite", **files)
    model.layers[-1].bias.assign_add([1.0] * 10)
    with pytest.raises(InputError, match=r"model_float32.tflite' has other weights than '.*' now \(SHA-256 \w{8} and \w{8}\)"):
        export(model, "onnx", **files)
    both = [Target("onnx"), Target("tflite")]
    assert len(export(model, targets=both, **files)) == len(export(model, "onnx", **files)) + 1


def test_a_killed_replacement_is_made_again(copy, monkeypatch):
    """The file is in its place, its digest not in the manifest."""
    monkeypatch.setitem(WRITERS, "onnx", lambda source, path, target: path.write_bytes(b"onnx"))
    monkeypatch.setattr(Reference, "compare", accepted)
    update_manifest = Report.update_manifest

    def killed(self, file, entry):
        if all(entry["sha256"].values()):
            raise KeyboardInterrupt
        update_manifest(self, file, entry)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Report, "update_manifest", killed)
        export(copy, "onnx")
    assert (copy.export_path / "model.onnx").exists()
    assert not verify(copy.export_path / "model.onnx")
    export(copy, "onnx")
    assert verify(copy.export_path / "model.onnx")


def test_a_full_disk_is_one_line(copy, monkeypatch, capfd):
    """Whatever the converter prints before it gives up."""

    def full(source, path, target):
        os.write(2, b"error: " * 100)
        raise RuntimeError("[stage 3] failed; No space left on device\n at line 7")

    def full_elsewhere(source, path, target):
        os.write(2, b"error: " * 100)
        monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
        raise TypeError("'NoneType' object is not callable")

    for writer in (full, full_elsewhere):
        monkeypatch.setitem(WRITERS, "tflite", writer)
        with pytest.raises(OSError, match=r"No space left on device: 'model_float32.tflite'$"):
            kr.export.tflite(copy)
    assert capfd.readouterr() == ("", "")


def test_select():
    assert [target.file for target in select("tflite", "int8")] == ["model_int8.tflite"]
    assert [target.file for target in select("tflite")] == ["model_float32.tflite"]
    assert len(select("all")) == 6
    for arguments, message in (
        (("tflit",), "no export format named 'tflit'; did you mean 'tflite'"),
        (("tflite", "int2"), "no quantization named 'int2'; did you mean 'int"),
        (("onnx", "int8"), "quantize='int8' goes with format 'tflite', not with 'onnx'"),
        (("all", "int8"), "quantize='int8' goes with format 'tflite', not with 'all'"),
    ):
        with pytest.raises(InputError, match=message):
            select(*arguments)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "tflite", "pixels": "int16"}, "no type of pixels for tflite named 'int16'"),
        ({"format": "tflite", "output": "top0"}, "no output named 'top0'"),
        ({"format": "tflite", "output": "softmx"}, "did you mean 'softmax'"),
        ({"format": "tflite", "layout": "NCHW"}, "layout='NCHW' goes with format 'onnx', not with 'tflite'"),
        ({"format": "onnx", "layout": "NCWH"}, "no layout named 'NCWH'"),
        ({"format": "saved_model", "opset": 17}, "opset=17 goes with format 'onnx'"),
        ({"format": "onnx", "opset": 99}, "opset=99: expected 13 to 18"),
        ({"format": "keras", "batch": 1}, "the unchanged network"),
        ({"format": "onnx", "batch": 0}, "batch=0: expected 1 or more"),
    ],
    ids=str,
)
def test_a_target_that_cannot_be_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Target(**fields)


OFFERED = [
    Target("tflite", pixels="uint8", output="softmax", batch=1),
    Target("tflite", "dynamic", pixels="uint8", output="top1"),
    Target("tflite", "int8", output="top3"),
    Target("tflite", "int8", pixels="int8", output="softmax", batch=1),
    Target("tflite", "int16", pixels="int16"),
    Target("onnx", layout="NCHW", output="softmax"),
    Target("onnx", pixels="uint8", batch=2),
    Target("saved_model", output="softmax"),
    Target("keras"),
]
OFFERED_TOO = [  # other pairs of the same options
    Target("tflite", output="top3"),
    Target("tflite", "int8", pixels="int8"),
    Target("tflite", "int8", pixels="float32", output="softmax"),
    Target("tflite", "int16"),
    Target("onnx", output="top5", opset=17),
]


def files_of(targets, small_run, digits, out):
    """A file of each target, made of a Keras model, their checks, and the outputs of the model for the test images."""
    model = keras.saving.load_model(small_run.model_path)
    checks = export(model, targets=targets, data=digits, out=out)
    images = digits.splits["test"].take(np.arange(359))
    return out, {check.file: check for check in checks}, images, model.predict_on_batch(images.astype("float32"))


@pytest.fixture(scope="module")
def offered(small_run, digits, tmp_path_factory):
    return files_of(OFFERED, small_run, digits, tmp_path_factory.mktemp("offered"))


@pytest.mark.slow
@pytest.mark.parametrize("target", OFFERED_TOO, ids=lambda target: target.file)
def test_a_file_offers_other_pairs_too(target, small_run, digits, tmp_path):
    assert_offers(target, files_of([target], small_run, digits, tmp_path))


@pytest.mark.parametrize("target", OFFERED, ids=lambda target: target.file)
def test_a_file_offers_what_was_asked_for(target, offered):
    assert_offers(target, offered)


def assert_offers(target, files):
    """Weights of 8 bits cost less than a step of 8 bits over the range of what comes out: on average, and in 99 of 100 numbers
    four. (More where a number is beyond the range of the calibration.)"""
    folder, checks, images, logits = files
    check = checks[target.file]
    assert check.passed, check.problem
    if target.format == "tflite":  # CompiledModel does not run float files of the best classes for any number of images
        is_run = not (target.best and target.batch is None and not target.is_integer) and target.pixels != "int16"
        assert is_run == (not check.compiled_problem), check.compiled_problem
        assert check.compiled_problem or check.compiled_difference < 1e-3
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    outputs = ModelFile(folder / target.file)(images)
    if target.best:
        assert outputs.shape == (359, target.best, 2)
        assert np.mean(outputs[:, 0, 1] == logits.argmax(1)) >= 0.98
        outputs, expected = outputs[..., 0], -np.sort(-shares, axis=1)[:, : target.best]
    else:
        expected = shares if target.output == "softmax" else logits
    differences, step = np.abs(outputs - expected), (np.ptp(logits) if target.output == "logits" else 1) / 255
    if target.quantize is None:
        assert differences.max() < step / 100
    else:
        assert differences.mean() < step
        assert np.quantile(differences, 0.99) < (4 * step if target.output == "logits" else 0.05)


def photo(index, generator, digit):
    """A file with a digit (8, 8, 1) at its centre: of another shape, kind and orientation by turns."""
    height, width = PHOTOS[index % len(PHOTOS)]
    kind, number, side = KINDS[index // 8 % len(KINDS)], 1 + index % 8, min(height, width)
    picture = Image.fromarray(generator.integers(0, 256, (6, 6), "uint8")).resize((width, height), Image.Resampling.BICUBIC)
    square = Image.fromarray(digit[..., 0]).resize((side, side), Image.Resampling.NEAREST)
    picture.paste(square, ((width - side) // 2, (height - side) // 2))
    noise = generator.integers(0, 256, (height, width), "uint8")
    if kind == "LA":
        picture.putalpha(Image.fromarray(noise))
    elif kind == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype("uint16") * 256 + noise)
    elif kind == "P":
        picture = picture.convert("P")
    return encoded(picture.transpose(UNDONE[number]) if number > 1 else picture, "JPEG" if kind == "L" else "PNG", number)


@pytest.fixture(scope="module")
def example():
    """The program examples/python/classify.py."""
    return SimpleNamespace(**runpy.run_path(str(CLASSIFY)))


def sorted_by(answers, paths, folder):
    """The folder, with a sub-folder for each answer and its photos."""
    for path, answer in zip(paths, answers, strict=True):
        (folder / str(answer)).mkdir(parents=True, exist_ok=True)
        path.rename(folder / str(answer) / f"{path.name}.{'png' if b'PNG' in path.read_bytes()[:8] else 'jpg'}")
    return folder


def test_photos_of_any_shape_get_the_same_answers(small_run, digits, offered, example, tmp_path, call):
    """By predict, evaluate, the signatures of the SavedModel, and the TFLite file as examples/python/classify.py feeds it."""
    generator, examples = np.random.default_rng(0), digits.splits["test"]
    photos = [photo(index, generator, digit) for index, digit in enumerate(examples.take(np.arange(300)))]
    paths = [tmp_path / f"{index:03d}" for index in range(300)]
    for path, content in zip(paths, photos, strict=True):
        path.write_bytes(content)
    code, out, _ = call("predict", small_run.path, *paths, "--top", 1, "--json")
    answers = np.array([int(row["class"]) for row in json.loads(out)])
    assert code == 0
    assert np.mean(answers == examples.labels[:300]) > 0.5  # a digit is seen
    served, others = ModelFile(offered[0] / "saved_model_softmax"), {}
    others["encoded"] = served(np.array(photos)).argmax(1)
    upright = [decode(path, (*describe(path)[0], 1)) for path in paths]
    others["serving_default"] = np.empty(300, int)
    for shape in {pixels.shape for pixels in upright}:
        alike = [number for number, pixels in enumerate(upright) if pixels.shape == shape]
        others["serving_default"][alike] = served(np.stack([upright[number] for number in alike])).argmax(1)
    classifier = example.Classifier(offered[0] / "model_float32_uint8_softmax_batch1.tflite")
    others["tflite"] = np.array([classifier.probabilities(path).argmax() for path in paths])
    agreements = {name: float(np.mean(other == answers)) for name, other in others.items()}
    code, out, _ = call("evaluate", small_run.path, "--data", sorted_by(answers, paths, tmp_path / "sorted"), "--json")
    agreements["evaluate"] = json.loads(out)[0]["accuracy"]
    assert min(agreements.values()) >= 0.99, agreements


@pytest.mark.parametrize("name", ["model_float32_uint8_softmax_batch1", "model_int8_int8_softmax_batch1"])
def test_the_example_names_the_classes_that_predict_names(name, offered, example, small_run, tmp_path, call, capfd):
    """CompiledModel does not tell how the integers of a file are scaled: the program knows."""
    generator, digits = np.random.default_rng(1), np.full((4, 8, 8, 1), 255, "uint8")
    paths = [str(tmp_path / f"{index}.png") for index in range(4)]
    for index, path in enumerate(paths):
        Path(path).write_bytes(photo(8 * (index + 1) + index, generator, digits[index]))
    rows = json.loads(call("predict", small_run.path, *paths, "--top", 10, "--json")[1])
    expected = {(row["image"], row["class"]): row["probability"] for row in rows}
    example.main(offered[0] / f"{name}.tflite", *paths)
    lines = capfd.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == paths
    for line, path in zip(lines, paths, strict=True):
        named = re.findall(r"(\w+) ([\d.]+)%", line.partition(": ")[2])
        assert len(named) == example.BEST
        for label, share in named:
            assert float(share) / 100 == pytest.approx(expected[path, label], abs=0.05 if "int8_int8" in name else 1e-3)


def test_boundaries_are_of_the_types_asked_for(offered):
    from ai_edge_litert.interpreter import Interpreter

    for target in OFFERED:
        if target.format == "tflite":
            interpreter = Interpreter(model_path=str(offered[0] / target.file))
            (image,) = interpreter.get_input_details()
            assert image["dtype"] == np.dtype(target.pixels)
            assert image["shape_signature"][0] == (target.batch or -1)
            assert list(interpreter.get_signature_list()["serving_default"]["inputs"]) == ["image"]


def test_int4_halves_the_weights_of_int8(small_run, digits, tmp_path):
    """Without training for it, so small a network loses more than its tolerance allows."""
    targets = [Target("tflite", "int8"), Target("tflite", "int4")]
    checks = export(small_run, targets=targets, data=digits, out=tmp_path, min_agreement=0.9)
    assert all(check.passed for check in checks), [check.problem for check in checks]
    (int8, int4), weights = checks, sum(weight.size for weight in kr.load(small_run.model_path).get_weights() if weight.ndim > 1)
    assert int8.bytes - int4.bytes == pytest.approx(weights / 2, rel=0.03)
    assert int8.operations == int4.operations
    assert int8.top1_agreement > int4.top1_agreement


def test_onnx_is_without_stray_transposes(offered):
    for row in (row for row in offered[1].values() if ".onnx" in row.file):
        assert row.operations["Conv"] == 3
        assert "Transpose" not in row.operations  # pixels of one channel need none


def test_colours_are_turned_once_or_not_at_all(tmp_path):
    import onnx

    model = kr.build("resnet8", **TWO_STAGES, input_shape=(16, 16, 3), classes=4)
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype("uint8")
    for layout, shape, most in (("NHWC", [16, 16, 3], 1), ("NCHW", [3, 16, 16], 0)):
        path = tmp_path / f"{layout}.onnx"
        WRITERS["onnx"](source_of(model, images), path, Target("onnx", layout=layout))
        made = onnx.load(path)
        assert [side.dim_value for side in made.graph.input[0].type.tensor_type.shape.dim][1:] == shape
        assert sum(node.op_type == "Transpose" for node in made.graph.node) == most
        assert {entry.key for entry in made.metadata_props} == {"classes", "layout", "preprocessing"}
        file = ModelFile(path)
        assert file.image_shape == (16, 16, 3)
        np.testing.assert_allclose(file(images), model.predict_on_batch(images.astype("float32")), atol=1e-5)


@pytest.mark.parametrize("quantize", [None, "int8"])
def test_colours_are_normalised_by_a_convolution(tmp_path, quantize):
    """LiteRT takes several times longer to multiply and to add channel by channel."""
    model = kr.build("resnet8", **TWO_STAGES, input_shape=(16, 16, 3), classes=4, antialias="mirror")
    images = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3)).astype("uint8")
    path = tmp_path / "model.tflite"
    WRITERS["tflite"](source_of(model, images), path, Target("tflite", quantize))
    found = operations(path)
    convolutions = sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers)
    assert found["CONV_2D"] == convolutions + 1
    assert "MUL" not in found
    assert found["MIRROR_PAD"] == 2  # branch and shortcut of the second stage
    answers = model.predict_on_batch(images.astype("float32"))
    np.testing.assert_allclose(ModelFile(path)(images), answers, atol=0.06 * np.abs(answers).max() if quantize else 1e-5)


def test_a_saved_model_takes_files_and_images_of_any_size(tmp_path, photos):
    model = kr.build("resnet8", depths=(1,), widths=(4,), stem_width=4, input_shape=(24, 24, 3), classes=2)
    WRITERS["saved_model"](source_of(model, None), tmp_path / "saved_model", Target("saved_model"))
    loaded = tf.saved_model.load(str(tmp_path / "saved_model" / "1"))
    assert set(loaded.signatures) == {"serving_default", "encoded", "pixels"}
    assert b"PyFunc" not in (tmp_path / "saved_model" / "1" / "saved_model.pb").read_bytes()  # a server has no Python
    files = sorted(photos.rglob("*.jpg"))[:5]
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    expected = model.predict_on_batch(pixels.astype("float32"))
    encoded = loaded.signatures["encoded"](image=tf.constant([file.read_bytes() for file in files]))["logits"]
    np.testing.assert_allclose(encoded, expected, atol=1e-5)
    np.testing.assert_allclose(loaded.signatures["serving_default"](image=tf.constant(pixels))["logits"], expected, atol=1e-5)
    Image.fromarray(pixels[0]).save(tmp_path / "one.png")
    png = loaded.signatures["encoded"](image=tf.constant([(tmp_path / "one.png").read_bytes()]))["logits"]
    np.testing.assert_allclose(png, expected[:1], atol=1e-5)
    large = tf.constant(pixels.repeat(2, axis=1).repeat(2, axis=2))
    np.testing.assert_allclose(loaded.signatures["serving_default"](image=large)["logits"], expected, atol=0.05)


def test_a_saved_model_that_stretches_pictures_is_refused(copy, monkeypatch):
    monkeypatch.setattr(image_graph, "cover", image_graph.stretched)
    row = kr.export.saved_model(copy)
    assert not row.passed
    assert "for a PNG file of 3:4 its outputs differ by" in row.problem
    assert "it must scale the image until it covers the network's size, and crop the centre" in row.problem


@pytest.mark.slow  # test_signals exports some too
@pytest.mark.parametrize("shape", [(64, 2), (8, 8, 8, 1)], ids=str)
def test_signals_and_volumes_are_exported_too(shape, tmp_path):
    model = kr.build("resnet8", **TWO_STAGES, input_shape=shape, classes=3, antialias="mirror")
    images = np.random.default_rng(0).uniform(0, 255, (3, *shape)).astype("float32")
    targets = (Target("saved_model"), Target("onnx"), Target("onnx", layout="NCHW"), *[Target("tflite")] * (len(shape) == 2))
    for target in targets:
        path = tmp_path / target.file
        WRITERS[target.format](source_of(model, images), path, target)
        np.testing.assert_allclose(ModelFile(path, trust=True)(images), model.predict_on_batch(images), atol=1e-4)


def test_volumes_are_refused_by_tflite(tmp_path):
    model = kr.build("resnet8", **TWO_STAGES, input_shape=(8, 8, 8, 1), classes=3)
    images = np.zeros((3, 8, 8, 8, 1), "float32")
    with pytest.raises(InputError, match="TFLite has no built-in operation for AvgPool3D"):
        WRITERS["tflite"](source_of(model, images), tmp_path / "model.tflite", Target("tflite"))


def test_a_model_of_another_kind_is_refused(digits, tmp_path):
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, [keras.layers.Flatten()(image), keras.layers.Flatten()(image)])
    with pytest.raises(InputError, match="a classifier takes one image and gives"):
        export(model, "onnx", data=digits, out=tmp_path)
    with pytest.raises(InputError, match=r"with data=, the images to check on, and out="):
        export(model, "onnx")
    with pytest.raises(InputError, match="the model has 64 classes, but the images have 10"):
        export(keras.Model(image, keras.layers.Flatten()(image)), "onnx", data=digits, out=tmp_path)


def test_operations_outside_the_built_in_set_are_refused(tmp_path):
    image = keras.Input((8, 8, 1), name="image")
    model = keras.Model(image, keras.layers.Flatten()(keras.ops.erfinv(image / 300)))
    with pytest.raises(InputError, match=r"TFLite has no built-in operation for Erfinv"):
        WRITERS["tflite"](source_of(model, np.zeros((1, 8, 8, 1))), tmp_path / "model.tflite", Target("tflite"))


def test_an_int8_file_with_one_answer_is_refused(tmp_path, monkeypatch):
    """On images of two classes, 98 and 2 of a hundred: it has 98 % of the answers."""
    labels = (np.arange(300) % 50 == 0).astype(int)
    pixels = np.random.default_rng(0).integers(0, 50, (300, 4, 4, 1)) + 200 * labels[:, None, None, None]
    splits = dict.fromkeys(("train", "validation", "test"), (pixels.astype("uint8"), labels))
    data = kr.data.from_arrays(splits, class_names=["many", "few"])
    image = keras.Input((4, 4, 1))
    dense = keras.layers.Dense(2)
    model = keras.Model(image, dense(keras.layers.Flatten()(image)))
    dense.set_weights([np.repeat([[-0.005, 0.005]], 16, axis=0), np.array([10.0, -10.0])])
    true_write = WRITERS["tflite"]

    def constant(source, path, target):
        before = dense.get_weights()
        source.model.layers[-1].set_weights([0.0001 * before[0], before[1]])
        true_write(source, path, target)
        source.model.layers[-1].set_weights(before)

    assert kr.export.tflite(model, "int8", data=data, out=tmp_path / "good").passed
    monkeypatch.setitem(WRITERS, "tflite", constant)
    row = kr.export.tflite(model, "int8", data=data, out=tmp_path / "constant")
    assert (row.verdict, row.accepted, row.top1_agreement) == ("failed", False, 0.98)
    assert "18 of the 18 images that the Keras model puts into class 'few' have another top-1 class" in row.problem
    assert not (tmp_path / "constant" / row.file).exists()


def test_the_gate_sees_wrong_classes_behind_the_first(small_run, digits):
    logits = kr.load(small_run.model_path).predict_on_batch(digits.sample(20, "test").astype("float32"))
    reference = check.Reference(data=digits, outputs=logits, are_probabilities=False)
    wanted = check.expected(logits, Target("onnx", output="top3"), False)
    assert reference.differences(wanted, wanted, Target("onnx", output="top3")).max() < 1e-6
    swapped = wanted.copy()
    swapped[:, 1, 1], swapped[:, 2, 1] = wanted[:, 2, 1], wanted[:, 1, 1]
    assert reference.differences(swapped, wanted, Target("onnx", output="top3")).max() > 1e-4


def test_intervals_are_those_of_wilson():
    low, high = interval(0.9, 100)
    assert (round(low, 4), round(high, 4)) == (0.8256, 0.9448)  # as statsmodels gives them
    assert interval(1.0, 10) == pytest.approx((0.7225, 1), abs=1e-4)
    assert interval(0.0, 10) == pytest.approx((0, 0.2775), abs=1e-4)


def test_the_best_classes_of_any_kind_of_output():
    logits = np.log([0.2, 0.7, 0.1])
    integers = np.array([0.2, 0.7] + [0] * 50)  # small probabilities are rounded to 0
    for outputs, scores in (
        (logits, "logits"),
        (np.exp(logits), "probabilities"),
        (integers, "probabilities"),
        (np.array([[0.7, 1], [0.2, 0]]), "scores"),
    ):
        (first, probability), (second, _) = best(outputs, 2, scores)
        assert (first, second) == (1, 0)
        assert probability == pytest.approx(0.7)


def test_logits_between_0_and_1_are_no_probabilities():
    (_, first), (_, second) = best(np.array([0.2, 0.5]), 2, "logits")
    assert (first, second) == pytest.approx((0.5744, 0.4256), abs=1e-4)


def test_a_run_on_arrays_needs_its_images_again(tiny, few, tmp_path):
    run = kr.fit(tiny, kr.recipes.resolve("digits", epochs=1), few, tmp_path / "run", verbose=0)
    with pytest.raises(InputError, match="trained on arrays"):
        kr.export.onnx(run)
    assert kr.export.onnx(run, data=few).passed


def test_no_moment_has_a_file_beside_the_digest_of_another(copy, monkeypatch):
    monkeypatch.setattr(Reference, "compare", accepted)
    kr.export.tflite(copy)
    write, update_manifest = WRITERS["tflite"], Report.update_manifest

    def longer(source, path, target):
        write(source, path, target)
        path.write_bytes(path.read_bytes() + bytes(16))

    def killed(self, file, entry):
        if all(entry["sha256"].values()):
            raise KeyboardInterrupt
        update_manifest(self, file, entry)

    monkeypatch.setattr(Report, "update_manifest", killed)
    monkeypatch.setitem(WRITERS, "tflite", longer)
    with pytest.raises(KeyboardInterrupt):
        kr.export.tflite(copy)
    ModelFile(copy.export_path / "model_float32.tflite").close()


def test_two_exports_into_one_folder_do_not_meet(copy):
    with occupied(copy.export_path, "exporting"), pytest.raises(InputError, match="another process is exporting there"):
        kr.export.tflite(copy)
    assert not copy.export_path.exists()


def test_the_manifest_says_what_integers_stand_for(copy, monkeypatch):
    monkeypatch.setattr(Reference, "compare", accepted)
    for kind in ("int8", None):
        assert kr.export.tflite(copy, kind).accepted
    files = json.loads((copy.export_path / "manifest.json").read_text())["files"]
    assert files["model_float32.tflite"]["inputs"] == [{"name": "image", "shape": [-1, 8, 8, 1], "type": "float32"}]
    assert "opset" not in files["model_float32.tflite"]
    interpreter = Interpreter(model_path=str(copy.export_path / "model_int8.tflite"))
    for side, details in (("inputs", interpreter.get_input_details()), ("outputs", interpreter.get_output_details())):
        scale, zero_point = details[0]["quantization"]
        [told] = files["model_int8.tflite"][side]
        assert (told["scale"], told["zero_point"], told["type"]) == (pytest.approx(scale), zero_point, "uint8")
    assert told["name"] == "logits"


def test_a_file_that_takes_other_pixels_is_refused(copy, monkeypatch):
    write = WRITERS["tflite"]
    monkeypatch.setitem(
        WRITERS, "tflite", lambda source, path, target: write(source, path, dataclasses.replace(target, pixels="int8"))
    )
    row = kr.export.tflite(copy, "int8")
    assert row.problem == "it takes int8 pixels, not uint8"
    assert not (copy.export_path / row.file).exists()


def test_runtimes_of_litert_that_disagree_are_refused(copy, monkeypatch):
    ask = ModelFile.__call__
    monkeypatch.setattr(ModelFile, "__call__", lambda self, images, compiled=False: ask(self, images, compiled=compiled) + compiled)
    row = kr.export.tflite(copy)
    assert row.problem == "LiteRT's CompiledModel and Interpreter give outputs that differ by 1.00e+00"
    assert not (copy.export_path / row.file).exists()


def test_sequential_models_and_those_not_built(digits, tmp_path):
    model = keras.Sequential([keras.Input(digits.image_shape), keras.layers.Flatten(), keras.layers.Dense(10)])
    for kind in ("tflite", "onnx", "saved_model"):
        [row] = export(model, kind, data=digits, out=tmp_path)
        assert row.passed, row.problem
    with pytest.raises(InputError, match="is not built: give it an Input"):
        export(keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)]), "onnx", data=digits, out=tmp_path)
    with pytest.raises(InputError, match=r"the model takes images of \(4, 4, 1\), but the data are \(8, 8, 1\)"):
        export(kr.build("resnet8", input_shape=(4, 4, 1)), "onnx", data=digits, out=tmp_path)


def test_a_softmax_of_any_kind_gives_probabilities():
    image = keras.Input((4,))
    logits = keras.layers.Dense(3)(image)
    inner = keras.Model(image, keras.ops.softmax(logits))
    for outputs in (
        keras.layers.Softmax()(logits),
        keras.layers.Activation("softmax")(logits),
        keras.ops.softmax(logits),
        inner(image),
    ):
        assert gives_probabilities(keras.Model(image, outputs))
    assert not gives_probabilities(keras.Model(image, logits))
    assert not gives_probabilities(keras.Model(image, keras.layers.Dropout(0.1)(logits)))


@pytest.mark.measures_latency
def test_a_latency_is_measured_for_a_second_or_200_runs(copy, monkeypatch):
    true_seconds, calls = ModelFile.seconds, []

    def seconds(self, images, rounds, compiled=False):
        calls.append((rounds, true_seconds(self, images, rounds, compiled=compiled)))
        return calls[-1][1]

    monkeypatch.setattr(ModelFile, "seconds", seconds)
    row = kr.export.tflite(copy)
    assert len(calls) == 8  # for each number of threads, by each runtime, a few runs first
    latencies = [by[threads] for threads in ("1", "2") for by in (row.latency_ms, row.compiled_latency_ms)]
    for (_, first), (rounds, times), latency in zip(calls[::2], calls[1::2], latencies, strict=True):
        assert check.FEWEST <= rounds <= check.MOST
        assert rounds in (check.FEWEST, check.MOST) or rounds == pytest.approx(check.SECONDS / np.median(first), abs=1)
        assert latency["median"] == pytest.approx(1000 * np.median(times))


@pytest.mark.measures_latency
def test_latencies_are_median_and_95th_percentile():
    class Measured:
        def seconds(self, images, rounds, compiled=False):
            return np.linspace(0, 1, 101) if rounds > 3 else np.array([0.001, 0.1, 9])

    assert check.latency(Measured(), None) == {"median": pytest.approx(500), "p95": pytest.approx(950)}
