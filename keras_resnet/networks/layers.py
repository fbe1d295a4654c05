"""From a description to Keras: every node of `graph.py` becomes one built-in layer, a network a functional `keras.Model`."""

from collections.abc import Iterable
from dataclasses import replace
from numbers import Integral
from typing import Any, get_args, get_type_hints

import keras
from keras import KerasTensor, layers

from keras_resnet.errors import InputError, shown, unknown
from keras_resnet.fields import names
from keras_resnet.hooks import mirror_pad
from keras_resnet.networks import graph
from keras_resnet.networks.blocks import Unit, residual_unit
from keras_resnet.networks.graph import Input, Node
from keras_resnet.networks.loading import deep_recursion
from keras_resnet.networks.pixel_range import notice_in_predictions
from keras_resnet.networks.remat import recompute_units
from keras_resnet.networks.resnet import Pooling, outputs
from keras_resnet.networks.settings import fixed_settings
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import name_of, resolve

OF_NETWORK = (
    *("depths", "widths", "stride_in", "stage_strides", "first_projection", "head_dropout", "output_stride"),
    *("fixup", "normalize", "input_shape", "classes", "classifier_activation"),
)
IDENTITY_FIELDS = tuple(name for name in names(ResNetSpec) if not name.startswith("stem") and name not in (*OF_NETWORK, "shortcut"))
CLASSIFIER_ACTIVATIONS = get_args(get_args(get_type_hints(ResNetSpec)["classifier_activation"])[0])  # of a spec
UNIT_FIELDS = (*IDENTITY_FIELDS, "shortcut")


def build(
    spec: str | ResNetSpec,
    *,
    name: str | None = None,
    input_tensor: KerasTensor | None = None,
    features: Iterable[int] | None = None,
    include_top: bool = True,
    pooling: Pooling | None = None,
    remat: bool = False,
    dtype: str = "float32",
    **fields: Any,
) -> keras.Model:
    """The network of `spec` with fresh weights.

    Args:
        spec: a name in `SPECS`, or a `ResNetSpec`.
        name: name of the model; if None the name in `SPECS`, or "custom" for a network that is not there.
        input_tensor: the input of the network, such as `keras.Input` or the output of another layer, (batch, *input_shape). The
            model then begins where that tensor does.
        features: levels of feature maps to return instead of logits: (2, 3, 4, 5) gives a dictionary "C2" to "C5", the activated
            outputs of stages 1 to 4; 1 is the stem before its pooling.
        include_top: False leaves out the classifier; the output is then the last map.
        pooling: "avg" or "max": the mean or the maximum of that map over space. With the classifier it is what enters it, the mean
            where nothing is given; with include_top=False it is the output.
        remat: gradient checkpointing: store only the inputs of units, and recompute the rest for the backward pass. The model and
            its file are the same; a loaded or copied model, or one made of its layers, trains without it.
        dtype: name of a Keras precision policy, such as "mixed_bfloat16". Keras's global settings (policy, floatx,
            image data format) have no effect.
        fields: fields of the spec to change, such as `classes` and `input_shape`. `classifier_activation` may also be any other
            name of a Keras activation, or a function.

    Returns: a functional model from raw pixels (batch, *input_shape), 0..255, channels last, to float32 logits (batch, classes).
    It holds built-in Keras layers only, named `stem_conv`, `stage1_block1_conv1`, ..., `pool`, `logits`, counted from 1. The last
    map of every network is `model.get_layer("pool").input`, its logits, also under a softmax, `model.get_layer("logits").output`.

    >>> build("resnet50", classes=10).count_params()
    23581642
    """
    activation = fields.get("classifier_activation")
    is_free = activation is not None and activation not in CLASSIFIER_ACTIVATIONS and is_activation(activation)
    if input_tensor is not None:
        fields = {**fields, "input_shape": image_shape(input_tensor)}
    spec = resolve(spec, **{**fields, "classifier_activation": None} if is_free else fields)
    _, out = outputs(spec, features=features, include_top=include_top, pooling=pooling)
    if is_free and include_top and features is None:
        out = graph.Activate(inputs=(out,), name="predictions", function=activation, float32=True)  # type: ignore[arg-type]
    model = model_of(spec, out, input_tensor=input_tensor, name=name, dtype=dtype)
    if remat:
        recompute_units(model, out)
    notice_in_predictions(model)
    return model


def model_of(
    spec: ResNetSpec, out: Node | dict[str, Node], *, input_tensor: KerasTensor | None, name: str | None, dtype: str
) -> keras.Model:
    """The model of a description that `outputs` gave for `spec`."""
    ends = keras.tree.flatten(out)
    [image] = (node for node in graph.in_order(ends) if isinstance(node, Input))
    with fixed_settings(dtype), deep_recursion():
        tensor = keras.Input(spec.input_shape, name=image.name) if input_tensor is None else input_tensor
        tensors = realize({image: tensor}, ends)
        sources = tensor if input_tensor is None else keras.utils.get_source_inputs(tensor)
        if isinstance(sources, list) and len(sources) == 1:
            sources = sources[0]
        return keras.Model(sources, keras.tree.map_structure(tensors.get, out), name=name or name_of(spec))


def is_activation(function: Any) -> bool:
    """Whether Keras takes it as an activation."""
    try:
        return callable(keras.activations.get(function))
    except (TypeError, ValueError):
        return False


def image_shape(tensor: Any) -> tuple[int | None, ...]:
    """The shape of an image of an `input_tensor`. InputError if it is no such tensor."""
    if not isinstance(tensor, KerasTensor) or not 3 <= len(tensor.shape) <= 5 or tensor.shape[-1] is None:
        raise InputError(f"input_tensor={shown(tensor)}: expected a Keras tensor (batch, *space, channels), as of keras.Input")
    return tuple(tensor.shape[1:])


def identity_block(x: KerasTensor, width: int, *, name: str | None = None, **fields: Any) -> KerasTensor:
    """A residual unit whose shortcut is the input itself (arXiv:1512.03385 eq. 1).

    Args:
        x: tensor (batch, *space, channels), with channels = `width`, or 4 * `width` for `block="bottleneck"`.
        width: filters of the 3x3 convolutions.
        name: prefix of the layer names, or None to let Keras name them.
        fields: those of `ResNetSpec` that say something about one unit: `UNIT_FIELDS` without "shortcut". `stochastic_depth` is
            the probability to leave out this branch.

    Returns: tensor of the shape of `x`. InputError if the branch would have another number of channels than `x`.

    >>> identity_block(keras.Input((56, 56, 256)), 64, block="bottleneck", name="block2").shape
    (None, 56, 56, 256)
    """
    spec = _unit_spec(width, fields, IDENTITY_FIELDS)
    if x.shape[-1] != width * spec.expansion:
        raise InputError(
            f"identity_block with width {width} and block={spec.block!r} returns {width * spec.expansion} channels, but its "
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
    kind = spec.shortcut if spec.shortcut != "subsampling" or x.shape[-1] == width * spec.expansion else "projection"
    unit = residual_unit(start, Unit(name, width, stride, drop=spec.stochastic_depth), spec, shortcut=kind)
    return realize({start: x}, [unit])[unit]


def realize(tensors: dict[Node, KerasTensor], ends: Iterable[Node]) -> dict[Node, KerasTensor]:
    """`tensors`, which has the `Input` of the graph, with those of all nodes that `ends` need."""
    for node in graph.in_order(ends):
        if node not in tensors:
            sources = [tensors[source] for source in node.inputs]
            tensors[node] = layer(node)(sources if isinstance(node, graph.Merge) else sources[0])
    return tensors


def layer(node: Node) -> Any:
    """The Keras layer of a node, or its operation where Keras has no such layer. TypeError for a kind that is not here."""
    name = node.name
    match node:
        case graph.Convolution():
            return convolution(node)
        case graph.Gain():
            start = keras.initializers.Constant(node.start)
            return ranked("DepthwiseConv", node)(1, use_bias=False, depthwise_initializer=start, name=name)
        case graph.Norm():
            gamma = "zeros" if node.zero else "ones"
            if node.kind == "group":
                return layers.GroupNormalization(node.groups, epsilon=node.epsilon, gamma_initializer=gamma, name=name)
            return layers.BatchNormalization(momentum=node.momentum, epsilon=node.epsilon, gamma_initializer=gamma, name=name)
        case graph.Activate():
            return layers.Activation(node.function, dtype="float32" if node.float32 else None, name=name)
        case graph.Merge():
            return getattr(layers, node.kind)(name=name)
        case graph.Rescale():
            # With three axes, Keras does not turn the numbers to the front where its global data format is channels first.
            numbers = ([[list(values)]] if len(values) > 1 else values[0] for values in (node.scale, node.offset))
            return layers.Rescaling(*numbers, name=name)
        case graph.Pad(mirrors=True):
            return mirror_pad(((0, 0), *((node.amount, node.amount),) * node.rank, (0, 0)), name)
        case graph.Pad():
            return ranked("ZeroPadding", node)(node.amount, name=name)
        case graph.PadChannels():
            # Read as channels first, the last "spatial" axis is the channels: a built-in layer with a name pads them.
            amounts = [(0, 0)] * (node.rank - 1) + [(0, node.amount)]
            return ranked("ZeroPadding", node, "channels_first")(amounts if node.rank > 1 else amounts[0], name=name)
        case graph.Pool():
            padding = "same" if node.same else "valid"
            return ranked(f"{node.kind}Pooling", node)(node.size, strides=node.stride, padding=padding, name=name)
        case graph.GlobalPool():
            return ranked(f"Global{node.kind}Pooling", node)(keepdims=node.keepdims, name=name)
        case graph.Reshape():
            return layers.Reshape(node.target, name=name)
        case graph.Dropout():
            shape = (None, *(1 for _ in node.shape)) if node.per_example else None
            return layers.Dropout(node.rate, noise_shape=shape, name=name)
        case graph.Dense():
            small = keras.initializers.RandomNormal(stddev=0.01)  # arXiv:1706.02677 section 5.1
            return layers.Dense(node.units, kernel_initializer="zeros" if node.zero else small, dtype="float32", name=name)
    raise TypeError(f"no Keras layer is known for a {type(node).__name__}")


def convolution(node: graph.Convolution) -> keras.Layer:
    """A convolution with He-normal weights, fan-out (arXiv:1502.01852), times a factor, or zero."""
    he_normal = keras.initializers.VarianceScaling(2.0 * node.start**2, mode="fan_out", distribution="untruncated_normal")
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
