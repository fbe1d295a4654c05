"""The HTML page of a search: Pareto front, parallel coordinates, importance of each hyperparameter, learning curves."""

import base64
import io
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.console import cell
from keras_resnet.networks.variants import name_of
from keras_resnet.report.templates import render
from keras_resnet.runs.history import history_in
from keras_resnet.search.budget import LATENCY
from keras_resnet.search.results import Results, Row, pareto
from keras_resnet.search.study import SCORE

FEWEST = 5  # trials that an importance is worked out from
UNITS_OF = {
    LATENCY: " ms",
    **dict.fromkeys(("tflite_float32", "tflite_int8", "tflite_int4", "inference_memory", "training_memory"), " bytes"),
}
MOST_VALUES = 7  # that are written at the axis of a hyperparameter
MOST_NAMES = 2  # of trials that are written at one point
SPREAD = 0.06  # height over which parallel coordinates lay trials of one value, the best one uppermost
ABOVE: dict[str, Any] = {
    "loc": "lower left",
    "bbox_to_anchor": (0, 1),
    "ncols": 2,
    "frameon": False,
}  # a legend that hides no point


def page(results: Results, trials: Path) -> str:
    """One HTML file that needs nothing else."""
    best = {row["trial"] for row in results.front}
    ordered = sorted(results.table, key=lambda row: 0.0 if row[SCORE] is None else -row[SCORE])
    return render(
        "search",
        title=results.study.question or f"A search: {results.out.name}",
        facts=facts(results),
        results=results,
        pictures=[picture for draw in (front, parallel, importance, curves) if (picture := draw(results, trials))],
        trials=ordered,
        kinds=["front" if row["trial"] in best else "" if row[SCORE] is not None else "failed" for row in ordered],
    )


def facts(results: Results) -> dict[str, str]:
    """What was searched, on which images, within what."""
    study = results.study
    size = f", {study.image_size}x{study.image_size} pixels" if study.image_size else ""
    limits = [(limit.name, getattr(study.budget, limit.name)) for limit in fields(study.budget)]
    allowed = [f"{word_of(name)} at most {cell(value)}{UNITS_OF.get(name, '')}" for name, value in limits if value is not None]
    if results.as_fast_as:  # the latency is the last limit
        allowed[-1] += f", that of {name_of(results.as_fast_as).replace('custom', 'a custom network')}"
    counts = ", ".join(f"{count:,} {split}" for split, count in results.images.items())
    return {
        "Study": results.out.name,
        "Images": f"{study.data_name}{size}" + (f": {counts}" if counts else ""),
        "Budget": "; ".join(allowed) or "no limit",
        "Objectives": ", ".join(map(word_of, study.objectives)),
        "Engine": f"{study.engine}, seed {study.seed}",
    }


def word_of(name: str) -> str:
    """An objective or a cost as a person reads it."""
    return {SCORE: "validation accuracy", "multiply_adds": "multiply-adds"}.get(name, name.replace("_", " "))


def title_of(name: str) -> str:
    """The title of an axis: what it shows, and the unit."""
    unit = UNITS_OF.get(name, "")
    return word_of(name) + f",{unit}" * bool(unit)


def front(results: Results, trials: Path) -> tuple[str, str, str] | None:
    """Accuracy over each cost, and the trials that none beats in both."""
    if not results.scored:
        return None
    from matplotlib.ticker import EngFormatter, MaxNLocator

    costs = [name for name in results.study.objectives if name != SCORE] or ["multiply_adds"]
    figure, *axes = drawn(len(costs))
    for axis, name in zip(axes, costs, strict=True):
        axis.scatter(*points(results.scored, name), s=18, color="#999", label="trial")
        best = sorted(pareto(results.scored, [SCORE, name]), key=lambda row: row[name])
        axis.plot(*points(best, name), drawstyle="steps-post", marker="o", color="#27a", label="Pareto front of both")
        axis.set(xlabel=title_of(name), ylabel="validation accuracy, %")
        middle = sum(axis.get_xlim()) / 2
        for (x, y), names in by_point(best, name).items():
            side, shift = ("left", 3) if x < middle else ("right", -3)
            axis.annotate(names, (x, y), fontsize=7, ha=side, xytext=(shift, 4), textcoords="offset points")
        axis.xaxis.set_major_locator(MaxNLocator(6))
        if name != LATENCY:
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.grid(alpha=0.3)
        axis.legend(**ABOVE)
    explanation = (
        "The best trials are at the top left: accurate and cheap. Those on the line are beaten by no other one in both at once."
    )
    return "Accuracy and cost", explanation, encoded(figure)


def points(rows: list[Row], name: str) -> tuple[list[float], list[float]]:
    """A cost of each row, and its accuracy in percent."""
    return [row[name] for row in rows], [100 * row[SCORE] for row in rows]


def by_point(rows: list[Row], name: str) -> dict[tuple[float, float], str]:
    """The names of the trials at each point of accuracy over a cost, of many the first."""
    trials: dict[tuple[float, float], list[str]] = {}
    for row, *point in zip(rows, *points(rows, name), strict=True):
        trials.setdefault((point[0], point[1]), []).append(row["trial"])
    return {
        point: ", ".join(names[:MOST_NAMES]) + f" and {len(names) - MOST_NAMES} more" * (len(names) > MOST_NAMES)
        for point, names in trials.items()
    }


def parallel(results: Results, trials: Path) -> tuple[str, str, str] | None:
    """A line for each trial through the values of its hyperparameters to its score."""
    names = varied(results)
    if len(results.scored) < 2 or not names:
        return None
    from matplotlib import colormaps

    goals = [*(name for name in results.study.objectives if name != SCORE), SCORE]
    figure, axis = drawn(1, width=max(7.0, 1.5 * (len(names) + len(goals))))
    places = [ranks([row.get(name) for row in results.scored]) for name in names]
    shares = [shares_of([row[goal] for row in results.scored]) for goal in goals]
    share = shares[-1]
    spread = SPREAD * (share - 0.5)  # trials of one value lie side by side
    for number in np.argsort(share):
        heights = [*(place[number] + spread[number] for place in places), *(values[number] for values in shares)]
        axis.plot(heights, color=colormaps["viridis_r"](share[number]), alpha=0.8)
    draw_axes(axis, [*names, *map(title_of, goals)])
    name_values(axis, results, names, places)
    name_ends(axis, results, goals, len(names))
    explanation = (
        "Each line is a trial; a darker line has a higher accuracy. The axis of a hyperparameter shows the tried values in their "
        "order; that of an objective goes from the lowest to the highest."
    )
    return "Parallel coordinates", explanation, encoded(figure)


def draw_axes(axis: Any, titles: list[str]) -> None:
    """Upright axes side by side, each with its title."""
    axis.set_xticks(range(len(titles)), titles, rotation=20, ha="right", parse_math=False)
    axis.set_yticks([])
    axis.set_xlim(-0.3, len(titles) - 0.4)
    axis.spines[:].set_visible(False)
    for number in range(len(titles)):
        axis.axvline(number, color="#bbb", linewidth=0.8, zorder=0)


BOX: dict[str, Any] = {
    "textcoords": "offset points",
    "va": "center",
    "fontsize": 7,
    "parse_math": False,  # a $ in a value begins no formula
    "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
}  # behind what is written on lines


def name_values(axis: Any, results: Results, names: list[str], places: list[np.ndarray]) -> None:
    """Write the values of each hyperparameter at its axis, of many a few: the first, the last, and some between."""
    for number, name in enumerate(names):
        values = sorted({(place, label(row.get(name))) for place, row in zip(places[number], results.scored, strict=True)})
        for index in sorted(set(np.linspace(0, len(values) - 1, min(len(values), MOST_VALUES)).astype(int))):
            place, value = values[index]
            axis.annotate(value, (number, place), xytext=(-4, 0), ha="right", **BOX)


def name_ends(axis: Any, results: Results, goals: list[str], first: int) -> None:
    """Write the lowest and the highest value of each objective at its axis, from number `first` on."""
    for number, goal in enumerate(goals, start=first):
        values = [row[goal] for row in results.scored]
        for height, value in enumerate((min(values), max(values))):
            text = f"{100 * value:.1f} %" if goal == SCORE else cell(value)
            axis.annotate(text, (number, height), xytext=(4, 0), **BOX)


def importance(results: Results, trials: Path) -> tuple[str, str, str] | None:
    """The share of the variance of the accuracy that each hyperparameter causes, by fANOVA (Hutter et al., ICML 2014)."""
    names = varied(results)
    scores = [100 * row[SCORE] for row in results.scored]
    if len(scores) < FEWEST or not names or len(set(scores)) == 1:
        return None
    shares = shares_of_variance([{name: row.get(name) for name in names} for row in results.scored], scores)
    order = sorted(names, key=shares.__getitem__)
    figure, axis = drawn(1)
    axis.barh(range(len(names)), [100 * shares[name] for name in order], color="#27a")
    axis.set_yticks(range(len(names)), order, parse_math=False)
    axis.set(xlabel="share of the variance of the accuracy, %")
    explanation = (
        "Each bar is the share of the variance of the accuracy that one hyperparameter causes, alone and together with others, by "
        f"fANOVA. It is estimated from {len(scores)} trials: a hint, not a proof."
    )
    return "Importance", explanation, encoded(figure)


def shares_of_variance(rows: list[dict[str, Any]], scores: list[float]) -> dict[str, float]:
    """The share of the variance of the scores by the name of each value; together they are 1."""
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    places = {name: ranks([row[name] for row in rows]).tolist() for name in rows[0]}
    distributions: Any = dict.fromkeys(places, optuna.distributions.FloatDistribution(0.0, 1.0))
    study = optuna.create_study(direction="maximize")
    for number, score in enumerate(scores):
        values = {name: place[number] for name, place in places.items()}
        study.add_trial(optuna.create_trial(params=values, distributions=distributions, value=score))
    return {name: float(share) for name, share in get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0)).items()}


def curves(results: Results, trials: Path) -> tuple[str, str, str] | None:
    """The validation accuracy of every trial, epoch by epoch."""
    files = {row["trial"]: trials / row["trial"] / "history.csv" for row in results.scored}
    tables = {trial: table for trial, file in files.items() if file.is_file() and (table := history_in(file)) is not None}
    if not tables:
        return None
    from matplotlib.ticker import MaxNLocator

    figure, axis = drawn(1)
    best = results.best[0]["trial"]
    for trial, history in tables.items():
        style: dict[str, Any] = {"color": "#bbb", "linewidth": 1}
        if trial == best:
            style = {"color": "#27a", "linewidth": 2, "zorder": 3, "label": f"trial {trial}, the best"}
        axis.plot(range(1, len(history) + 1), 100 * history[SCORE], marker=".", **style)
    axis.set(xlabel="epoch", ylabel="validation accuracy, %")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
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


def shares_of(values: list[float]) -> np.ndarray:
    """Numbers as shares of the way from the lowest to the highest."""
    numbers = np.array(values, float)
    return (numbers - numbers.min()) / (float(np.ptp(numbers)) or 1.0)


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
