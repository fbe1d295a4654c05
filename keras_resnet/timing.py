"""Measures how long an action takes. Every timing in this package uses it."""

from collections.abc import Callable
from time import perf_counter
from typing import Any


def seconds_of(action: Callable[[], Any], runs: int, *, warm_up: int = 0) -> list[float]:
    """The seconds that each of so many runs of an action takes, after some that do not count."""

    def run() -> float:
        start = perf_counter()
        action()
        return perf_counter() - start

    return [run() for _ in range(warm_up + runs)][warm_up:]
