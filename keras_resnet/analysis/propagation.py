"""The size of signals in a network: by unit (arXiv:2101.08692), and after each convolution (arXiv:1512.03385 Figure 7)."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis.derivatives import applied, batches, to_numpy
from keras_resnet.analysis.figures import Figure, lines, profile
from keras_resnet.analysis.rows import Rows
from keras_resnet.analysis.steps import Network, values_at
from keras_resnet.analysis.units import Chain
from keras_resnet.errors import InputError
from keras_resnet.networks.connections import CONVOLUTIONS, DEPTHWISE


def signals(model: keras.Model, images: np.ndarray, *, training: bool = True) -> Rows:
    """The signal propagation of a network (arXiv:2101.08692 section 3): mean and variance of the output of each unit.

    The paper plots networks before training, with unit Gaussian noise as images.

    Args:
        model: a functional Keras classifier, residual or plain.
        images: (images, *space, channels), as the model takes them. They are one batch: 64 are enough.
        training: whether batch normalisation uses batch statistics and dropout is active, as in a training step. The moving
            statistics of the model do not change.

    Returns: for each unit a row with the `unit` and, of its output, `squared_mean`, the squared channel mean, and `variance`, the
    channel variance. Mean and variance are taken over images and space, then averaged over channels; the sum of both columns is the
    mean square. `branch_variance` is the channel variance of the branch. The output of a unit is taken after the addition, before
    an activation that follows it.

    InputError for a model that is not a chain of units.

    >>> rows = signals(kr.build("resnet20"), images)
    >>> rows[-1]["variance"] > 0
    True
    """
    chain, rows = Chain(model), []
    with keras.StatelessScope():
        [batch] = batches(images, len(images))
        x = chain.stem(batch, training)
        for unit in chain.units:
            branch = unit.branch(x, training)
            y = branch if unit.shortcut is None else unit.added(unit.shortcut(x, training), branch, training)
            squared_mean, variance = moments(to_numpy(y))
            rows.append({"unit": unit.name, "squared_mean": squared_mean, "variance": variance})
            rows[-1]["branch_variance"] = moments(to_numpy(branch))[1]
            x = unit.after(y, training)
    return rows


def moments(x: np.ndarray) -> tuple[float, float]:
    """The average squared channel mean and the average channel variance of maps (images, *space, channels)."""
    flat = x.reshape(-1, x.shape[-1]).astype("float64")
    return float(np.mean(flat.mean(0) ** 2)), float(flat.var(0).mean())


def responses(model: keras.Model, images: np.ndarray) -> Rows:
    """The standard deviation of layer responses (arXiv:1512.03385 Figure 7): the outputs of each convolution larger than 1x1,
    after batch normalisation, before an activation or an addition.

    Args:
        model: a functional Keras model, with trained weights.
        images: (images, *space, channels), as the model takes them.

    Returns: for each such convolution, in the order in which they run, a row with the `layer` and `deviation`, the standard
    deviation over images, space and channels. InputError if there is no such layer.
    """
    network = Network(model)
    ends = response_values(network)
    if not ends:
        raise InputError(f"{model.name!r} has no convolution larger than 1x1")

    def sums(batch: Any) -> Any:
        values = values_at(set(ends.values()), network.steps, {network.start: batch})
        found = (to_numpy(values[value]).astype("float64") for value in ends.values())
        return np.array([[x.size, x.sum(), np.square(x).sum()] for x in found])[None]

    counts, totals, squares = applied(sums, images).sum(0).T
    deviations = np.sqrt(np.maximum(squares / counts - (totals / counts) ** 2, 0))
    return [{"layer": name, "deviation": float(value)} for name, value in zip(ends, deviations, strict=True)]


def response_values(network: Network) -> dict[str, int]:
    """For each convolution larger than 1x1 the number of the output of its batch normalisation, or else of its own output."""
    found = {}
    for step in network.steps:
        if isinstance(step.operation, (*CONVOLUTIONS, *DEPTHWISE)) and max(step.operation.kernel_size) > 1:
            users = [other for other in network.steps if step.results[0] in other.sources]
            is_normalized = len(users) == 1 and isinstance(users[0].operation, keras.layers.BatchNormalization)
            found[step.name] = users[0].results[0] if is_normalized else step.results[0]
    return found


def plot_signals(profiles: Mapping[str, Rows]) -> Figure:
    """Rows of `signals` over the units, of one network or several by name: squared means, variances, branch variances."""
    panels = {"squared_mean": "squared channel mean", "variance": "channel variance", "branch_variance": "variance of the branch"}
    return profile(profiles, panels, x="unit", log=True)


def plot_responses(profiles: Mapping[str, Rows]) -> Figure:
    """Rows of `responses` over the layers, of one network or several by name."""
    return lines(profiles, x="layer", y="deviation", labels=("layer", "standard deviation"))
