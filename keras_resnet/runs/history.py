"""The history of a training as a table and as plots. Matplotlib is loaded only for a plot."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.outside import read_text


def write_history(history: list[dict[str, float]], path: Path) -> None:
    """One row an epoch, as CSV at `path`; empty where an epoch lacks a column, as those that another version trained may."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list({name: None for row in history for name in row}))
        table.writeheader()
        table.writerows(history)


def history_in(file: Path) -> np.ndarray | None:
    """The columns of a table of epochs; None if it is damaged, or has no validation accuracy."""
    try:
        return table_of(read_text(file))
    except ValueError:
        return None


def table_of(text: str) -> np.ndarray | None:
    """The columns of the text of such a table; ValueError if it is damaged."""
    lines = text.splitlines()
    table = np.genfromtxt(lines, delimiter=",", names=True, ndmin=1) if len(lines) > 1 else None
    return table if table is not None and "val_accuracy" in (table.dtype.names or ()) else None


def accuracies_in(file: Path) -> list[float]:
    """The validation accuracy of each epoch so far, from the table of a training that goes on; none while it is being written."""
    try:
        text = read_text(file)
        table = table_of(text) if text.endswith("\n") else None
    except (FileNotFoundError, ValueError):  # not yet, or no more, as the training has ended; or damaged
        return []
    return [] if table is None else [float(value) for value in table["val_accuracy"]]


def plot_history(history: list[dict[str, float]], path: str | Path, *, kept_epoch: int, one_loss: bool = True) -> None:
    """Curves of loss and accuracy over the epochs, the epoch that is kept marked, as a PNG at `path`.

    Training and validation share axes; but not for the loss where it is not the same one (`one_loss`), as with smoothed labels.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    epochs = [row["epoch"] for row in history]
    training, validation = ("training", "C0"), ("validation", "C1")
    losses = {"loss": {"loss": training, "val_loss": validation}}
    if not one_loss:
        losses = {"loss of the recipe": {"loss": training}, "cross-entropy": {"val_loss": validation}}
    panels = {**losses, "accuracy": {"accuracy": training, "val_accuracy": validation}}
    figure = Figure(figsize=(4.5 * len(panels), 3.6), layout="constrained")
    for axes, (measure, curves) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for key, (label, colour) in curves.items():
            values = [row[key] for row in history]
            axes.plot(epochs, values, label=label, color=colour, marker="." if len(epochs) < 40 else "")
        kept = f"epoch {kept_epoch}" if kept_epoch else "the fitted classifier"
        axes.axvline(kept_epoch, color="grey", linestyle=":", label=f"kept: {kept}")
        axes.set(xlabel="epoch", xlim=(epochs[0] - 0.5, epochs[-1] + 0.5), ylabel=measure)
        if measure != "accuracy":
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)


LEAST_SPAN = 2.0  # points of accuracy that a plot shows, so that a single image is no cliff


def plot_quantization(files: list[dict[str, Any]], keras_accuracy: float, path: Path) -> None:
    """Accuracy over size of int8 files with more and more layers in float, and of the equalised one, as a PNG at `path`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.axhline(100 * keras_accuracy, color="grey", linestyle="--", label="Keras, float32")
    kinds = (
        ("layers in float", "o-", [row for row in files if not row["equalize"]]),
        ("equalised", "s", [row for row in files if row["equalize"]]),
    )
    for label, style, rows in kinds:
        axes.plot([row["bytes"] / 1e3 for row in rows], [100 * row["accuracy"] for row in rows], style, label=label)
        for row in rows:
            place = row["bytes"] / 1e3, 100 * row["accuracy"]
            label_place = (0, 8 if row["float_layers"] % 2 == 0 else -14)  # files of almost one size have labels above and below
            text = "" if row["equalize"] else str(row["float_layers"])
            axes.annotate(text, place, label_place, textcoords="offset points", ha="center")
    axes.set(xlabel="file, kB", ylabel="top-1 accuracy, %", title="int8, with so many of the worst layers in float")
    low, high = axes.get_ylim()
    middle, half = (low + high) / 2, max(high - low, LEAST_SPAN) / 2
    axes.set_ylim(middle - 1.25 * half, middle + 1.25 * half)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
