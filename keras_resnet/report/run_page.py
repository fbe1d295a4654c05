"""The page of one run. What is missing is said in a line where it would be."""

from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.errors import InputError, not_installed
from keras_resnet.json_files import read_json
from keras_resnet.networks.cost import Cost, cost_of
from keras_resnet.networks.drawing import image, pictures, short, with_sizes
from keras_resnet.report import facts as told
from keras_resnet.report.charts import Chart, Series, lines, reliability
from keras_resnet.report.pixels import matrix_uri, neighbours
from keras_resnet.report.templates import drawn, percent, render
from keras_resnet.runs.evaluation import NUMBERED, of_class, report
from keras_resnet.runs.history import history_in
from keras_resnet.runs.run import Run

MOST_CLASSES, WORST, CONFUSED = 30, 15, 12  # rows of tables: of more classes the worst, and the others on demand
SPLITS = ("validation", "test")
CALIBRATED = (
    "Each bar has the images whose highest probability is within its range, and goes up to the share of right answers, with a 95 % "
    "interval. For a calibrated network the bars end at the dotted line: where they end below it, the network is too sure. The "
    "expected calibration error is the mean distance from that line (arXiv:1706.04599, 15 ranges)."
)

Content = dict[str, Any]


def run_page(run: Run, source: Any = None, data_dir: str | Path | None = None) -> str:
    """The page of a run.

    Args:
        source: images instead of those of the run, see `keras_resnet.data.to_evaluate`.
        data_dir: where TensorFlow Datasets keeps its files.
    """
    reasons: dict[str, str] = {}
    content = {
        "title": f"A training: {run.path.resolve().name}",
        "facts": told.facts(run),
        "command": told.command(run),
        **curves(run, reasons),
        **accuracies(run, reasons),
        **of_model(run, source, data_dir, reasons),
        **network(run, reasons),
        "exports": exports(run, reasons),
    }
    if not content["command"]:
        reasons["command"] = (
            "There is no command that trains it again: its images were arrays of a script, or its weights come from elsewhere."
        )
    return render("run", reasons=reasons, **content)


def curves(run: Run, reasons: dict[str, str]) -> Content:
    """Accuracy, loss and learning rate by epoch."""
    path = run.path / "history.csv"
    history = history_in(path) if path.is_file() else None
    if history is None:
        reasons["curves"] = "There are no curves: the run has no history.csv that can be read."
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
    """A line without a name needs no key."""
    return chart._replace(legend=[series for series in chart.legend if series.label])


def accuracies(run: Run, reasons: dict[str, str]) -> Content:
    """Accuracy with its interval of each split, as the run has it, and the numbers at the head of the page."""
    rows, tiles = [], []
    for split in SPLITS:
        if found := told.accuracy(run, split):
            ends = f"{percent(found['interval'][0])} to {percent(found['interval'][1])}"
            row = {"split": split, "accuracy": percent(found["accuracy"]), "95 % interval": ends, "images": found["images"]}
            rows.append({**row, **({"loss": found["loss"]} if found["loss"] is not None else {})})
            tiles.append((f"{split} accuracy", percent(found["accuracy"]), f"{ends}, {found['images']:,} images"))
    if len({tuple(row) for row in rows}) > 1:
        rows = [{name: value for name, value in row.items() if name != "loss"} for row in rows]
    if missing := [split for split in SPLITS if not told.accuracy(run, split)]:
        reasons["accuracies"] = f"The run has no accuracy of {' and '.join(missing)} images."
    return {"accuracies": rows, "tiles": tiles[::-1]}


def of_model(run: Run, source: Any, data_dir: Any, reasons: dict[str, str]) -> Content:
    """Classes, confusions, calibration and mistakes: by the model, or, where there are no images for it, as the run has them."""
    nothing: Content = {
        "counts": None,
        "pixels": None,
        "shared": 1,
        "confused": [],
        "reliability": None,
        "mistakes": [],
        "listed": [],
    }
    nothing |= {"classes": [], "worst": [], "measured_on": "", "tiny": False, "class_names": [], "tall": False}
    nothing |= {"most_classes": MOST_CLASSES, "opacity": opacity}
    try:
        return nothing | measured_by_model(run, source, data_dir, reasons)
    except (InputError, OSError) as error:
        why = str(error)
    except ModuleNotFoundError as error:
        why = not_installed(error.name)
    reasons["measured"] = f"Calibration and pictures of mistakes need the images of the run: {why}."
    return nothing | as_stored(run, reasons)


def measured_by_model(run: Run, source: Any, data_dir: Any, reasons: dict[str, str]) -> Content:
    """What the model says of the test images, or of all images of another source."""
    from keras_resnet.data import to_evaluate
    from keras_resnet.report.measured import calibration, measure, pictured_mistakes, where_seen

    split = "all" if source is not None else "test"
    found = measure(run, to_evaluate(run, source, data_dir), split)
    bins, error = calibration(found.confidences, found.answers == found.examples.labels)
    explanation = f"{CALIBRATED} Mean probability {percent(float(found.confidences.mean()))}, right answers "
    explanation += f"{percent(float((found.answers == found.examples.labels).mean()))}, {len(found.examples):,} images."
    chart = reliability(bins, error)._replace(explanation=explanation)
    mistakes: list[Content] = []
    if not len(found.wrong):
        reasons["mistakes"] = f"There are no mistakes: all {len(found.examples):,} images are put into their class."
    elif run.spec.is_of_pictures:
        mistakes = pictured_mistakes(found, where_seen)
    else:
        reasons["mistakes"] = "Mistakes have no pictures: the network takes no grey or colour images."
    where = f"{len(found.examples):,} {'images of other data' if source is not None else 'test images'}"
    tiny = max(size or 0 for size in found.examples.take(np.array([0])).shape[1:-1]) <= 64
    return {
        **of_counts(found.counts, run.class_names),
        "reliability": chart,
        "mistakes": mistakes,
        "measured_on": where,
        "tiny": tiny,
    }


def as_stored(run: Run, reasons: dict[str, str]) -> Content:
    """The same of the test images as the training has counted them."""
    test = run.metrics.get("test", {})
    if "confusion_matrix" in test:
        counts = np.array(test["confusion_matrix"])
        if counts.shape != (len(run.class_names),) * 2 or not counts.sum():
            raise InputError(f"{str(run.path / 'metrics.json')!r} is damaged: its confusion matrix is that of other classes")
        return {
            **of_counts(counts, run.class_names),
            "listed": test.get("mistakes", []),
            "measured_on": f"{counts.sum():,} test images",
        }
    if {"images_by_class", "recall", "precision"} <= test.keys():
        rows = []
        for name in run.class_names:
            images, recall = test["images_by_class"].get(name, 0), test["recall"].get(name)
            row = of_class(round((recall or 0) * images), images, 0)
            rows.append({"class": name, **row, "precision": test["precision"].get(name)})
        return {**by_recall(rows), "listed": test.get("mistakes", []), "measured_on": f"{test.get('images', 0):,} test images"}
    reasons["classes"] = "There is no table of classes: the run has no results of single classes."
    return {}


def of_counts(counts: np.ndarray, names: list[str]) -> Content:
    """The table of classes, the confusion matrix as numbers or as pixels, and what is confused most often."""
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
        {"counts": counts.tolist()} if len(names) <= NUMBERED else {"pixels": matrix_uri(counts), "shared": neighbours(len(names))}
    )
    tall = max(map(len, names)) > 3
    return {**by_recall(report(counts, names)["classes"]), **matrix, "confused": confused, "class_names": names, "tall": tall}


def by_recall(rows: list[Content]) -> Content:
    """All classes, and of many those with the lowest recall."""
    known = [row for row in rows if row["recall"] is not None]
    return {"classes": rows, "worst": sorted(known, key=lambda row: row["recall"])[:WORST]}


def opacity(count: int, row: list[int]) -> str:
    """Of the colour of a number in a confusion matrix: the larger the share of its row, the stronger."""
    return f"{0.12 + 0.6 * count / sum(row):.2f}"


def network(run: Run, reasons: dict[str, str]) -> Content:
    """The drawing of the network, and the cost of its stages."""
    name = told.network_of(run)
    sized = with_sizes(run.spec)
    cost = cost_of(sized)
    drawings = [drawn(image(picture, described=f"{name[0]}, drawn")) for picture in pictures(run.spec, run.path.resolve().name)]
    stages = [
        {
            "part": row["part"],
            "units": row["units"],
            "output": row["output"].replace("x", "×"),
            "parameters": row["trainable"],
            "multiply-adds": row["multiply_adds"],
            "receptive field": row["receptive_field"],
        }
        for row in cost.parts
    ]
    return {"drawing": drawings, "stages": stages, "sizes": sizes(cost), "subtitle": subtitle(run, cost)}


def subtitle(run: Run, cost: Cost) -> str:
    """The network, its images and its cost in a line."""
    source = told.source_of(run)
    amounts = f"{short(cost.trainable)} parameters, {short(cost.multiply_adds)} multiply-adds an image"
    return f"{told.network_of(run)[0]}{f' on {source}' * bool(source)}: {amounts}"


def sizes(cost: Cost) -> str:
    """Memory and files in a line."""
    return (
        f"Activations of one image take at most {short(cost.inference_memory)}B in inference and {short(cost.training_memory)}B in "
        f"training. A .tflite file has about {short(cost.tflite_float32)}B in float32 and {short(cost.tflite_int8)}B in int8."
    )


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
        "95 % interval": "{} to {}".format(*map(percent, row["accuracy_interval"])),
        "Keras": percent(row["keras_accuracy"]),
        "largest difference": row["max_difference"],
        "ms an image": latency["median"] if latency else None,
    }
