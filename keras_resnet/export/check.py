"""The check of an exported file: it is run on images in its own runtime and compared with the Keras model."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnet.confidence import interval
from keras_resnet.data import Dataset
from keras_resnet.errors import InputError
from keras_resnet.export.comparison_images import COMPARED, sources, with_comparison_images
from keras_resnet.export.operations import boundaries, operations
from keras_resnet.export.pictures import check_pictures, encoded, picture_of
from keras_resnet.export.supported import Source
from keras_resnet.export.verdict import FAILED, PASSED, UNDECIDED, Findings, findings, judge, losses, moved_probabilities
from keras_resnet.files.model_file import ModelFile, size
from keras_resnet.files.predictions import outputs_of, probabilities, scores_alone, scores_by_value, top1, top1_accuracy
from keras_resnet.files.runtimes import kind_of
from keras_resnet.files.targets import MAX_DIFFERENCE, Target, scale_of

THREADS = (1, 2)
SECONDS = 1.0  # that the measurement of a latency should take
FEWEST, MOST = 10, 200  # runs of it
LIMIT = 3600.0  # seconds for a file that this process has made: integers of 16 bits may take minutes for an image
COMPILED = 64  # images that both runtimes of LiteRT are compared on
STEPS = 0.02  # of the `scale_of` outputs, that both may differ by where they round to integers
NO_LABELS = np.zeros(0, int)
FEW = 8  # images that the other signatures of a SavedModel are tried on


@dataclass(frozen=True, kw_only=True)
class Check(Findings):
    """One exported file against the Keras model on the same images."""

    file: str
    bytes: int
    images_from: dict[str, int]
    """Number of test images, and of validation and training images."""
    accuracy: float = 0.0
    """On the test images only, like all accuracies here."""
    accuracy_interval: tuple[float, float] = (0.0, 1.0)
    """95 % interval of the accuracy (Wilson's score interval)."""
    keras_accuracy: float
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    """Milliseconds for one image, median and 95th percentile, by the number of threads."""
    compiled_latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    """The same by LiteRT's CompiledModel, of a TFLite file; `latency_ms` is then by its Interpreter."""
    compiled_difference: float | None = None
    """Largest difference of an output by CompiledModel from that by the Interpreter, on the first 64 images."""
    compiled_problem: str = ""
    """Why CompiledModel does not run the file; empty if it does."""
    peak_memory: int | None = None
    """Bytes of memory to open it and run single images, without the runtime."""
    operations: dict[str, int] = field(default_factory=dict)
    """Number of operations of each kind."""
    accelerated_operations: int | None = None
    """Of a TFLite file: how many of them the Interpreter leaves to XNNPACK. CompiledModel, on the processor too, does not tell."""
    verdict: str = FAILED
    """passed, failed, or undecided (too few images)."""
    problem: str = ""
    """Why it has not passed, and what to do; empty if it has."""
    accepted: bool = False
    """Whether it is written: it passed, or it is undecided and was accepted."""
    passed: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "passed", self.verdict == PASSED)


def expected(reference: np.ndarray, target: Target, are_probabilities: bool) -> np.ndarray:
    """The outputs that a file should have where the Keras model has `reference` (images, classes)."""
    if target.output == "logits":
        return reference
    shares = reference if are_probabilities else probabilities(reference)
    if not target.best:
        return shares
    classes = np.argsort(-shares, axis=1, kind="stable")[:, : target.best]
    return np.stack([np.take_along_axis(shares, classes, 1), classes.astype(shares.dtype)], axis=-1)


def are_probabilities(outputs: np.ndarray, source: Source) -> bool:
    """Whether the Keras model's outputs for the images are probabilities, by their values: what its files were made by says so only
    where these may be either. InputError where that and the values disagree."""
    scores = scores_by_value(outputs)
    if scores == "logits" and source.are_probabilities:
        low, high = outputs.min(), outputs.max()
        raise InputError(f"{source.name!r} should give probabilities, but its outputs are between {low:.3g} and {high:.3g}")
    return scores == "probabilities" or (not scores and source.are_probabilities)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What files are compared with: the images, and the outputs of the Keras model for them."""

    data: Dataset
    outputs: np.ndarray
    are_probabilities: bool

    @classmethod
    def of(cls, source: Source, data: Dataset) -> "Reference":
        with keras.device("cpu"):  # a GPU rounds otherwise, and files are run on processors
            data = with_comparison_images(data)
            outputs = outputs_of(lambda images: source.model.predict_on_batch(images.astype("float32")), data, COMPARED)
        return cls(data=data, outputs=outputs, are_probabilities=are_probabilities(outputs, source))

    def differences(self, outputs: np.ndarray, expected: np.ndarray, target: Target) -> np.ndarray:
        """How far outputs are from the expected ones; of the best classes also how far from the model's scores of those classes,
        since two may be as good."""
        if not target.best:
            return np.abs(outputs - expected)
        shares = self.outputs if self.are_probabilities else probabilities(self.outputs)
        scores = np.take_along_axis(shares, outputs[..., 1].astype(int), 1)
        return np.maximum(np.abs(outputs[..., 0] - expected[..., 0]), np.abs(outputs[..., 0] - scores))

    def moved(self, outputs: np.ndarray, target: Target) -> np.ndarray:
        """The probability that a file with these outputs gives to other classes than the Keras model does, (images,)."""
        shares = self.outputs if self.are_probabilities else probabilities(self.outputs)
        if target.best:
            return moved_probabilities(outputs[..., 0] - np.take_along_axis(shares, outputs[..., 1].astype(int), 1))
        is_done = self.are_probabilities or target.output == "softmax"
        return moved_probabilities((outputs if is_done else probabilities(outputs)) - shares)

    def compare(
        self,
        target: Target,
        path: Path,
        chosen: dict[str, float | None],
        on_images: Callable[[int], None] = lambda count: None,
        accept_undecided: bool = False,
    ) -> Check:
        """Run the file at `path` over the images, compare its outputs with the model's, and measure it. `chosen` replaces
        "min_agreement" and "max_difference" of the target's tolerance."""
        labels = self.data.splits["test"].labels
        facts: dict[str, Any] = {
            "file": target.file,
            "bytes": size(path),
            "images_from": sources(self.data),
            "keras_accuracy": top1_accuracy(self.outputs[: len(labels)], labels),
        }
        try:
            facts |= self.measure(path, on_images)
            check_runtimes(facts, target)
            facts["operations"] = operations(path)
            for image in boundaries(path).get("inputs", ()):
                if image["type"] != target.pixels:
                    raise InputError(f"it takes {image['type']} pixels, not {target.pixels}")
        except InputError as error:
            facts.pop("outputs", None)
            return Check(**facts, images=len(self.outputs), problem=str(error))
        outputs = facts.pop("outputs")
        facts["accuracy"] = top1_accuracy(outputs[: len(labels)], labels)
        facts["accuracy_interval"] = interval(facts["accuracy"], len(labels))
        found, verdict, problem = self.decide(target, outputs, labels, **chosen)
        accepted = verdict == PASSED or (verdict == UNDECIDED and accept_undecided)
        return Check(**vars(found), **facts, verdict=verdict, problem=problem, accepted=accepted)

    def decide(
        self, target: Target, outputs: np.ndarray, labels: np.ndarray = NO_LABELS, **chosen: float | None
    ) -> tuple[Findings, str, str]:
        """What the outputs of a file for the images say, the verdict, and the problem, see `Check`. The first images may have
        `labels`."""
        reference, names = expected(self.outputs, target, self.are_probabilities), self.data.class_names
        scale = scale_of(scores_alone(reference), target.output == "logits" and not self.are_probabilities)
        tolerance = target.tolerance.chosen(scale, **chosen)
        differences = self.differences(outputs, reference, target)
        found = replace(
            findings(top1(outputs), top1(reference), self.moved(outputs, target), names, tolerance),
            max_difference=float(np.max(differences)),
            mean_difference=float(np.mean(differences)),
            **losses(top1(outputs), top1(reference), labels),
        )
        return found, *judge(found, tolerance, names)

    def measure(self, path: Path, on_images: Callable[[int], None]) -> dict[str, Any]:
        """The outputs of a file, its latency with each number of threads, and its memory with one; of a TFLite file also what
        `measure_compiled` finds."""
        facts: dict[str, Any] = {"latency_ms": {}, "compiled_latency_ms": {}}
        image = self.data.splits["test"].take(np.arange(1))
        for threads in THREADS:
            with ModelFile(path, threads=threads, trust=True, limit=LIMIT) as file:
                facts["latency_ms"][str(threads)] = latency(file, image)
                if threads == 1:
                    facts |= {"peak_memory": file.peak_memory(), "accelerated_operations": file.accelerated}
                else:
                    facts["outputs"] = outputs_of(file, self.data, COMPARED, on_images)
                    if kind_of(path) == "saved_model":
                        self.check_signatures(file, facts["outputs"])
                if file.compiles and "compiled_problem" not in facts:
                    facts |= self.measure_compiled(file, image, facts, threads)
        return facts

    def measure_compiled(self, file: ModelFile, image: np.ndarray, facts: dict[str, Any], threads: int) -> dict[str, Any]:
        """The latency of a file by CompiledModel, and how far its outputs are from those in `facts`, if these are there; or why it
        does not run the file."""
        try:
            found = {"compiled_latency_ms": {**facts["compiled_latency_ms"], str(threads): latency(file, image, compiled=True)}}
            if "outputs" not in facts:
                return found
            first = self.data.examples(COMPARED).take(np.arange(min(COMPILED, len(facts["outputs"]))))
            alone = [file(image[None], compiled=True) for image in first]  # one by one: it runs not every file on several at once
            differences = scores_alone(np.concatenate(alone)) - scores_alone(facts["outputs"][: len(first)])
        except InputError as error:
            return {"compiled_problem": str(error).removeprefix(f"{str(file.path)!r} ")}
        return {**found, "compiled_difference": float(np.max(np.abs(differences)))}

    def check_signatures(self, file: ModelFile, outputs: np.ndarray) -> None:
        """InputError if a SavedModel answers float pixels or image files otherwise than it did integer pixels, or pictures of other
        shapes and kinds otherwise than their pixels."""
        images, scores = self.data.splits["test"].take(np.arange(min(FEW, len(outputs)))), scores_alone(outputs)
        inputs = {"float pixels": images.astype("float32")}
        if images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] in (1, 3):
            inputs["image files"] = np.array([encoded(picture_of(image), "PNG") for image in images])
        for kind, content in inputs.items():
            difference = float(np.max(np.abs(scores_alone(file(content)) - scores[: len(images)])))
            if difference > MAX_DIFFERENCE * scale_of(scores, file.scores == "logits"):
                raise InputError(f"for {kind} its outputs differ by {difference:.2e} from those for integer pixels")
        if "image files" in inputs:
            check_pictures(file, images)


def check_runtimes(facts: dict[str, Any], target: Target) -> None:
    """InputError if both runtimes of LiteRT give other outputs for a file. NaN is told elsewhere."""
    difference, scores = facts.get("compiled_difference"), scores_alone(facts["outputs"])
    rounds = target.is_integer or target.quantize == "dynamic"
    limit = (STEPS if rounds else MAX_DIFFERENCE) * scale_of(scores, target.output == "logits")
    if difference is not None and difference > limit:
        raise InputError(f"LiteRT's CompiledModel and Interpreter give outputs that differ by {difference:.2e}")


def latency(file: ModelFile, image: np.ndarray, *, compiled: bool = False) -> dict[str, float]:
    """Milliseconds for one image, median and 95th percentile."""
    estimate = float(np.median(file.seconds(image, 3, compiled=compiled)))
    rounds = int(np.clip(SECONDS / max(estimate, 1e-6), FEWEST, MOST))
    milliseconds = 1000 * file.seconds(image, rounds, compiled=compiled)
    return {"median": float(np.median(milliseconds)), "p95": float(np.percentile(milliseconds, 95))}
