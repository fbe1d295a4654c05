"""Cross-layer equalisation (arXiv:1906.04721): the same network, with weights that lose less in int8."""

from typing import Any

import keras
import numpy as np

from keras_resnet.networks.connections import Connections, is_convolution, is_relu
from keras_resnet.networks.loading import deep_recursion


def equalized(model: keras.Model) -> keras.Model:
    """A copy of a model in which channels between two convolutions have ranges alike; its outputs are the same but for rounding.

    Where a BatchNormalization feeds one convolution through a ReLU alone, a channel can be divided before and multiplied behind
    by any positive number. This one makes the largest of its weights and its offset before, with the normalisation folded in,
    equal to the largest of its weights behind. Other layers stay.
    """
    with deep_recursion():
        copy = keras.models.clone_model(model, clone_function=copied)
    copy.set_weights(model.get_weights())
    for convolution, norm, following in pairs(copy):
        gamma, beta, _, variance = (np.array(weight) for weight in norm.get_weights())
        kernel, *bias = (np.array(weight) for weight in following.get_weights())
        output_range = largest(convolution.get_weights()[0], -1) * np.abs(gamma) / np.sqrt(variance + norm.epsilon)
        output_range = np.maximum(output_range, np.abs(beta))  # a channel without weights would get a huge offset
        input_range = largest(kernel, -2)
        is_usable = (output_range > 0) & (input_range > 0)
        ratio = np.sqrt(np.where(is_usable, output_range, 1) / np.where(is_usable, input_range, 1))
        norm.set_weights([gamma / ratio, beta / ratio, *norm.get_weights()[2:]])
        following.set_weights([kernel * ratio[:, None], *bias])
    return copy


def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A layer of the same kind without weights. Models inside a model are not changed, and may have no configuration."""
    return layer if isinstance(layer, keras.Model) else type(layer).from_config(layer.get_config())


def largest(kernel: np.ndarray, axis: int) -> np.ndarray:
    """The largest absolute value of a kernel for each channel along `axis`."""
    return np.abs(np.moveaxis(kernel, axis, -1)).reshape(-1, kernel.shape[axis]).max(0)


def pairs(model: keras.Model) -> list[tuple[Any, Any, Any]]:
    """Every convolution, its BatchNormalization, and the one convolution that this feeds through a ReLU alone, perhaps padded."""
    triples, connections = [], Connections(model)
    for norm in model.layers:
        if isinstance(norm, keras.layers.BatchNormalization) and norm.scale and norm.center:
            convolution, relu = connections.only_source(norm), connections.only_consumer(norm)
            following = connections.only_consumer(relu)
            if isinstance(following, (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D)):
                following = connections.only_consumer(following)
            chain = (convolution, norm, relu, following)
            is_simple = all(map(connections.is_used_once, chain)) and is_relu(relu)
            if is_simple and is_convolution(convolution) and is_convolution(following) and following.groups == 1:
                triples.append((convolution, norm, following))
    return triples
