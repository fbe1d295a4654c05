"""Which network a file of weights is of, and its arrays by the names that they have here."""

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.fields import look_up
from keras_resnet.networks.spec import RATES, ResNetSpec
from keras_resnet.networks.variants import name_of, resolve
from keras_resnet.outside import read_text
from keras_resnet.weights.arrays import Arrays, read_arrays
from keras_resnet.weights.bit import BIT
from keras_resnet.weights.keras_applications import KERAS_APPLICATIONS
from keras_resnet.weights.keras_hub import KERAS_HUB, is_named
from keras_resnet.weights.layout import Layout, Translation, json_beside, translate
from keras_resnet.weights.names import find
from keras_resnet.weights.own import OWN, arrays_of_a_run, file_of_a_run, is_of_a_run
from keras_resnet.weights.pytorch import PYTORCH
from keras_resnet.weights.shapes import shapes_of, spec_of
from keras_resnet.weights.timm_v2 import TIMM_V2
from keras_resnet.weights.transformers import TRANSFORMERS

LAYOUTS = {layout.name: layout for layout in (PYTORCH, TIMM_V2, TRANSFORMERS, KERAS_APPLICATIONS, BIT, OWN, KERAS_HUB)}
CLASSIFIER = "logits/"
FIRST_KERNELS = ("stem_conv/kernel", "stem_conv1/kernel")
OF_THE_LIBRARY = ("normalize", "norm_epsilon")  # a given network takes these from the library
FREE = (  # fields that weights do not depend on
    *("input_shape", "classes", "classifier_activation", "output_stride", "zero_init", "fixup", "gate_bias"),
    *(*OF_THE_LIBRARY, *RATES),
)
NOT_YET = {  # networks that a spec cannot describe, by an array that they have
    r"stages\.0\.blocks\.0\.norm1\.v$": "timm's ResNetV2 with EvoNorm",
    r"stages\.0\.blocks\.0\.norm1\.tau$": "timm's ResNetV2 with filter response normalisation",
}


@dataclass(frozen=True, eq=False)
class Weights:
    """What is in a file: the network, its arrays by names such as `stem_conv/kernel`, and the class names where they are known."""

    spec: ResNetSpec
    arrays: Arrays
    class_names: list[str] | None
    layout: str

    def __iter__(self) -> Any:
        return iter((self.spec, self.arrays, self.class_names))


def read(
    path: str | Path, *, layout: str | None = None, spec: str | ResNetSpec | None = None, prefix: str | None = None
) -> Weights:
    """The network of a file of weights, its arrays and its class names.

    Args:
        path: what `read_arrays` reads; a run folder; or a name: "tiny-imagenet", which comes with this package; "imagenet", for the
            network in `spec`; "owner/name" or "owner/name@revision" of the Hugging Face Hub. Files of names are downloaded the
            first time.
        layout: a name in `LAYOUTS`; None to find it by the names of the arrays.
        spec: the network, where the arrays do not show all of it (the place of the stride in a bottleneck, dilation, an
            activation); None for the library's usual one. `normalize`, `norm_epsilon` and the number of classes are the file's.
        prefix: what stands before the names of the network's arrays, such as "model_ema."; arrays without it are left out. None for
            the only network of the file.

    Settings of timm and transformers (config.json), and the spec and labels of this package, are read where they are in the folder
    of the file.

    Returns: (spec, arrays, class names or None). The arrays are float32 with the axes of Keras, biases of normalised convolutions
    folded into their normalisation. A file without a classifier gives none, and the spec its default number of classes.
    InputError, in one line, where an array is missing, has another shape, or is of no such network.
    """
    chosen = None if layout is None else look_up(layout, LAYOUTS, "layout of weights")
    network = None if spec is None else resolve(spec)
    path, _, asked = find(path, spec)
    network = None if asked is None else network
    path = file_of(path)
    arrays = read_arrays(path)
    try:
        if chosen in (None, OWN) and is_of_a_run(path):
            arrays, chosen = arrays_of_a_run(path), OWN
        found = interpret(arrays, chosen or layout_of(arrays), network, path, prefix, is_chosen=chosen is not None)
    except InputError as error:
        raise InputError(f"{str(path)!r} {error}") from None
    has_classifier = any(name.startswith(CLASSIFIER) for name in found.arrays)
    return replace(found, class_names=labels_beside(path.parent, found.spec.classes)) if has_classifier else found


def file_of(path: Path) -> Path:
    """The file that has the weights: of the folder of a run that in it."""
    return file_of_a_run(path) if path.is_dir() and (path / "spec.json").is_file() else path


def interpret(
    arrays: Arrays, layout: Layout, spec: ResNetSpec | None, path: Path, prefix: str | None, *, is_chosen: bool
) -> Weights:
    """The network of named arrays."""
    beside = layout.beside(path)
    if layout is KERAS_HUB and not (beside or is_chosen or is_named(arrays)):
        raise InputError("numbers its layers and has no config.json beside it: if it is KerasHub's, say so (layout='keras_hub')")
    found = translate(layout, arrays, prefix_of(layout, arrays, prefix), chosen=prefix is not None)
    shapes = {name: array.shape for name, array in found.arrays.items()}
    known = {**layout.usual, **layout.guess(found.arrays), **beside, **found.fixed}
    if spec is None and layout is OWN:
        if not beside:
            raise InputError("is of this package and has no spec.json beside it: say which network it is (spec)")
        spec = ResNetSpec(**beside)  # all of it: none is a value, where other libraries' settings leave it open
    certain = {**beside, **found.fixed}
    network = spec_of(shapes, known) if spec is None else given(spec, found, known, certain)
    check_shapes(network, found)
    check_numbers(found)
    return Weights(network, found.arrays, None, layout.name)


def labels_beside(folder: Path, classes: int) -> list[str] | None:
    """The class names of labels.txt or config.json in the same folder, where there are as many."""
    with suppress(OSError, ValueError):
        names = read_text(folder / "labels.txt").removesuffix("\n").split("\n")
        if len(names) == classes:
            return names
    listed = json_beside(folder, "config.json").get("id2label")
    named = [listed.get(str(number)) for number in range(classes)] if isinstance(listed, dict) else [None]
    return [str(name) for name in named] if None not in named else None


def layout_of(arrays: Arrays) -> Layout:
    """The layout that the arrays have."""
    for pattern, reason in NOT_YET.items():
        if any(re.search(pattern, array) for array in arrays):
            raise InputError(f"is of a network that a spec cannot describe, {reason}")
    for layout in LAYOUTS.values():
        if layout.prefixes(arrays):
            return layout
    first = ", ".join(list(arrays)[:3])
    raise InputError(f"has the arrays of no known ResNet, such as {first}; the known layouts are {', '.join(LAYOUTS)}")


def prefix_of(layout: Layout, arrays: Arrays, given: str | None) -> str:
    """What stands before every name."""
    prefixes = layout.prefixes(arrays)
    if given is not None:
        return given
    if len(prefixes) > 1:
        raise InputError(f"has several networks: choose one by prefix= (--prefix): {', '.join(map(repr, prefixes))}")
    return prefixes[0] if prefixes else ""


def given(spec: ResNetSpec, found: Translation, known: dict[str, Any], certain: dict[str, Any]) -> ResNetSpec:
    """The network that was asked for, with what the file decides. InputError where it is certain that the file has it otherwise."""
    for name, value in certain.items():
        asked, there = getattr(spec, name), tuple(value) if isinstance(value, list) else value
        if name not in FREE and asked != there:
            raise InputError(f"is of a network with {name}={there!r} ({found.layout.name}), and not {name}={asked!r}")
    changes = {name: known[name] for name in OF_THE_LIBRARY if name in known}
    if "logits/kernel" in found.arrays:
        changes["classes"] = found.arrays["logits/kernel"].shape[-1]
    return replace(spec, **changes)


def check_shapes(spec: ResNetSpec, found: Translation) -> None:
    """InputError that names the first array which is missing, not of such a network, or of another shape."""
    expected, shape_back = shapes_of(spec), found.layout.variables.turned_back
    if not any(name.startswith(CLASSIFIER) for name in found.arrays):
        expected = {name: shape for name, shape in expected.items() if not name.startswith(CLASSIFIER)}
    for name, shape in expected.items():
        if name in found.arrays and found.arrays[name].shape != shape:
            there, hint = found.arrays[name].shape, ""
            if name in FIRST_KERNELS and (*there[:-2], *there[-1:]) == (*shape[:-2], *shape[-1:]):
                hint = f": build it with {there[-2]} channels, then kr.transfer.adapt_channels(model, {shape[-2]}) changes them"
            raise InputError(
                f"does not fit {described(spec)}: its array {found.origin(name)!r} is {shape_back(there)}, not "
                f"{shape_back(shape)}{hint}"
            )
    for name in expected:
        if name not in found.arrays:
            raise InputError(f"does not fit {described(spec)}: it has no array {found.origin(name)!r}")
    for name in found.arrays:
        if name not in expected:
            raise InputError(f"does not fit {described(spec)}, which has no array {found.origin(name)!r}")


def described(spec: ResNetSpec) -> str:
    """A network in a few words."""
    name = name_of(spec)
    units = ",".join(map(str, spec.depths))
    return name if name != "custom" else f"a ResNet of {units} {spec.block} units"


def check_numbers(found: Translation) -> None:
    """InputError that names an array with NaN, infinite numbers or a negative variance."""
    for name, array in found.arrays.items():
        if not np.isfinite(array).all() or (name.endswith("/moving_variance") and array.min() < 0):
            raise InputError(f"is damaged: its array {found.origin(name)!r} has numbers that no trained network has")
