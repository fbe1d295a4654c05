"""Which network is the most accurate on CIFAR-10 at no more multiply-adds, bytes and milliseconds than MLPerf Tiny's ResNet-8?"""

from dataclasses import replace

import keras_resnet as kr
from keras_resnet.search import Budget, Study, widest

resnet8 = replace(kr.SPECS["resnet8"], shortcut="projection", input_shape=(32, 32, 3), classes=10)
budget = Budget(multiply_adds=12_501_632, tflite_int8=96_000, latency=resnet8)  # MLPerf Tiny: 12.5 million, 96 kB


def space(hp):
    depths = tuple(hp.Int(f"depth{stage}", 1, 4) for stage in range(1, hp.Int("stages", 2, 3) + 1))
    growth = hp.Choice("growth", [1.25, 1.5, 2.0])  # of the width, from stage to stage
    fields = {
        "depths": depths,
        "stem_width": hp.Choice("stem_width", [8, 16, 24]),
        "stem_pool": hp.Choice("stem_pool", ["none", "max", "convolution"]).replace("none", "") or None,
        "activation": hp.Choice("activation", ["relu", "hard_silu"]),
    }

    def family(width):
        return replace(resnet8, widths=tuple(int(width * growth**stage) for stage in range(len(depths))), **fields)

    return widest(family, budget)


study = Study(
    space=space,
    data="cifar10",
    recipe=replace(kr.RECIPES["cifar-30"], epochs=8, precision="bfloat16"),
    budget=budget,
    objectives=("val_accuracy", "latency"),
    measure_latency=True,
    trials=16,
    seeds=3,
    final={"epochs": 30},
)
