"""The layout of BiT (arXiv:1912.11370): `.npz` with `resnet/block1/unit01/a/standardized_conv2d/kernel`.

BiT standardises its kernels whenever they are used. Here they are standardised once, when they are read.
"""

import numpy as np

from keras_resnet.weights.arrays import Arrays
from keras_resnet.weights.layout import KERAS, Layout

UNIT, OURS = "resnet/block{stage}/unit{block:02}", "stage{stage}_block{block}"
TINY = 1e-10  # added to the variance of a kernel, in the published code


def standardized(arrays: Arrays) -> Arrays:
    """With mean 0 and variance 1 of every filter, and the classifier's 1x1 convolution as a matrix."""
    return {name: standard(name, array) for name, array in arrays.items()}


def standard(name: str, array: np.ndarray) -> np.ndarray:
    """One of these arrays."""
    if name.startswith("resnet/head/") and array.ndim == 4 and array.shape[:2] == (1, 1):
        return array[0, 0]
    if "/standardized_conv2d/" not in name or array.ndim < 2 or array.dtype.kind != "f":
        return array
    return with_variance_1(array, tuple(range(array.ndim - 1)), TINY)


def with_variance_1(kernel: np.ndarray, axes: tuple[int, ...], tiny: float) -> np.ndarray:
    """A kernel with mean 0 and variance 1 of every filter, which `axes` go along."""
    kernel = kernel.astype("float64")
    mean, variance = kernel.mean(axes, keepdims=True), kernel.var(axes, keepdims=True)
    return ((kernel - mean) / np.sqrt(variance + tiny)).astype("float32")


BIT = Layout(
    "bit",
    mark=r"resnet/block1/unit01/a/standardized_conv2d/kernel",
    rows=(
        ("resnet/root_block/standardized_conv2d", "stem_conv"),
        (f"{UNIT}/a/proj/standardized_conv2d", f"{OURS}_shortcut_conv"),
        *(
            row
            for number, letter in enumerate("abc", start=1)
            for row in (
                (f"{UNIT}/{letter}/standardized_conv2d", f"{OURS}_conv{number}"),
                (f"{UNIT}/{letter}/group_norm", f"{OURS}_norm{number}"),
            )
        ),
        ("resnet/group_norm", "head_norm"),
        ("resnet/head/conv2d", "logits"),
    ),
    first={"stage": 1, "block": 1},
    variables=KERAS,
    fixed={
        "stride_on": "3x3",
        "shortcut": "projection",
        "stem_pool": "zero_padded_max",
        "stem_norm": False,
        "activation": "relu",
        "activation_order": "full_preactivation",
        "antialias": False,
        "norm": "group",
        "norm_groups": 32,
        "normalize": "half",
        "norm_epsilon": 1e-5,
    },
    has_prefix=False,
    prepare=standardized,
)
