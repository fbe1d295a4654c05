"""docs/networks.svg: test accuracy on CIFAR-10 over the size of the file, of our networks and of published ones.

    python -m benchmarks.picture [OUT.svg]

Our points are from the JSON and CSV files of measurements, on CIFAR-10 (JPEG copy). The published ones are on the original images,
which are others, so they are drawn hollow and named as such. The file has all points in words, in its description.
"""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.pages.files import ROOT, read

OUT = ROOT / "docs" / "networks.svg"
INK, OURS, THEIRS = "#7d8590", "#2f81f7", "#db6d28"  # colours that are readable on white and on black
INT8, SHORT, PUBLISHED = (
    "this package, int8 or int4 file, CIFAR-10 (JPEG copy)",
    "this package, float32 accuracy, size by cost_of, CIFAR-10 (JPEG copy)",
    "published, original CIFAR-10: other images, so not comparable",
)
MARKS: dict[str, dict[str, Any]] = {
    INT8: {"marker": "o", "color": OURS, "markersize": 7},
    SHORT: {"marker": "D", "color": OURS, "markersize": 5, "alpha": 0.6},
    PUBLISHED: {"marker": "s", "color": THEIRS, "markersize": 7, "markerfacecolor": "none", "markeredgewidth": 1.6},
}
PLACES = {"0000": (-8, -3), "0015": (-8, -16)}  # of the names of trials
SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "keras-resnet", "font.family": "sans-serif", "font.size": 10}
SETTINGS |= dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)


@dataclass(frozen=True)
class Point:
    """A network: its kind is a key of `MARKS`, accuracies are in percent."""

    name: str
    kind: str
    size: int
    accuracy: float
    deviation: float | None = None
    seeds: int | None = None
    place: tuple[int, int] = (8, -3)
    """Where the name is, in points to the right of and above the mark; to the left if the first is negative."""

    def __str__(self) -> str:
        spread = f" ± {self.deviation:.1f}" if self.deviation is not None else ""
        seeds = f", {self.seeds} seed{'s' * (self.seeds > 1)}" if self.seeds else ""
        return f"{self.name}: {self.accuracy:.1f}{spread} %, {self.size:,} bytes{seeds}; {self.kind}"


def points() -> list[Point]:
    """All networks."""
    return [*of_int8_files(), *of_searches(), *published()]


def of_int8_files() -> list[Point]:
    """Those whose int8 file was measured."""
    tiny, aware, short = read("mlperf_tiny"), read("quantization_aware")["rows"], read("exports")["files"]
    seeds, integers = len({row["seed"] for row in tiny["rows"]}), read("exports_vnni")["files"]["model_int8.tflite"]
    small = [
        Point(name, INT8, row["bytes"], 100 * row["int8"], 100 * row["int8_deviation"], seeds, place)
        for name, row, place in (
            ("found by search", tiny["networks"]["winner"], (-8, -3)),
            ("ResNet-8 of MLPerf Tiny", tiny["networks"]["resnet8"], (8, -8)),
        )
    ]
    trained = next(row for row in aware if row["run"] == "quantisation-aware")
    return [
        *small,
        Point("ResNet-8, quantisation-aware", INT8, trained["bytes"], 100 * trained["int8"], None, 1, (8, 4)),
        Point("resnet20, 30 epochs", INT8, integers["bytes"], 100 * integers["accuracy"], None, 1, (8, -3)),
        *(
            Point(name, INT8, short[file]["bytes"], 100 * short[file]["accuracy"], None, 1, place)
            for name, file, place in (
                ("resnet20, 14 epochs", "model_int8.tflite", (8, -3)),
                ("resnet20 in 4 bits, 16 epochs", "model_int4.tflite, quantisation-aware", (-8, -3)),
            )
        ),
    ]


def of_searches() -> list[Point]:
    """Finalists of the searches, whose accuracy is that of the float32 network."""
    found = []
    names = {"0000": "1 unit a stage, 10 epochs", "0001": "2 units, 10 epochs", "0002": "3 units, 10 epochs"}
    for study, trials in (("cifar10_depth_width", names), ("cifar10_mlperf_tiny", {"0015": "second of the search"})):
        sizes = {row["trial"]: int(row["tflite_int8"]) for row in rows_of(study)}
        for trial, name in trials.items():
            finals = [100 * float(row["test_accuracy"]) for row in rows_of(f"{study}_finals") if row["trial"] == trial]
            found.append(Point(name, SHORT, sizes[trial], mean(finals), stdev(finals), len(finals), PLACES.get(trial, (8, -3))))
    return found


def rows_of(table: str) -> list[dict[str, str]]:
    """A table of tuning/."""
    return list(csv.DictReader((ROOT / "tuning" / f"{table}.csv").read_text(encoding="utf-8").splitlines()))


def published() -> list[Point]:
    """Figures of others. The paper has no int8 file: the size is that of ours of the same network."""
    size = read("exports_vnni")["files"]["model_int8.tflite"]["bytes"]
    return [
        Point("MLPerf Tiny's reference", PUBLISHED, 98_496, 87.0),  # MLPerf Tiny image classification
        Point("ResNet-20, float32 (arXiv:1512.03385)", PUBLISHED, size, 100 - 8.75, place=(-8, -3)),  # Table 6
    ]


def draw(out: Path) -> None:
    """Write the picture."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(8.2, 5), layout="constrained")
        axes = figure.subplots()
        for kind, marks in MARKS.items():
            axes.plot([], [], linestyle="none", label=kind, **marks)
        for point in points():
            axes.errorbar([point.size], [point.accuracy], yerr=point.deviation, linestyle="none", capsize=2, **MARKS[point.kind])
            side = "left" if point.place[0] > 0 else "right"
            axes.annotate(
                point.name, (point.size, point.accuracy), point.place, textcoords="offset points", ha=side, color=INK, fontsize=9
            )
        furnish(axes)
        description = "\n".join(map(str, points()))
        figure.savefig(out, transparent=True, metadata={"Date": None, "Title": "Accuracy over size", "Description": description})
    out.write_text("\n".join(line.rstrip() for line in out.read_text(encoding="utf-8").splitlines()) + "\n", encoding="utf-8")


def furnish(axes: Any) -> None:
    """Axes, grid and legend."""
    axes.set_xscale("log")
    axes.set(xlim=(50_000, 420_000), ylim=(79, 92.5), xlabel="file, kB", ylabel="test accuracy, %")
    axes.xaxis.set_major_locator(FixedLocator([50_000, 80_000, 100_000, 150_000, 200_000, 300_000, 400_000]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size / 1000:.0f}"))
    axes.grid(color=INK, alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.figure.legend(frameon=False, loc="outside lower center", fontsize=9)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
