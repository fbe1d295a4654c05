"""Feature maps of each stage, as pictures."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_resnet.analysis.derivatives import batches, to_numpy
from keras_resnet.analysis.figures import Figure, figure, picture, shortened
from keras_resnet.analysis.steps import Network, is_pooled, values_at
from keras_resnet.errors import InputError

CHANNELS = 8  # of each stage in a plot
NO_STAGE = ("Pad", "Pool", "Rescal", "TrueDivide", "Subtract")  # parts of the names of layers


def features(model: keras.Model, images: np.ndarray, *, layers: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The feature maps of a network by stage, as shown in arXiv:1311.2901.

    Args:
        model: a functional Keras model.
        images: (images, *space, channels), as the model takes them.
        layers: names of layers, also of models inside the model; None takes the last feature map of each size that lies on all
            paths.

    Returns: feature maps (images, *space, channels) by the name of the layer, in the order in which they run.

    InputError for a layer that does not exist or has no feature maps.
    """
    network = Network(model)
    ends = {name: network.value_of(name) for name in layers} if layers else last_of_each_size(network, images)
    for name, value in ends.items():
        if not network.is_map(value):
            raise InputError(f"layer {name!r} returns {network.shapes[value]}, which is not a feature map with {network.rank} axes")
    found: dict[str, list[np.ndarray]] = {name: [] for name in ends}
    with keras.StatelessScope():
        for batch in batches(images):
            values = values_at(set(ends.values()), network.steps, {network.start: batch})
            for name, value in ends.items():
                found[name].append(to_numpy(values[value]))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def last_of_each_size(network: Network, images: np.ndarray) -> dict[str, int]:
    """The last feature map of each size on all paths, except the outputs of rescaling, padding and pooling."""
    found: dict[tuple[int, ...], tuple[str, int]] = {}
    with keras.StatelessScope():
        shared = network.on_all_paths()
        values = values_at(set(shared), network.steps, {network.start: next(batches(images[:1]))})
    for value in shared:
        step, size = network.producer[value], tuple(values[value].shape[1:-1])
        is_stage = not any(part in type(step.operation).__name__ for part in NO_STAGE)
        if network.is_map(value) and not is_pooled(network.shapes[value]) and is_stage:
            found[size] = (step.name, value)
    return dict(found.values())


def plot_features(found: dict[str, np.ndarray], image: np.ndarray, *, number: int = 0) -> Figure:
    """For one image a row for each stage: the eight channels with the largest mean square, each with its own colour scale.

    Args:
        found: the result of `features`: maps (images, height, width, channels).
        image: (height, width, channels), the image at index `number`. InputError for signals and volumes.
        number: index of the image in `found`.
    """
    if image.ndim != 3:
        raise InputError(f"an image of {image.shape}: only pictures (height, width, channels) can be shown")
    made, axes = figure(len(found), CHANNELS + 1, width=0.95, height=1.05)
    for row, (name, maps) in zip(axes, found.items(), strict=True):
        strongest = np.argsort(-np.square(maps[number]).mean((0, 1)), kind="stable")[:CHANNELS]
        for panel in row:
            panel.set_axis_off()
        picture(row[0], image)
        row[0].set_title(shortened(name), fontsize=6, loc="left", parse_math=False)
        for panel, channel in zip(row[1:], strongest, strict=False):
            picture(panel, maps[number, :, :, channel], cmap="viridis")
            panel.set_title(str(channel), fontsize=6)
    return made
