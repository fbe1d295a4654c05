"""Batch normalisation in one operation while a model trains, on the TensorFlow backend, where Keras takes about ten."""

from collections.abc import Callable
from typing import Any

import keras


def fuse_normalization(model: keras.Model) -> None:
    """Let every BatchNormalization of `model` train with TensorFlow's fused kernel, forward and backward.

    Only this object changes, and only how it trains: layers, weights and the saved file are those of the plain model, and the
    numbers are the same but for rounding. It does nothing on other backends, in float64, and to layers that do more than to
    normalise the last axis on one device.
    """
    if keras.backend.backend() != "tensorflow":
        return
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and is_simple(layer):
            layer.call = fused(layer, layer.call)


def is_simple(layer: keras.layers.BatchNormalization) -> bool:
    """Whether the kernel can do what the layer does."""
    last = layer.axis in (-1, len(layer.input.shape) - 1)
    more = layer.synchronized or getattr(layer, "renorm", False)
    return last and layer.scale and layer.center and not more and layer.compute_dtype != "float64"


def fused(layer: keras.layers.BatchNormalization, plain: Callable[..., Any]) -> Callable[..., Any]:
    """The call of a layer, fused where it trains."""
    import tensorflow as tf

    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training or not layer.trainable or mask is not None:
            return plain(inputs, training=training, mask=mask)
        shape = tf.shape(inputs)
        rank = len(inputs.shape)
        images = inputs if rank == 4 else tf.reshape(inputs, [shape[0], -1, 1, inputs.shape[-1]])
        gamma, beta = (tf.cast(variable.value, "float32") for variable in (layer.gamma, layer.beta))
        # The variance of the kernel is that of a sample, Keras's that of all there is.
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=images, scale=gamma, offset=beta, mean=[], variance=[], epsilon=layer.epsilon, is_training=True
        )
        count = tf.cast(tf.size(images) // images.shape[-1], "float32")
        variance *= (count - 1) / count
        for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving * layer.momentum + tf.cast(value, moving.dtype) * (1 - layer.momentum))
        return outputs if rank == 4 else tf.reshape(outputs, shape)

    return call
