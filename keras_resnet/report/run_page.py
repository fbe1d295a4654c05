"""The page of one run. Where a section cannot be shown, a line says why."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnet.confidence import interval
from keras_resnet.errors import InputError, not_installed
from keras_resnet.json_files import read_json
from keras_resnet.report import facts
from keras_resnet.report.charts import Chart, Series, lines, reliability
from keras_resnet.report.network import network
from keras_resnet.report.pixels import matrix_uri, neighbours
from keras_resnet.report.templates import percent, render
from keras_resnet.runs.evaluation import NUMBERED, of_class, report
from keras_resnet.runs.history import history_in
from keras_resnet.runs.run import Run

if TYPE_CHECKING:
    from keras_resnet.report.measured import Measured

MOST_CLASSES, WORST, CONFUSED = 30, 15, 12  # rows of tables; with more classes, the worst are shown and the others folded
TINY = 64  # pixels along a side, up to which an image is enlarged without interpolation
SPLITS = ("validation", "test")
CALIBRATED = (
    "The confidence of an image is its highest predicted probability. Each bar is the accuracy of the images in one of 15 bins of "
    "confidence, with its 95 % interval. The bars of a calibrated network end at the dotted line; where they end below it, the "
    "network is overconfident. The expected calibration error (arXiv:1706.04599) is the mean over the images of the difference "
    "between accuracy and mean confidence of their bin."
)

Content = dict[str, Any]


EMPTY: Content = {
    **dict.fromkeys(("classes", "worst", "confused", "mistakes", "stored_mistakes", "others", "profiles", "class_names"), []),
    **{"counts": None, "pixels": None, "classes_per_pixel": 1, "reliability": None, "tiny": False, "rotate_names": False},
    **{"profiled_on": "", "measured_on": ""},
}
"""What the template needs of `measured_by_model` or `as_stored`, where a run has none of it."""


def run_page(run: Run, source: Any = None, data_dir: str | Path | None = None) -> str:
    """The page of a run.

    Args:
        source: images instead of those of the run, see `keras_resnet.data.to_evaluate`.
        data_dir: where TensorFlow Datasets keeps its files.
    """
    reasons: dict[str, str] = {}
    content = {
        "title": f"Run {run.path.resolve().name}",
        "facts": facts.summary(run),
        "command": facts.command(run),
        **curves(run, reasons),
        **accuracies(run, reasons),
        **of_model(run, source, data_dir, reasons),
        **network(run),
        "exports": exports(run, reasons),
    }
    if not content["command"]:
        reasons["command"] = (
            "No command of this package can repeat the training: its images were arrays of a script, or its weights come from"
            " elsewhere."
        )
    return render("run", reasons=reasons, most_classes=MOST_CLASSES, opacity=opacity, **content)


def curves(run: Run, reasons: dict[str, str]) -> Content:
    """Accuracy, loss and learning rate by epoch."""
    path = run.path / "history.csv"
    history = history_in(path) if path.is_file() else None
    if history is None:
        reasons["curves"] = "There are no curves: the run has no readable history.csv."
        return {"curves": [], "curves_note": ""}
    epochs, columns = list(range(1, len(history) + 1)), set(history.dtype.names or ())
    one_loss = run.was_trained and run.recipe.is_cross_entropy
    names = {"loss": "training" if one_loss else "training (loss of the recipe)", "val_loss": "validation (cross-entropy)"}
    names |= {"val_loss": "validation"} if one_loss else {}
    kept = run.metrics.get("kept_epoch")

    def series(column: str, label: str, factor: float = 1.0) -> list[Series]:
        is_validation = column.startswith("val_")
        values = [factor * float(value) for value in history[column]] if column in columns else []
        return [Series(label, epochs, values, int(is_validation), not is_validation)] if column in columns else []

    found = [
        ("accuracy", "%", False, [*series("accuracy", "training", 100), *series("val_accuracy", "validation", 100)]),
        ("loss", "", True, [each for column, label in names.items() for each in series(column, label)]),
        ("learning rate", "", False, [each._replace(colour=2, dashed=False) for each in series("learning_rate", "")]),
    ]
    drawings = [lines(title, each, unit=unit, log=log, mark=kept) for title, unit, log, each in found if each]
    note = f"The dotted line is the epoch whose weights are kept, {kept}." if kept else ""
    note = "The weights of the last epoch are kept." if kept == len(history) else note
    return {"curves": [without_lone_key(chart) for chart in drawings], "curves_note": note}


def without_lone_key(chart: Chart) -> Chart:
    """The chart without legend entries for lines that have no name."""
    return chart._replace(legend=[series for series in chart.legend if series.label])


def accuracies(run: Run, reasons: dict[str, str]) -> Content:
    """The accuracy of each split with its interval, as stored in the run, for the table and for the top of the page."""
    found = {split: row for split in SPLITS if (row := facts.accuracy(run, split))}
    tiles = [
        (f"{split} accuracy", percent(row["accuracy"]), f"{ends_of(row['interval'])}, {row['images']:,} images")
        for split, row in found.items()
    ]
    if missing := [split for split in SPLITS if split not in found]:
        reasons["accuracies"] = f"The run has no accuracy of {' and '.join(missing)} images."
    rows = [{**accuracy_row(split, row["accuracy"], row["images"]), "loss": row["loss"]} for split, row in found.items()]
    return {"accuracies": rows, "tiles": tiles[::-1]}


def accuracy_row(split: str, accuracy: float, images: int) -> Content:
    """An accuracy with its interval, for a table."""
    return {"split": split, "accuracy": percent(accuracy), "95 % interval": ends_of(interval(accuracy, images)), "images": images}


def ends_of(ends: tuple[float, float]) -> str:
    """An interval as text, in percent."""
    return f"{percent(ends[0])} to {percent(ends[1])}"


def of_model(run: Run, source: Any, data_dir: Any, reasons: dict[str, str]) -> Content:
    """Classes, confusions, calibration and mistakes: measured with the model or, without images, as stored in the run."""
    try:
        return EMPTY | measured_by_model(run, source, data_dir, reasons)
    except (InputError, OSError) as error:
        why = str(error)
    except ModuleNotFoundError as error:
        why = not_installed(error.name)
    reasons["measured"] = f"Calibration and pictures of mistakes are left out: {why}."
    return EMPTY | as_stored(run, reasons)


def measured_by_model(run: Run, source: Any, data_dir: Any, reasons: dict[str, str]) -> Content:
    """The results of the model on the test images, or on all images of another source."""
    from keras_resnet.data import to_evaluate
    from keras_resnet.report.measured import measure

    is_own = source is None
    found = measure(run, to_evaluate(run, source, data_dir), "test" if is_own else "all")
    accuracy, images = float((found.answers == found.examples.labels).mean()), len(found.examples)
    return {
        **of_counts(found.counts, run.class_names),
        "measured_on": f"{images:,} {'test images' if is_own else 'other images'}",
        "others": [] if is_own else [{**accuracy_row("other images", accuracy, images), "loss": None}],
        "reliability": calibrated(found),
        **mistaken(found, reasons),
        **profiled(found, reasons),
    }


def calibrated(found: "Measured") -> Chart:
    """The reliability diagram, and how to read it."""
    from keras_resnet.report.measured import calibration

    is_right = found.answers == found.examples.labels
    bins, error = calibration(found.confidences, is_right)
    means = f"Mean confidence {percent(float(found.confidences.mean()))}, accuracy {percent(float(is_right.mean()))}"
    return reliability(bins, error)._replace(explanation=f"{CALIBRATED} {means}, {len(is_right):,} images.")


def mistaken(found: "Measured", reasons: dict[str, str]) -> Content:
    """Pictures of the most confident mistakes."""
    from keras_resnet.report.measured import pictured_mistakes, where_seen

    if not len(found.wrong):
        reasons["mistakes"] = f"There are no mistakes: all {len(found.examples):,} images are classified correctly."
        return {}
    if not found.run.spec.is_of_pictures:
        reasons["mistakes"] = "Mistakes are shown for grey and colour images only, and this network takes other inputs."
        return {}
    largest = max(found.examples.take(found.wrong[:1]).shape[1:-1])
    return {"mistakes": pictured_mistakes(found, where_seen), "tiny": largest <= TINY}


def profiled(found: "Measured", reasons: dict[str, str]) -> Content:
    """Responses and gradients over the depth of the network."""
    from keras_resnet.report.profiles import profiles

    try:
        charts, images = profiles(found)
    except InputError as error:
        reasons["profiles"] = f"Responses and gradients are left out: {error}."
        return {}
    return {"profiles": charts, "profiled_on": f"{images} of the {found.split if found.split != 'all' else 'other'} images"}


def as_stored(run: Run, reasons: dict[str, str]) -> Content:
    """The results on the test images that the training has stored."""
    test = run.metrics.get("test", {})
    if "confusion_matrix" in test:
        counts = np.array(test["confusion_matrix"])
        if counts.shape != (len(run.class_names),) * 2 or not counts.sum():
            raise InputError(f"{str(run.path / 'metrics.json')!r} is damaged: its confusion matrix does not fit the classes")
        return {
            **of_counts(counts, run.class_names),
            "stored_mistakes": test.get("mistakes", []),
            "measured_on": f"{counts.sum():,} test images",
        }
    if {"images_by_class", "recall", "precision"} <= test.keys():
        rows = []
        for name in run.class_names:
            images, recall = test["images_by_class"].get(name, 0), test["recall"].get(name)
            row = of_class(round((recall or 0) * images), images, 0)
            rows.append({"class": name, **row, "precision": test["precision"].get(name)})
        return {
            **by_recall(rows),
            "stored_mistakes": test.get("mistakes", []),
            "measured_on": f"{test.get('images', 0):,} test images",
        }
    reasons["classes"] = "There is no table of classes: metrics.json does not have precision and images of each class."
    return {}


def of_counts(counts: np.ndarray, names: list[str]) -> Content:
    """The table of classes, the confusion matrix as numbers or as pixels, and the most frequent confusions."""
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSED]
    pairs = [divmod(int(place), len(names)) for place in order if wrong.flat[place]]
    confused = [
        {
            "true class": names[true],
            "predicted class": names[answer],
            "images": int(counts[true, answer]),
            "share of the class": percent(counts[true, answer] / counts[true].sum()),
        }
        for true, answer in pairs
    ]
    matrix = (
        {"counts": counts.tolist()}
        if len(names) <= NUMBERED
        else {"pixels": matrix_uri(counts), "classes_per_pixel": neighbours(len(names))}
    )
    is_long = max(map(len, names)) > 3
    return {
        **by_recall(report(counts, names)["classes"]),
        **matrix,
        "confused": confused,
        "class_names": names,
        "rotate_names": is_long,
    }


def by_recall(rows: list[Content]) -> Content:
    """All classes, and those with the lowest recall."""
    known = [row for row in rows if row["recall"] is not None]
    return {"classes": rows, "worst": sorted(known, key=lambda row: row["recall"])[:WORST]}


def opacity(count: int, row: list[int]) -> str:
    """The opacity of a cell of a confusion matrix, by its share of the row."""
    return f"{0.12 + 0.6 * count / sum(row):.2f}"


def exports(run: Run, reasons: dict[str, str]) -> list[Content]:
    """The checks of the exported files."""
    from keras_resnet.export.report import is_check

    path = run.export_path / "report.json"
    if not path.is_file():
        reasons["exports"] = "The run has no exported files: keras-resnet export writes and checks them."
        return []
    rows = [row for row in read_json(path, list[dict[str, Any]]) if is_check(row)]
    return [export_row(row) for row in rows]


def export_row(row: Content) -> Content:
    """An exported file beside the Keras model."""
    latency = row["latency_ms"].get("1")
    return {
        "file": row["file"],
        "verdict": row["verdict"],
        "kB": round(row["bytes"] / 1e3),
        "agreement": percent(row["top1_agreement"]),
        "accuracy": percent(row["accuracy"]),
        "95 % interval": ends_of(row["accuracy_interval"]),
        "Keras": percent(row["keras_accuracy"]),
        "largest difference": row["max_difference"],
        "ms per image": latency["median"] if latency else None,
    }
