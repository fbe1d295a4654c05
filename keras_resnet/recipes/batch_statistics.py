"""The statistics of batch normalisation, computed again for weights that no step has trained, such as an average of weights."""

from collections.abc import Callable, Iterable
from typing import Any

import keras

from keras_resnet.hooks import replaced
from keras_resnet.networks.connections import normalizations


def recompute_statistics(model: keras.Model, batches: Iterable[Any]) -> None:
    """Set the moving mean and variance of every batch normalisation, those of models inside it too, to the means over those
    images.

    Each layer normalises by its batch, as in training, and a batch weighs by its number of images; dropout is off. Frozen layers
    do not change. Averaged weights need this, since the statistics of a training are those of the weights before averaging
    (arXiv:1803.05407 section 3.2).

    Args:
        model: with the weights that the statistics are for.
        batches: of images (batch, ...), a few hundred images in all, or more.

    >>> recompute_statistics(model, (images for images, labels in data.train.take(16)))
    """
    layers = [layer for layer in normalizations(model) if layer.trainable]
    if not layers:
        return
    momenta, done = {layer: layer.momentum for layer in layers}, 0
    try:
        with replaced({layer: _training_call(layer) for layer in layers}, "call"):
            for images in batches:
                for layer in layers:
                    layer.momentum = done / (done + len(images))  # so that the moving average is the mean of the images so far
                model(images, training=False)
                done += len(images)
    finally:
        for layer, momentum in momenta.items():
            layer.momentum = momentum


def _training_call(layer: keras.Layer) -> Callable[..., Any]:
    """The layer's own `call`, always in training."""
    call = layer.call

    def in_training(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return call(inputs, training=True, mask=mask)

    return in_training
