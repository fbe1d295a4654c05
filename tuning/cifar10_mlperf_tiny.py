"""Which network is the most accurate on CIFAR-10 at no more multiply-adds, bytes and milliseconds than MLPerf Tiny's ResNet-8?"""

from dataclasses import replace

import keras_resnet as kr
from keras_resnet.search import Budget, Study, widest

resnet8 = replace(kr.SPECS["resnet8"], shortcut="projection", input_shape=(32, 32, 3), classes=10)
budget = Budget(multiply_adds=12_501_632, tflite_int8=96_000, latency=resnet8)  # MLPerf Tiny: 12.5 million, 96 kB
POOLS = {"max": "max", "3x3": "convolution"}  # with stride 2, after the stem
FIRST, *_ = WIDTHS = (32, 48, 64)  # integer kernels of LiteRT work on 16 channels at a time; 16 were too few in a first search


def space(hp):
    basis = replace(
        resnet8, stem_pool=POOLS[hp.Choice("stem_pool", list(POOLS))], activation=hp.Choice("activation", ["relu", "silu"])
    )
    depths = hp.Int("depth1", 1, 2), hp.Int("depth2", 1, 3)

    def family(last, stem=8):
        return replace(basis, depths=depths, widths=(FIRST, last), stem_width=stem)

    # What room is left goes to the last stage, then to the stem.
    last = widest(family, budget, WIDTHS).widths[-1]
    return widest(lambda stem: family(last, stem), budget, (8, 12, 16))


study = Study(
    space=space,
    data="cifar10",
    recipe=replace(kr.RECIPES["cifar-30"], epochs=8, precision="auto"),
    budget=budget,
    objectives=("val_accuracy", "latency"),
    trials=20,
    finalists=2,
    seeds=3,
    final={"epochs": 30},
)
