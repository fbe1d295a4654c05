"""The proof of an exported file: run over the images in its own runtime, and held against the Keras model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.answers import interval, outputs_of, probabilities, top1, top1_accuracy
from keras_resnet.artefact import Artefact, size
from keras_resnet.data import Dataset
from keras_resnet.errors import InputError
from keras_resnet.export.operations import operations
from keras_resnet.export.targets import Target

THREADS = (1, 2)
SECONDS = 1.0  # that the measurement of a latency should take
FEWEST, MOST = 10, 200  # runs of it


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
    """What a file should put out where the Keras model puts out `reference` (images, classes)."""
    if target.output == "logits":
        return reference
    shares = reference if are_probabilities else probabilities(reference)
    if not target.best:
        return shares
    classes = np.argsort(-shares, axis=1, kind="stable")[:, : target.best]
    return np.stack([np.take_along_axis(shares, classes, 1), classes.astype(shares.dtype)], axis=-1)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What files are held against: the images, and the outputs of the Keras model for them."""

    data: Dataset
    outputs: np.ndarray
    are_probabilities: bool

    def compare(
        self,
        target: Target,
        path: Path,
        tolerances: dict[str, float | None],
        on_images: Callable[[int], None] = lambda count: None,
    ) -> Check:
        """Run the file at `path` over the test images, hold its outputs against the model's, and measure it."""
        labels = self.data.splits["test"].labels
        facts: dict[str, Any] = {
            "file": target.file,
            "bytes": size(path),
            "images": len(labels),
            "keras_accuracy": top1_accuracy(self.outputs, labels),
        }
        try:
            facts |= self.measured(path, on_images)
            facts["operations"] = operations(path)
        except InputError as error:
            return Check(**facts, passed=False, problem=str(error))
        outputs, wanted = facts.pop("outputs"), expected(self.outputs, target, self.are_probabilities)
        differences = np.abs(outputs - wanted)[..., 0] if target.best else np.abs(outputs - wanted)
        facts |= {
            "max_difference": float(np.max(differences)),
            "mean_difference": float(np.mean(differences)),
            "top1_agreement": float(np.mean(top1(outputs) == top1(wanted))),
            "accuracy": top1_accuracy(outputs, labels),
        }
        facts["accuracy_interval"] = interval(facts["accuracy"], len(labels))
        problem = missed(target, facts["top1_agreement"], facts["max_difference"], wanted, tolerances)
        return Check(**facts, passed=not problem, problem=problem)

    def measured(self, path: Path, on_images: Callable[[int], None]) -> dict[str, Any]:
        """The outputs of a file, its latency with each number of threads, and its memory with one."""
        facts: dict[str, Any] = {"latency_ms": {}}
        image = self.data.splits["test"].take(np.arange(1))
        for threads in THREADS:
            artefact = Artefact(path, threads=threads)
            facts["latency_ms"][str(threads)] = latency(artefact, image)
            if threads == 1:
                facts["peak_memory"] = artefact.peak_memory()
            else:
                facts["outputs"] = outputs_of(artefact, self.data, "test", on_images)
            artefact.close()
        return facts


def latency(artefact: Artefact, image: np.ndarray) -> dict[str, float]:
    """Milliseconds for one image, median and 95th percentile."""
    first = float(np.median(artefact.seconds(image, 3)))
    rounds = int(np.clip(SECONDS / max(first, 1e-6), FEWEST, MOST))
    milliseconds = 1000 * artefact.seconds(image, rounds)
    return {"median": float(np.median(milliseconds)), "p95": float(np.percentile(milliseconds, 95))}


def missed(target: Target, agreement: float, difference: float, wanted: np.ndarray, tolerances: dict[str, float | None]) -> str:
    """Which tolerance a file misses and by how much, or nothing; `tolerances` replace those of the target where not None."""
    chosen = {name: value for name, value in tolerances.items() if value is not None}
    least = chosen.get("min_agreement", target.min_agreement)
    most = chosen.get("max_difference", target.max_difference)
    if not np.isfinite(difference):
        return "outputs are not finite"
    if agreement < least:
        return f"top-1 agreement {agreement:.4f} is below {least:g} by {least - agreement:.4f}"
    if most is not None:
        if "max_difference" not in chosen:
            most *= max(1.0, float(np.max(np.abs(wanted))))
        if difference > most:
            return f"largest difference {difference:.2e} is above {most:.2e} by {difference - most:.2e}"
    return ""
