"""Which network is the most accurate on CIFAR-10 at no more multiply-adds, bytes and milliseconds than MLPerf Tiny's ResNet-8?"""

from dataclasses import replace

import keras_resnet as kr
from keras_resnet.search import Budget, Study, widest

resnet8 = replace(kr.SPECS["resnet8"], shortcut="projection", input_shape=(32, 32, 3), classes=10)
budget = Budget(multiply_adds=12_501_632, tflite_int8=96_000, latency=resnet8)  # MLPerf Tiny: 12.5 million, 96 kB
STEMS = {
    "3x3": ("3x3", None),
    "3x3, max": ("3x3", "max"),
    "3x3, 3x3": ("3x3", "convolution"),
    "7x7": ("7x7", None),
    "deep": ("deep", None),
}
WIDTHS = (16, 32, 48, 64)  # integer kernels of LiteRT work on 16 channels at a time


def space(hp):
    stem, pool = STEMS[hp.Choice("stem", list(STEMS))]
    basis = replace(resnet8, stem=stem, stem_pool=pool, stem_width=hp.Choice("stem_width", [16, 32]))
    stages = hp.Int("stages", 2, 3)
    depths = tuple(hp.Int(f"depth{stage}", 1, 4) for stage in range(1, stages + 1))
    widths = sorted(hp.Choice(f"width{stage}", [16, 32]) for stage in range(1, stages))
    return widest(
        lambda last: replace(basis, depths=depths, widths=(*widths, last)), budget, [w for w in WIDTHS if w >= widths[-1]]
    )


study = Study(
    space=space,
    data="cifar10",
    recipe=replace(kr.RECIPES["cifar-30"], epochs=8, precision="bfloat16"),
    budget=budget,
    objectives=("val_accuracy", "latency"),
    trials=12,
    seeds=3,
    final={"epochs": 30},
)
