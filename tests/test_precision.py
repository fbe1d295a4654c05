"""Precision and XLA chosen by a measured trial, and the speed of pipeline and step."""

import dataclasses
import json
from itertools import pairwise
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet import startup
from keras_resnet.runs import environment
from keras_resnet.training import precision
from keras_resnet.training.distribute import Distribution

RECIPE = dataclasses.replace(kr.RECIPES["digits"], epochs=1)
SPEC = dataclasses.replace(kr.SPECS["resnet8"], input_shape=(8, 8, 1))


@pytest.fixture
def rates(monkeypatch):
    """What a trial measures is said here."""
    measured = {}
    tried = []

    def images_per_second(spec, recipe, at_least):
        tried.append((recipe.precision, recipe.jit))
        return measured[recipe.precision, recipe.jit]

    monkeypatch.setattr(precision, "images_per_second", images_per_second)
    monkeypatch.setattr(precision, "emulates_bfloat16", lambda: False)
    return measured, tried


def test_the_fastest_is_chosen_and_said(rates, caplog):
    measured, tried = rates
    measured |= {("float32", "off"): 100, ("bfloat16", "off"): 160, ("bfloat16", "on"): 120, ("float32", "on"): 500}
    recipe = precision.settle(SPEC, dataclasses.replace(RECIPE, precision="auto", jit="auto"), Distribution())
    assert (recipe.precision, recipe.jit) == ("bfloat16", "off")
    assert tried == [("float32", "off"), ("bfloat16", "off"), ("bfloat16", "off"), ("bfloat16", "on")]
    assert "precision=bfloat16: 100 images/s with float32, 160 images/s with bfloat16" in caplog.text
    assert "jit=off: 160 images/s with off, 120 images/s with on" in caplog.text


@pytest.fixture
def cpuinfo(monkeypatch, tmp_path):
    """What the system says of the processor."""
    monkeypatch.setattr(startup, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    return startup.CPUINFO


PLAIN = "processor\t: 0\nmodel name\t: Some Processor\nflags\t\t: fpu sse2 avx2 fma\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PLAIN, False),
        (PLAIN.replace("fma", "fma avx512_bf16 avx512f"), True),
        (PLAIN.replace("fma", "amx_bf16 amx_tile"), True),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd\n", False),
        ("processor\t: 0\n", None),
        (None, None),
    ],
)
def test_what_the_processor_can(text, expected, cpuinfo):
    if text is not None:
        cpuinfo.write_text(text)
    assert startup.has_bfloat16() is expected


@pytest.mark.parametrize(
    ("machine", "answer", "expected"), [("arm64", "1\n", True), ("arm64", "0\n", False), ("x86_64", "", False)]
)
def test_what_a_mac_can(machine, answer, expected, monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(startup.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=answer))
    assert startup.has_bfloat16() is expected


def test_what_is_emulated_is_not_tried(rates, cpuinfo, monkeypatch, caplog):
    _, tried = rates
    monkeypatch.setattr(precision, "emulates_bfloat16", environment.emulates_bfloat16)
    cpuinfo.write_text(PLAIN)
    assert precision.settle(SPEC, dataclasses.replace(RECIPE, precision="auto"), Distribution()).precision == "float32"
    assert "only emulates bfloat16, which is not tried" in caplog.text
    chosen = dataclasses.replace(RECIPE, precision="bfloat16")
    assert precision.settle(SPEC, chosen, Distribution()) is chosen
    assert "a step may take minutes; float32 is faster" in caplog.text
    monkeypatch.setattr(environment, "devices", lambda: ["gpu:0"])
    rates[0].update({("float32", "default"): 1, ("bfloat16", "default"): 2})
    assert tried == []
    assert precision.settle(SPEC, dataclasses.replace(RECIPE, precision="auto"), Distribution()).precision == "bfloat16"


@pytest.mark.parametrize(("first", "each", "runs"), [(1, 30, 2), (100, 30, 2), (100, 0.2, 9)])
def test_a_trial_far_behind_another_is_given_up(first, each, runs, clock, monkeypatch, caplog):
    """A step that compiles for long is waited for; the next one tells."""
    calls = []

    def steps_of(spec, recipe):
        def action():
            calls.append(recipe.precision)
            slow = recipe.precision == "bfloat16"
            clock[0] += (first if calls.count("bfloat16") == 1 else each) if slow else 0.1

        return action

    monkeypatch.setattr(precision, "steps_of", steps_of)
    monkeypatch.setattr(precision, "emulates_bfloat16", lambda: False)
    recipe = precision.settle(SPEC, dataclasses.replace(RECIPE, precision="auto"), Distribution())
    assert recipe.precision == "float32"
    assert calls.count("bfloat16") >= runs if each < 1 else calls.count("bfloat16") == runs
    assert ("stopped after its first steps" in caplog.text) == (each > 1)


def test_nothing_is_tried_unless_asked(rates):
    assert precision.settle(SPEC, RECIPE, Distribution()) is RECIPE
    assert rates[1] == []


def test_shapes_that_change_are_not_compiled(rates):
    measured, _ = rates
    measured["float32", "off"] = 1
    recipe = dataclasses.replace(RECIPE, jit="auto", progressive=(0.5, 1.0))
    assert precision.settle(SPEC, recipe, Distribution()).jit == "off"


@pytest.mark.usefixtures("eagerly")
def test_a_run_says_what_was_chosen_and_resume_keeps_it(tiny, few, tmp_path, rates):
    measured, tried = rates
    measured |= {("float32", "default"): 1, ("bfloat16", "default"): 2}
    recipe = dataclasses.replace(RECIPE, precision="auto")
    run = kr.fit(tiny, recipe, few, tmp_path / "run", verbose=0)
    assert json.loads((run.path / "recipe.json").read_text())["precision"] == "bfloat16"
    model = keras.saving.load_model(run.model_path)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}  # what is saved is plain
    measured |= {("float32", "default"): 3}
    assert kr.fit(tiny, recipe, few, tmp_path / "run", resume=True, verbose=0).recipe == run.recipe
    assert len(tried) == 2


@pytest.mark.usefixtures("eagerly")
def test_an_interrupted_training_goes_on_as_it_was_chosen(tiny, few, tmp_path, rates):
    measured, tried = rates
    measured |= {("float32", "default"): 1, ("bfloat16", "default"): 2}
    recipe = dataclasses.replace(RECIPE, epochs=2, precision="auto")

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        kr.fit(tiny, recipe, few, tmp_path / "run", callbacks=[Stop()], checkpoint_every=1000, verbose=0)
    measured |= {("float32", "default"): 3}
    run = kr.fit(tiny, recipe, few, tmp_path / "run", resume=True, verbose=0)
    assert run.recipe.precision == "bfloat16"
    assert len(tried) == 2


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_the_training_model_has_the_precision(name):
    model = precision.training_model(SPEC, dataclasses.replace(RECIPE, precision=name), 1)
    assert model.get_layer("stem_conv").compute_dtype == name
    assert model.get_layer("stem_conv").kernel.dtype == "float32"
    assert model.get_layer("logits").compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


@pytest.fixture
def clock(monkeypatch):
    """Time passes where it is added."""
    now = [0.0]
    monkeypatch.setattr("keras_resnet.timing.perf_counter", lambda: now[0])
    return now


def test_throughput_of_pipeline_step_and_both(few, monkeypatch, clock):
    """A batch takes a second to read and two to train on, and the first of each a hundred more."""

    def taking(seconds):
        clock[0] += 100
        while True:
            clock[0] += seconds
            yield "images", "labels"

    def step(*batch):
        assert batch in ((), ("images", "labels"))
        next(trained)

    trained = taking(2)
    monkeypatch.setattr(kr.data.Dataset, "training_batches", lambda data, recipe: taking(1))
    monkeypatch.setattr(precision, "steps_of", lambda spec, recipe: step)
    rows = precision.throughput(SPEC, RECIPE, few)
    assert [(row["what"], row["images_per_second"], row["share_of_the_slower"]) for row in rows] == [
        ("pipeline alone", RECIPE.batch_size, 2),
        ("training step alone", RECIPE.batch_size / 2, 1),
        ("both", round(RECIPE.batch_size / 3), 0.67),
    ]


def test_a_rate_is_the_median_of_runs_that_are_long_enough(clock):
    """One of them is disturbed."""
    calls = []

    def action():
        calls.append(clock[0])
        clock[0] += 50 if len(calls) in (1, 70) else 0.01

    assert precision.rate(action, 8) == pytest.approx(800)
    assert len(calls) > 70
    assert clock[0] - 100 > precision.TIMED * 0.9 * precision.SECONDS


@pytest.mark.parametrize("fields", [{}, {"mixup": 0.2}], ids=str)
def test_a_step_trains_on_images_at_hand_and_on_a_batch(fields, tiny, few, monkeypatch):
    models, make = [], precision.training_model
    monkeypatch.setattr(precision, "training_model", lambda *arguments: models.append(make(*arguments)) or models[0])
    recipe = dataclasses.replace(RECIPE, **fields)
    step = precision.steps_of(dataclasses.replace(tiny, input_shape=few.image_shape), recipe)
    weights = [models[0].get_weights()]
    for batch in ((), next(iter(few.training_batches(recipe)))):
        step(*batch)
        weights.append(models[0].get_weights())
    assert models[0].optimizer.iterations == 2
    for before, after in pairwise(weights):
        assert all(np.any(one != other) for one, other in zip(before, after, strict=True))
