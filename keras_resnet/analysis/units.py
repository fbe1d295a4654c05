"""A network as a chain: stem, units, head. The units are found in the graph, so the networks of other libraries have them too.

A unit of a residual network ends with the addition of two feature maps. It begins at the last tensor on which both depend. In a
network without such additions, units are found by the layer names of this package, or else each convolution begins one.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import keras

from keras_resnet.analysis.steps import Network, Segment, Step
from keras_resnet.errors import InputError
from keras_resnet.networks.connections import CONVOLUTIONS, DEPTHWISE

WITH_KERNELS = (*CONVOLUTIONS, *DEPTHWISE, keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
UNIT_NAME = re.compile(r"(.*stage\d+_block\d+)_")


class Unit(NamedTuple):
    """One unit: `after(merge(shortcut(x), branch(x)))`. Inputs and outputs are feature maps (images, *space, channels)."""

    name: str
    branch: Segment
    shortcut: Segment | None
    """None in a plain network. Without steps it is the identity."""
    merge: Step | None
    after: Segment
    """From the sum to the input of the next unit: an activation, a pooling, or nothing."""
    shape: tuple[int | None, ...]
    """Of the output of the branch: (images, *space, channels)."""
    takes: tuple[int | None, ...]
    """Of the input, likewise."""

    @property
    def is_identity(self) -> bool:
        """Whether the shortcut is the input itself."""
        return self.shortcut is not None and not self.shortcut.steps

    @property
    def keeps_shape(self) -> bool:
        """Whether output and input have the same shape."""
        return self.shape == self.takes

    def added(self, shortcut: Any, branch: Any, training: bool = False) -> Any:
        """The sum of the outputs of shortcut and branch; in a plain network the output of the branch."""
        if self.merge is None or self.shortcut is None:
            return branch
        values = {self.shortcut.end: shortcut, self.branch.end: branch}
        self.merge.run(values, training)
        return values[self.merge.results[0]]

    def __call__(self, x: Any, training: bool = False) -> Any:
        """The output of the unit, before `after`."""
        branch = self.branch(x, training)
        return branch if self.shortcut is None else self.added(self.shortcut(x, training), branch, training)


class Chain:
    """A functional model as stem, units and head. InputError for a model that is not a chain of units."""

    def __init__(self, model: keras.Model) -> None:
        self.network = network = Network(model)
        found = residual_units(network) or plain_units(network)
        if not found:
            raise InputError(f"{model.name!r} has no residual units and no convolutions")
        self.stem = network.between(network.start, found[0].start)
        self.head = network.between(found[-1].end, network.end)
        ends = [*(each.start for each in found[1:]), found[-1].end]
        self.units = [unit_of(network, each, end) for each, end in zip(found, ends, strict=True)]

    @cached_property
    def is_residual(self) -> bool:
        """Whether the units have shortcuts."""
        return self.units[0].shortcut is not None

    def __call__(self, images: Any, training: bool = False) -> Any:
        """The outputs (images, classes) of the model for a batch of images (images, *space, channels)."""
        return self.outputs_from(self.stem(images, training), 0, training)

    def outputs_from(self, x: Any, first: int, training: bool = False) -> Any:
        """The outputs of the model, given the input `x` of unit number `first` (counted from 0)."""
        for unit in self.units[first:]:
            x = unit.after(unit(x, training), training)
        return self.head(x, training)


@dataclass(frozen=True)
class Found:
    """The tensors where a unit begins and ends, and those that it adds, by number."""

    name: str
    start: int
    end: int
    shortcut: int | None = None
    branch: int | None = None


def unit_of(network: Network, found: Found, following: int) -> Unit:
    """The unit with these tensors. `following` is the input of the next unit, or the output of the last one."""
    branch = found.end if found.branch is None else found.branch
    return Unit(
        found.name,
        network.between(found.start, branch),
        None if found.shortcut is None else network.between(found.start, found.shortcut),
        None if found.shortcut is None else network.producer[found.end],
        network.between(found.end, following),
        network.shapes[branch],
        network.shapes[found.start],
    )


def residual_units(network: Network) -> list[Found]:
    """The units that end with an addition, in order; of nested units, the outer one. InputError if units overlap."""
    found = [unit for step in network.steps if (unit := addition(network, step))]
    outer = [each for each in found if not any(is_inside(each, other) for other in found)]
    for one, other in pairwise(outer):
        if other.start < one.end:
            raise InputError(f"{network.model.name!r} is not a chain of units: {other.name!r} begins before {one.name!r} ends")
    return outer


def is_inside(unit: Found, other: Found) -> bool:
    """Whether a unit is a part of the branch or the shortcut of another one."""
    return other.start <= unit.start and unit.end < other.end


def addition(network: Network, step: Step) -> Found | None:
    """The unit that a step ends, if it adds two feature maps that depend on a common one."""
    if type(step.operation).__name__ != "Add" or len(step.sources) != 2 or not all(map(network.is_map, step.sources)):
        return None
    start = fork(network, step.sources)
    if start is None:
        return None
    shortcut, branch = sorted(step.sources, key=lambda value: effort(network.between(start, value)))
    return Found(step.name.removesuffix("_add").removesuffix("_out"), start, step.results[0], shortcut, branch)


def fork(network: Network, values: Iterable[int]) -> int | None:
    """The last tensor on which all these tensors depend; None if it is not a feature map."""
    waiting = set(values)
    while len(waiting) > 1:
        latest = max(waiting)
        if latest not in network.producer:
            return None
        waiting.remove(latest)
        waiting.update(network.producer[latest].sources)
    [start] = waiting
    return start if network.is_map(start) else None


def effort(segment: Segment) -> tuple[int, int]:
    """The sum of the kernel pixels along a path, and the number of its steps. The branch has more than the shortcut."""
    operations = [step.operation for step in segment.steps]
    return sum(math.prod(each.kernel_size) for each in operations if isinstance(each, WITH_KERNELS)), len(operations)


def plain_units(network: Network) -> list[Found]:
    """The units of a network without additions: by the names of layers, or for each convolution."""
    tops = [value for value in network.on_all_paths() if network.is_map(value)]
    names = [unit_name(network, value) for value in tops]
    if not any(names):
        return convolutions(network, tops)
    found: list[Found] = []
    for before, value, name in zip([network.start, *tops], tops, names, strict=False):
        if found and found[-1].name == name:
            found[-1] = replace(found[-1], end=value)
        elif name:
            found.append(Found(name, before, value))
    return found


def unit_name(network: Network, value: int) -> str:
    """The name of the unit of a tensor, from the name of the layer that computes it; "" if there is none."""
    match = UNIT_NAME.match(network.producer[value].name)
    return match[1] if match else ""


def convolutions(network: Network, tops: Sequence[int]) -> list[Found]:
    """A unit for each convolution, with the layers after it, up to the padding of the next one."""
    found: list[Found] = []
    for before, value in zip([network.start, *tops], tops, strict=False):
        step = network.producer[value]
        if isinstance(step.operation, WITH_KERNELS):
            pads = bool(found) and "Padding" in type(network.producer[before].operation).__name__
            start = network.producer[before].sources[0] if pads else before
            found.append(Found(step.name, start, value))
        elif found and "Pool" not in type(step.operation).__name__ and "Padding" not in type(step.operation).__name__:
            found[-1] = replace(found[-1], end=value)
    return found
