"""The residual unit, a[l+2] = g(z[l+2] + a[l]), and the few layers that it is made of.

`identity_block` and `projection_block` work on their own in any functional Keras model, channels last, of rank 1 to 3.
Which unit stands where in a network is the business of `resnet.py`.
"""

from functools import partial
from typing import Any, Literal

import keras
from keras import KerasTensor, layers

from keras_resnet.errors import InputError, unknown
from keras_resnet.spec import ResNetSpec, resolve

Shortcut = Literal["identity", "projection", "avg_projection", "padding", "none"]
UNIT_FIELDS = ("block", "activation_order", "groups", "group_width", "squeeze", "zero_init", "norm_momentum", "norm_epsilon")


def identity_block(x: KerasTensor, width: int, *, name: str | None = None, **fields: Any) -> KerasTensor:
    """A residual unit whose shortcut is the input itself (arXiv:1512.03385 eq. 1).

    Args:
        x: tensor (batch, *space, channels), with channels = `width`, or 4 * `width` for `block="bottleneck"`.
        width: filters of the 3x3 convolutions.
        name: prefix of the layer names, or None to let Keras name them.
        fields: those of `ResNetSpec` in `UNIT_FIELDS`.

    Returns: tensor of the shape of `x`. InputError if the branch would have another number of channels than `x`.

    >>> x = identity_block(x, 64, block="bottleneck", name="block2")
    """
    spec = _unit_spec(fields)
    if x.shape[-1] != width * spec.expansion:
        raise InputError(
            f"identity_block with width {width} and block={spec.block!r} puts out {width * spec.expansion} channels, but its "
            f"input has {x.shape[-1]}; use projection_block where the shape changes"
        )
    return residual_unit(x, width, spec, shortcut="identity", name=name)


def projection_block(x: KerasTensor, width: int, *, stride: int = 2, name: str | None = None, **fields: Any) -> KerasTensor:
    """A residual unit whose shortcut is a strided 1x1 convolution (arXiv:1512.03385 eq. 2).

    Args:
        x: tensor (batch, *space, channels).
        width: filters of the 3x3 convolutions.
        stride: step of the 3x3 convolution and of the shortcut, along every spatial axis.
        name: prefix of the layer names, or None to let Keras name them.
        fields: those of `ResNetSpec` in `UNIT_FIELDS`.

    Returns: tensor (batch, *ceil(space / stride), `width`, or 4 * `width` for `block="bottleneck"`).
    """
    return residual_unit(x, width, _unit_spec(fields), stride=stride, shortcut="projection", name=name)


def residual_unit(
    x: KerasTensor,
    width: int,
    spec: ResNetSpec,
    *,
    stride: int = 1,
    shortcut: Shortcut = "identity",
    name: str | None = None,
    preactivate: bool = True,
) -> KerasTensor:
    """One unit in the style of `spec`. `preactivate=False` is for an input that is activated already, as after a stem."""
    before = spec.activation_order == "full_preactivation"
    activated = norm_relu(x, spec, name, 1) if before and preactivate else x
    branch = residual_branch(activated, width, spec, stride, name)
    if shortcut == "none":
        out = branch
    else:
        # A shortcut that changes the shape starts from the activated input (arXiv:1603.05027, appendix).
        start = x if shortcut == "identity" else activated
        passed = shortcut_path(start, branch.shape[-1], spec, stride, shortcut, name)
        # The shortcut comes first: Keras walks a graph depth first through the first input, and the shorter way recurses less.
        out = layers.Add(name=_join(name, "add"))([passed, branch])
    return out if before else layers.Activation("relu", name=_join(name, "out"))(out)


def residual_branch(x: KerasTensor, width: int, spec: ResNetSpec, stride: int, name: str | None) -> KerasTensor:
    """The convolutions of a unit: conv1, norm1, relu1, conv2, ... or, pre-activated, conv1, norm2, relu2, conv2, ..."""
    if spec.block == "basic":
        convolutions = [(width, 3, stride), (width, 3, 1)]
    else:
        inner = spec.inner_width(width)
        convolutions = [(inner, 1, 1), (inner, 3, stride), (width * spec.expansion, 1, 1)]
    before = spec.activation_order == "full_preactivation"
    for number, (filters, size, step) in enumerate(convolutions, start=1):
        zero = spec.zero_init and number == len(convolutions)
        if before and number > 1:
            x = norm_relu(x, spec, name, number)
        groups = spec.groups if size > 1 else 1
        x = convolution(x, filters, size, step, groups=groups, zero=zero and before, name=_join(name, f"conv{number}"))
        if not before:
            x = batch_norm(x, spec, zero=zero, name=_join(name, f"norm{number}"))
            if number < len(convolutions):
                x = layers.Activation("relu", name=_join(name, f"relu{number}"))(x)
    return squeeze_excitation(x, spec.squeeze, _join(name, "squeeze")) if spec.squeeze else x


def squeeze_excitation(x: KerasTensor, ratio: int, name: str | None) -> KerasTensor:
    """Weigh the channels by their averages over space, through two 1x1 convolutions with bias (arXiv:1709.01507)."""
    channels = x.shape[-1]
    weight = ranked("GlobalAveragePooling", x)(keepdims=True, name=_join(name, "pool"))(x)
    weight = ranked("Conv", x)(max(1, channels // ratio), 1, activation="relu", name=_join(name, "reduce"))(weight)
    weight = ranked("Conv", x)(channels, 1, activation="sigmoid", name=_join(name, "expand"))(weight)
    return layers.Multiply(name=_join(name, "scale"))([x, weight])


def shortcut_path(x: KerasTensor, channels: int, spec: ResNetSpec, stride: int, kind: Shortcut, name: str | None) -> KerasTensor:
    """The way around the branch, to `channels` channels: projection, subsampling and zeros, or nothing."""
    if kind == "avg_projection" and stride > 1:
        # padding="same" adds no pixels to the average: an odd last one counts alone.
        x = ranked("AveragePooling", x)(stride, padding="same", name=_join(name, "shortcut_pool"))(x)
        stride = 1
    if kind in ("projection", "avg_projection"):
        x = convolution(x, channels, 1, stride, name=_join(name, "shortcut_conv"))
        return x if spec.activation_order == "full_preactivation" else batch_norm(x, spec, name=_join(name, "shortcut_norm"))
    if kind == "padding":
        if stride > 1:
            x = ranked("AveragePooling", x)(1, strides=stride, name=_join(name, "shortcut_pool"))(x)
        missing = channels - x.shape[-1]
        if missing:
            # Read as channels first, the last "spatial" axis is the channels: a built-in layer with a name pads them.
            amounts = [(0, 0)] * (len(x.shape) - 3) + [(0, missing)]
            zeros = ranked("ZeroPadding", x, data_format="channels_first")
            x = zeros(amounts if len(amounts) > 1 else amounts[0], name=_join(name, "shortcut_pad"))(x)
    return x


def convolution(
    x: KerasTensor, filters: int, size: int, stride: int = 1, *, groups: int = 1, zero: bool = False, name: str | None = None
) -> KerasTensor:
    """A convolution without bias, `size` odd, padded by `size // 2` on both sides as the papers and PyTorch do.

    Keras's padding="same" would pad a strided one on the far side only. He-normal start with fan-out (arXiv:1502.01852).
    """
    if stride > 1 and size > 1:
        x = ranked("ZeroPadding", x)(size // 2, name=_join(name, "pad"))(x)
    he_normal = keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="untruncated_normal")
    return ranked("Conv", x)(
        filters,
        size,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        groups=groups,
        use_bias=False,
        kernel_initializer="zeros" if zero else he_normal,
        name=name,
    )(x)


def max_pool(x: KerasTensor, *, name: str | None = None) -> KerasTensor:
    """3x3 max-pooling with stride 2, padded by 1 on both sides; `x` is not negative, so a padding of zeros changes nothing."""
    x = ranked("ZeroPadding", x)(1, name=_join(name, "pad"))(x)
    return ranked("MaxPooling", x)(3, strides=2, name=name)(x)


def batch_norm(x: KerasTensor, spec: ResNetSpec, *, zero: bool = False, name: str | None = None) -> KerasTensor:
    """BatchNormalization over the channels with the constants of `spec`; `zero` starts gamma at zero."""
    return layers.BatchNormalization(
        momentum=spec.norm_momentum, epsilon=spec.norm_epsilon, gamma_initializer="zeros" if zero else "ones", name=name
    )(x)


def norm_relu(x: KerasTensor, spec: ResNetSpec, prefix: str | None, number: int | str = "") -> KerasTensor:
    """BatchNormalization and ReLU, named `prefix_normN` and `prefix_reluN`."""
    x = batch_norm(x, spec, name=_join(prefix, f"norm{number}"))
    return layers.Activation("relu", name=_join(prefix, f"relu{number}"))(x)


def _unit_spec(fields: dict[str, Any]) -> ResNetSpec:
    for name in fields:
        if name not in UNIT_FIELDS:
            raise unknown("field of a unit", name, UNIT_FIELDS)
    return resolve(ResNetSpec(), **fields)


def _join(prefix: str | None, suffix: str) -> str | None:
    return f"{prefix}_{suffix}" if prefix else None


def ranked(kind: str, x: KerasTensor, data_format: str = "channels_last") -> Any:
    """The layer class of `kind` for the rank of `x`: (batch, length, channels) takes Conv1D.

    Keras's global data format plays no part: a network is channels last everywhere.
    """
    return partial(getattr(layers, f"{kind}{len(x.shape) - 2}D"), data_format=data_format)
