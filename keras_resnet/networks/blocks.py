"""The residual unit, a[l+2] = g(z[l+2] + a[l]), as a description: branch, shortcut, and the orders of their parts.

Nothing is built here, see `graph.py`. Where each unit stands in a network is decided in `resnet.py`.
"""

import math
from functools import partial
from typing import Any, Literal, NamedTuple

from keras_resnet.networks import graph
from keras_resnet.networks.conflicts import NOT_NEGATIVE
from keras_resnet.networks.graph import Convolution, Node, Pool, channels
from keras_resnet.networks.spec import ResNetSpec

Shortcut = Literal["identity", "projection", "projection_everywhere", "avg_projection", "subsampling", "padding", "none"]
Steps = tuple[Literal["norm", "activation"], ...]


class Order(NamedTuple):
    """What stands before and after each convolution of a branch, after its last one, and after the addition."""

    before: Steps = ()
    after: Steps = ()
    last: Steps = ()
    out: Steps = ()


ORDERS = {  # arXiv:1603.05027 Figure 4, a to e
    "original": Order(after=("norm", "activation"), last=("norm",), out=("activation",)),
    "norm_after_addition": Order(after=("norm", "activation"), out=("norm", "activation")),
    "relu_before_addition": Order(after=("norm", "activation"), last=("norm", "activation")),
    "relu_preactivation": Order(before=("activation",), after=("norm",), last=("norm",)),
    "full_preactivation": Order(before=("norm", "activation")),
}


class Unit(NamedTuple):
    """One residual unit of a network: what differs from unit to unit."""

    name: str | None
    width: int
    stride: int = 1
    dilations: tuple[int, int] = (1, 1)  # of the first convolution larger than 1x1, and of the others
    drop: float = 0.0  # probability to leave out the branch
    projects: bool = False  # also where the shape does not change


def residual_unit(x: Node, unit: Unit, spec: ResNetSpec, *, active: Node | None = None, shortcut: Shortcut | None = None) -> Node:
    """One unit in the style of `spec`.

    Args:
        active: `x` after the steps that come before the first convolution, if they are done already.
        shortcut: its kind; if None the one of `spec` for such a unit.
    """
    name, order = unit.name, ORDERS[spec.activation_order]
    active = active or preactivate(x, spec, name, 1)
    branch = residual_branch(active, unit, spec)
    shortcut = shortcut or shortcut_kind(unit, spec, changes_channels=channels(x) != channels(branch))
    if spec.branch_scale != 1:
        branch = graph.Rescale(inputs=(branch,), name=join(name, "branch_scale"), scale=(spec.branch_scale,))
    if shortcut != "none":
        # A shortcut with a projection starts from the activated input (arXiv:1603.05027, appendix).
        start = x if shortcut in ("identity", "subsampling") else active
        bypass = shortcut_path(start, channels(branch), unit, spec, shortcut)
        branch, bypass = modulate(branch, bypass, x, unit, spec)
        # The shortcut comes first: Keras walks a graph depth first through the first input, and the shorter way recurses less.
        branch = graph.Merge(inputs=(bypass, branch), name=join(name, "add"), kind="Add")
    return steps(branch, order.out, spec, name, norm="out_norm", activation="out")


def shortcut_kind(unit: Unit, spec: ResNetSpec, *, changes_channels: bool) -> Shortcut:
    """The kind of a unit's shortcut: that of `spec`, and the identity where the shape does not change."""
    kind: Shortcut = spec.shortcut
    if kind in ("none", "projection_everywhere"):
        return kind
    if changes_channels or unit.projects:
        return "projection" if kind == "subsampling" else kind
    return "identity" if unit.stride == 1 else kind


def residual_branch(x: Node, unit: Unit, spec: ResNetSpec) -> Node:
    """The convolutions of a unit with all that stands between and after them, up to the addition."""
    name, order = unit.name, ORDERS[spec.activation_order]
    convolutions = _convolutions(unit, spec)
    start = sum(spec.depths) ** (-1 / (2 * len(convolutions) - 2)) if spec.fixup and len(convolutions) > 1 else 1.0
    blur = 1
    for number, (filters, size, stride, dilation) in enumerate(convolutions, start=1):
        last = number == len(convolutions)
        if number > 1:
            x = antialias(preactivate(x, spec, name, number), blur, spec, name)
            blur = 1
        if last and spec.branch_dropout:
            x = graph.Dropout(inputs=(x,), name=join(name, "dropout"), rate=spec.branch_dropout)
        if spec.antialias and stride > 1:
            stride, blur = 1, stride
        after = order.last if last else order.after
        zero = last and spec.zero_init
        x = convolution(
            x,
            spec,
            filters=filters,
            size=size,
            stride=stride,
            dilation=dilation,
            groups=spec.groups if size > 1 else 1,
            zero=zero and not (spec.norm and "norm" in order.last),
            start=start,
            is_normalized="norm" in after or (not last and "norm" in order.before),
            name=join(name, f"conv{number}"),
        )
        x = steps(x, after, spec, name, norm=f"norm{number}", activation=f"{spec.activation}{number}", zero=zero)
    x = attention(antialias(x, blur, spec, name), spec, name)
    if spec.branch_gain is not None:
        x = graph.Gain(inputs=(x,), name=join(name, "gain"), start=spec.branch_gain)
    return graph.Dropout(inputs=(x,), name=join(name, "drop_path"), rate=unit.drop, per_example=True) if unit.drop else x


def _convolutions(unit: Unit, spec: ResNetSpec) -> list[tuple[int, int, int, int]]:
    """Filters, size, stride and dilation of each convolution of a branch."""
    width, stride, (first, other) = unit.width, unit.stride, unit.dilations
    if spec.block == "single":
        return [(width, 3, stride, first)]
    if spec.block == "basic":
        return [(width, 3, stride, first), (width, 3, 1, other)]
    inner = spec.inner_width(width)
    on_1x1, on_3x3 = (stride, 1) if spec.stride_on == "1x1" else (1, stride)
    return [(inner, 1, on_1x1, 1), (inner, 3, on_3x3, first), (width * spec.expansion, 1, 1, 1)]


def shortcut_path(x: Node, width: int, unit: Unit, spec: ResNetSpec, kind: Shortcut) -> Node:
    """The way around the branch, to `width` channels: nothing, projection, or subsampling and zeros."""
    name, stride = unit.name, unit.stride
    if kind == "identity" or (kind == "subsampling" and stride == 1):
        return x
    if stride > 1 and kind == "avg_projection":
        # `same` adds no pixels to the average: an odd last one counts alone.
        x, stride = Pool(inputs=(x,), name=join(name, "shortcut_pool"), kind="Average", size=stride, stride=stride, same=True), 1
    elif stride > 1 and spec.antialias and spec.antialias_shortcut:
        x, stride = antialias(x, stride, spec, join(name, "shortcut")), 1
    if kind == "subsampling":
        return Pool(inputs=(x,), name=join(name, "shortcut_pool"), kind="Max", size=1, stride=stride) if stride > 1 else x
    if kind == "padding":
        if stride > 1:
            x = Pool(inputs=(x,), name=join(name, "shortcut_pool"), kind="Average", size=1, stride=stride)
        missing = width - channels(x)
        return graph.PadChannels(inputs=(x,), name=join(name, "shortcut_pad"), amount=missing) if missing else x
    last: Steps = ("norm",) if "norm" in ORDERS[spec.activation_order].last else ()
    x = convolution(x, spec, filters=width, size=1, stride=stride, is_normalized=bool(last), name=join(name, "shortcut_conv"))
    return steps(x, last, spec, name, norm="shortcut_norm", activation="")


def modulate(branch: Node, bypass: Node, x: Node, unit: Unit, spec: ResNetSpec) -> tuple[Node, Node]:
    """Branch and shortcut with the scaling, gating and dropout of arXiv:1603.05027 section 3.1; `x` is the input of the unit."""
    name = unit.name
    if spec.shortcut_scale != 1:
        bypass = graph.Rescale(inputs=(bypass,), name=join(name, "shortcut_scale"), scale=(spec.shortcut_scale,))
    if spec.shortcut_gate:
        stride = 1 if spec.antialias and spec.antialias_shortcut else unit.stride
        gate: Node = Convolution(
            inputs=(antialias(x, unit.stride // stride, spec, join(name, "gate")),),
            name=join(name, "gate"),
            filters=channels(branch),
            size=1,
            stride=stride,
            bias=spec.gate_bias,
            activation="sigmoid",
        )
        carry = graph.Rescale(inputs=(gate,), name=join(name, "carry"), scale=(-1.0,), offset=(1.0,))
        bypass = graph.Merge(inputs=(bypass, carry), name=join(name, "shortcut_gated"), kind="Multiply")
        if spec.shortcut_gate == "exclusive":
            branch = graph.Merge(inputs=(branch, gate), name=join(name, "branch_gated"), kind="Multiply")
    if spec.shortcut_dropout:
        bypass = graph.Dropout(inputs=(bypass,), name=join(name, "shortcut_dropout"), rate=spec.shortcut_dropout)
    return branch, bypass


def attention(x: Node, spec: ResNetSpec, name: str | None) -> Node:
    """Weigh the channels by their averages over space: squeeze-and-excitation (arXiv:1709.01507) or its efficient kin
    (arXiv:1910.03151)."""
    if not (spec.squeeze or spec.channel_attention):
        return x
    width = channels(x)
    name = join(name, "squeeze" if spec.squeeze else "attention")
    pooled: Node = graph.GlobalPool(inputs=(x,), name=join(name, "pool"), kind="Average", keepdims=True)
    if spec.squeeze:
        layer = partial(Convolution, size=1, bias=0.0)
        reduced = layer(
            inputs=(pooled,),
            name=join(name, "reduce"),
            filters=squeezed(width, spec.squeeze, spec.squeeze_divisor),
            activation="relu",
        )
        weight: Node = layer(inputs=(reduced,), name=join(name, "expand"), filters=width, activation="sigmoid")
    else:
        line = graph.Reshape(inputs=(pooled,), name=join(name, "line"), target=(width, 1))
        mixed = Convolution(inputs=(line,), name=join(name, "conv"), filters=1, size=attention_size(width), activation="sigmoid")
        weight = graph.Reshape(inputs=(mixed,), name=join(name, "weight"), target=pooled.shape)
    return graph.Merge(inputs=(x, weight), name=join(name, "scale"), kind="Multiply")


def squeezed(width: int, ratio: int, divisor: int) -> int:
    """Channels between squeeze and excitation, rounded as timm does."""
    return max(divisor, width // ratio if divisor == 1 else int(width / ratio + divisor / 2) // divisor * divisor)


def attention_size(width: int) -> int:
    """Channels that efficient channel attention looks at together: odd, about log2(width) / 2 (arXiv:1910.03151 eq. 12)."""
    size = int(abs(math.log2(width) + 1) / 2)
    return max(size if size % 2 else size + 1, 3)


def convolution(
    x: Node, spec: ResNetSpec, *, name: str | None, size: int, stride: int = 1, is_normalized: bool = True, **fields: Any
) -> Node:
    """A convolution, `size` odd, padded by `size // 2` on both sides as the papers and PyTorch do.

    It has a bias in a network without norm and, if `spec.conv_bias`, where no normalisation follows.
    Keras's padding="same" would pad a strided one on the far side only. `fields` are others of `graph.Convolution`.
    """
    if stride > 1 and size > 1:
        x = graph.Pad(inputs=(x,), name=join(name, "pad"), amount=size // 2)
    has_bias = spec.norm is None or (spec.conv_bias and not is_normalized)
    return Convolution(inputs=(x,), name=name, size=size, stride=stride, bias=0.0 if has_bias else None, **fields)


def max_pool(x: Node, spec: ResNetSpec, *, name: str) -> Node:
    """3x3 max-pooling with stride 2, padded by 1 on both sides; nothing outside the image counts, or the zeros there do."""
    zeros_change_nothing = spec.activation in NOT_NEGATIVE and spec.stem_norm
    padded = spec.stem_pool == "zero_padded_max" or (zeros_change_nothing and not spec.antialias)
    if padded:
        x = graph.Pad(inputs=(x,), name=join(name, "pad"), amount=1)
        if not spec.antialias:
            return Pool(inputs=(x,), name=name, kind="Max", size=3, stride=2)
    x = Pool(inputs=(x,), name=name, kind="Max", size=3, stride=1, same=not padded)
    return (
        antialias(x, 2, spec, name) if spec.antialias else Pool(inputs=(x,), name=join(name, "every"), kind="Max", size=1, stride=2)
    )


def antialias(x: Node, stride: int, spec: ResNetSpec, name: str | None) -> Node:
    """Blur with (1, 2, 1) / 4 along every axis and take every `stride`-th pixel (arXiv:1904.11486).

    Two means of neighbours, one after the other, are this blur.
    """
    if stride == 1:
        return x
    x = graph.Pad(inputs=(x,), name=join(name, "blur_pad"), amount=1, mirrors=spec.antialias == "mirror")
    x = Pool(inputs=(x,), name=join(name, "blur_half"), kind="Average", size=2, stride=1)
    return Pool(inputs=(x,), name=join(name, "blur"), kind="Average", size=2, stride=stride)


def preactivate(x: Node, spec: ResNetSpec, prefix: str | None, number: int | str = "") -> Node:
    """What stands before the convolution of that number."""
    before = ORDERS[spec.activation_order].before
    return steps(x, before, spec, prefix, norm=f"norm{number}", activation=f"{spec.activation}{number}")


def steps(x: Node, kinds: Steps, spec: ResNetSpec, prefix: str | None, *, norm: str, activation: str, zero: bool = False) -> Node:
    """Normalisation and activation as `kinds` has them, named `prefix_norm` and `prefix_activation`."""
    for kind in kinds:
        if kind == "activation":
            x = graph.Activate(inputs=(x,), name=join(prefix, activation), function=spec.activation)
        elif spec.norm:
            x = graph.Norm(
                inputs=(x,),
                name=join(prefix, norm),
                kind=spec.norm,
                groups=spec.norm_groups,
                momentum=spec.norm_momentum,
                epsilon=spec.norm_epsilon,
                zero=zero,
            )
    return x


def join(prefix: str | None, suffix: str) -> str | None:
    """The name of a layer, or None to let Keras name it."""
    return f"{prefix}_{suffix}" if prefix else None
