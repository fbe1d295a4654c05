"""KerasTuner's engines as a search needs them, and one that gives out what it is told."""

import math
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner import Oracle, oracles
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_resnet.errors import InputError
from keras_resnet.hooks import is_known
from keras_resnet.search.leases import LeasedOracle, locked
from keras_resnet.search.study import SCORE, Study

MANY = 50  # values of one hyperparameter that are asked what they lead to
CANDIDATES = 20  # random ones within the budget, of which the Bayesian engine takes the most promising
OBJECTIVE = keras_tuner.Objective(SCORE, "max")
NUMBERS = 9_999  # as many trials as KerasTuner is told of, so that the names of all have four digits
FINAL_NUMBERS = 99_999  # and five digits: a worker that is late with a trial does not end a final training


class Random(LeasedOracle, oracles.RandomSearchOracle):
    """Random values."""


class Hyperband(LeasedOracle, oracles.HyperbandOracle):
    """Many short trainings, the best of which are trained longer. Where the space has too few networks for a bracket, it is one of
    as many as there are; KerasTuner's engine would end without a longer training."""

    def __init__(self, **options: Any) -> None:
        self.sizes: dict[int, int] = {}
        """Trainings of the first round of brackets for which there were too few; not kept on the disk, but found anew."""
        super().__init__(**options)

    def _random_trial(self, trial_id: str, bracket: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = super()._random_trial(trial_id, bracket)
        if found["status"] == TrialStatus.RUNNING:
            return found
        self.sizes[bracket["bracket_num"]] = len(bracket["rounds"][0])
        return oracles.HyperbandOracle.populate_space(self, trial_id)

    def _get_size(self, bracket_num: int, round_num: int) -> int:
        if bracket_num in self.sizes:
            return math.ceil(self.sizes[bracket_num] / self.factor**round_num)
        return int(super()._get_size(bracket_num, round_num))


class Bayesian(LeasedOracle, oracles.BayesianOptimizationOracle):
    """A Gaussian process of the scores."""

    def in_place_of(self, refused: dict[str, Any]) -> dict[str, Any] | None:
        """The most promising of random values that may be tried. The process does not learn from what is refused."""
        drawn = list(islice(iter(self._random_values, None), CANDIDATES))
        if not drawn:
            return None
        space = self._nonfixed_space()
        points = [[entry.value_to_prob(values.get(entry.name, entry.default)) for entry in space] for values in drawn]
        mean, deviation = self.gpr.predict(np.array(points), return_std=True)
        return drawn[int(np.argmin(mean - self.beta * deviation))]


class Grid(LeasedOracle, oracles.GridSearchOracle):
    """Each combination after the one that was given out last. KerasTuner's engine forgets its place when started again."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next combination within the budget."""
        if self.start_order:
            values = self._get_next_combination(self.trials[self.start_order[-1]].hyperparameters.values)
        else:
            space = self.get_space()
            values = {entry.name: entry.default for entry in space.space if space.is_active(entry)}
        while values and self.reason(values):
            values = self._get_next_combination(values)
        return {"status": TrialStatus.RUNNING, "values": values} if values else {"status": TrialStatus.STOPPED}


class Listed(LeasedOracle, Oracle):
    """The values of a list, one after the other; a trial that fails is one that failed, and ends nothing."""

    def __init__(self, listed: list[dict[str, Any]], **options: Any) -> None:
        super().__init__(**options)
        self.listed = listed

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next values."""
        if len(self.start_order) == len(self.listed):
            return {"status": TrialStatus.STOPPED}
        return {"status": TrialStatus.RUNNING, "values": dict(self.listed[len(self.start_order)])}

    @locked
    def end_trial(self, trial: Trial) -> None:
        """Enter what became of a trial, unless it is one of another list: numbers begin anew where a chief was killed."""
        known = self.trials.get(trial.trial_id)
        if known and known.hyperparameters.values == trial.hyperparameters.values:
            super().end_trial(trial)

    def _check_consecutive_failures(self) -> None:
        pass


KINDS: dict[str, type[LeasedOracle]] = {"random": Random, "bayesian": Bayesian, "hyperband": Hyperband, "grid": Grid}


def oracle_of(
    study: Study, space: keras_tuner.HyperParameters, folder: Path, refuse: Callable[[dict[str, Any]], str], lease: float
) -> Any:
    """The engine of a study, with its state in `folder`."""
    options: dict[str, Any] = {"max_trials": NUMBERS}
    if study.engine == "hyperband":
        options = {"max_epochs": study.trained_by({}).epochs}
    elif study.engine == "bayesian":  # KerasTuner's own number, three for each hyperparameter, may be more than all trials
        options["num_initial_points"] = max(3, min(3 * len(space.space), (study.most_trials or 0) // 3))
    oracle = KINDS[study.engine](objective=OBJECTIVE, seed=study.seed + 1, hyperparameters=space, **options)  # 0: none for it
    oracle.max_trials, oracle.most = NUMBERS, study.most_trials
    oracle.begin(folder, refuse, lease)
    return oracle


def oracle_of_list(listed: list[dict[str, Any]], space: keras_tuner.HyperParameters, folder: Path, lease: float) -> Any:
    """An engine that gives out the values of a list; what it writes to `folder` nobody reads again."""
    shutil.rmtree(folder, ignore_errors=True)
    oracle = Listed(listed, objective=OBJECTIVE, hyperparameters=space, max_trials=FINAL_NUMBERS)
    oracle.most = len(listed)
    oracle.begin(folder, lambda values: "", lease)
    return oracle


def few(values: list[Any]) -> list[Any]:
    """All of a few values, or some of many, the first and the last among them."""
    steps = max(1, math.ceil((len(values) - 1) / (MANY - 1)))
    return values if steps == 1 else [*values[:-1:steps], values[-1]]


def space_of(study: Study) -> keras_tuner.HyperParameters:
    """Every hyperparameter that the space asks for with some value of the others, of many values a few; nothing is built."""
    known = keras_tuner.HyperParameters()
    origins: list[dict[str, Any]] = []  # the values with which each of them was asked for first

    def ask(values: dict[str, Any]) -> InputError | None:
        trying = known.copy()
        trying.values = dict(values)
        trying.ensure_active_values()
        try:
            study.drawn(trying)
            return None
        except InputError as error:  # a combination that is illegal
            return error
        finally:
            known.merge([entry for entry in trying.space if not is_known(known, entry)])
            origins.extend([trying.values] * (len(known.space) - len(origins)))

    wrong = ask({})
    if wrong and (wrong.__cause__ or not known.space):
        raise wrong
    for number, entry in enumerate(known.space):  # it grows meanwhile
        for value in few(list(entry.values)):
            ask(origins[number] | {entry.name: value})
    return known
