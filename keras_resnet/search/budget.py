"""Limits on the cost of a network, checked before anything is built."""

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np

from keras_resnet.errors import InputError, shown
from keras_resnet.fields import documented
from keras_resnet.networks.cost import cost_of
from keras_resnet.networks.spec import ResNetSpec

LATENCY = "latency"
UNITS: dict[str, tuple[str, float]] = {
    "B": ("tflite_int8", 1),
    "kB": ("tflite_int8", 1e3),
    "MB": ("tflite_int8", 1e6),
    "KiB": ("tflite_int8", 2**10),
    "MiB": ("tflite_int8", 2**20),
    "k": ("multiply_adds", 1e3),
    "M": ("multiply_adds", 1e6),
    "G": ("multiply_adds", 1e9),
    "us": ("latency", 1e-3),
    "ms": ("latency", 1),
    "s": ("latency", 1e3),
}
MICRO = str.maketrans("µμ", "uu")  # the sign and the Greek letter
SMALLEST = 1e-6  # amount that is more than nothing
FORMS = "bytes of the int8 file (100kB, 0.5MB), multiply-adds of an image (5M, 800k) or milliseconds (2ms), spelt as here"
DRAWS = 2_000  # refused in a row, after which nothing fits a budget
COSTS = ("parameters", "multiply_adds", "tflite_float32", "tflite_int8", "tflite_int4", "inference_memory", "training_memory")


@documented
@dataclass(frozen=True, kw_only=True)
class Budget:
    """The most that a network may cost; None for no limit."""

    parameters: int | None = None
    """That are trained."""
    multiply_adds: int | None = None
    """Of one image."""
    tflite_float32: int | None = None
    """Bytes of the file, as for int8."""
    tflite_int8: int | None = None
    """Bytes of the file that `export` writes, within 2 % or so. Long names of classes add to it."""
    tflite_int4: int | None = None
    """The same of the int4 file."""
    inference_memory: int | None = None
    """Bytes of the largest maps that are alive together, for one image in float32."""
    training_memory: int | None = None
    """Bytes of the maps that one image leaves for the backward pass, in float32."""
    latency: float | ResNetSpec | None = None
    """Milliseconds for one image by LiteRT with one thread on this machine, see `Study.quantize`, `Study.runtime` and
    `Study.measure_latency`; or the network that takes as long as is allowed."""

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if isinstance(value, np.number):  # as Python's own it can be written as JSON
                object.__setattr__(self, limit.name, value := value.item())
            if value is None or (limit.name == LATENCY and isinstance(value, ResNetSpec)):
                continue
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
                or_spec = " or the ResNetSpec of a network" if limit.name == LATENCY else ""
                raise InputError(f"{limit.name}={value!r}: must be a number above 0{or_spec}")

    def excess(self, amounts: Mapping[str, float]) -> str:
        """Which limits those costs are above, and by how much; empty if none."""
        limits = {name: getattr(self, name) or math.inf for name in amounts}

        def text(amount: float) -> str:
            return f"{amount:,}" if isinstance(amount, int) else f"{amount:,.6g}"

        return ", ".join(f"{name} {text(cost)} above {text(limits[name])}" for name, cost in amounts.items() if cost > limits[name])

    def shares(self, amounts: Mapping[str, float]) -> dict[str, float]:
        """By what share each of those costs is above its limit; below it, a share below 0."""
        limits = {name: getattr(self, name) for name in amounts}
        return {name: cost / limits[name] - 1 for name, cost in amounts.items() if limits[name]}


def budget_of(text: str) -> Budget:
    """The budget that a text such as "100kB", "5M" or "2ms" spells. InputError for any other."""
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([A-Za-zµμ]+)\s*", str(text))
    unit = found[2].translate(MICRO) if found else ""
    name, factor = UNITS.get(unit, ("", 0.0))
    amount = float(found[1]) * factor if found else 0.0
    if not SMALLEST <= amount < math.inf:
        raise InputError(f"budget {shown(text)}: expected {FORMS}")
    limit: dict[str, Any] = {name: amount if name == LATENCY else max(1, round(amount))}
    return Budget(**limit)


def costs(spec: ResNetSpec) -> dict[str, int]:
    """Everything that a network costs, by the names of `COSTS`."""
    return dict(zip(COSTS, known_costs(spec), strict=True))


@lru_cache(4096)  # of a long search: its results are made anew after every trial
def known_costs(spec: ResNetSpec) -> list[int]:
    cost = cost_of(spec)
    return [getattr(cost, "trainable" if name == "parameters" else name) for name in COSTS]


def count_fitting(widths: Sequence[int], is_beyond: Callable[[int], bool]) -> int:
    """How many of ascending widths are within a budget, of networks that cost more the wider they are."""
    return bisect_left(widths, True, key=is_beyond)


def widest(family: Callable[[int], ResNetSpec], budget: Budget, widths: Sequence[int] = range(1, 513)) -> ResNetSpec:
    """The network of the largest of ascending `widths` that is within a budget; latencies do not count.

    InputError if that of the smallest one is above it.

    >>> family = lambda width: replace(kr.SPECS["resnet20"], stem_width=width, widths=(width, 2 * width, 4 * width))
    >>> widest(family, Budget(parameters=100_000)).widths
    (9, 18, 36)
    """
    fitting = count_fitting(widths, lambda width: bool(budget.excess(costs(family(width)))))
    if not fitting:
        raise InputError(f"width {widths[0]} is over the budget: {budget.excess(costs(family(widths[0])))}")
    return family(widths[fitting - 1])
