"""The check of an exported file: it is run on the test images in its own runtime and compared with the Keras model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnet.data import Dataset
from keras_resnet.errors import InputError
from keras_resnet.export.operations import boundaries, operations
from keras_resnet.export.pictures import check_pictures, encoded, picture_of
from keras_resnet.export.supported import Source
from keras_resnet.export.targets import MAX_DIFFERENCE, Target
from keras_resnet.files.model_file import ModelFile, size
from keras_resnet.files.predictions import interval, outputs_of, probabilities, top1, top1_accuracy
from keras_resnet.files.runtimes import kind_of
from keras_resnet.networks.connections import gives_probabilities

THREADS = (1, 2)
SECONDS = 1.0  # that the measurement of a latency should take
FEWEST, MOST = 10, 200  # runs of it
FEW = 8  # images that the other signatures of a SavedModel are tried on


@dataclass(frozen=True, kw_only=True)
class Check:
    """One exported file against the Keras model on the same images."""

    file: str
    bytes: int
    max_difference: float | None = None
    """Largest absolute difference of any output; None if the file does not run."""
    mean_difference: float | None = None
    """Mean absolute difference of the outputs."""
    top1_agreement: float = 0.0
    """Share of images with the same top-1 answer."""
    accuracy: float = 0.0
    accuracy_interval: tuple[float, float] = (0.0, 1.0)
    """Where the accuracy on all such images is, with 95 % confidence (Wilson's score interval)."""
    keras_accuracy: float
    images: int
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    """Milliseconds for one image, median and 95th percentile, by the number of threads."""
    peak_memory: int | None = None
    """Bytes that opening it and running single images took, its runtime not counted."""
    operations: dict[str, int] = field(default_factory=dict)
    """How many of each kind are in the file."""
    passed: bool
    problem: str = ""
    """Which tolerance was missed and by how much; empty if none."""


def expected(reference: np.ndarray, target: Target, are_probabilities: bool) -> np.ndarray:
    """The outputs that a file should have where the Keras model has `reference` (images, classes)."""
    if target.output == "logits":
        return reference
    shares = reference if are_probabilities else probabilities(reference)
    if not target.best:
        return shares
    classes = np.argsort(-shares, axis=1, kind="stable")[:, : target.best]
    return np.stack([np.take_along_axis(shares, classes, 1), classes.astype(shares.dtype)], axis=-1)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What files are compared with: the images, and the outputs of the Keras model for them."""

    data: Dataset
    outputs: np.ndarray
    are_probabilities: bool

    @classmethod
    def of(cls, source: Source, data: Dataset) -> "Reference":
        with keras.device("cpu"):  # a GPU rounds otherwise, and files are run on processors
            outputs = outputs_of(lambda images: source.model.predict_on_batch(images.astype("float32")), data)
        return cls(data=data, outputs=outputs, are_probabilities=gives_probabilities(source.model))

    def differences(self, outputs: np.ndarray, expected: np.ndarray, target: Target) -> np.ndarray:
        """How far outputs are from the expected ones; of the best classes also how far from the model's scores of those classes,
        since two may be as good."""
        if not target.best:
            return np.abs(outputs - expected)
        shares = self.outputs if self.are_probabilities else probabilities(self.outputs)
        scores = np.take_along_axis(shares, outputs[..., 1].astype(int), 1)
        return np.maximum(np.abs(outputs[..., 0] - expected[..., 0]), np.abs(outputs[..., 0] - scores))

    def compare(
        self, target: Target, path: Path, tolerances: dict[str, float | None], on_images: Callable[[int], None] = lambda count: None
    ) -> Check:
        """Run the file at `path` over the test images, compare its outputs with the model's, and measure it."""
        labels = self.data.splits["test"].labels
        facts: dict[str, Any] = {
            "file": target.file,
            "bytes": size(path),
            "images": len(labels),
            "keras_accuracy": top1_accuracy(self.outputs, labels),
        }
        try:
            facts |= self.measure(path, on_images)
            facts["operations"] = operations(path)
            for image in boundaries(path).get("inputs", ()):
                if image["type"] != target.pixels:
                    raise InputError(f"it takes {image['type']} pixels, and not {target.pixels}")
        except InputError as error:
            facts.pop("outputs", None)
            return Check(**facts, passed=False, problem=str(error))
        outputs, reference = facts.pop("outputs"), expected(self.outputs, target, self.are_probabilities)
        differences = self.differences(outputs, reference, target)
        facts |= {
            "max_difference": float(np.max(differences)),
            "mean_difference": float(np.mean(differences)),
            "top1_agreement": float(np.mean(top1(outputs) == top1(reference))),
            "accuracy": top1_accuracy(outputs, labels),
        }
        facts["accuracy_interval"] = interval(facts["accuracy"], len(labels))
        problem = missed(target, facts["top1_agreement"], facts["max_difference"], reference, tolerances)
        return Check(**facts, passed=not problem, problem=problem)

    def measure(self, path: Path, on_images: Callable[[int], None]) -> dict[str, Any]:
        """The outputs of a file, its latency with each number of threads, and its memory with one."""
        facts: dict[str, Any] = {"latency_ms": {}}
        image = self.data.splits["test"].take(np.arange(1))
        for threads in THREADS:
            with ModelFile(path, threads=threads) as file:
                facts["latency_ms"][str(threads)] = latency(file, image)
                if threads == 1:
                    facts["peak_memory"] = file.peak_memory()
                else:
                    facts["outputs"] = outputs_of(file, self.data, "test", on_images)
                    if kind_of(path) == "saved_model":
                        self.check_signatures(file, facts["outputs"])
        return facts

    def check_signatures(self, file: ModelFile, outputs: np.ndarray) -> None:
        """InputError if a SavedModel answers float pixels or image files otherwise than it did integer pixels, or pictures of other
        shapes and kinds otherwise than their pixels."""
        images = self.data.splits["test"].take(np.arange(min(FEW, len(outputs))))
        inputs = {"float pixels": images.astype("float32")}
        if images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] in (1, 3):
            inputs["image files"] = np.array([encoded(picture_of(image), "PNG") for image in images])
        for kind, content in inputs.items():
            difference = float(np.max(np.abs(file(content) - outputs[: len(images)])))
            if difference > MAX_DIFFERENCE * max(1.0, float(np.max(np.abs(outputs)))):
                raise InputError(f"for {kind} its outputs differ by {difference:.2e} from those for integer pixels")
        if "image files" in inputs:
            check_pictures(file, images)


def latency(file: ModelFile, image: np.ndarray) -> dict[str, float]:
    """Milliseconds for one image, median and 95th percentile."""
    estimate = float(np.median(file.seconds(image, 3)))
    rounds = int(np.clip(SECONDS / max(estimate, 1e-6), FEWEST, MOST))
    milliseconds = 1000 * file.seconds(image, rounds)
    return {"median": float(np.median(milliseconds)), "p95": float(np.percentile(milliseconds, 95))}


def missed(target: Target, agreement: float, difference: float, reference: np.ndarray, tolerances: dict[str, float | None]) -> str:
    """Which tolerance a file misses and by how much, or nothing; `tolerances` replace those of the target where not None."""
    min_agreement, max_difference = tolerances.get("min_agreement"), tolerances.get("max_difference")
    if min_agreement is None:
        min_agreement = target.min_agreement
    if max_difference is None and target.max_difference is not None:
        max_difference = target.max_difference * max(1.0, float(np.max(np.abs(reference))))
    if not np.isfinite(difference):
        return "outputs are not finite"
    if agreement < min_agreement:
        return f"top-1 agreement {agreement:.4f} is below {min_agreement:g} by {min_agreement - agreement:.4f}"
    if max_difference is not None and difference > max_difference:
        return f"largest difference {difference:.2e} is above {max_difference:.2e} by {difference - max_difference:.2e}"
    return ""
