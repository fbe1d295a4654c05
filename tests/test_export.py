import dataclasses
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.export import TARGETS, check, export, open_artefact, select
from keras_resnet.export.runtimes import from_tensor, to_tensor


@pytest.fixture(scope="module")
def exported(run):
    """The six files of a run, and their checks."""
    return run, {check.file: check for check in export(run)}


def test_every_target_is_written_checked_and_recorded(exported):
    run, checks = exported
    assert set(checks) == set(TARGETS)
    for name, row in checks.items():
        assert row.passed, row.problem
        assert (run.export_path / name).exists()
        assert row.images == 359
        assert row.bytes == check.size(run.export_path / name) > 50_000
        assert row.accuracy > 0.96
    assert {row["file"] for row in json.loads((run.export_path / "report.json").read_text())} == set(TARGETS)
    assert {path.name for path in run.export_path.iterdir()} == {*TARGETS, "report.json"}
    assert not list(run.path.glob(".*"))


def test_files_are_as_close_and_as_small_as_they_should_be(exported):
    _, checks = exported
    for name in ("saved_model", "model_float32.tflite", "model.onnx"):
        assert checks[name].max_difference < 1e-4
        assert checks[name].top1_agreement == 1
    assert checks["model_int8.tflite"].top1_agreement >= 0.98
    size = {name: checks[name].bytes / checks["model_float32.tflite"].bytes for name in checks}
    assert size["model_float16.tflite"] < 0.6
    assert size["model_dynamic.tflite"] < 0.4
    assert size["model_int8.tflite"] < 0.4
    assert 0.9 < size["model.onnx"] < 1.1
    assert size["saved_model"] < 2  # weights once, not twice


def test_the_check_is_against_the_keras_model(exported, digits):
    """The numbers of the report, computed again from the files, another way."""
    run, checks = exported
    images, labels = (np.concatenate(part) for part in zip(*digits.test.as_numpy_iterator(), strict=True))
    logits = keras.saving.load_model(run.model_path).predict(images, verbose=0)
    for name, row in checks.items():
        outputs = open_artefact(run.export_path / name)(images)
        assert row.max_difference == pytest.approx(np.abs(outputs - logits).max(), rel=1e-3, abs=1e-5)
        assert row.top1_agreement == pytest.approx(np.mean(outputs.argmax(1) == logits.argmax(1)))
        assert row.accuracy == pytest.approx(np.mean(outputs.argmax(1) == labels))
        assert row.keras_accuracy == pytest.approx(np.mean(logits.argmax(1) == labels))


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_any_batch_size(exported, digits, batch):
    run, _ = exported
    images = digits.sample(batch, "test")
    for name in TARGETS:
        assert open_artefact(run.export_path / name)(images).shape == (batch, 10)


def test_tflite_takes_raw_pixels(exported):
    from ai_edge_litert.interpreter import Interpreter

    run, _ = exported
    for name, dtype in (("model_float32.tflite", np.float32), ("model_int8.tflite", np.uint8)):
        interpreter = Interpreter(model_path=str(run.export_path / name))
        (image,) = interpreter.get_input_details()
        assert image["dtype"] == dtype
        assert "image" in image["name"]
        if dtype == np.uint8:
            assert image["quantization"] == (1.0, 0)  # a pixel is its own number
            tensors = [detail["dtype"] for detail in interpreter.get_tensor_details()]
            assert np.float32 not in tensors  # integers from end to end


def test_files_run_where_this_package_is_not_installed(exported, digits, tmp_path):
    run, _ = exported
    images = digits.sample(5, "test").astype("float32")
    np.save(tmp_path / "images.npy", images)
    script = f"""
import sys; sys.modules["keras_resnet"] = None
import numpy as np, onnxruntime, tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
images = np.load("images.npy")
folder = {str(run.export_path)!r}
loaded = tf.saved_model.load(folder + "/saved_model")
(saved,) = loaded.signatures["serving_default"](image=tf.constant(images)).values()
session = onnxruntime.InferenceSession(folder + "/model.onnx")
(onnx,) = session.run(None, {{"image": images}})
interpreter = Interpreter(model_path=folder + "/model_float32.tflite")
index = interpreter.get_input_details()[0]["index"]
interpreter.resize_tensor_input(index, images.shape)
interpreter.allocate_tensors(); interpreter.set_tensor(index, images); interpreter.invoke()
lite = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
np.save("outputs.npy", np.stack([saved.numpy(), onnx, lite]))
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    expected = keras.saving.load_model(run.model_path).predict_on_batch(images)
    for outputs in np.load(tmp_path / "outputs.npy"):
        np.testing.assert_allclose(outputs, expected, atol=1e-4)


def test_a_file_outside_its_tolerance_is_not_put_in_place(run, digits, tmp_path, monkeypatch):
    copy = kr.Run.open(shutil.copytree(run.path, tmp_path / "run", ignore=shutil.ignore_patterns("export")))
    true_write = TARGETS["model_float32.tflite"].write

    def write_another_network(model, path, calibration):
        other = keras.models.clone_model(model)
        true_write(other, path, calibration)

    wrong = dataclasses.replace(TARGETS["model_float32.tflite"], write=write_another_network)
    (row,) = export(copy, [wrong])
    assert not row.passed
    assert "top-1 agreement" in row.problem
    assert "is below 0.999 by" in row.problem
    assert [path.name for path in copy.export_path.iterdir()] == ["report.json"]
    assert json.loads((copy.export_path / "report.json").read_text())[0]["passed"] is False

    kr.export.tflite(copy)  # a good one, and then again the wrong one: file and report of the good one stay
    good = (copy.export_path / "model_float32.tflite").read_bytes()
    (row,) = export(copy, [wrong])
    assert not row.passed
    assert (copy.export_path / "model_float32.tflite").read_bytes() == good
    assert json.loads((copy.export_path / "report.json").read_text())[0]["passed"] is True


def test_a_file_that_does_not_run_is_a_failed_check(run, tmp_path):
    copy = kr.Run.open(shutil.copytree(run.path, tmp_path / "run", ignore=shutil.ignore_patterns("export")))
    junk = dataclasses.replace(TARGETS["model_int8.tflite"], write=lambda model, path, calibration: path.write_bytes(b"junk"))
    row, other = export(copy, [junk, TARGETS["model_float32.tflite"]])
    assert not row.passed
    assert "cannot be opened" in row.problem
    assert other.passed
    assert {path.name for path in copy.export_path.iterdir()} == {"model_float32.tflite", "report.json"}


def test_the_largest_difference_is_held_to_its_tolerance():
    outputs = np.array([[100.0, 0.0], [0.0, 50.0]])
    target = TARGETS["model.onnx"]
    assert check._problem(target, 1.0, 0.009, outputs, None) == ""
    assert check._problem(target, 1.0, 0.011, outputs, None) == "largest difference 1.10e-02 is above 1.00e-02 by 1.00e-03"
    assert check._problem(target, 1.0, float("nan"), outputs, None) == "outputs are not finite"
    few = np.ones((4, 2))
    assert check._problem(TARGETS["model_int8.tflite"], 0.75, 1.0, few, None).startswith("top-1 agreement 0.7500 is below 0.98")
    many = np.ones((1000, 2))
    assert check._problem(TARGETS["model_int8.tflite"], 0.97, 1.0, many, None) == "top-1 agreement 0.9700 is below 0.98 by 0.0100"
    assert check._problem(TARGETS["model_int8.tflite"], 0.97, 1.0, many, 0.9) == ""


def test_calibration_images_are_training_images(run, digits, monkeypatch):
    received = []
    target = dataclasses.replace(
        TARGETS["model.onnx"], write=lambda model, path, calibration: received.append(calibration) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        export(run, [target])
    images = {image.tobytes() for image in digits.splits["train"].take(np.arange(1295))}
    assert len(received[0]) == 300
    assert {image.tobytes() for image in received[0]} <= images
    assert export(run, []) == []


def test_each_check_is_recorded_as_it_is_made(run, tmp_path):
    copy = kr.Run.open(shutil.copytree(run.path, tmp_path / "run", ignore=shutil.ignore_patterns("export")))
    broken = dataclasses.replace(TARGETS["model.onnx"], write=lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(copy, [TARGETS["model_float32.tflite"], broken])
    assert {path.name for path in copy.export_path.iterdir()} == {"model_float32.tflite", "report.json"}
    assert not list(copy.path.glob(".*"))


def test_pixels_are_rounded_to_the_nearest_integer():
    details = {"dtype": np.uint8, "quantization": (1.0, 0)}
    assert list(to_tensor(np.array([0.4, 0.6, 254.7, 300, -5]), details)) == [0, 1, 255, 255, 0]
    assert list(from_tensor(np.array([3, 5], np.uint8), {"quantization": (0.5, 3)})) == [0, 1]


def test_grouped_convolutions_become_onnx(tmp_path):
    model = kr.build("resnext50_32x4d", depths=(1, 1), widths=(64, 64), input_shape=(32, 32, 3), classes=4)
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    expected = model.predict_on_batch(images)
    TARGETS["model.onnx"].write(model, tmp_path / "model.onnx", images)
    np.testing.assert_allclose(open_artefact(tmp_path / "model.onnx")(images), expected, atol=1e-5)
    assert not tf.config.functions_run_eagerly()


def test_a_damaged_file_is_named(exported, tmp_path):
    run, _ = exported
    for source in (run.model_path, run.export_path / "model_int8.tflite", run.export_path / "model.onnx"):
        damaged = tmp_path / source.name
        damaged.write_bytes(source.read_bytes()[: source.stat().st_size // 3])
        with pytest.raises(InputError, match=f"{source.name}' cannot be opened, it may be damaged"):
            open_artefact(damaged)
    with pytest.raises(InputError, match=r"model.keras' cannot take images of shape \(1, 9, 9, 2\)"):
        open_artefact(run.model_path)(np.zeros((1, 9, 9, 2)))


def test_a_damaged_report_is_made_anew(run, tmp_path):
    copy = kr.Run.open(shutil.copytree(run.path, tmp_path / "run", ignore=shutil.ignore_patterns("export")))
    copy.export_path.mkdir()
    (copy.export_path / "report.json").write_text("[{")
    assert kr.export.tflite(copy, "float16").passed
    assert [row["file"] for row in json.loads((copy.export_path / "report.json").read_text())] == ["model_float16.tflite"]


def test_select():
    assert [target.file for target in select("tflite", "int8")] == ["model_int8.tflite"]
    assert [target.file for target in select("tflite")] == ["model_float32.tflite"]
    assert len(select("all")) == 6
    for arguments, message in (
        (("tflit",), "no export format named 'tflit'; did you mean 'tflite'"),
        (("tflite", "int4"), "no quantization named 'int4'; did you mean 'int8'"),
        (("onnx", "int8"), "quantize='int8' goes with format 'tflite', not with 'onnx'"),
        (("all", "int8"), "not with 'all'"),
    ):
        with pytest.raises(InputError, match=message):
            select(*arguments)


def test_open_artefact_refuses_other_files(tmp_path):
    (tmp_path / "model.txt").touch()
    for path, message in ((tmp_path / "none.tflite", "no model at"), (tmp_path / "model.txt", "is not a"), (tmp_path, "is not a")):
        with pytest.raises(InputError, match=message):
            open_artefact(path)


def test_a_run_on_arrays_needs_its_images_again(digits, tmp_path):
    images, labels = (np.concatenate(part) for part in zip(*digits.train.as_numpy_iterator(), strict=True))
    data = kr.data.load((images, labels))
    run = kr.fit("resnet8", dataclasses.replace(kr.RECIPES["digits"], epochs=8), data, tmp_path / "run", verbose=0)
    with pytest.raises(InputError, match="trained on arrays"):
        kr.export.onnx(run)
    assert kr.export.onnx(run, data=data).passed
