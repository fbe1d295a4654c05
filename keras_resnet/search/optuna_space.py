"""A space of KerasTuner's hyperparameters as Optuna's distributions, and back."""

import math
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from keras_tuner import HyperParameters
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial


def drawn(space: HyperParameters, suggest: Callable[[str, BaseDistribution], Any]) -> dict[str, Any]:
    """A value for each hyperparameter that is active. `suggest` gives it by its name in Optuna and its distribution."""
    values: dict[str, Any] = {}
    for entry, name in zip(space.space, names_of(space), strict=True):
        if all(condition.is_active(values) for condition in entry.conditions):
            answer = suggest(name, distribution_of(entry))
            values[entry.name] = min(entry.max_value, entry.prob_to_value(answer)) if is_share(entry) else answer
    return values


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """A value of a distribution by the sampler of a trial."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def names_of(space: HyperParameters) -> list[str]:
    """Names in Optuna, which allows one distribution for each: where scopes share a name, all but the first are numbered."""
    seen: Counter[str] = Counter()
    names = []
    for entry in space.space:
        seen[entry.name] += 1
        names.append(entry.name if seen[entry.name] == 1 else f"{entry.name} ({seen[entry.name]})")
    return names


def is_share(entry: Any) -> bool:
    """Whether Optuna has no such sampling of a range, and draws a share of the way from the first value to the last."""
    return hasattr(entry, "min_value") and not (entry.sampling == "linear" or (entry.sampling == "log" and entry.step is None))


def distribution_of(entry: Any) -> BaseDistribution:
    """The distribution of a hyperparameter."""
    if is_share(entry):
        return FloatDistribution(0.0, 1.0)
    if not hasattr(entry, "min_value"):
        return CategoricalDistribution(list(entry.values))
    low, high, step = entry.min_value, entry.max_value, entry.step
    if step is not None:  # Optuna warns of a range that does not end at a step in decimals
        first, last, width = (Decimal(str(number)) for number in (low, high, step))
        high = type(low)(first + (last - first) // width * width)
    if isinstance(low, int):
        return IntDistribution(low, high, log=entry.sampling == "log", step=step or 1)
    return FloatDistribution(low, high, log=entry.sampling == "log", step=step)


def size_of(space: HyperParameters) -> float:
    """The most combinations of values that there can be."""
    return math.prod(map(count_values, space.space))


def count_values(entry: Any) -> float:
    if not hasattr(entry, "min_value") or (entry.step is not None and is_share(entry)):
        return len(list(entry.values))
    if entry.step is None:
        return entry.max_value - entry.min_value + 1 if isinstance(entry.min_value, int) else math.inf
    distribution: Any = distribution_of(entry)
    return round((distribution.high - distribution.low) / distribution.step) + 1
