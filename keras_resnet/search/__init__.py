"""A search over specs: KerasTuner's engines, budgets that are checked before anything is built, each trial in its own process.

`study` is the question, `budget` what may be spent, `latency` how long a file will take, `oracle` draws and keeps account, `worker`
trains, `server` brings many machines together, `results` and `page` tell.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_tuner.engine.trial import Trial, TrialStatus

from keras_resnet.atomic import occupied, replace_text
from keras_resnet.data import load
from keras_resnet.errors import InputError, SpaceError
from keras_resnet.recipe import Recipe
from keras_resnet.runs import Run
from keras_resnet.search.budget import LATENCY, Budget, costs, widest
from keras_resnet.search.hypermodel import HyperResNet, residual_space
from keras_resnet.search.latency import LatencyTable
from keras_resnet.search.oracle import oracle_of, space_of
from keras_resnet.search.results import STATE, TABLE, TRIALS, Final, Results, place
from keras_resnet.search.server import Chief, ChiefIsDone, connected
from keras_resnet.search.study import ENGINES, SCORE, Study, load_study
from keras_resnet.search.worker import TrialFailed, train_in_process
from keras_resnet.spec import ResNetSpec
from keras_resnet.variants import resolve

__all__ = ["ENGINES", "Budget", "HyperResNet", "Results", "Study", "load_study", "residual_space", "run", "widest"]

WAIT = 1.0  # seconds until a worker asks again for a trial, and between two signs of life
LEASE, SHORTEST = 60.0, 5.0  # seconds of silence after which a worker is taken for lost, and the fewest that may be
FINALS, WINNER = "finals", "winner"  # folders of a search, beside STATE and TRIALS
OVER = "over"  # in STATE: the chief is done, and a worker that comes late may go
HYPERBAND, EPOCHS = "tuner/", "tuner/epochs"  # what it adds to hyperparameters
HERE = "here"  # the name of the worker where there is but one


def run(
    study: str | Path | Study,
    out: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    trials: int | None = None,
    measure_latency: bool = False,
    chief: str | None = None,
    worker: str | None = None,
    name: str | None = None,
    lease: float = LEASE,
    tensorboard: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Results:
    """Carry out a study, or go on with it, and leave its results.

    Args:
        study: a `Study`, or the path of a file that has one.
        out: the folder to write: `results.csv`, `results.html`, `trials/` with a run each, `winner/` with that of the best network.
            None for a folder beside the study's file, with its name.
        data_dir: where the images are, in place of what the study says.
        trials: how many, in place of the study's own number.
        measure_latency: measure the latency of each network whole, as the study may say itself.
        chief: "host:port" to serve workers there, in place of training here.
        worker: "host:port" of the chief to train for. It writes its runs to `out`, which all machines must see.
        name: of this worker; None for one of its own. One that comes back under its name gets its trial again.
        lease: seconds after which a worker that was not heard of is taken for lost, and its trial given to another one.
        tensorboard: write `tensorboard/` too, for its HParams.
        tell: called with a line for each thing that happens.

    Returns: the `Results`; those of a worker are empty. InputError for a study that is none, an `out` that another process holds or
    that has the results of another study, and where three trials in a row fail, with the reason of the last.
    """
    path = None if isinstance(study, Study) else Path(study)
    found = study if isinstance(study, Study) else load_study(study)
    if out is None and path is None:
        raise InputError("a study that is not a file needs out=, the folder to write")
    if lease < SHORTEST:
        raise InputError(f"lease={lease:g}: must be at least {SHORTEST:g} seconds")
    if chief and worker:
        raise InputError("a process is the chief or a worker, not both")
    changes: dict[str, Any] = {"data_dir": str(data_dir)} if data_dir else {}
    if trials is not None:
        changes["trials"] = trials
    if measure_latency:
        changes["measure_latency"] = True
    found = replace(found, **changes)
    search = Search(found, Path(out or path.with_suffix("")), lease, tell)  # type: ignore[union-attr]
    if worker:
        chosen = connected(worker, name or f"{os.uname().nodename}-{os.getpid()}", search.out / STATE / OVER, tell)
        with suppress(ChiefIsDone):
            search.work(chosen.oracle, chosen.name)
        return search.results
    with occupied(search.out / STATE, "searching"):
        search.begin()
        if chief:
            with Chief(search.oracle, chief) as serving:
                tell(f"waiting for workers at {chief}")
                serving.wait()
                replace_text(search.out / STATE / OVER, "")
        else:
            search.work(search.oracle, HERE)
        search.finish()
        if tensorboard:
            search.results.write_tensorboard(search.out / "tensorboard")
    return search.results


class Search:
    """A study under way in the folder `out`."""

    def __init__(self, study: Study, out: Path, lease: float, tell: Callable[[str], None]) -> None:
        self.study, self.out, self.lease, self.tell = study, out, lease, tell
        data = load(study.data, data_dir=study.data_dir, image_size=study.image_size)
        self.images = {"input_shape": data.image_shape, "classes": len(data.class_names)}
        self.results = Results(study, out)
        self.latencies = LatencyTable(out / "latency.json", study.quantize)
        self.measure = self.latencies.whole if study.measure_latency else self.latencies.predict

    def costs(self, spec: ResNetSpec) -> dict[str, float]:
        """Everything that a network costs. InputError if a latency is asked for and a size is open."""
        found: dict[str, float] = dict(costs(spec))
        if self.study.wants_latency and not self.study.budget.excess(found):
            found[LATENCY] = self.measure(spec)
        return found

    def begin(self) -> None:
        """Open the engine, with what it has found before."""
        allowed = self.study.budget.latency
        if isinstance(allowed, ResNetSpec):
            budget = replace(self.study.budget, latency=self.measure(resolve(allowed, **self.images)))
            self.study = self.results.study = replace(self.study, budget=budget)
        space = space_of(self.study)
        self.results.check_same(space)
        (self.out / STATE / OVER).unlink(missing_ok=True)
        self.oracle = oracle_of(self.study, space, self.out / STATE, lambda values: self.refused(space, values), self.lease)
        self.oracle.on_end, self.oracle.reason_of = self.record, self.reason_of
        self.record()
        if self.oracle.end_order:
            asked = f", {self.study.most_trials} are asked for" if self.study.most_trials else ""
            self.tell(f"{len(self.oracle.end_order)} trials were done before{asked}")

    def record(self) -> None:
        """Write what is known so far."""
        space = self.oracle.get_space()

        def spec_of(values: dict[str, Any]) -> ResNetSpec | None:
            with suppress(SpaceError):
                return self.drawn(space, values)[0]
            return None

        self.results.gather(self.oracle, spec_of, self.costs, self.out / TRIALS)
        self.results.write()

    def drawn(self, space: Any, values: dict[str, Any]) -> tuple[ResNetSpec, Recipe]:
        """The network of those values as it is trained, and how."""
        chosen = space.copy()
        chosen.values = dict(values)
        spec, recipe = self.study.drawn(chosen)
        if EPOCHS in values:  # Hyperband's: each of its trainings is a whole one
            recipe = replace(recipe, epochs=int(values[EPOCHS]))
        return resolve(spec, **self.images), recipe

    def refused(self, space: Any, values: dict[str, Any]) -> str:
        """Why a network of those values is not to be built, or nothing. Where the space is wrong, the trial is to fail."""
        try:
            return self.study.budget.excess(self.costs(self.drawn(space, values)[0]))
        except SpaceError:
            return ""
        except InputError as error:
            return f"illegal: {error}"

    def work(self, oracle: Any, name: str) -> None:
        """Train trials, one after the other, until there are no more."""
        while True:
            trial = oracle.create_trial(name)
            if trial.status == TrialStatus.STOPPED:
                return
            if trial.status == TrialStatus.IDLE:
                time.sleep(WAIT)
                continue
            self.train(trial, oracle)
            oracle.end_trial(trial)

    def train(self, trial: Trial, oracle: Any) -> None:
        """Train a trial, and enter its score or why it has none."""
        values = trial.hyperparameters.values
        self.tell(f"trial {trial.trial_id}: {', '.join(f'{name}={value}' for name, value in values.items())}")
        heard = time.monotonic()

        def alive() -> None:
            nonlocal heard
            if time.monotonic() - heard > WAIT:
                oracle.get_trial(trial.trial_id)
                heard = time.monotonic()

        try:
            spec, recipe = self.drawn(trial.hyperparameters, values)
            if excess := self.study.budget.excess(costs(spec)):
                raise TrialFailed(f"beyond the budget: {excess}")
            found = train_in_process(self.study, spec, recipe, self.out / TRIALS / trial.trial_id, self.study.seed, alive)
            score = found.metrics["validation"]["accuracy"]
            oracle.update_trial(trial.trial_id, {SCORE: score}, step=found.metrics["best_epoch"])
            trial.status = TrialStatus.COMPLETED
            self.tell(f"trial {trial.trial_id}: {SCORE} {score:.4f}")
        except (TrialFailed, InputError) as error:
            trial.status, trial.message = TrialStatus.FAILED, str(error)
            log = self.log_of(trial.trial_id)  # KerasTuner's protocol does not bring the message to the chief
            replace_text(log, f"{log.read_text() if log.exists() else ''}\n{error}\n")
            self.tell(f"trial {trial.trial_id} failed: {error}")

    def log_of(self, trial: str) -> Path:
        """The file with what a failed trial printed; its last line is the reason."""
        return self.out / TRIALS / f"{trial}.log"

    def reason_of(self, trial: str) -> str:
        """Why a trial failed, as its worker left it."""
        log = self.log_of(trial)
        return log.read_text().splitlines()[-1] if log.exists() else ""

    def finish(self) -> None:
        """Train the finalists in full, and put the run of the best one in place."""
        self.record()
        self.results.write_page(self.out / TRIALS)
        if self.oracle.given_up:
            raise InputError(
                f"three trials in a row failed, the last one by: {self.oracle.given_up}; see {self.results.out / TABLE}"
            )
        if not self.results.rows:
            refused = ", ".join(f"{count:,} times for {name}" for name, count in self.results.refused.items())
            raise InputError(f"nothing in the space is within the budget: refused {refused}; the last: {self.oracle.last_refusal}")
        if not self.results.scored:
            raise InputError(f"no trial came to a score, the last one by: {self.results.rows[-1]['reason']}")
        if self.study.most_trials and len(self.results.rows) < self.study.most_trials:
            last = f"; refused last: {self.oracle.last_refusal}" if self.oracle.last_refusal else ""
            self.tell(f"no more than {len(self.results.rows)} trials: the engine finds no other network within the budget{last}")
        self.results.enter_finals([final for trial in self.finalists() for final in self.trained_in_full(trial)])
        self.results.write_page(self.out / TRIALS)
        winner = self.results.winner()
        self.tell(f"the winner is trial {winner}: {SCORE} {self.results.averages[winner]:.4f}")
        place(next(final.run for final in self.results.finals if final.run and final.trial == winner), self.out / WINNER)

    def finalists(self) -> list[str]:
        """The best trials, of those with one network and recipe only one."""
        found: dict[Any, str] = {}
        for row in self.results.best:
            found.setdefault(self.in_full(row["trial"]), row["trial"])
        return list(found.values())[: self.study.finalists]

    def in_full(self, trial: str) -> tuple[ResNetSpec, Recipe]:
        """The network of a trial, and the recipe of a final training of it."""
        values = self.oracle.trials[trial].hyperparameters.values
        own = {name: value for name, value in values.items() if not name.startswith(HYPERBAND)}
        spec, recipe = self.drawn(self.oracle.get_space(), own)
        return spec, replace(recipe, **self.study.final)

    def trained_in_full(self, trial: str) -> list[Final]:
        """The final trainings of a trial, one for each seed. It is one of them itself if it was trained like them."""
        spec, recipe = self.in_full(trial)
        in_full = replace(self.study, patience=None)
        finals = []
        for seed in range(self.study.seed, self.study.seed + self.study.seeds):
            own = Run.open(self.out / TRIALS / trial)
            if seed == self.study.seed and not self.study.patience and own.recipe == recipe:
                finals.append(Final(trial, seed, own))
                continue
            self.tell(f"final training of trial {trial}, seed {seed}")
            try:
                run = train_in_process(in_full, spec, recipe, self.out / FINALS / f"{trial}-seed{seed}", seed)
                finals.append(Final(trial, seed, run))
            except TrialFailed as error:
                self.tell(f"final training of trial {trial}, seed {seed} failed: {error}")
                finals.append(Final(trial, seed, None, str(error)))
        return finals
