"""`train --budget`: the network, the teacher and the recipe that are chosen for a budget."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import keras_resnet as kr
from keras_resnet.cli.budget import train_within
from keras_resnet.errors import InputError
from keras_resnet.runs.run import ESSENTIAL
from keras_resnet.search import Budget, dial, latency
from keras_resnet.search.budget import budget_of, costs
from keras_resnet.training import distribute


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("100kB", Budget(tflite_int8=100_000)),
        ("0.5 MB", Budget(tflite_int8=500_000)),
        ("96KiB", Budget(tflite_int8=98_304)),
        ("98496B", Budget(tflite_int8=98_496)),
        ("12.5M", Budget(multiply_adds=12_500_000)),
        ("800k", Budget(multiply_adds=800_000)),
        ("2ms", Budget(latency=2.0)),
        (".5 ms", Budget(latency=0.5)),
        ("250µs", Budget(latency=0.25)),
        ("250μs", Budget(latency=0.25)),  # the Greek letter
        ("1.1M", Budget(multiply_adds=1_100_000)),
    ],
)
def test_budget_of(text, budget):
    assert budget_of(text) == budget


@pytest.mark.parametrize("text", ["", "5", "M", "-5M", "0kB", "5 furlongs", "5kb", "1e3k", "5M 3kB", "9" * 400 + "G", "0ms"])
def test_other_texts_are_no_budget(text):
    with pytest.raises(InputError, match=r"expected bytes of the int8 file \(100kB, 0\.5MB\), multiply-adds"):
        budget_of(text)


@pytest.mark.slow
def test_a_wrong_budget_is_told_in_one_line(tmp_path):
    """A process of its own, which has to import the backend first, prints nothing else."""
    command = [sys.executable, "-m", "keras_resnet", "train", "--budget", "5"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(Path(kr.__file__).parents[1])}, capture_output=True
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"keras-resnet: budget '5': ")
    assert done.stderr.count(b"\n") == 1


@pytest.fixture
def table(tmp_path, monkeypatch):
    """No operation is measured: a millisecond for 10 million multiply-adds."""
    monkeypatch.setattr(latency.LatencyTable, "predict", lambda self, spec: costs(spec)["multiply_adds"] / 1e7)
    return tmp_path / "latency.json"


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (64, 64, 3), (96, 96, 3)], ids=str)
@pytest.mark.parametrize("text", ["30kB", "150kB", "1MB", "1M", "4M", "60M", "1ms"])
def test_the_widest_network_within_the_budget(text, shape, table):
    chosen = dial.network_within(text, shape, 10, table).network
    limit = budget_of(text)
    width = chosen.widths[0]
    wider = dial.WIDTHS[dial.WIDTHS.index(width) + 1]
    above = dial.family(shape, 10, chosen.depths[0])(wider)
    for network, is_within in ((chosen, True), (above, False)):
        amounts = {**costs(network), "latency": costs(network)["multiply_adds"] / 1e7}
        amounts["tflite_int8"] = round(1.02 * amounts["tflite_int8"]) + 1_000
        assert (not limit.excess(amounts)) == is_within
    assert chosen.depths[0] == 1 or width >= dial.WIDE
    assert chosen.input_shape == shape


def test_more_budget_is_never_a_smaller_network(table):
    networks = [dial.network_within(f"{size}kB", (32, 32, 3), 10, table).network for size in range(30, 600, 30)]
    parameters = [costs(network)["parameters"] for network in networks]
    assert parameters == sorted(parameters)
    assert {network.depths[0] for network in networks} == {1, 2, 3}


def test_what_is_said(table):
    found = dial.network_within("100kB", (32, 32, 3), 10, table)
    assert found.network.widths == (16, 32, 64)
    assert found.lines == [
        "network: 8 layers, widths 16, 32, 64",
        "depth: one unit a stage: with two, the first stage would have fewer than 16 channels",
        "width: 16, the largest within the budget",
        "budget 100kB: an int8 file of at most 96,676 bytes, 12,239,488 multiply-adds an image",
    ]
    least = r"the smallest has an int8 file of at most 15,\d+ bytes, [\d,]+ multiply-adds an image"
    with pytest.raises(InputError, match=rf"budget '9kB': no network is within it; {least}$"):
        dial.network_within("9kB", (32, 32, 3), 10, table)
    with pytest.raises(InputError, match=rf"{least}, 0\.0\d+ ms$"):
        dial.network_within("1us", (32, 32, 3), 10, table)
    assert dial.network_within("1ms", (32, 32, 3), 10, table).lines[-1].endswith(" multiply-adds an image, 0.942 ms")
    assert "width: 512, the largest that is tried" in dial.network_within("1000MB", (8, 8, 1), 10, table).lines


def test_a_budget_that_nothing_fits_needs_one_network(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(latency.LatencyTable, "predict", lambda self, spec: asked.append(spec.widths[0]) or 1)
    with pytest.raises(InputError, match="no network is within it"):
        dial.network_within("1us", (32, 32, 3), 10, tmp_path / "latency.json")
    assert set(asked) == {dial.WIDTHS[0]}


def test_the_names_of_many_classes_are_in_the_file(tmp_path, table):
    limit = dial.Limit("100kB", table)
    named = dial.Limit("100kB", table, labels=20_000)
    spec = dial.network_within("100kB", (32, 32, 3), 10, table).network
    assert named.amounts(spec)["tflite_int8"] == limit.amounts(spec)["tflite_int8"] + 20_000
    assert limit.fits(spec)
    assert not named.fits(spec)


@pytest.fixture
def fitted(monkeypatch):
    """Nothing is trained; what would be is noted."""
    calls = []

    def fit(spec, recipe, data, out, **options):
        calls.append(SimpleNamespace(spec=spec, recipe=recipe, data=data, out=out, **options))
        return out

    monkeypatch.setattr(dial, "fit", fit)
    return calls


def photographs(folder, side):
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            Image.fromarray(generator.integers(0, 256, (side, side, 3), "uint8")).save(folder / name / f"{number}.png")
    return folder


def test_photographs_have_the_pretrained_network_as_teacher(tmp_path, table, fitted):
    """It sees them in its own size, also where the network has smaller ones."""
    lines = []
    dial.train("2M", photographs(tmp_path / "photos", 64), tmp_path / "run", changes={}, tell=lines.append, seed=3)
    teacher, student = fitted
    assert (teacher.init.name, teacher.out, teacher.seed) == ("tiny-imagenet", tmp_path / "run-teacher", 3)
    assert (student.teacher, student.out, student.seed) == (tmp_path / "run-teacher", tmp_path / "run", 3)
    assert teacher.data.image_shape == (64, 64, 3)
    assert student.data.image_shape == student.spec.input_shape == (32, 32, 3)
    assert "images: 32 pixels a side, since at 64 fewer than 8 channels would fit" in lines
    assert any(line.startswith("teacher: tiny-imagenet, trained first, since") for line in lines)
    assert lines[-3:] == [
        f"epochs: {student.recipe.epochs}, 2 times the usual number, since there is a teacher",
        f"training the teacher, {str(teacher.out)!r}",
        f"training the network, {str(student.out)!r}",
    ]


def test_a_budget_of_time_tells_how_far_it_is(tmp_path, monkeypatch, few):
    monkeypatch.setattr(latency, "measure_model", lambda model, *order: 0.01)
    monkeypatch.setattr("keras_resnet.search.limit.OPERATIONS", 4)
    lines = []

    def tell(line):
        lines.append(line)
        if len(lines) == 2:
            raise KeyboardInterrupt  # there are hundreds of operations

    with pytest.raises(KeyboardInterrupt):
        dial.chosen_for("1ms", few, tmp_path / "run", may_shrink=False, tell=tell)
    assert lines == ["4 operations measured", "8 operations measured"]


def test_the_choices_are_in_the_json(small_run, tmp_path, monkeypatch, capsys):
    def train(*arguments, tell, **options):
        tell("network: 8 layers")
        return small_run

    monkeypatch.setattr(dial, "train", train)
    settings = {"strategy": "auto", "seed": 0}
    where = {"data": "digits", "data_dir": None, "image_size": None}
    train_within("25kB", where, tmp_path / "run", None, {}, settings, targets=[], as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["budget"], found["choices"], found["run"]) == ("25kB", ["network: 8 layers"], str(small_run.path))


def test_what_is_given_is_not_chosen(tmp_path, table, fitted, few):
    lines = []
    dial.train("25kB", few, tmp_path / "a", changes={"epochs": 3}, teacher="mine", tell=lines.append)
    dial.train("25kB", few, tmp_path / "b", changes={}, without_teacher=True, tell=lines.append)
    dial.train("2MB", few, tmp_path / "c", changes={}, tell=lines.append)
    mine, none, large = fitted
    assert (mine.teacher, mine.recipe.epochs) == ("mine", 3)
    assert none.teacher is large.teacher is None
    assert mine.spec == none.spec
    assert "teacher: none" in lines
    assert "teacher: none, since resnet8, the usual choice for these images, has less than 2 times the multiply-adds" in lines
    assert replace(none.recipe, epochs=3) == mine.recipe


def test_mistakes_are_told_before_a_teacher_is_trained(tmp_path, table, fitted):
    photos, tell = photographs(tmp_path / "photos", 64), lambda line: None

    def refused(match, changes, limit="2M", out=tmp_path / "run", **options):
        with pytest.raises(InputError, match=match):
            dial.train(limit, photos, out, changes=changes, tell=tell, **options)
        assert not fitted

    refused("loss='binary' decides each class by itself", {"loss": "binary"})
    refused("distill='features' needs remat=false", {"distill": "features", "remat": True})
    refused("linear_probe=true needs a trained network", {"linear_probe": True})
    refused("must be at least 1", {"epochs": 0})
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    refused("exists; choose another folder", {}, out=tmp_path / "taken")
    refused("only one of the two is possible", {}, teacher="mine", without_teacher=True)
    teacher = tmp_path / "run-teacher"
    teacher.mkdir()
    for name in ESSENTIAL:
        (teacher / name).touch()
    refused(r"the run of a teacher is at '.+run-teacher': use it with --resume, or train another with --overwrite", {})
    refused("measured on one machine", {}, limit="2ms", strategy=distribute.Distribution("several", workers=2))


@pytest.mark.parametrize(
    ("text", "shape", "expected"),
    [
        ("700k", (64, 64, 3), (32, 32, 3)),
        ("4M", (128, 128, 3), (64, 64, 3)),
        ("700k", (64, 96, 3), (64, 96, 3)),
        ("700k", (96, 96), (96, 96)),
        ("30kB", (64, 64, 3), (64, 64, 3)),  # a file of smaller images is not smaller
    ],
)
def test_square_pictures_are_made_smaller_where_it_helps(text, shape, expected, table):
    found = dial.chosen_for(text, SimpleNamespace(image_shape=shape, class_names=["cat", "dog"]), table, may_shrink=True)
    assert found.network.input_shape == expected
    if text == "30kB":
        assert found.network.widths[0] < dial.NARROWEST


def test_names_of_classes_count(tmp_path, table, fitted, few):
    splits = {name: (split.take(np.arange(len(split))), split.labels) for name, split in few.splits.items()}
    long = kr.data.from_arrays(splits, class_names=[f"{'x' * 600}{number}" for number in range(10)])
    for data in (few, long):
        dial.train("25kB", data, tmp_path / "run", changes={}, without_teacher=True, tell=lambda line: None)
    short, named = fitted
    assert named.spec.widths < short.spec.widths


def test_epochs_that_are_given_are_not_told_otherwise(tmp_path, table, fitted, few):
    lines = []
    dial.train("25kB", few, tmp_path / "a", changes={"epochs": 3}, teacher="mine", tell=lines.append)
    assert not any(line.startswith("epochs:") for line in lines)


def test_the_page_has_the_measured_numbers():
    folder = Path(__file__).parents[1]
    page = (folder / "docs" / "how-to" / "budget.md").read_text()
    found = json.loads((folder / "benchmarks" / "dial.json").read_text())["digits"]
    assert len(found) == 3
    for budget, row in found.items():
        cells = []
        for name in ("dial", "random"):
            low, high = (100 * bound for bound in row[name]["interval"])
            widths = ", ".join(map(str, row[name]["widths"]))
            cells.append(f"{100 * row[name]['mean']:.1f} % ({low:.1f} to {high:.1f}); {widths}")
        ratio = row["dial"]["training_multiply_adds"] / row["random"]["training_multiply_adds"]
        assert f"| `{budget}` | {' | '.join(cells)} | {ratio:.2f} |" in page, budget


@pytest.mark.slow
def test_the_exported_file_is_within_the_budget(digits, tmp_path):
    run = dial.train("30kB", digits, tmp_path / "run", changes={"epochs": 8}, tell=print, seed=0, verbose=0)
    [check] = kr.export.export(run, "tflite", "int8", data=digits)
    assert check.bytes <= 30_000
    assert run.metrics["teachers"][0]["name"] == str(tmp_path / "run-teacher")
    assert run.metrics["test"]["accuracy"] > 0.8
