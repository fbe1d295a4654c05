"""The layout of keras.applications' ResNet50, 101 and 152, V1 and V2: legacy `.h5`, `.weights.h5` and `.keras`.

A legacy file has the names of layers, the others number the layers of a kind. A V1 network takes BGR minus its means there; here it
takes RGB, so the first kernel is turned round. Each convolution of V1 has a bias there, which goes into its normalisation.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.weights.arrays import Arrays
from keras_resnet.weights.layout import KERAS, STATISTICS, Layout, Rows

UNIT, OURS = "conv{stage}_block{block}", "stage{stage}_block{block}"
MEANS = (123.68, 116.779, 103.939)
NUMBERED = r"(.*/)?layers/(?P<kind>conv2d|batch_normalization|dense)(_(?P<number>\d+))?/vars/(?P<variable>\d)"
VARIABLES = {"conv2d": ("kernel", "bias"), "batch_normalization": STATISTICS, "dense": ("kernel", "bias")}


def prepared(arrays: Arrays) -> Arrays:
    """The arrays by layer and kind, such as `conv1_conv/kernel`."""
    if any(re.fullmatch(NUMBERED, name) for name in arrays):
        return by_order(arrays)
    return {"/".join(name.removesuffix(":0").split("/")[-2:]): array for name, array in arrays.items()}


def by_order(arrays: Arrays) -> Arrays:
    """The arrays of a file that numbers layers by their kind: they are in the order of the network."""
    layers: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    others: Arrays = {}
    for name, array in arrays.items():
        if (found := re.fullmatch(NUMBERED, name)) and int(found["variable"]) < len(VARIABLES[found["kind"]]):
            layer = layers.setdefault((found["kind"], int(found["number"] or 0)), {})
            layer[VARIABLES[found["kind"]][int(found["variable"])]] = array
        else:
            others[name] = array
    kernels = [layer["kernel"].shape for (kind, _), layer in sorted(layers.items()) if kind == "conv2d" and "kernel" in layer]
    names = names_in_order(kernels, sum(kind == "batch_normalization" for kind, _ in layers))
    for (kind, number), layer in layers.items():
        name = names[kind][number] if number < len(names[kind]) else f"{kind}_{number}"
        others |= {f"{name}/{variable}": array for variable, array in layer.items()}
    return others


def names_in_order(kernels: list[tuple[int, ...]], norms: int) -> dict[str, list[str]]:
    """The names of layers in their order, of each kind, for the shapes of kernels and the number of normalisations.

    V1 has one after each convolution, V2 three in each unit and a last one.
    """
    prefixes = list(names_of(kernels))
    units = dict.fromkeys(name.rpartition("_")[0] for name in prefixes[1:])
    of_v2 = [*(f"{unit}_{place}" for unit in units for place in ("preact", "1", "2")), "post"]
    normalized = {len(prefixes): prefixes, len(of_v2): of_v2}.get(norms)
    if normalized is None:
        raise InputError(
            f"numbers its layers, and has {len(kernels)} convolutions and {norms} normalisations: it is none of "
            "keras.applications' ResNet50, 101 and 152, nor of their V2"
        )
    return {
        "conv2d": [f"{name}_conv" for name in prefixes],
        "batch_normalization": [f"{name}_bn" for name in normalized],
        "dense": ["predictions"],
    }


def names_of(kernels: list[tuple[int, ...]]) -> Iterator[str]:
    """The names of convolutions in their order: of each unit 1x1, 3x3, the shortcut if there is one, and 1x1."""
    middles = [number for number, shape in enumerate(kernels) if shape[0] == 3]
    stage, block = 1, 0
    yield "conv1"
    for middle, following in zip(middles, [*middles[1:], len(kernels) + 1], strict=True):
        after = following - 1 - (middle + 1)
        if after not in (1, 2):
            raise InputError("numbers its layers, which are not in the order of keras.applications' ResNets")
        stage, block = (stage + 1, 1) if after == 2 else (stage, block + 1)
        for number in (1, 2, 0, 3) if after == 2 else (1, 2, 3):
            yield f"conv{stage}_block{block}_{number}"


def turned_round(arrays: Arrays) -> Arrays:
    """With a first kernel for RGB; that of V2 is."""
    kernel = arrays.get("stem_conv/kernel")
    if kernel is None or kernel.ndim < 2 or kernel.shape[-2] != 3 or "stem_norm/gamma" not in arrays:
        return arrays
    return {**arrays, "stem_conv/kernel": np.ascontiguousarray(kernel[..., ::-1, :])}


def rows_of(arrays: Arrays) -> tuple[Rows, dict[str, Any]]:
    """The normalisations: of V1 one after each convolution, of V2 one before each of a unit."""
    if not any("_preact_bn/" in name for name in arrays):
        rows: Rows = (
            ("conv1_bn", "stem_norm"),
            (f"{UNIT}_0_bn", f"{OURS}_shortcut_norm"),
            (f"{UNIT}_{{number}}_bn", f"{OURS}_norm{{number}}"),
        )
        return rows, V1
    rows = (
        (f"{UNIT}_preact_bn", f"{OURS}_norm1"),
        (f"{UNIT}_1_bn", f"{OURS}_norm2"),
        (f"{UNIT}_2_bn", f"{OURS}_norm3"),
        ("post_bn", "head_norm"),
    )
    return rows, V2


FIXED: dict[str, Any] = {"activation": "relu", "antialias": False, "norm_epsilon": 1.001e-5}
V1: dict[str, Any] = {
    "stride_on": "1x1",
    "shortcut": "projection",
    "stem_pool": "max",
    "activation_order": "original",
    "normalize": (MEANS, (1.0, 1.0, 1.0)),
}
V2: dict[str, Any] = {
    "stride_on": "3x3",
    "stride_in": "last",
    "shortcut": "subsampling",
    "stem_pool": "zero_padded_max",
    "stem_norm": False,
    "conv_bias": True,
    "activation_order": "full_preactivation",
    "normalize": "half",
}

KERAS_APPLICATIONS = Layout(
    "keras_applications",
    mark=r"(.*/)?(conv2_block1_\d_conv/kernel(:0)?|layers/conv2d/vars/1)",
    rows=(
        ("conv1_conv", "stem_conv"),
        (f"{UNIT}_0_conv", f"{OURS}_shortcut_conv"),
        (f"{UNIT}_{{number}}_conv", f"{OURS}_conv{{number}}"),
        ("predictions", "logits"),
    ),
    first={"stage": 2, "block": 1, "number": 1},
    variables=KERAS,
    fixed=FIXED,
    ignored=r"^(optimizer|optimizer_weights|metrics)/",
    has_prefix=False,
    prepare=prepared,
    finish=turned_round,
    choose_rows=rows_of,
)
