"""Compares model files: on the same images, in turns, each in a process of its own."""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.files.model_file import LIMIT, ModelFile, size
from keras_resnet.files.predictions import nearest_kind, scores_alone, top1

OPEN_SIDE = 224  # of images for a file that takes any size
MOST_VALUES = 2**30  # of random images
NOISE = 32  # random images, where none are given
RUNS = 5  # of a file in its turn


def compare(
    paths: Sequence[str | Path],
    images: np.ndarray | Callable[[tuple[int | None, ...]], np.ndarray] | None = None,
    *,
    batch: int = 1,
    threads: int = 1,
    rounds: int = 20,
    trust: bool = False,
    limit: float = LIMIT,
) -> list[dict[str, Any]]:
    """Latency, size, memory and answers of model files, and their ratios to the first.

    Args:
        paths: SavedModel folders, `.tflite`, `.onnx` and `.keras` files that take the same images.
        images: raw pixels (count, *image_shape), or a function from the image shape of the first file (None for a side of any
            length) to such. None: random pixels, on which agreement means little.
        batch: images in each measured run.
        threads: that each file may use.
        rounds: turns of each file, of five runs.
        trust, limit: see `ModelFile`.

    Returns: a row for each file: `milliseconds` for a batch (median), `p95`, `images_per_second`, `bytes`, `peak_memory` in bytes,
    `time_ratio` and `size_ratio` to the first, `max_difference` and `top1_agreement` of its outputs with those of the first, and
    `compared_on`, the number and kind of these images. Logits, probabilities and best classes are not compared with each other.
    InputError for a file that cannot be opened, or takes other images.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(ModelFile(path, threads=threads, trust=trust, limit=limit)) for path in paths]
        kind = "random images" if images is None else "images"
        if images is None:
            images = random_images(files[0].image_shape, max(batch, NOISE))
        elif callable(images):
            images = images(files[0].image_shape)
        pixels = np.resize(images, (batch, *images.shape[1:]))
        outputs = [finite(file, images) for file in files]
        seconds: list[list[float]] = [[] for _ in files]
        for _ in range(rounds):
            for file, times in zip(files, seconds, strict=True):
                times.extend(file.seconds(pixels, RUNS))
        memory = [file.peak_memory() for file in files]
    rows: list[dict[str, Any]] = []
    for path, file, times, answers, peak in zip(paths, files, seconds, outputs, memory, strict=True):
        row: dict[str, Any] = {"file": str(path), **speed(times, batch), "bytes": size(file.path), "peak_memory": peak}
        reference = rows[0] if rows else row
        row |= {"time_ratio": row["milliseconds"] / reference["milliseconds"], "size_ratio": row["bytes"] / reference["bytes"]}
        is_comparable = are_comparable(answers, outputs[0], file.scores, files[0].scores)
        rows.append({**row, **differences(answers, outputs[0], is_comparable), "compared_on": f"{len(images)} {kind}"})
    return rows


def finite(file: ModelFile, images: np.ndarray) -> np.ndarray:
    """The outputs of a file for images. InputError if they are no finite numbers."""
    outputs = file(images)
    if not np.isfinite(outputs).all():
        raise InputError(f"{str(file.path)!r} gives outputs that are not finite numbers: it is damaged, or its training diverged")
    return outputs


def speed(seconds: list[float], batch: int) -> dict[str, float]:
    """How fast a file is that took so many seconds for each of several batches."""
    median, percentile = float(np.median(seconds)), float(np.percentile(seconds, 95))
    return {"milliseconds": 1000 * median, "p95": 1000 * percentile, "images_per_second": batch / median}


def differences(outputs: np.ndarray, reference: np.ndarray, is_comparable: bool) -> dict[str, float | None]:
    """How far outputs are from those of the first file: the largest difference only where they are comparable."""
    difference = float(np.max(np.abs(scores_alone(outputs) - scores_alone(reference)))) if is_comparable else None
    return {"max_difference": difference, "top1_agreement": float(np.mean(top1(outputs) == top1(reference)))}


def are_comparable(outputs: np.ndarray, reference: np.ndarray, scores: str, reference_scores: str) -> bool:
    """Whether outputs of two files for the same images are numbers of one kind: as the files say, and where one of them does not,
    as they are nearer to each other."""
    if outputs.shape != reference.shape or outputs.ndim == 3:
        return outputs.shape == reference.shape
    if scores and reference_scores:
        return scores == reference_scores
    return nearest_kind(outputs, reference) == nearest_kind(reference, outputs) == "logits"


def random_images(shape: tuple[int | None, ...], count: int) -> np.ndarray:
    """Random pixels (count, *shape), the same each time. InputError if even the number of channels is open."""
    if not shape or shape[-1] is None:
        raise InputError(f"random images of shape {shape} cannot be made, the number of channels is not known; pass images")
    sides = [OPEN_SIDE if side is None else side for side in shape]
    if count * math.prod(sides) > MOST_VALUES:
        raise InputError(f"random images of shape {shape} would take {count * math.prod(sides):,} bytes; pass images")
    return np.random.default_rng(0).integers(0, 256, (count, *sides), dtype="uint8")
