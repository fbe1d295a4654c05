"""The style of all plots: sizes, colours for the colour-blind, profiles over units. Matplotlib is imported when it is needed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_resnet.analysis.rows import Rows

Figure = Any  # matplotlib.figure.Figure
Axes = Any  # matplotlib.axes.Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Of Okabe and Ito, safe for the colour-blind (doi:10.1038/nmeth.1618)."""
MARKERS = "os^Dv<>"
WIDTH, HEIGHT = 4.6, 3.2  # inches of a panel
CHARACTER = 0.06  # inches of a character of a name along an axis
NAMED = 16  # ticks of an axis up to which each has its name
WIDE = 20.0  # ratio of the largest to the smallest value above which an axis is logarithmic
LONGEST = 28  # characters of a name in a plot


def figure(rows: int = 1, columns: int = 1, *, width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, np.ndarray]:
    """A figure and its panels (rows, columns), each of `width` by `height` inches."""
    from matplotlib.figure import Figure as New

    made = New(figsize=(width * columns, height * rows), layout="constrained", dpi=150)
    return made, made.subplots(rows, columns, squeeze=False)


def profile(profiles: Mapping[str, Rows], panels: Mapping[str, str], *, x: str, log: bool = False) -> Figure:
    """A panel for each column of rows, with a line for each network."""
    made, axes = figure(1, len(panels), width=3.8)
    for panel, (column, label) in zip(axes[0], panels.items(), strict=True):
        draw(panel, profiles, x, column, label, log=log)
    add_legend(made, axes[0, 0], len(profiles))
    return made


def lines(profiles: Mapping[str, Rows], *, x: str, y: str, labels: tuple[str, str], log: bool = False) -> Figure:
    """One panel with a line for each network."""
    made, axes = figure(width=5.5)
    draw(axes[0, 0], profiles, x, y, labels[1], log=log)
    axes[0, 0].set_xlabel(labels[0])
    add_legend(made, axes[0, 0], len(profiles))
    return made


def add_legend(made: Figure, axes: Axes, count: int) -> None:
    """A legend above the panels, if there are several networks."""
    if count > 1:
        handles, names = axes.get_legend_handles_labels()
        as_written(made.legend(handles, names, loc="outside upper center", ncols=min(count, 4), fontsize=8, frameon=False))


def as_written(legend: Any) -> None:
    """Show the names of a legend as they are: a dollar sign in the name of a run begins no formula."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def draw(axes: Axes, profiles: Mapping[str, Rows], x: str, y: str, label: str, *, log: bool) -> None:
    """The lines of a panel over units or layers, numbered from 1, or named if there are few."""
    longest = max(profiles.values(), key=len)
    for number, (name, rows) in enumerate(profiles.items()):
        places = [place for place, row in enumerate(rows, start=1) if row[y] is not None]
        values = [row[y] for row in rows if row[y] is not None]
        marker = MARKERS[number % len(MARKERS)] if len(rows) < 60 else ""
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(places, values, marker=marker, markersize=3, linewidth=1.2, color=colour, label=shortened(name))
    if log and is_wide([row[y] for rows in profiles.values() for row in rows]):
        axes.set_yscale("log")
    else:
        short_numbers(axes)
    axes.set(xlabel=x, ylabel=label)
    axes.grid(alpha=0.3)
    name_places(axes, [str(row[x]) for row in longest])


def is_wide(values: Sequence[float | None]) -> bool:
    """Whether all values are positive and their ratio needs a logarithmic axis."""
    known = [value for value in values if value]
    return len(known) > 1 and min(known) > 0 and max(known) / min(known) > WIDE


def name_places(axes: Axes, names: Sequence[str]) -> None:
    """Ticks of the horizontal axis from 1, with names if there are few."""
    axes.set_xlim(0.5, len(names) + 0.5)
    if len(names) <= NAMED:
        axes.set_xticks(range(1, len(names) + 1), [shortened(name) for name in names], rotation=90, fontsize=7, parse_math=False)
        made = axes.get_figure()  # names are written upwards: without more height, long ones leave little to the panel
        made.set_figheight(max(made.get_figheight(), HEIGHT + CHARACTER * max(len(shortened(name)) for name in names)))
    else:
        axes.xaxis.set_major_locator(integers())


def short_numbers(axes: Axes) -> None:
    """Powers of ten above a linear axis instead of many zeros."""
    axes.ticklabel_format(axis="y", scilimits=(-3, 5))


def integers() -> Any:
    """Ticks at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True)


def shortened(name: str, longest: int = LONGEST) -> str:
    """A name for a plot, cut if it is long."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def picture(axes: Axes, pixels: np.ndarray, **settings: Any) -> None:
    """An image (height, width, channels) or a map (height, width), without axes."""
    axes.imshow(as_picture(pixels), interpolation="nearest", **({"cmap": "gray"} | settings))
    axes.set_axis_off()


def as_picture(pixels: np.ndarray) -> np.ndarray:
    """Pixels (height, width[, channels]) of any range, rescaled to 0 to 1; channels are averaged unless there are 3."""
    if pixels.ndim == 3 and pixels.shape[-1] != 3:
        pixels = pixels.mean(-1)
    pixels = pixels.astype("float64")
    low, high = float(pixels.min()), float(pixels.max())
    return np.zeros_like(pixels) if high == low else (pixels - low) / (high - low)
