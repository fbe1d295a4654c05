"""What a person wants to know of a trained network: recall and precision of each class, the confusion matrix, the mistakes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.confidence import interval
from keras_resnet.plot_files import save_plot

NUMBERED = 30  # classes up to which the picture of a matrix has names and numbers
LONGEST = 24  # characters of a class name in it
MISTAKES = 20  # that are listed


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Logits (..., classes) as shares that sum to 1."""
    powers = np.exp(outputs - outputs.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def counted(answers: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Confusion matrix (classes, classes) of answers and labels (images,): images of each true class (rows) by predicted class."""
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, answers), 1)
    return counts


def mistakes(
    answers: np.ndarray, confidences: np.ndarray, labels: np.ndarray, class_names: Sequence[str], names: Sequence[str]
) -> list[dict[str, Any]]:
    """The images that were put into a wrong class with the highest probability, at most 20, the highest first.

    Args:
        answers, confidences, labels: predicted class, its probability, and true class of each image: (images,).
        class_names: in the order of the classes.
        names: a file or another name of each image.
    """
    wrong = np.flatnonzero(answers != labels)
    order = wrong[np.argsort(-confidences[wrong], kind="stable")][:MISTAKES]
    return [
        {
            "image": names[place],
            "class": class_names[labels[place]],
            "predicted": class_names[answers[place]],
            "probability": round(float(confidences[place]), 4),
        }
        for place in order
    ]


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
        save_plot(figure, path, dpi=120)
        return
    names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in class_names]
    axes.set_xticks(range(classes), names, rotation=90 if max(map(len, names)) > 2 else 0, parse_math=False)
    axes.set_yticks(range(classes), names, parse_math=False)  # a $ in a name begins no formula
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    save_plot(figure, path, dpi=120)
