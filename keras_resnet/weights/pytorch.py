"""The layout of torchvision's and timm's ResNets: state dicts with `conv1.weight`, `layer1.0.conv2.weight`, `fc.bias`.

Basic and bottleneck units, ResNeXt, wide, SE, ECA, deep stems (C, D, S, T), blur, ResNet-RS. timm's ResNetV2 is in `timm_v2.py`.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.networks.spec import NORMALIZATIONS
from keras_resnet.weights.arrays import Arrays
from keras_resnet.weights.layout import TORCH, Layout, Rows, json_beside

UNIT, OURS = "layer{stage}.{block}", "stage{stage}_block{block}"
BLUR: dict[str, Any] = {"antialias": "mirror", "antialias_shortcut": False}  # as timm has it
FILTERS = r"(^maxpool\.\d|\.aa)\.filt$"
FILTER = np.outer((1, 2, 1), (1, 2, 1)) / 16


def rows_of(arrays: Arrays) -> tuple[Rows, dict[str, Any]]:
    """The shortcut: a convolution and its normalisation, after an average pooling where there is one (ResNet-D). And the blur, of
    which older files of timm have the filters."""
    kernels = [name for name, array in arrays.items() if name.endswith(".downsample.1.weight") and array.ndim > 1]
    first = 1 if kernels else 0
    rows = (
        (f"{UNIT}.downsample.{first}", f"{OURS}_shortcut_conv"),
        (f"{UNIT}.downsample.{first + 1}", f"{OURS}_shortcut_norm"),
    )
    fixed = blur_of(arrays)
    if any(".downsample." in name for name in arrays):
        fixed["shortcut"] = "avg_projection" if kernels else "projection"
    return rows, fixed


def blur_of(arrays: Arrays) -> dict[str, Any]:
    """The fields of a network that has filters of a blur. InputError for other filters than (1, 2, 1)."""
    filters = {name: array for name, array in arrays.items() if re.search(FILTERS, name)}
    for name, array in filters.items():
        if array.shape[-2:] != FILTER.shape or not np.allclose(array, FILTER, atol=1e-6):
            raise InputError(f"has another blur than (1, 2, 1) in its array {name!r}: a spec cannot describe it")
    return dict(BLUR) if filters else {}


def settings_beside(path: Path) -> dict[str, Any]:
    """What timm's config.json says of blur and preprocessing. InputError for a network that its arrays do not tell from another
    one."""
    content = json_beside(path.parent, "config.json")
    name = str(content.get("architecture", ""))
    if re.search(r"aa\d", name):
        raise InputError(f"is of timm's {name}, which averages 2x2 pixels before subsampling: a spec cannot describe that")
    blur = {"antialias": False} if name else {}
    return (BLUR if "blur" in name else blur) | preprocessing_of(content)


def preprocessing_of(content: dict[str, Any]) -> dict[str, Any]:
    """What timm's config.json says of preprocessing."""
    settings = content.get("pretrained_cfg")
    if not isinstance(settings, dict) or not {"mean", "std", "input_size"} <= set(settings):
        return {}
    channels, *size = settings["input_size"]
    found = tuple(tuple(round(255 * float(value), 3) for value in settings[key]) for key in ("mean", "std"))
    known = {"normalize": "imagenet" if found == NORMALIZATIONS["imagenet"] else found}
    return known | {"input_shape": (*size, channels)}


PYTORCH = Layout(
    "pytorch",
    mark=r"layer1\.0\.conv\d\.weight",
    rows=(
        ("conv1", "stem_conv"),
        ("bn1", "stem_norm"),
        ("conv1.0", "stem_conv1"),
        ("conv1.1", "stem_norm1"),
        ("conv1.3", "stem_conv2"),
        ("conv1.4", "stem_norm2"),
        ("conv1.6", "stem_conv"),
        ("maxpool.0", "stem_pool_conv"),
        ("maxpool.1", "stem_pool_norm"),
        (f"{UNIT}.conv{{number}}", f"{OURS}_conv{{number}}"),
        (f"{UNIT}.bn{{number}}", f"{OURS}_norm{{number}}"),
        (f"{UNIT}.se.fc1", f"{OURS}_squeeze_reduce"),
        (f"{UNIT}.se.fc2", f"{OURS}_squeeze_expand"),
        (f"{UNIT}.se.conv", f"{OURS}_attention_conv"),
        ("fc", "logits"),
        ("fc.1", "logits"),  # torchvision's after a dropout
        ("last_linear", "logits"),
    ),
    first={"stage": 1, "block": 0, "number": 1},
    variables=TORCH,
    usual={"stride_on": "3x3", "normalize": "imagenet", "norm_epsilon": 1e-5, "antialias": False},
    fixed={"activation_order": "original"},
    ignored=r"num_batches_tracked$",
    constant=FILTERS,
    beside=settings_beside,
    choose_rows=rows_of,
)
