"""The attributes of Optuna's trials. Whoever can write into the storage may have written them, so they are checked here."""

import math
from collections.abc import Callable
from typing import Any

from keras_resnet.errors import InputError
from keras_resnet.search.wire import is_whole, is_worker_name, short

VALUES, REFUSED, HELD, DROPPED = "values", "refused", "held", "dropped"
REASON, EPOCH, ENDED = "reason", "epoch", "ended"
FOREIGN = "the storage has a trial that does not belong to this study"


def is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def is_sign(value: Any) -> bool:
    """Whether this is a sign of life: it names the worker of a trial and its machine."""
    return isinstance(value, dict) and is_worker_name(value.get("worker")) and isinstance(value.get("machine"), str)


CHECKS: dict[str, Callable[[Any], bool]] = {
    REFUSED: is_text,
    HELD: is_sign,
    REASON: lambda value: isinstance(value, str),
    EPOCH: lambda value: is_whole(value) and value >= 0,
    ENDED: lambda value: isinstance(value, float) and math.isfinite(value),
}


def check_attributes(attributes: dict[str, Any]) -> None:
    """InputError for an attribute that no process of a search writes. Values are checked by their space."""
    for name, is_good in CHECKS.items():
        if name in attributes and not is_good(attributes[name]):
            raise InputError(f"{FOREIGN}: {name} = {short(attributes[name])}")


def is_trial(attributes: dict[str, Any]) -> bool:
    """Whether a draw with these attributes is a trial of the search."""
    return VALUES in attributes and DROPPED not in attributes
