"""Which worker has which trial: leases, a limit on trials, and a state that survives a kill, for every engine of KerasTuner.

A worker leases a trial from `create_trial` to `end_trial`; each call for that trial renews the lease. `take_back_lapsed` ends the
leases of silent workers; `create_trial` then gives their trials to other workers, or `get_trial` gives them back.
"""

import functools
import json
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_tuner import Oracle, synchronized
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_resnet.atomic import replace_text
from keras_resnet.errors import InputError
from keras_resnet.search.budget import DRAWS
from keras_resnet.search.study import SCORE

FAILURES = 3  # in a row, which end a search
MESSAGE = 4000  # characters of a reason that are saved
UNREADABLE = (AttributeError, KeyError, RecursionError, RuntimeError, TypeError, ValueError)  # what KerasTuner raises for its files
SHOWN = 200  # characters of that
NEWS = 1000  # that wait for a chief


def locked(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that runs under the oracle's lock. An error in it ends the search: `is_over` raises it too."""

    @synchronized
    def attempt(oracle: "LeasedOracle", *arguments: Any, **options: Any) -> tuple[Any, Exception | None]:
        try:
            return method(oracle, *arguments, **options), None
        except Exception as error:  # raised below without the lock, which KerasTuner would not release
            return None, error

    @functools.wraps(method)
    def call(self: "LeasedOracle", *arguments: Any, **options: Any) -> Any:
        result, error = attempt(self, *arguments, **options)
        if error:
            self.broken = error
            raise error
        return result

    return call


class LeasedOracle(Oracle):
    """An engine with leases of `lease` seconds and at most `limit` trials.

    `refuse` says why values are refused, or nothing; `reason_of` why a trial failed on another machine; `score_of` gives the score
    and the epoch of its run there, None if there is no run. `on_end` is called after each trial that ends, the first time it does.
    If it `has_successor`, another oracle, workers wait for that one.
    """

    refuse: Callable[[dict[str, Any]], str]
    reason_of: Callable[[Trial], str]
    score_of: Callable[[Trial], tuple[float, int] | None] | None
    on_end: Callable[[], None]
    lease: float
    limit: int | None
    trials: dict[str, Trial]
    prunes = False

    def begin(self, folder: Path, refuse: Callable[[dict[str, Any]], str], lease: float) -> None:
        """Save the state in `folder`, and go on from the one that is there, with the leases in it."""
        self.refuse, self.lease = refuse, lease
        self.reason_of, self.score_of, self.on_end, self.has_successor = lambda trial: "", None, lambda: None, False
        self.news: deque[tuple[Trial, str]] = deque(maxlen=NEWS)  # for a chief to tell
        self.refused: dict[str, int] = {}  # draws, by the reason's first word
        self.last_refusal = ""
        self.given_up = ""  # the reason of the last of too many failures in a row
        self.broken: Exception | None = None  # what went wrong with the state itself
        self.last_heard: dict[str, float] = {}  # times by trial, from its worker, and by worker
        self.lapsed: dict[str, str] = {}  # the former workers of trials
        self.exhausted = False  # the engine has no more trials
        self.verbose = 0
        self._max_collisions = DRAWS  # of values that were tried before, in a row; then there are no others
        self._set_project_dir(str(folder.parent), folder.name)
        if Path(self._get_oracle_fname()).exists():
            self.reload_or_say(folder)
        self.ended_at_start = len(self.end_order)  # trials whose failures do not count any more
        self.take_back_lapsed()  # KerasTuner makes the lock at its first use: here, where only one thread knows the oracle

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Values of the engine; others where those are beyond the budget, or were tried before."""
        answer = super().populate_space(trial_id)
        values = answer.get("values")
        if answer["status"] != TrialStatus.RUNNING or not values or not (self._duplicate(values) or self.reason(values)):
            return answer
        values = self.replacement()
        return {"status": TrialStatus.RUNNING, "values": values} if values else {"status": TrialStatus.STOPPED}

    def replacement(self) -> dict[str, Any] | None:
        """Values within the budget that were not tried before; None if there are none."""
        return self._random_values()

    def reason(self, values: dict[str, Any]) -> str:
        """Why values are refused, counted; nothing if they are not."""
        if reason := self.refuse(values):
            kind = reason.split()[0].rstrip(":")
            self.refused[kind] = self.refused.get(kind, 0) + 1
            self.last_refusal = reason
        return reason

    def _random_values(self) -> dict[str, Any] | None:
        for _ in range(DRAWS):
            values = super()._random_values()
            if values is None or not self.reason(values):
                return values
        return None

    @locked
    def create_trial(self, tuner_id: str) -> Trial:
        """Lease the next trial to a worker. IDLE while there is none yet, STOPPED when there will be none."""
        self.take_back_lapsed()
        start = self.last_heard[tuner_id] = time.monotonic()
        if self.given_up:
            return self.no_trial(tuner_id)
        is_full = self.exhausted or (self.limit is not None and len(self.trials) >= self.limit)
        is_back = tuner_id in self.ongoing_trials
        is_new = not (is_back or self._retry_queue)
        trial = self.no_trial(tuner_id) if is_full and is_new else super().create_trial(tuner_id)
        self.pause_leases(since=start)  # a latency may have been measured
        if trial.status == TrialStatus.RUNNING:
            self.last_heard[trial.trial_id] = time.monotonic()
            if not is_back:
                self.news.append((trial, f"given to {tuner_id}"))
        elif trial.status == TrialStatus.STOPPED:
            self.exhausted = True
            self.save()
            if self.ongoing_trials:  # one of them may come back
                self.tuner_ids.add(tuner_id)
                return Trial(hyperparameters=self.get_space(), trial_id="", status=TrialStatus.IDLE)
            return self.no_trial(tuner_id)
        return trial

    def no_trial(self, tuner_id: str) -> Trial:
        """The answer to a worker that may go, or is to wait for the next oracle."""
        self.tuner_ids.discard(tuner_id)
        status = TrialStatus.IDLE if self.has_successor and not self.given_up else TrialStatus.STOPPED
        return Trial(hyperparameters=self.get_space(), trial_id="", status=status)

    @locked
    def take_back_lapsed(self) -> None:
        """End the leases of silent workers: queue their trials for other workers, and forget the workers."""
        now = time.monotonic()
        for tuner_id, trial in list(self.ongoing_trials.items()):
            if now - self.last_heard.setdefault(trial.trial_id, now) > self.lease:
                self.ongoing_trials.pop(tuner_id)
                self.lapsed[trial.trial_id] = tuner_id
                self._retry_queue.append(trial.trial_id)
                self.news.append((trial, f"{tuner_id} was silent for {self.lease:g} seconds: the trial is retried"))
        idle = self.tuner_ids - set(self.ongoing_trials)
        self.tuner_ids -= {name for name in idle if now - self.last_heard.get(name, 0) > self.lease}
        known = self.tuner_ids | set(self.ongoing_trials) | set(self.trials)
        self.last_heard = {name: moment for name, moment in self.last_heard.items() if name in known}

    @locked
    def is_held(self, trial_id: str, tuner_id: str) -> bool:
        """Whether a worker has a trial, or was the last to have it and nobody else has it since."""
        if trial_id in self._retry_queue:
            return self.lapsed.get(trial_id) == tuner_id
        return tuner_id in self.ongoing_trials and self.ongoing_trials[tuner_id].trial_id == trial_id

    @locked
    def is_over(self) -> bool:
        """Whether every trial has ended, there will be no more, and every living worker knows or waits for the next oracle. Raises
        the error that broke the state."""
        if self.broken:
            raise self.broken
        self.take_back_lapsed()
        has_all = self.exhausted or (self.limit is not None and len(self.end_order) >= self.limit)
        is_done = (has_all and not self._retry_queue) or bool(self.given_up)
        waiting_workers = self.tuner_ids if self.given_up or not self.has_successor else ()
        return is_done and not self.ongoing_trials and not waiting_workers

    @locked
    def get_trial(self, trial_id: str) -> Trial:
        """A trial, whose worker renews its lease by this call; a trial in the queue goes back to that worker."""
        self.last_heard[trial_id] = time.monotonic()
        if trial_id in self._retry_queue and self.lapsed.get(trial_id, "") not in ("", *self.ongoing_trials):
            self._retry_queue.remove(trial_id)
            self.ongoing_trials[self.lapsed[trial_id]] = self.trials[trial_id]
            self.news.append((self.trials[trial_id], f"{self.lapsed[trial_id]} is back"))
        return super().get_trial(trial_id) if trial_id in self.trials else self.foreign_trial(trial_id)

    def foreign_trial(self, trial_id: str) -> Trial:
        """The answer to the worker of a trial of the oracle before, or of the next one."""
        return Trial(hyperparameters=self.get_space(), trial_id=trial_id, status=TrialStatus.RUNNING)

    @locked
    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Trial:
        return super().update_trial(trial_id, metrics, step) if trial_id in self.trials else self.foreign_trial(trial_id)

    @locked
    def end_trial(self, trial: Trial) -> None:
        """Enter how a trial ended, unless it had ended before."""
        if trial.trial_id in self.end_order or trial.trial_id not in self.trials:
            return
        if trial.trial_id in self._retry_queue:
            self._retry_queue.remove(trial.trial_id)
        reason = trial.message or (self.reason_of(trial) if trial.status == TrialStatus.FAILED else "")
        trial.message = reason[-MESSAGE:] or None
        super().end_trial(trial)
        score = self.trials[trial.trial_id].score
        self.news.append((trial, f"failed: {reason or 'no reason is known'}" if score is None else f"{SCORE} {score:.4f}"))
        start = time.monotonic()
        self.on_end()
        self.pause_leases(since=start)

    def pause_leases(self, since: float) -> None:
        """Leave out the time since that moment: no worker could be heard."""
        pause = time.monotonic() - since
        self.last_heard = {name: moment + pause for name, moment in self.last_heard.items()}

    def should_prune(self, trial_id: str, curve: list[float]) -> bool:
        return False

    def _check_consecutive_failures(self) -> None:
        last = [self.trials[trial_id] for trial_id in self.end_order[self.ended_at_start :][-FAILURES:]]
        if len(last) == FAILURES and all(trial.status == TrialStatus.FAILED for trial in last):
            self.given_up = last[-1].message or "its trials failed"

    def get_state(self) -> dict[str, Any]:
        refusals = {"refused": self.refused, "last_refusal": self.last_refusal}
        return {**super().get_state(), **refusals, "exhausted_at": self.limit if self.exhausted else -1}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.refused, self.last_refusal = state["refused"], state.get("last_refusal", "")
        self.exhausted = state["exhausted_at"] == self.limit  # with another limit there may be more trials

    def reload(self) -> None:
        """Go on from the disk. KerasTuner would retry ongoing trials at once; here their leases begin anew."""
        super().reload()
        state = json.loads(Path(self._get_oracle_fname()).read_text())
        self.trials = {trial: self.trials[trial] for trial in self.start_order}  # one may have been written just before a kill
        # KerasTuner saves its state before it removes an ended trial from the ongoing ones.
        ongoing = {tuner: trial for tuner, trial in state["ongoing_trials"].items() if trial not in self.end_order}
        self.ongoing_trials = {tuner: self.trials[trial] for tuner, trial in ongoing.items()}
        self._retry_queue = [trial for trial in state["retry_queue"] if trial not in self.end_order]
        self.last_heard = {trial.trial_id: time.monotonic() for trial in self.ongoing_trials.values()}

    def reload_or_say(self, folder: Path) -> None:
        """`reload`. InputError for a state that is damaged."""
        try:
            self.reload()
        except UNREADABLE as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:SHOWN]
            raise InputError(
                f"the state of the search in {str(folder)!r} is damaged ({reason}): search again in another folder (--out); the "
                "runs that are complete stay where they are"
            ) from None

    def save(self) -> None:
        replace_text(Path(self._get_oracle_fname()), json.dumps(self.get_state()))

    def _save_trial(self, trial: Trial) -> None:
        replace_text(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", json.dumps(trial.get_state()))
