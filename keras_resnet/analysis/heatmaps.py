"""Heatmaps for a class: Grad-CAM (arXiv:1610.02391), Grad-CAM++ (arXiv:1710.11063) and occlusion (arXiv:1311.2901)."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis.derivatives import applied, batches, gradients_of, to_numpy
from keras_resnet.analysis.figures import Figure, as_picture, figure, shortened
from keras_resnet.analysis.steps import Network, Segment, values_at
from keras_resnet.errors import InputError

SHOWN = 10  # images of a plot
NARROW = 16  # characters of a line above an image


def grad_cam(
    model: keras.Model, images: np.ndarray, *, layer: str | None = None, classes: Sequence[int] | None = None, resize: bool = True
) -> np.ndarray:
    """Grad-CAM (arXiv:1610.02391 eq. 1 and 2): the regions that raise the score of a class.

    Args:
        model: a functional Keras classifier. If it ends with a softmax or a sigmoid, the logits before it are used.
        images: (images, *space, channels), as the model takes them.
        layer: name of a layer with feature maps, also of a model inside the model; None is the last map, which is pooled globally.
        classes: index of the class for each image; None takes the predicted class.
        resize: whether to resize the result linearly to the size of the images; otherwise it has the size of the feature map.

    Returns: heatmaps (images, *space), not negative; compare values within an image only.

    InputError for a layer that does not exist or has no feature maps, and for a class that the model does not have.

    >>> grad_cam(keras.applications.ResNet50(weights=None), images, classes=[207] * len(images)).shape
    (8, 32, 32)
    """
    return class_activation(model, images, layer, classes, resize, mean_weights)


def grad_cam_plus_plus(
    model: keras.Model, images: np.ndarray, *, layer: str | None = None, classes: Sequence[int] | None = None, resize: bool = True
) -> np.ndarray:
    """Grad-CAM++ (arXiv:1710.11063 eq. 19 to 21), better for several objects of a class; arguments and result as of `grad_cam`."""
    return class_activation(model, images, layer, classes, resize, weights_plus_plus)


def class_activation(
    model: keras.Model, images: np.ndarray, layer: str | None, classes: Sequence[int] | None, resize: bool, weigh: Any
) -> np.ndarray:
    """A heatmap for each image: the ReLU of the sum of the channels of a layer, weighted by a function of maps and gradients."""
    network = Network(model)
    value = network.last_map() if layer is None else network.value_of(layer)
    if not network.is_map(value):
        raise InputError(f"layer {layer!r} returns {network.shapes[value]}, which is not a feature map with {network.rank} axes")
    chosen = chosen_classes(network, images, classes)
    before, found = network.between(network.start, value), []
    after = after_map(network, value)
    for batch in batches(images):
        own, chosen = chosen[: len(batch)], chosen[len(batch) :]
        with keras.StatelessScope():
            maps = to_numpy(before(batch))
        [gradient] = gradients_of(lambda x, batch=batch, own=own: score(after(batch, x), own), [maps])
        weights = weigh(maps.astype("float64"), gradient.astype("float64"))
        found.append(np.maximum((maps * weights).sum(-1), 0))
    heat = np.concatenate(found)
    return enlarged(heat, images.shape[1:-1]) if resize else heat


def after_map(network: Network, value: int) -> Any:
    """The logits as a function of images and a feature map, which replaces the one computed from the images."""
    whole = network.logits_from(network.start)
    steps = tuple(step for step in whole.steps if value not in step.results)

    return lambda batch, x: values_at({whole.end}, steps, {network.start: batch, value: x})[whole.end]


def score(logits: Any, classes: np.ndarray) -> Any:
    """The sum over the images of the logit of a class for each. InputError for a model without one score for each class."""
    if len(logits.shape) != 2:
        raise InputError(f"the model gives {tuple(logits.shape)}, not one score for each class")
    return keras.ops.sum(keras.ops.take_along_axis(logits, classes[:, None].astype("int32"), axis=1))


def chosen_classes(network: Network, images: np.ndarray, classes: Sequence[int] | None) -> np.ndarray:
    """The class of each image: the given one, or the predicted one. InputError for a class that the model does not have."""
    outputs = applied(network.logits_from(network.start), images)
    if outputs.ndim != 2:
        raise InputError(f"{network.model.name!r} gives {outputs.shape[1:]} for an image, not one score for each class")
    if classes is None:
        return outputs.argmax(-1)
    given = np.asarray(classes)
    if given.shape != (len(images),) or given.dtype.kind not in "iu" or given.min() < 0 or given.max() >= outputs.shape[1]:
        raise InputError(
            f"classes={classes}: expected a whole number from 0 to {outputs.shape[1] - 1} for each of {len(images)} images"
        )
    return given


def mean_weights(maps: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The weight of each channel: the mean of its gradient over space (arXiv:1610.02391 eq. 1)."""
    return gradient.mean(tuple(range(1, gradient.ndim - 1)), keepdims=True)


def weights_plus_plus(maps: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The weight of each channel: the weighted sum of its positive gradients (arXiv:1710.11063 eq. 19 and 21)."""
    space = tuple(range(1, gradient.ndim - 1))
    below = 2 * gradient**2 + maps.sum(space, keepdims=True) * gradient**3
    share = np.where(below != 0, gradient**2 / np.where(below != 0, below, 1), 0)
    return (share * np.maximum(gradient, 0)).sum(space, keepdims=True)


def occlusion(
    model: keras.Model,
    images: np.ndarray,
    *,
    size: int | None = None,
    stride: int | None = None,
    classes: Sequence[int] | None = None,
    value: float | None = None,
) -> np.ndarray:
    """The fall of the logit of a class when a part of the image is hidden (arXiv:1311.2901 section 4.2).

    A square (line or cube for other ranks) moves over the image. The value of a pixel is the mean fall of the logit over the
    positions that hide it.

    Args:
        model: a functional Keras classifier.
        images: (images, *space, channels), as the model takes them.
        size: side of the square, in pixels; None is a quarter of the shorter side of the image.
        stride: pixels from one position to the next, at most `size`; None is half of `size`.
        classes: index of the class for each image; None takes the predicted class.
        value: of the hidden pixels; None is the mean of the image.

    Returns: the fall of the logit (images, *space), negative where hiding raises it. InputError for a size or stride that does not
    fit, and for a class that the model does not have.
    """
    network, space = Network(model), images.shape[1:-1]
    size = size or max(1, min(space) // 4)
    stride = stride or max(1, size // 2)
    if not 1 <= size <= min(space) or not 1 <= stride <= size:
        raise InputError(
            f"size={size}, stride={stride}: expected a size from 1 to {min(space)} pixels, and a stride of at most that"
        )
    chosen, forward = chosen_classes(network, images, classes), network.logits_from(network.start)
    whole = class_scores(forward, images, chosen)
    axes = tuple(range(1, images.ndim))
    fill = np.mean(images, axes, dtype="float64", keepdims=True) if value is None else value
    total, count = np.zeros(images.shape[:-1]), np.zeros(space)
    for place in product(*(starts(side, size, stride) for side in space)):
        part = tuple(slice(start, start + size) for start in place)
        hidden = np.array(images, "float32")
        hidden[(slice(None), *part)] = fill
        fall = whole - class_scores(forward, hidden, chosen)
        total[(slice(None), *part)] += fall.reshape(-1, *[1] * len(space))
        count[part] += 1
    return total / count


def starts(side: int, size: int, stride: int) -> list[int]:
    """The first pixels of windows of `size` pixels that cover a side: every `stride` pixels, and one at the end."""
    return sorted({*range(0, side - size + 1, stride), side - size})


def class_scores(forward: Segment, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The logit of a class for each image."""
    return applied(forward, images)[np.arange(len(images)), classes].astype("float64")


def enlarged(maps: np.ndarray, space: Sequence[int]) -> np.ndarray:
    """Maps (images, *space) resized to `space` by linear interpolation between the centres of pixels."""
    for axis, side in enumerate(space, start=1):
        there = maps.shape[axis]
        place = np.clip((np.arange(side) + 0.5) * there / side - 0.5, 0, there - 1)
        low = np.minimum(place.astype(int), max(there - 2, 0))
        high = np.minimum(low + 1, there - 1)
        share = (place - low).reshape(-1, *[1] * (maps.ndim - 1 - axis))
        maps = np.take(maps, low, axis) * (1 - share) + np.take(maps, high, axis) * share
    return maps


def plot_heatmaps(images: np.ndarray, heat: np.ndarray, titles: Sequence[str] = ()) -> Figure:
    """The first ten pictures, each above a copy overlaid with its heatmap.

    Colours are relative to the largest absolute value of each heatmap, and more opaque the larger the value. Negative values, as of
    `occlusion`, are blue.

    Args:
        images: (images, height, width, channels).
        heat: (images, height, width).
        titles: one for each image.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    if images.ndim != 4:
        raise InputError(f"images of {images.shape}: only pictures (images, height, width, channels) can be shown")
    count, signed = min(SHOWN, len(images)), bool((heat < 0).any())
    made, axes = figure(2, count, width=1.1, height=1.35)
    colours = ScalarMappable(Normalize(-1 if signed else 0, 1), "RdBu_r" if signed else "inferno")
    for number in range(count):
        for panel in axes[:, number]:
            panel.imshow(as_picture(images[number]), cmap="gray", interpolation="nearest")
            panel.set_axis_off()
        share = heat[number] / (np.abs(heat[number]).max() or 1)
        axes[1, number].imshow(colours.to_rgba(share, alpha=0.2 + 0.6 * np.abs(share)), interpolation="nearest")
        axes[0, number].set_title(title_of(titles[number]) if number < len(titles) else "", fontsize=7, parse_math=False)
    bar = made.colorbar(colours, ax=axes, shrink=0.8, pad=0.01, label="relative", ticks=[-1, 0, 1] if signed else [0, 1])
    bar.ax.tick_params(labelsize=7)
    return made


def title_of(text: str) -> str:
    """Each line of a title, as long as an image is wide."""
    return "\n".join(shortened(line, NARROW) for line in text.split("\n"))
