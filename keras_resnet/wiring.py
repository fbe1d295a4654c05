"""How the layers of a functional Keras model are connected."""

from collections.abc import Iterator
from typing import Any

import keras


def every_layer(model: keras.Model) -> Iterator[Any]:
    """The layers of a model, and in place of a model inside it that one's layers."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from every_layer(layer)
        else:
            yield layer


def normalizations(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    """Every BatchNormalization of a model, those of models inside it among them."""
    return (layer for layer in every_layer(model) if isinstance(layer, keras.layers.BatchNormalization))


def only_source(layer: Any) -> Any:
    """The layer that feeds this one, if it feeds no other."""
    if not is_used_once(layer):
        return None
    sources = [parent.operation for parent in layer._inbound_nodes[0].parent_nodes]
    return sources[0] if len(sources) == 1 and only_consumer(sources[0]) is layer else None


def only_consumer(layer: Any) -> Any:
    """The layer that this one feeds, if it is one."""
    consumers = [node.operation for node in layer._outbound_nodes] if layer is not None else []
    return consumers[0] if len(consumers) == 1 else None


def is_used_once(layer: Any) -> bool:
    """Whether there is a layer, which is not shared by several parts of the network."""
    return layer is not None and len(layer._inbound_nodes) == 1


def is_convolution(layer: Any) -> bool:
    """Whether a layer is a plain convolution."""
    return isinstance(layer, (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D))


def is_relu(layer: Any) -> bool:
    """Whether a layer is a ReLU without bounds, which a positive factor passes."""
    return isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.relu
