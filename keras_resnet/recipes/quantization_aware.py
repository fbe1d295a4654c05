"""Quantisation-aware training (arXiv:1712.05877), on TensorFlow: the network trains with the rounding of its int8 file."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.errors import InputError
from keras_resnet.hooks import forget_traces, replace
from keras_resnet.networks.connections import (
    Connections,
    every_layer,
    is_convolution,
    is_functional,
    is_fused_activation,
    is_relu,
)
from keras_resnet.networks.settings import fixed_settings

MOMENTUM = 0.99  # of the moving averages of ranges
SPATIAL = ("ZeroPadding", "MaxPooling", "AveragePooling", "SpatialDropout")
SAME_RANGE = (  # their results are some of the numbers that come in, or between them
    *(getattr(keras.layers, f"{kind}{rank}D") for kind in SPATIAL for rank in (1, 2, 3)),
    *(getattr(keras.layers, kind) for kind in ("InputLayer", "Dropout", "Flatten", "Reshape", "Permute", "Softmax")),
)
JOINED = (keras.layers.Add, keras.layers.BatchNormalization, keras.layers.Dense)  # with a ReLU behind them, as convolutions are


@fixed_settings()
def simulate_integers(model: keras.Model, weight_bits: int = 8) -> None:
    """Simulate the arithmetic of an int8 file, or with `weight_bits=4` of an int4 file, in `model`; gradients use the
    straight-through estimator.

    A BatchNormalization after a convolution is folded into its kernel with frozen moving statistics. Folded kernels are rounded to
    `weight_bits` with a scale for each filter; activations are rounded to 8 bits over a range that is a moving average of the
    smallest and largest value of each training batch. Only this object changes: layers, weights and the saved file are those of
    the plain model, until `release`.

    Convolutions, Dense layers and the layers between them are covered; of other layers with weights only the outputs are rounded.
    Call `release` before you export the model. InputError on other backends than TensorFlow, for a model that
    does not compute in float32, and for one that does it already.
    """
    if (backend := keras.backend.backend()) != "tensorflow":
        raise InputError(f"quantisation-aware training needs the TensorFlow backend, not {backend}: set KERAS_BACKEND=tensorflow")
    if getattr(model.call, "recomputes", False):
        raise InputError("quantisation-aware training does not support remat=True: build the model without it")
    if not is_functional(model):
        raise InputError(f"quantisation-aware training takes functional and sequential models, but {model.name!r} is a subclass")
    layers = list(every_layer(model))
    if other := {layer.compute_dtype for layer in layers} - {"float32"}:
        raise InputError(f"quantisation-aware training needs a float32 model, but this one computes in {', '.join(sorted(other))}")
    if ranges(model):
        raise InputError("this model is in quantisation-aware training already")
    mode, connections = Mode(), Connections(model)
    folded = {layer: norm for layer in layers if (norm := folded_norm(layer, connections))}
    for layer in layers:
        if layer in folded.values():
            set_call(layer, lambda inputs, **_: inputs)
        elif is_convolution(layer):
            set_call(layer, rounded_convolution(layer, folded.get(layer), mode, weight_bits))
        elif type(layer) is keras.layers.Dense:
            set_call(layer, rounded_dense(layer, mode, weight_bits))
        elif isinstance(layer, keras.layers.BatchNormalization):
            set_call(layer, rounded_normalization(layer, mode))
        if layer not in folded and has_range(layer, connections):
            set_call(layer, rounded_outputs(layer, mode))
    call = mode.following(model.call)
    call.weight_bits = weight_bits  # type: ignore[attr-defined]
    set_call(model, call)
    forget_traces(model)


def ranges(model: keras.Model) -> list[keras.Variable]:
    """The smallest and largest value of every map of a model that simulates integers, (2,) each, in the order of its layers."""
    return [map_range.limits for layer in every_layer(model) for map_range in getattr(layer.call, "ranges", ())]


def round_kernels(model: keras.Model, weight_bits: int) -> None:
    """Give the kernels of `model` the values that `simulate_integers` rounds them to. Each filter has a scale of its own, so that
    holds for folded kernels too, and a file of as many bits rounds them no further."""
    for layer in every_layer(model):
        if is_convolution(layer) or type(layer) is keras.layers.Dense:
            layer.kernel.assign(rounded(keras.ops.convert_to_tensor(layer.kernel), weight_bits))


def release(model: keras.Model, *, keep_kernels: bool = False) -> None:
    """Undo `simulate_integers`. Kernels get the rounded values that the training computed with, so that the plain model answers as
    its file does; with `keep_kernels` they stay those that the optimiser changes, to train on from."""
    if not keep_kernels and (bits := getattr(model.call, "weight_bits", None)):
        round_kernels(model, bits)
    replaced = [layer for layer in (model, *every_layer(model)) if hasattr(layer.call, "before")]
    for layer in replaced:
        replace(layer, "call", layer.call.before)
    if replaced:
        forget_traces(model)


def set_call(layer: Any, call: Callable[..., Any]) -> None:
    """Put `call` in the place of the layer's, and remember the first one."""
    before = layer.call
    call.ranges = (*getattr(before, "ranges", ()), *getattr(call, "ranges", ()))  # type: ignore[attr-defined]
    call.before = getattr(before, "before", before)  # type: ignore[attr-defined]
    replace(layer, "call", call)


class Mode:
    """Whether the model is being called to train."""

    training = False

    def following(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call of the model, which sets this mode."""

        def call_in_mode(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            self.training = bool(training)
            try:
                return call(inputs, training=training, mask=mask)
            finally:
                self.training = False

        return call_in_mode


class Range:
    """Rounds a map to 256 values between the ends of its range, zero one of them."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.limits = keras.Variable(np.zeros(2, "float32"), trainable=False, aggregation="mean")

    def __call__(self, values: Any) -> Any:
        """`values`, rounded, of the same shape. In training, the range learns from them first."""
        if self.mode.training:
            now = tf.stop_gradient(tf.stack([tf.reduce_min(values), tf.reduce_max(values)]))
            before = tf.convert_to_tensor(self.limits.value)
            first = tf.reduce_all(tf.equal(before, 0))
            self.limits.assign(tf.where(first, now, before * MOMENTUM + now * (1 - MOMENTUM)))
        low, high = tf.unstack(tf.convert_to_tensor(self.limits.value))
        integers = tf.quantization.fake_quant_with_min_max_vars(values, tf.minimum(low, 0), tf.maximum(high, 0))
        return tf.where(tf.equal(low, high), values, integers)  # nothing learned yet


def rounded(kernel: Any, bits: int = 8) -> Any:
    """A kernel (..., filters) on 255 values (with 4 bits 15) for each filter, zero in their middle; gradients pass unchanged."""
    flat = tf.reshape(kernel, [-1, kernel.shape[-1]])
    largest = tf.reduce_max(tf.abs(flat), axis=0)
    integers = tf.quantization.fake_quant_with_min_max_vars_per_channel(flat, -largest, largest, bits, narrow_range=True)
    return kernel + tf.stop_gradient(tf.reshape(integers, kernel.shape) - kernel)


def rounded_constant(values: Any) -> Any:
    """The factors or summands of all channels, as one tensor of 8 bits."""
    low, high = tf.minimum(tf.reduce_min(values), 0), tf.maximum(tf.reduce_max(values), 0)
    return tf.quantization.fake_quant_with_min_max_vars(values, tf.stop_gradient(low), tf.stop_gradient(high))


def factor_and_offset(norm: keras.layers.BatchNormalization) -> tuple[Any, Any]:
    """What a normalisation by its moving statistics multiplies with, and then adds: (channels,) each."""
    factor = keras.ops.rsqrt(norm.moving_variance + norm.epsilon)
    if norm.scale:
        factor = factor * norm.gamma
    offset = -norm.moving_mean * factor
    return factor, offset + norm.beta if norm.center else offset


def rounded_convolution(layer: Any, norm: keras.layers.BatchNormalization | None, mode: Mode, bits: int) -> Callable[..., Any]:
    """The call of a convolution with `norm` folded into its kernel, which is rounded to so many bits."""

    def linear(inputs: Any) -> Any:
        kernel, bias = keras.ops.convert_to_tensor(layer.kernel), layer.bias
        if norm is not None:
            factor, offset = factor_and_offset(norm)
            kernel = kernel * factor
            bias = offset if bias is None else bias * factor + offset
        outputs = layer.convolution_op(inputs, rounded(kernel, bits))
        return outputs if bias is None else outputs + bias

    return with_activation(layer, linear, mode)


def rounded_dense(layer: keras.layers.Dense, mode: Mode, bits: int) -> Callable[..., Any]:
    """The call of a Dense layer with its kernel rounded to so many bits."""

    def linear(inputs: Any) -> Any:
        outputs = keras.ops.matmul(inputs, rounded(keras.ops.convert_to_tensor(layer.kernel), bits))
        return outputs if layer.bias is None else outputs + layer.bias

    return with_activation(layer, linear, mode)


def with_activation(layer: Any, linear: Callable[[Any], Any], mode: Mode) -> Callable[..., Any]:
    """The call of a layer with its activation, before which there is a map unless a file makes one operation of both."""
    between = () if is_fused_activation(layer.activation) else (Range(mode),)

    def call(inputs: Any, **_: Any) -> Any:
        return layer.activation(between[0](linear(inputs)) if between else linear(inputs))

    call.ranges = between  # type: ignore[attr-defined]
    return call


def rounded_normalization(norm: keras.layers.BatchNormalization, mode: Mode) -> Callable[..., Any]:
    """The call of a BatchNormalization on its own: a product and a sum, between which there is a map."""
    between = Range(mode)

    def call(inputs: Any, **_: Any) -> Any:
        factor, offset = factor_and_offset(norm)
        return between(inputs * rounded_constant(factor)) + rounded_constant(offset)

    call.ranges = (between,)  # type: ignore[attr-defined]
    return call


def rounded_outputs(layer: Any, mode: Mode) -> Callable[..., Any]:
    """The call of a layer, and its outputs rounded."""
    call, limits = layer.call, Range(mode)

    def call_and_round(*args: Any, **kwargs: Any) -> Any:
        return limits(call(*args, **kwargs))

    call_and_round.ranges = (limits,)  # type: ignore[attr-defined]
    return call_and_round


def folded_norm(layer: Any, connections: Connections) -> Any:
    """The BatchNormalization over channels that a convolution without activation feeds alone, or None."""
    norm = connections.only_consumer(layer)
    is_norm = isinstance(norm, keras.layers.BatchNormalization) and connections.only_source(norm) is layer
    if not is_convolution(layer) or not is_norm:
        return None
    last = norm.axis in (-1, len(layer.output.shape) - 1)
    return norm if last and layer.activation is keras.activations.linear else None


def has_range(layer: Any, connections: Connections) -> bool:
    """Whether an int8 file has a tensor of its own range for what `layer` puts out, and not one after its ReLU only."""
    if isinstance(layer, SAME_RANGE) or getattr(layer, "activation", None) is keras.activations.softmax:
        return False
    following = connections.only_consumer(layer)
    joins = isinstance(layer, JOINED) or is_convolution(layer)
    return not (joins and connections.is_used_once(following) and (is_relu(following) or is_relu(following, largest=6)))
