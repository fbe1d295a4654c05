"""The proof of an exported file: its outputs on the test images beside those of the Keras model, and the report."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.atomic import put_in_place, write_json
from keras_resnet.data import Dataset
from keras_resnet.errors import InputError
from keras_resnet.export.runtimes import Runner, open_artefact
from keras_resnet.export.targets import Target
from keras_resnet.spec import ResNetSpec


@dataclass(frozen=True, kw_only=True)
class Check:
    """One exported file against the Keras model on the same images."""

    file: str
    bytes: int
    max_difference: float | None = None
    """Largest absolute difference of any output (logit); None if the file does not run."""
    top1_agreement: float = 0.0
    """Share of images with the same top-1 answer."""
    accuracy: float = 0.0
    keras_accuracy: float
    images: int
    passed: bool
    problem: str = ""
    """Which tolerance was missed and by how much; empty if none."""


def outputs_of(runner: Runner, data: Dataset, split: str = "test") -> np.ndarray:
    """The outputs of `runner` on all images of a split, (images, classes)."""
    return np.concatenate([runner(images) for images, _ in data.batches(split).as_numpy_iterator()])


def accuracy(runner: Runner, data: Dataset, split: str = "test") -> float:
    """Share of the images of a split that `runner` puts into their class."""
    return top1_accuracy(outputs_of(runner, data, split), data.examples(split).labels)


def top1_accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows whose largest output is that of the label."""
    return float(np.mean(outputs.argmax(1) == labels))


def probabilities(outputs: np.ndarray, spec: ResNetSpec) -> np.ndarray:
    """Outputs of a network of `spec` as shares that sum to 1; those of a network that gives probabilities as they are."""
    if spec.classifier_activation:
        return outputs
    powers = np.exp(outputs - outputs.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def compare(target: Target, path: Path, reference: np.ndarray, data: Dataset, min_agreement: float | None = None) -> Check:
    """Run the file at `path` over the test images and hold its outputs against `reference`."""
    labels = data.splits["test"].labels
    facts: dict[str, Any] = {"file": target.file, "bytes": size(path), "images": len(labels)}
    keras_accuracy = top1_accuracy(reference, labels)
    try:
        outputs = outputs_of(open_artefact(path), data)
    except InputError as error:
        return Check(**facts, keras_accuracy=keras_accuracy, passed=False, problem=str(error))
    agreement = float(np.mean(outputs.argmax(1) == reference.argmax(1)))
    difference = float(np.max(np.abs(outputs - reference)))
    problem = _problem(target, agreement, difference, reference, min_agreement)
    return Check(
        **facts,
        max_difference=difference,
        top1_agreement=agreement,
        accuracy=top1_accuracy(outputs, labels),
        keras_accuracy=keras_accuracy,
        passed=not problem,
        problem=problem,
    )


def _problem(target: Target, agreement: float, difference: float, reference: np.ndarray, min_agreement: float | None) -> str:
    least = target.min_agreement if min_agreement is None else min_agreement
    if not np.isfinite(difference):
        return "outputs are not finite"
    if agreement < least:
        return f"top-1 agreement {agreement:.4f} is below {least:g} by {least - agreement:.4f}"
    if target.max_difference is not None:
        most = target.max_difference * max(1.0, float(np.max(np.abs(reference))))
        if difference > most:
            return f"largest difference {difference:.2e} is above {most:.2e} by {difference - most:.2e}"
    return ""


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def record(check: Check, folder: Path, scratch: Path) -> None:
    """Enter a check into `folder/report.json`. A failed one does not push out that of an older file which is still in place."""
    path = folder / "report.json"
    try:
        rows = {row["file"]: row for row in json.loads(path.read_text(encoding="utf-8"))}
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # none yet, or damaged
        rows = {}
    if check.passed or not (folder / check.file).exists():
        rows[check.file] = asdict(check)
    write_json(scratch / path.name, list(rows.values()))
    put_in_place(scratch / path.name, path)
