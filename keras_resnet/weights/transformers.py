"""The layout of Hugging Face `transformers`: `resnet.encoder.stages.0.layers.1.layer.0.convolution.weight`."""

from pathlib import Path
from typing import Any

from keras_resnet.errors import InputError
from keras_resnet.weights.arrays import Arrays
from keras_resnet.weights.layout import TORCH, Layout, Rows, json_beside

UNIT, OURS = "encoder.stages.{stage}.layers.{block}", "stage{stage}_block{block}"
TRUNK = (
    ("embedder.embedder.convolution", "stem_conv"),
    ("embedder.embedder.normalization", "stem_norm"),
    (f"{UNIT}.layer.{{number}}.convolution", f"{OURS}_conv{{number}}"),
    (f"{UNIT}.layer.{{number}}.normalization", f"{OURS}_norm{{number}}"),
    (f"{UNIT}.shortcut.convolution", f"{OURS}_shortcut_conv"),
    (f"{UNIT}.shortcut.normalization", f"{OURS}_shortcut_norm"),
)


def rows_of(arrays: Arrays) -> tuple[Rows, dict[str, Any]]:
    """With a classifier, the rest is in `resnet`."""
    prefix = "resnet." if any(name.startswith("resnet.") for name in arrays) else ""
    return tuple((prefix + theirs, ours) for theirs, ours in TRUNK), {}


def settings_beside(path: Path) -> dict[str, Any]:
    """What config.json says of the network. InputError for a network that a spec cannot describe yet."""
    content = json_beside(path.parent, "config.json")
    if content.get("downsample_in_first_stage"):
        raise InputError(
            "is of a network with a stride in its first stage (downsample_in_first_stage), which a spec cannot say yet"
        )
    known = {"activation": content["hidden_act"]} if "hidden_act" in content else {}
    if content.get("downsample_in_bottleneck") and content.get("layer_type") != "basic":
        known["stride_on"] = "1x1"
    return known


TRANSFORMERS = Layout(
    "transformers",
    mark=r"(?:resnet\.)?encoder\.stages\.0\.layers\.0\.layer\.\d\.convolution\.weight",
    rows=(("classifier.1", "logits"),),
    first={"stage": 0, "block": 0, "number": 0},
    variables=TORCH,
    usual={"stride_on": "3x3", "normalize": "imagenet", "norm_epsilon": 1e-5},
    fixed={"activation_order": "original", "antialias": False, "stem_pool": "max", "shortcut": "projection"},
    ignored=r"num_batches_tracked$",
    beside=settings_beside,
    choose_rows=rows_of,
)
