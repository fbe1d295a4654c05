"""Optuna as the engine of a search: any number of processes on one storage, none of them a chief.

A draw is a trial of Optuna's. It becomes one of the search once its values are within the budget and new: it then has the
attribute `values`. A refused one costs no training; its constraints tell the sampler by how much.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import optuna
from keras_tuner import HyperParameters
from keras_tuner.engine.trial import Trial, TrialStatus
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import TrialState

from keras_resnet.search.budget import DRAWS
from keras_resnet.search.engine import Verdict
from keras_resnet.search.leases import MESSAGE
from keras_resnet.search.optuna_attributes import DROPPED, ENDED, EPOCH, HELD, REASON, REFUSED, VALUES, check_attributes, is_trial
from keras_resnet.search.optuna_leases import STATUS, LeasedStudy, name_of
from keras_resnet.search.optuna_space import drawn, size_of, suggest
from keras_resnet.search.study import SCORE

PATIENCE = 50  # refused draws in a row, or a single known one, after which values are random ones that are known to fit
STARTUP = 10  # draws before the sampler learns from them, or a third of a smaller study


class GivenSampler(RandomSampler):
    """Parameters that were drawn before."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        super().__init__()
        self.parameters = parameters

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return self.parameters[param_name]


class OptunaEngine(LeasedStudy):
    """Draws the values of at most `limit` trials. `judge` says what the network of some values costs, and why it is refused."""

    goals: tuple[str, ...] = (SCORE,)
    """The objectives by name, the accuracy first."""
    seed = 0
    limit = 0
    prunes = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.judge: Callable[[dict[str, Any]], Verdict] = lambda values: Verdict()
        self.scores: dict[str, tuple[float, int]] = {}
        self.reported: dict[str, int] = {}  # epochs
        self.misses = 0  # refused draws in a row
        self.is_exhausted = False  # there seem to be no other values

    def create_trial(self, tuner_id: str) -> Trial:
        self.misses = 0
        while True:
            self.look()
            if self.take_back_lapsed():
                self.look()
            is_waiting = any(frozen.state == TrialState.WAITING for frozen in self.unfinished)
            if self.given_up or not (is_waiting or self.has_room()):
                break
            if trial := self.attempt(tuner_id):
                return trial
        status = TrialStatus.IDLE if self.unfinished and not self.given_up else TrialStatus.STOPPED
        return Trial(HyperParameters(), trial_id="", status=status)

    def has_room(self) -> bool:
        """Whether there may be another trial."""
        return not self.is_exhausted and len(self.taken()) < self.limit

    def taken(self) -> set[int]:
        """The numbers of trials, and of draws that may become one."""
        return {int(name) for name in self.trials} | {frozen.number for frozen in self.unfinished}

    def attempt(self, tuner_id: str) -> Trial | None:
        """A trial that waits to be resumed, or a new one; None where its values cannot be used."""
        trial = self.study.ask()
        name = name_of(trial.number)
        check_attributes(trial.user_attrs)
        sign = trial.user_attrs.get(HELD, {})  # of the worker that had it before
        if not self.hold(trial, tuner_id):  # another process has it
            return None
        self.look()
        if is_trial(trial.user_attrs):
            return self.resume(name, sign)
        # Numbers are given in order, so the trials with smaller ones are all here: this keeps the limit over all processes.
        has_place = sum(number < trial.number for number in self.taken()) < self.limit
        is_allowed = has_place and DROPPED not in trial.user_attrs
        is_accepted = False
        with suppress(UpdateFinishedTrialError):  # it took longer than a lease
            values = self.propose(trial) if is_allowed else None
            is_accepted = values is not None and self.accept(trial, values)
        if not is_accepted:
            self.drop(name)
            return None
        return self.trials[name]

    def resume(self, name: str, sign: dict[str, Any]) -> Trial | None:
        """A trial of a worker with that last sign of life; None if the worker was only late, and has ended it."""
        if all(name_of(frozen.number) != name for frozen in self.unfinished):
            self.release(name)
            return None
        self.reported.pop(name, None)
        why = "gave it back" if sign.get("given_back") else f"is gone or was silent for {self.lease:g} seconds"
        self.tell(f"{self.kind} {name}: {sign.get('worker', 'its worker')} {why}; the trial is resumed")
        return self.trials[name]

    def propose(self, trial: optuna.Trial) -> dict[str, Any] | None:
        """Values by the sampler. Its seed follows from the number of the trial, and not from what a process did before."""
        seed = int(np.random.SeedSequence([self.seed, trial.number]).generate_state(1)[0])
        self.study.sampler = TPESampler(n_startup_trials=max(3, min(STARTUP, self.limit // 3)), seed=seed)
        if self.misses >= PATIENCE:
            if (fitting := self.fitting(seed)) is None:
                self.is_exhausted = True
                return None
            self.study.sampler = GivenSampler(fitting)
        return drawn(self.space, partial(suggest, trial))

    def fitting(self, seed: int) -> dict[str, Any] | None:
        """Random parameters of Optuna's that may be tried, None if there seem to be none. Nothing of this is stored."""
        memory = optuna.create_study(sampler=RandomSampler(seed=seed))
        tried: set[str] = set()
        size = size_of(self.space)
        for _ in range(DRAWS):
            trial = memory.ask()
            values = drawn(self.space, partial(suggest, trial))
            key = json.dumps(values, sort_keys=True)
            if key not in tried and not self.is_known(values) and not self.judge(values).reason:
                return trial.params
            tried.add(key)
            if len(tried) >= size:
                break
        return None

    def accept(self, trial: optuna.Trial, values: dict[str, Any]) -> bool:
        """Make a draw a trial of the search, if its values are new and not refused."""
        if self.is_known(values):
            self.misses = PATIENCE  # the sampler may draw them again and again
            return False
        verdict = self.judge(values)
        for limit, share in verdict.excess.items():
            trial.set_constraint(limit, share)
        if verdict.reason:
            trial.set_user_attr(REFUSED, verdict.reason)
            self.misses += 1
            return False
        trial.set_user_attr(VALUES, values)
        self.look()
        if self.is_known(values, but=name_of(trial.number)):  # another process drew them at the same time
            trial.set_user_attr(DROPPED, True)
            return False
        return True

    def is_known(self, values: dict[str, Any], but: str = "") -> bool:
        return any(trial.hyperparameters.values == values for name, trial in self.trials.items() if name != but)

    def drop(self, name: str) -> None:
        """End a draw that gives no trial. The sampler learns from refused ones."""
        refused = REFUSED in self.held[name][0].user_attrs
        self.finish(name, TrialState.PRUNED if refused else TrialState.FAIL)
        self.release(name)
        with suppress(OSError):
            self.lock_of(name).rmdir()

    def should_prune(self, trial_id: str, curve: list[float]) -> bool:
        trial = self.held[trial_id][0]
        if trial_id not in self.reported:  # another process may have begun it
            frozen = next(frozen for frozen in self.unfinished if name_of(frozen.number) == trial_id)
            self.reported[trial_id] = frozen.last_step or 0
        new = range(self.reported[trial_id] + 1, len(curve) + 1)
        with suppress(UpdateFinishedTrialError):  # another process took it over, and was faster
            for epoch in new:
                trial.report(curve[epoch - 1], epoch)
            self.reported[trial_id] = max(self.reported[trial_id], len(curve))
            return bool(new) and trial.should_prune()
        return False

    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> None:
        self.scores[trial_id] = (metrics[SCORE], step)

    def end_trial(self, trial: Trial) -> None:
        name, values = trial.trial_id, None
        record = self.held[name][0]
        with suppress(UpdateFinishedTrialError):
            record.set_user_attr(ENDED, time.time())
            if trial.status == TrialStatus.FAILED:
                record.set_user_attr(REASON, (trial.message or "no reason is known")[-MESSAGE:])
            else:
                score, epoch = self.scores[name]
                record.set_user_attr(EPOCH, epoch)
                costs = self.judge(trial.hyperparameters.values).costs if len(self.goals) > 1 else {}
                values = [score, *(costs[goal] for goal in self.goals[1:])]
        self.finish(name, next(state for state, status in STATUS.items() if status == trial.status), values)
        self.release(name)
        self.look()
        self.on_end()


class OptunaList(OptunaEngine):
    """The values of a list, each once; trials that fail do not end the search."""

    kind = "final training"
    given_up = ""
    rows: list[dict[str, Any]]

    def propose(self, trial: optuna.Trial) -> dict[str, Any] | None:
        """The first row that no trial has, and that is not left to a draw with a smaller number."""
        missing = [row for row in self.rows if not self.is_known(row)]
        place = sum(VALUES not in frozen.user_attrs and frozen.number < trial.number for frozen in self.unfinished)
        return missing[place] if place < len(missing) else None
