"""The page of several runs: accuracies and their significance, cost, curves, differing fields. No model is loaded."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keras_resnet.confidence import are_told_apart
from keras_resnet.networks.cost import cost_of
from keras_resnet.networks.drawing import with_sizes
from keras_resnet.networks.variants import described
from keras_resnet.report import facts
from keras_resnet.report.charts import COLOURS, Chart, Series, lines, whisker
from keras_resnet.report.run_page import SPLITS
from keras_resnet.report.templates import percent, render
from keras_resnet.runs.history import history_in
from keras_resnet.runs.run import Run, names_of

VALIDATION = (("val_accuracy", "validation accuracy", 100, "%", False), ("val_loss", "validation loss", 1, "", True))
TRAINING = (("loss", "training loss", 1, "", True), VALIDATION[0])
"""Columns of a history, each with its title, factor, unit, and whether its axis is logarithmic."""

FEW = 3  # runs that a title names

Content = dict[str, Any]


def comparison_page(runs: Sequence[Run]) -> str:
    """The page of several runs, in their order."""
    names = names_of(runs)
    splits = [split for split in SPLITS[::-1] if any(facts.accuracy(run, split) for run in runs)]
    return render(
        "comparison",
        title=", ".join(names) if len(names) <= FEW else f"{len(names)} trainings",
        verdict=verdict(runs, names, splits[0]) if splits else "No run has an accuracy.",
        accuracies={split: accuracies(runs, names, split) for split in splits},
        notes=notes(runs),
        costs=[costs(run, name) for run, name in zip(runs, names, strict=True)],
        curves=curves({name: run.path for name, run in zip(names, runs, strict=True)}),
        differences=differences(runs, names),
    )


def accuracies(runs: Sequence[Run], names: list[str], split: str) -> list[Content]:
    """Accuracy of each run with its interval on one axis, and whether it differs significantly from the best."""
    found = [{"run": name, **(facts.accuracy(run, split) or {})} for run, name in zip(runs, names, strict=True)]
    known = [row for row in found if "accuracy" in row]
    low, high = min(row["interval"][0] for row in known), max(row["interval"][1] for row in known)
    best = max(known, key=lambda row: row["accuracy"])
    for place, row in enumerate(found):
        if "accuracy" in row:
            row["whisker"] = whisker(row["accuracy"], row["interval"], low - 1e-6, high + 1e-6, place)
            row["against"] = "the best" if row is best else "lower" if is_lower(row, best) else "no significant difference"
    return found


def is_lower(row: Content, best: Content) -> bool:
    """Whether an accuracy is significantly below the best one."""
    return are_told_apart(row["accuracy"], best["accuracy"], row["images"], best["images"])


def verdict(runs: Sequence[Run], names: list[str], split: str) -> str:
    """Which run is the best, and which others are not significantly worse."""
    found = {name: row for name, run in zip(names, runs, strict=True) if (row := facts.accuracy(run, split))}
    best = max(found, key=lambda name: found[name]["accuracy"])
    others = [name for name in found if name != best and not is_lower(found[name], found[best])]
    sentence = f"{best} has the highest {split} accuracy, {percent(found[best]['accuracy'])}"
    if others:
        return f"{sentence}. No significant difference (5 % level): {', '.join(others)}."
    return f"{sentence}. All others are significantly lower (5 % level)." if len(found) > 1 else f"{sentence}."


def notes(runs: Sequence[Run]) -> list[str]:
    """Why the accuracies may not be comparable."""
    digests = {run.data.get("digest") for run in runs if (run.path / "data.json").exists()}
    found = ["The runs were trained and tested on different images: their accuracies cannot be compared."] * (len(digests) > 1)
    return [*found, "Intervals cover the choice of test images. Accuracies also vary with the seed."]


def costs(run: Run, name: str) -> Content:
    """The cost of a run."""
    cost, metrics = cost_of(with_sizes(run.spec)), run.metrics
    return {
        "run": name,
        "network": described(run.spec),
        "parameters": cost.trainable,
        "multiply-adds": cost.multiply_adds,
        "int8 file, kB": round(cost.tflite_int8 / 1e3),
        "epochs": metrics.get("epochs"),
        "images per second": metrics.get("images_per_second"),
        "seconds": metrics.get("train_seconds"),
    }


def curves(folders: dict[str, Path], columns: Sequence[tuple[str, str, int, str, bool]] = VALIDATION) -> list[Chart]:
    """Charts of columns of the histories of runs: `folders` by the name of the run in the charts."""
    files = {name: folder / "history.csv" for name, folder in folders.items()}
    tables = {name: history_in(file) if file.is_file() else None for name, file in files.items()}
    charts = []
    for column, title, factor, unit, log in columns:
        series = [
            Series(name, range(1, len(table) + 1), [factor * float(value) for value in table[column]], place, place >= COLOURS)
            for place, (name, table) in enumerate(tables.items())
            if table is not None and column in (table.dtype.names or ())
        ]
        charts += [lines(title, series, unit=unit, log=log)] if series else []
    return charts


def differences(runs: Sequence[Run], names: list[str]) -> list[Content]:
    """Fields that differ between the runs, with a column for each run."""
    rows = []
    for of, fields in (
        ("network", [asdict(run.spec) for run in runs]),
        ("recipe", [recipe(run) for run in runs]),
        ("training", [training(run) for run in runs]),
    ):
        for field in dict.fromkeys(field for each in fields for field in each):
            values = [facts.brief(each[field]) if field in each else "-" for each in fields]
            if len(set(values)) > 1:
                rows.append({"of": of, "field": field, **dict(zip(names, values, strict=True))})
    return rows


def recipe(run: Run) -> Content:
    """The fields of a run's recipe, if it has one."""
    return asdict(run.recipe) if run.was_trained else {}


def training(run: Run) -> Content:
    """Images, seed, initial weights and teachers of a run."""
    teachers = [teacher["digest"] for teacher in run.metrics.get("teachers", [])]
    known = {"images": facts.source_of(run), "seed": run.metrics.get("seed"), "initial weights": run.metrics.get("init")}
    return {**known, "teachers": ", ".join(teachers) or None}
