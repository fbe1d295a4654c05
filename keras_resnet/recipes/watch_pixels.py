"""Looks at the pixels of the first step of a training, see `networks.pixel_range`."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import keras

from keras_resnet.hooks import is_training, replaced
from keras_resnet.networks.pixel_range import LOOKED_AT, normalizing_layers, notice


class WatchPixels(keras.callbacks.Callback):
    """Logs a warning after the first step if a network that normalises got pixels that were scaled before.

    It sees what enters the normalisation itself, behind layers of your own. Not on JAX, and not on several devices.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stack, self.is_done = ExitStack(), False
        self.limits: list[keras.Variable] = []

    def on_train_begin(self, logs: Any = None) -> None:
        devices = getattr(getattr(self.model, "distribute_strategy", None), "num_replicas_in_sync", 1)
        if self.is_done or devices > 1 or keras.backend.backend() == "jax":
            return
        layers = list(normalizing_layers(self.model))
        self.limits = [keras.Variable([0.0, 255.0], trainable=False, dtype="float32") for _ in layers]
        calls = {layer: watched(layer, limits) for layer, limits in zip(layers, self.limits, strict=True)}
        self.stack.enter_context(replaced(calls, "call"))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self.is_done:
            self.is_done = True
            any(notice(*keras.ops.convert_to_numpy(limits).tolist()) for limits in self.limits)
            self.stack.close()

    def on_train_end(self, logs: Any = None) -> None:
        self.stack.close()


def watched(layer: keras.layers.Rescaling, limits: keras.Variable) -> Callable[..., Any]:
    """The call of a layer, which leaves the smallest and largest pixel that it is trained on in `limits`."""
    plain = layer.call

    def call(inputs: Any) -> Any:
        if is_training(layer):
            pixels = keras.ops.cast(inputs[:LOOKED_AT], "float32")
            limits.assign(keras.ops.stack([keras.ops.min(pixels), keras.ops.max(pixels)]))
        return plain(inputs)

    return call
