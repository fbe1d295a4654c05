"""How the trials of a search are drawn, judged and trained, whichever engine and machine has them."""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from keras_tuner import HyperParameters
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_resnet.atomic import replace_text
from keras_resnet.data import load
from keras_resnet.errors import InputError, SpaceError
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import resolve
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.runs.history import accuracies_in
from keras_resnet.runs.run import Run, is_run
from keras_resnet.search.budget import LATENCY, costs
from keras_resnet.search.engine import PRUNED, TrialSource, TrialTaken, Verdict
from keras_resnet.search.latency import LatencyTable
from keras_resnet.search.oracle import space_of
from keras_resnet.search.results import TRIALS
from keras_resnet.search.sources import source_of_trials
from keras_resnet.search.study import SCORE, Study
from keras_resnet.search.wire import EPOCHS, FINAL, FINAL_OF, FINAL_SEED, HYPERBAND, one_line
from keras_resnet.search.worker import TrialFailed, train_in_process
from keras_resnet.training import checkpoint_files
from keras_resnet.training.teachers import Teacher
from keras_resnet.training.trainable import recipe_for

WAIT = 1.0  # seconds until a worker asks again for a trial, and between two signs of life
FINALS = "finals"  # a folder of a search, beside STATE and TRIALS


class TrialPruned(Exception):
    """An engine stopped a trial."""


class Trials:
    """The trials of a study in the folder `out`, and its final trainings."""

    def __init__(self, study: Study, out: Path, tell: Callable[[str], None]) -> None:
        self.out, self.tell = out, tell
        self.data = load(study.data, data_dir=study.data_dir, image_size=study.image_size)
        self.source = source_of_trials(study, self.data, out)
        recipe = recipe_for(study.recipe, self.data)
        if len(self.data.image_shape) != 3:
            recipe = self.data.check(recipe)  # says once what is left out for signals and volumes
        self.study = replace(study, recipe=recipe)
        self.teachers = [Teacher.of(teacher) for teacher in study.teachers]
        for teacher in self.teachers:
            teacher.check(self.data, recipe)
        self.images = {"input_shape": self.data.image_shape, "classes": len(self.data.class_names)}
        self.latencies = LatencyTable(out / "latency.json", study.quantize, runtime=study.runtime)
        self.measure = self.latencies.measure if study.measure_latency else self.latencies.predict

    @cached_property
    def space(self) -> HyperParameters:
        """Every hyperparameter."""
        return space_of(self.study)

    def costs(self, spec: ResNetSpec) -> dict[str, float]:
        """Everything that a network costs. InputError if a latency is asked for and a size is open."""
        amounts: dict[str, float] = dict(costs(spec))
        if self.study.wants_latency and not self.study.budget.excess(amounts):
            amounts[LATENCY] = self.measure(spec)
        return amounts

    def draw(self, values: dict[str, Any]) -> tuple[ResNetSpec, Recipe]:
        hyperparameters = self.space.copy()
        hyperparameters.values = dict(values)
        spec, recipe = self.study.draw(hyperparameters)
        if EPOCHS in values:  # each training of Hyperband is a full one
            recipe = replace(recipe, epochs=int(values[EPOCHS]))
        return resolve(spec, **self.images), self.fitted(recipe)

    def fitted(self, recipe: Recipe) -> Recipe:
        """The recipe as it is carried out on the images. InputError if it cannot be."""
        return self.data.suited(recipe.fitting(len(self.data.splits["train"])))

    def judge(self, values: dict[str, Any]) -> Verdict:
        """What a network of those values costs, and why it is not to be built. Where the space is wrong, the trial is to fail."""
        try:
            amounts = self.costs(self.draw(values)[0])
        except SpaceError:
            return Verdict()
        except InputError as error:
            return Verdict(f"illegal: {error}", {"legal": 1.0})
        return Verdict(self.study.budget.excess(amounts), self.study.budget.shares(amounts), amounts)

    def work(self, oracle: TrialSource, name: str) -> None:
        """Train trials of an oracle as the worker of that name, until there are no more."""
        while True:
            trial = oracle.create_trial(name)
            if trial.status == TrialStatus.STOPPED:
                return
            if trial.status == TrialStatus.IDLE:
                time.sleep(WAIT)
                continue
            try:
                self.train(trial, oracle)
            except TrialTaken as taken:
                self.tell(f"{self.title(trial)} is left to {taken}, which has taken it over")
                continue
            oracle.end_trial(trial)
            if trial.status == PRUNED:
                checkpoint_files.forget(checkpoint_files.folder_of(self.folder(trial)))

    def train(self, trial: Trial, oracle: TrialSource) -> None:
        """Train a trial, and enter its score or why it failed."""
        title = self.title(trial)
        values = {name: value for name, value in trial.hyperparameters.values.items() if not name.startswith(FINAL)}
        self.tell(f"{title}: {', '.join(f'{name}={value}' for name, value in values.items())}")
        try:
            study, spec, recipe, seed = self.plan(trial)
            if excess := self.study.budget.excess(costs(spec)):
                raise TrialFailed(f"over the budget: {excess}")
            run = self.final_run(trial.hyperparameters.values) if FINAL_OF in trial.hyperparameters.values else None
            alive = self.sign_of_life(trial, oracle)
            run = run or train_in_process(replace(study, **self.source), spec, recipe, self.folder(trial), seed, alive)
            score = run.metrics["validation"]["accuracy"]
            oracle.update_trial(trial.trial_id, {SCORE: score}, step=run.metrics["kept_epoch"])
            trial.status = TrialStatus.COMPLETED
            self.tell(f"{title}: {SCORE} {score:.4f}")
        except TrialPruned as pruned:
            trial.status = PRUNED
            self.tell(f"{title} is pruned: {pruned}")
        except (TrialFailed, InputError) as error:
            trial.status, trial.message = TrialStatus.FAILED, str(error)
            log = self.log_of(trial)  # KerasTuner's protocol does not bring the message to the chief
            replace_text(log, f"{log.read_text() if log.exists() else ''}\n{error}\n")
            self.tell(f"{title} failed: {error}")

    def sign_of_life(self, trial: Trial, oracle: TrialSource) -> Callable[[], None]:
        """What is called all the time while a trial trains. It raises where the engine wants the trial to end."""
        last_call = time.monotonic()

        def alive() -> None:
            nonlocal last_call
            if time.monotonic() - last_call <= WAIT:
                return
            oracle.get_trial(trial.trial_id)
            if oracle.prunes:
                curve = accuracies_in(checkpoint_files.folder_of(self.folder(trial)) / checkpoint_files.HISTORY)
                if oracle.should_prune(trial.trial_id, curve):
                    oracle.update_trial(trial.trial_id, {SCORE: curve[-1]}, step=len(curve))
                    raise TrialPruned(f"{SCORE} {curve[-1]:.4f} after {len(curve)} epochs")
            last_call = time.monotonic()

        return alive

    def title(self, trial: Trial) -> str:
        values = trial.hyperparameters.values
        if FINAL_OF not in values:
            return f"trial {trial.trial_id}"
        return f"final training of trial {values[FINAL_OF]}, seed {values[FINAL_SEED]}"

    def plan(self, trial: Trial) -> tuple[Study, ResNetSpec, Recipe, int]:
        """How a trial is trained: the study with its patience, network, recipe and seed."""
        values = trial.hyperparameters.values
        if FINAL_OF in values:
            return replace(self.study, patience=None), *self.final_plan(values), values[FINAL_SEED]
        return self.study, *self.draw(values), self.study.seed

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
            raise InputError(f"{str(run.path)!r} is of another training than the trial; give chief and workers the same study")
        return score, epoch

    def final_plan(self, values: dict[str, Any]) -> tuple[ResNetSpec, Recipe]:
        """The network of those values, and the recipe of its final trainings."""
        spec, recipe = self.draw(own(values))
        return spec, self.fitted(replace(recipe, **self.study.final))

    def final_run(self, values: dict[str, Any]) -> Run | None:
        """The final training of those values, if it exists; the trial's own run may be one."""
        spec, recipe = self.final_plan(values)
        folders = [self.out / FINALS / f"{values[FINAL_OF]}-seed{values[FINAL_SEED]}"]
        if not self.study.patience:
            folders.append(self.out / TRIALS / values[FINAL_OF])
        return next(
            (run for run in map(Run, folders) if is_run(run.path) and is_training(run, spec, recipe, values[FINAL_SEED])), None
        )


def is_training(run: Run, spec: ResNetSpec, recipe: Recipe, seed: int) -> bool:
    """Whether a run is that training; a field that is "auto" may have become anything."""
    fields = asdict(run.recipe)
    is_same = all(value in ("auto", fields[name]) for name, value in asdict(recipe).items())
    return is_same and run.spec == spec and run.metrics["seed"] == seed


def own(values: dict[str, Any]) -> dict[str, Any]:
    """Hyperparameters without those that engines and final trainings add."""
    return {name: value for name, value in values.items() if not name.startswith((HYPERBAND, FINAL))}
