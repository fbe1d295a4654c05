"""The shell lines of README.md and of docs/ run one after the other as they stand, and the six files of the first one are what they
should be."""

import json
import re
import shlex
import shutil
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from documentation import COMMANDS, ROOT

import keras_resnet as kr
from keras_resnet.__main__ import main
from keras_resnet.confidence import interval
from keras_resnet.export import TARGETS
from keras_resnet.export.comparison_images import with_comparison_images
from keras_resnet.files.model_file import ModelFile, size
from keras_resnet.training import precision

MAIN_JOB, *OTHER_LINES = COMMANDS
RECORDS = {"report.json", "REPORT.md", "manifest.json"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the lines run; it has the studies that they name."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "tuning", folder / "tuning")
    return folder


@pytest.fixture(scope="module")
def main_job(folder, drawn):
    """The first line, with a third of its epochs."""
    return carried_out(f"{MAIN_JOB} --set epochs=10", folder)


def carried_out(line, folder):
    """What a line that trains and exports printed, its run, and the checks of its six files by name."""
    with pytest.MonkeyPatch.context() as patch, (folder / "printed").open("w+") as printed:
        patch.chdir(folder)
        patch.setattr(sys, "argv", shlex.split(line))
        patch.setattr(sys, "stdout", printed)
        assert sys.argv[0] == "keras-resnet"
        assert main() == 0
    run = kr.Run.open(folder / "runs" / "digits-resnet8")
    rows = json.loads((run.export_path / "report.json").read_text())
    checks = {row["file"]: SimpleNamespace(**row) for row in rows}
    return SimpleNamespace(printed=(folder / "printed").read_text(), run=run, checks=checks)


def test_the_main_job(main_job):
    assert_done(main_job, 0.95)  # 98.1 to 98.6 % over four seeds


@pytest.mark.slow
def test_the_main_job_with_all_epochs(drawn, tmp_path):
    assert_done(carried_out(MAIN_JOB, tmp_path), 0.95)  # 98.7 +- 0.4 % over seeds


def assert_done(job, least):
    accuracy = job.run.metrics["test"]["accuracy"]
    assert accuracy > least
    assert f"{accuracy:.4f}" in job.printed
    assert job.printed.count("passed") == 6
    assert (job.run.path / "history.png").read_bytes().startswith(b"\x89PNG")


def is_long(command):
    """Whether the line trains or measures something that tests of other files do too."""
    return any(words in command for words in ("aware", "--init", "benchmark --data"))


@pytest.mark.parametrize("command", [pytest.param(line, marks=[pytest.mark.slow] * is_long(line)) for line in OTHER_LINES])
def test_other_lines(command, main_job, folder, call, monkeypatch, request):
    program, *arguments = shlex.split(command if is_long(command) else re.sub(r"epochs=\d+\b", "epochs=1", command))
    assert program == "keras-resnet"
    if arguments[0] == "search":
        request.getfixturevalue("pretended")
    monkeypatch.setattr(precision, "SECONDS", 0.02)  # of each measurement of `benchmark`
    monkeypatch.chdir(folder)
    code, out, err = call(*arguments)
    assert code == 0, err
    if "predict runs" in command:
        assert out.splitlines()[1].split()[1] == main_job.run.metrics["sample"]["class"]


def test_every_target_is_written_checked_and_recorded(main_job):
    run, checks = main_job.run, main_job.checks
    assert set(checks) == set(TARGETS)
    for name, row in checks.items():
        assert row.passed, row.problem
        assert (run.export_path / name).exists()
        assert row.images == 1000
        assert row.images_from == {"test": 359, "validation and training": 641}
        assert row.bytes == size(run.export_path / name) > 50_000
        assert row.keras_accuracy == pytest.approx(run.metrics["test"]["accuracy"])
        assert abs(row.accuracy - row.keras_accuracy) <= (row.images - row.agreed) / 359 + 1e-9
        assert row.moved_probability < 0.01
        assert row.accuracy_interval == pytest.approx(interval(row.accuracy, 359))
        assert 0 <= row.mean_difference <= row.max_difference
        assert all(0 < row.latency_ms[threads]["median"] <= row.latency_ms[threads]["p95"] for threads in ("1", "2"))
        assert row.peak_memory > 100_000
        is_tflite = name.endswith(".tflite")
        assert set(row.compiled_latency_ms) == ({"1", "2"} if is_tflite else set())
        assert (row.compiled_difference is not None) == is_tflite
    assert {path.name for path in run.export_path.iterdir()} == {*TARGETS, *RECORDS}
    assert not list(run.path.glob(".*"))


def test_files_are_as_close_and_as_small_as_they_should_be(main_job):
    checks = main_job.checks
    for name in ("saved_model", "model_float32.tflite", "model.onnx"):
        assert checks[name].max_difference < 1e-4
        assert checks[name].top1_agreement == 1
    assert checks["model_int8.tflite"].top1_agreement >= 0.98
    size = {name: checks[name].bytes / checks["model_float32.tflite"].bytes for name in checks}
    assert size["model_float16.tflite"] < 0.6
    assert size["model_dynamic.tflite"] < 0.4
    assert size["model_int8.tflite"] < 0.4
    assert 0.9 < size["model.onnx"] < 1.1
    variables = main_job.run.export_path / "saved_model" / "1" / "variables" / "variables.data-00000-of-00001"
    assert variables.stat().st_size < 1.1 * checks["model_float32.tflite"].bytes  # once, not twice


def test_the_check_is_against_the_keras_model(main_job, digits):
    """The numbers of the report, computed again from the files, another way."""
    run, checks = main_job.run, main_job.checks
    _, labels = (np.concatenate(part) for part in zip(*digits.test.as_numpy_iterator(), strict=True))
    images = with_comparison_images(digits).splits["compared"].take(np.arange(1000))
    logits = keras.saving.load_model(run.model_path).predict(images, verbose=0)
    for name, row in checks.items():
        outputs = ModelFile(run.export_path / name)(images)
        assert row.max_difference == pytest.approx(np.abs(outputs - logits).max(), rel=1e-3, abs=1e-5)
        assert row.top1_agreement == pytest.approx(np.mean(outputs.argmax(1) == logits.argmax(1)))
        assert row.accuracy == pytest.approx(np.mean(outputs[:359].argmax(1) == labels))
        assert row.keras_accuracy == pytest.approx(np.mean(logits[:359].argmax(1) == labels))


def test_any_batch_size(main_job, digits):
    run = main_job.run
    images = digits.sample(32, "test")
    for name in TARGETS:
        with ModelFile(run.export_path / name) as file:
            outputs = file(images)
            assert outputs.shape == (32, 10)
            for batch in (1, 7):
                np.testing.assert_allclose(file(images[:batch]), outputs[:batch], atol=1e-4)


def test_tflite_takes_raw_pixels(main_job):
    run = main_job.run
    for name, dtype in (("model_float32.tflite", np.float32), ("model_int8.tflite", np.uint8)):
        interpreter = Interpreter(model_path=str(run.export_path / name))
        (image,) = interpreter.get_input_details()
        assert image["dtype"] == dtype
        assert "image" in image["name"]
        if dtype == np.uint8:
            assert image["quantization"] == (1.0, 0)  # a pixel is its own number
            tensors = [detail["dtype"] for detail in interpreter.get_tensor_details()]
            assert np.float32 not in tensors  # integers from end to end


def test_files_run_where_this_package_is_not_installed(main_job, digits, tmp_path, elsewhere):
    run = main_job.run
    images = digits.sample(5, "test").astype("float32")
    np.save(tmp_path / "images.npy", images)
    script = f"""
import numpy as np, onnxruntime, tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from documentation import COMMANDS, ROOT
images = np.load("images.npy")
folder = {str(run.export_path)!r}
loaded = tf.saved_model.load(folder + "/saved_model/1")
(saved,) = loaded.signatures["serving_default"](image=tf.constant(images, tf.uint8)).values()
session = onnxruntime.InferenceSession(folder + "/model.onnx")
(onnx,) = session.run(None, {{"image": images}})
interpreter = Interpreter(model_path=folder + "/model_float32.tflite")
index = interpreter.get_input_details()[0]["index"]
interpreter.resize_tensor_input(index, images.shape)
interpreter.allocate_tensors(); interpreter.set_tensor(index, images); interpreter.invoke()
lite = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
np.save("outputs.npy", np.stack([saved.numpy(), onnx, lite]))
"""
    elsewhere(script)
    expected = keras.saving.load_model(run.model_path).predict_on_batch(images)
    for outputs in np.load(tmp_path / "outputs.npy"):
        np.testing.assert_allclose(outputs, expected, atol=1e-4)
