"""The model of a run on labelled images: probabilities, calibration, the most confident mistakes as pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from keras_resnet.data import Dataset
from keras_resnet.data.dataset import Split
from keras_resnet.files.predictions import outputs_of
from keras_resnet.report.charts import Bin
from keras_resnet.report.pixels import heat_uri, image_uri
from keras_resnet.runs.evaluation import counted, probabilities
from keras_resnet.runs.run import Run

BINS = 15  # as arXiv:1706.04599
PICTURES = 12  # mistakes that are shown

Heatmap = Callable[[Any, np.ndarray, np.ndarray], np.ndarray]
"""From a model, images (images, height, width, channels) and a class for each to heatmaps (images, height, width), not negative."""


@dataclass(frozen=True)
class Measured:
    """The images of a split, and the probabilities (images, classes) that the model of a run gives them."""

    run: Run
    model: Any
    examples: Split
    split: str
    shares: np.ndarray

    @cached_property
    def answers(self) -> np.ndarray:
        """The most probable class of each image."""
        return self.shares.argmax(1)

    @cached_property
    def confidences(self) -> np.ndarray:
        """The probability of that class."""
        return self.shares.max(1)

    @property
    def counts(self) -> np.ndarray:
        """Confusion matrix (classes, classes): images of each true class (rows) by predicted class."""
        return counted(self.answers, self.examples.labels, self.shares.shape[1])

    @property
    def wrong(self) -> np.ndarray:
        """Indices of the images with a wrong prediction, the most confident first."""
        wrong = np.flatnonzero(self.answers != self.examples.labels)
        return wrong[np.argsort(-self.confidences[wrong], kind="stable")]


def measure(run: Run, data: Dataset, split: str) -> Measured:
    """Run the network of `run` on all images of a split, in this process."""
    import keras

    model = run.load()
    outputs = outputs_of(lambda images: keras.ops.convert_to_numpy(model(images, training=False)), data, split)
    shares = probabilities(outputs) if run.spec.gives_logits else outputs
    return Measured(run, model, data.examples(split), split, shares)


def calibration(confidences: np.ndarray, is_right: np.ndarray) -> tuple[list[Bin | None], float]:
    """The images in 15 bins of confidence of equal width, and the expected calibration error: the mean over the images of the
    difference between accuracy and mean confidence of their bin, 0 to 1 (arXiv:1706.04599 eq. 3)."""
    places = np.clip(np.ceil(confidences * BINS).astype(int) - 1, 0, BINS - 1)  # a bin includes its upper end
    bins: list[Bin | None] = []
    for number in range(BINS):
        inside = places == number
        bins.append(
            Bin(int(inside.sum()), float(confidences[inside].mean()), float(is_right[inside].mean())) if inside.any() else None
        )
    return bins, sum(each.images * abs(each.accuracy - each.confidence) for each in bins if each) / len(confidences)


def where_seen(model: Any, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """A `Heatmap`: Grad-CAM on the last map."""
    from keras_resnet.analysis.heatmaps import grad_cam

    return grad_cam(model, images, classes=classes.tolist())


def pictured_mistakes(measured: Measured, heatmap: Heatmap) -> list[dict[str, Any]]:
    """The most confident mistakes with their pictures, and the heatmaps of the predicted classes."""
    places, names = measured.wrong[:PICTURES], measured.run.class_names
    images, answers, labels = measured.examples.take(places), measured.answers[places], measured.examples.labels[places]
    rows = zip(places, images, heatmap(measured.model, images, answers), answers, labels, strict=True)
    return [
        {
            "file": "/".join(measured.examples.name(int(place)).split("/")[-2:]),
            "class": names[label],
            "predicted": names[answer],
            "probability": float(measured.confidences[place]),
            "probability_of_class": float(measured.shares[place, label]),
            "picture": image_uri(image),
            "heat": heat_uri(image, heat / (heat.max() or 1)),
        }
        for place, image, heat, answer, label in rows
    ]
