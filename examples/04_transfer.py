"""Transfer: a network that knows the digits 0 to 4 learns 5 to 9 from 50 images, with its first stages frozen.

Expected: at least 85 % of the test images of 5 to 9, in about fifteen seconds.
"""

import keras
import numpy as np

import keras_resnet as kr

keras.utils.set_random_seed(0)
data = kr.data.load("digits")


def images_of(split, classes):
    """Images and labels, counted from 0, of those classes."""
    part = data.splits[split]
    places = np.flatnonzero(np.isin(part.labels, classes))
    return part.take(places).astype("float32"), part.labels[places] - classes[0]


def train(model, images, labels, epochs, rate):
    model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.fit(images, labels, epochs=epochs, batch_size=32, verbose=0)


first, second = range(5), range(5, 10)
model = kr.build("resnet8", input_shape=data.image_shape, classes=5)
train(model, *images_of("train", list(first)), epochs=15, rate=0.003)

model = kr.transfer.replace_head(model, classes=5)
kr.transfer.freeze(model, up_to="stage1")  # its batch normalisation does not change either
images, labels = images_of("train", list(second))
train(model, images[:50], labels[:50], epochs=40, rate=0.003)
accuracy = model.evaluate(*images_of("test", list(second)), verbose=0)[1]
print(f"5 to 9 from 50 images: test accuracy {accuracy:.3f}")
assert accuracy > 0.85
