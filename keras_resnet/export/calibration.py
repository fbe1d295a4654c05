"""The calibration images of an int8 file: the ranges of its integers are measured on them."""

from collections.abc import Iterator

import numpy as np

from keras_resnet.data import Dataset

IMAGES = 300


def calibration_images(data: Dataset) -> np.ndarray:
    """Training images at random: (count, *image_shape)."""
    return data.sample(IMAGES)


def calibration_batches(images: np.ndarray, batch: int | None = None) -> Iterator[dict[str, np.ndarray]]:
    """Images one by one, each `batch` times, by the name of the input of a file."""
    for image in images:
        yield {"image": np.repeat(image[None], batch or 1, axis=0).astype(np.float32)}
