"""The int8 calibration: the images that the ranges of integers are found with."""

from collections.abc import Iterator

import numpy as np

from keras_resnet.data import Dataset

IMAGES = 300


def calibration_images(data: Dataset) -> np.ndarray:
    """Training images at random: (count, *image_shape)."""
    return data.sample(IMAGES)


def calibration_batches(images: np.ndarray, batch: int | None = None) -> Iterator[list[np.ndarray]]:
    """Images one by one, each `batch` times, as the converter takes them."""
    for image in images:
        yield [np.repeat(image[None], batch or 1, axis=0).astype(np.float32)]
