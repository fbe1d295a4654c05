"""Faster training steps on TensorFlow, with fewer and larger operations. The results are those of Keras, to rounding."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.hooks import build_metrics, is_training, momentum_of, replace
from keras_resnet.networks.connections import every_layer, normalizations


def fuse(model: keras.Model) -> None:
    """Let layers of `model` train with the fastest operations that TensorFlow has for them, forward and backward.

    These are every BatchNormalization and, where there are processors only, 1x1 convolutions. Only this object changes, and only
    how it trains: layers, weights, the saved file, predictions and exports are those of the plain model, and the numbers are the
    same but for rounding. It does nothing on other backends, and where a layer does more than such an operation can.
    """
    if keras.backend.backend() != "tensorflow":
        return
    for layer in every_layer(model):
        if isinstance(layer, keras.layers.BatchNormalization) and not hasattr(layer.call, "fused"):
            replace(layer, "call", fused(layer, layer.call))
        elif is_pointwise(layer) and on_processors() and "convolution_op" not in vars(layer):
            replace(layer, "convolution_op", partial(product_to_train, layer, layer.convolution_op))


def is_pointwise(layer: keras.Layer) -> bool:
    """Whether a layer is a convolution that makes every pixel of the outputs from the one at its place in the inputs."""
    if type(layer) is not keras.layers.Conv2D or layer.data_format != "channels_last":
        return False
    return layer.kernel_size == layer.strides == (1, 1) and layer.groups == 1


def on_processors() -> bool:
    """Whether TensorFlow has processors only."""
    return {device.device_type for device in tf.config.list_logical_devices()} == {"CPU"}


def product_to_train(layer: keras.Layer, plain: Callable[..., Any], images: Any, kernel: Any) -> Any:
    """The `convolution_op` of a pointwise convolution: `product` where it trains; what predicts, exports or copies sees the plain
    one."""
    return product(images, kernel) if is_training(layer) else plain(images, kernel)


def product(images: Any, kernel: Any) -> Any:
    """A pointwise convolution as a product of matrices, whose gradient by the kernel takes far less time.

    Args:
        images: (batch, height, width, channels).
        kernel: (1, 1, channels, filters).
    """
    channels, filters = kernel.shape[2:]
    pixels = tf.matmul(tf.reshape(images, [-1, channels]), tf.reshape(kernel, [channels, filters]))
    outputs = tf.reshape(pixels, tf.concat([tf.shape(images)[:-1], [filters]], 0))
    return tf.ensure_shape(outputs, [*images.shape[:-1], filters])


def is_simple(layer: keras.layers.BatchNormalization, rank: int) -> bool:
    """Whether TensorFlow's kernel can do what the layer does to inputs of that rank."""
    needs_more = layer.synchronized or getattr(layer, "renorm", False) or layer.compute_dtype == "float64"
    return layer.axis in (-1, rank - 1) and layer.scale and layer.center and not needs_more


def fused(layer: keras.layers.BatchNormalization, plain: Callable[..., Any]) -> Callable[..., Any]:
    """The call of a layer, fused where it trains."""

    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        rank = len(inputs.shape)
        if not training or not layer.trainable or mask is not None or not is_simple(layer, rank):
            return plain(inputs, training=training, mask=mask)
        shape = tf.shape(inputs)
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

    call.fused = True  # type: ignore[attr-defined]
    return call


def fuse_momentum(optimizer: keras.optimizers.SGD) -> None:
    """Let SGD with momentum change each weight by one kernel, on the TensorFlow backend; the numbers are the same.

    Only this object changes: what is saved of it is plain SGD.
    """
    if keras.backend.backend() != "tensorflow" or not optimizer.momentum:
        return
    plain = optimizer.update_step

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
        state = momentum_of(optimizer, variable)
        if isinstance(gradient, tf.IndexedSlices):
            plain(gradient, variable, learning_rate)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=handle(variable),
            accum=handle(state),
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.constant(optimizer.momentum, variable.dtype),
            use_nesterov=optimizer.nesterov,
        )

    replace(optimizer, "update_step", update_step)


def handle(variable: Any) -> Any:
    """The resource of a Keras or TensorFlow variable, that of this device where it has several."""
    return getattr(variable, "value", variable).handle if isinstance(variable, keras.Variable) else variable.handle


@contextmanager
def graphs_as_written() -> Iterator[None]:
    """Leave out TensorFlow's rewriting of graphs, which takes longer than it saves in the training of a network."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False, **before})


def prepare_metrics(model: keras.Model, *, one_hot: bool = False) -> None:
    """Make the variables of the metrics of a compiled classifier, whose labels are integers or `one_hot`.

    TensorFlow traces a step twice where the first trace makes variables, and a trace takes longer than many steps. Those of the
    optimizer are made by its `build`.
    """
    shape = getattr(model, "output_shape", None)
    if keras.backend.backend() == "tensorflow" and not tf.distribute.has_strategy() and isinstance(shape, tuple):
        outputs = np.zeros((1, *shape[1:]), "float32")
        build_metrics(model, outputs if one_hot else np.zeros(1, "int32"), outputs)


class GraphsAsWritten(keras.callbacks.Callback):
    """`graphs_as_written` while `fit` runs; where that raises, until this callback is deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        weakref.finalize(self, self.stack.close)

    def on_train_begin(self, logs: Any = None) -> None:
        self.stack.enter_context(graphs_as_written())

    def on_train_end(self, logs: Any = None) -> None:
        self.stack.close()


def synchronize_normalization(model: keras.Model) -> None:
    """Let every BatchNormalization of `model` normalise over the images of all devices. On JAX they do so anyway."""
    if keras.backend.backend() == "tensorflow":
        for layer in normalizations(model):
            layer.synchronized = True
