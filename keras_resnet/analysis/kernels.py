"""The filters of the first convolution, as pictures."""

import math

import keras
import numpy as np

from keras_resnet.analysis.derivatives import to_numpy
from keras_resnet.analysis.figures import Figure, as_picture, figure
from keras_resnet.analysis.steps import Network
from keras_resnet.errors import InputError

COLUMNS = 16
MOST = 256  # filters in a plot


def filters(model: keras.Model, *, layer: str | None = None) -> np.ndarray:
    """The kernel of a convolution.

    Args:
        model: a functional Keras model.
        layer: name of a convolution, also of a model inside the model; None is the first one.

    Returns: weights (*size, channels, filters). InputError if there is no such layer, or if it has no kernel.
    """
    network = Network(model)
    if layer is None:
        found = [step.operation for step in network.steps if "Conv" in type(step.operation).__name__]
    else:
        found = [network.producer[network.value_of(layer)].operation]
    if not found or not hasattr(found[0], "kernel"):
        raise InputError(f"{model.name!r} has no convolution" if layer is None else f"layer {layer!r} has no kernel")
    return to_numpy(found[0].kernel.value)


def plot_filters(kernel: np.ndarray) -> Figure:
    """Filters (height, width, channels, filters) as tiles: in colour with three channels, else the mean over the channels, blue for
    negative and red for positive weights. Each tile has its own colour scale."""
    if kernel.ndim != 4:
        raise InputError(f"a kernel of {kernel.shape}: only filters of pictures can be shown")
    count = min(kernel.shape[-1], MOST)
    columns = min(COLUMNS, max(4, math.ceil(math.sqrt(count))))
    rows = math.ceil(count / columns)
    made, axes = figure(rows, columns, width=0.55, height=0.55)
    for number, panel in enumerate(axes.ravel()):
        panel.set_axis_off()
        if number >= count:
            continue
        weights = kernel[..., number]
        if weights.shape[-1] == 3:
            panel.imshow(as_picture(weights), interpolation="nearest")
        else:
            mean, most = weights.mean(-1), float(np.abs(weights.mean(-1)).max()) or 1.0
            panel.imshow(mean, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
    return made
