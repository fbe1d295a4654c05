"""Keras files that number the layers of a kind (`layers/conv2d_7/vars/0`): the order of the kernels tells the layers apart."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.weights.arrays import Arrays
from keras_resnet.weights.layout import STATISTICS

NUMBERED = r"(.*/)?layers/(?P<kind>conv2d|batch_normalization|dense)(_(?P<number>\d+))?/vars/(?P<variable>\d)"
VARIABLES = {"conv2d": ("kernel", "bias"), "batch_normalization": STATISTICS, "dense": ("kernel", "bias")}
Kernels = list[tuple[int, ...]]
Names = dict[str, list[str]]


class Place(NamedTuple):
    """A convolution of a unit, all counted from 1; `number` is 0 for the shortcut."""

    stage: int
    block: int
    number: int


def is_numbered(arrays: Arrays) -> bool:
    return any(re.fullmatch(NUMBERED, name) for name in arrays)


def by_order(arrays: Arrays, names_of: Callable[[Kernels, int], Names]) -> Arrays:
    """The arrays by the names that `names_of` gives to the layers of each kind, for the shapes of the kernels and the number of
    normalisations."""
    layers: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    others: Arrays = {}
    for name, array in arrays.items():
        if (found := re.fullmatch(NUMBERED, name)) and int(found["variable"]) < len(VARIABLES[found["kind"]]):
            layer = layers.setdefault((found["kind"], int(found["number"] or 0)), {})
            variable = VARIABLES[found["kind"]][int(found["variable"])]
            if variable in layer:
                raise InputError(f"has two arrays for {found['kind']} {found['number'] or 0}: {name!r} is the second")
            layer[variable] = array
        else:
            others[name] = array
    kernels = [layer["kernel"].shape for (kind, _), layer in sorted(layers.items()) if kind == "conv2d" and "kernel" in layer]
    names = names_of(kernels, sum(kind == "batch_normalization" for kind, _ in layers))
    for (kind, number), layer in layers.items():
        name = names[kind][number] if number < len(names[kind]) else f"{kind}_{number}"
        others |= {f"{name}/{variable}": array for variable, array in layer.items()}
    return others


def places(kernels: Kernels) -> Iterator[Place]:
    """Where convolutions stand, without those of the stem: the shortcut of a unit comes before its last convolution.

    A shortcut begins a stage. InputError for another order.
    """
    sizes = [shape[0] for shape in kernels]
    branch = [1, 3, 1] if sizes[:1] == [1] else [3, 3]
    stage, block = 1, 0
    while sizes:
        is_plain = sizes[: len(branch)] == branch and sizes[len(branch) :][:2] == branch[:2]  # 1, 3, 1 and then 1, 3
        has_shortcut = not is_plain and sizes[: len(branch) + 1] == [*branch[:-1], 1, branch[-1]]
        stage, block = (stage + 1, 1) if has_shortcut and block else (stage, block + 1)
        length = len(branch) + has_shortcut
        if not has_shortcut and sizes[:length] != branch:
            raise InputError("numbers its layers, which are not in the order of a known ResNet")
        numbers = [*range(1, len(branch)), *([0] * has_shortcut), len(branch)]
        yield from (Place(stage, block, number) for number in numbers)
        sizes = sizes[length:]
