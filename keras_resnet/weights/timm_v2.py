"""The layout of timm's ResNetV2, pre-activation: `stages.0.blocks.0.conv1.weight`, with batch or group normalisation; BiT too.

Not here: EvoNorm and filter response normalisation, which a spec cannot describe.
"""

from pathlib import Path
from typing import Any

from keras_resnet.weights.arrays import Arrays
from keras_resnet.weights.bit import with_variance_1
from keras_resnet.weights.layout import TORCH, Layout, Rows, json_beside
from keras_resnet.weights.pytorch import preprocessing_of

UNIT, OURS = "stages.{stage}.blocks.{block}", "stage{stage}_block{block}"
TINY = 1e-8  # added to the variance of a kernel of BiT, in timm
CLASSIFIER = "head.fc.weight"


def is_deep(arrays: Arrays) -> bool:
    """Whether the stem has three convolutions (D, T)."""
    return "stem.conv1.weight" in arrays


def is_bit(arrays: Arrays) -> bool:
    """Whether the kernels are standardised whenever they are used: timm has group normalisation after one 7x7 in BiT only."""
    return not is_deep(arrays) and not any(name.endswith(".running_mean") for name in arrays)


def prepared(arrays: Arrays) -> Arrays:
    """The classifier's 1x1 convolution as a matrix, and the kernels of BiT standardised."""
    found = dict(arrays)
    if CLASSIFIER in found and found[CLASSIFIER].shape[2:] == (1, 1):
        found[CLASSIFIER] = found[CLASSIFIER][:, :, 0, 0]
    if is_bit(found):
        kernels = [name for name, array in found.items() if array.ndim == 4 and array.dtype.kind not in "iub"]
        found.update({name: with_variance_1(found[name], (1, 2, 3), TINY) for name in kernels})
    return found


def rows_of(arrays: Arrays) -> tuple[Rows, dict[str, Any]]:
    """What the arrays show of stem and normalisation beside their shapes. Deep stems come with an average pool in the shortcut."""
    return ((f"stem.conv{'3' * is_deep(arrays)}", "stem_conv"),), {
        "shortcut": "avg_projection" if is_deep(arrays) else "projection",
        "stem_pool": "zero_padded_max" if is_bit(arrays) else "max",
    }


def settings_beside(path: Path) -> dict[str, Any]:
    """What timm's config.json says of preprocessing."""
    return preprocessing_of(json_beside(path.parent, "config.json"))


TIMM_V2 = Layout(
    "timm_v2",
    mark=r"stages\.0\.blocks\.0\.conv1\.weight",
    rows=(
        *((f"stem.conv{number}", f"stem_conv{number}") for number in (1, 2)),
        ("stem.norm{number}", "stem_norm{number}"),
        (f"{UNIT}.conv{{number}}", f"{OURS}_conv{{number}}"),
        (f"{UNIT}.norm{{number}}", f"{OURS}_norm{{number}}"),
        (f"{UNIT}.downsample.conv", f"{OURS}_shortcut_conv"),
        ("norm", "head_norm"),
        ("head.fc", "logits"),
    ),
    first={"stage": 0, "block": 0, "number": 1},
    variables=TORCH,
    usual={"normalize": "half"},
    fixed={
        "activation": "relu",
        "activation_order": "full_preactivation",
        "antialias": False,
        "norm_groups": 32,
        "norm_epsilon": 1e-5,
        "stem_norm": False,
        "stride_on": "3x3",
    },
    ignored=r"num_batches_tracked$",
    prepare=prepared,
    beside=settings_beside,
    choose_rows=rows_of,
)
