"""Keras's global settings, of a script or of keras.json, change no network, no run, no file and no answer."""

import json
import re
from contextlib import contextmanager
from dataclasses import replace
from inspect import cleandoc
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest
import safetensors.numpy

import keras_resnet as kr
from keras_resnet.cli import app
from keras_resnet.files.runtimes import keras_runner
from keras_resnet.networks.settings import fixed_settings
from keras_resnet.search import latency

ALONE = {
    "policy": lambda: keras.config.set_dtype_policy("mixed_float16"),
    "floatx": lambda: (keras.config.set_floatx("float16"), keras.config.set_dtype_policy("float16")),
    "data_format": lambda: keras.config.set_image_data_format("channels_first"),
    "epsilon": lambda: keras.config.set_epsilon(1e-2),
}


def all_settings():
    return keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format(), keras.config.dtype_policy().name


@contextmanager
def set_globally(*names):
    with fixed_settings():
        for name in names:
            ALONE[name]()
        before = all_settings()
        yield
        assert all_settings() == before


every = pytest.mark.parametrize(
    "names",
    [("floatx", "data_format", "epsilon", "policy"), *(pytest.param((name,), marks=pytest.mark.slow) for name in ALONE)],
    ids="+".join,
)


@every
def test_network(names):
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("float32")
    model = kr.build("resnet8", input_shape=(8, 8, 3))
    with set_globally(*names):
        other = kr.build("resnet8", input_shape=(8, 8, 3))
        other.set_weights(model.get_weights())
        answers = np.array(other(images))
    assert other.get_config() == {**model.get_config(), "name": other.name}
    np.testing.assert_array_equal(answers, model(images))
    assert kr.build("resnet8", input_shape=(8, 8, 3), dtype="mixed_bfloat16").get_layer("stem_conv").compute_dtype == "bfloat16"


def test_a_file_of_before_keeps_its_channels_last(tmp_path):
    """Its normalisation has one axis, which Keras turns to the front where the global data format is channels first."""
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, keras.layers.Rescaling([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], name="normalize")(image))
    model.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3)).astype("float32")
    expected = model.predict_on_batch(images)
    with set_globally("data_format"):
        np.testing.assert_allclose(kr.load(tmp_path / "model.keras").predict_on_batch(images), expected, rtol=1e-6)


@pytest.mark.slow  # the commands below train too
@every
def test_training(names, tiny, few, tmp_path, eagerly):
    recipe = kr.recipes.resolve("digits", epochs=1, label_smoothing=0.1, ema=0.5)
    expected = kr.fit(tiny, recipe, few, tmp_path / "plain", verbose=0)
    with set_globally(*names):
        run = kr.fit(tiny, recipe, few, tmp_path / "run", verbose=0)
        loaded = kr.load(run.path)
    plain = kr.load(expected.path)
    assert loaded.get_config() == {**plain.get_config(), "name": loaded.name}
    for mine, other in zip(loaded.weights, plain.weights, strict=True):
        assert mine.dtype == other.dtype == "float32"
        np.testing.assert_array_equal(mine, other)
    for split in ("validation", "test"):
        assert run.metrics[split] == expected.metrics[split]


@pytest.fixture
def running(monkeypatch):
    """TensorFlow runs already."""
    monkeypatch.setattr("tensorflow.config.threading.set_intra_op_parallelism_threads", lambda number: None)


@pytest.mark.slow
@every
@pytest.mark.usefixtures("running")
def test_answers_of_a_file(names, small_run, digits):
    images = digits.splits["test"].take(np.arange(20))
    expected = kr.load(small_run.path).predict_on_batch(images.astype("float32"))
    with set_globally(*names):
        np.testing.assert_array_equal(keras_runner(keras, small_run.model_path, 1).run(images), expected)


@pytest.mark.slow
@every
def test_exported_files(names, small_run, digits, tmp_path):
    images = digits.splits["test"].take(np.arange(20))
    expected = kr.load(small_run.path).predict_on_batch(images.astype("float32"))
    with set_globally(*names):
        for kind in ("tflite", "onnx"):
            check = kr.export.export(small_run, kind, data=digits, out=tmp_path)[0]
            assert check.passed, check.problem
            answers = kr.export.ModelFile(tmp_path / check.file)(images)
            assert answers.dtype == "float32"
            np.testing.assert_allclose(answers, expected, atol=1e-4 * np.abs(expected).max())


def test_a_network_of_another_precision_is_refused_by_its_cause(few, tmp_path):
    model = kr.build("resnet8", input_shape=(8, 8, 1), dtype="mixed_float16")
    with pytest.raises(kr.InputError, match=r"computes in float16 \(policy mixed_float16\)"):
        kr.export.tflite(model, data=few, out=tmp_path)


SMALL = ("--set", "depths=1", "--set", "widths=4", "--set", "stem_width=4")
STUDY = """
from dataclasses import replace
import keras_resnet as kr

spec = replace(kr.SPECS["resnet8"], depths=(1,), widths=(4,), stem_width=4)
recipe = kr.recipes.resolve("digits", epochs=1, batch_size=256)
study = kr.search.Study(space=lambda hp: hp.Choice("width", [4]) and spec, recipe=recipe, trials=1)
"""
MEASURED = re.compile("milli|second|p95|memory|latency|_ms|time|bytes|size_ratio")  # names of layers, which count on, are in a file


def commands(run):
    """Every command, on a run or writing into this folder."""
    averaged = ("--epochs", 1, "--batch-size", 256, "--set", "ema=0.5", "--set", "label_smoothing=0.1")
    return [
        ("list",),
        ("show", "resnet8"),
        ("train", "resnet8", "--data", "digits", *SMALL, *averaged, "--out", "run"),
        ("evaluate", run.path),
        ("predict", run.path, run.path / "sample.png"),
        ("export", run.path, "--format", "tflite", "--out", "export"),
        ("benchmark", run.model_path, "--rounds", 1, "--data", "digits"),
        ("search", "study.py"),
        ("convert", run.path / "weights.safetensors", "--out", "converted"),
        *(("analyze", run.path, what, "--images", 20, "--out", f"{what}.csv") for what in ("gradients", "gradcam")),
    ]


OTHERS = {"demo", "draw", "report", "study"}  # no JSON: they are made of what the other commands do, or load no framework


def without_times(answer):
    if isinstance(answer, dict):
        return {name: without_times(value) for name, value in answer.items() if not MEASURED.search(name)}
    return list(map(without_times, answer)) if isinstance(answer, list) else answer


@every
def test_every_command(names, small_run, call, forked, tmp_path, eagerly, monkeypatch):
    """And the processes that they start, which read keras.json too."""
    assert {command.callback.__name__.rstrip("_") for command in app.registered_commands} == OTHERS | {
        name for name, *_ in commands(small_run)
    }
    trained = {f"{layer.name}/{w.name}": np.array(w) for layer in kr.load(small_run.model_path).layers for w in layer.weights}
    safetensors.numpy.save_file(trained, small_run.path / "weights.safetensors")
    answers, weights = {}, {}
    for folder in ("plain", "set"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "study.py").write_text(cleandoc(STUDY))
        monkeypatch.chdir(tmp_path / folder)
        answers[folder], weights[folder] = [], []
        with set_globally(*(names if folder == "set" else ())):
            monkeypatch.setattr(forked, "settings", all_settings())
            for command in commands(small_run):
                code, output, errors = call(*command, "--json")
                assert code == 0, errors
                answers[folder].append(without_times(json.loads(output)))
        for run in ("run", "study/winner", "converted"):
            weights[folder] += keras.saving.load_model(Path(run) / "model.keras").weights
    for one, other in zip(answers["set"], answers["plain"], strict=True):
        assert one == other
    for one, other in zip(weights["set"], weights["plain"], strict=True):
        assert one.dtype == other.dtype == "float32"
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.starts_python
def test_commands_under_a_file_of_settings(small_run, call, tmp_path, monkeypatch):
    digit = tmp_path / "digit.png"
    from PIL import Image

    Image.fromarray(np.full((8, 8), 90, "uint8")).save(digit)
    commands = [
        ("evaluate", small_run.path, "--json"),
        ("predict", small_run.path, digit, "--json"),
        ("benchmark", small_run.model_path, "--rounds", 1, "--json"),
    ]
    plain = [json.loads(call(*command)[1]) for command in commands]
    (tmp_path / "keras.json").write_text(json.dumps({"floatx": "float16", "image_data_format": "channels_first", "epsilon": 1e-2}))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with set_globally(*ALONE):
        assert [json.loads(call(*command)[1]) for command in commands][:2] == plain[:2]
        assert call("benchmark", "--rounds", 1, small_run.model_path)[0] == 0


@pytest.mark.slow
def test_speed_of_training_under_settings(call):
    with set_globally(*ALONE):
        assert call("benchmark", "--network", "resnet8", "--data", "digits")[0] == 0


def test_networks_of_a_search(tiny, few, tmp_path, monkeypatch, eagerly):
    """They learn the same in a script of KerasTuner, and it is float32 whose latency is measured."""

    def trained():
        keras.utils.set_random_seed(0)
        hyper = kr.search.HyperResNet(lambda hp: tiny, input_shape=few.image_shape, classes=10, recipe="digits")
        values = keras_tuner.HyperParameters()
        model = hyper.build(values)
        hyper.fit(values, model, few.train, shuffle=False, verbose=0)
        return model.get_weights()

    measured, plain = [], trained()
    monkeypatch.setattr(latency, "measure_model", lambda model, *rest: measured.append(model) or 1.0)
    with set_globally(*ALONE):
        for mine, other in zip(trained(), plain, strict=True):
            assert mine.dtype == "float32"
            np.testing.assert_array_equal(mine, other)
        latency.LatencyTable(tmp_path / "latency.json").predict(replace(tiny, input_shape=few.image_shape))
    assert {layer.compute_dtype for model in measured for layer in model.layers} == {"float32"}
