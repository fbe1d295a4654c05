"""The same network with another classifier, other channels or other names of layers."""

from numbers import Integral
from typing import Any

import keras
import numpy as np

from keras_resnet.errors import InputError, shown
from keras_resnet.hooks import functional_of
from keras_resnet.networks.connections import CONVOLUTIONS
from keras_resnet.transfer.copying import Graph, check_graph, closed, copied, copy_of, model_of, opened

GLOBAL_POOLS = tuple(getattr(keras.layers, f"Global{kind}Pooling{rank}D") for kind in ("Average", "Max") for rank in (1, 2, 3))
EXTRA = ("zeros", "mean")


def replace_head(
    model: keras.Model, classes: int, *, dropout: float = 0.0, activation: str | None = None, name: str = "logits"
) -> keras.Model:
    """The network with a new classifier on its pooled features.

    Args:
        model: a functional classifier, or a network without one; a last map (batch, *space, channels) is averaged over space.
        classes: outputs of the new classifier.
        dropout: share of the features that are dropped in training.
        activation: of the classifier, such as "softmax"; None for logits.
        name: of the new layer.

    Returns: a functional model, uncompiled, from the inputs of `model` to float32 (batch, classes). It has the layers of `model`,
    not copies of them: they share their weights, and what trains one changes the other. The classifier starts from small normal
    weights (arXiv:1706.02677 section 5.1). A model inside `model` stays one, unless the features are inside it.

    InputError if no features are found: neither a global pooling, nor a Dense layer, nor maps as the output.

    >>> replace_head(keras.applications.ResNet50(weights=None), classes=10).output_shape
    (None, 10)
    """
    check_graph(model)
    if not isinstance(classes, Integral) or classes < 1 or not 0 <= dropout < 1:
        raise InputError(
            f"classes={shown(classes)}, dropout={dropout}: expected at least 1 class, and a share of at least 0 and below 1"
        )
    graph = closed(model)
    features = features_of(graph)
    if features is None:
        graph = opened(model)
        features = features_of(graph)
    if features is None:
        raise InputError(
            f"{model.name!r} has no pooled features: neither a global pooling nor a Dense layer, nor one map as the output"
        )
    if len(features.shape) > 2:
        features = getattr(keras.layers, f"GlobalAveragePooling{len(features.shape) - 2}D")(
            data_format="channels_last", name="pool"
        )(features)
    if dropout:
        features = keras.layers.Dropout(dropout, name="dropout")(features)
    small = keras.initializers.RandomNormal(stddev=0.01)
    logits = keras.layers.Dense(classes, activation=activation, kernel_initializer=small, dtype="float32", name=name)(features)
    return model_of(graph.inputs, logits, model.name)


def features_of(graph: Graph) -> Any:
    """What a classifier is fed with: pooled maps, the maps that come out unpooled, or the input of the last Dense layer."""
    outputs = keras.tree.flatten(graph.outputs)
    if len(outputs) == 1 and 3 <= len(outputs[0].shape) <= 5:
        return outputs[0]
    for layer, _, results in reversed(graph.calls):
        if isinstance(layer, GLOBAL_POOLS) and len(results[0].shape) == 2:
            return results[0]
    return next((sources[0] for layer, sources, _ in reversed(graph.calls) if isinstance(layer, keras.layers.Dense)), None)


def with_prefix(model: keras.Model, prefix: str) -> keras.Model:
    """A copy of a model, uncompiled, whose name and names of layers and inputs begin with `prefix`.

    Two networks can then be in one model, where layer names must be unique. `freeze` and `layer_decay` still find the stages.

    >>> one, other = with_prefix(kr.build("resnet8"), "one_"), with_prefix(kr.build("resnet8"), "other_")
    >>> both = keras.Model([one.input, other.input], keras.layers.concatenate([one.output, other.output]))
    """
    if not isinstance(prefix, str) or not prefix or "/" in prefix:
        raise InputError(f"prefix={shown(prefix)}: expected at least one character, and none of them '/'")
    check_graph(model)
    return copied(model, lambda operation: copy_of(operation, name=prefix + operation.name), prefix=prefix)


def adapt_channels(model: keras.Model, channels: int, *, extra: str = "zeros") -> keras.Model:
    """A copy of a network, uncompiled, that takes images of another number of channels. All other weights are those of `model`.

    One channel: the logits of a grey image are those of `model` for the image repeated in each channel. The first kernel is summed
    over its channels. If the channels are normalised by different numbers, no such kernel exists, because zeros surround the
    normalised image: then a layer named "channels" repeats the channel, and the kernel stays.

    More channels: the first ones keep their kernel and their normalisation, and the others get those of `extra`. With "zeros" the
    logits are those of the first channels alone until the network is trained. From one channel, all get an equal share of its
    kernel.

    Fewer, but more than one: each gets an equal share of the sum of the kernel. Images that are the same in all channels then give
    the logits that they give in `model`, unless its channels are normalised by different numbers.

    Normalisation of added channels, in Rescaling, Normalization and BatchNormalization layers before the first convolution, is by
    the average of the means and deviations that there were.

    Args:
        model: a functional model with one input (batch, *space, channels).
        channels: of the copy.
        extra: the kernel of added channels: "zeros", or the "mean" over the channels that there were.

    InputError for another model, and where a layer before the first convolution cannot be adapted.
    """
    check_graph(model)
    if not isinstance(channels, Integral) or channels < 1 or extra not in EXTRA:
        raise InputError(f"channels={shown(channels)}, extra={extra!r}: expected at least 1 channel, and one of {', '.join(EXTRA)}")
    old = functional_of(model).input
    if not isinstance(old, keras.KerasTensor) or not isinstance(old.shape[-1], int):
        raise InputError(f"{model.name!r} must have one input, whose last axis is a known number of channels")
    there = old.shape[-1]
    image = keras.Input(batch_shape=(*old.shape[:-1], channels), dtype=old.dtype, name=old.name)
    if channels == 1 < there and not is_even(model):
        return copied(model, copy_of, inputs=image, first=lambda grey: keras.layers.Concatenate(name="channels")([grey] * there))
    return copied(
        model,
        lambda operation: copy_of(operation, **numbers_of(operation, channels)),
        inputs=image,
        weights=lambda layer, copy: [fitted(*pair, layer, extra) for pair in zip(layer.get_weights(), copy.weights, strict=True)],
    )


def is_even(model: keras.Model) -> bool:
    """Whether the layers before the first convolution treat all channels alike."""
    graph = opened(model)
    raw = {id(tensor) for tensor in keras.tree.flatten(graph.inputs)}
    for layer, sources, results in graph.calls:
        if any(id(source) in raw for source in sources) and not isinstance(layer, CONVOLUTIONS):
            raw.update(map(id, results))
            values = [getattr(layer, "scale", 0), getattr(layer, "offset", 0)] if isinstance(layer, keras.layers.Rescaling) else []
            values += [getattr(layer, name, None) for name in ("mean", "variance")]
            values += layer.get_weights() if isinstance(layer, keras.layers.BatchNormalization) else []
            if any(np.ptp(np.asarray(value)) > 0 for value in values if value is not None):
                return False
    return True


def numbers_of(operation: Any, channels: int) -> dict[str, Any]:
    """What the configuration of a layer has of each channel, for another number of channels."""
    if isinstance(operation, keras.layers.Rescaling) and (np.size(operation.scale) > 1 or np.size(operation.offset) > 1):
        scale, offset = np.broadcast_arrays(np.asarray(operation.scale, "float64"), np.asarray(operation.offset, "float64"))
        deviations, means = spread(1 / scale, channels), spread(-offset / scale, channels)
        return {"scale": (1 / deviations).tolist(), "offset": (-means / deviations).tolist()}
    if isinstance(operation, keras.layers.Normalization) and operation.input_mean is not None:
        numbers = {"mean": operation.input_mean, "variance": operation.input_variance}
        return {name: spread(np.asarray(value), channels).tolist() for name, value in numbers.items() if np.size(value) > 1}
    return {}


def spread(values: np.ndarray, channels: int) -> np.ndarray:
    """Values (..., channels) for another number of them: those that there were and their average, or only that for fewer."""
    average, there = values.mean(-1, keepdims=True), values.shape[-1]
    if channels < there:
        return np.repeat(average, channels, -1)
    return np.concatenate([values, *[average] * (channels - there)], -1)


def fitted(weight: np.ndarray, other: Any, layer: Any, extra: str) -> np.ndarray:
    """A weight of a layer in the shape that its copy has. InputError if nobody knows how."""
    if weight.shape == tuple(other.shape):
        return weight
    if isinstance(layer, CONVOLUTIONS) and layer.groups == 1:
        return kernel_for(weight, other.shape[-2], extra)
    if isinstance(layer, keras.layers.BatchNormalization | keras.layers.Normalization):
        return spread(weight, other.shape[-1])
    raise InputError(f"layer {layer.name!r} has a weight of {weight.shape}, which cannot be adapted to {tuple(other.shape)}")


def kernel_for(kernel: np.ndarray, channels: int, extra: str) -> np.ndarray:
    """A kernel (*size, channels, filters) for another number of channels."""
    there, average = kernel.shape[-2], kernel.mean(-2, keepdims=True)
    if there == 1 or channels < there:
        return np.repeat(average * there / channels, channels, -2)
    added = average if extra == "mean" else np.zeros_like(average)
    return np.concatenate([kernel, *[added] * (channels - there)], -2)
