"""A whole network as a description: stem, stages, head. The units are in `blocks.py`; `layers.py` makes Keras layers of it all."""

from collections.abc import Collection, Iterable, Iterator
from numbers import Integral
from typing import Any, Literal, NamedTuple

from keras_resnet.errors import InputError
from keras_resnet.networks.blocks import Unit, antialias, convolution, max_pool, preactivate, residual_unit, steps
from keras_resnet.networks.graph import Activate, Dense, Dropout, GlobalPool, Input, Node, Rescale
from keras_resnet.networks.spec import ResNetSpec

Pooling = Literal["avg", "max"]


class Network(NamedTuple):
    """The nodes of a network that others ask for."""

    image: Input
    maps: tuple[Node, ...]
    """C1, the stem before its pooling, and C2, C3, ...: the stages, activated; the last one is what the head pools."""


def describe(spec: ResNetSpec) -> Network:
    """Stem and stages of `spec`."""
    image = Input(inputs=(), name="image", given=spec.input_shape)
    x = stem(normalize(image, spec), spec)
    maps = [x]
    x = stem_pool(x, spec)
    for stage, unit in units(spec):
        is_active = unit.name == "stage1_block1" and spec.stem_norm  # the stem has done that already
        active = x if is_active else preactivate(x, spec, unit.name, 1)
        if stage > len(maps):
            maps.append(active)
        x = residual_unit(x, unit, spec, active=active)
    maps.append(preactivate(x, spec, "head"))
    return Network(image, tuple(maps))


def outputs(
    spec: ResNetSpec, *, features: Iterable[int] | None = None, include_top: bool = True, pooling: Pooling | None = None
) -> tuple[Input, Node | dict[str, Node]]:
    """Input and output of a network: logits, or the last map, pooled or not, or a dictionary of maps such as "C2".

    InputError for levels that the network does not have, and for choices that leave no meaning to another.
    """
    if pooling not in (None, "avg", "max"):
        raise InputError(f"pooling={pooling!r}: expected avg, max or None")
    image, maps = describe(spec)
    if features is not None:
        if pooling is not None:
            raise InputError(f"features={features} and pooling={pooling!r} disagree: features are maps")
        return image, {f"C{level}": maps[level - 1] for level in levels_of(features, len(maps))}
    if include_top:
        return image, head(maps[-1], spec, pooling or "avg")
    return image, maps[-1] if pooling is None else pool(maps[-1], pooling)


def levels_of(features: Any, count: int) -> tuple[int, ...]:
    """`features` as different levels from 1 to `count`. InputError for anything else."""
    levels = tuple(features) if isinstance(features, Iterable) else ()
    are_integers = all(isinstance(level, Integral) and not isinstance(level, bool) for level in levels)
    if not levels or not are_integers or any(not 1 <= level <= count for level in levels) or len(set(levels)) < len(levels):
        raise InputError(f"features={features}: expected distinct levels out of {', '.join(map(str, range(1, count + 1)))}")
    return tuple(int(level) for level in levels)


def normalize(x: Node, spec: ResNetSpec) -> Node:
    """(x - mean) / standard deviation, per channel."""
    if spec.normalization is None:
        return x
    scale = tuple(1 / deviation for deviation in spec.normalization[1])
    offset = tuple(-mean * factor for mean, factor in zip(spec.normalization[0], scale, strict=True))
    return Rescale(inputs=(x,), name="normalize", scale=scale, offset=offset)


def stem(x: Node, spec: ResNetSpec) -> Node:
    """First convolutions, normalised and activated: in pre-activation networks too (arXiv:1603.05027, appendix), if `stem_norm`."""
    widths = spec.stem_widths
    for number, filters in enumerate(widths, start=1):
        suffix = str(number) if number < len(widths) else ""
        size, stride = 7 if spec.stem == "7x7" else 3, 2 if number == 1 and spec.stem != "3x3" else 1
        is_normalized = spec.stem_norm or number < len(widths)
        name = f"stem_conv{suffix}"
        x = convolution(x, spec, filters=filters, size=size, stride=stride, is_normalized=is_normalized, name=name)
        x = normalized(x, spec, "stem", suffix) if is_normalized else x
    return x


def stem_pool(x: Node, spec: ResNetSpec) -> Node:
    """What stands between the first convolutions and the first stage."""
    if spec.stem_pool in ("max", "zero_padded_max"):
        return max_pool(x, spec, name="stem_pool")
    if spec.stem_pool == "convolution":
        stride = 1 if spec.antialias else 2
        x = convolution(x, spec, filters=spec.stem_width, size=3, stride=stride, name="stem_pool_conv")
        x = normalized(x, spec, "stem_pool")
        return antialias(x, 2 // stride, spec, "stem_pool")
    return x


def normalized(x: Node, spec: ResNetSpec, prefix: str, suffix: str = "") -> Node:
    """Normalisation and activation, whatever the order inside the units."""
    return steps(x, ("norm", "activation"), spec, prefix, norm=f"norm{suffix}", activation=f"{spec.activation}{suffix}")


def units(spec: ResNetSpec) -> Iterator[tuple[int, Unit]]:
    """Every unit with its stage, both counted from 1. One of a stage takes its stride or, where `output_stride` is reached,
    multiplies the dilation of what follows by it."""
    total, number = sum(spec.depths), 0
    subsampling, dilation = spec.stem_stride, 1
    for stage, (depth, width, of_stage) in enumerate(zip(spec.depths, spec.widths, spec.strides, strict=True), start=1):
        for block in range(1, depth + 1):
            number += 1
            stride, before = of_stage if block == (depth if spec.stride_in == "last" else 1) else 1, dilation
            if subsampling == spec.output_stride:
                stride, dilation = 1, dilation * stride
            subsampling *= stride
            name, drop = f"stage{stage}_block{block}", spec.stochastic_depth * number / total
            yield stage, Unit(name, width, stride, (before, dilation), drop, block == 1 and spec.first_projection)


def pool(x: Node, pooling: Pooling) -> Node:
    """Mean or maximum over space."""
    return GlobalPool(inputs=(x,), name="pool", kind="Average" if pooling == "avg" else "Max")


def head(x: Node, spec: ResNetSpec, pooling: Pooling = "avg") -> Node:
    """Global pooling and the classifier, in float32 whatever the precision of the rest."""
    x = pool(x, pooling)
    if spec.head_dropout:
        x = Dropout(inputs=(x,), name="dropout", rate=spec.head_dropout)
    x = Dense(inputs=(x,), name="logits", units=spec.classes, zero=spec.fixup)
    if spec.classifier_activation:
        x = Activate(inputs=(x,), name="predictions", function=spec.classifier_activation, float32=True)
    return x


class Part(NamedTuple):
    """The stem, a unit such as "stage1_block2", or the head, with what enters and what leaves it."""

    name: str
    nodes: list[Node]
    sources: list[Node]
    results: list[Node]

    @property
    def is_unit(self) -> bool:
        """A residual unit, and not stem or head."""
        return self.name.startswith("stage")


def parts(nodes: Collection[Node], ends: Collection[Node]) -> list[Part]:
    """The parts of a network in the order in which they run; `ends` leave the network."""
    by_name: dict[str, Part] = {}
    for node in nodes:
        by_name.setdefault(part_of(node), Part(part_of(node), [], [], [])).nodes.append(node)
    for part in by_name.values():
        outside = (source for node in part.nodes for source in node.inputs if part_of(source) != part.name)
        part.sources.extend(dict.fromkeys(outside))
    results = {source for part in by_name.values() for source in part.sources}.union(ends)
    for part in by_name.values():
        part.results.extend(node for node in part.nodes if node in results)
    return list(by_name.values())


def part_of(node: Node) -> str:
    """The part of a network that a node belongs to: "input", "stem", a unit such as "stage1_block2", or "head"."""
    name: Any = node.name
    if name in ("image", "normalize"):
        return "input"
    if name.startswith("stage"):
        return "_".join(name.split("_")[:2])
    return "stem" if name.startswith("stem") else "head"
