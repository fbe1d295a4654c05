"""At equal multiply-adds, about 11 million, is depth or width better for CIFAR-10?"""

from dataclasses import replace

import keras_resnet as kr
from keras_resnet.search import Budget, Study, widest

budget = Budget(multiply_adds=11_200_000)


def space(hp):
    units = hp.Choice("units", [1, 2, 3, 5])  # in each of three stages: 8, 14, 20 and 32 layers
    basis = replace(kr.SPECS["resnet8"], shortcut="projection", depths=(units,) * 3, input_shape=(32, 32, 3), classes=10)

    def family(width):
        first = round(width / 4)
        return replace(basis, widths=(first, round(width / 2), width), stem_width=first)

    return widest(family, budget, range(4, 100))


study = Study(
    space=space,
    data="cifar10",
    recipe=replace(kr.RECIPES["cifar-30"], epochs=10, precision="auto"),
    budget=budget,
    objectives=("val_accuracy", "parameters"),
    engine="grid",
    trials=4,
    finalists=3,
    seeds=3,
)
