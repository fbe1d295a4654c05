"""The layout of KerasHub's ResNets (V1, V2 and vd), backbone and classifier: `.weights.h5`, `.keras`, and the folder of a preset.

The layers of a file are numbered. What the arrays do not show is in the config.json of a `.keras` file or beside the weights.
"""

import re
import zipfile
from pathlib import Path
from typing import Any

from keras_resnet.errors import InputError
from keras_resnet.outside import parse, regular
from keras_resnet.weights.arrays import Arrays
from keras_resnet.weights.layout import KERAS, Layout, Rows, json_beside
from keras_resnet.weights.numbered import Kernels, Names, by_order, is_numbered, places

UNIT, OURS = "stack{stage}_block{block}", "stage{stage}_block{block}"
LARGEST_CONFIG = 2**20  # bytes


def prepared(arrays: Arrays) -> Arrays:
    """The arrays by layer and kind, such as `stack0_block0_1_conv/kernel`."""
    return by_order(arrays, names_in_order) if is_numbered(arrays) else arrays


def names_in_order(kernels: Kernels, norms: int) -> Names:
    """The names of layers in their order. V1 has a normalisation after each convolution, V2 one before each of a branch."""
    stem = 1 if kernels and kernels[0][0] == 7 else 3
    of_stem = [f"conv{number}" for number in range(1, stem + 1)]
    of_units = [f"stack{stage - 1}_block{block - 1}_{number}" for stage, block, number in places(kernels[stem:])]
    of_v1 = [f"{name}_bn" for name in (*of_stem, *of_units)]
    last = max((name[-1] for name in of_units), default="")
    branch = (name for name in of_units if name[-1] != "0")
    before = (f"{name[:-2]}_pre_activation_bn" if name[-1] == "1" else f"{name[:-1]}{int(name[-1]) - 1}_bn" for name in branch)
    of_v2 = [*(f"{name}_bn" for name in of_stem[:-1]), *before, "post_bn"]
    normalized = of_v1 if norms == len(of_v1) else of_v2
    if norms != len(normalized) or not last:
        raise InputError(f"has {len(kernels)} convolutions and {norms} normalisations, and is none of KerasHub's ResNets")
    return {
        "conv2d": [f"{name}_conv" for name in (*of_stem, *of_units)],
        "batch_normalization": normalized,
        "dense": ["predictions"],
    }


def rows_of(arrays: Arrays) -> tuple[Rows, dict[str, Any]]:
    """Stem and normalisations, of V1 or of V2."""
    is_deep = "conv2_conv/kernel" in arrays
    stem = [(f"conv{number}", str(number)) for number in (1, 2)] + [("conv3", "")] if is_deep else [("conv1", "")]
    rows = [*((f"{theirs}_conv", f"stem_conv{ours}") for theirs, ours in stem)]
    rows += [(f"{theirs}_bn", f"stem_norm{ours}") for theirs, ours in stem]
    if "post_bn/gamma" not in arrays:
        v1 = ((f"{UNIT}_0_bn", f"{OURS}_shortcut_norm"), (f"{UNIT}_{{number}}_bn", f"{OURS}_norm{{number}}"))
        return (*rows, *v1), {"activation_order": "original"}
    v2 = (
        (f"{UNIT}_pre_activation_bn", f"{OURS}_norm1"),
        (f"{UNIT}_1_bn", f"{OURS}_norm2"),
        (f"{UNIT}_2_bn", f"{OURS}_norm3"),
        ("post_bn", "head_norm"),
    )
    return (*rows, *v2), {"activation_order": "full_preactivation", "stem_norm": False}


def settings_of(path: Path) -> dict[str, Any]:
    """What config.json, in a `.keras` file or beside the weights, says of a ResNetBackbone; empty where there is none."""
    content = config_inside(path) or json_beside(path.parent, "config.json")
    outer = content.get("config")
    task = outer if isinstance(outer, dict) and "backbone" in outer else {}
    backbone = task.get("backbone", content)
    config = backbone.get("config") if isinstance(backbone, dict) and backbone.get("class_name") == "ResNetBackbone" else None
    if not isinstance(config, dict) or not {"block_type", "stackwise_num_strides"} <= set(config):
        return {}
    preprocessor = task.get("preprocessor") or json_beside(path.parent, "preprocessor.json")
    try:
        strides = tuple(config["stackwise_num_strides"])
        normalization = normalization_of(preprocessor)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        raise InputError("has settings (config.json, preprocessor.json) that are none of KerasHub's") from None
    known: dict[str, Any] = {"shortcut": "avg_projection" if str(config["block_type"]).endswith("_vd") else "projection"}
    if strides != (1, *(2,) * (len(strides) - 1)):
        known["stage_strides"] = strides
    return known | normalization


def config_inside(path: Path) -> dict[str, Any]:
    """config.json of a `.keras` file."""
    try:
        with open(path, "rb", opener=regular) as file, zipfile.ZipFile(file) as archive:
            if archive.getinfo("config.json").file_size > LARGEST_CONFIG:
                return {}
            content = parse(archive.read("config.json").decode())
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile):
        return {}
    return content if isinstance(content, dict) else {}


def normalization_of(preprocessor: Any) -> dict[str, Any]:
    """`normalize` of the scale and offset of an image converter."""
    found = preprocessor
    for key in ("config", "image_converter", "config"):
        found = found.get(key) if isinstance(found, dict) else None
    scale, offset = (found.get(key) for key in ("scale", "offset")) if isinstance(found, dict) else (None, None)
    if scale is None:
        return {}
    scales = scale if isinstance(scale, list) else [scale]
    offsets = offset if isinstance(offset, list) else [offset or 0.0] * len(scales)
    means = tuple(-float(shift) / float(factor) for factor, shift in zip(scales, offsets, strict=True))
    return {"normalize": (means, tuple(1 / float(factor) for factor in scales))}


def is_named(arrays: Arrays) -> bool:
    """Whether the names of a file say that it is KerasHub's: those of a backbone alone do not."""
    return any(re.search(r"res_net_backbone(_\d+)?/", name) for name in arrays)


KERAS_HUB = Layout(
    "keras_hub",
    mark=r"(.*/)?layers/conv2d/vars/0",
    rows=(
        (f"{UNIT}_0_conv", f"{OURS}_shortcut_conv"),
        (f"{UNIT}_{{number}}_conv", f"{OURS}_conv{{number}}"),
        ("predictions", "logits"),
    ),
    first={"stage": 0, "block": 0, "number": 1},
    variables=KERAS,
    usual={"stride_on": "3x3", "normalize": "imagenet", "norm_epsilon": 1e-5, "stem_pool": "max"},
    fixed={"activation": "relu", "antialias": False},
    ignored=r"^(optimizer|optimizer_weights|metrics)/",
    has_prefix=False,
    prepare=prepared,
    beside=settings_of,
    choose_rows=rows_of,
    guess=lambda arrays: {"shortcut": "avg_projection" if "stem_conv1/kernel" in arrays else "projection"},
)
