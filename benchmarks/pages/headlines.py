"""Parts of the headline results in `measurements`."""

from typing import Any

from benchmarks.pages.files import percent
from benchmarks.pages.tables import by_depth


def mean_test_errors(data: Any) -> dict[str, float]:
    """The mean test error of each network."""
    found: dict[str, list[float]] = {}
    for row in data["rows"]:
        found.setdefault(row["network"], []).append(row["test_error"])
    return {name: sum(found[name]) / len(found[name]) for name in sorted(found, key=by_depth)}


def lesion(name: str, units: list[dict[str, Any]]) -> str:
    """The range of accuracies of a network."""
    accuracies = [row["accuracy"] for row in units if row["accuracy"] is not None]
    return f"{name} {percent(min(accuracies))} to {percent(max(accuracies))}"


def int8_of(row: dict[str, Any], kind: str) -> str:
    """The accuracy of a student's int8 file."""
    return percent(row["summary"][f"{kind} int8"]["mean"])


def total(data: Any, column: str) -> int:
    """A number of trials, of all engines together."""
    return sum(row[column] for row in data["engines"].values())


def fastest(data: Any) -> str:
    """Images per second of this package, and the ratio to the first library."""
    own = [row for row in data["rows"] if row["library"] == "keras_resnet"]
    return ", ".join(f"{row['precision']} {row['images_per_second']:,.1f} a second ({row['ratio']:.2f})" for row in own)
