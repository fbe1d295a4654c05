"""A study under way: trials are drawn and trained, the finalists in full, and everything is recorded."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from keras_tuner.engine.trial import Trial, TrialStatus

from keras_resnet.atomic import replace_text
from keras_resnet.data import load
from keras_resnet.errors import InputError, SpaceError
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import resolve
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.runs.run import Run, is_run
from keras_resnet.search.budget import LATENCY, costs
from keras_resnet.search.latency import LatencyTable
from keras_resnet.search.oracle import oracle_of, oracle_of_list, space_of
from keras_resnet.search.page import page
from keras_resnet.search.results import PAGE, STATE, TABLE, TRIALS, Final, Results, place
from keras_resnet.search.study import SCORE, Study
from keras_resnet.search.worker import TrialFailed, train_in_process

WAIT = 1.0  # seconds until a worker asks again for a trial, and between two signs of life
FINALS, WINNER = "finals", "winner"  # folders of a search, beside STATE and TRIALS
OVER = "over"  # in STATE: the chief is done, and a worker that comes late may go
HYPERBAND, EPOCHS = "tuner/", "tuner/epochs"  # what it adds to hyperparameters
FINAL, FINAL_OF, FINAL_SEED = "final/", "final/trial", "final/seed"  # what a final training adds to those of its trial


class Search:
    """A study under way in the folder `out`."""

    def __init__(self, study: Study, out: Path, lease: float, tell: Callable[[str], None]) -> None:
        self.study, self.out, self.lease, self.tell = study, out, lease, tell
        data = load(study.data, data_dir=study.data_dir, image_size=study.image_size)
        self.images = {"input_shape": data.image_shape, "classes": len(data.class_names)}
        self.examples = len(data.splits["train"])
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
        space = space_of(self.study)
        self.results.check_same(space)
        allowed = self.study.budget.latency
        if isinstance(allowed, ResNetSpec):
            budget = replace(self.study.budget, latency=self.measure(resolve(allowed, **self.images)))
            self.study = self.results.study = replace(self.study, budget=budget)
        (self.out / STATE / OVER).unlink(missing_ok=True)
        self.oracle = oracle_of(self.study, space, self.out / STATE, lambda values: self.refused(space, values), self.lease)
        self.oracle.on_end, self.oracle.reason_of = self.record, self.reason_of
        self.record()
        if self.oracle.end_order:
            asked = f", {self.study.most_trials} are asked for" if self.study.most_trials else ""
            self.tell(f"trials done before: {len(self.oracle.end_order)}{asked}")

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
        return resolve(spec, **self.images), recipe.fitting(self.examples)

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
        title, heard = self.title(trial), time.monotonic()
        values = {name: value for name, value in trial.hyperparameters.values.items() if not name.startswith(FINAL)}
        self.tell(f"{title}: {', '.join(f'{name}={value}' for name, value in values.items())}")

        def alive() -> None:
            nonlocal heard
            if time.monotonic() - heard > WAIT:
                oracle.get_trial(trial.trial_id)
                heard = time.monotonic()

        try:
            study, spec, recipe, seed = self.planned(trial)
            if excess := self.study.budget.excess(costs(spec)):
                raise TrialFailed(f"beyond the budget: {excess}")
            found = train_in_process(study, spec, recipe, self.folder(trial), seed, alive)
            score = found.metrics["validation"]["accuracy"]
            oracle.update_trial(trial.trial_id, {SCORE: score}, step=found.metrics["best_epoch"])
            trial.status = TrialStatus.COMPLETED
            self.tell(f"{title}: {SCORE} {score:.4f}")
        except (TrialFailed, InputError) as error:
            trial.status, trial.message = TrialStatus.FAILED, str(error)
            log = self.log_of(trial)  # KerasTuner's protocol does not bring the message to the chief
            replace_text(log, f"{log.read_text() if log.exists() else ''}\n{error}\n")
            self.tell(f"{title} failed: {error}")

    def tell_of(self, trial: Trial, what: str) -> None:
        """Tell what became of a trial."""
        self.tell(f"{self.title(trial)}: {what}")

    def title(self, trial: Trial) -> str:
        """What a person is told that is trained."""
        values = trial.hyperparameters.values
        if FINAL_OF not in values:
            return f"trial {trial.trial_id}"
        return f"final training of trial {values[FINAL_OF]}, seed {values[FINAL_SEED]}"

    def planned(self, trial: Trial) -> tuple[Study, ResNetSpec, Recipe, int]:
        """How a trial is trained: early stopping as of that study, its network, recipe and seed."""
        values = trial.hyperparameters.values
        if FINAL_OF in values:
            return replace(self.study, patience=None), *self.in_full(trial), values[FINAL_SEED]
        return self.study, *self.drawn(trial.hyperparameters, values), self.study.seed

    def folder(self, trial: Trial) -> Path:
        """Where the run of a trial is."""
        values = trial.hyperparameters.values
        if FINAL_OF in values:
            return self.out / FINALS / f"{values[FINAL_OF]}-seed{values[FINAL_SEED]}"
        return self.out / TRIALS / trial.trial_id

    def log_of(self, trial: Trial) -> Path:
        """The file with what a failed trial printed; its last line is the reason."""
        folder = self.folder(trial)
        return folder.parent / f"{folder.name}.log"

    def reason_of(self, trial: Trial) -> str:
        """Why a trial failed, as its worker left it."""
        log = self.log_of(trial)
        return log.read_text().splitlines()[-1] if log.exists() else ""

    def carry_out(self, train: Callable[[Any], None]) -> None:
        """Train the trials and then the finalists in full, and put the run of the best one in place. `train` has all trials of an
        oracle trained."""
        train(self.oracle)
        self.record()
        if problem := self.problem():
            self.write_page()
            raise InputError(problem)
        if self.study.most_trials and len(self.results.rows) < self.study.most_trials:
            last = f"; refused last: {self.oracle.last_refusal}" if self.oracle.last_refusal else ""
            self.tell(f"no more than {len(self.results.rows)} trials: the engine finds no other network{last}")
        self.results.enter_finals(self.trained_in_full(train))
        self.write_page()
        winner = self.results.winner()
        self.tell(f"the winner is trial {winner}: {SCORE} {self.results.averages[winner]:.4f}")
        place(next(final.run for final in self.results.finals if final.run and final.trial == winner), self.out / WINNER)

    def write_page(self) -> None:
        """`results.html`: a picture of everything, for a person."""
        replace_text(self.out / PAGE, page(self.results, self.out / TRIALS))

    def problem(self) -> str:
        """Why there can be no winner, or nothing."""
        if self.oracle.given_up:
            return f"three trials in a row failed, the last one by: {self.oracle.given_up}; see {self.results.out / TABLE}"
        if not self.results.rows:
            return f"nothing in the space is legal and within the budget; draws refused: {self.results.refusals}"
        if not self.results.scored:
            return f"no trial came to a score, the last one failed by: {self.results.rows[-1]['reason']}"
        return ""

    def finalists(self) -> list[Trial]:
        """The best trials, of those with one network and recipe only one."""
        found: dict[Any, Trial] = {}
        for row in self.results.best:
            trial = self.oracle.trials[row["trial"]]
            found.setdefault(self.in_full(trial), trial)
        return list(found.values())[: self.study.finalists]

    def in_full(self, trial: Trial) -> tuple[ResNetSpec, Recipe]:
        """The network of a trial, and the recipe of a final training of it."""
        spec, recipe = self.drawn(trial.hyperparameters, own_values(trial))
        return spec, replace(recipe, **self.study.final).fitting(self.examples)

    def trained_in_full(self, train: Callable[[Any], None]) -> list[Final]:
        """The final trainings, one for each finalist and seed. Those that are there already are not trained again."""
        wanted = [
            (trial, seed) for trial in self.finalists() for seed in range(self.study.seed, self.study.seed + self.study.seeds)
        ]
        listed = [
            {**own_values(trial), FINAL_OF: trial.trial_id, FINAL_SEED: seed}
            for trial, seed in wanted
            if not self.run_in_full(trial, seed)
        ]
        if listed:  # this may take long
            self.write_page()
        oracle = oracle_of_list(listed, self.oracle.get_space(), self.out / STATE / FINALS, self.lease)

        def found() -> list[Final]:
            ended = {}
            for trial in (oracle.trials[number] for number in oracle.end_order):
                values = trial.hyperparameters.values
                ended[values[FINAL_OF], values[FINAL_SEED]] = trial.message or "it was trained for another study"
            runs = [(trial.trial_id, seed, self.run_in_full(trial, seed)) for trial, seed in wanted]
            return [
                Final(name, seed, run, "" if run else ended[name, seed]) for name, seed, run in runs if run or (name, seed) in ended
            ]

        oracle.reason_of, oracle.on_end = self.reason_of, lambda: self.results.enter_finals(found())
        train(oracle)
        return found()

    def run_in_full(self, trial: Trial, seed: int) -> Run | None:
        """The final training of a trial with a seed, if it is there. A trial that was trained like that is one itself."""
        spec, recipe = self.in_full(trial)
        places = [self.out / FINALS / f"{trial.trial_id}-seed{seed}"]
        if not self.study.patience:
            places.append(self.out / TRIALS / trial.trial_id)
        return next((run for run in map(Run, places) if is_run(run.path) and is_of(run, spec, recipe, seed)), None)


def is_of(run: Run, spec: ResNetSpec, recipe: Recipe, seed: int) -> bool:
    """Whether a run is that training; what was left to be tried, "auto", may have become anything."""
    found = asdict(run.recipe)
    same = all(value in ("auto", found[name]) for name, value in asdict(recipe).items())
    return same and run.spec == spec and run.metrics["seed"] == seed


def own_values(trial: Trial) -> dict[str, Any]:
    """What was drawn for a trial, without what engines and final trainings add."""
    return {name: value for name, value in trial.hyperparameters.values.items() if not name.startswith((HYPERBAND, FINAL))}
