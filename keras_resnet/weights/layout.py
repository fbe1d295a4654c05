"""A layout: the names and axes that a library gives to the arrays of a ResNet, as a table to the names here.

The tables are in a module for each library. Arrays are called here as in the model: `stage1_block1_conv1/kernel`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.json_files import read_json
from keras_resnet.weights.arrays import Arrays

Rows = tuple[tuple[str, str], ...]
STATISTICS = ("gamma", "beta", "moving_mean", "moving_variance")
NOT_OF_A_NETWORK = r"(optimizer|lr_scheduler|scaler|amp_scaler|optimizer_weights)\b"  # what a checkpoint holds besides


@dataclass(frozen=True)
class Variables:
    """What a library calls the arrays of a layer: "kernel" and "bias", and those of a normalisation."""

    separator: str
    weights: tuple[str, str]
    statistics: tuple[str, str, str, str]
    output_first: bool
    """Whether kernels are (outputs, inputs, *space), as PyTorch has them, and not (*space, inputs, outputs)."""

    def pairs(self, layer: str) -> list[tuple[str, str]]:
        """Their names and ours, for a layer of that name here."""
        is_norm = re.search(r"_norm\d*$|_norm\{\w+\}$", layer) is not None
        return list(
            zip(self.statistics, STATISTICS, strict=True) if is_norm else zip(self.weights, ("kernel", "bias"), strict=True)
        )

    def turned(self, array: np.ndarray) -> np.ndarray:
        """An array with its axes in the order of Keras."""
        last = array.ndim
        return array.transpose(*range(2, last), 1, 0) if self.output_first and last > 1 else array

    def turned_back(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape of Keras in the order of the library."""
        return (shape[-1], shape[-2], *shape[:-2]) if self.output_first and len(shape) > 1 else shape


TORCH = Variables(".", ("weight", "bias"), ("weight", "bias", "running_mean", "running_var"), output_first=True)
KERAS = Variables("/", ("kernel", "bias"), STATISTICS, output_first=False)


@dataclass(frozen=True)
class Layout:
    """How a library stores a ResNet."""

    name: str
    mark: str
    """Pattern of a name that only this layout has; what stands before it is a prefix of every name, if `has_prefix`."""
    rows: Rows
    """Their name of a layer, and ours; none where the names are ours. {stage}, {block} and {number} are counted from 1 here, and
    there from `first`."""
    first: dict[str, int]
    variables: Variables
    usual: dict[str, Any] = field(default_factory=dict)
    """Fields of a spec that the arrays do not show, as the library mostly has them."""
    fixed: dict[str, Any] = field(default_factory=dict)
    """Fields of a spec that the arrays do not show, and that the library always has so."""
    ignored: str = "$^"
    """Pattern of names that a network does not need."""
    constant: str = "$^"
    """Pattern of names of arrays that training does not change: `choose_rows` looks at them, no weight is set to them."""
    has_prefix: bool = True
    prepare: Callable[[Arrays], Arrays] = lambda arrays: arrays
    """Before the names are looked up."""
    finish: Callable[[Arrays], Arrays] = lambda arrays: arrays
    """Of the arrays by our names."""
    beside: Callable[[Path], dict[str, Any]] = lambda path: {}
    """Fields of a spec that the settings in a file or in its folder say."""
    choose_rows: Callable[[Arrays], tuple[Rows, dict[str, Any]]] = lambda arrays: ((), {})
    """More rows, and more of `fixed`, for these arrays."""
    guess: Callable[[Arrays], dict[str, Any]] = lambda arrays: {}
    """Fields of a spec that arrays by our names suggest, where no settings say them."""

    def prefixes(self, arrays: Arrays) -> list[str]:
        """The prefixes of the networks in a file that have this layout; [""] for one without a prefix."""
        if not self.has_prefix:
            return [""] if any(re.fullmatch(self.mark, name) for name in arrays) else []
        found = (re.fullmatch(rf"(.*?){self.mark}", name) for name in arrays)
        return list(dict.fromkeys(match[1] for match in found if match and (not match[1] or match[1][-1] in "./")))


@dataclass(frozen=True)
class Translation:
    """Arrays by our names, their names in the file, and what is known of the network beside the shapes."""

    layout: Layout
    arrays: Arrays
    origins: dict[str, str]
    fixed: dict[str, Any]
    rows: Rows
    prefix: str

    def origin(self, name: str) -> str:
        """What the file calls an array of ours, or would call it."""
        if name in self.origins:
            return self.origins[name]
        layer, variable = name.split("/")
        for theirs, ours in self.rows:
            match = re.fullmatch(pattern(ours), layer)
            names = {ours: theirs for theirs, ours in self.layout.variables.pairs(ours)}
            if match and variable in names:
                numbers = {key: int(value) - 1 + self.layout.first[key] for key, value in match.groupdict().items()}
                return f"{self.prefix}{theirs.format(**numbers)}{self.layout.variables.separator}{names[variable]}"
        return name


def translate(layout: Layout, arrays: Arrays, prefix: str, *, chosen: bool = False) -> Translation:
    """The arrays of a file by our names; of a `chosen` prefix only. InputError that names an array which no such ResNet has."""
    inside = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    outside = [] if chosen else [name for name in arrays if not name.startswith(prefix) and not re.match(NOT_OF_A_NETWORK, name)]
    inside = layout.prepare({name: array for name, array in inside.items() if not re.search(layout.ignored, name)})
    more, fixed = layout.choose_rows(inside)
    rows = (*layout.rows, *more)
    ours: Arrays = {}
    origins: dict[str, str] = {}
    for name, array in inside.items():
        if re.search(layout.constant, name):
            continue
        found = our_name(name, layout, rows) if rows else name
        if found is None:
            outside.append(prefix + name)
            continue
        if found in ours:
            raise InputError(f"has two arrays for {found!r}: {origins[found]!r} and {prefix + name!r}")
        if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
            raise InputError(f"has whole numbers in its array {prefix + name!r}: quantised networks are not read")
        ours[found] = np.asarray(layout.variables.turned(array), "float32")
        origins[found] = prefix + name
    if outside:
        more_of = f" (and {len(outside) - 1} more)" if len(outside) > 1 else ""
        raise InputError(f"has an array {outside[0]!r}{more_of} that no ResNet of the layout {layout.name!r} has")
    return fold_biases(Translation(layout, layout.finish(ours), origins, {**layout.fixed, **fixed}, rows, prefix))


def our_name(name: str, layout: Layout, rows: Rows) -> str | None:
    """Our name of an array, None where the layout has none."""
    layer, _, variable = name.rpartition(layout.variables.separator)
    for theirs, ours in rows:
        match = re.fullmatch(pattern(theirs), layer)
        if match and variable in (names := dict(layout.variables.pairs(ours))):
            numbers = {key: int(value) + 1 - layout.first[key] for key, value in match.groupdict().items()}
            return f"{ours.format(**numbers)}/{names[variable]}"
    return None


def pattern(template: str) -> str:
    """A regular expression of a template such as "layer{stage}.{block}.conv{number}"."""
    return re.sub(r"\\\{(\w+)(?::\w+)?\\\}", r"(?P<\1>\\d{1,4})", re.escape(template))


def json_beside(folder: Path, name: str) -> dict[str, Any]:
    """An object in a JSON file, empty where there is none."""
    try:
        return dict(read_json(folder / name, dict[str, Any]))
    except (FileNotFoundError, ValueError):
        return {}


def fold_biases(found: Translation) -> Translation:
    """Without the biases of convolutions that a batch normalisation follows: it subtracts them from its mean.

    InputError where one of them has no bias and the others have.
    """
    if found.fixed.get("activation_order") != "original":  # then a normalisation stands before the convolution of its number
        return found
    folded = dict(found.arrays)
    kernels = [name for name in folded if re.search(r"_conv\d*/kernel$", name) and mean_after(name) in folded]
    biases = [f"{name.removesuffix('kernel')}bias" for name in kernels]
    for bias in biases if any(bias in folded for bias in biases) else ():
        if bias not in folded:
            raise InputError(f"has no array {found.origin(bias)!r}, and biases of other convolutions")
        mean = mean_after(bias)
        if folded[mean].shape != folded[bias].shape:
            raise InputError(
                f"has an array {found.origin(bias)!r} of {folded[bias].shape}, beside statistics of {folded[mean].shape}"
            )
        folded[mean] = folded[mean] - folded.pop(bias)
    return replace(found, arrays=folded)


def mean_after(name: str) -> str:
    """The mean of the normalisation that follows the convolution of an array."""
    return re.sub(r"_conv(\d*)/\w+$", r"_norm\1/moving_mean", name)
