"""What is added to every engine of KerasTuner: a budget, leases, and a state that a kill cannot damage."""

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
from keras_resnet.search.budget import DRAWS
from keras_resnet.search.study import SCORE

FAILURES = 3  # in a row, which end a search
MESSAGE = 4000  # characters of a reason that are kept
NEWS = 1000  # that are kept where nobody tells them


@synchronized
def attempted(
    oracle: Oracle, method: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]
) -> tuple[Any, Exception | None]:
    """What a method returns, or what it raises, under the oracle's lock: KerasTuner would keep the lock of one that raises."""
    try:
        return method(oracle, *arguments, **options), None
    except Exception as error:  # raised again without the lock
        return None, error


def locked(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that runs under the oracle's lock. What it raises ends the search: `over` raises it too."""

    @functools.wraps(method)
    def call(self: "LeasedOracle", *arguments: Any, **options: Any) -> Any:
        result, error = attempted(self, method, arguments, options)
        if error:
            self.broken = error
            raise error
        return result

    return call


class LeasedOracle(Oracle):
    """What is added to every engine.

    A trial is a lease: one whose worker has not been heard of for `lease` seconds is given to another one, and what ends first
    counts. `refuse` says why values will not do, or nothing; `reason_of` why a trial failed whose worker is elsewhere. `on_end`
    is called after each trial that ends. Where it is `followed` by another oracle, workers are to wait for that one.
    """

    refuse: Callable[[dict[str, Any]], str]
    reason_of: Callable[[Trial], str]
    on_end: Callable[[], None]
    lease: float
    most: int | None
    trials: dict[str, Trial]

    def begin(self, folder: Path, refuse: Callable[[dict[str, Any]], str], lease: float) -> None:
        """Keep the state in `folder`, and go on with that which is there. Trials under way stay with who has them."""
        self.refuse, self.lease = refuse, lease
        self.reason_of, self.on_end, self.followed = lambda trial: "", lambda: None, False
        self.news: deque[tuple[Trial, str]] = deque(maxlen=NEWS)
        """Trials and what became of them, for a chief to tell."""
        self.refused: dict[str, int] = {}
        """How many draws were refused, by the reason's first word."""
        self.last_refusal = ""
        """The reason of the last of them."""
        self.given_up = ""
        """The reason of the last of too many failures in a row."""
        self.broken: Exception | None = None
        """What went wrong with the state itself."""
        self.heard: dict[str, float] = {}
        """When the worker of each trial was last heard of, and each worker."""
        self.lapsed: dict[str, str] = {}
        """Who had the trials that wait for another worker."""
        self.exhausted = False
        """Whether the engine has no more trials."""
        self.verbose = 0
        self._max_collisions = DRAWS  # of values that were tried before, one after the other; then there are no others
        self._set_project_dir(str(folder.parent), folder.name)
        if Path(self._get_oracle_fname()).exists():
            self.reload()
        self.before = len(self.end_order)
        """Trials that had ended at the start: their failures do not count any more."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Values of the engine; others where those are beyond the budget, or were tried before."""
        found = super().populate_space(trial_id)
        values = found.get("values")
        if found["status"] != TrialStatus.RUNNING or not values or not (self._duplicate(values) or self.reason(values)):
            return found
        following = self.in_place_of(values)
        return {"status": TrialStatus.RUNNING, "values": following} if following else {"status": TrialStatus.STOPPED}

    def in_place_of(self, refused: dict[str, Any]) -> dict[str, Any] | None:
        """Values within the budget that were not tried before; None if there are none."""
        return self._random_values()

    def reason(self, values: dict[str, Any]) -> str:
        """Why values are refused, counted; nothing if they are not."""
        why = self.refuse(values)
        if why:
            kind = why.split()[0].rstrip(":")
            self.refused[kind] = self.refused.get(kind, 0) + 1
            self.last_refusal = why
        return why

    def _random_values(self) -> dict[str, Any] | None:
        for _ in range(DRAWS):
            values = super()._random_values()
            if values is None or not self.reason(values):
                return values
        return None

    @locked
    def create_trial(self, tuner_id: str) -> Trial:
        """The next trial for a worker. IDLE while there is none yet, STOPPED when there will be none."""
        self.take_back_lapsed()
        asked = self.heard[tuner_id] = time.monotonic()
        if self.given_up:
            return self.none_left(tuner_id)
        enough = self.exhausted or (self.most is not None and len(self.trials) >= self.most)
        had = tuner_id in self.ongoing_trials
        waiting = self._retry_queue or had
        trial = self.none_left(tuner_id) if enough and not waiting else super().create_trial(tuner_id)
        taken = time.monotonic() - asked  # a latency may have been measured, and nobody could be heard
        self.heard = {name: since + taken for name, since in self.heard.items()}
        if trial.status == TrialStatus.RUNNING:
            self.heard[trial.trial_id] = time.monotonic()
            if not had:
                self.news.append((trial, f"given to {tuner_id}"))
        elif trial.status == TrialStatus.STOPPED:
            self.exhausted = True
            self.save()
            if self.ongoing_trials:  # one of them may come back
                self.tuner_ids.add(tuner_id)
                return Trial(hyperparameters=self.get_space(), trial_id="", status=TrialStatus.IDLE)
            return self.none_left(tuner_id)
        return trial

    def none_left(self, tuner_id: str) -> Trial:
        """What a worker gets that may go, or is to wait for what follows."""
        self.tuner_ids.discard(tuner_id)
        status = TrialStatus.IDLE if self.followed and not self.given_up else TrialStatus.STOPPED
        return Trial(hyperparameters=self.get_space(), trial_id="", status=status)

    @locked
    def take_back_lapsed(self) -> None:
        """Put the trials of silent workers into the queue of those to be given out, and forget the workers."""
        now = time.monotonic()
        for tuner_id, trial in list(self.ongoing_trials.items()):
            if now - self.heard.setdefault(trial.trial_id, now) > self.lease:
                self.ongoing_trials.pop(tuner_id)
                self.lapsed[trial.trial_id] = tuner_id
                self._retry_queue.append(trial.trial_id)
                self.news.append((trial, f"{tuner_id} was not heard of for {self.lease:g} seconds"))
        busy = set(self.ongoing_trials)
        self.tuner_ids -= {name for name in self.tuner_ids - busy if now - self.heard.get(name, 0) > self.lease}

    @locked
    def over(self) -> bool:
        """Whether every trial has ended, there will be no more, and every living worker knows or waits for what follows. What broke
        the state is raised."""
        if self.broken:
            raise self.broken
        self.take_back_lapsed()
        all_ended = self.exhausted or (self.most is not None and len(self.end_order) >= self.most)
        done = (all_ended and not self._retry_queue) or bool(self.given_up)
        to_be_told = self.tuner_ids if self.given_up or not self.followed else ()
        return done and not self.ongoing_trials and not to_be_told

    @locked
    def get_trial(self, trial_id: str) -> Trial:
        """A trial; that it is asked for tells that its worker lives. One that waits for another worker goes back to it."""
        self.heard[trial_id] = time.monotonic()
        if trial_id in self._retry_queue and self.lapsed.get(trial_id, "") not in ("", *self.ongoing_trials):
            self._retry_queue.remove(trial_id)
            self.ongoing_trials[self.lapsed[trial_id]] = self.trials[trial_id]
            self.news.append((self.trials[trial_id], f"{self.lapsed[trial_id]} is back"))
        return super().get_trial(trial_id) if trial_id in self.trials else self.of_another(trial_id)

    def of_another(self, trial_id: str) -> Trial:
        """What is answered to the worker of a trial of the oracle before, or of the one that follows."""
        return Trial(hyperparameters=self.get_space(), trial_id=trial_id, status=TrialStatus.RUNNING)

    @locked
    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Trial:
        """Enter the score of a trial."""
        return super().update_trial(trial_id, metrics, step) if trial_id in self.trials else self.of_another(trial_id)

    @locked
    def end_trial(self, trial: Trial) -> None:
        """Enter what became of a trial, if that is not known yet."""
        if trial.trial_id in self.end_order or trial.trial_id not in self.trials:
            return
        if trial.trial_id in self._retry_queue:
            self._retry_queue.remove(trial.trial_id)
        reason = trial.message or (self.reason_of(trial) if trial.status == TrialStatus.FAILED else "")
        trial.message = reason[-MESSAGE:] or None
        super().end_trial(trial)
        score = self.trials[trial.trial_id].score
        self.news.append((trial, f"failed: {reason or 'no reason is known'}" if score is None else f"{SCORE} {score:.4f}"))
        self.on_end()

    def _check_consecutive_failures(self) -> None:
        last = [self.trials[trial_id] for trial_id in self.end_order[self.before :][-FAILURES:]]
        if len(last) == FAILURES and all(trial.status == TrialStatus.FAILED for trial in last):
            self.given_up = last[-1].message or "its trials failed"

    def get_state(self) -> dict[str, Any]:
        """What is kept on the disk."""
        refusals = {"refused": self.refused, "last_refusal": self.last_refusal}
        return {**super().get_state(), **refusals, "exhausted_at": self.most if self.exhausted else -1}

    def set_state(self, state: dict[str, Any]) -> None:
        """What `get_state` gave. With another number of trials there may be more of them."""
        super().set_state(state)
        self.refused, self.last_refusal = state["refused"], state.get("last_refusal", "")
        self.exhausted = state["exhausted_at"] == self.most

    def reload(self) -> None:
        """Go on from the disk. KerasTuner would give out trials under way at once; here their workers have a lease's time."""
        super().reload()
        state = json.loads(Path(self._get_oracle_fname()).read_text())
        self.trials = {trial: self.trials[trial] for trial in self.start_order}  # one may have been written just before a kill
        # KerasTuner saves its state before it takes an ended trial from those under way.
        under_way = {tuner: trial for tuner, trial in state["ongoing_trials"].items() if trial not in self.end_order}
        self.ongoing_trials = {tuner: self.trials[trial] for tuner, trial in under_way.items()}
        self._retry_queue = [trial for trial in state["retry_queue"] if trial not in self.end_order]
        self.heard = {trial.trial_id: time.monotonic() for trial in self.ongoing_trials.values()}

    def save(self) -> None:
        replace_text(Path(self._get_oracle_fname()), json.dumps(self.get_state()))

    def _save_trial(self, trial: Trial) -> None:
        replace_text(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", json.dumps(trial.get_state()))
