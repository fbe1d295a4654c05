"""How the layers of a functional Keras model are connected, and what kind of layer each is."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import keras

from keras_resnet.hooks import graph_nodes, is_graph, operation_of, origin_of
from keras_resnet.networks.fusion import FUSED_ACTIVATIONS

PROBABILITIES = (keras.activations.softmax, keras.activations.sigmoid)
SAME_SCORES = (  # layers, and operations such as `keras.ops.clip`, that leave probabilities what they are, and logits too
    *("Dropout", "Flatten", "GaussianDropout", "GaussianNoise", "Identity"),
    *("Cast", "Clip", "Copy", "ExpandDims", "Reshape", "Squeeze", "StopGradient"),
)
CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)  # Keras has none of three axes


class Connections:
    """What feeds what in a model, and in the models inside it; what else its layers are part of does not count, nor what a
    subclassed model inside it does with its own."""

    def __init__(self, model: keras.Model) -> None:
        self.sources: dict[Any, list[list[Any]]] = defaultdict(list)
        """For each use of a layer, the layers that feed it."""
        self.consumers: dict[Any, list[Any]] = defaultdict(list)
        """The layers that a layer feeds; None stands for the outputs of a model."""
        for part in filter(is_graph, every_model(model)):
            for node in graph_nodes(part):
                sources = [parent.operation for parent in node.parent_nodes]
                self.sources[node.operation].append(sources)
                for source in sources:
                    self.consumers[source].append(node.operation)
            for tensor in keras.tree.flatten(part.outputs):
                self.consumers[operation_of(tensor)].append(None)

    def is_used_once(self, layer: Any) -> bool:
        """Whether there is a layer that is called once."""
        return layer is not None and len(self.sources[layer]) == 1

    def only_source(self, layer: Any) -> Any:
        """The layer that feeds this one, if it feeds no other."""
        if not self.is_used_once(layer):
            return None
        (sources,) = self.sources[layer]
        return sources[0] if len(sources) == 1 and self.only_consumer(sources[0]) is layer else None

    def only_consumer(self, layer: Any) -> Any:
        """The layer that this one feeds, if it is one."""
        consumers = self.consumers[layer] if layer is not None else []
        return consumers[0] if len(consumers) == 1 else None


def every_layer(model: keras.Model) -> Iterator[Any]:
    """The layers of a model, and in place of a model inside it that one's layers."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from every_layer(layer)
        else:
            yield layer


def every_model(model: keras.Model) -> Iterator[keras.Model]:
    """A model, and those inside it."""
    yield model
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from every_model(layer)


def is_functional(model: keras.Model) -> bool:
    """Whether a model, and every one inside it, is a graph of layers."""
    return all(map(is_graph, every_model(model)))


def normalizations(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    """Every BatchNormalization of a model, those of models inside it among them."""
    return (layer for layer in every_layer(model) if isinstance(layer, keras.layers.BatchNormalization))


def is_convolution(layer: Any) -> bool:
    """Whether a layer is a plain convolution over maps with channels last, and no subclass, which may do anything."""
    return type(layer) in CONVOLUTIONS and layer.data_format == "channels_last" and layer.padding != "causal"


def is_fused_activation(function: Any) -> bool:
    """Whether a TFLite file makes an activation function part of the operation before it, see `fusion`."""
    return any(function is getattr(keras.activations, name) for name in ("linear", *FUSED_ACTIVATIONS))


def scores_of(model: keras.Model) -> str:
    """Whether a model gives "probabilities" or "logits", as its layers say; empty where they do not."""
    return _scores_of(keras.tree.flatten(model.outputs)[0]) if is_graph(model) else ""


def _scores_of(tensor: Any) -> str:
    """`scores_of`, of what comes out of a layer or a bare operation."""
    layer, place, sources = origin_of(tensor)
    if isinstance(layer, keras.Model):
        return _scores_of(keras.tree.flatten(layer.outputs)[place]) if is_graph(layer) else ""
    function = getattr(layer, "activation", None)
    if type(layer).__name__ in ("Softmax", "Sigmoid") or function in PROBABILITIES:
        return "probabilities"
    if type(layer).__name__ in SAME_SCORES or (isinstance(layer, keras.layers.Activation) and function is keras.activations.linear):
        return _scores_of(sources[0])
    return "logits" if function is keras.activations.linear else ""


def gives_probabilities(model: keras.Model) -> bool:
    """Whether the layers of a model say that its outputs are probabilities already, not logits."""
    return scores_of(model) == "probabilities"


def is_relu(layer: Any, *, largest: int | None = None) -> bool:
    """Whether a layer is a ReLU without an upper bound, which a positive factor passes, or with `largest=6` a ReLU6."""
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value == largest and not layer.negative_slope and not layer.threshold
    function = keras.activations.relu6 if largest else keras.activations.relu
    return isinstance(layer, keras.layers.Activation) and layer.activation is function
