"""The normalisation of colours in a TFLite file, as a 1x1 convolution: LiteRT's fastest way to scale channels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_resnet.hooks import replaced
from keras_resnet.networks.connections import every_layer

MOST_CHANNELS = 8  # that a convolution scales faster: at 32 its products are too many


@contextmanager
def scaled_by_convolution(model: keras.Model) -> Iterator[None]:
    """Let layers of `model` that scale each channel of images do so by a 1x1 convolution, while the context lasts.

    LiteRT takes several times longer to multiply and to add by channel, where there are few. The outputs are the same but for
    rounding.
    """
    with replaced({layer: convolution_call(layer, layer.call) for layer in every_layer(model) if is_by_channel(layer)}, "call"):
        yield


def is_by_channel(layer: keras.layers.Layer) -> bool:
    """Whether a layer scales by a number for each of a few channels, the last dimension of its inputs."""
    return (
        type(layer) is keras.layers.Rescaling
        and all(np.size(numbers) == np.shape(numbers)[-1] for numbers in (layer.scale, layer.offset) if np.ndim(numbers))
        and 1 < channels(layer) <= MOST_CHANNELS
    )


def channels(layer: keras.layers.Rescaling) -> int:
    return max(np.size(layer.scale), np.size(layer.offset))


def convolution_call(layer: keras.layers.Rescaling, original: Callable[..., Any]) -> Callable[..., Any]:
    """The call of a layer, as a convolution where its inputs are images with so many channels."""

    def call(inputs: Any) -> Any:
        if len(inputs.shape) != 4 or inputs.shape[-1] != channels(layer):
            return original(inputs)
        kernel = np.diag(np.broadcast_to(np.ravel(layer.scale), channels(layer))).astype("float32")[None, None]
        images = keras.ops.cast(inputs, layer.compute_dtype)
        outputs = keras.ops.conv(images, keras.ops.cast(kernel, layer.compute_dtype), data_format="channels_last")
        return outputs + keras.ops.cast(layer.offset, layer.compute_dtype)

    return call
