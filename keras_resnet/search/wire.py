"""What may come over the network of a search: names of workers and trials, and values of hyperparameters.

The chief and its workers use the same rules. Nothing else from the network becomes a path, a network or a recipe.
"""

import re
from typing import Any

from keras_tuner import HyperParameters
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_resnet.errors import InputError

HYPERBAND, EPOCHS = "tuner/", "tuner/epochs"  # prefix and name of hyperparameters that Hyperband adds
FINAL, FINAL_OF, FINAL_SEED = "final/", "final/trial", "final/seed"  # and of those that a final training adds
MOST = 2**31  # above any number that an engine adds
WORKER_KEY = "worker"  # of the name that comes with every call
LARGEST = 4 * 2**20  # bytes of a message
WORKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
TRIAL = re.compile(r"[0-9]{4,5}")  # four digits, and five of a final training; see `oracle`


def is_trial_name(name: Any) -> bool:
    """Whether this is the name of a trial. It becomes the name of a folder."""
    return isinstance(name, str) and bool(TRIAL.fullmatch(name))


def is_worker_name(name: Any) -> bool:
    return isinstance(name, str) and bool(WORKER.fullmatch(name))


def check_worker_name(name: str) -> str:
    """The name of a worker. InputError for any other text."""
    if not is_worker_name(name):
        raise InputError(f"name {short(name)}: a worker's name is a letter or digit, and up to 99 more of A-Z a-z 0-9 . _ -")
    return name


def check_values(values: dict[str, Any], space: Any, most_epochs: int) -> None:
    """InputError for a value that a space, an engine or a final training does not give."""
    for name, value in values.items():
        if name in (FINAL_OF, "tuner/trial_id"):
            is_good = is_trial_name(value)
        elif name == EPOCHS:
            is_good = is_whole(value) and 1 <= value <= most_epochs
        elif name.startswith((FINAL, HYPERBAND)):
            is_good = is_whole(value) and 0 <= value < MOST
        else:
            is_good = any(entry.name == name and is_value(entry, value) for entry in space.space)
        if not is_good:
            raise InputError(f"{short(name)} = {short(value)} is not in the space of the study")


def is_value(entry: Any, value: Any) -> bool:
    """Whether a hyperparameter may have that value. Of a range with steps, anything within it."""
    if hasattr(entry, "min_value"):
        slack = 1e-6 * abs(entry.max_value)  # what steps may be off by
        return type(value) is type(entry.min_value) and entry.min_value - slack <= value <= entry.max_value + slack
    return any(type(other) is type(value) and other == value for other in entry.values)


def message_of(trial: Trial) -> Any:
    """The message of a trial: its name, status and values. Nobody reads the rest."""
    hyperparameters = HyperParameters()
    hyperparameters.values = trial.hyperparameters.values
    return Trial(hyperparameters, trial_id=trial.trial_id, status=trial.status).to_proto()


def values_of(message: Any) -> dict[str, Any]:
    """The values in the message of a trial; None for one without a type."""
    values = message.hyperparameters.values.values
    return {name: getattr(value, value.WhichOneof("kind") or "", None) for name, value in values.items()}


def status_of(message: Any) -> str | None:
    """The status in the message of a trial; None for a number that is no status."""
    try:
        return TrialStatus.from_proto(message.status)
    except ValueError:
        return None


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def short(value: Any) -> str:
    """A value from outside for a message: in one line, and cut."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_line(text: str) -> str:
    """Text from outside for a terminal: in one line, without control characters, and cut."""
    return "".join(character if character.isprintable() else " " for character in text[:500])


def check_address(address: str) -> tuple[str, str]:
    """Host and port of an address. InputError if it is none."""
    host, colon, port = address.rpartition(":")
    is_host = host and (":" not in host or (host[0] == "[" and host[-1] == "]"))  # without brackets, gRPC reads a scheme
    if not colon or not is_host or not port.isascii() or not port.isdecimal() or not 0 < int(port[:6]) < 65536:
        raise InputError(f"{address!r} is no address: expected HOST:PORT, such as 10.0.0.1:8000, or [::1]:8000")
    return host, port
