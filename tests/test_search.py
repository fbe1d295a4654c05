"""A search: what is drawn and refused, what becomes of trials that fail, and that nothing is lost or counted twice."""

import csv
import dataclasses
import json
import math
import multiprocessing
import re
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

import keras_resnet as kr
from keras_resnet import InputError, search
from keras_resnet.runs.run import Run
from keras_resnet.search import Budget, HyperResNet, Study, page, residual_space, trials, worker
from keras_resnet.search.budget import costs
from keras_resnet.search.hypermodel import are_one_hot, count_steps
from keras_resnet.search.oracle import space_of
from keras_resnet.search.results import Final, Results, pareto
from keras_resnet.search.worker import TrialFailed

PROCESS = Path(__file__).with_name("search_process.py")
STUDY = '''"""How deep?"""
from dataclasses import replace
import keras_resnet as kr


def space(hp):
    depths = tuple(hp.Int(f"depth{stage}", 1, 4) for stage in (1, 2, 3))
    return replace(kr.SPECS["resnet8"], depths=depths, widths=(4, 4, 4), stem_width=4)


study = kr.search.Study(
    space=space, trials=8, recipe=replace(kr.RECIPES["digits"], epochs=1), finalists=2, seeds=2, final={"epochs": 2}
)
'''


def space(hp):
    depths = tuple(hp.Int(f"depth{stage}", 1, 4) for stage in (1, 2, 3))
    width = hp.Choice("width", [4, 8, 16, 32])
    return dataclasses.replace(kr.SPECS["resnet8"], depths=depths, widths=(width, width, width), stem_width=width)


def test_trials_learn_from_a_teacher(small_run, photos, tmp_path, monkeypatch, pretended):
    """It is checked before the first trial, each process is told of it, and a search goes on with the same one only."""
    study, orders = Study(space=space, trials=2, teacher=small_run.path), []
    search.run(study, tmp_path / "out")
    with pytest.raises(InputError, match="has the results of a study with another teacher"):
        search.run(replace(study, teacher=()), tmp_path / "out")
    with pytest.raises(
        InputError, match=r"has the classes 0, 1, 2, 3, \.\.\. \(10\), and the images have bright_above, dark_above"
    ):
        search.run(replace(study, data=str(photos)), tmp_path / "other")
    with pytest.raises(InputError, match=r"teacher=5: expected the path or name of weights"):
        Study(space=space, teacher=5)
    monkeypatch.setattr(worker, "run_process", lambda order, alive: orders.append(json.loads(order)) or (1, "enough"))
    with pytest.raises(TrialFailed, match="enough"):
        worker.train_in_process(replace(study, patience=3), kr.SPECS["resnet8"], kr.RECIPES["digits"], tmp_path / "run", 0)
    assert (orders[0]["teacher"], orders[0]["patience"]) == ([str(small_run.path)], 3)


def test_a_study_without_a_recipe_takes_that_of_its_images(photos, tmp_path, pretended):
    """Which are few."""
    _, trained = pretended
    search.run(Study(space=one_stage, data=str(photos), trials=1), tmp_path / "out")
    expected = kr.recipes.for_images(26, (24, 24, 3), class_names=["bright_above", "dark_above"])
    assert [recipe for _, _, recipe, _, _ in trained] == [expected]
    assert (expected.batch_size, expected.crop) == (8, 3)


def one_stage(hp):
    width = hp.Choice("width", [4, 8, 16, 32])
    return dataclasses.replace(kr.SPECS["resnet8"], depths=(hp.Int("depth1", 1, 4),), widths=(width,), stem_width=width)


@pytest.mark.parametrize(
    "engine", ["random", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bayesian", "grid", "hyperband"))]
)
def test_nothing_beyond_the_budget_is_trained(engine, pretended, tmp_path):
    budget = Budget(parameters=20_000)
    trials = 18 if engine == "bayesian" else 12  # its first ones are drawn at random
    found = search.run(Study(space=space, engine=engine, trials=trials, budget=budget), tmp_path / "out")
    assert len(found.rows) == trials
    assert all(row["status"] == "completed" for row in found.rows)
    assert found.refused["parameters"] > 0
    for _, spec, *_ in pretended[1]:
        assert kr.cost_of(spec).trainable <= 20_000
    values = [tuple(row[name] for name in found.hyperparameters) for row in found.rows]
    assert len(set(values)) == len(values) if engine in ("random", "grid") else len(set(values)) > 3


def test_a_budget_that_nothing_fits(pretended, monkeypatch, tmp_path):
    monkeypatch.setattr("keras_resnet.search.leases.DRAWS", 200)
    with pytest.raises(
        InputError,
        match=r"is legal and within the budget; draws refused: 20\d \(20\d parameters\), 100 % of all draws; the last: par",
    ):
        search.run(Study(space=space, trials=3, budget=Budget(parameters=100)), tmp_path / "out")
    assert not pretended[1]
    assert not (tmp_path / "out" / "results.csv").exists()


def test_costs_are_those_of_the_network(pretended, tmp_path):
    found = search.run(Study(space=space, trials=2), tmp_path / "out")
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found.rows) == 2
    for row, (_, spec, *_) in zip(rows, pretended[1], strict=True):
        cost = kr.cost_of(spec)
        assert int(row["parameters"]) == cost.trainable
        assert int(row["multiply_adds"]) == cost.multiply_adds
        assert row["spec.depths"] == str(spec.depths)
        assert spec.input_shape == (8, 8, 1)
    assert {type(row["val_accuracy"]) for row in found.rows} == {float}  # not NumPy's, which prints its name


def test_failed_trials_are_told_and_three_in_a_row_end_it(pretended, tmp_path):
    pretended[0].update({"0001": TrialFailed("no memory"), "0003": TrialFailed("the loss became nan at step 3 of epoch 1")})
    found = search.run(Study(space=space, trials=5), tmp_path / "out")
    assert [row["status"] for row in found.rows] == ["completed", "failed", "completed", "failed", "completed"]
    assert found.rows[1]["reason"] == "no memory"
    assert "reason" in found.table[0]
    pretended[0].update({f"{number:04}": TrialFailed(f"reason {number}") for number in range(6, 9)})
    with pytest.raises(InputError, match="three trials in a row failed, the last with: reason 8"):
        search.run(Study(space=space, trials=11), tmp_path / "out")
    found = search.run(Study(space=space, trials=11), tmp_path / "out")  # what was wrong is mended
    assert [row["status"] for row in found.rows[5:]] == ["completed", "failed", "failed", "failed", "completed", "completed"]


def test_finalists_are_trained_again_and_the_best_on_average_wins(pretended, tmp_path):
    study = Study(space=space, trials=4, patience=3, finalists=2, seed=5, seeds=2, final={"epochs": 7})
    scores = {"best": (0.9, 0.3), "second": (0.5, 0.8)}  # the best one of all is not the best on average
    known = search.run(dataclasses.replace(study, finalists=1, seeds=1), tmp_path / "known").best[:2]
    names = dict(zip(scores, (row["trial"] for row in known), strict=True))
    for name, found in scores.items():
        pretended[0].update({f"{names[name]}-seed{seed}": score for seed, score in zip((5, 6), found, strict=True)})
    pretended[1].clear()
    found = search.run(study, tmp_path / "out")
    finals = [(name, recipe.epochs, seed, patience) for name, _, recipe, seed, patience in pretended[1] if "seed" in name]
    assert finals == [(f"{trial}-seed{seed}", 7, seed, None) for trial in names.values() for seed in (5, 6)]
    assert found.averages == pytest.approx({names["best"]: 0.6, names["second"]: 0.65})
    assert found.winner() == names["second"]
    assert Run.open(tmp_path / "out" / "winner").metrics["validation"]["accuracy"] == 0.5
    with (tmp_path / "out" / "finals.csv").open() as file:
        rows = [(row["trial"], row["seed"], float(row["val_accuracy"])) for row in csv.DictReader(file)]
    assert rows == [(names[name], str(seed), scores[name][seed - 5]) for name in scores for seed in (5, 6)]
    assert "Finalists" in (tmp_path / "out" / "results.html").read_text()


def test_a_trial_that_was_trained_in_full_is_not_trained_again(pretended, tmp_path):
    found = search.run(Study(space=space, trials=2, finalists=1, seeds=3), tmp_path / "out")
    best = found.best[0]["trial"]
    assert [(name, seed) for name, _, _, seed, _ in pretended[1][2:]] == [(f"{best}-seed1", 1), (f"{best}-seed2", 2)]
    assert [row["seed"] for row in found.final_rows] == [0, 1, 2]


def test_final_trainings_are_those_of_the_study_as_it_is(pretended, tmp_path):
    study = Study(space=space, trials=2, finalists=1, seeds=2, final={"epochs": 2})
    search.run(study, tmp_path / "out")
    known = len(pretended[1])
    exported = tmp_path / "out" / "winner" / "export"
    exported.mkdir()
    search.run(study, tmp_path / "out")
    assert len(pretended[1]) == known == 4
    assert exported.exists()  # the winner is the same training
    found = search.run(dataclasses.replace(study, final={"epochs": 3}), tmp_path / "out")
    assert [recipe.epochs for _, _, recipe, *_ in pretended[1][known:]] == [3, 3]
    assert Run.open(tmp_path / "out" / "winner").recipe.epochs == 3
    assert not exported.exists()
    assert len(found.final_rows) == 2


def test_a_finalist_that_fails_is_left_out(pretended, tmp_path):
    known = search.run(Study(space=space, trials=3), tmp_path / "known").best
    best, second = (row["trial"] for row in known[:2])
    pretended[0][f"{best}-seed1"] = TrialFailed("no memory")
    found = search.run(Study(space=space, trials=3, seeds=2, finalists=2), tmp_path / "out")
    assert found.winner() == second
    assert [(row["trial"], row["reason"]) for row in found.final_rows if row["reason"]] == [(best, "no memory")]
    with pytest.raises(InputError, match="no finalist could be trained in full; the last error: no memory"):
        search.run(Study(space=space, trials=3, finalists=1, seeds=2), tmp_path / "out")


def test_the_same_network_is_a_finalist_once(pretended, tmp_path):
    study = Study(space=lambda hp: hp.Choice("name", ["a", "b"]) and kr.SPECS["resnet8"], engine="grid", finalists=2, seeds=2)
    assert [row["seed"] for row in search.run(study, tmp_path / "out").final_rows] == [0, 1]


def test_a_kill_before_the_first_trial(pretended, tmp_path):
    leftover = tmp_path / ".study.json.partial-killed"
    leftover.mkdir()
    (leftover / "new").write_text("{")
    assert len(search.run(Study(space=space, trials=1, budget=Budget(parameters=np.int64(20_000))), tmp_path).rows) == 1
    assert not leftover.exists()


def test_many_values_are_not_all_asked_what_they_lead_to():
    asked = []

    def wide(hp):
        asked.append(hp.Int("width", 1, 9999))
        return dataclasses.replace(kr.SPECS["resnet8"], stem_width=asked[-1])

    assert [entry.name for entry in space_of(Study(space=wide)).space] == ["width"]
    assert {1, 9999} < set(asked)
    assert 40 < len(asked) < 60


def test_another_space_of_the_same_names_is_refused(pretended, tmp_path):
    search.run(Study(space=space, trials=2), tmp_path / "out")
    other = Study(space=lambda hp: dataclasses.replace(space(hp), activation="elu"), trials=2)
    with pytest.raises(InputError, match="another network than the space gives now"):
        search.run(other, tmp_path / "out")


def test_a_search_goes_on_after_an_upgrade_and_not_with_other_images(tmp_path):
    """An earlier version did not have every field of a recipe, nor the digest."""
    study = Study(space=space)
    results, values = Results(study, tmp_path, "one"), space_of(study)
    results.check_same(values)
    (tmp_path / "state" / "trial_0000").mkdir(parents=True)  # begun
    results.check_same(values)
    with pytest.raises(InputError, match="a study with another digest of images"):
        Results(study, tmp_path, "other").check_same(values)
    plan = json.loads((tmp_path / "study.json").read_text())
    del plan["digest of images"], plan["recipe"]["nesterov"]
    (tmp_path / "study.json").write_text(json.dumps(plan))
    results.check_same(values)
    with pytest.raises(InputError, match="a study with another recipe"):
        Results(Study(space=space, recipe=kr.Recipe(nesterov=False)), tmp_path, "one").check_same(values)


@pytest.mark.parametrize("name", ["epochs", "multiply_adds", "seed"])
def test_names_of_columns_are_taken(name, pretended, tmp_path):
    study = Study(space=lambda hp: hp.Choice(name, [1, 2]) and kr.SPECS["resnet8"])
    with pytest.raises(InputError, match=f"a hyperparameter cannot be called '{name}'"):
        search.run(study, tmp_path / "out")


def test_of_equal_trials_the_cheaper_is_better(pretended, tmp_path):
    pretended[0].update({f"{number:04}": 0.5 for number in range(5)})
    found = search.run(Study(space=space, trials=5), tmp_path / "out")
    assert found.chosen["multiply_adds"] == min(row["multiply_adds"] for row in found.rows)
    assert {row["seconds"] for row in found.rows} == {1.0}


def test_tensorboard_has_every_trial(pretended, tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    found = search.run(Study(space=space, trials=2), tmp_path / "out", tensorboard=True)
    for row in found.rows:
        (file,) = (tmp_path / "out" / "tensorboard" / row["trial"]).iterdir()
        values = [value for event in loader.EventFileLoader(str(file)).Load() for value in event.summary.value]
        assert next(value.tag for value in values) == "_hparams_/session_start_info"
        scores = {value.tag: tf.make_ndarray(value.tensor) for value in values if value.HasField("tensor")}
        assert scores["val_accuracy"] == pytest.approx(row["val_accuracy"])


def test_the_page_shows_everything(pictures, pretended, tmp_path):
    pretended[0]["0001"] = TrialFailed("<no memory>")
    study = Study(space=space, trials=7, objectives=("val_accuracy", "parameters", "multiply_adds"), question="Deep & wide?")
    search.run(study, tmp_path / "out")
    page = (tmp_path / "out" / "results.html").read_text()
    assert "<h1>Deep &amp; wide?</h1>" in page
    assert "&lt;no memory&gt;" in page
    assert "6 of 7 trials have a score" in page
    assert 'name="viewport"' in page  # or a phone shows it as on a desk
    assert "prefers-color-scheme: dark" in page
    assert [title for title in ("Accuracy and cost", "Parallel coordinates", "Importance") if f"<h2>{title}</h2>" in page] == [
        "Accuracy and cost",
        "Parallel coordinates",
        "Importance",
    ]
    rows = page.rpartition("<table")[2].split("<tr")[2:]  # without the names
    assert len(rows) == 7
    assert "&lt;no memory&gt;" in rows[-1]  # below those that have a score


def test_the_page_says_what_was_searched_where(pretended, tmp_path):
    budget = Budget(parameters=100_000, tflite_int8=500_000)
    study = Study(space=space, trials=3, objectives=("val_accuracy", "parameters"), budget=budget)
    found = search.run(study, tmp_path / "widths")
    text = " ".join(re.sub(r"<[^>]*>", " ", (tmp_path / "widths" / "results.html").read_text()).split())
    assert "Study widths" in text
    assert "Images digits: 287 validation" in text
    assert "Budget parameters at most 100,000; tflite int8 at most 500,000 bytes" in text
    assert "Objectives validation accuracy, parameters" in text
    assert found.verdict[1:] in text
    assert "95 % interval" in text
    found.as_fast_as, found.study = kr.SPECS["resnet8"], replace(study, budget=Budget(parameters=9, latency=0.123456789))
    assert page.facts(found)["Budget"] == "parameters at most 9; latency at most 0.1235 ms, that of resnet8"


def test_the_page_escapes_names_and_values(pictures, pretended, tmp_path):
    def hostile(hp):
        hp.Choice("<script>name</script>", ["<script>value</script>", "'\"><img>$\\frac$"])
        return space(hp)

    search.run(Study(space=hostile, trials=6, question="</title><script>"), tmp_path / "out")
    page = (tmp_path / "out" / "results.html").read_text()
    assert "<script" not in page
    assert "<img>" not in page
    assert page.count("&lt;/title&gt;&lt;script&gt;") == 2
    assert page.count("&lt;script&gt;name&lt;/script&gt;") == 1
    assert "&lt;script&gt;value&lt;/script&gt;" in page


@pytest.mark.parametrize(
    "content", [b"", b"epoch,val_accuracy\n", b"epoch\n1\n", b"\xff\n1\n", b"epoch,val_accuracy\n1,2,3\n", b"[" * 999]
)
def test_a_damaged_history_has_no_curve(content, tmp_path):
    (tmp_path / "history.csv").write_bytes(content)
    assert page.history_in(tmp_path / "history.csv") is None


def test_pictures_are_of_the_results(pictures, pretended, monkeypatch, tmp_path):
    """The importance of what decides the score is the greatest, and every trial has its curve."""
    figures = []
    monkeypatch.setattr(page, "encoded", lambda figure: figures.append(figure) or "")
    found = search.run(Study(space=space, trials=20), tmp_path / "out")
    for row in found.rows:  # the width decides nothing
        (tmp_path / "out" / "trials" / row["trial"] / "history.csv").write_text(
            f"epoch,val_accuracy\n1,0.1\n2,{row['val_accuracy']}\n"
        )
    figures.clear()
    page.page(found, tmp_path / "out" / "trials")
    _, coordinates, bars, learning = (figure.axes[0] for figure in figures)
    assert all(tick == round(tick) for tick in learning.get_xticks())  # whole epochs
    names = [text.get_text() for text in bars.get_yticklabels()]
    widths = dict(zip(names, (bar.get_width() for bar in bars.patches), strict=True))
    assert set(widths) == {"depth1", "depth2", "depth3", "width"}
    assert min(widths, key=widths.get) == "width"
    ends = sorted(100 * row["val_accuracy"] for row in found.rows)
    assert sorted(line.get_ydata()[-1] for line in learning.lines) == pytest.approx(ends)
    assert len(coordinates.lines) == 20 + 5  # and an axis for each name and the score


def test_a_front_in_a_picture_is_that_of_its_two_axes(pictures, monkeypatch, tmp_path):
    """That of three objectives goes up and down when it is drawn over one cost."""
    figures = []
    monkeypatch.setattr(page, "encoded", lambda figure: figures.append(figure) or "")
    found = Results(Study(space=space, objectives=("val_accuracy", "parameters", "latency")), tmp_path)
    for trial, (score, parameters, latency) in enumerate([(0.9, 10, 2.0), (0.8, 5, 3.0), (0.85, 12, 1.0), (0.9, 10, 2.5)]):
        row = {"trial": str(trial), "status": "completed", "val_accuracy": score, "multiply_adds": 1}
        found.rows.append({**row, "parameters": parameters, "latency": latency, "width": trial})
    found.hyperparameters = ["width"]
    assert len(found.front) == 3
    page.front(found, tmp_path)
    page.parallel(found, tmp_path)
    titles = [text.get_text() for text in figures[1].axes[0].get_xticklabels()]
    assert titles == ["width", "parameters", "latency, ms", "validation accuracy"]  # each objective has its own axis
    first, second = figures[0].axes
    for axis, places, names in (
        (first, [[5, 80], [10, 90], [10, 90]], {"1", "0, 3"}),
        (second, [[1, 85], [2, 90]], {"2", "0"}),
    ):
        assert axis.lines[0].get_xydata().tolist() == places
        assert {text.get_text() for text in axis.texts} == names


def test_the_table_shows_every_cost_that_a_search_limits(tmp_path):
    study = Study(space=space, budget=Budget(tflite_int4=100_000), objectives=("val_accuracy", "inference_memory"))
    found = Results(study, tmp_path)
    costs = dict.fromkeys(("parameters", "multiply_adds", "tflite_int8", "tflite_int4", "inference_memory", "training_memory"), 1)
    found.rows = [{"trial": "0", "status": "completed", "val_accuracy": 0.5, "reason": "", **costs}]
    [row] = found.table
    assert {"tflite_int4", "tflite_int8", "inference_memory"} < set(row)
    assert "training_memory" not in row


def test_of_many_values_a_few_are_written(tmp_path):
    _, axis = page.drawn(1)
    found = Results(Study(space=space), tmp_path)
    found.rows = [
        {"val_accuracy": 0.5, "status": "completed", "rate": number / 100, "width": number % 2} for number in range(1, 31)
    ]
    names = ["rate", "width"]
    page.name_values(axis, found, names, [page.ranks([row[name] for row in found.rows]) for name in names])
    written = [text.get_text() for text in axis.texts]
    assert written == ["0.01", "0.05", "0.1", "0.15", "0.2", "0.25", "0.3", "0", "1"]


@pytest.mark.parametrize(
    ("values", "places"),
    [([2, 10, None, 4], [1 / 3, 1, 0, 2 / 3]), (["b", "a", "b"], [1, 0, 1]), ([True, False], [1, 0]), ([3, 3], [0, 0])],
)
def test_ranks_are_in_the_order_of_the_values(values, places):
    assert list(page.ranks(values)) == pytest.approx(places)


def test_the_front_is_what_none_beats():
    rows = [
        {"val_accuracy": score, "multiply_adds": cost, "trial": name}
        for name, score, cost in (("a", 0.9, 10), ("b", 0.8, 5), ("c", 0.85, 12), ("d", 0.9, 9), ("e", 0.7, 5), ("f", 0.8, 5))
    ]
    assert [row["trial"] for row in pareto(rows, ["val_accuracy", "multiply_adds"])] == ["b", "d", "f"]
    assert [row["trial"] for row in pareto(rows, ["val_accuracy"])] == ["a", "d"]


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_many_machines_lose_nothing(forked, free_port, tmp_path):
    """A chief and two workers; one worker is killed in a trial, and the chief in another one and in a final training."""
    path, out = tmp_path / "study.py", tmp_path / "out"
    path.write_text(STUDY)
    address = f"127.0.0.1:{free_port}"

    def trained(kind="trials"):
        return [line for file in out.glob(f"{kind}/*/trained") for line in file.read_text().split()]

    stack = ExitStack()

    def begin(role, name):
        said = stack.enter_context((tmp_path / f"{name}.log").open("ab"))
        command = ["-c", PROCESS.read_text(), path, out, role, address, name, 0.5]
        return stack.enter_context(forked(list(map(str, command)), stdout=said, stderr=said))

    with stack:
        chief = begin("chief", "chief")
        first, second = (begin("worker", name) for name in ("first", "second"))
        until(lambda: "first" in trained() and len(trained()) >= 3)
        first.kill()
        until(lambda: len(trained()) >= 5)
        chief.kill()
        chief.wait()
        chief = begin("chief", "chief")
        third = begin("worker", "third")
        until(lambda: trained("finals"))
        chief.kill()
        chief.wait()
        chief = begin("chief", "chief")
        for process, name in ((chief, "chief"), (second, "second"), (third, "third")):
            assert process.wait(timeout=180) == 0, (tmp_path / f"{name}.log").read_text()
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == [f"{number:04}" for number in range(8)]
    assert {row["status"] for row in rows} == {"completed"}
    assert len({tuple(row[f"depth{stage}"] for stage in (1, 2, 3)) for row in rows}) == 8
    assert 8 <= len(trained()) <= 12  # what the killed ones had under way, or a slow one, may have been trained twice
    with (out / "finals.csv").open(newline="") as file:
        finals = list(csv.DictReader(file))
    best = sorted(rows, key=lambda row: (-float(row["val_accuracy"]), int(row["multiply_adds"])))[:2]
    assert [(row["trial"], row["seed"]) for row in finals] == [(row["trial"], seed) for row in best for seed in "01"]
    assert {float(row["val_accuracy"]) for row in finals} <= {float(row["val_accuracy"]) for row in best}
    assert "chief" not in trained("finals")
    assert 4 <= len(trained("finals")) <= 8
    assert Run.open(out / "winner").recipe.epochs == 2


ONE_UNIT = dataclasses.replace(kr.SPECS["resnet8"], input_shape=(8, 8, 1), depths=(1,), widths=(4,), stem_width=4)


@pytest.mark.starts_python
def test_a_trial_in_its_own_process(monkeypatch, tmp_path):
    """Really trained, and nothing is imported from the current folder."""
    for module in ("h5py", "json", "keras"):
        (tmp_path / f"{module}.py").write_text(f"raise SystemExit('{module} of the current folder')")
    monkeypatch.chdir(tmp_path)
    study = Study(space=space, recipe=kr.recipes.resolve("digits", epochs=1))
    run = search.worker.train_in_process(study, ONE_UNIT, study.trained_by({}), tmp_path / "trial", 3)
    assert run.spec == ONE_UNIT
    assert run.metrics["seed"] == 3
    assert {path.suffix for path in tmp_path.iterdir()} == {"", ".py"}  # no log


@pytest.mark.slow
def test_a_trial_that_learns_nothing_ends_early(tmp_path):
    still = {"epochs": 9, "learning_rate": 1e-9, "warmup": 0.0, "schedule": "constant"}
    study = Study(space=space, recipe=kr.recipes.resolve("digits", **still), patience=1)
    run = search.worker.train_in_process(study, ONE_UNIT, study.trained_by({}), tmp_path / "still", 0)
    assert run.metrics["epochs"] < 9


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', "[" * 100_000], ids=lambda content: content[:9])
def test_a_damaged_state_is_told_in_a_line(content, pretended, tmp_path):
    study = Study(space=space, engine="random", trials=1)
    search.run(study, tmp_path / "out")
    for path in (tmp_path / "out" / "state").rglob("*.json"):
        whole = path.read_bytes()
        if "finals" not in path.parts:  # those are not read again when all is done
            path.write_text(content)
            with pytest.raises(
                InputError, match=r"the state of the search in '.*' is damaged \(.*search again in another folder"
            ) as told:
                search.run(study, tmp_path / "out")
            assert "\n" not in str(told.value)
            path.write_bytes(whole)


def test_arrays_of_a_study_are_saved_for_its_trials(few, pretended, monkeypatch, tmp_path):
    """What can be loaded by its name is not saved; a stream cannot be."""
    asked, pretend = [], trials.train_in_process
    monkeypatch.setattr(trials, "train_in_process", lambda study, *rest: asked.append(study.data) or pretend(study, *rest))
    images, labels = few.splits["train"].take(np.arange(96)), few.splits["train"].labels
    pairs = tf.data.Dataset.from_tensor_slices((images, labels))
    for name, source in {"set": few, "arrays": (images, labels), "source": pairs}.items():
        search.run(Study(space=space, data=source, trials=1), tmp_path / name)
        saved = kr.data.load(asked[-1])
        assert saved.digest == kr.data.load(source).digest
        assert saved.origin["source"] == asked[-1] == str(tmp_path / name / "images.npz")
    assert "arrays: 287 validation" in (tmp_path / name / "results.html").read_text()
    search.run(Study(space=space, data=kr.data.load("digits"), trials=1), tmp_path / "digits")
    assert asked[-1] == "digits"
    assert not (tmp_path / "digits" / "images.npz").exists()
    stream = kr.data.load((pairs.repeat(), (images, labels)), images_per_epoch=9)
    with pytest.raises(InputError, match="a process of its own, which cannot read a source that is read again in every epoch"):
        search.run(Study(space=space, data=stream), tmp_path / "stream")


def test_the_recipe_of_a_study_follows_from_its_images(few, pretended, tmp_path):
    """Few images get small batches, as by `fit`."""
    search.run(Study(space=space, data=few, trials=1), tmp_path / "out")
    assert pretended[1][-1][2] == kr.recipes.for_images(96, (8, 8, 1), class_names=few.class_names)


def test_trials_that_raise_or_are_killed_are_told(tmp_path):
    study = Study(space=space, recipe=kr.recipes.resolve("digits", epochs=500))
    with pytest.raises(TrialFailed, match=r"loss became (nan|inf) at step"):
        search.worker.train_in_process(study, ONE_UNIT, study.trained_by({"learning_rate": 1e30}), tmp_path / "diverged", 0)

    others = set(multiprocessing.active_children())

    def kill():
        if (tmp_path / ".killed.training").exists():
            for child in set(multiprocessing.active_children()) - others:
                child.kill()

    with pytest.raises(TrialFailed, match="killed by SIGKILL, perhaps out of memory"):
        search.worker.train_in_process(study, ONE_UNIT, study.trained_by({}), tmp_path / "killed", 0, kill)


@pytest.mark.usefixtures("eagerly")
def test_hyper_resnet_in_a_script_of_keras_tuner(tmp_path, few):
    """As anybody would use it, with Keras's own fit."""
    fields = {"input_shape": (8, 8, 1), "classes": 10, "recipe": "digits"}
    hypermodel = HyperResNet(one_stage, **fields)
    tuner = keras_tuner.RandomSearch(hypermodel, "val_accuracy", max_trials=2, directory=tmp_path, project_name="digits", seed=0)
    tuner.search(few.train, validation_data=few.validation, epochs=1, verbose=0)
    best = tuner.get_best_hyperparameters()[0]
    assert hypermodel.build(best).count_params() > 0
    wrong = HyperResNet(lambda hp: (one_stage(hp), {"learning_rate": 1e30}), **fields)
    with pytest.raises(RuntimeError, match=r"loss became (nan|inf)"):
        wrong.fit(best, wrong.build(best), few.train, epochs=5, verbose=0)
    one_hot = few.train.map(lambda images, labels: (images, keras.ops.one_hot(labels, 10)))
    assert hypermodel.fit(best, hypermodel.build(best), one_hot, epochs=1, verbose=0).history["accuracy"][0] > 0


def test_hyper_resnet_without_a_classifier():
    bare = HyperResNet(one_stage, input_shape=(8, 8, 1), classes=10, include_top=False, name="backbone", tunable=False)
    assert (bare.name, bare.tunable) == ("backbone", False)
    assert len(bare.build(keras_tuner.HyperParameters()).output.shape) == 4


@pytest.mark.parametrize("basis", ["resnet20", "resnet18d", "seresnet50", "resnet164v2"])
def test_the_first_draw_is_the_basis(basis):
    spec, recipe = residual_space(keras_tuner.HyperParameters(), kr.SPECS[basis])
    assert spec == replace(kr.SPECS[basis], shortcut="projection" if basis == "resnet20" else kr.SPECS[basis].shortcut)
    assert recipe == {name: getattr(kr.RECIPES["cifar-30"], name) for name in recipe}


def test_labels_are_told_apart():
    images, integers = np.zeros((4, 8, 8, 1)), np.array([0, 1, 2, 1])
    one_hot = keras.utils.to_categorical(integers, 3)
    both = {False: integers, True: one_hot}
    for answer, labels in both.items():
        assert are_one_hot({"x": images, "y": labels}) is answer
        assert are_one_hot({"x": tf.data.Dataset.from_tensor_slices((images, labels)).batch(2)}) is answer
    assert are_one_hot({"x": iter([])}) is None
    with pytest.raises(InputError, match="needs them one-hot"):
        kr.Recipe(mixup=0.2).compile(keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)]), 1, one_hot=False)


@pytest.mark.slow
def test_hyper_resnet_learns_for_as_long_as_it_is_fitted(digits):
    digits, rates, hp = replace(digits, batch_size=32), [], keras_tuner.HyperParameters()
    hypermodel = HyperResNet(lambda hp: replace(ONE_UNIT, widths=(16,)), input_shape=(8, 8, 1), classes=10, recipe="digits")
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(float(model_of_trial.optimizer.learning_rate))
    )
    model_of_trial = hypermodel.build(hp)
    history = hypermodel.fit(
        hp, model_of_trial, digits.train, validation_data=digits.validation, epochs=8, verbose=0, callbacks=[watch]
    )
    assert history.history["val_accuracy"][-1] > 0.85
    assert max(rates) == rates[1] > 10 * rates[6] > rates[7] == 0
    model = hypermodel.build(hp)
    hypermodel.fit(hp, model, digits.train, epochs=8, initial_epoch=7, verbose=0)  # as Hyperband goes on
    assert int(model.optimizer.iterations) == 8 * len(digits.train)


def test_steps_are_counted_in_what_fit_is_given(digits):
    images = np.zeros((100, 8, 8, 1))
    for arguments, steps in (
        ({"x": images}, 4),
        ({"x": images, "batch_size": 10}, 10),
        ({"x": images, "batch_size": 10, "validation_split": 0.25}, 8),
        ({"x": digits.train, "steps_per_epoch": 3}, 3),
        ({"x": digits.validation}, len(digits.validation)),
    ):
        assert count_steps(arguments) == steps
    for unknown in (iter([]), digits.train.repeat()):
        with pytest.raises(InputError, match=r"is not known: give HyperResNet steps_per_epoch="):
            count_steps({"x": unknown})


def test_a_winner_is_told_apart_from_its_rivals_or_says_so(tmp_path):
    def final(trial, accuracy):
        run = SimpleNamespace(metrics={"validation": {"accuracy": accuracy}, "images": {"validation": 400}})
        return Final(trial, 0, run)

    results = Results(Study(space=space), tmp_path)
    results.finals = [final("0", 0.9), final("1", 0.89), final("2", 0.95), final("3", 0.945)]
    assert results.verdict == (
        "the winner is trial 2: val_accuracy 0.9500 (95 % interval 0.9240 to 0.9674, 400 images); "
        "not significantly better than trial 3"
    )
    results.finals = results.finals[1:3]
    assert "better" not in results.verdict


def test_several_finalists_by_default(pretended, tmp_path):
    found = search.run(Study(space=space, trials=4), tmp_path / "out")
    assert [final.trial for final in found.finals] == [row["trial"] for row in found.best[:3]]
    assert len(pretended[1]) == 4  # each was trained in full


@pytest.mark.slow
def test_hyper_resnet_draws_again_beyond_its_budget(tmp_path):
    """With an engine of KerasTuner, whose first values may be beyond it; its trials are to have the values that were built."""

    class Trained(keras_tuner.RandomSearch):
        def run_trial(self, trial, *arguments, **options):
            built.append((self.hypermodel.build(trial.hyperparameters).count_params(), dict(trial.hyperparameters.values)))
            return {"val_accuracy": 0.5}

    built = []
    limit = 9_000
    hypermodel = HyperResNet(one_stage, input_shape=(8, 8, 1), classes=10, recipe="digits", budget=Budget(parameters=limit))
    objective = keras_tuner.Objective("val_accuracy", "max")
    tuner = Trained(hypermodel, objective, max_trials=4, directory=tmp_path, project_name="digits", seed=0)
    tuner.search(verbose=0)
    assert len(built) == 4
    for trial, (count, values) in zip(tuner.oracle.trials.values(), built, strict=True):
        assert count <= 1.1 * limit  # statistics of normalisations are not trained
        assert trial.hyperparameters.values == values
        assert costs(hypermodel.spec(trial.hyperparameters)[0])["parameters"] <= limit
    bounded = HyperResNet(one_stage, input_shape=(8, 8, 1), classes=10, budget=Budget(parameters=10))
    drawn = []
    for width in (16, 32, 32):
        hyperparameters = keras_tuner.HyperParameters()
        hypermodel.spec(hyperparameters)
        hyperparameters.values |= {"depth1": 4, "width": width}
        HyperResNet(one_stage, input_shape=(8, 8, 1), classes=10, budget=Budget(parameters=limit)).build(hyperparameters)
        drawn.append(dict(hyperparameters.values))
    assert drawn[0] != drawn[1] == drawn[2]  # another network in place of each, the same one everywhere
    with pytest.raises(keras_tuner.errors.FailedTrialError, match="nothing in the space is within the budget; the last one: "):
        bounded.build(keras_tuner.HyperParameters())
    with pytest.raises(InputError, match="HyperResNet measures none"):
        HyperResNet(one_stage, input_shape=(8, 8, 1), classes=10, budget=Budget(latency=1.0))


def test_the_usual_space_is_legal_everywhere():
    hypermodel = HyperResNet(residual_space, input_shape=(32, 32, 3), classes=10)
    hyperparameters = keras_tuner.HyperParameters()
    hypermodel.spec(hyperparameters)
    generator = np.random.default_rng(0)
    for _ in range(100):
        for entry in hyperparameters.space:
            hyperparameters.values[entry.name] = entry.random_sample(int(generator.integers(1 << 30)))
        spec, _ = hypermodel.spec(hyperparameters)
        assert costs(spec)["multiply_adds"] > 0


@pytest.mark.parametrize("limit", [0, -1, math.nan, math.inf, True, "many"])
def test_a_limit_is_a_number_above_0(limit):
    with pytest.raises(InputError, match=f"^parameters={limit!r}: must be a number above 0$"):
        Budget(parameters=limit)


def test_a_batch_of_more_than_all_images(tmp_path):
    """Really trained; `fit` takes a smaller one, and the trial is the final training nevertheless."""

    def only(hp):
        return hp.Fixed("one", 1) and ONE_UNIT

    study = Study(space=only, trials=1, recipe=kr.recipes.resolve("digits", epochs=1, batch_size=5000), engine="grid")
    found = search.run(study, tmp_path / "out")
    assert Run.open(tmp_path / "out" / "winner").recipe.batch_size < 5000
    assert [path.name for path in (tmp_path / "out").glob("*/*-seed*")] == []
    assert found.winner() == "0000"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"engine": "gird"}, "no engine named 'gird'; did you mean 'grid'"),
        ({"objectives": ("latncy",)}, "no objective named 'latncy'; did you mean 'latency'"),
        ({"trials": 0}, "trials=0: must be a whole number of at least 1"),
        ({"final": {"epoch": 3}}, "no Recipe field named 'epoch'; did you mean 'epochs'"),
        ({"space": 3}, "space=3: expected a function of hyperparameters"),
        ({"patience": 0}, "patience=0: must be a whole number of at least 1"),
    ],
)
def test_a_study_that_is_none_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Study(**{"space": space, **fields})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1", "has no study: expected a line `study = Study"),
        ("import nothing_of_the_kind", "cannot be run: ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
        (STUDY.replace("trials=8", "trials=-1"), "trials=-1: must be a whole number"),
        ("import sys; sys.exit(0)", r"calls sys.exit\(0\): a study file only defines `study`"),
    ],
)
def test_a_file_without_a_study_is_refused(content, message, tmp_path):
    path = tmp_path / "study.py"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        search.run(path)
    with pytest.raises(InputError, match="no study at"):
        search.run(tmp_path / "none.py")


def test_the_widest_network_within_a_budget():
    def family(width):
        return dataclasses.replace(kr.SPECS["resnet20"], widths=(width, 2 * width, 4 * width), stem_width=width)

    spec = search.widest(family, Budget(parameters=100_000))
    assert costs(spec)["parameters"] <= 100_000 < costs(family(spec.stem_width + 1))["parameters"]
    assert search.widest(family, Budget(parameters=100_000), [2, 4, 300]).stem_width == 4
    assert Budget(latency=0.02).excess({"latency": 0.0234567891234, "parameters": 9}) == "latency 0.0234568 above 0.02"
    with pytest.raises(InputError, match=r"width 40 is over the budget: parameters 1,\d+,\d+ above 100,000"):
        search.widest(family, Budget(parameters=100_000), [40])


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[1].glob("tuning/*.py")), ids=lambda path: path.stem)
def test_studies_of_the_project_have_legal_networks(path):
    study = search.load_study(path)
    assert study.question.endswith("?")
    hyperparameters = space_of(study)
    spec, _ = study.draw(hyperparameters)
    assert isinstance(spec, kr.ResNetSpec)
