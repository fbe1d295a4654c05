"""A network is a frozen dataclass: variants are differences, and their cost is known before anything is built.

Expected: exact numbers of parameters and multiply-adds, and a network of one dimension from the same table. Takes seconds.
"""

from dataclasses import replace

import numpy as np

import keras_resnet as kr

published = kr.cost_of("resnet50")
print(f"resnet50: {published.trainable:,} parameters, {published.multiply_adds:,} multiply-adds at 224x224")
assert published.trainable == 25_557_032  # torchvision's

small = replace(kr.SPECS["resnet50"], widths=(16, 32, 64, 128), stem_width=16, input_shape=(64, 64, 3), classes=10)
plain = replace(kr.SPECS["resnet56"], shortcut="none")  # the same layers without shortcuts
squeezed = replace(small, squeeze=4, activation_order="full_preactivation", antialias=True)
for name, spec in {"small": small, "plain": plain, "squeezed": squeezed}.items():
    model = kr.build(spec)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == kr.cost_of(spec).trainable
    print(f"{name}: {kr.cost_of(spec).trainable:,} parameters, int8 file of about {kr.cost_of(spec).tflite_int8:,} bytes")

signals = kr.build("resnet18", input_shape=(4096, 2), classes=5)  # two channels of a signal
assert signals(np.zeros((3, 4096, 2), "float32")).shape == (3, 5)

try:
    replace(small, squeeze=4, channel_attention=True)
except kr.InputError as error:
    print(f"refused: {error}")
else:
    raise AssertionError("two kinds of attention in one unit should be refused")
