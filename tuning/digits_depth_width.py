"""With at most 20,000 parameters, is depth or width better for the digits?"""

from dataclasses import replace

import keras_resnet as kr


def space(hp):
    width = hp.Choice("width", [4, 8, 12, 16, 24])
    depths = tuple(hp.Int(f"depth{stage}", 1, 4) for stage in (1, 2, 3))
    return replace(kr.SPECS["resnet8"], depths=depths, widths=(width, 3 * width // 2, 2 * width), stem_width=width)


study = kr.search.Study(
    space=space,
    recipe=replace(kr.RECIPES["digits"], epochs=10),
    budget=kr.search.Budget(parameters=20_000),
    objectives=("val_accuracy", "multiply_adds"),
)
