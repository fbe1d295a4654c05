"""The layout of Hugging Face `transformers`: `resnet.encoder.stages.0.layers.1.layer.0.convolution.weight`."""

from typing import Any

from keras_resnet.weights.arrays import Arrays
from keras_resnet.weights.layout import TORCH, Layout, Rows

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


TRANSFORMERS = Layout(
    "transformers",
    mark=r"(?:resnet\.)?encoder\.stages\.0\.layers\.0\.layer\.\d\.convolution\.weight",
    rows=(("classifier.1", "logits"),),
    first={"stage": 0, "block": 0, "number": 0},
    variables=TORCH,
    usual={"stride_on": "3x3", "normalize": "imagenet", "norm_epsilon": 1e-5},
    fixed={"activation_order": "original", "antialias": False, "stem_pool": "max", "shortcut": "projection"},
    ignored=r"num_batches_tracked$",
    choose_rows=rows_of,
)
