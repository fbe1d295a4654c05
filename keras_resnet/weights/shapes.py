"""From the shapes of arrays to a spec, and back: what a network of that spec holds."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from keras_resnet.errors import InputError
from keras_resnet.networks.blocks import squeezed
from keras_resnet.networks.graph import Convolution, Dense, Gain, Norm, channels, in_order
from keras_resnet.networks.resnet import outputs
from keras_resnet.networks.spec import ResNetSpec

Shape = tuple[int, ...]
Shapes = dict[str, Shape]
UNIT = r"stage(?P<stage>\d{1,4})_block(?P<block>\d{1,4})_"
SIZE = 224  # pixels of a side
ROUNDED = 8  # timm's squeezed channels are a multiple of it


def shapes_of(spec: ResNetSpec) -> Shapes:
    """The shape of every array of a network by its name, such as `stem_conv/kernel`."""
    _, logits = outputs(spec)
    shapes: Shapes = {}
    for node in in_order([logits]):  # type: ignore[list-item]
        match node:
            case Convolution():
                shapes[f"{node.name}/kernel"] = (
                    *(node.size,) * node.rank,
                    channels(node.inputs[0]) // node.groups,
                    node.filters,
                )
            case Gain():
                shapes[f"{node.name}/kernel"] = (*(1,) * node.rank, channels(node), 1)
            case Norm():
                names = ("gamma", "beta", "moving_mean", "moving_variance")[: 4 if node.kind == "batch" else 2]
                shapes |= {f"{node.name}/{name}": (channels(node),) for name in names}
            case Dense():
                shapes |= {f"{node.name}/kernel": (channels(node.inputs[0]), node.units)}
        if isinstance(node, Dense) or (isinstance(node, Convolution) and node.bias is not None):
            shapes[f"{node.name}/bias"] = (channels(node),)
    return shapes


def spec_of(shapes: Shapes, known: dict[str, Any]) -> ResNetSpec:
    """The spec of a network with arrays of these shapes; `known` are fields that the shapes do not show.

    InputError for shapes that no spec describes. Where arrays disagree, most of them decide: `check_shapes` names the others.
    """
    numbers = [int(found["number"]) for _, found, _ in units(shapes, r"conv(?P<number>[123])/kernel")]
    convolutions = max(numbers, default=2)
    fields: dict[str, Any] = {"block": {1: "single", 2: "basic", 3: "bottleneck"}[convolutions]}
    fields["depths"] = depths_of(shapes)
    stages = range(1, len(fields["depths"]) + 1)
    last = f"conv{convolutions}/kernel" + (f"|norm{convolutions}/.*" if is_original(known) else "")
    outgoing = [most(shape[-1] for _, _, shape in units(shapes, last, stage)) for stage in stages]
    fields["widths"] = tuple(width // (4 if convolutions == 3 else 1) for width in outgoing)
    if convolutions == 3:
        fields |= groups_of(shapes, fields["widths"][0], "conv1/kernel|conv2/kernel" + "|norm[12]/.*" * is_original(known))
    fields |= {**stem_of(shapes), **attention_of(shapes), **norm_of(shapes)}
    if "logits/kernel" in shapes:
        fields["classes"] = shapes["logits/kernel"][-1]
    fields["shortcut"] = known.get("shortcut") or shortcut_of(shapes, [fields["stem_width"], *outgoing])
    first = shapes.get("stage1_block1_shortcut_conv/kernel", (0, 1))
    fields["first_projection"] = first[-2] == first[-1]
    if fields["block"] != "bottleneck":
        known = {name: value for name, value in known.items() if name != "stride_on"}
    return ResNetSpec(**{**fields, **{name: value for name, value in known.items() if value is not None}})


def depths_of(shapes: Shapes) -> tuple[int, ...]:
    """Units in each stage. InputError where one is missing before another."""
    found = {(int(numbers["stage"]), int(numbers["block"])) for _, numbers, _ in units(shapes, ".*")}
    for stage, block in sorted(found):
        before = (stage, block - 1) if block > 1 else (stage - 1, 1)
        if (stage, block) != (1, 1) and before not in found:
            raise InputError(f"has a unit {block} in stage {stage}, and not those before it")
    counts = Counter(stage for stage, _ in found)
    return tuple(counts[stage] for stage in sorted(counts)) or (1,)


def units(shapes: Shapes, part: str, stage: int | None = None) -> Iterator[tuple[str, re.Match, Shape]]:
    """Name, numbers and shape of the arrays of units, of all stages or of one, whose name ends with the pattern `part`."""
    for name, shape in shapes.items():
        found = re.fullmatch(f"{UNIT}({part})", name)
        if found and stage in (None, int(found["stage"])):
            yield name, found, shape


def most(values: Any) -> int:
    """The value that is there most often, 1 where there is none."""
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else 1


def is_original(known: dict[str, Any]) -> bool:
    """Whether a normalisation has the channels of the convolution of its number, which then say the same of a width."""
    return known.get("activation_order", "original") == "original"


def groups_of(shapes: Shapes, width: int, inner: str) -> dict[str, Any]:
    """Groups of the 3x3 convolutions, and filters in each where the width is 64; the arrays `inner` have the inner width."""
    filters = most(shape[-1] for _, _, shape in units(shapes, inner, 1))
    groups = max(1, filters // max(1, most(shape[-2] for _, _, shape in units(shapes, "conv2/kernel", 1))))
    return {"groups": groups, "group_width": -(-filters * 64 // (max(1, width) * groups))}


def stem_of(shapes: Shapes) -> dict[str, Any]:
    """Stem, its width, what pools it, and the channels of the input."""
    last = shapes.get("stem_conv/kernel", (7, 7, 3, 64))
    first = shapes.get("stem_conv1/kernel", last)
    width = most(shape[-1] for name, shape in shapes.items() if re.match("stem_(conv/kernel|norm/)", name))
    kind: str = {7: "7x7", 3: "3x3"}.get(last[0], "7x7")
    if "stem_conv1/kernel" in shapes:
        kind = "deep" if first[-1] == width // 2 else "tiered"
    pool = "convolution" if "stem_pool_conv/kernel" in shapes else None if kind == "3x3" else "max"
    size = (*(SIZE,) * (len(first) - 2), first[-2])
    return {"stem": kind, "stem_width": width, "stem_pool": pool, "input_shape": size}


def attention_of(shapes: Shapes) -> dict[str, Any]:
    """Squeeze-and-excitation with its ratio and divisor, or efficient channel attention."""
    reduced = {name: shape[-2:] for name, _, shape in units(shapes, "squeeze_reduce/kernel") if shape[-1]}
    ratio = most(channels // fewer for channels, fewer in reduced.values())
    wrong = {
        divisor: [name for name, (channels, fewer) in reduced.items() if fewer != squeezed(channels, max(1, ratio), divisor)]
        for divisor in (1, ROUNDED)
    }
    if all(wrong.values()):
        name = wrong[1][0]
        before, after = reduced[name]
        raise InputError(f"squeezes {before} channels to {after} in {name.split('/')[0]!r}, and others by {ratio}")
    divisor = ROUNDED if wrong[1] else 1
    attends = any(units(shapes, "attention_conv/kernel"))
    return {"squeeze": ratio if reduced else None, "squeeze_divisor": divisor, "channel_attention": attends}


def norm_of(shapes: Shapes) -> dict[str, Any]:
    """Batch or group normalisation, or none."""
    if any(name.endswith("/moving_mean") for name in shapes):
        return {"norm": "batch"}
    return {"norm": "group" if any(name.endswith("/gamma") for name in shapes) else None}


def shortcut_of(shapes: Shapes, widths: list[int]) -> str:
    """The kind of shortcut. InputError where one without weights has to change the shape: there are several."""
    if any(units(shapes, "shortcut_conv/kernel")):
        return "projection"
    if len(widths) > 2 or any(before != after for before, after in pairwise(widths)):
        raise InputError("has no convolutions in its shortcuts: give the network (spec), with shortcut='padding' or 'none'")
    return "projection"
