"""KerasTuner's engines, adapted to a search, and one that goes through a list of values."""

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

MANY = 50  # values of one hyperparameter that the space is tried with
CANDIDATES = 20  # random ones within the budget, of which the Bayesian engine takes the most promising
OBJECTIVE = keras_tuner.Objective(SCORE, "max")
NUMBERS = 9_999  # as many trials as KerasTuner is told of, so that the names of all have four digits
FINAL_NUMBERS = 99_999  # and five digits: a worker that is late with a trial does not end a final training


class Random(LeasedOracle, oracles.RandomSearchOracle):
    """Random values."""


class Hyperband(LeasedOracle, oracles.HyperbandOracle):
    """Many short trainings, the best of which are trained longer. Where the space has too few networks for a bracket, the bracket
    gets smaller; KerasTuner's engine would end without a longer training."""

    def __init__(self, **options: Any) -> None:
        self.sizes: dict[int, int] = {}  # of the first round of smaller brackets; not saved, but found again
        super().__init__(**options)

    def _random_trial(self, trial_id: str, bracket: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = super()._random_trial(trial_id, bracket)
        if answer["status"] == TrialStatus.RUNNING:
            return answer
        self.sizes[bracket["bracket_num"]] = len(bracket["rounds"][0])
        return oracles.HyperbandOracle.populate_space(self, trial_id)

    def _get_size(self, bracket_num: int, round_num: int) -> int:
        if bracket_num in self.sizes:
            return math.ceil(self.sizes[bracket_num] / self.factor**round_num)
        return int(super()._get_size(bracket_num, round_num))


class Bayesian(LeasedOracle, oracles.BayesianOptimizationOracle):
    """A Gaussian process of the scores."""

    def replacement(self) -> dict[str, Any] | None:
        """The most promising of random values that may be tried. The process does not learn from refused ones."""
        candidates = list(islice(iter(self._random_values, None), CANDIDATES))
        if not candidates:
            return None
        space = self._nonfixed_space()
        points = [[entry.value_to_prob(values.get(entry.name, entry.default)) for entry in space] for values in candidates]
        mean, deviation = self.gpr.predict(np.array(points), return_std=True)
        return candidates[int(np.argmin(mean - self.beta * deviation))]


class Grid(LeasedOracle, oracles.GridSearchOracle):
    """Each combination after that of the last trial. KerasTuner's engine forgets its place when started again."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        if self.start_order:
            values = self._get_next_combination(self.trials[self.start_order[-1]].hyperparameters.values)
        else:
            space = self.get_space()
            values = {entry.name: entry.default for entry in space.space if space.is_active(entry)}
        while values and self.reason(values):
            values = self._get_next_combination(values)
        return {"status": TrialStatus.RUNNING, "values": values} if values else {"status": TrialStatus.STOPPED}


class ListOracle(LeasedOracle, Oracle):
    """The values of a list, one after the other; trials that fail do not end the search."""

    def __init__(self, rows: list[dict[str, Any]], **options: Any) -> None:
        super().__init__(**options)
        self.rows = rows

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        if len(self.start_order) == len(self.rows):
            return {"status": TrialStatus.STOPPED}
        return {"status": TrialStatus.RUNNING, "values": dict(self.rows[len(self.start_order)])}

    @locked
    def end_trial(self, trial: Trial) -> None:
        """Enter how a trial ended, unless it is one of another list: numbers begin anew where a chief was killed."""
        own = self.trials.get(trial.trial_id)
        if own and own.hyperparameters.values == trial.hyperparameters.values:
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
    oracle.max_trials, oracle.limit = NUMBERS, study.most_trials
    oracle.begin(folder, refuse, lease)
    return oracle


def oracle_of_list(rows: list[dict[str, Any]], space: keras_tuner.HyperParameters, folder: Path, lease: float) -> Any:
    """An engine for the values in `rows`; its state in `folder` is not read again."""
    shutil.rmtree(folder, ignore_errors=True)
    oracle = ListOracle(rows, objective=OBJECTIVE, hyperparameters=space, max_trials=FINAL_NUMBERS)
    oracle.limit = len(rows)
    oracle.begin(folder, lambda values: "", lease)
    return oracle


def sample(values: list[Any]) -> list[Any]:
    """All of a few values, or some of many, the first and the last among them."""
    steps = max(1, math.ceil((len(values) - 1) / (MANY - 1)))
    return values if steps == 1 else [*values[:-1:steps], values[-1]]


def space_of(study: Study) -> keras_tuner.HyperParameters:
    """Every hyperparameter that the space asks for with some value of the others, of many values a few; nothing is built."""
    space = keras_tuner.HyperParameters()
    origins: list[dict[str, Any]] = []  # the values with which each of them was asked for first

    def explore(values: dict[str, Any]) -> InputError | None:
        hyperparameters = space.copy()
        hyperparameters.values = dict(values)
        hyperparameters.ensure_active_values()
        try:
            study.draw(hyperparameters)
            return None
        except InputError as error:  # a combination that is illegal
            return error
        finally:
            space.merge([entry for entry in hyperparameters.space if not is_known(space, entry)])
            origins.extend([hyperparameters.values] * (len(space.space) - len(origins)))

    error = explore({})
    if error and (error.__cause__ or not space.space):
        raise error
    for number, entry in enumerate(space.space):  # it grows meanwhile
        for value in sample(list(entry.values)):
            explore(origins[number] | {entry.name: value})
    return space
