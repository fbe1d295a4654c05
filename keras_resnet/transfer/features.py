"""Feature maps of a model that exists and has weights, found by the strides of its maps."""

from collections.abc import Iterable
from typing import Any

import keras

from keras_resnet.errors import InputError
from keras_resnet.transfer.copying import Graph, model_of, opened

NO_MAPS = ("Pooling", "Padding", "Dropout", "Cropping", "Rescaling", "Normalization", "InputLayer")
"""Parts of the names of layers that do not end a stage, unless nothing else is there."""


def feature_maps(model: keras.Model, levels: int | Iterable[int] = (2, 3, 4, 5), *, names: str = "C") -> keras.Model:
    """The network as a backbone: a dictionary of maps for detection or segmentation.

    Level 3 is the last map at a stride of 2**3 that all paths from the images to the output go through: the output of the last unit
    of a stage, normalised and activated in pre-activation networks. Levels count strides; those of `build(..., features=...)` count
    stages, which is the same in networks for ImageNet. A network for CIFAR has the levels 0, 1 and 2.

    Args:
        model: any functional ResNet, or a model that holds one, with one input (batch, *space, channels).
        levels: one, or several distinct ones; the map of level n has a stride of 2**n.
        names: the letter of the keys: "C" gives "C2" to "C5", and "P" "P2" to "P5".

    Returns: a functional model, uncompiled, from the input of `model` to a dictionary of maps (batch, *space / 2**level, channels).
    It has the layers of `model`, not copies of them: they share their weights.

    InputError for a level that the network does not have; it names those that it has.

    >>> feature_maps(keras.applications.ResNet50(include_top=False, weights=None)).output["C5"].shape
    (None, None, None, 2048)
    """
    graph = opened(model)
    inputs = keras.tree.flatten(graph.inputs)
    if len(inputs) != 1 or not 3 <= len(inputs[0].shape) <= 5:
        raise InputError(f"{model.name!r} must have one input (batch, *space, channels)")
    found, levels = maps_by_level(graph), listed(levels)
    if not levels or len(set(levels)) < len(levels) or not set(levels) <= set(found):
        raise InputError(
            f"levels={levels}: expected distinct levels out of {', '.join(map(str, sorted(found)))}; a map of level n has a "
            "stride of 2**n"
        )
    return model_of(graph.inputs, {f"{names}{level}": found[level] for level in levels}, model.name)


def listed(levels: int | Iterable[int]) -> tuple[int, ...]:
    """Levels that were given as one number or as several."""
    return (levels,) if isinstance(levels, int) else tuple(levels)


def feature_pyramid(model: keras.Model, levels: int | Iterable[int] = (2, 3, 4, 5), *, channels: int = 256) -> keras.Model:
    """A feature pyramid on the maps of a network (arXiv:1612.03144 section 3): each level adds the enlarged map of the next one.

    Args:
        model: as in `feature_maps`, whose layers it has.
        levels: consecutive ones.
        channels: of every map of the pyramid.

    Returns: a functional model, uncompiled, from the input of `model` to a dictionary, such as "P2" to "P5", of maps
    (batch, *ceil(space / 2**level), channels). The layers that it adds start from random weights. InputError as of `feature_maps`,
    and for levels that are not consecutive.

    >>> feature_pyramid(keras.applications.ResNet50(include_top=False, weights=None)).output["P5"].shape
    (None, None, None, 256)
    """
    levels = sorted(listed(levels))
    backbone = feature_maps(model, levels)
    if levels != list(range(levels[0], levels[-1] + 1)):
        raise InputError(f"levels={levels}: expected consecutive levels, such as (3, 4, 5)")
    rank = len(backbone.output[f"C{levels[0]}"].shape) - 2
    convolution, enlarge, cut = (getattr(keras.layers, f"{kind}{rank}D") for kind in ("Conv", "UpSampling", "Cropping"))
    pyramid: dict[str, Any] = {}
    above = None
    for level in reversed(levels):
        lateral = convolution(channels, 1, data_format="channels_last", name=f"fpn_lateral{level}")(backbone.output[f"C{level}"])
        if above is not None:
            above = enlarge(2, **({} if rank == 1 else {"data_format": "channels_last"}), name=f"fpn_enlarge{level}")(above)
            extra = [(large or 0) - (here or 0) for large, here in zip(above.shape[1:-1], lateral.shape[1:-1], strict=True)]
            if any(extra):  # of an odd size the coarser map has half a pixel more
                sides = [(0, more) for more in extra]
                above = cut(sides if rank > 1 else sides[0], data_format="channels_last", name=f"fpn_cut{level}")(above)
            lateral = keras.layers.Add(name=f"fpn_add{level}")([lateral, above])
        above = lateral
        smooth = convolution(channels, 3, padding="same", data_format="channels_last", name=f"fpn_smooth{level}")
        pyramid[f"P{level}"] = smooth(lateral)
    return model_of(backbone.input, {f"P{level}": pyramid[f"P{level}"] for level in levels}, model.name)


def maps_by_level(graph: Graph) -> dict[int, Any]:
    """For each stride that is a power of two and the same along all axes, the last map there that all paths go through."""
    strides, found = strides_of(graph), dict[int, Any]()
    for layer, result in bottlenecks(graph):
        stride, *others = set(strides.get(id(result), (0, 1)))
        if not others and stride & (stride - 1) == 0 and not any(part in type(layer).__name__ for part in NO_MAPS):
            found[stride.bit_length() - 1] = activated(result, graph)
    return found


def strides_of(graph: Graph) -> dict[int, tuple[int, ...]]:
    """Pixels of the image from one pixel of a map to the next, along each axis, by the id of the map's tensor."""
    [image] = keras.tree.flatten(graph.inputs)
    rank = len(image.shape)
    strides = {id(image): (1,) * (rank - 2)}
    for layer, sources, results in graph.calls:
        known = [strides[id(source)] for source in sources if id(source) in strides]
        enlarges = any(word in type(layer).__name__ for word in ("Transpose", "UpSampling", "Resize"))
        if known and len(results) == 1 and len(results[0].shape) == rank and not enlarges:
            own = getattr(layer, "strides", 1)
            own = (own,) * (rank - 2) if isinstance(own, int) else tuple(own)
            largest = tuple(map(max, zip(*known, strict=True)))
            strides[id(results[0])] = tuple(a * b for a, b in zip(largest, own, strict=True))
    return strides


def bottlenecks(graph: Graph) -> list[tuple[Any, Any]]:
    """Layers and their outputs that every path from the input to the outputs goes through, in order."""
    last = {id(source): place for place, (_, sources, _) in enumerate(graph.calls) for source in sources}
    last |= {id(tensor): len(graph.calls) for tensor in keras.tree.flatten(graph.outputs)}
    furthest, found = max((last.get(id(tensor), 0) for tensor in keras.tree.flatten(graph.inputs)), default=0), []
    for place, (layer, _, results) in enumerate(graph.calls):
        if furthest <= place and len(results) == 1:
            found.append((layer, results[0]))
        furthest = max([furthest, *(last.get(id(result), 0) for result in results)])
    return found


def activated(tensor: Any, graph: Graph) -> Any:
    """A map, or where a unit begins by normalising and activating it, the map behind that."""
    for norm in consumers(tensor, graph, keras.layers.BatchNormalization, keras.layers.GroupNormalization):
        for active in consumers(norm, graph, keras.layers.Activation, keras.layers.ReLU):
            return active
    return tensor


def consumers(tensor: Any, graph: Graph, *kinds: type) -> list[Any]:
    """What the layers of some kinds make of a tensor."""
    return [results[0] for layer, sources, results in graph.calls if isinstance(layer, kinds) and sources[0] is tensor]
