"""Optuna as the engine of a search: what it draws and learns, and that processes lose nothing and count nothing twice."""

import csv
import dataclasses
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
import pytest
import sqlalchemy
from keras_tuner import HyperParameters
from optuna.trial import TrialState

import keras_resnet as kr
from keras_resnet import InputError, search
from keras_resnet.errors import WorkerLost
from keras_resnet.runs.history import write_history
from keras_resnet.runs.run import Run
from keras_resnet.search import Budget, Study, optuna_leases, optuna_studies
from keras_resnet.search.engine import TrialTaken, Verdict
from keras_resnet.search.optuna_space import count_values, distribution_of, drawn
from keras_resnet.search.optuna_storage import Storage
from keras_resnet.search.optuna_studies import OptunaStudies
from keras_resnet.search.oracle import space_of
from keras_resnet.search.trials import Trials
from keras_resnet.search.worker import TrialFailed
from keras_resnet.training import checkpoint_files

PROCESS = Path(__file__).with_name("search_process.py")


@pytest.fixture(autouse=True, scope="module")
def _no_flush():
    """SQLite waits for the disk at every write, which takes most of the time of these tests."""

    def set_up(connection, _):
        connection.execute("PRAGMA synchronous=OFF") if isinstance(connection, sqlite3.Connection) else None

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", set_up)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", set_up)


def space(hp):
    depths = tuple(hp.Int(f"depth{stage}", 1, 4) for stage in (1, 2, 3))
    width = hp.Choice("width", [4, 8, 16, 32])
    return dataclasses.replace(kr.SPECS["resnet8"], depths=depths, widths=(width, width, width), stem_width=width)


def eight(hp):
    """A space of so many networks."""
    return dataclasses.replace(kr.SPECS["resnet8"], depths=tuple(hp.Int(f"depth{stage}", 1, 2) for stage in (1, 2, 3)))


def study_of(trials=3, space=space, **fields):
    return Study(space=space, trials=trials, engine="optuna", **fields)


def trained(pretended):
    """The names of the trials that were trained, without final trainings."""
    return [name for name, *_ in pretended[1] if "seed" not in name]


def names(found):
    return [row["trial"] for row in found.rows]


def test_goes_on_where_it_was(pretended, tmp_path):
    first = search.run(study_of(3), tmp_path / "out")
    assert names(first) == ["0000", "0001", "0002"]
    told = []
    again = search.run(study_of(7), tmp_path / "out", tell=told.append)
    assert again.rows[:3] == first.rows
    assert names(again) == trained(pretended)
    assert len(again.rows) == 7
    assert "resuming: 3 of 7 trials are done" in told
    assert len({tuple(row[name] for name in again.hyperparameters) for row in again.rows}) == 7
    search.run(study_of(7), tmp_path / "out")
    assert len(trained(pretended)) == 7
    for change in ({"engine": "random"}, {"budget": Budget(parameters=1)}, {"pruner": "median"}, {"seed": 1}):
        with pytest.raises(InputError, match=f"has the results of a study with another {next(iter(change))}"):
            search.run(dataclasses.replace(study_of(7), **change), tmp_path / "out")
    with pytest.raises(InputError, match="has the results of a study with other objectives"):
        search.run(study_of(7, objectives=("val_accuracy", "parameters")), tmp_path / "out")


def test_an_interrupted_trial_is_resumed_under_its_name(pretended, tmp_path):
    pretended[0]["0001"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        search.run(study_of(3), tmp_path / "out")
    pretended[0].clear()
    found = search.run(study_of(3), tmp_path / "out")
    assert trained(pretended) == ["0000", "0001", "0001", "0002"]
    assert [row["status"] for row in found.rows] == ["completed"] * 3


def test_the_seed_decides_what_is_drawn(pretended, tmp_path):
    def values(seed, folder):
        found = search.run(study_of(4, seed=seed), tmp_path / folder)
        return [[row[name] for name in found.hyperparameters] for row in found.rows]

    assert values(0, "first") == values(0, "second")
    assert values(0, "first") != values(1, "third")


def test_refused_draws_are_constraints_that_are_learnt_from(pretended, tmp_path):
    """They cost no training, and do not count among the trials."""
    found = search.run(study_of(20, budget=Budget(parameters=20_000)), tmp_path / "out")
    assert len(found.rows) == 20
    assert all(row["parameters"] <= 20_000 for row in found.rows)
    (stored,) = stored_in(tmp_path / "out")
    refused = [trial for trial in stored.trials if trial.constraints.get("parameters", 0) > 0]
    assert len(refused) == found.refused["parameters"] > 0
    assert {trial.state.name for trial in refused} == {"PRUNED"}
    cost = {frozen.number: frozen.constraints["parameters"] for frozen in stored.trials if frozen.constraints}
    for row in found.rows:
        assert cost[int(row["trial"])] == pytest.approx(row["parameters"] / 20_000 - 1)
    half = len(stored.trials) // 2
    shares = [sum(trial in refused for trial in part) for part in (stored.trials[:half], stored.trials[half:])]
    assert shares[1] < shares[0]


def stored_in(out):
    """The studies in the storage of a search, without those of final trainings."""
    url = f"sqlite:///{out / 'state' / 'optuna.sqlite3'}"
    found = [name for name in optuna.get_all_study_names(url) if "finals" not in name]
    return [optuna.load_study(study_name=name, storage=url) for name in found]


def test_every_network_of_a_small_space_is_found_once(pretended, tmp_path):
    told = []
    found = search.run(study_of(12, eight), tmp_path / "out", tell=told.append)
    assert len({row["spec.depths"] for row in found.rows}) == len(found.rows) == 8
    assert "no more than 8 trials: the engine finds no other network" in told


@pytest.mark.slow
def test_a_budget_that_nothing_fits(pretended, monkeypatch, tmp_path):
    monkeypatch.setattr("keras_resnet.search.optuna_engine.PATIENCE", 20)
    with pytest.raises(InputError, match=r"within the budget; draws refused: 20 \(20 parameters\).*; the last: par"):
        search.run(study_of(3, budget=Budget(parameters=100)), tmp_path / "out")
    assert not pretended[1]
    found = search.run(study_of(3), tmp_path / "out")  # nothing was begun, so the budget may change
    assert len(found.rows) == 3
    assert not found.refused


def test_illegal_networks_and_wrong_spaces(pretended, tmp_path):
    """The first are refused, the second are failed trials."""

    def wrong(hp):
        depth = hp.Int("depth", -2, 3)
        if depth == 3:
            raise ValueError("unlucky")
        return dataclasses.replace(kr.SPECS["resnet8"], depths=(depth, 1, 1))

    found = search.run(study_of(6, wrong), tmp_path / "out")
    assert sorted((row["depth"], row["status"]) for row in found.rows) == [(1, "completed"), (2, "completed"), (3, "failed")]
    assert found.refused["illegal"] >= 1


def test_three_failures_in_a_row_end_it(pretended, tmp_path):
    pretended[0].update({"0001": TrialFailed("no memory"), **{f"{n:04}": TrialFailed(f"reason {n}") for n in range(3, 6)}})
    with pytest.raises(InputError, match="three trials in a row failed, the last with: reason 5"):
        search.run(study_of(9), tmp_path / "out")
    pretended[0].clear()
    found = search.run(study_of(9), tmp_path / "out")  # what was wrong is mended
    assert [row["status"] for row in found.rows] == ["completed", "failed", "completed", *["failed"] * 3, *["completed"] * 3]
    assert found.rows[1]["reason"] == "no memory"


def test_more_trials_of_the_same_final_training(pretended, tmp_path):
    """What tells the trials apart does not change how they are trained in the end."""

    def unused(hp):
        hp.Int("unused", 0, 9)
        return kr.SPECS["resnet8"]

    pretended[0].update({f"{number:04}": number / 40 for number in range(40)})
    for trials in (3, 7):
        found = search.run(study_of(trials, unused, finalists=1, seeds=2, final={"epochs": 2}), tmp_path / "out")
        assert found.winner() == found.rows[-1]["trial"]


@pytest.mark.slow
def test_finals_that_failed_are_tried_again(pretended, tmp_path):
    study = study_of(3, finalists=2, seeds=2)
    best, second = (row["trial"] for row in search.run(study, tmp_path / "known").best[:2])
    pretended[0][f"{best}-seed1"] = TrialFailed("no memory")
    pretended[1].clear()
    found = search.run(study, tmp_path / "out")
    assert [(row["trial"], row["reason"]) for row in found.final_rows if row["reason"]] == [(best, "no memory")]
    assert found.winner() == second
    pretended[0].clear()
    found = search.run(study, tmp_path / "out")
    assert [row["reason"] for row in found.final_rows] == [""] * 4
    finals = [name for name, *_ in pretended[1] if "seed" in name]
    assert sorted(finals) == sorted([f"{best}-seed1", f"{best}-seed1", f"{second}-seed1"])


def test_several_objectives_are_optunas(pretended, tmp_path):
    told = []
    study = study_of(6, objectives=("val_accuracy", "parameters"), pruner="median")
    found = search.run(study, tmp_path / "out", tell=told.append)
    (stored,) = stored_in(tmp_path / "out")
    assert [direction.name for direction in stored.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [trial.values for trial in stored.trials] == [[row["val_accuracy"], row["parameters"]] for row in found.rows]
    assert {trial.number for trial in stored.best_trials} == {int(row["trial"]) for row in found.front}
    assert "trials are not pruned: Optuna prunes by one objective only" in told


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "x", "min_value": 2, "max_value": 9},
        {"name": "x", "min_value": 2, "max_value": 9, "step": 3},
        {"name": "x", "min_value": 1, "max_value": 100, "sampling": "log"},
        {"name": "x", "min_value": 2, "max_value": 32, "step": 2, "sampling": "log"},
        {"name": "x", "min_value": 1, "max_value": 100, "sampling": "reverse_log"},
        {"name": "x", "min_value": 0.1, "max_value": 0.9},
        {"name": "x", "min_value": 0.0, "max_value": 0.2, "step": 0.1},
        {"name": "x", "min_value": 1e-3, "max_value": 1e-1, "sampling": "log"},
        {"name": "x", "min_value": 1e-3, "max_value": 10.0, "step": 10, "sampling": "log"},
        {"name": "x", "min_value": 1e-3, "max_value": 1e-1, "sampling": "reverse_log"},
    ],
    ids=lambda entry: "-".join(map(str, entry.values())),
)
def test_ranges_are_those_of_keras_tuner(entry):
    """Both ends are drawn, and nothing beyond them or between steps."""
    hp = HyperParameters()
    (hp.Int if isinstance(entry["min_value"], int) else hp.Float)(**entry)
    (range_,) = hp.space
    low, high, step = entry["min_value"], entry["max_value"], entry.get("step")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distribution = distribution_of(range_)
    found = [drawn(hp, lambda name, _, end=end: end)["x"] for end in (distribution.low, distribution.high)]
    listed = list(range_.values)
    if step:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for _ in range(50):
            value = drawn(hp, search.optuna_space.suggest.__get__(study.ask()))["x"]
            assert value == pytest.approx(min(listed, key=lambda other: abs(other - value)))
        assert sorted(found) == pytest.approx([min(listed), max(listed)])
        assert count_values(range_) == len(listed)
        return
    assert min(found) == pytest.approx(low)
    assert max(found) == pytest.approx(high)
    assert type(found[0]) is type(low)


def test_the_last_step_of_a_range_counts():
    """KerasTuner leaves out 0.3, because 0.3 / 0.1 is less than 3."""
    hp = HyperParameters()
    hp.Float("x", 0.0, 0.3, step=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert distribution_of(hp.space[0]).high == 0.3
    assert count_values(hp.space[0]) == 4


def test_a_range_is_sampled_as_it_says():
    """Half of a logarithmic one lies below its geometric mean, and half of a reversed one above that from its other end."""
    hp = HyperParameters()
    hp.Float("log", 1e-4, 1.0, sampling="log")
    hp.Float("reverse", 1e-4, 1.0, sampling="reverse_log")
    hp.Int("whole", 1, 10_000, sampling="log")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    rows = [drawn(hp, search.optuna_space.suggest.__get__(study.ask())) for _ in range(200)]
    assert 70 < sum(row["log"] < 1e-2 for row in rows) < 130
    assert 70 < sum(row["reverse"] > 0.99 for row in rows) < 130
    assert 70 < sum(row["whole"] < 100 for row in rows) < 130


def test_only_active_values_are_drawn(pretended, tmp_path):
    def conditional(hp):
        block = hp.Choice("block", ["basic", "bottleneck"])
        with hp.conditional_scope("block", ["basic"]):
            if block == "basic":
                hp.Int("depth", 1, 2)
        with hp.conditional_scope("block", ["bottleneck"]):
            if block == "bottleneck":
                hp.Choice("depth", [3, 4])
        hp.Fixed("only", 7)
        with hp.name_scope("more"):
            hp.Boolean("attention")
        return dataclasses.replace(kr.SPECS["resnet8"], block=block)

    found = search.run(study_of(8, conditional), tmp_path / "out")
    assert len(found.rows) == 8
    for row in found.rows:
        assert row["depth"] in ((1, 2) if row["block"] == "basic" else (3, 4))
        assert row["only"] == 7
        assert isinstance(row["more/attention"], bool)


def test_the_storage_of_another_folder_is_refused(pretended, monkeypatch, tmp_path):
    monkeypatch.setattr(optuna_studies, "MOMENT", 0.0)
    storage = f"sqlite:///file:{tmp_path / 'all.sqlite3'}?uri=true&password=secret"
    search.run(study_of(2), tmp_path / "one", storage=storage)
    search.run(study_of(2), tmp_path / "two", storage=storage)  # two studies in one database do not mix
    assert {"one", "two"} == set(optuna.get_all_study_names(storage))
    assert not [path for path in tmp_path.glob("*/**/*") if path.is_file() and b"secret" in path.read_bytes()]
    with pytest.raises(InputError, match=r"has a study 'one' of another folder; call the folder \(--out\) otherwise"):
        search.run(study_of(2), tmp_path / "elsewhere" / "one", storage=storage)
    with pytest.raises(InputError, match=r"has no trials of '.*one', which has some: give the storage of before"):
        search.run(study_of(2), tmp_path / "one", storage=f"sqlite:///{tmp_path / 'other.sqlite3'}")


def test_two_folders_have_no_study_together(monkeypatch, tmp_path):
    """Even before there is a trial, and where each of them has a study of that name elsewhere."""
    monkeypatch.setattr(optuna_studies, "MOMENT", 0.0)
    plan = study_of(), space_of(study_of()), "plan", None
    message = r"has a study 'one' of another folder; call the folder \(--out\) otherwise"
    with ExitStack() as stack:

        def opened(folder, storage):
            studies = OptunaStudies(f"sqlite:///{tmp_path / storage}", tmp_path / folder / "one" / "state", 60.0, print)
            stack.callback(studies.close)
            return studies

        opened("a", "first").trials(*plan)
        with pytest.raises(InputError, match=message):
            opened("b", "first").trials(*plan)
        opened("b", "second").trials(*plan)
        for other in (plan, (*plan[:2], "another plan", None)):
            with pytest.raises(InputError, match=message):
                opened("a", "second").trials(*other)
        mark = tmp_path / "a" / "one" / "state" / "optuna.json"
        mark.rename(tmp_path / "mark")  # another machine has made the study, and will write it now
        monkeypatch.setattr(optuna_studies, "MOMENT", 60.0)
        monkeypatch.setattr(optuna_studies.time, "sleep", lambda seconds: (tmp_path / "mark").rename(mark))
        opened("a", "first").trials(*plan)


STUDY = '''"""How deep?"""
from dataclasses import replace
import keras_resnet as kr


def space(hp):
    depths = tuple(hp.Int(f"depth{stage}", 1, 4) for stage in (1, 2, 3))
    return replace(kr.SPECS["resnet8"], depths=depths, widths=(4, 4, 4), stem_width=4)


study = kr.search.Study(
    space=space, engine="optuna", trials=TRIALS, recipe=replace(kr.RECIPES["digits"], epochs=1),
    finalists=2, seeds=2, final={"epochs": 2},
)
'''


def share(forked, tmp_path, storage, processes, trials):
    """Let so many processes share the trials of a search, the first of which is killed in one and started again, and check that
    nothing is lost, and nothing there twice."""
    path, out = tmp_path / "study.py", tmp_path / "out"
    path.write_text(STUDY.replace("TRIALS", str(trials)))
    with ExitStack() as stack:

        def begin(name):
            said = stack.enter_context((tmp_path / f"{name}.log").open("ab"))
            command = ["-c", PROCESS.read_text(), path, out, "storage", storage, name, 0.3]
            return stack.enter_context(forked(list(map(str, command)), stdout=said, stderr=said))

        running = {name: begin(name) for name in map("worker{}".format, range(processes))}
        until(lambda: "worker0" in lines_of(out, "trials"))
        running["worker0"].kill()
        running["worker0"].wait()
        running["worker0"] = begin("worker0")
        for name, process in running.items():
            assert process.wait(timeout=240) == 0, (tmp_path / f"{name}.log").read_text()
    rows, finals = table_in(out / "results.csv"), table_in(out / "finals.csv")
    assert len(rows) == len({row["trial"] for row in rows}) == trials
    assert {row["status"] for row in rows} == {"completed"}
    assert len({tuple(row[f"depth{stage}"] for stage in (1, 2, 3)) for row in rows}) == trials
    assert {path.name for path in (out / "trials").iterdir()} == {row["trial"] for row in rows}
    assert trials <= len(lines_of(out, "trials")) <= trials + 1  # that of the killed one may have been trained, and not entered
    best = sorted(rows, key=lambda row: (-float(row["val_accuracy"]), int(row["multiply_adds"])))[:2]
    assert [(row["trial"], row["seed"], row["reason"]) for row in finals] == [(b["trial"], s, "") for b in best for s in "01"]
    assert len(lines_of(out, "finals")) == 4
    assert Run.open(out / "winner").recipe.epochs == 2


def lines_of(out, kind):
    """The names of the processes that trained something, once for each time."""
    return [line for file in out.glob(f"{kind}/*/trained") for line in file.read_text().split()]


def table_in(file):
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def until(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_search_that_is_killed_in_a_training_goes_on(forked, tmp_path):
    """By the command, on digits that are really trained, with SQLite in the folder of the search."""
    path, out = tmp_path / "study.py", tmp_path / "study"
    path.write_text(STUDY.replace("TRIALS", "8").replace("epochs=1", "epochs=4"))
    command = ["-c", "import sys; from keras_resnet.__main__ import main; sys.exit(main())", "search", str(path)]

    def begin(stream):
        return forked(command, stdout=stream, stderr=stream)

    with (tmp_path / "log").open("ab") as stream:
        with begin(stream) as first:
            until(lambda: (out / "trials" / ".0002.training" / "history.csv").exists())
            first.kill()
        with begin(stream) as second:
            assert second.wait(timeout=900) == 0, (tmp_path / "log").read_text()
    rows = table_in(out / "results.csv")
    assert [row["status"] for row in rows] == ["completed"] * 8
    assert {path.name for path in (out / "trials").iterdir() if not path.name.startswith(".")} == {row["trial"] for row in rows}
    lines = (tmp_path / "log").read_text().splitlines()
    begun = [line.split(":")[0] for line in lines if line.startswith("trial ") and ": depth1=" in line]
    assert begun == ["trial 0000", "trial 0001", "trial 0002", *(f"trial {number:04}" for number in range(2, 8))]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "processes"), [("sqlite:///", 2), ("journal:", 4)])
def test_processes_lose_nothing(kind, processes, forked, tmp_path):
    share(forked, tmp_path, f"{kind}{tmp_path / 'trials'}", processes, trials=20)


@pytest.fixture(params=["sqlite:///", "journal:"])
def engine_at(request, tmp_path):
    """Opens the engine of a study as another process would."""
    with ExitStack() as stack:

        def opened(study, lease=60.0, judge=lambda values: Verdict(), tell=lambda line: None):
            studies = OptunaStudies(f"{request.param}{tmp_path / 'trials'}", tmp_path / "state", lease, tell)
            stack.callback(studies.close)
            return studies.trials(study, space_of(study), "plan", judge)

        yield opened


def end(engine, trial, score=0.5):
    engine.update_trial(trial.trial_id, {"val_accuracy": score}, 1)
    trial.status = "COMPLETED"
    engine.end_trial(trial)


def test_a_trial_of_a_silent_machine_is_resumed_and_counted_once(engine_at):
    told = []
    first, second = (engine_at(study_of(2), lease=0.5, tell=told.append) for _ in range(2))
    first.machine = "another"
    lost = first.create_trial("one")
    end(second, second.create_trial("two"), 0.25)
    for _ in range(4):
        assert second.create_trial("two").status == "IDLE"
        time.sleep(0.2)
        first.get_trial(lost.trial_id)  # heard of, at most four times within a lease
    first.renewed[lost.trial_id] = time.monotonic() + 99  # and then no more
    assert second.create_trial("two").status == "IDLE"
    time.sleep(0.7)
    second.lock_of("0000").rmdir()  # another machine does not see the lock of this one
    again = second.create_trial("two")
    assert (again.trial_id, again.hyperparameters.values) == (lost.trial_id, lost.hyperparameters.values)
    assert told == ["trial 0000: one is gone or was silent for 0.5 seconds; the trial is resumed"]
    end(first, lost, 0.75)  # it was only late
    end(second, again, 0.125)
    for engine in (first, second):
        assert engine.create_trial("any").status == "STOPPED"
        assert {name: trial.score for name, trial in engine.trials.items()} == {"0000": 0.75, "0001": 0.25}


def test_a_draw_that_a_kill_left_takes_no_place(engine_at):
    first, second = (engine_at(study_of(1), lease=0.3) for _ in range(2))
    first.study.ask()  # and killed
    assert second.create_trial("two").status == "IDLE"
    time.sleep(0.4)
    trial = second.create_trial("two")
    assert trial.trial_id == "0001"
    end(second, trial)
    assert second.create_trial("two").status == "STOPPED"
    assert list(second.trials) == ["0001"]


def test_the_limit_holds_over_processes(engine_at, monkeypatch):
    """Both saw room for one more."""
    first, second = (engine_at(study_of(1)) for _ in range(2))
    monkeypatch.setattr(second, "has_room", iter([True, False]).__next__)
    trial = first.create_trial("one")
    assert second.create_trial("two").status == "IDLE"
    end(first, trial)
    second.look()
    assert list(second.trials) == ["0000"]


def test_processes_do_not_train_the_same_values(engine_at):
    """Which they draw at the same time."""
    only = study_of(2, lambda hp: hp.Fixed("one", 1) and kr.SPECS["resnet8"])
    second, given = engine_at(only), []

    def meanwhile(values):
        if not given:
            given.append(second.create_trial("two"))
        return Verdict()

    first = engine_at(only, judge=meanwhile)
    assert first.create_trial("one").status == "IDLE"
    end(second, given[0])
    assert first.create_trial("one").status == "STOPPED"
    assert list(first.trials) == [given[0].trial_id]


@pytest.mark.parametrize("values", [{"depth1": "../x"}, {"depth1": 99}, {"evil": 1}, ["depth1"], 3])
def test_values_that_somebody_wrote_into_the_storage_are_refused(values, engine_at):
    engine = engine_at(study_of(2))
    trial = engine.study.ask()
    trial.set_user_attr("values", {"depth1": 1})
    engine.look()
    trial.set_user_attr("values", values)
    with pytest.raises(InputError, match="the storage has a trial that does not belong to this study: "):
        engine.create_trial("one")


WRONG_ATTRIBUTES = {
    "held": (3, {}, {"worker": 3, "machine": "m"}, {"worker": "\x1b[2J", "machine": "m"}, {"worker": "one"}),
    "refused": (5, " ", None),
    "reason": (5, ["x"]),
    "epoch": ("x", -1, 0.5, True),
    "ended": ("x", None, 10**400),
}


def test_attributes_that_somebody_wrote_into_the_storage_are_refused(engine_at):
    engine = engine_at(study_of(2))
    for name, wrong in WRONG_ATTRIBUTES.items():
        trial = engine.study.ask()
        for value in wrong:
            trial.set_user_attr(name, value)
            with pytest.raises(InputError, match=f"the storage has a trial that does not belong to this study: {name} = "):
                engine.create_trial("one")
        trial.set_user_attr(
            name, {"worker": "one", "machine": "m"} if name == "held" else {"reason": "", "epoch": 1, "ended": 1.0}.get(name, "x")
        )


def test_the_order_in_which_trials_end_needs_no_time_zone(engine_at, monkeypatch):
    engine = engine_at(study_of(2))
    try:
        for zone in ("UTC", "UTC+9"):  # nine hours behind
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            end(engine, engine.create_trial("one"))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert engine.end_order == ["0000", "0001"]


def test_a_killed_process_is_known_by_its_lock(engine_at):
    """Nobody waits for the lease of a process of this machine."""
    first, second = (engine_at(study_of(1)) for _ in range(2))
    lost = first.create_trial("one")
    assert second.create_trial("two").status == "IDLE"
    os.close(first.held.pop(lost.trial_id)[1])
    assert second.create_trial("two").trial_id == lost.trial_id


@pytest.mark.parametrize("left", ["killed", "closed", "queued"])
def test_a_draw_that_was_dropped_is_no_trial(left, engine_at):
    """Wherever its process ends."""
    first, second = (engine_at(study_of(1)) for _ in range(2))
    lost = first.create_trial("one").trial_id
    first.held[lost][0].set_user_attr("dropped", True)
    if left == "queued":
        first.finish(lost, TrialState.WAITING)
    if left == "closed":
        first.close()
    else:
        os.close(first.held.pop(lost)[1])
    trial = second.create_trial("two")
    assert trial.trial_id == "0001"
    end(second, trial)
    assert second.create_trial("two").status == "STOPPED"


def lapsed(first, second):
    """A trial of the first engine, whose lease is over for the second."""
    trial = first.create_trial("one")
    assert second.create_trial("two").status == "IDLE"
    second.heard[0] = (second.heard[0][0], 0.0)
    return trial


def test_a_process_that_stands_still_keeps_its_lock_and_its_trial(engine_at, monkeypatch):
    told = []
    first, second = (engine_at(study_of(1), tell=told.append) for _ in range(2))
    lost = lapsed(first, second)
    tries, attempt = iter(range(3)), second.attempt
    monkeypatch.setattr(second, "attempt", lambda name: (next(tries), attempt(name))[1])
    assert second.create_trial("two").status == "IDLE"
    assert not told
    end(first, lost)
    assert second.create_trial("two").status == "STOPPED"


def test_a_trial_is_given_back_by_the_process_that_has_it(engine_at):
    told = []
    first, second, third = (engine_at(study_of(1), tell=told.append) for _ in range(3))
    lost = lapsed(first, second).trial_id
    first.lock_of(lost).rmdir()  # the lock is one of another machine
    assert second.create_trial("two").trial_id == lost
    first.close()
    assert state_of(lost, first) == TrialState.RUNNING
    second.close()
    assert state_of(lost, first) == TrialState.WAITING
    assert third.create_trial("three").trial_id == lost
    assert told[1:] == ["trial 0000: two gave it back; the trial is resumed"]


def state_of(name, engine):
    return engine.study.get_trials(deepcopy=False)[int(name)].state


def test_of_two_that_take_one_trial_one_goes_on(engine_at, monkeypatch):
    """Machines that do not see each other's locks, and found the worker silent in the same moment."""
    first, second, third = engines = [engine_at(study_of(1)) for _ in range(3)]
    for machine, engine in enumerate(engines):
        engine.machine = str(machine)
        monkeypatch.setattr(engine, "lease", 0.0 if engine is third else 60.0)
    lost = lapsed(first, second)
    assert third.create_trial("three").status == "IDLE"
    take_back = third.take_back

    def take_back_late(frozen):
        first.lock_of(lost.trial_id).rmdir()
        assert second.create_trial("two").trial_id == lost.trial_id
        first.lock_of(lost.trial_id).rmdir()
        take_back(frozen)

    monkeypatch.setattr(third, "take_back", take_back_late)
    taken = third.create_trial("three")
    assert taken.trial_id == lost.trial_id
    for engine in engines:
        engine.lease = 0.0
    for engine in (first, second):
        with pytest.raises(TrialTaken, match="three"):
            engine.get_trial(lost.trial_id)
        assert not engine.held
    third.get_trial(lost.trial_id)
    end(third, taken)
    assert {engine.create_trial("any").status for engine in engines} == {"STOPPED"}


def test_a_worker_leaves_a_trial_that_another_one_has(pretended_run, monkeypatch, tmp_path):
    trained, told = [], []

    def pretend(study, spec, recipe, out, seed, alive):
        trained.append(out.name)
        run = pretended_run(out, spec, recipe, seed, 0.5)
        if out.name == "0000":  # another machine takes the trial, and is faster
            (stored,) = stored_in(tmp_path / "out")
            trial = optuna.Trial(stored, stored.trials[0]._trial_id)
            trial.set_user_attr("held", {"worker": "other", "machine": "m"})
            stored.tell(trial, 0.5)
            alive()
        return run

    monkeypatch.setattr("keras_resnet.search.trials.train_in_process", pretend)
    monkeypatch.setattr("keras_resnet.search.trials.WAIT", -1.0)
    monkeypatch.setattr(optuna_leases, "BEATS", float("inf"))
    found = search.run(study_of(2), tmp_path / "out", tell=told.append)
    assert "trial 0000 is left to other, which has taken it over" in told
    assert [row["status"] for row in found.rows] == ["completed"] * 2
    assert trained[:2] == ["0000", "0001"]


def test_a_machine_has_a_name_of_its_own(monkeypatch, tmp_path):
    """Where its host name is that of another one, too."""
    names = {optuna_leases.name_of_machine()}
    monkeypatch.setattr(optuna_leases, "BOOT", tmp_path / "boot_id")
    names.add(optuna_leases.name_of_machine())
    (tmp_path / "boot_id").write_text("another\n")
    names.add(optuna_leases.name_of_machine())
    assert len(names) == 3
    assert all(len(name.splitlines()) == 1 for name in names)


def test_a_trial_that_its_late_worker_ends_while_another_takes_it_back(engine_at, monkeypatch):
    first, second = (engine_at(study_of(1), tell=lambda line: None) for _ in range(2))
    lost = lapsed(first, second)
    hold = second.hold

    def hold_late(trial, worker):
        second.lock_of(lost.trial_id).rmdir()  # the lock is one of another machine
        end(first, lost)
        return hold(trial, worker)

    monkeypatch.setattr(second, "hold", hold_late)
    assert second.create_trial("two").status == "STOPPED"
    assert not second.held


WRONG_PASSWORDS = ["se@secret@host/x", "se@c:secret@host/x", "secret@host:54x/x", "secret/x", "se@c/secret@host/x"]


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("postgres://me:secret@host/trials", "no kind of storage named 'postgres'; did you mean 'postgresql'"),
        (
            "postgresql://me:secret@127.0.0.1:1/a?password=secret",
            r"the storage postgresql://me@127\.0\.0\.1:1/a cannot be opened: ",
        ),
        ("sqlite:////nowhere/trials.sqlite3", "the storage sqlite:////nowhere/trials.sqlite3 cannot be opened: unable to open"),
        ("journal:/nowhere/trials", "no folder at '/nowhere' for the journal of the search"),
        ("jornal:x", "storage 'jornal': expected journal:FILE, sqlite:///FILE"),
        ("postgresql:/me:secret@host/x", "storage 'postgresql': expected journal:FILE"),
        ("postgresql:me:secret@host", "storage 'postgresql': expected journal:FILE"),
        ("postgresql//me:secret@host", "storage 'postgresql//me': expected journal:FILE"),
        ("postgresql//secret@host", "the storage: expected journal:FILE"),
        *[(f"postgresql://me:{wrong}", "the storage is no URL: .*, with @ in a password as %40") for wrong in WRONG_PASSWORDS],
        ("sqlite:///FILE", "the storage sqlite:///.*damaged cannot be opened: file is not a database"),
        ("journal:FILE", "the storage journal:.*damaged cannot be opened: "),
    ],
)
def test_a_storage_that_is_none_is_refused_in_a_line(storage, message, tmp_path, call):
    if "postgresql" in storage:
        pytest.importorskip("psycopg")
    (tmp_path / "damaged").write_text("not a database\n" * 9)
    (tmp_path / "study.py").write_text(STUDY.replace("TRIALS", "2"))
    storage = storage.replace("FILE", str(tmp_path / "damaged"))
    code, output, errors = call("search", tmp_path / "study.py", "--storage", storage)
    assert code == 2
    assert re.search(message, errors)
    assert "secret" not in output + errors
    assert len(errors.splitlines()) == 1
    assert not list(tmp_path.glob("study/trials"))


def test_a_driver_that_is_not_installed_is_named(tmp_path, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymysql", None)
    (tmp_path / "study.py").write_text(STUDY.replace("TRIALS", "2"))
    code, _, errors = call("search", tmp_path / "study.py", "--storage", "mysql://me:secret@host/trials")
    assert code == 1
    assert errors == "keras-resnet: this needs pymysql, which is not installed: pip install 'keras-residual[mysql]'\n"


@pytest.fixture
def postgresql():
    """The URL of a database server of its own. It does not run as root."""
    pytest.importorskip("psycopg")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or list(map(Path, filter(None, [shutil.which("initdb")])))
    if not programs:
        pytest.skip("PostgreSQL is not installed: no initdb in /usr/lib/postgresql/*/bin, nor in PATH")
    with TemporaryDirectory() as folder:
        options = {"user": "nobody", "cwd": folder} if os.geteuid() == 0 else {"cwd": folder}
        if "user" in options:
            shutil.chown(folder, "nobody")
        data = Path(folder, "data")
        initdb = [programs[-1], "-D", data, "-U", "me", "--auth=trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(initdb, check=True, capture_output=True, **options)
        command = [programs[-1].with_name("postgres"), "-D", data, "-k", folder, "-h", "", "-F"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        try:
            until(lambda: (data / "postmaster.pid").exists() and "ready" in (data / "postmaster.pid").read_text())
            yield f"postgresql://me@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)  # it does not wait until clients close their connections
            server.wait(timeout=60)


def test_a_database_of_postgresql(postgresql, pretended, tmp_path):
    study = study_of(6, objectives=("val_accuracy", "parameters"))
    pretended[0]["0001"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        search.run(study, tmp_path / "out", storage=postgresql)
    pretended[0].clear()
    found = search.run(study, tmp_path / "out", storage=postgresql)
    assert [row["status"] for row in found.rows] == ["completed"] * 6
    assert sorted(trained(pretended)) == sorted([*names(found), "0001"])


@pytest.mark.slow
def test_processes_on_postgresql(postgresql, forked, tmp_path):
    share(forked, tmp_path, postgresql, processes=4, trials=20)


def test_a_database_that_breaks_is_told_in_a_line(postgresql, pretended, tmp_path, call, monkeypatch):
    """And the same command goes on."""
    engine = sqlalchemy.create_engine(postgresql.replace("postgresql", "postgresql+psycopg"))

    def rename(before, after):
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"ALTER TABLE {before} RENAME TO {after}"))
            connection.commit()

    (tmp_path / "study.py").write_text(STUDY.replace("TRIALS", "2"))
    with monkeypatch.context() as patch:
        title = Trials.title
        patch.setattr(Trials, "title", lambda self, trial: rename("trials", "elsewhere") or title(self, trial))
        code, _, errors = call("search", tmp_path / "study.py", "--storage", postgresql)
    assert code == 1
    assert "the storage postgresql://me@/postgres failed: " in errors.splitlines()[-1]
    assert errors.splitlines()[-1].endswith("; the same command resumes the search")
    assert not re.search(r"LINE \d|SELECT|\[SQL", errors)
    rename("elsewhere", "trials")
    assert call("search", tmp_path / "study.py", "--storage", postgresql)[0] == 0


@pytest.mark.parametrize("line", ["x\nx\n", "{}\n", "3\n"])
def test_a_journal_that_breaks_is_told_in_a_line(line, tmp_path):
    storage = Storage(f"journal:{tmp_path / 'trials'}")
    opened = storage.open()
    study = optuna.create_study(storage=opened)
    (tmp_path / "trials").write_text((tmp_path / "trials").read_text() + line)
    message = r"the storage journal:.*trials failed: .*; the same command resumes the search$"
    with pytest.raises(WorkerLost, match=message), storage.failures_in_a_line():
        study.ask()


def test_errors_of_other_code_are_not_those_of_the_storage(tmp_path):
    for error in (InputError("three trials failed"), KeyError("x")):
        with pytest.raises(type(error)), Storage(f"journal:{tmp_path / 'trials'}").failures_in_a_line():
            raise error


@pytest.mark.parametrize("engine_at", ["journal:"], indirect=True)
def test_the_sampler_learns_from_scores(engine_at):
    engine = engine_at(study_of(30, lambda hp: hp.Float("x", 0.0, 1.0) and kr.SPECS["resnet8"]))
    drawn = []
    for _ in range(30):
        trial = engine.create_trial("one")
        drawn.append(trial.hyperparameters.values["x"])
        end(engine, trial, drawn[-1])
    assert sum(drawn[20:]) > sum(drawn[:10]) + 2


def test_a_resumed_trial_is_pruned_by_all_its_epochs(engine_at):
    first, second = (engine_at(study_of(1, pruner="median")) for _ in range(2))
    for engine in (first, second):
        engine.study.pruner = optuna.pruners.ThresholdPruner(lower=0.5, n_warmup_steps=3)
    name = first.create_trial("one").trial_id
    assert not first.should_prune(name, [0.1, 0.2])
    first.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna's, for an epoch that is reported twice
        assert second.create_trial("two").trial_id == name
        assert not second.should_prune(name, [0.1, 0.2])
        assert second.should_prune(name, [0.1, 0.2, 0.3])
        second.close()
        assert first.create_trial("one").trial_id == name
        assert first.should_prune(name, [0.1, 0.2, 0.3, 0.4])
    assert first.study.get_trials()[0].intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}


def test_what_optuna_has_and_others_have_not(tmp_path):
    other = Study(space=space)
    for options, message in (
        ({"study": other, "storage": "sqlite:///x"}, "a storage is for engine='optuna'; the study has 'random'"),
        ({"study": study_of(), "chief": "127.0.0.1:1"}, "engine='optuna' has no chief: run the same command on each machine"),
        ({"study": study_of(), "worker": "127.0.0.1:1"}, "engine='optuna' has no chief"),
    ):
        with pytest.raises(InputError, match=message):
            search.run(**options, out=tmp_path / "out")
    with pytest.raises(InputError, match="pruner='median' is for engine='optuna', not for 'random'"):
        dataclasses.replace(other, pruner="median")
    with pytest.raises(InputError, match="no pruner named 'hyperbnd'; did you mean 'hyperband'"):
        study_of(pruner="hyperbnd")


@pytest.fixture
def learning(monkeypatch, pretended_run):
    """Trainings of nine epochs without training: the accuracy rises with each, to a height that follows from the network."""
    epochs = []

    def pretend(study, spec, recipe, out, seed, alive):
        folder = checkpoint_files.folder_of(out)
        folder.mkdir(parents=True)
        height = sum(spec.depths) / 12
        for epoch in range(1, 10):
            rows = [{"epoch": number, "val_accuracy": height * number / 9} for number in range(1, epoch + 1)]
            write_history(rows, folder / checkpoint_files.HISTORY)
            epochs.append((out.name, epoch))
            alive()
        return pretended_run(out, spec, recipe, seed, height)

    monkeypatch.setattr("keras_resnet.search.trials.train_in_process", pretend)
    monkeypatch.setattr("keras_resnet.search.trials.WAIT", -1.0)
    return epochs


@pytest.mark.parametrize("pruner", ["median", pytest.param("hyperband", marks=pytest.mark.slow)])
def test_a_pruned_trial_ends_and_the_others_go_on(pruner, learning, tmp_path):
    recipe = kr.recipes.resolve("digits", epochs=9)
    found = search.run(study_of(12, pruner=pruner, recipe=recipe, finalists=1), tmp_path / "out")
    pruned = {row["trial"]: row for row in found.rows if row["status"] == "pruned"}
    assert 0 < len(pruned) < 12
    assert len(learning) == len(set(learning))  # no epoch was trained twice
    for row in found.rows:
        ran = [epoch for name, epoch in learning if name == row["trial"]]
        assert ran == list(range(1, len(ran) + 1))
        assert (len(ran) < 9) == (row["trial"] in pruned)
        if row["trial"] in pruned:
            assert row["epochs"] == len(ran)
            assert row["val_accuracy"] == pytest.approx(sum(row[f"depth{stage}"] for stage in (1, 2, 3)) / 12 * len(ran) / 9)
            assert not (tmp_path / "out" / "trials" / f".{row['trial']}.training").exists()
    assert not set(pruned) & {row["trial"] for row in found.best}
    assert found.best[0]["trial"] == found.winner()
    text = (tmp_path / "out" / "results.html").read_text()
    assert f"{12 - len(pruned)} of 12 trials have a score; {len(pruned)} were pruned, and show that of their last epoch" in text
