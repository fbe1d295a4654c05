"""Runs a study: draws and trains the trials, then trains the finalists in full, and writes the results."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from keras_tuner.engine.trial import Trial, TrialStatus

from keras_resnet.atomic import replace_text
from keras_resnet.data import Dataset, load
from keras_resnet.data.npz import write_npz
from keras_resnet.data.streams import Stream
from keras_resnet.errors import InputError, SpaceError
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import resolve
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.runs.run import Run, is_run
from keras_resnet.search.budget import LATENCY, costs
from keras_resnet.search.latency import LatencyTable
from keras_resnet.search.oracle import oracle_of, oracle_of_list, space_of
from keras_resnet.search.page import page
from keras_resnet.search.results import IMAGES, PAGE, STATE, TABLE, TRIALS, Final, Results, copy_run
from keras_resnet.search.study import SCORE, Study
from keras_resnet.search.wire import EPOCHS, FINAL, FINAL_OF, FINAL_SEED, HYPERBAND, one_line
from keras_resnet.search.worker import TrialFailed, train_in_process
from keras_resnet.training.trainable import recipe_for

WAIT = 1.0  # seconds until a worker asks again for a trial, and between two signs of life
FINALS, WINNER = "finals", "winner"  # folders of a search, beside STATE and TRIALS
OVER = "over"  # file in STATE: the chief is done, and a worker that comes late may go


class Search:
    """Carries out a study in the folder `out`."""

    def __init__(self, study: Study, out: Path, lease: float, tell: Callable[[str], None]) -> None:
        self.out, self.lease, self.tell = out, lease, tell
        self.data = load(study.data, data_dir=study.data_dir, image_size=study.image_size)
        self.source = source_of_trials(study, self.data, out)
        recipe = recipe_for(study.recipe, self.data)
        if len(self.data.image_shape) != 3:
            recipe = self.data.check(recipe)  # says once what is left out for signals and volumes
        self.study = study = replace(study, recipe=recipe)
        self.images = {"input_shape": self.data.image_shape, "classes": len(self.data.class_names)}
        self.results = Results(study, out, self.data.digest)
        self.latencies = LatencyTable(out / "latency.json", study.quantize)
        self.measure = self.latencies.measure if study.measure_latency else self.latencies.predict

    def costs(self, spec: ResNetSpec) -> dict[str, float]:
        """Everything that a network costs. InputError if a latency is asked for and a size is open."""
        amounts: dict[str, float] = dict(costs(spec))
        if self.study.wants_latency and not self.study.budget.excess(amounts):
            amounts[LATENCY] = self.measure(spec)
        return amounts

    def begin(self) -> None:
        """Open the engine, with its trials so far."""
        space = space_of(self.study)
        self.results.check_same(space)
        if self.source.get("data") == str(saved_in(self.out)):
            write_npz(self.data, saved_in(self.out))
        limit = self.study.budget.latency
        if isinstance(limit, ResNetSpec):
            budget = replace(self.study.budget, latency=self.measure(resolve(limit, **self.images)))
            self.study = self.results.study = replace(self.study, budget=budget)
            self.results.as_fast_as = limit
        (self.out / STATE / OVER).unlink(missing_ok=True)
        self.oracle = oracle_of(self.study, space, self.out / STATE, lambda values: self.refusal(space, values), self.lease)
        self.oracle.on_end, self.oracle.reason_of, self.oracle.score_of = self.write_results, self.reason_of, self.score_of
        self.write_results()
        if self.oracle.end_order:
            limit = self.study.most_trials
            self.tell(f"resuming: {len(self.oracle.end_order)}" + (f" of {limit}" if limit else "") + " trials are done")

    def write_results(self) -> None:
        space = self.oracle.get_space()

        def spec_of(values: dict[str, Any]) -> ResNetSpec | None:
            with suppress(SpaceError):
                return self.draw(space, values)[0]
            return None

        self.results.gather(self.oracle, spec_of, self.costs, self.out / TRIALS)
        self.results.write()

    def draw(self, space: Any, values: dict[str, Any]) -> tuple[ResNetSpec, Recipe]:
        hyperparameters = space.copy()
        hyperparameters.values = dict(values)
        spec, recipe = self.study.draw(hyperparameters)
        if EPOCHS in values:  # each training of Hyperband is a full one
            recipe = replace(recipe, epochs=int(values[EPOCHS]))
        return resolve(spec, **self.images), self.fitted(recipe)

    def fitted(self, recipe: Recipe) -> Recipe:
        """The recipe as it is carried out on the images. InputError if it cannot be."""
        return self.data.suited(recipe.fitting(len(self.data.splits["train"])))

    def refusal(self, space: Any, values: dict[str, Any]) -> str:
        """Why a network of those values is not to be built, or nothing. Where the space is wrong, the trial is to fail."""
        try:
            return self.study.budget.excess(self.costs(self.draw(space, values)[0]))
        except SpaceError:
            return ""
        except InputError as error:
            return f"illegal: {error}"

    def work(self, oracle: Any, name: str) -> None:
        """Train trials of an oracle as the worker of that name, until there are no more."""
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
        """Train a trial, and enter its score or why it failed."""
        title, last_call = self.title(trial), time.monotonic()
        values = {name: value for name, value in trial.hyperparameters.values.items() if not name.startswith(FINAL)}
        self.tell(f"{title}: {', '.join(f'{name}={value}' for name, value in values.items())}")

        def renew_lease() -> None:
            nonlocal last_call
            if time.monotonic() - last_call > WAIT:
                oracle.get_trial(trial.trial_id)
                last_call = time.monotonic()

        try:
            study, spec, recipe, seed = self.plan(trial)
            if excess := self.study.budget.excess(costs(spec)):
                raise TrialFailed(f"beyond the budget: {excess}")
            metrics = train_in_process(replace(study, **self.source), spec, recipe, self.folder(trial), seed, renew_lease).metrics
            score = metrics["validation"]["accuracy"]
            oracle.update_trial(trial.trial_id, {SCORE: score}, step=metrics["kept_epoch"])
            trial.status = TrialStatus.COMPLETED
            self.tell(f"{title}: {SCORE} {score:.4f}")
        except (TrialFailed, InputError) as error:
            trial.status, trial.message = TrialStatus.FAILED, str(error)
            log = self.log_of(trial)  # KerasTuner's protocol does not bring the message to the chief
            replace_text(log, f"{log.read_text() if log.exists() else ''}\n{error}\n")
            self.tell(f"{title} failed: {error}")

    def title(self, trial: Trial) -> str:
        values = trial.hyperparameters.values
        if FINAL_OF not in values:
            return f"trial {trial.trial_id}"
        return f"final training of trial {values[FINAL_OF]}, seed {values[FINAL_SEED]}"

    def plan(self, trial: Trial) -> tuple[Study, ResNetSpec, Recipe, int]:
        """How a trial is trained: the study with its patience, network, recipe and seed."""
        values = trial.hyperparameters.values
        if FINAL_OF in values:
            return replace(self.study, patience=None), *self.final_plan(trial), values[FINAL_SEED]
        return self.study, *self.draw(trial.hyperparameters, values), self.study.seed

    def folder(self, trial: Trial) -> Path:
        values = trial.hyperparameters.values
        if FINAL_OF in values:
            return self.out / FINALS / f"{values[FINAL_OF]}-seed{values[FINAL_SEED]}"
        return self.out / TRIALS / trial.trial_id

    def log_of(self, trial: Trial) -> Path:
        """The file with the output of a failed trial; its last line is the reason."""
        folder = self.folder(trial)
        return folder.parent / f"{folder.name}.log"

    def reason_of(self, trial: Trial) -> str:
        """Why a trial failed on another machine, or nothing if there is no log of it."""
        log = self.log_of(trial)
        if not log.exists():
            return ""
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        return one_line(lines[-1] if lines else "") or "no reason is known"

    def score_of(self, trial: Trial) -> tuple[float, int] | None:
        """Score and epoch of a trial that was trained on another machine, None if there is no run. InputError if it is damaged, or
        that of another network, recipe or seed."""
        run = Run(self.folder(trial))
        if not is_run(run.path):
            return None
        _, spec, recipe, seed = self.plan(trial)
        try:
            is_its_own = is_training(run, spec, recipe, seed)
            score, epoch = float(run.metrics["validation"]["accuracy"]), int(run.metrics["kept_epoch"])
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{str(run.path)!r} is damaged") from None
        if not is_its_own or not 0 <= score <= 1:
            raise InputError(f"{str(run.path)!r} is another training than the trial's; give chief and workers the same study")
        return score, epoch

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
        self.results.write_finals(self.train_finals(train))
        self.write_page()
        winner = self.results.winner()
        self.tell(self.results.verdict)
        copy_run(next(final.run for final in self.results.finals if final.run and final.trial == winner), self.out / WINNER)

    def write_page(self) -> None:
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
            trials.setdefault(self.final_plan(trial), trial)
        return list(trials.values())[: self.study.finalists]

    def final_plan(self, trial: Trial) -> tuple[ResNetSpec, Recipe]:
        """The network of a trial, and the recipe of its final trainings."""
        spec, recipe = self.draw(trial.hyperparameters, own_values(trial))
        return spec, self.fitted(replace(recipe, **self.study.final))

    def train_finals(self, train: Callable[[Any], None]) -> list[Final]:
        """The final trainings, one for each finalist and seed. Those that exist are not trained again."""
        seeds = range(self.study.seed, self.study.seed + self.study.seeds)
        pairs = [(trial, seed) for trial in self.finalists() for seed in seeds]
        missing = [(trial, seed) for trial, seed in pairs if not self.final_run(trial, seed)]
        if missing:  # this may take long
            self.write_page()
        rows = [{**own_values(trial), FINAL_OF: trial.trial_id, FINAL_SEED: seed} for trial, seed in missing]
        oracle = oracle_of_list(rows, self.oracle.get_space(), self.out / STATE / FINALS, self.lease)

        def finals() -> list[Final]:
            reasons = {}
            for trial in (oracle.trials[number] for number in oracle.end_order):
                values = trial.hyperparameters.values
                reasons[values[FINAL_OF], values[FINAL_SEED]] = trial.message or "its run is of another study"
            runs = {(trial.trial_id, seed): self.final_run(trial, seed) for trial, seed in pairs}
            return [Final(*key, run, "" if run else reasons[key]) for key, run in runs.items() if run or key in reasons]

        oracle.reason_of, oracle.score_of, oracle.on_end = (
            self.reason_of,
            self.score_of,
            lambda: self.results.write_finals(finals()),
        )
        train(oracle)
        return finals()

    def final_run(self, trial: Trial, seed: int) -> Run | None:
        """The final training of a trial with a seed, if it exists; the trial's own run may be one."""
        spec, recipe = self.final_plan(trial)
        folders = [self.out / FINALS / f"{trial.trial_id}-seed{seed}"]
        if not self.study.patience:
            folders.append(self.out / TRIALS / trial.trial_id)
        return next((run for run in map(Run, folders) if is_run(run.path) and is_training(run, spec, recipe, seed)), None)


def saved_in(out: Path) -> Path:
    """The file of a search with the images that have no name."""
    return out.absolute() / IMAGES


def source_of_trials(study: Study, data: Dataset, out: Path) -> dict[str, Any]:
    """Fields of the study by which the process of a trial loads `data`, where its own do not say it.

    InputError for a stream, which another process cannot read.
    """
    if isinstance(data, Stream):
        raise InputError(
            "each trial of a search is trained in a process of its own, which cannot read a source that is read again in every "
            "epoch: give arrays, a source that fits into memory, or the path of a folder of images or TFRecords"
        )
    if isinstance(study.data, str | Path):
        return {}
    origin = {"data_dir": None, "image_size": None, **data.origin}
    source = origin.pop("source")
    if source and load(source, **origin).digest == data.digest:
        return {"data": source, **origin}
    return {"data": str(saved_in(out)), "data_dir": None, "image_size": None}


def is_training(run: Run, spec: ResNetSpec, recipe: Recipe, seed: int) -> bool:
    """Whether a run is that training; a field that is "auto" may have become anything."""
    fields = asdict(run.recipe)
    is_same = all(value in ("auto", fields[name]) for name, value in asdict(recipe).items())
    return is_same and run.spec == spec and run.metrics["seed"] == seed


def own_values(trial: Trial) -> dict[str, Any]:
    """The hyperparameters of a trial without those that engines and final trainings add."""
    return {name: value for name, value in trial.hyperparameters.values.items() if not name.startswith((HYPERBAND, FINAL))}
