"""The page of a search: Pareto front, parallel coordinates, importance of each hyperparameter, learning curves."""

import base64
import csv
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnet.console import cell
from keras_resnet.search.budget import LATENCY
from keras_resnet.search.results import Results
from keras_resnet.search.study import SCORE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST = 5  # trials that an importance is worked out from
SPREAD = 0.06  # height over which parallel coordinates lay trials of one value, the best one uppermost
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;font-size:13px}th,td{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #ddd}
img{max-width:100%}.front{background:#eef6ee}.failed{color:#999}div{overflow-x:auto}"""


def page(results: Results, trials: Path) -> str:
    """One HTML file that needs nothing else."""
    pictures = [picture for draw in (front, parallel, importance, curves) if (picture := draw(results, trials))]
    shown = {row["trial"] for row in results.front}
    ordered = sorted(results.table, key=lambda row: 0.0 if row[SCORE] is None else -row[SCORE])
    kinds = ["front" if row["trial"] in shown else "" if row[SCORE] is not None else "failed" for row in ordered]
    title = html.escape(results.study.question) or "A search"
    return "\n".join(
        [
            f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{STYLE}</style>",
            f"<h1>{title}</h1>",
            f"<p>{len(results.scored)} of {len(results.rows)} trials have a score.</p>",
            f"<p>Draws refused: {html.escape(results.refusals)}.</p>",
            *(f"<h2>{name}</h2><p>{told}</p><img alt='{name}' src='data:image/png;base64,{png}'>" for name, told, png in pictures),
            *(("<h2>Finalists, trained in full</h2>", *table(results.final_rows)) if len(results.finals) > 1 else ()),
            "<h2>Trials</h2>" + ("<p>Those of the Pareto front are marked.</p>" if shown else ""),
            *table(ordered, kinds),
            "</html>",
        ]
    )


def table(rows: Sequence[Mapping[str, Any]], kinds: Sequence[str] = ()) -> list[str]:
    """Rows that have the same names, as lines of HTML; `kinds` are their classes."""

    def line(tag: str, cells: Iterable[str], kind: str = "") -> str:
        return (
            (f"<tr class='{kind}'>" if kind else "<tr>")
            + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in cells)
            + "</tr>"
        )

    return [
        "<div><table>",
        *(line("th", row) for row in rows[:1]),
        *(line("td", map(cell, row.values()), kind) for row, kind in zip(rows, kinds or [""] * len(rows), strict=True)),
        "</table></div>",
    ]


def front(results: Results, trials: Path) -> tuple[str, str, str] | None:
    """Accuracy over what it costs, and the trials that none beats in both."""
    if not results.scored:
        return None
    costs = [name for name in results.study.objectives if name != SCORE] or ["multiply_adds"]
    figure = drawn(len(costs))
    best = results.front
    for axis, name in zip(figure.axes, costs, strict=True):
        axis.scatter(
            [row[name] for row in results.scored], [100 * row[SCORE] for row in results.scored], s=18, color="#999", label="trial"
        )
        kept = sorted(best, key=lambda row: row[name])
        x, y = [row[name] for row in kept], [100 * row[SCORE] for row in kept]
        axis.plot(x, y, drawstyle="steps-post", marker="o", color="#27a", label="Pareto front")
        for row in kept:
            axis.annotate(row["trial"], (row[name], 100 * row[SCORE]), fontsize=7, xytext=(3, 4), textcoords="offset points")
        unit = ", ms" if name == LATENCY else ""
        axis.set(xlabel=name.replace("_", " ") + unit, ylabel="validation accuracy, %")
        if name != LATENCY:
            axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.grid(alpha=0.3)
        axis.legend()
    return "Accuracy and cost", "Up and to the left is better.", encoded(figure)


def parallel(results: Results, trials: Path) -> tuple[str, str, str] | None:
    """A line for each trial through the values of its hyperparameters to its score."""
    names = varied(results)
    if len(results.scored) < 2 or not names:
        return None
    from matplotlib import colormaps

    figure = drawn(1, width=max(7.0, 1.5 * len(names)))
    (axis,) = figure.axes
    places = [ranks([row.get(name) for row in results.scored]) for name in names]
    scores = np.array([row[SCORE] for row in results.scored])
    share = (scores - scores.min()) / max(float(np.ptp(scores)), 1e-9)
    spread = SPREAD * (share - 0.5)  # trials of one value lie side by side
    for number in np.argsort(scores):
        height = [*(place[number] + spread[number] for place in places), share[number]]
        axis.plot(height, color=colormaps["viridis_r"](share[number]), alpha=0.8)
    axis.set_xticks(range(len(names) + 1), [*names, SCORE.replace("_", " ")], rotation=20, ha="right")
    axis.set_yticks([])
    axis.set_xlim(-0.3, len(names) + 0.6)
    axis.spines[:].set_visible(False)
    for number in range(len(names) + 1):
        axis.axvline(number, color="#bbb", linewidth=0.8, zorder=0)
    white = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    for number, name in enumerate(names):
        for value, place in sorted({(label(row.get(name)), places[number][index]) for index, row in enumerate(results.scored)}):
            axis.annotate(
                value, (number, place), fontsize=7, xytext=(-4, 0), textcoords="offset points", ha="right", va="center", bbox=white
            )
    axis.annotate(f"{100 * scores.max():.1f} %", (len(names), 1), fontsize=8, xytext=(4, 0), textcoords="offset points")
    axis.annotate(f"{100 * scores.min():.1f} %", (len(names), 0), fontsize=8, xytext=(4, 0), textcoords="offset points")
    return (
        "Parallel coordinates",
        "Each line is a trial; the darker, the better. An axis has the values that were drawn.",
        encoded(figure),
    )


def importance(results: Results, trials: Path) -> tuple[str, str, str] | None:
    """How much the score suffers where the values of one hyperparameter are shuffled, as a random forest sees it."""
    names = varied(results)
    if len(results.scored) < FEWEST or not names:
        return None
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    values = np.stack([ranks([row.get(name) for row in results.scored]) for name in names], axis=1)
    scores = np.array([100 * row[SCORE] for row in results.scored])
    forest = RandomForestRegressor(100, random_state=0).fit(values, scores)
    found = permutation_importance(forest, values, scores, scoring="neg_root_mean_squared_error", n_repeats=10, random_state=0)
    order = np.argsort(found.importances_mean)
    figure = drawn(1)
    (axis,) = figure.axes
    axis.barh([names[number] for number in order], found.importances_mean[order], xerr=found.importances_std[order], color="#27a")
    axis.set(xlabel="points of accuracy by which a random forest is worse without it")
    return "Importance", f"From {len(scores)} trials: a hint, not a proof.", encoded(figure)


def curves(results: Results, trials: Path) -> tuple[str, str, str] | None:
    """The validation accuracy of every trial, epoch by epoch."""
    histories = {}
    for row in results.scored:
        path = trials / row["trial"] / "history.csv"
        if path.is_file():
            with path.open(newline="") as file:
                histories[row["trial"]] = [100 * float(epoch[SCORE]) for epoch in csv.DictReader(file)]
    if not histories:
        return None
    figure = drawn(1)
    (axis,) = figure.axes
    best = results.best[0]["trial"]
    for trial, accuracies in histories.items():
        style: dict[str, Any] = {"color": "#27a", "label": f"trial {trial}, the best"} if trial == best else {"color": "#bbb"}
        axis.plot(
            range(1, len(accuracies) + 1),
            accuracies,
            marker=".",
            linewidth=2 if trial == best else 1,
            zorder=3 if trial == best else 1,
            **style,
        )
    axis.set(xlabel="epoch", ylabel="validation accuracy, %")
    axis.grid(alpha=0.3)
    axis.legend()
    return "Learning curves", "Of each trial that came to a score.", encoded(figure)


def varied(results: Results) -> list[str]:
    """Hyperparameters that have more than one value."""
    rows = results.scored
    return [
        name
        for name in results.hyperparameters
        if len({label(row.get(name)) for row in rows}) > 1 and not name.startswith("tuner/")
    ]


def label(value: Any) -> str:
    """A value as text."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def ranks(values: list[Any]) -> np.ndarray:
    """Values of any kind as places from 0 to 1, in their order; what a trial does not have comes first."""
    order = sorted(set(values), key=lambda value: (value is not None, 0 if value is None else value))
    return np.array([order.index(value) for value in values]) / max(1, len(order) - 1)


def drawn(count: int, width: float = 7.0) -> "Figure":
    """A figure of so many axes side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width if count == 1 else 5.5 * count, 4.2), layout="constrained")
    figure.subplots(1, count)
    return figure


def encoded(figure: "Figure") -> str:
    """A figure as text for a page."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return base64.b64encode(stream.getvalue()).decode()
