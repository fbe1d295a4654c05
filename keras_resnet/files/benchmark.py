"""Model files measured side by side: the same images, in turns, each in a process of its own."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.files.model_file import Artefact, size
from keras_resnet.files.predictions import top1

OPEN_SIDE = 224  # of images for a file that takes any size
EACH = 5  # runs of a file in its turn


def compare(
    paths: Sequence[str | Path], images: np.ndarray | None = None, *, batch: int = 1, threads: int = 1, rounds: int = 20
) -> list[dict[str, Any]]:
    """Latency, size, memory and answers of model files, and their ratios to the first.

    Args:
        paths: SavedModel folders, `.tflite`, `.onnx` and `.keras` files that take the same images.
        images: raw pixels (count, *image_shape), to be answered by all; random ones if None.
        batch: images in each measured run.
        threads: that each file may use.
        rounds: turns of each file, of five runs.

    Returns: a row for each file: `milliseconds` for a batch (median), `p95`, `images_per_second`, `bytes`, `peak_memory` in bytes,
    `time_ratio` and `size_ratio` to the first, `max_difference` and `top1_agreement` of its outputs with those of the first. No
    difference is given between logits, probabilities and the best classes only. InputError for a file that cannot be opened, or
    takes other images.
    """
    with ExitStack() as stack:
        artefacts = [stack.enter_context(Artefact(path, threads=threads)) for path in paths]
        if images is None:
            images = random_images(artefacts[0].image_shape, max(batch, 32))
        pixels = np.resize(images, (batch, *images.shape[1:]))
        outputs = [artefact(images) for artefact in artefacts]
        seconds: list[list[float]] = [[] for _ in artefacts]
        for _ in range(rounds):
            for artefact, taken in zip(artefacts, seconds, strict=True):
                taken.extend(artefact.seconds(pixels, EACH))
        memory = [artefact.peak_memory() for artefact in artefacts]
    rows: list[dict[str, Any]] = []
    for path, taken, found, most in zip(paths, seconds, outputs, memory, strict=True):
        median = float(np.median(taken))
        row: dict[str, Any] = {
            "file": str(path),
            "milliseconds": 1000 * median,
            "p95": 1000 * float(np.percentile(taken, 95)),
            "images_per_second": batch / median,
            "bytes": size(Path(path)),
            "peak_memory": most,
        }
        first = rows[0] if rows else row
        row |= {"time_ratio": row["milliseconds"] / first["milliseconds"], "size_ratio": row["bytes"] / first["bytes"]}
        rows.append({**row, **differences(found, outputs[0])})
    return rows


def differences(outputs: np.ndarray, first: np.ndarray) -> dict[str, float | None]:
    """How far outputs are from those of the first file."""
    agreement = float(np.mean(top1(outputs) == top1(first)))
    if outputs.shape != first.shape or are_shares(outputs) != are_shares(first):
        return {"max_difference": None, "top1_agreement": agreement}
    apart = np.abs(outputs - first)
    return {"max_difference": float(np.max(apart if apart.ndim == 2 else apart[..., 0])), "top1_agreement": agreement}


def are_shares(outputs: np.ndarray) -> bool:
    """Whether outputs are probabilities: between 0 and 1, and of all classes together 1, but for rounding to integers."""
    scores = outputs if outputs.ndim == 2 else outputs[..., 0]
    total = scores.sum(axis=1)
    return bool(np.all((scores >= 0) & (scores <= 1)) and (outputs.ndim == 3 or np.allclose(total, 1, atol=0.05)))


def random_images(shape: tuple[int | None, ...], count: int) -> np.ndarray:
    """Random pixels (count, *shape), the same ones each time. InputError if even the channels are open."""
    if not shape or shape[-1] is None:
        raise InputError(f"images of shape {shape} cannot be made up; pass some")
    sides = [OPEN_SIDE if side is None else side for side in shape]
    return np.random.default_rng(0).integers(0, 256, (count, *sides), dtype="uint8")
