"""A budget of bytes, multiply-adds or milliseconds, and what a network costs of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from keras_resnet.networks.cost import cost_of
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.search.budget import LATENCY, Budget, budget_of
from keras_resnet.search.latency import INTERPRETER, LatencyTable

OF_A_FILE = 1.02, 1_000  # the most that an exported file has beyond its estimate: a share of it, and bytes
OPERATIONS = 20  # that are measured between two lines

Tell = Callable[[str], None]


def silent(line: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Limit:
    """A budget, and what it is compared with.

    Args:
        text: see `budget_of`.
        table: a JSON file for latencies of operations; only a budget of time measures any.
        labels: bytes of the names of all classes, which are in an exported file.
        tell: called with a line now and then, while operations are measured.
        runtime: of LiteRT, that times are measured by, see `LatencyTable`.
    """

    text: str
    table: Path
    labels: int = 0
    tell: Tell = silent
    runtime: str = INTERPRETER

    @cached_property
    def budget(self) -> Budget:
        """The amount."""
        return budget_of(self.text)

    @cached_property
    def latencies(self) -> LatencyTable:
        """Of the operations of int8 files."""
        return LatencyTable(self.table, "int8", self.on_measured, runtime=self.runtime)

    def on_measured(self, count: int) -> None:
        """Tell how many operations are measured, after every few."""
        if count % OPERATIONS == 0:
            self.tell(f"{count} operations measured")

    def amounts(self, spec: ResNetSpec) -> dict[str, float]:
        """What a network costs: bytes of its exported int8 file, at most, multiply-adds, and for a budget of time milliseconds."""
        cost, (share, more) = cost_of(spec), OF_A_FILE
        found: dict[str, float] = {"tflite_int8": round(cost.tflite_int8 * share) + more + self.labels}
        found["multiply_adds"] = cost.multiply_adds
        return found if self.budget.latency is None else {**found, LATENCY: self.latencies.predict(spec)}

    def fits(self, spec: ResNetSpec) -> bool:
        """Whether a network is within the budget."""
        return not self.budget.excess(self.amounts(spec))

    def words(self, spec: ResNetSpec) -> str:
        """What a network costs."""
        amounts = self.amounts(spec)
        time = f", {amounts[LATENCY]:.3g} ms" if LATENCY in amounts else ""
        return (
            f"an int8 file of at most {amounts['tflite_int8']:,} bytes, {amounts['multiply_adds']:,} multiply-adds an image{time}"
        )
