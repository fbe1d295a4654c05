"""The engines of a search: what they draw, what a kill leaves, and who has which trial."""

import dataclasses
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from keras_tuner.engine.trial import Trial, TrialStatus

import keras_resnet as kr
from keras_resnet import InputError, search
from keras_resnet.errors import WorkerLost
from keras_resnet.search import Budget, Study, residual_space
from keras_resnet.search.client import Connection, RemoteOracle
from keras_resnet.search.oracle import oracle_of, oracle_of_list, space_of
from keras_resnet.search.server import Chief
from keras_resnet.search.worker import TrialFailed

ENGINES = ["random", "bayesian", "hyperband", "grid"]


def space(hp):
    depths = tuple(hp.Int(f"depth{stage}", 1, 3) for stage in (1, 2, 3))
    return dataclasses.replace(kr.SPECS["resnet8"], depths=depths, widths=(4, 4, 4), stem_width=4)


def eight(hp):
    """A space of so many networks."""
    return dataclasses.replace(kr.SPECS["resnet8"], depths=tuple(hp.Int(f"depth{stage}", 1, 2) for stage in (1, 2, 3)))


def opened(study, folder, refuse=lambda values: "", lease=60.0):
    return oracle_of(study, space_of(study), folder / "state", refuse, lease)


def end(oracle, trial, score=0.5):
    oracle.update_trial(trial.trial_id, {"val_accuracy": score})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)


def trials(pretended):
    """The names of those that were trained, without final trainings."""
    return [name for name, *_ in pretended[1] if "seed" not in name]


@pytest.mark.parametrize("engine", [pytest.param(name, marks=[pytest.mark.slow] * (name != "hyperband")) for name in ENGINES])
def test_goes_on_where_it_was(engine, pretended, tmp_path):
    def study(most, **fields):
        return Study(space=space, trials=most, engine=engine, **fields)

    first = search.run(study(3), tmp_path / "out")
    assert [row["trial"] for row in first.rows] == ["0000", "0001", "0002"]
    again = search.run(study(7), tmp_path / "out")
    assert trials(pretended) == [f"{number:04}" for number in range(7)]
    assert again.rows[:3] == first.rows
    drawn = [tuple(row[name] for name in again.hyperparameters) for row in again.rows]
    assert len(set(drawn)) == 7 or engine == "hyperband"
    search.run(study(7), tmp_path / "out")
    assert len(trials(pretended)) == 7
    other = "random" if engine == "grid" else "grid"
    for change in ({"engine": other}, {"budget": Budget(parameters=1)}, {"patience": 1}, {"seed": 1}, {"recipe": "he-2015"}):
        with pytest.raises(InputError, match=f"has the results of a study with another {next(iter(change))}"):
            search.run(dataclasses.replace(study(7), **change), tmp_path / "out")
    with pytest.raises(InputError, match="has the results of a study with another space"):
        search.run(dataclasses.replace(study(7), space=lambda hp: hp.Int("more", 1, 2) and space(hp)), tmp_path / "out")


@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupted_trial_is_trained_again_and_counted_once(engine, pretended, tmp_path):
    study = Study(space=space, trials=3, engine=engine)
    pretended[0]["0001"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        search.run(study, tmp_path / "out")
    pretended[0].clear()
    found = search.run(study, tmp_path / "out")
    assert trials(pretended) == ["0000", "0001", "0001", "0002"]
    assert [row["status"] for row in found.rows] == ["completed"] * 3


@pytest.mark.parametrize("engine", ENGINES)
def test_the_seed_decides_what_is_drawn(engine, tmp_path):
    def drawn(seed, folder):
        oracle = opened(Study(space=space, trials=3, engine=engine, seed=seed), tmp_path / folder)
        return [oracle.create_trial(f"tuner{number}").hyperparameters.values for number in range(3)]

    assert drawn(0, "first") == drawn(0, "second")
    assert drawn(0, "first again") != drawn(1, "third") or engine == "grid"


@pytest.mark.slow
def test_a_grid_is_every_combination_within_the_budget_once(pretended, tmp_path):
    found = search.run(Study(space=space, engine="grid"), tmp_path / "all")
    assert len({row["spec.depths"] for row in found.rows}) == 27
    limit = sorted(row["parameters"] for row in found.rows)[10]
    told = []
    study = Study(space=space, engine="grid", trials=27, budget=Budget(parameters=limit))
    bounded = search.run(study, tmp_path / "some", tell=told.append)
    assert {row["spec.depths"] for row in bounded.rows} == {row["spec.depths"] for row in found.rows if row["parameters"] <= limit}
    words = f"no more than {len(bounded.rows)} trials: the engine finds no other network; refused last: parameters "
    assert any(line.startswith(words) for line in told)
    oracle = opened(Study(space=space, engine="grid"), tmp_path / "many")
    assert {oracle.create_trial(f"tuner{number}").status for number in range(27)} == {TrialStatus.RUNNING}  # none waits for another
    assert oracle.create_trial("late").status == TrialStatus.IDLE


def test_hyperband_trains_the_best_longer_and_finalists_in_full(pretended, tmp_path):
    recipe = kr.recipes.resolve("digits", epochs=9)
    found = search.run(Study(space=space, engine="hyperband", recipe=recipe, finalists=2, seeds=2), tmp_path / "out")
    epochs = {name: recipe.epochs for name, _, recipe, *_ in pretended[1]}
    first = [row for row in found.rows if row["tuner/bracket"] == 2 and row["tuner/round"] == 0]
    second = [row for row in found.rows if row["tuner/bracket"] == 2 and row["tuner/round"] == 1]
    assert {epochs[row["trial"]] for row in first} == {1}
    assert {epochs[row["trial"]] for row in second} == {3}
    best = sorted((row["val_accuracy"] for row in first), reverse=True)[: len(second)]
    assert sorted((row["val_accuracy"] for row in second), reverse=True) == best
    finals = [name for name in epochs if "seed" in name]
    assert {epochs[name] for name in finals} == {9}
    by_trial = {row["trial"]: row for row in found.rows}
    assert len({by_trial[row["trial"]]["spec.depths"] for row in found.final_rows}) == 2


@pytest.mark.slow
def test_hyperband_halves_a_space_with_too_few_networks(pretended, tmp_path):
    """KerasTuner's engine would train each for one epoch, and end."""
    study = Study(space=eight, engine="hyperband", recipe=kr.recipes.resolve("digits", epochs=9), trials=9)
    for trials in (9, 11, None):  # it goes on
        found = search.run(dataclasses.replace(study, trials=trials), tmp_path / "out")
    rounds = [[row for row in found.rows if row["tuner/round"] == number] for number in (0, 1, 2)]
    assert [(len(rows), {row["tuner/epochs"] for row in rows}) for rows in rounds] == [(8, {1}), (3, {3}), (1, {9})]
    assert {row["tuner/bracket"] for row in found.rows} == {2}
    assert rounds[2][0]["spec.depths"] == (2, 2, 2)


@pytest.mark.parametrize("engine", ["random", pytest.param("bayesian", marks=pytest.mark.slow)])
def test_every_network_of_a_small_space_is_found(engine, pretended, tmp_path):
    told = []
    found = search.run(Study(space=eight, engine=engine, trials=12), tmp_path / "out", tell=told.append)
    assert len({row["spec.depths"] for row in found.rows}) == len(found.rows) == 8
    assert "no more than 8 trials: the engine finds no other network" in told


def test_bayesian_takes_the_most_promising_within_the_budget(tmp_path):
    """What it proposes itself is refused; of random values that are not, the one that its process expects most of."""
    study = Study(space=space, trials=9, engine="bayesian")
    refuse = lambda values: "parameters" if values["depth1"] == 3 else ""  # noqa: E731
    oracle = opened(study, tmp_path, refuse)
    for number in range(3):  # a third of the trials are random
        end(oracle, oracle.create_trial("one"), number / 10)
    oracle.gpr = SimpleNamespace(
        fit=lambda x, y: None,
        # More depth in the first stage is thought to be better, then in the second.
        predict=lambda points, return_std: (-np.asarray(points) @ [100, 10, 1], np.zeros(len(points))),
    )
    values = oracle.create_trial("one").hyperparameters.values
    assert (values["depth1"], values["depth2"]) == (2, 3)
    assert oracle.refused["parameters"] > 0
    wide = opened(dataclasses.replace(study, space=residual_space, trials=20), tmp_path / "wide")
    assert wide.num_initial_points == 6


@pytest.fixture
def clock(monkeypatch):
    """Time passes for leases where it is added."""
    now = [0.0]
    monkeypatch.setattr("keras_resnet.search.leases.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_lease_that_lapses_is_given_out_again_and_counted_once(tmp_path, clock):
    oracle = opened(Study(space=space, trials=2), tmp_path, lease=0.2)
    lost = oracle.create_trial("first")
    clock[0] += 0.1
    oracle.get_trial(lost.trial_id)  # heard of
    clock[0] += 0.15
    other = oracle.create_trial("second")
    assert other.trial_id != lost.trial_id
    clock[0] += 0.25
    again = oracle.create_trial("third")
    assert again.trial_id in (lost.trial_id, other.trial_id)
    for trial in (lost, lost, other):
        end(oracle, trial)
    assert sorted(oracle.end_order) == sorted({lost.trial_id, other.trial_id})
    assert oracle.create_trial("fourth").status == "STOPPED"


def test_a_worker_that_was_only_late_keeps_its_trial(tmp_path, clock):
    oracle = opened(Study(space=space, trials=2), tmp_path, lease=0.1)
    late = oracle.create_trial("late")
    clock[0] += 0.2
    oracle.take_back_lapsed()
    assert not oracle.ongoing_trials
    oracle.get_trial(late.trial_id)
    assert oracle.create_trial("other").trial_id != late.trial_id
    assert oracle.ongoing_trials["late"].trial_id == late.trial_id
    end(oracle, late, 0.25)
    assert [what for trial, what in oracle.news if trial.trial_id == late.trial_id] == [
        "given to late",
        "late was silent for 0.1 seconds: the trial is retried",
        "late is back",
        "val_accuracy 0.2500",
    ]


def test_refusals_are_kept(tmp_path):
    def refuse(values):
        return "" if values["depth1"] == 3 else f"depth 3 wanted: {values['depth1']}"

    first = opened(Study(space=space, trials=9), tmp_path, refuse)
    for _ in range(9):
        end(first, first.create_trial("one"))
    again = opened(Study(space=space, trials=9), tmp_path, refuse)
    assert again.refused == first.refused
    assert list(again.refused) == ["depth"]
    assert again.last_refusal == first.last_refusal != ""


def test_nobody_waits_while_the_chief_tells(tmp_path):
    oracle = opened(Study(space=space, trials=1), tmp_path)
    end(oracle, oracle.create_trial("one"))
    assert oracle.create_trial("one").status == "STOPPED"
    answered = []

    def tell(trial, what):
        worker = threading.Thread(target=lambda: answered.append(oracle.get_trial(trial.trial_id)), daemon=True)
        worker.start()
        worker.join(timeout=10)
        assert not worker.is_alive()

    Chief(oracle, "127.0.0.1:1", tmp_path / "certificate.pem", tell).serve(oracle)
    assert len(answered) == 2  # given to one, and its score


def test_nobody_is_lost_while_the_chief_measures(tmp_path, clock):
    def slow(values):
        clock[0] += 0.3
        return ""

    oracle = opened(Study(space=space, trials=3), tmp_path, slow, lease=0.2)
    first = oracle.create_trial("first")
    oracle.create_trial("second")  # nothing of the first could be heard meanwhile
    oracle.take_back_lapsed()
    assert oracle.ongoing_trials["first"].trial_id == first.trial_id


def test_nobody_is_lost_while_the_chief_writes_results(tmp_path, clock):
    def slow():
        clock[0] += 0.3

    oracle = opened(Study(space=space, trials=3), tmp_path, lease=0.2)
    oracle.on_end = slow
    first, second = oracle.create_trial("first"), oracle.create_trial("second")
    end(oracle, second)
    oracle.take_back_lapsed()
    assert oracle.ongoing_trials["first"].trial_id == first.trial_id


def test_a_search_that_had_ended_is_over_when_it_is_opened_again(tmp_path):
    study = Study(space=space, trials=2)
    for _ in range(2):
        oracle = opened(study, tmp_path)
        if not oracle.end_order:
            for _ in range(2):
                end(oracle, oracle.create_trial("one"))
    assert oracle.is_over()
    assert not opened(dataclasses.replace(study, trials=3), tmp_path).is_over()
    small = Study(space=lambda hp: hp.Fixed("only", 1) and kr.SPECS["resnet8"], engine="grid")
    oracle = opened(small, tmp_path / "small")
    end(oracle, oracle.create_trial("one"))
    assert oracle.create_trial("one").status == TrialStatus.STOPPED
    assert opened(small, tmp_path / "small").is_over()


def test_an_engine_without_more_trials_is_not_asked_again(monkeypatch, tmp_path):
    """It might find one that it had missed, after the search was over."""
    small = Study(space=lambda hp: hp.Fixed("only", 1) and kr.SPECS["resnet8"], engine="grid")
    oracle = opened(small, tmp_path)
    end(oracle, oracle.create_trial("one"))
    assert oracle.create_trial("one").status == TrialStatus.STOPPED
    monkeypatch.setattr(oracle, "populate_space", lambda trial_id: {"status": TrialStatus.RUNNING, "values": {"only": 1}})
    assert oracle.create_trial("one").status == TrialStatus.STOPPED


def test_trials_that_wait_for_a_worker_do_so_after_a_kill(tmp_path):
    study = Study(space=space, trials=2)
    oracle = opened(study, tmp_path, lease=0.01)
    lost = oracle.create_trial("first")
    time.sleep(0.05)
    oracle.take_back_lapsed()
    oracle.save()
    assert opened(study, tmp_path).create_trial("second").trial_id == lost.trial_id


def test_a_trial_that_the_state_does_not_know_is_no_trial(tmp_path):
    """One was killed after the trial was written and before the state was."""
    study = Study(space=space, trials=3)
    oracle = opened(study, tmp_path)
    end(oracle, oracle.create_trial("one"))
    state = tmp_path / "state" / "oracle.json"
    before = state.read_text()
    oracle.create_trial("one")
    state.write_text(before)
    again = opened(study, tmp_path)
    assert list(again.trials) == ["0000"]
    assert [again.create_trial(f"tuner{number}").trial_id for number in range(2)] == ["0001", "0002"]


def test_what_breaks_the_state_ends_the_search_and_hangs_nobody(tmp_path):
    oracle = opened(Study(space=space), tmp_path)

    def full():
        raise OSError(28, "No space left on device")

    oracle.on_end = full
    with pytest.raises(OSError, match="No space left"):
        end(oracle, oracle.create_trial("one"))
    with ThreadPoolExecutor() as pool, pytest.raises(OSError, match="No space left"):
        pool.submit(oracle.is_over).result(timeout=10)


def test_a_list_is_given_out_in_its_order(tmp_path):
    """And whatever fails, the others are trained; a worker of another list ends nothing."""
    listed = [{"depth1": 1, "final/seed": seed} for seed in range(4)]
    oracle = oracle_of_list(listed, space_of(Study(space=space)), tmp_path / "state", 60.0)
    for seed in range(4):
        trial = oracle.create_trial("one")
        assert trial.hyperparameters.values["final/seed"] == seed
        stale = Trial(hyperparameters=trial.hyperparameters.copy(), trial_id=trial.trial_id, status=TrialStatus.FAILED)
        stale.hyperparameters.values = {"depth1": 3, "final/seed": seed}
        oracle.end_trial(stale)
        assert len(oracle.end_order) == seed
        trial.status, trial.message = TrialStatus.FAILED, "no memory"
        oracle.end_trial(trial)
    assert oracle.create_trial("one").status == TrialStatus.STOPPED
    assert oracle.is_over()
    assert not oracle_of_list(listed, space_of(Study(space=space)), tmp_path / "state", 60.0).end_order  # it begins anew


def test_a_worker_that_is_late_ends_no_trial_of_what_follows(tmp_path):
    study = Study(space=space, trials=1)
    first = opened(study, tmp_path)
    late = first.create_trial("late")
    end(first, late)
    first.has_successor = True
    assert first.create_trial("other").status == TrialStatus.IDLE  # it waits for what follows
    assert first.is_over()
    following = oracle_of_list([{"depth1": 1}], space_of(study), tmp_path / "finals", 60.0)
    given = following.create_trial("other")
    following.get_trial(late.trial_id)
    end(following, late)
    assert not following.end_order
    end(following, given)
    assert following.end_order == [given.trial_id]
    first.given_up = "no memory"
    assert first.create_trial("other").status == TrialStatus.STOPPED  # nothing follows


def test_reasons_come_to_the_chief(free_port, pretended, monkeypatch, tmp_path):
    """KerasTuner's protocol does not carry them."""
    monkeypatch.setattr(search.client, "COMING", 0.0)
    study, out = Study(space=space, trials=4), tmp_path / "out"
    pretended[0].update({f"{number:04}": TrialFailed(f"reason {number}") for number in range(3)})
    address = f"127.0.0.1:{free_port}"
    told = []

    def serve():
        with pytest.raises(InputError) as error:
            search.run(study, out, chief=address)
        told.append(str(error.value))

    chief = threading.Thread(target=serve, daemon=True)
    chief.start()
    search.run(study, out, worker=address, name="one")
    chief.join(timeout=60)
    assert told[0].startswith("three trials in a row failed, the last with: reason 2; see ")
    assert "reason 0" in (out / "results.csv").read_text()
    search.run(study, out, worker=address, name="late")  # there is no chief any more, and it left its mark


def test_a_worker_may_come_before_the_chief_of_a_search_that_goes_on(free_port, pretended, tmp_path):
    """The mark that the search was over is still there then."""
    study, out, address = Study(space=space, trials=2), tmp_path / "out", f"127.0.0.1:{free_port}"
    search.run(study, out)
    (out / "state" / "over").touch()
    with ThreadPoolExecutor() as pool:
        worker = pool.submit(search.run, study, out, worker=address, name="early", trials=4)
        time.sleep(1)
        assert not worker.done()
        chief = pool.submit(search.run, study, out, chief=address, trials=4)
        assert [row["status"] for row in chief.result(timeout=60).rows] == ["completed"] * 4
        worker.result(timeout=60)


def test_reasons_of_final_trainings_come_to_the_chief(free_port, pretended, tmp_path):
    """And what is done needs no worker."""
    study, out, address = Study(space=space, trials=3, finalists=2, seeds=4), tmp_path / "out", f"127.0.0.1:{free_port}"
    best, second = (row["trial"] for row in search.run(study, tmp_path / "known").best[:2])
    pretended[0].update({f"{best}-seed{seed}": TrialFailed(f"reason {seed}") for seed in (1, 2, 3)})
    found, told = [], []

    def serve(study):
        chief = threading.Thread(target=lambda: found.append(search.run(study, out, chief=address, tell=told.append)), daemon=True)
        chief.start()
        return chief

    chief = serve(study)
    search.run(study, out, worker=address, name="one")
    chief.join(timeout=60)
    assert [row["reason"] for row in found[0].final_rows] == ["", "reason 1", "reason 2", "reason 3", *[""] * 4]
    assert found[0].winner() == second
    assert "trial 0000: given to one" in told
    assert f"final training of trial {best}, seed 1: failed: reason 1" in told
    serve(dataclasses.replace(study, seeds=1)).join(timeout=60)
    assert found[1].winner() == best


def test_an_address_that_cannot_be_served_is_told_in_one_line(capfd, tmp_path):
    chief = Chief(None, "198.51.100.1:8000", tmp_path / "certificate.pem", print)
    with pytest.raises(InputError, match=r"cannot serve at '198\.51\.100\.1:8000'"), chief:
        pass
    assert capfd.readouterr().err == ""


def test_a_chief_that_fails_is_told(free_port, tmp_path):
    address = f"127.0.0.1:{free_port}"
    oracle = opened(Study(space=space), tmp_path, refuse=lambda values: 1 / 0)
    pem = tmp_path / "certificate.pem"
    with Chief(oracle, address, pem, print) as serving:
        worker_oracle = RemoteOracle(Connection(address, "one", pem, tmp_path / "over", print), oracle.get_space(), 1)
        with pytest.raises(WorkerLost, match=r"the chief failed: .*division by zero"):
            worker_oracle.create_trial("one")
        with pytest.raises(ZeroDivisionError):
            serving.serve(oracle)


def test_hyperparameters_that_only_some_values_ask_for_are_all_known():
    def conditional(hp):
        block = hp.Choice("block", ["basic", "bottleneck"])
        with hp.conditional_scope("block", ["basic", "bottleneck"]):
            if block == "bottleneck":
                hp.Int("groups", 1, 4)
        if hp.Boolean("attention") and hp.Choice("ratio", [4, 8]) == 8:
            hp.Boolean("deep")
        return kr.SPECS["resnet8"]

    assert [entry.name for entry in space_of(Study(space=conditional)).space] == ["block", "attention", "groups", "ratio", "deep"]


def test_a_space_that_is_wrong_for_some_values_is_a_failed_trial(pretended, tmp_path):
    """It is not refused as beyond the budget, which would hide it."""

    def wrong(hp):
        kind = hp.Choice("kind", ["good", "raises", "good too", "number", "recipe", "good again"])
        if kind == "raises":
            raise ValueError("unlucky")
        if kind == "recipe":
            return kr.SPECS["resnet8"], {"learning_rte": 0.1}
        return 5 if kind == "number" else dataclasses.replace(kr.SPECS["resnet8"], activation="elu" if kind == "good" else "relu")

    found = search.run(Study(space=wrong, engine="grid"), tmp_path / "out")
    assert [row["status"] for row in found.rows] == ["completed", "failed", "completed", "failed", "failed", "completed"]
    reasons = [row["reason"] for row in found.rows]
    assert reasons[1].startswith("the space raised ValueError: unlucky (line ")
    assert reasons[3].startswith("the space returned int")
    assert "did you mean 'learning_rate'" in reasons[4]
    assert found.table[1]["parameters"] is None


def test_a_folder_with_no_trial_yet_may_have_another_budget(pretended, tmp_path):
    with pytest.raises(InputError, match="nothing in the space is legal and within the budget"):
        search.run(Study(space=space, engine="grid", budget=Budget(parameters=10)), tmp_path / "out")
    wider = Study(space=lambda hp: hp.Int("more", 1, 2) and space(hp), trials=2, engine="grid")
    found = search.run(wider, tmp_path / "out")
    assert len(found.rows) == 2
    assert "more" in found.hyperparameters  # nothing of the space before is left
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"has other things in it, such as 'thesis.tex'"):
        search.run(Study(space=space, trials=2), tmp_path / "mine")


def test_a_space_that_raises_is_told(tmp_path):
    with pytest.raises(InputError, match="the space raised KeyError: 'resnet9'"):
        search.run(Study(space=lambda hp: kr.SPECS["resnet9"]), tmp_path / "out")
    with pytest.raises(InputError, match="the space raised SystemExit: 0"):
        search.run(Study(space=lambda hp: sys.exit(0)), tmp_path / "out")
    illegal = Study(
        space=lambda hp: dataclasses.replace(kr.SPECS["resnet8"], depths=(hp.Int("depth", -2, -1), 1, 1)), engine="grid"
    )
    with pytest.raises(InputError, match=r"draws refused: 2 \(2 illegal\).*; the last: illegal: .*depths=\(-1, 1, 1\)"):
        search.run(illegal, tmp_path / "illegal")
