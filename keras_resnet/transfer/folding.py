"""Batch normalisation as part of the weights of the layer before it, for faster inference."""

import logging
from typing import Any

import keras
import numpy as np

from keras_resnet.networks.connections import CONVOLUTIONS, DEPTHWISE, Connections, normalizations
from keras_resnet.transfer.copying import check_graph, copied, copy_of

LOG = logging.getLogger("keras_resnet")
SHOWN = 3  # layers that are not folded, by name


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """A copy of a network, uncompiled, for inference: every BatchNormalization that alone follows a convolution is part of it.

    The outputs are those of `model` to rounding. Folded are BatchNormalization layers, also in models inside this one, whose only
    input is a Conv1D to Conv3D, DepthwiseConv or Dense layer without an activation, which feeds nothing else; the layer gets a
    bias. The others stay: those of pre-activation networks follow an addition. One warning says how many, and why.

    Args:
        model: a functional or sequential model. It stays as it is.

    >>> folded = fold_batch_norm(kr.build("resnet20"))
    """
    check_graph(model)
    connections, left = Connections(model), []
    folded: dict[Any, Any] = {}
    for norm in normalizations(model):
        source = connections.only_source(norm)
        if connections.is_used_once(source) and takes(source, norm):
            folded[source] = norm
        else:
            left.append(norm)
    gone = set(folded.values())
    if left:
        LOG.warning(
            f"{len(left)} of {len(left) + len(gone)} BatchNormalization layers are not folded: {reasons(left, connections)}"
        )

    def change(operation: Any) -> Any:
        if operation in gone:
            return lambda inputs, **settings: inputs
        return copy_of(operation, **({"use_bias": True} if operation in folded else {}))

    def weights(layer: Any, copy: Any) -> list[np.ndarray]:
        return merged(layer, folded[layer]) if layer in folded else layer.get_weights()

    return copied(model, change, weights=weights)


def takes(layer: Any, norm: keras.layers.BatchNormalization) -> bool:
    """Whether a normalisation can become part of the layer that feeds it."""
    if type(layer) not in (*CONVOLUTIONS, *DEPTHWISE, keras.layers.Dense) or layer.activation is not keras.activations.linear:
        return False
    rank = len(layer.output.shape)
    return norm.axis in (-1, rank - 1) and getattr(layer, "data_format", "channels_last") == "channels_last"


def merged(layer: Any, norm: keras.layers.BatchNormalization) -> list[np.ndarray]:
    """Kernel and bias of a layer with a normalisation in them."""
    numbers = [np.asarray(value, "float64") for value in norm.get_weights()]
    variance, mean = numbers.pop(), numbers.pop()
    beta = numbers.pop() if norm.center else 0.0
    factor = (numbers.pop() if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
    kernel, *bias = layer.get_weights()
    shape = kernel.shape[-2:] if isinstance(layer, DEPTHWISE) else kernel.shape[-1:]
    return [kernel * factor.reshape(shape), (bias[0] - mean if bias else -mean) * factor + beta]


def reasons(norms: list[Any], connections: Connections) -> str:
    """Why layers are not folded, in words."""
    more = f"; and {len(norms) - SHOWN} more" if len(norms) > SHOWN else ""
    return "; ".join(f"{norm.name!r} {reason(norm, connections)}" for norm in norms[:SHOWN]) + more


def reason(norm: Any, connections: Connections) -> str:
    """Why a layer is not folded."""
    [sources, *others] = connections.sources[norm]
    if others:
        return f"is used {len(others) + 1} times"
    [source] = sources
    follows = f"follows {type(source).__name__}"
    if not isinstance(source, (*CONVOLUTIONS, *DEPTHWISE, keras.layers.Dense)):
        return follows
    return f"{follows}, which {'feeds others too' if connections.only_source(norm) is None else 'has an activation or other axes'}"
