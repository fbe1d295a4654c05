"""docs/networks.svg: test accuracy on CIFAR-10 over the size of the file, of our networks and of published ones.

    python -m benchmarks.picture [OUT.svg]

Our points are from the JSON files of benchmarks and saved_models, on CIFAR-10 (JPEG copy). The published ones are on the original
images, which are others, so they are drawn hollow and named as such. The file has all points in words, in its description.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.pages.candidates import int8_file, on_cifar10
from benchmarks.pages.files import ROOT, read

OUT = ROOT / "docs" / "networks.svg"
INK, OURS, THEIRS = "#7d8590", "#2f81f7", "#db6d28"  # colours that are readable on white and on black
OWN, PUBLISHED = (
    "this package, int8 or int4 file, CIFAR-10 (JPEG copy)",
    "published, original CIFAR-10: other images, so not comparable",
)
MARKS: dict[str, dict[str, Any]] = {
    OWN: {"marker": "o", "color": OURS, "markersize": 6},
    PUBLISHED: {"marker": "s", "color": THEIRS, "markersize": 7, "markerfacecolor": "none", "markeredgewidth": 1.6},
}
# Of the names of networks in saved_models.
PLACES = {"cifar10-resnet8": (-8, -10), "cifar10-search-tiny": (-8, 3), "cifar10-resnet56": (-8, -3)}
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
    return [*of_measurements(), *of_shipped(), *published()]


def of_measurements() -> list[Point]:
    """Those whose int8 or int4 file a script of this folder measured."""
    tiny, aware = read("mlperf_tiny"), read("quantization_aware")["rows"]
    seeds, trained = len({row["seed"] for row in tiny["rows"]}), next(row for row in aware if row["run"] == "quantisation-aware")
    integers, bits = (
        read("exports_vnni")["files"]["model_int8.tflite"],
        read("exports")["files"]["model_int4.tflite, quantisation-aware"],
    )
    small = [
        Point(name, OWN, row["bytes"], 100 * row["int8"], 100 * row["int8_deviation"], seeds, place)
        for name, row, place in (
            ("search-tiny, 30 epochs", tiny["networks"]["winner"], (-8, -3)),
            ("ResNet-8 of MLPerf Tiny, 30 epochs", tiny["networks"]["resnet8"], (8, -8)),
        )
    ]
    return [
        *small,
        Point("ResNet-8, quantisation-aware", OWN, trained["bytes"], 100 * trained["int8"], None, 1, (8, 2)),
        Point("resnet20, 30 epochs", OWN, integers["bytes"], 100 * integers["accuracy"], None, 1),
        Point("resnet20 in 4 bits, 16 epochs", OWN, bits["bytes"], 100 * bits["accuracy"], None, 1, (-8, 6)),
    ]


def of_shipped() -> list[Point]:
    """The networks in saved_models."""
    found = []
    for run in on_cifar10():
        row = int8_file(f"saved_models/{run.path.name}")
        name = f"{run.path.name.removeprefix('cifar10-')}, {run.metrics['epochs']} epochs"
        found.append(Point(name, OWN, row["bytes"], 100 * row["accuracy"], None, 1, PLACES.get(run.path.name, (8, -3))))
    return found


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
    axes.set(xlim=(38_000, 1_150_000), ylim=(80, 92.5), xlabel="file, kB", ylabel="test accuracy, %")
    axes.xaxis.set_major_locator(FixedLocator([50_000, 100_000, 200_000, 300_000, 500_000, 1_000_000]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size / 1000:.0f}"))
    axes.grid(color=INK, alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.figure.legend(frameon=False, loc="outside lower center", fontsize=9)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
