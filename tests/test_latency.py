"""Latencies that are known before training: operations measured once, and added up."""

import dataclasses
import os
import subprocess
import sys
import timeit
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import keras_resnet as kr
from keras_resnet import InputError, search
from keras_resnet.console import cell
from keras_resnet.export.operations import operations
from keras_resnet.export.rescaling import scaled_by_convolution
from keras_resnet.networks.resnet import outputs
from keras_resnet.search import Budget, Study, latency
from keras_resnet.search.latency import LatencyTable


def space(hp):
    depths = tuple(hp.Int(f"depth{stage}", 1, 4) for stage in (1, 2, 3))
    width = hp.Choice("width", [4, 8, 16, 32])
    return dataclasses.replace(kr.SPECS["resnet8"], depths=depths, widths=(width, width, width), stem_width=width)


def by_parameters(model):
    """A millisecond for every run and for every million of the numbers that a model has."""
    return 1 + model.count_params() / 1e6


def by_layers(model):
    """And a hundredth for every layer but activations, of which a model that does nothing has one."""
    kinds = (keras.layers.InputLayer, keras.layers.ReLU, keras.layers.Activation)
    return by_parameters(model) + sum(not isinstance(layer, kinds) for layer in model.layers) / 100


def fake_latency(monkeypatch, milliseconds=by_parameters):
    """Latencies by another clock; the models that were built."""
    built = []
    monkeypatch.setattr(latency, "measure_model", lambda model, *order: built.append(model) or milliseconds(model))
    return built


def test_each_operation_is_measured_once(monkeypatch, tmp_path):
    built = fake_latency(monkeypatch, by_layers)
    table = LatencyTable(tmp_path / "latency.json")
    spec = dataclasses.replace(kr.SPECS["resnet20"], input_shape=(16, 16, 3))
    predicted = table.predict(spec)
    # Nothing is left out or counted twice, and what a run takes by itself counts once.
    assert predicted == pytest.approx(by_layers(kr.build(spec)), rel=1e-9)
    assert table.measure(spec) == pytest.approx(predicted)
    first = len(built)
    assert table.predict(spec) == predicted
    assert table.predict(dataclasses.replace(spec, depths=(5, 5, 5))) > predicted
    assert len(built) == first  # deeper, of the same operations
    assert LatencyTable(tmp_path / "latency.json").predict(spec) == predicted
    assert len(built) == first
    LatencyTable(tmp_path / "latency.json", "int8").predict(spec)
    assert len(built) > first  # integers take another time
    assert LatencyTable(tmp_path / "latency.json").milliseconds == table.milliseconds
    before = len(built)
    by_the_other = LatencyTable(tmp_path / "latency.json", runtime="compiled")
    assert by_the_other.predict(spec) == predicted
    assert len(built) > before  # what one runtime measured is not the other's
    assert [name.endswith(", CompiledModel") for name in by_the_other.tables].count(True) == 1
    with pytest.raises(InputError, match="no runtime named 'compile'; did you mean 'compiled'"):
        LatencyTable(tmp_path / "latency.json", runtime="compile")
    (tmp_path / "latency.json").write_text("[")
    with pytest.raises(InputError, match=r"latency.json' is damaged: .*; remove it"):
        LatencyTable(tmp_path / "latency.json")


@pytest.mark.parametrize(
    "fields",
    [
        {"squeeze": 4, "branch_dropout": 0.1},
        *(pytest.param(fields, marks=pytest.mark.slow) for fields in ({}, {"activation_order": "full_preactivation"})),
    ],
)
def test_operations_are_those_of_the_file(fields, tmp_path):
    """As many convolutions, each with what a file does at once with it."""
    small = {"depths": (2, 1), "widths": (4, 8), "stem_width": 4, "input_shape": (16, 16, 3)}
    spec = dataclasses.replace(kr.SPECS["resnet20"], **small, **fields)
    image, out = outputs(spec)
    found = [[type(node).__name__ for node in piece.nodes] for piece in latency.pieces(image, [out])]
    model = kr.build(spec)
    assert sum("Convolution" in names for names in found) == sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers)
    norms = sum(names[0] == "Norm" for names in found)
    file = tmp_path / "model.tflite"
    with scaled_by_convolution(model):
        file.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    products = operations(file).get("MUL", 0)  # of normalisations on their own, and of attention
    assert norms == products - (3 if fields.get("squeeze") else 0)
    assert not any(names[0] == "Activate" for names in found if not fields.get("squeeze"))


@pytest.mark.slow
def test_latency_is_a_budget(monkeypatch, pretended, tmp_path):
    fake_latency(monkeypatch)
    found = search.run(Study(space=space, trials=5, budget=Budget(latency=1.02), quantize=None), tmp_path / "out")
    assert found.refused["latency"] > 0
    assert all(row["latency"] <= 1.02 for row in found.rows)
    assert (tmp_path / "out" / "latency.json").exists()


def test_a_latency_may_be_measured_whole(monkeypatch, pretended, tmp_path):
    fake_latency(monkeypatch)
    found = search.run(Study(space=space, trials=2), tmp_path / "out", measure_latency=True)
    known = LatencyTable(tmp_path / "out" / "latency.json", "int8").milliseconds
    assert all(key.startswith("whole: ") for key in known)
    assert sorted(known.values()) == sorted({row["latency"] for row in found.rows})


def test_what_litert_cannot_run_is_refused(monkeypatch, tmp_path):
    class Broken:
        def __init__(self, **options): ...

        def allocate_tensors(self):
            raise RuntimeError("failed to prepare.\nmore")

    monkeypatch.setattr("ai_edge_litert.interpreter.Interpreter", Broken)
    with pytest.raises(InputError, match=r"LiteRT cannot run the file: failed to prepare\.$"):
        LatencyTable(tmp_path / "latency.json").predict(dataclasses.replace(kr.SPECS["resnet8"], classes=10))


@pytest.mark.slow
def test_a_real_prediction_is_near(monkeypatch, tmp_path):
    """The whole and its parts are run in turns, and of each the fastest run counts: what else the machine does only adds to it."""
    runs = []
    monkeypatch.setattr(latency, "fastest", lambda action: runs.append(action) or 0.0)
    table = LatencyTable(tmp_path / "latency.json", "int8")
    spec = dataclasses.replace(kr.SPECS["resnet8"], depths=(3,), widths=(16,), input_shape=(32, 32, 3))
    for ask in (table.predict, table.measure):
        ask(spec)
    assert len(runs) == len(table.milliseconds)
    turns = [[timeit.timeit(run, number=1) for run in runs] for _ in range(300)]
    table.milliseconds.update(zip(table.milliseconds, 1000 * np.min(turns, axis=0), strict=True))
    assert table.predict(spec) == pytest.approx(table.measure(spec), rel=0.3)


def test_the_fastest_turn_counts(monkeypatch):
    """Of turns of which each is faster than the one before, and whose runs take two times, the last one's median."""
    turns = []

    def seconds(action, count):
        turns.append(count)
        return [10 - len(turns), 20] * (count // 2)

    monkeypatch.setattr(latency, "seconds_of", seconds)
    assert latency.fastest(None) == (10 - 1 - latency.TURNS + 20) / 2
    assert turns == [latency.FEWEST] * (1 + latency.TURNS)


def test_what_is_measured_is_what_files_have(monkeypatch):
    """The normalisation of colours is a convolution."""
    found = []

    class Watched(Interpreter):
        def __init__(self, model_path=None, **options):
            if model_path:  # not that which ranges are found with
                found.append(operations(Path(model_path)))
            super().__init__(model_path, **options)

    monkeypatch.setattr("ai_edge_litert.interpreter.Interpreter", Watched)
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Rescaling([0.1, 0.2, 0.3], [1.0, 2.0, 3.0])(image))
    assert latency.measure_model(model, "int8", latency.PIXELS) > 0
    assert found == [{"CONV_2D": 1}]
    assert latency.measure_model(model, "int8", latency.PIXELS, "compiled") > 0


@pytest.mark.slow
def test_a_network_may_be_the_budget_of_latency(monkeypatch, pretended, tmp_path):
    fake_latency(monkeypatch)
    allowed = dataclasses.replace(kr.SPECS["resnet8"], depths=(2, 2, 2), widths=(8, 8, 8), stem_width=8)
    study = Study(space=space, trials=5, budget=Budget(latency=allowed), quantize=None)
    found = search.run(study, tmp_path / "out")
    limit = LatencyTable(tmp_path / "out" / "latency.json").predict(dataclasses.replace(allowed, input_shape=(8, 8, 1)))
    assert found.study.budget.latency == limit
    assert f"latency at most {cell(limit)} ms, that of a custom network" in (tmp_path / "out" / "results.html").read_text()
    assert found.refused["latency"] > 0
    assert all(row["latency"] <= limit for row in found.rows)
    assert len(search.run(study, tmp_path / "out").rows) == 5  # the same study again
    (tmp_path / "out" / "latency.json").unlink()
    monkeypatch.setattr(latency, "measure_model", lambda model, *order: 2 + model.count_params() / 1e6)  # another machine
    assert len(search.run(study, tmp_path / "out").rows) == 5


def test_what_is_faster_or_slower_together_is_measured_together():
    """A 1x1 of a stride that pads nothing, a pooling, and a sum stand alone; a padded convolution and the first one do not."""
    spec = dataclasses.replace(kr.SPECS["resnet8"], input_shape=(32, 32, 3), shortcut="projection", stem_pool="max")
    image, out = outputs(spec)
    found = [" ".join(type(node).__name__ for node in piece.nodes) for piece in latency.pieces(image, [out])]
    convolution, activated = "Convolution Norm", "Convolution Norm Activate"
    unit = [activated, convolution, "Merge Activate"]
    strided = [convolution, f"Pad {activated}", convolution, "Merge Activate"]
    stem = [f"Rescale {activated}", "Pad", "Pool"]
    assert sorted(found) == sorted([*stem, *unit, *strided, *strided, "GlobalPool", "Dense"])


@pytest.mark.slow
def test_a_process_that_measured_by_compiled_model_prints_nothing_of_its_libraries(tmp_path):
    code = f"""
import logging, sys
from keras_resnet import startup
startup.prepare()
from keras_resnet.cli.options import load_backend
load_backend()
import keras_resnet as kr
from keras_resnet.search.latency import LatencyTable
LatencyTable({str(tmp_path / "latency.json")!r}, "int8", runtime="compiled").measure(kr.SPECS["resnet8"])
logging.getLogger("keras_resnet").warning("a warning")
sys.exit("the end")
"""
    environment = os.environ | {"PYTHONPATH": str(Path(kr.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "a warning\nthe end\n")
