"""KerasTuner's engines with what a search needs around them: a budget, leases, and a state that a kill cannot damage."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner import Oracle, oracles, synchronized
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_resnet.atomic import replace_text
from keras_resnet.search.study import SCORE, Study

KINDS: dict[str, type[Oracle]] = {
    "random": oracles.RandomSearchOracle,
    "bayesian": oracles.BayesianOptimizationOracle,
    "hyperband": oracles.HyperbandOracle,
    "grid": oracles.GridSearchOracle,
}
DRAWS = 2_000  # refused one after the other, after which nothing fits the budget
FAILURES = 3  # in a row, which end a search
MESSAGE = 4000  # characters of a reason that are kept


class Kept(Oracle):
    """What is added to every engine. It is mixed into a subclass of each by `oracle_of`.

    A trial is a lease: one whose worker has not been heard of for `lease` seconds is given to another one, and what ends first
    counts. `refuse` says why values will not do, or nothing.
    """

    refuse: Callable[[dict[str, Any]], str]
    lease: float
    on_end: Callable[[], None]

    def begin(self, folder: Path, refuse: Callable[[dict[str, Any]], str], lease: float) -> None:
        """Keep the state in `folder`, and go on with that which is there. Trials under way stay with who has them."""
        self.refuse, self.lease, self.on_end = refuse, lease, lambda: None
        self.refused: dict[str, int] = {}
        """How many draws were refused, by the reason's first word."""
        self.given_up = ""
        """The reason of the last of too many failures in a row."""
        self.heard: dict[str, float] = {}
        """When the worker of each trial was last heard of, and each worker."""
        self.exhausted = False
        """Whether the engine has no more trials."""
        self.verbose = 0
        self._set_project_dir(str(folder.parent), folder.name)
        if Path(self._get_oracle_fname()).exists():
            self.reload()

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Values of the engine; others where those are beyond the budget."""
        found = super().populate_space(trial_id)
        values = found.get("values")
        if found["status"] != TrialStatus.RUNNING or not values or not self.reason(values):
            return found
        following = self._get_next_combination(values) if isinstance(self, oracles.GridSearchOracle) else self._random_values()
        kept = {name: value for name, value in values.items() if name.startswith("tuner/")}  # Hyperband's own
        return {"status": TrialStatus.RUNNING, "values": following | kept} if following else {"status": TrialStatus.STOPPED}

    def reason(self, values: dict[str, Any]) -> str:
        """Why values are refused, counted; nothing if they are not."""
        why = self.refuse(values)
        if why:
            kind = why.split()[0]
            self.refused[kind] = self.refused.get(kind, 0) + 1
        return why

    def _random_values(self) -> dict[str, Any] | None:
        for _ in range(DRAWS):
            values = super()._random_values()
            if values is None or not self.reason(values):
                return values
        return None

    def _get_next_combination(self, values: dict[str, Any]) -> dict[str, Any] | None:  # of the grid
        following = super()._get_next_combination(values)
        while following is not None and self.reason(following):
            following = super()._get_next_combination(following)
        return following

    @synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """The next trial for a worker. IDLE while there is none yet, STOPPED when there will be none."""
        self.take_back_lapsed()
        self.heard[tuner_id] = time.monotonic()
        if self.given_up:
            self.tuner_ids.discard(tuner_id)
            return Trial(hyperparameters=self.get_space(), trial_id="", status=TrialStatus.STOPPED)
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.RUNNING:
            self.heard[trial.trial_id] = time.monotonic()
        elif trial.status == TrialStatus.STOPPED:
            self.exhausted = True
            if self.ongoing_trials:  # one of them may come back
                self.tuner_ids.add(tuner_id)
                return Trial(hyperparameters=self.get_space(), trial_id="", status=TrialStatus.IDLE)
        return trial

    @synchronized
    def take_back_lapsed(self) -> None:
        """Put the trials of silent workers into the queue of those to be given out, and forget the workers."""
        now = time.monotonic()
        for tuner_id, trial in list(self.ongoing_trials.items()):
            if now - self.heard.setdefault(trial.trial_id, now) > self.lease:
                self.ongoing_trials.pop(tuner_id)
                self._retry_queue.append(trial.trial_id)
        busy = set(self.ongoing_trials)
        self.tuner_ids -= {name for name in self.tuner_ids - busy if now - self.heard.get(name, 0) > self.lease}

    @synchronized
    def over(self) -> bool:
        """Whether every trial has ended, there will be no more, and every living worker knows."""
        self.take_back_lapsed()
        done = (self.exhausted and not self._retry_queue) or bool(self.given_up)
        return done and not self.ongoing_trials and not self.tuner_ids

    @synchronized
    def get_trial(self, trial_id: str) -> Trial:
        """A trial; that it is asked for tells that its worker lives."""
        self.heard[trial_id] = time.monotonic()
        return super().get_trial(trial_id)

    @synchronized
    def end_trial(self, trial: Trial) -> None:
        """Enter what became of a trial, if that is not known yet."""
        if trial.trial_id in self.end_order:
            return
        if trial.trial_id in self._retry_queue:
            self._retry_queue.remove(trial.trial_id)
        trial.message = (trial.message or "")[-MESSAGE:] or None
        super().end_trial(trial)
        self.on_end()

    def _check_consecutive_failures(self) -> None:
        last = [self.trials[trial_id] for trial_id in self.end_order[-FAILURES:]]
        if len(last) == FAILURES and all(trial.status == TrialStatus.FAILED for trial in last):
            self.given_up = last[-1].message or "its trials failed"

    def get_state(self) -> dict[str, Any]:
        """What is kept on the disk."""
        return {**super().get_state(), "refused": self.refused, "given_up": self.given_up}

    def set_state(self, state: dict[str, Any]) -> None:
        """What `get_state` gave."""
        super().set_state(state)
        self.refused, self.given_up = state["refused"], state["given_up"]

    def reload(self) -> None:
        """Go on from the disk. KerasTuner would give out trials under way at once; here their workers have a lease's time."""
        super().reload()
        state = json.loads(Path(self._get_oracle_fname()).read_text())
        # KerasTuner saves its state before it takes an ended trial from those under way.
        under_way = {tuner: trial for tuner, trial in state["ongoing_trials"].items() if trial not in self.end_order}
        self.ongoing_trials = {tuner: self.trials[trial] for tuner, trial in under_way.items()}
        self._retry_queue = [trial for trial in state["retry_queue"] if trial not in self.end_order]
        self.heard = {trial.trial_id: time.monotonic() for trial in self.ongoing_trials.values()}

    def save(self) -> None:
        replace_text(Path(self._get_oracle_fname()), json.dumps(self.get_state()))

    def _save_trial(self, trial: Trial) -> None:
        replace_text(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", json.dumps(trial.get_state()))


def oracle_of(
    study: Study, space: keras_tuner.HyperParameters, folder: Path, refuse: Callable[[dict[str, Any]], str], lease: float
) -> Any:
    """The engine of a study, with its state in `folder`."""
    kind = KINDS[study.engine]
    objective = keras_tuner.Objective(SCORE, "max")
    options: dict[str, Any] = {"objective": objective, "seed": study.seed, "hyperparameters": space}
    if study.engine == "hyperband":
        options["max_epochs"] = study.trained_by({}).epochs
    else:
        options["max_trials"] = study.trials
    oracle = type(f"Kept{kind.__name__}", (Kept, kind), {})(**options)
    oracle.max_trials = study.trials
    oracle.begin(folder, refuse, lease)
    return oracle


def space_of(study: Study) -> keras_tuner.HyperParameters:
    """Every hyperparameter that the space asks for, conditional ones too; nothing is built."""
    known, trying = keras_tuner.HyperParameters(), keras_tuner.HyperParameters()
    tried: list[Any] = []
    while True:
        study.space(trying)
        known.merge([entry for entry in trying.space if not known._exists(entry.name, entry.conditions)])
        scopes = {str([(part.name, part.values) for part in scope]): scope for scope in trying.inactive_scopes}
        waiting = [name for name in scopes if name not in tried]
        if not waiting:
            return known
        tried.append(waiting[0])
        trying = known.copy()
        for condition in scopes[waiting[0]]:
            trying.values[condition.name] = condition.values[0]
        trying.ensure_active_values()
