"""Runs a study: draws and trains the trials, then trains the finalists in full, and writes the results."""

import filecmp
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_tuner.engine.trial import Trial

from keras_resnet.atomic import lock, put_in_place, replace_text, scratch, sweep, waiting_for
from keras_resnet.data.npz import write_npz
from keras_resnet.errors import InputError, SpaceError
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import resolve
from keras_resnet.runs.run import Run
from keras_resnet.search.engine import Engine
from keras_resnet.search.oracle import oracle_of, oracle_of_list
from keras_resnet.search.page import page
from keras_resnet.search.results import FINALS_TABLE, PAGE, PLAN, STATE, TABLE, TRIALS, Final, Results
from keras_resnet.search.sources import saved_in
from keras_resnet.search.study import Study
from keras_resnet.search.trials import FINALS, Trials, own
from keras_resnet.search.wire import FINAL_OF, FINAL_SEED

FRESH = 10.0  # seconds
WINNER = "winner"  # folder of a search, beside STATE, TRIALS and FINALS
OVER = "over"  # file in STATE: the chief is done, and a worker that comes late may go


class Search(Trials):
    """Carries out a study in the folder `out`; with Optuna, beside other processes that do so too."""

    oracle: Engine
    optuna: Any = None
    """The `OptunaStudies`, where that is the engine."""

    def __init__(self, study: Study, out: Path, lease: float, tell: Callable[[str], None]) -> None:
        super().__init__(study, out, tell)
        self.lease = lease
        self.results = Results(self.study, out, self.data.digest, [teacher.digest for teacher in self.teachers])

    @contextmanager
    def with_optuna(self, storage: str | None) -> Iterator[None]:
        """Let Optuna be the engine, with that storage."""
        from keras_resnet.search.optuna_studies import OptunaStudies

        self.optuna = OptunaStudies(storage, self.out / STATE, self.lease, self.tell)
        with self.optuna.storage.failures_in_a_line(), closing(self.optuna):
            yield

    def writing(self) -> AbstractContextManager[None]:
        """Keep other processes of the search from writing results meanwhile; where there are none, it is one's own already."""
        return waiting_for(self.out / STATE) if self.optuna else nullcontext()

    def begin(self) -> None:
        """Open the engine, with its trials so far."""
        with self.writing():
            self.results.check_same(self.space)
            for folder in (TRIALS, FINALS):
                sweep(self.out / folder / "*")  # a run that was complete when its process was killed is not trained again
            if self.source.get("data") == str(saved_in(self.out)):
                write_npz(self.data, saved_in(self.out))
            limit = self.study.budget.latency
            if isinstance(limit, ResNetSpec):
                budget = replace(self.study.budget, latency=self.measure(resolve(limit, **self.images)))
                self.study = self.results.study = replace(self.study, budget=budget)
                self.results.as_fast_as = limit
            (self.out / STATE / OVER).unlink(missing_ok=True)
            self.oracle = self.open_engine()
        self.write_results()
        if self.oracle.end_order:
            limit = self.study.most_trials
            self.tell(f"resuming: {len(self.oracle.end_order)}" + (f" of {limit}" if limit else "") + " trials are done")

    def open_engine(self) -> Engine:
        """The engine of the study, as it was left."""
        if self.optuna:
            plan = (self.out / PLAN).read_text(encoding="utf-8")
            engine: Engine = self.optuna.trials(self.study, self.space, plan, self.judge)
            engine.on_end = self.write_stale_results
            return engine
        oracle = oracle_of(self.study, self.space, self.out / STATE, lambda values: self.judge(values).reason, self.lease)
        oracle.on_end, oracle.reason_of, oracle.score_of = self.write_results, self.reason_of, self.score_of
        return oracle

    def write_stale_results(self) -> None:
        """Write the results, unless another process does so, or has just done so: each would read all runs after every trial."""
        table = self.out / TABLE
        is_fresh = table.exists() and time.time() - table.stat().st_mtime < FRESH
        if is_fresh or (descriptor := lock(self.out / STATE)) is None:
            return
        try:
            self.gather()
            self.results.write()
        finally:
            os.close(descriptor)

    def write_results(self) -> None:
        self.gather()
        with self.writing():
            self.results.write()

    def gather(self) -> None:
        """Make the rows of the results anew."""

        def spec_of(values: dict[str, Any]) -> ResNetSpec | None:
            with suppress(SpaceError):
                return self.draw(values)[0]
            return None

        self.results.gather(self.oracle, spec_of, self.costs, self.out / TRIALS)

    def carry_out(self, train: Callable[[Any], None]) -> None:
        """Train the trials and then the finalists in full, and copy the winner's run. `train` trains all trials of an oracle."""
        train(self.oracle)
        self.write_results()
        if problem := self.problem():
            self.write_page()
            raise InputError(problem)
        if self.study.most_trials and len(self.results.rows) < self.study.most_trials:
            last = f"; refused last: {self.oracle.last_refusal}" if self.oracle.last_refusal else ""
            self.tell(f"no more than {len(self.results.rows)} trials: the engine finds no other network{last}")
        finals = self.train_finals(train)
        with self.writing():
            self.results.write_finals(finals)
            self.write_page()
            winner = self.results.winner()
            self.tell(self.results.verdict)
            copy_run(next(final.run for final in finals if final.run and final.trial == winner), self.out / WINNER)

    def write_page(self) -> None:
        """The page, unless another process has written it since the tables changed: its pictures take seconds."""
        files = [self.out / name for name in (PAGE, TABLE, FINALS_TABLE)]
        times = [file.stat().st_mtime_ns if file.exists() else 0 for file in files]
        if self.optuna and times[0] > max(times[1:]):
            return
        replace_text(self.out / PAGE, page(self.results, self.out / TRIALS))

    def problem(self) -> str:
        """Why there can be no winner, or nothing."""
        if self.oracle.given_up:
            return f"three trials in a row failed, the last with: {self.oracle.given_up}; see {self.results.out / TABLE}"
        if not self.results.rows:
            return f"nothing in the space is legal and within the budget; draws refused: {self.results.refusals}"
        if not self.results.scored:
            return f"no trial has a score; the last one failed: {self.results.rows[-1]['reason']}"
        return ""

    def finalists(self) -> list[Trial]:
        """The best trials, only one of those with the same network and recipe."""
        trials: dict[Any, Trial] = {}
        for row in self.results.best:
            trial = self.oracle.trials[row["trial"]]
            trials.setdefault(self.final_plan(trial.hyperparameters.values), trial)
        return list(trials.values())[: self.study.finalists]

    def train_finals(self, train: Callable[[Any], None]) -> list[Final]:
        """The final trainings, one for each finalist and seed. Those that exist are not trained again."""
        seeds = range(self.study.seed, self.study.seed + self.study.seeds)
        rows = [
            {**own(trial.hyperparameters.values), FINAL_OF: trial.trial_id, FINAL_SEED: seed}
            for trial in self.finalists()
            for seed in seeds
        ]
        if all(self.final_run(row) for row in rows):
            return [Final(row[FINAL_OF], row[FINAL_SEED], self.final_run(row)) for row in rows]
        self.write_page()  # the rest may take long
        oracle = self.open_list(rows)

        def finals() -> list[Final]:
            reasons = {}
            for trial in (oracle.trials[number] for number in oracle.end_order):
                reasons[key_of(trial.hyperparameters.values)] = trial.message or "its run is of another study"
            runs = {key_of(row): self.final_run(row) for row in rows}
            return [Final(*key, run, "" if run else reasons[key]) for key, run in runs.items() if run or key in reasons]

        def write() -> None:
            with self.writing():
                self.results.write_finals(finals())

        oracle.on_end = write
        train(oracle)
        return finals()

    def open_list(self, rows: list[dict[str, Any]]) -> Any:
        """An engine of final trainings."""
        if self.optuna:  # other processes have the same list, whatever was trained when they began
            return self.optuna.finals(rows, self.space, str([(self.final_plan(row), *key_of(row)) for row in rows]))
        missing = [row for row in rows if not self.final_run(row)]
        oracle = oracle_of_list(missing, self.space, self.out / STATE / FINALS, self.lease)
        oracle.reason_of, oracle.score_of = self.reason_of, self.score_of
        return oracle


def key_of(values: dict[str, Any]) -> tuple[str, int]:
    """The trial and the seed of a final training."""
    return values[FINAL_OF], values[FINAL_SEED]


def copy_run(run: Run, target: Path) -> None:
    """Copy a run to `target`, whole or not at all. The same training stays there, with its exports."""
    sweep(target)
    names = [path.name for path in run.path.iterdir() if path.is_file()]
    filecmp.clear_cache()  # it takes a file that was rewritten with the same size and time for the old one
    if filecmp.cmpfiles(run.path, target, names, shallow=False)[0] == names:
        return
    with scratch(target) as folder:
        shutil.copytree(run.path, folder / "new", ignore=shutil.ignore_patterns("export"))
        put_in_place(folder / "new", target)
