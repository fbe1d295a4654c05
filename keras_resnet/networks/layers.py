"""From a description to Keras: every node of `graph.py` becomes one built-in layer, a network a functional `keras.Model`."""

from collections.abc import Iterable
from dataclasses import replace
from functools import singledispatch
from numbers import Integral
from typing import Any

import keras
from keras import KerasTensor, layers

from keras_resnet.errors import InputError, unknown
from keras_resnet.networks.blocks import Unit, residual_unit
from keras_resnet.networks.graph import (
    Activate,
    Convolution,
    Dense,
    Dropout,
    GlobalPool,
    Input,
    Merge,
    Node,
    Norm,
    Pad,
    PadChannels,
    Pool,
    Rescale,
    Reshape,
    in_order,
)
from keras_resnet.networks.loading import deep_recursion
from keras_resnet.networks.remat import recompute_units
from keras_resnet.networks.resnet import Pooling, outputs
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import name_of, resolve

IDENTITY_FIELDS = (
    "block",
    "stride_on",
    "activation_order",
    "activation",
    "groups",
    "group_width",
    "squeeze",
    "channel_attention",
    "shortcut_gate",
    "gate_bias",
    "shortcut_scale",
    "branch_scale",
    "shortcut_dropout",
    "branch_dropout",
    "stochastic_depth",
    "antialias",
    "norm",
    "norm_groups",
    "norm_momentum",
    "norm_epsilon",
    "zero_init",
)
UNIT_FIELDS = (*IDENTITY_FIELDS, "shortcut")


def build(
    spec: str | ResNetSpec,
    *,
    name: str | None = None,
    features: Iterable[int] | None = None,
    include_top: bool = True,
    pooling: Pooling | None = None,
    remat: bool = False,
    **fields: Any,
) -> keras.Model:
    """The network of `spec` with fresh weights.

    Args:
        spec: a name in `SPECS`, or a `ResNetSpec`.
        name: name of the model; if None the name in `SPECS`, or "custom" for a network that is not there.
        features: levels of the maps to put out, in place of logits, as a dictionary: (2, 3, 4, 5) gives "C2" to "C5", the
            activated outputs of stages 1 to 4; 1 is the stem before its pooling.
        include_top: False leaves out the classifier; the output is then the last map.
        pooling: "avg" or "max" puts out the mean or the maximum of that map over space.
        remat: True computes the inside of every unit again for the backward pass, and keeps the inputs of the units only:
            less memory for more time. The model and its saved file are the same; one that is loaded, copied, or made of its
            layers trains plainly.
        fields: fields of the spec to change, such as `classes` and `input_shape`.

    Returns: a functional model from raw pixels (batch, *input_shape), 0..255, channels last, to float32 logits (batch, classes).
    It holds built-in Keras layers only, named `stem_conv`, `stage1_block1_conv1`, ..., `pool`, `logits`, counted from 1.

    >>> build("resnet50", classes=10).count_params()
    23581642
    """
    spec = resolve(spec, **fields)
    image, out = outputs(spec, features=features, include_top=include_top, pooling=pooling)
    tensor = keras.Input(spec.input_shape, name=image.name)
    made = realize({image: tensor}, keras.tree.flatten(out))
    with deep_recursion():
        model = keras.Model(tensor, keras.tree.map_structure(made.get, out), name=name or name_of(spec))
    if remat:
        recompute_units(model, out)
    return model


def identity_block(x: KerasTensor, width: int, *, name: str | None = None, **fields: Any) -> KerasTensor:
    """A residual unit whose shortcut is the input itself (arXiv:1512.03385 eq. 1).

    Args:
        x: tensor (batch, *space, channels), with channels = `width`, or 4 * `width` for `block="bottleneck"`.
        width: filters of the 3x3 convolutions.
        name: prefix of the layer names, or None to let Keras name them.
        fields: those of `ResNetSpec` that say something about one unit: `UNIT_FIELDS` without "shortcut". `stochastic_depth` is
            the probability to leave out this branch.

    Returns: tensor of the shape of `x`. InputError if the branch would have another number of channels than `x`.

    >>> x = identity_block(x, 64, block="bottleneck", name="block2")
    """
    spec = _unit_spec(width, fields, IDENTITY_FIELDS)
    if x.shape[-1] != width * spec.expansion:
        raise InputError(
            f"identity_block with width {width} and block={spec.block!r} puts out {width * spec.expansion} channels, but its "
            f"input has {x.shape[-1]}; use projection_block where the shape changes"
        )
    start = _start(x)
    unit = residual_unit(start, Unit(name, width, drop=spec.stochastic_depth), spec, shortcut="identity")
    return realize({start: x}, [unit])[unit]


def projection_block(x: KerasTensor, width: int, *, stride: int = 2, name: str | None = None, **fields: Any) -> KerasTensor:
    """A residual unit that changes the shape, with a shortcut of `shortcut="projection"` (arXiv:1512.03385 eq. 2) or another kind.

    Args:
        x: tensor (batch, *space, channels).
        width: filters of the 3x3 convolutions.
        stride: step of the branch and of the shortcut, along every spatial axis.
        name: prefix of the layer names, or None to let Keras name them.
        fields: those of `ResNetSpec` in `UNIT_FIELDS`, such as `shortcut="avg_projection"`. `stochastic_depth` is the probability
            to leave out this branch.

    Returns: tensor (batch, *ceil(space / stride), `width`, or 4 * `width` for `block="bottleneck"`).
    """
    start, spec = _start(x), _unit_spec(width, fields, UNIT_FIELDS)
    if not isinstance(stride, Integral) or stride < 1:
        raise InputError(f"stride={stride}: expected one whole number of at least 1, for every axis")
    unit = residual_unit(start, Unit(name, width, stride, drop=spec.stochastic_depth), spec, shortcut=spec.shortcut)
    return realize({start: x}, [unit])[unit]


def realize(made: dict[Node, KerasTensor], wanted: Iterable[Node]) -> dict[Node, KerasTensor]:
    """`made` and all nodes that `wanted` need, as Keras tensors. It holds the start of the graph, its `Input`."""
    for node in in_order(wanted):
        if node not in made:
            tensors = [made[source] for source in node.inputs]
            made[node] = layer(node)(tensors if isinstance(node, Merge) else tensors[0])
    return made


@singledispatch
def layer(node: Node) -> keras.Layer:
    """The Keras layer of a node. TypeError for one of a kind that is registered nowhere below."""
    raise TypeError(f"no Keras layer is known for a {type(node).__name__}")


@layer.register
def _(node: Rescale) -> keras.Layer:
    numbers = (list(values) if len(values) > 1 else values[0] for values in (node.scale, node.offset))
    return layers.Rescaling(*numbers, name=node.name)


@layer.register
def _(node: Pad) -> keras.Layer:
    return ranked("ZeroPadding", node)(node.amount, name=node.name)


@layer.register
def _(node: PadChannels) -> keras.Layer:
    # Read as channels first, the last "spatial" axis is the channels: a built-in layer with a name pads them.
    amounts = [(0, 0)] * (node.rank - 1) + [(0, node.amount)]
    return ranked("ZeroPadding", node, "channels_first")(amounts if node.rank > 1 else amounts[0], name=node.name)


@layer.register
def _(node: Convolution) -> keras.Layer:
    # Fan-out: arXiv:1502.01852.
    he_normal = keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="untruncated_normal")
    return ranked("Conv", node)(
        node.filters,
        node.size,
        strides=node.stride,
        padding="same" if node.stride == 1 else "valid",
        dilation_rate=node.dilation,
        groups=node.groups,
        activation=node.activation,
        use_bias=node.bias is not None,
        kernel_initializer="zeros" if node.zero else he_normal,
        bias_initializer=keras.initializers.Constant(node.bias) if node.bias else "zeros",
        name=node.name,
    )


@layer.register
def _(node: Norm) -> keras.Layer:
    gamma = "zeros" if node.zero else "ones"
    if node.kind == "group":
        return layers.GroupNormalization(node.groups, epsilon=node.epsilon, gamma_initializer=gamma, name=node.name)
    return layers.BatchNormalization(momentum=node.momentum, epsilon=node.epsilon, gamma_initializer=gamma, name=node.name)


@layer.register
def _(node: Activate) -> keras.Layer:
    return layers.Activation(node.function, dtype="float32" if node.float32 else None, name=node.name)


@layer.register
def _(node: Pool) -> keras.Layer:
    padding = "same" if node.same else "valid"
    return ranked(f"{node.kind}Pooling", node)(node.size, strides=node.stride, padding=padding, name=node.name)


@layer.register
def _(node: GlobalPool) -> keras.Layer:
    return ranked(f"Global{node.kind}Pooling", node)(keepdims=node.keepdims, name=node.name)


@layer.register
def _(node: Reshape) -> keras.Layer:
    return layers.Reshape(node.target, name=node.name)


@layer.register
def _(node: Merge) -> keras.Layer:
    return getattr(layers, node.kind)(name=node.name)


@layer.register
def _(node: Dropout) -> keras.Layer:
    shape = (None, *(1 for _ in node.shape)) if node.whole else None
    return layers.Dropout(node.rate, noise_shape=shape, name=node.name)


@layer.register
def _(node: Dense) -> keras.Layer:
    small = keras.initializers.RandomNormal(stddev=0.01)  # arXiv:1706.02677 section 5.1
    return layers.Dense(node.units, kernel_initializer=small, dtype="float32", name=node.name)


def ranked(kind: str, node: Node, data_format: str = "channels_last") -> Any:
    """The layer class of `kind` for the rank of `node`: (length, channels) takes Conv1D.

    Keras's global data format plays no part: a network is channels last everywhere.
    """
    make = getattr(layers, f"{kind}{node.rank}D")
    return lambda *values, **settings: make(*values, data_format=data_format, **settings)


def _start(x: KerasTensor) -> Input:
    if not 3 <= len(x.shape) <= 5 or x.shape[-1] is None:
        raise InputError(f"a block takes (batch, one to three spatial sizes, channels), channels known; received {tuple(x.shape)}")
    return Input(inputs=(), name=None, given=tuple(x.shape[1:]))


def _unit_spec(width: int, fields: dict[str, Any], allowed: tuple[str, ...]) -> ResNetSpec:
    for name in fields:
        if name not in allowed:
            raise unknown("field of such a unit", name, allowed)
    if not isinstance(width, Integral):
        raise InputError(f"width={width!r}: expected a whole number")
    return resolve(replace(ResNetSpec(), depths=(1,), widths=(width,), stem_width=width), **fields)
