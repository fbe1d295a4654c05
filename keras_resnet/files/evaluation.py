"""Evaluation of a model on labelled images: recall and precision of each class, and the confusion matrix."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.confidence import interval
from keras_resnet.errors import InputError
from keras_resnet.files.predictions import top1

NUMBERED = 30  # classes up to which the picture of a matrix has names and numbers
LONGEST = 24  # characters of a class name in it


def confusion(outputs: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Confusion matrix: images of each true class (rows) by predicted class (columns), (classes, classes).

    Args:
        outputs: of `runtimes.Runner`: (images, classes), or (images, k, 2) of a file that gives the best classes.
        labels: (images,).
        classes: those of the labels. InputError, see `check_outputs`.
    """
    check_outputs(outputs, classes)
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, top1(outputs)), 1)
    return counts


def check_outputs(outputs: np.ndarray, classes: int) -> None:
    """InputError for outputs of a file, see `confusion`, that are those of other classes than so many, or no finite numbers."""
    if not np.isfinite(outputs).all():
        raise InputError(
            "the file gives outputs that are not finite numbers: it is damaged, or the training of its network diverged"
        )
    are_of_best = outputs.ndim == 3
    if are_of_best and ((outputs[..., 1] % 1 != 0) | (outputs[..., 1] < 0)).any():
        raise InputError("the file gives numbers of classes that do not exist: it is damaged")
    given = int(outputs[..., 1].max(initial=0)) + 1 if are_of_best else outputs.shape[1]
    if given > classes or (given < classes and not are_of_best):
        least = "at least " * are_of_best
        raise InputError(f"the file gives {least}{given} classes, the run has {classes}: it is not an export of this run")


def report(counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """Accuracy, and recall and precision of each class, from a confusion matrix (classes, classes), with 95 % intervals of accuracy
    and recall.

    The balanced accuracy is the mean recall of the classes that have images. A precision is None if the class was never predicted,
    a recall if the class has no images.
    """
    images, hits = int(counts.sum()), counts.diagonal()
    classes = [
        {"class": name, **of_class(int(hit), int(own), int(answers))}
        for name, hit, own, answers in zip(class_names, hits, counts.sum(1), counts.sum(0), strict=True)
    ]
    recalls = [row["recall"] for row in classes if row["recall"] is not None]
    accuracy = float(hits.sum() / images)
    return {
        "images": images,
        "accuracy": accuracy,
        "accuracy_interval": interval(accuracy, images),
        "balanced_accuracy": float(np.mean(recalls)),
        "classes": classes,
        "confusion_matrix": counts.tolist(),
    }


def of_class(hits: int, images: int, answers: int) -> dict[str, Any]:
    """Recall and precision of a class with so many images and predictions, `hits` of them right."""
    return {
        "images": images,
        "precision": hits / answers if answers else None,
        "recall": hits / images if images else None,
        "recall_interval": interval(hits / images, images) if images else None,
    }


def plot_confusion(counts: np.ndarray, class_names: Sequence[str], path: Path) -> None:
    """A confusion matrix (classes, classes) as a PNG at `path`: colours are shares of a row, numbers are images."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    shares, classes = counts / np.maximum(counts.sum(1, keepdims=True), 1), len(class_names)
    side = min(3 + 0.45 * classes, 15)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xlabel="predicted class", ylabel="true class")
    figure.colorbar(picture, ax=axes, shrink=0.8, label="share of the images of a class")
    if classes > NUMBERED:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
        figure.savefig(path, dpi=120)
        return
    names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in class_names]
    axes.set_xticks(range(classes), names, rotation=90 if max(map(len, names)) > 2 else 0, parse_math=False)
    axes.set_yticks(range(classes), names, parse_math=False)  # a $ in a name begins no formula
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    figure.savefig(path, dpi=120)
