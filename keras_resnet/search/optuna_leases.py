"""Who has which trial of a search by Optuna: its study in a storage, leases, and a state that survives a kill.

The attribute `held` of a trial says who trains it. Where that is not renewed for as long as a lease, the trial goes back into
Optuna's queue, in one step, and keeps its number and its folder: a kill at any moment loses nothing. Optuna's own retry fails a
trial and then adds a copy, which a kill between the two loses, and its heartbeats need a database.

Two machines may take a trial back in the same moment: a storage compares before it writes only where a trial leaves the queue or
ends. Then both train it until the next sign of life: `held` names the later one, and the other leaves it. The first score that is
entered counts, and no other one.
"""

import os
import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from keras_tuner import HyperParameters
from keras_tuner.engine.trial import Trial, TrialStatus
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from keras_resnet.atomic import lock
from keras_resnet.errors import InputError
from keras_resnet.search.engine import PRUNED, TrialTaken
from keras_resnet.search.leases import FAILURES
from keras_resnet.search.optuna_attributes import ENDED, EPOCH, FOREIGN, HELD, REASON, REFUSED, VALUES, check_attributes, is_trial
from keras_resnet.search.wire import check_values

BEATS = 4  # signs of life within a lease
SPREAD = 4  # a fourth of a lease, over which processes take a trial back
BOOT = Path("/proc/sys/kernel/random/boot_id")  # of Linux
STATUS = {
    TrialState.COMPLETE: TrialStatus.COMPLETED,
    TrialState.FAIL: TrialStatus.FAILED,
    TrialState.PRUNED: PRUNED,
    TrialState.RUNNING: TrialStatus.RUNNING,
    TrialState.WAITING: TrialStatus.RUNNING,
}


class LeasedStudy:
    """The trials of an Optuna study, with a lock for each in `folder`, which all processes see.

    `on_end` is called after each trial that ends here; `tell` with a line of news.
    """

    kind = "trial"

    def __init__(self, study: optuna.Study, storage: BaseStorage, space: HyperParameters, folder: Path, lease: float) -> None:
        self.study, self.storage, self.space, self.folder, self.lease = study, storage, space, folder, lease
        self.machine = name_of_machine()
        self.study_id = storage.get_study_id_from_name(study.study_name)
        self.on_end: Callable[[], None] = lambda: None
        self.tell: Callable[[str], None] = lambda line: None
        self.held: dict[str, tuple[optuna.Trial, int, str]] = {}  # trials of this process, with their locks and its name
        self.renewed: dict[str, float] = {}  # when it last said that it lives
        self.heard: dict[int, tuple[Any, float]] = {}  # signs of life of other trials, and until when each counts
        self.checked: dict[int, Any] = {}  # values of trials that are of the space
        self.ended_at_start: set[str] = set()  # trials whose failures do not count any more
        self.look()
        self.ended_at_start = set(self.end_order)

    def look(self) -> None:
        """Read the storage."""
        self.trials: dict[str, Trial] = {}
        self.refused: dict[str, int] = {}
        self.last_refusal = ""
        self.unfinished: list[FrozenTrial] = []
        ended = []
        for frozen in self.study.get_trials(deepcopy=False):
            check_attributes(frozen.user_attrs)
            if not frozen.state.is_finished():
                self.unfinished.append(frozen)
            if reason := frozen.user_attrs.get(REFUSED):
                kind = reason.split()[0].rstrip(":")
                self.refused[kind], self.last_refusal = self.refused.get(kind, 0) + 1, reason
            elif is_trial(frozen.user_attrs):
                self.trials[name_of(frozen.number)] = self.record(frozen)
                if frozen.state.is_finished():
                    ended.append((frozen.user_attrs.get(ENDED, 0.0), name_of(frozen.number)))
        self.start_order = list(self.trials)
        self.end_order = [name for _, name in sorted(ended)]

    def record(self, frozen: FrozenTrial) -> Trial:
        """A trial as the rest of a search knows it. InputError for values that are not of its space."""
        values = frozen.user_attrs[VALUES]
        if frozen.number not in self.checked or self.checked[frozen.number] != values:
            try:
                check_values(values, self.space, 0)
            except (AttributeError, InputError, TypeError) as error:
                raise InputError(f"{FOREIGN}: {error}") from None
            self.checked[frozen.number] = values
        hyperparameters = HyperParameters()
        hyperparameters.values = dict(values)
        trial = Trial(hyperparameters, name_of(frozen.number), STATUS[frozen.state], frozen.user_attrs.get(REASON))
        trial.score, trial.best_step = (frozen.values or [None])[0], frozen.user_attrs.get(EPOCH, 0)
        return trial

    @property
    def given_up(self) -> str:
        """The reason of the last of too many failures in a row since this process began, or nothing."""
        last = [self.trials[name] for name in self.end_order if name not in self.ended_at_start][-FAILURES:]
        if len(last) < FAILURES or any(trial.status != TrialStatus.FAILED for trial in last):
            return ""
        return last[-1].message or "its trials failed"

    def hold(self, trial: optuna.Trial, worker: str) -> bool:
        """Lock a trial, and say who has it. False if a process on this machine has it."""
        name = name_of(trial.number)
        self.lock_of(name).mkdir(parents=True, exist_ok=True)
        if (descriptor := lock(self.lock_of(name))) is None:
            return False
        self.held[name] = (trial, descriptor, worker)
        self.renew(name)
        return True

    def release(self, name: str) -> None:
        os.close(self.held.pop(name)[1])

    def lock_of(self, name: str) -> Path:
        return self.folder / f"trial_{name}"

    def renew(self, name: str, **more: Any) -> None:
        trial, _, worker = self.held[name]
        with suppress(UpdateFinishedTrialError):
            trial.set_user_attr(HELD, {"worker": worker, "machine": self.machine, "alive": time.time(), **more})
        self.renewed[name] = time.monotonic()

    def get_trial(self, trial_id: str) -> None:
        if time.monotonic() - self.renewed[trial_id] > self.lease / BEATS:
            if not self.is_own(trial_id):
                self.release(trial_id)
                raise TrialTaken(self.sign_of(trial_id).get("worker", "another worker"))
            self.renew(trial_id)

    def is_own(self, name: str) -> bool:
        """Whether a trial of this process is its own still, and was not taken by another one."""
        sign = self.sign_of(name)
        return (sign.get("worker"), sign.get("machine")) == (self.held[name][2], self.machine)

    def sign_of(self, name: str) -> dict[str, Any]:
        """The last sign of life in the storage."""
        attributes = self.storage.get_trial(self.id_of(name)).user_attrs
        check_attributes(attributes)
        return dict(attributes.get(HELD, {}))

    def take_back_lapsed(self) -> bool:
        """Put the trials of silent workers back into the queue, if there are any.

        Silence is measured here, and the clocks of two machines are not compared.
        """
        now, has_lapsed = time.monotonic(), False
        for frozen in self.unfinished:
            if frozen.state != TrialState.RUNNING or name_of(frozen.number) in self.held:
                continue
            sign = frozen.user_attrs.get(HELD)
            if frozen.number not in self.heard or self.heard[frozen.number][0] != sign:
                # Of a hundred processes that wait, one is to be the first.
                self.heard[frozen.number] = (sign, now + self.lease * (1 + random.random() / SPREAD))
            is_lost = now > self.heard[frozen.number][1] or self.is_dead(frozen)
            if is_lost and self.is_unchanged(frozen):
                self.take_back(frozen)
                has_lapsed = True
        return has_lapsed

    def is_dead(self, frozen: FrozenTrial) -> bool:
        """Whether the process of a trial was one of this machine, and is gone: the system has taken its lock."""
        if frozen.user_attrs.get(HELD, {}).get("machine") != self.machine:
            return False
        descriptor = lock(self.lock_of(name_of(frozen.number)))
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is not None

    def is_unchanged(self, frozen: FrozenTrial) -> bool:
        """Whether no other process has taken a trial back meanwhile."""
        now = self.storage.get_trial(self.id_of(name_of(frozen.number)))
        return now.state == frozen.state and now.user_attrs.get(HELD) == frozen.user_attrs.get(HELD)

    def take_back(self, frozen: FrozenTrial) -> None:
        state = TrialState.WAITING if is_trial(frozen.user_attrs) else TrialState.FAIL
        self.finish(name_of(frozen.number), state)
        self.heard.pop(frozen.number, None)  # its worker may stand still, and have the lock: it gets another lease

    def finish(self, name: str, state: TrialState, values: list[float] | None = None) -> None:
        """Set the state of a trial, unless another process has ended it."""
        with suppress(UpdateFinishedTrialError):
            self.storage.set_trial_state_values(self.id_of(name), state, values)

    def id_of(self, name: str) -> int:
        """Its id in the storage."""
        return self.storage.get_trial_id_from_study_id_trial_number(self.study_id, int(name))

    def close(self) -> None:
        """Give the trials that were not ended back, for another process to resume at once; but none that another one has by now."""
        for name, (trial, _, _) in list(self.held.items()):
            try:
                if self.is_own(name):
                    self.renew(name, given_back=True)
                    self.finish(name, TrialState.WAITING if is_trial(trial.user_attrs) else TrialState.FAIL)
            finally:
                self.release(name)


def name_of_machine() -> str:
    """What tells this machine from others: containers may share a name, and copies of a virtual machine a boot."""
    return f"{os.uname().nodename} {BOOT.read_text().strip() if BOOT.exists() else uuid.getnode()}"


def name_of(number: int) -> str:
    """The name of a trial by its number in the storage."""
    return f"{number:04}"
