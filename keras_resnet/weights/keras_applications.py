"""The layout of keras.applications' ResNet50, 101 and 152, V1 and V2: legacy `.h5`, `.weights.h5` and `.keras`.

A legacy file has the names of layers, the others number the layers of a kind. A V1 network takes BGR minus its means there; here it
takes RGB, so the first kernel is turned round. Each convolution of V1 has a bias there, which goes into its normalisation.
"""

import re
from typing import Any

import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.weights.arrays import Arrays
from keras_resnet.weights.layout import KERAS, Layout, Rows
from keras_resnet.weights.numbered import Kernels, Names, by_order, is_numbered, places

UNIT, OURS = "conv{stage}_block{block}", "stage{stage}_block{block}"
MEANS = (123.68, 116.779, 103.939)
NAMES = {  # of layers: ours, and keras.applications'
    "stem_conv_pad": "conv1_pad",
    "stem_conv": "conv1_conv",
    "stem_norm": "conv1_bn",
    "stem_relu": "conv1_relu",
    "stem_pool_pad": "pool1_pad",
    "stem_pool": "pool1_pool",
    "head_norm": "post_bn",
    "head_relu": "post_relu",
}
PARTS = {"conv": "conv", "norm": "bn", "relu": "relu"}


def prepared(arrays: Arrays) -> Arrays:
    """The arrays by layer and kind, such as `conv1_conv/kernel`."""
    if is_numbered(arrays):
        return by_order(arrays, names_in_order)
    return {"/".join(name.removesuffix(":0").split("/")[-2:]): array for name, array in arrays.items()}


def names_in_order(kernels: Kernels, norms: int) -> Names:
    """The names of layers in their order. V1 has a normalisation after each convolution, V2 three in each unit and a last one."""
    of_units = list(places(kernels[1:]))
    units = dict.fromkeys(f"conv{stage + 1}_block{block}" for stage, block, _ in of_units)
    convolutions = ["conv1", *(f"conv{stage + 1}_block{block}_{number}" for stage, block, number in of_units)]
    of_v2 = [*(f"{unit}_{place}" for unit in units for place in ("preact", "1", "2")), "post"]
    normalized = {len(convolutions): convolutions, len(of_v2): of_v2}.get(norms)
    if normalized is None:
        raise InputError(
            f"numbers its layers, and has {len(kernels)} convolutions and {norms} normalisations: it is none of "
            "keras.applications' ResNet50, 101 and 152, nor of their V2"
        )
    return {
        "conv2d": [f"{name}_conv" for name in convolutions],
        "batch_normalization": [f"{name}_bn" for name in normalized],
        "dense": ["predictions"],
    }


def layer_name(name: str, second: bool, pooling: str | None) -> str:
    """keras.applications' name of a layer.

    >>> layer_name("stage1_block2_norm3", False, None)
    'conv2_block2_3_bn'
    """
    if name == "pool":
        return f"{pooling}_pool"
    unit = re.fullmatch(r"stage(?P<stage>\d+)_block(?P<block>\d+)_(?P<part>\w+)", name)
    if unit is None:
        return NAMES.get(name, name)
    start, part = f"conv{int(unit['stage']) + 1}_block{unit['block']}", unit["part"]
    if found := re.fullmatch(r"shortcut_(conv|norm)", part):
        return f"{start}_0_{PARTS[found[1]]}"
    if found := re.fullmatch(r"(conv|norm|relu)(\d)(_pad)?", part):
        number = int(found[2]) - (second and found[1] != "conv")
        kind = "pad" if found[3] else PARTS[found[1]]
        return f"{start}_preact_{kind}" if number == 0 else f"{start}_{number}_{kind}"
    return f"{start}_out" if second and part == "add" else f"{start}_{part}"


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
