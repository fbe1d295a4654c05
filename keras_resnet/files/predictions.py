"""The outputs of a model for images, and what follows from them: accuracy, best classes, probabilities."""

from collections.abc import Callable

import numpy as np

from keras_resnet.data import Dataset
from keras_resnet.files.runtimes import Runner
from keras_resnet.runs.evaluation import probabilities


def outputs_of(
    runner: Runner, data: Dataset, split: str = "test", on_images: Callable[[int], None] = lambda count: None
) -> np.ndarray:
    """The outputs of `runner` on all images of a split; `on_images` is called with how many more are done."""
    examples, outputs = data.examples(split), []
    for start in range(0, len(examples), data.batch_size):
        images = examples.take(np.arange(start, min(start + data.batch_size, len(examples))))
        outputs.append(runner(images))
        on_images(len(images))
    return np.concatenate(outputs)


def accuracy(runner: Runner, data: Dataset, split: str = "test") -> float:
    """Share of the images of a split that `runner` puts into their class."""
    return top1_accuracy(outputs_of(runner, data, split), data.examples(split).labels)


def top1(outputs: np.ndarray) -> np.ndarray:
    """The best class of each row, see `runtimes.Runner`: (images,)."""
    return outputs[:, 0, 1].astype(int) if outputs.ndim == 3 else outputs.argmax(1)


def scores_alone(outputs: np.ndarray) -> np.ndarray:
    """The scores in outputs, without the numbers of the best classes: (images, classes) or (images, k)."""
    return outputs[..., 0] if outputs.ndim == 3 else outputs


def top1_accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows whose best class is that of the label."""
    return float(np.mean(top1(outputs) == labels))


def scores_by_value(outputs: np.ndarray) -> str:
    """Whether a model's outputs (images, classes) are "probabilities" or "logits", by their values; empty where they may be either:
    between 0 and 1, but not 1 together, as those of a sigmoid are."""
    if not np.all((outputs >= 0) & (outputs <= 1)):
        return "logits"
    return "probabilities" if np.allclose(outputs.sum(axis=1), 1, atol=1e-3) else ""


def nearest_kind(outputs: np.ndarray, logits: np.ndarray) -> str:
    """What outputs (images, classes) are of a file that does not say it, "logits" or "probabilities": that which these logits of
    another file for the same images are nearer to."""
    is_nearer = np.abs(outputs - probabilities(logits)).mean() < np.abs(outputs - logits).mean()
    return "probabilities" if is_nearer else "logits"


def confidences(outputs: np.ndarray, scores: str) -> np.ndarray:
    """The probability of the best class of each row, see `top1`: (images,). `scores` are "logits" or "probabilities"."""
    if outputs.ndim == 3:
        return outputs[:, 0, 0]
    return (probabilities(outputs) if scores == "logits" else outputs).max(1)


def best(outputs: np.ndarray, count: int, scores: str) -> list[tuple[int, float]]:
    """The best classes of one image and their probabilities, from a row of `runtimes.Runner`: of `scores`, "logits" or
    "probabilities", or the best k."""
    if outputs.ndim == 2:
        return [(int(number), float(score)) for score, number in outputs[:count]]
    shares = probabilities(outputs) if scores == "logits" else outputs
    return [(int(number), float(shares[number])) for number in np.argsort(-shares, kind="stable")[:count]]
