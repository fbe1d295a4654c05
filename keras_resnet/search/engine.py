"""What a search asks of an engine, whichever library draws the values."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from keras_tuner.engine.trial import Trial

PRUNED = "PRUNED"  # status of a trial that its engine stopped, beside those of KerasTuner's `TrialStatus`


class TrialTaken(Exception):
    """Another worker has a trial by now: the one that had it is to leave it. The message says who."""


@dataclass(frozen=True)
class Verdict:
    """What is known of values before anything is built."""

    reason: str = ""
    """Why a network of them is not to be built, or nothing."""
    excess: dict[str, float] = field(default_factory=dict)
    """By what share each cost is above its limit; below it, a share below 0."""
    costs: dict[str, float] = field(default_factory=dict)


class TrialSource(Protocol):
    """What a worker needs of an engine, here or on another machine. A trial is KerasTuner's; its name is that of its folder."""

    prunes: bool

    def create_trial(self, tuner_id: str) -> Trial:
        """The next trial for a worker of that name. IDLE while there is none yet, STOPPED when there will be none."""
        ...

    def get_trial(self, trial_id: str) -> Any:
        """Tell that the worker of a trial lives. TrialTaken if another one has it."""
        ...

    def should_prune(self, trial_id: str, curve: list[float]) -> bool:
        """Whether a trial with these validation accuracies, one for each epoch so far, is to be stopped. Asked if it `prunes`."""
        ...

    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Any:
        """Enter the score of a trial, and its epoch."""
        ...

    def end_trial(self, trial: Trial) -> None:
        """Enter how a trial ended."""
        ...


class Engine(TrialSource, Protocol):
    """Draws the values of trials, and has their scores."""

    trials: dict[str, Trial]
    start_order: list[str]
    """Names of trials in the order in which they began."""
    end_order: list[str]
    refused: dict[str, int]
    """How many draws were refused, by the reason's first word."""
    last_refusal: str
    on_end: Callable[[], None]
    """Is called after each trial that ends."""

    @property
    def given_up(self) -> str:
        """The reason of the last of too many failures in a row, or nothing."""
        ...
