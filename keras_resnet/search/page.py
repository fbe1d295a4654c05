"""The HTML page of a search: Pareto front, parallel coordinates, importance of each hyperparameter, learning curves."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.console import cell
from keras_resnet.search.budget import LATENCY
from keras_resnet.search.results import Results, Row
from keras_resnet.search.study import SCORE

FEWEST = 5  # trials that an importance is worked out from
SPREAD = 0.06  # height over which parallel coordinates lay trials of one value, the best one uppermost
ABOVE: dict[str, Any] = {
    "loc": "lower left",
    "bbox_to_anchor": (0, 1),
    "ncols": 2,
    "frameon": False,
}  # a legend that hides no point


def page(results: Results, trials: Path) -> str:
    """One HTML file that needs nothing else."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    how: dict[str, Any] = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    templates = Environment(loader=PackageLoader("keras_resnet", "search"), autoescape=True, **how)
    templates.filters["cell"] = cell
    best = {row["trial"] for row in results.front}
    ordered = sorted(results.table, key=lambda row: 0.0 if row[SCORE] is None else -row[SCORE])
    return templates.get_template("page.html.jinja").render(
        title=results.study.question or "A search",
        results=results,
        pictures=[picture for draw in (front, parallel, importance, curves) if (picture := draw(results, trials))],
        trials=ordered,
        kinds=["front" if row["trial"] in best else "" if row[SCORE] is not None else "failed" for row in ordered],
    )


def front(results: Results, trials: Path) -> tuple[str, str, str] | None:
    """Accuracy over what it costs, and the trials that none beats in both."""
    if not results.scored:
        return None
    costs = [name for name in results.study.objectives if name != SCORE] or ["multiply_adds"]
    figure, *axes = drawn(len(costs))
    for axis, name in zip(axes, costs, strict=True):
        axis.scatter(*points(results.scored, name), s=18, color="#999", label="trial")
        best = sorted(results.front, key=lambda row: row[name])
        axis.plot(*points(best, name), drawstyle="steps-post", marker="o", color="#27a", label="Pareto front")
        for row, x, y in zip(best, *points(best, name), strict=True):
            axis.annotate(row["trial"], (x, y), fontsize=7, xytext=(3, 4), textcoords="offset points")
        unit = ", ms" if name == LATENCY else ""
        axis.set(xlabel=name.replace("_", " ") + unit, ylabel="validation accuracy, %")
        if name != LATENCY:
            axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.grid(alpha=0.3)
        axis.legend(**ABOVE)
    return "Accuracy and cost", "The best trials are at the top left: accurate and cheap.", encoded(figure)


def points(rows: list[Row], name: str) -> tuple[list[float], list[float]]:
    """A cost of each row, and its accuracy in percent."""
    return [row[name] for row in rows], [100 * row[SCORE] for row in rows]


def parallel(results: Results, trials: Path) -> tuple[str, str, str] | None:
    """A line for each trial through the values of its hyperparameters to its score."""
    names = varied(results)
    if len(results.scored) < 2 or not names:
        return None
    from matplotlib import colormaps

    figure, axis = drawn(1, width=max(7.0, 1.5 * len(names)))
    places = [ranks([row.get(name) for row in results.scored]) for name in names]
    scores = np.array([row[SCORE] for row in results.scored])
    share = (scores - scores.min()) / max(float(np.ptp(scores)), 1e-9)
    spread = SPREAD * (share - 0.5)  # trials of one value lie side by side
    for number in np.argsort(scores):
        heights = [*(place[number] + spread[number] for place in places), share[number]]
        axis.plot(heights, color=colormaps["viridis_r"](share[number]), alpha=0.8)
    axis.set_xticks(range(len(names) + 1), [*names, SCORE.replace("_", " ")], rotation=20, ha="right")
    axis.set_yticks([])
    axis.set_xlim(-0.3, len(names) + 0.6)
    axis.spines[:].set_visible(False)
    for number in range(len(names) + 1):
        axis.axvline(number, color="#bbb", linewidth=0.8, zorder=0)
    left: dict[str, Any] = {"xytext": (-4, 0), "textcoords": "offset points", "ha": "right", "va": "center"}
    left |= {"fontsize": 7, "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}}
    for number, name in enumerate(names):
        for value, place in sorted({(label(row.get(name)), places[number][index]) for index, row in enumerate(results.scored)}):
            axis.annotate(value, (number, place), **left)
    for height, score in enumerate((scores.min(), scores.max())):
        axis.annotate(f"{100 * score:.1f} %", (len(names), height), fontsize=8, xytext=(4, 0), textcoords="offset points")
    explanation = "Each line is a trial; a darker line has a higher accuracy. Each axis shows the values that were tried."
    return "Parallel coordinates", explanation, encoded(figure)


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
    loss = permutation_importance(forest, values, scores, scoring="neg_root_mean_squared_error", n_repeats=10, random_state=0)
    order = np.argsort(loss.importances_mean)
    figure, axis = drawn(1)
    axis.barh([names[number] for number in order], loss.importances_mean[order], xerr=loss.importances_std[order], color="#27a")
    axis.set(xlabel="added error, points of accuracy")
    explanation = (
        "A random forest predicts the accuracy from the hyperparameters. Each bar is the error that is added when the values of "
        f"one hyperparameter are shuffled. It is estimated from {len(scores)} trials: a hint, not a proof."
    )
    return "Importance", explanation, encoded(figure)


def curves(results: Results, trials: Path) -> tuple[str, str, str] | None:
    """The validation accuracy of every trial, epoch by epoch."""
    files = {row["trial"]: trials / row["trial"] / "history.csv" for row in results.scored}
    tables = {trial: np.genfromtxt(file, delimiter=",", names=True, ndmin=1) for trial, file in files.items() if file.is_file()}
    if not tables:
        return None
    figure, axis = drawn(1)
    best = results.best[0]["trial"]
    for trial, history in tables.items():
        style: dict[str, Any] = {"color": "#bbb", "linewidth": 1}
        if trial == best:
            style = {"color": "#27a", "linewidth": 2, "zorder": 3, "label": f"trial {trial}, the best"}
        axis.plot(range(1, len(history) + 1), 100 * history[SCORE], marker=".", **style)
    axis.set(xlabel="epoch", ylabel="validation accuracy, %")
    axis.grid(alpha=0.3)
    axis.legend(**ABOVE)
    return "Learning curves", "One line for each trial that has a score.", encoded(figure)


def varied(results: Results) -> list[str]:
    """Hyperparameters that have more than one value."""
    names = [name for name in results.hyperparameters if not name.startswith("tuner/")]
    return [name for name in names if len({label(row.get(name)) for row in results.scored}) > 1]


def label(value: Any) -> str:
    """A value as text."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def ranks(values: list[Any]) -> np.ndarray:
    """Values of any kind as places from 0 to 1, in their order; what a trial does not have comes first."""
    order = sorted(set(values), key=lambda value: (value is not None, 0 if value is None else value))
    return np.array([order.index(value) for value in values]) / max(1, len(order) - 1)


def drawn(count: int, width: float = 7.0) -> tuple[Any, ...]:
    """A figure, and so many axes side by side in it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width if count == 1 else 5.5 * count, 4.2), layout="constrained")
    return figure, *figure.subplots(1, count, squeeze=False)[0]


def encoded(figure: Any) -> str:
    """A figure as text for a page."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return base64.b64encode(stream.getvalue()).decode()
