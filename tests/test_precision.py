"""Precision and XLA chosen by a measured trial, and the speed of pipeline and step."""

import dataclasses
import json

import keras
import pytest

import keras_resnet as kr
from keras_resnet.training import precision
from keras_resnet.training.distribute import Distribution

RECIPE = dataclasses.replace(kr.RECIPES["digits"], epochs=1)
SPEC = dataclasses.replace(kr.SPECS["resnet8"], input_shape=(8, 8, 1))


@pytest.fixture
def rates(monkeypatch):
    """What a trial measures is said here."""
    measured = {}
    tried = []

    def images_per_second(spec, recipe):
        tried.append((recipe.precision, recipe.jit))
        return measured[recipe.precision, recipe.jit]

    monkeypatch.setattr(precision, "images_per_second", images_per_second)
    return measured, tried


def test_the_fastest_is_chosen_and_said(rates, caplog):
    measured, tried = rates
    measured |= {("float32", "off"): 100, ("bfloat16", "off"): 160, ("bfloat16", "on"): 120, ("float32", "on"): 500}
    recipe = precision.settle(SPEC, dataclasses.replace(RECIPE, precision="auto", jit="auto"), Distribution())
    assert (recipe.precision, recipe.jit) == ("bfloat16", "off")
    assert tried == [("float32", "off"), ("bfloat16", "off"), ("bfloat16", "off"), ("bfloat16", "on")]
    assert "precision=bfloat16: 100 images/s with float32, 160 images/s with bfloat16" in caplog.text
    assert "jit=off: 160 images/s with off, 120 images/s with on" in caplog.text


def test_nothing_is_tried_unless_asked(rates):
    assert precision.settle(SPEC, RECIPE, Distribution()) is RECIPE
    assert rates[1] == []


def test_shapes_that_change_are_not_compiled(rates):
    measured, _ = rates
    measured["float32", "off"] = 1
    recipe = dataclasses.replace(RECIPE, jit="auto", progressive=(0.5, 1.0))
    assert precision.settle(SPEC, recipe, Distribution()).jit == "off"


def test_a_run_says_what_was_chosen_and_resume_keeps_it(digits, tmp_path, rates):
    measured, tried = rates
    measured |= {("float32", "default"): 1, ("bfloat16", "default"): 2}
    recipe = dataclasses.replace(RECIPE, precision="auto")
    run = kr.fit("resnet8", recipe, digits, tmp_path / "run", verbose=0)
    assert json.loads((run.path / "recipe.json").read_text())["precision"] == "bfloat16"
    model = keras.saving.load_model(run.model_path)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}  # what is saved is plain
    measured |= {("float32", "default"): 3}
    assert kr.fit("resnet8", recipe, digits, tmp_path / "run", resume=True, verbose=0).recipe == run.recipe
    assert len(tried) == 2


def test_an_interrupted_training_goes_on_as_it_was_chosen(digits, tmp_path, rates):
    measured, tried = rates
    measured |= {("float32", "default"): 1, ("bfloat16", "default"): 2}
    recipe = dataclasses.replace(RECIPE, epochs=2, precision="auto")

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        kr.fit("resnet8", recipe, digits, tmp_path / "run", callbacks=[Stop()], verbose=0)
    measured |= {("float32", "default"): 3}
    run = kr.fit("resnet8", recipe, digits, tmp_path / "run", resume=True, verbose=0)
    assert run.recipe.precision == "bfloat16"
    assert len(tried) == 2


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_the_training_model_has_the_precision(name):
    model = precision.training_model(SPEC, dataclasses.replace(RECIPE, precision=name), 1)
    assert model.get_layer("stem_conv").compute_dtype == name
    assert model.get_layer("stem_conv").kernel.dtype == "float32"
    assert model.get_layer("logits").compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_throughput_of_pipeline_step_and_both(digits):
    rows = {row["what"]: row for row in precision.throughput(SPEC, RECIPE, digits)}
    assert set(rows) == {"pipeline alone", "training step alone", "both"}
    slower = min(rows["pipeline alone"]["images_per_second"], rows["training step alone"]["images_per_second"])
    assert 0.2 < rows["both"]["images_per_second"] / slower < 1.5
