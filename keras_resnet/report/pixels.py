"""Pictures of pixels as data URIs: images, heatmaps over them, large confusion matrices."""

import base64
import io
from typing import Any

import numpy as np

LARGEST = 160  # pixels along the longer side of an image in a page
MOST_PIXELS = 250  # along a side of a confusion matrix
RIGHT, WRONG = (47, 111, 176), (217, 95, 14)  # colours of a confusion matrix; opacity shows the share


def image_uri(image: np.ndarray) -> str:
    """A picture (height, width, 1 or 3) of pixels 0 to 255, downscaled if it is large."""
    from PIL import Image

    pixels = np.clip(np.rint(image), 0, 255).astype("uint8")
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    is_small = max(picture.size) <= LARGEST // 2
    picture.thumbnail((LARGEST, LARGEST))
    return data_uri(picture, "PNG" if is_small else "JPEG")


def heat_uri(image: np.ndarray, heat: np.ndarray) -> str:
    """A picture under a heatmap (height, width) of values from 0 to 1, which may have fewer pixels than the picture."""
    from matplotlib import colormaps
    from PIL import Image

    fine = Image.fromarray(heat.astype("float32")).resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR)
    grey = np.clip(image, 0, 255).mean(-1, keepdims=True)
    colours = 255 * colormaps["inferno"](np.asarray(fine))[..., :3]
    return image_uri(0.45 * grey + 0.55 * colours)


def matrix_uri(counts: np.ndarray) -> str:
    """A confusion matrix (classes, classes) as pixels: correct predictions blue, wrong ones orange, more opaque for a larger share
    of the class. With more than 250 classes, a pixel shows the largest share of several neighbouring classes."""
    from PIL import Image

    opacity = np.rint(255 * np.sqrt(counts / np.maximum(counts.sum(1, keepdims=True), 1)))
    is_right = np.eye(len(counts), dtype=bool)
    right, wrong = (largest_of_neighbours(np.where(chosen, opacity, 0)) for chosen in (is_right, ~is_right))
    pixels = np.zeros((*right.shape, 4), "uint8")
    pixels[right > 0, :3], pixels[(right == 0) & (wrong > 0), :3] = RIGHT, WRONG
    pixels[..., 3] = np.where(right > 0, right, wrong)
    return data_uri(Image.fromarray(pixels), "PNG")


def largest_of_neighbours(numbers: np.ndarray) -> np.ndarray:
    """A square of numbers, reduced to at most 250 along a side."""
    step = neighbours(len(numbers))
    padded = np.pad(numbers, (0, -len(numbers) % step))
    side = len(padded) // step
    return padded.reshape(side, step, side, step).max((1, 3))


def neighbours(classes: int) -> int:
    """Number of neighbouring classes in a pixel of a matrix."""
    return -(-classes // MOST_PIXELS)


def data_uri(picture: Any, kind: str) -> str:
    """A picture of Pillow as text for a page."""
    stream = io.BytesIO()
    picture.save(stream, kind, **({"optimize": True} if kind == "PNG" else {"quality": 85}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
