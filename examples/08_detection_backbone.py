"""Features for a detector: the maps "C2" to "C5" of a backbone for images of any size, and a feature pyramid on them.

Expected: strides 4, 8, 16 and 32, pyramids of 256 channels, and frozen batch normalisation whose statistics stay the same.
Takes seconds.
"""

import keras
import numpy as np

import keras_resnet as kr

backbone = kr.build("resnet18", features=(2, 3, 4, 5), input_shape=(None, None, 3))
maps = backbone(np.zeros((1, 128, 192, 3), "float32"))
for name, stride in zip(("C2", "C3", "C4", "C5"), (4, 8, 16, 32), strict=True):
    print(name, tuple(maps[name].shape))
    assert maps[name].shape[1:3] == (128 // stride, 192 // stride)

pyramid = kr.transfer.feature_pyramid(kr.build("resnet18", input_shape=(None, None, 3)))
levels = pyramid(np.zeros((1, 128, 192, 3), "float32"))
print({name: tuple(level.shape) for name, level in levels.items()})
assert all(level.shape[-1] == 256 for level in levels.values())

kr.transfer.freeze(pyramid, up_to="stage4")  # the detector trains what comes after
norm = next(layer for layer in pyramid.layers if isinstance(layer, keras.layers.BatchNormalization))
before = norm.moving_mean.numpy()
pyramid(np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32"), training=True)
assert np.array_equal(norm.moving_mean.numpy(), before)
