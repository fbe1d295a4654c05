"""Writes SavedModels as TensorFlow Serving takes them: a folder with numbered versions."""

from functools import partial
from pathlib import Path
from typing import Any

import keras

from keras_resnet.data import image_graph
from keras_resnet.export.signature import named_outputs
from keras_resnet.export.supported import Source
from keras_resnet.files.runtimes import ENCODED, PIXELS
from keras_resnet.files.targets import Target

VERSION = "1"


def write_saved_model(source: Source, path: Path, target: Target) -> None:
    """A SavedModel in `path`/1 with these signatures, each of one argument, "image".

    "serving_default" takes uint8 pixels of any height and width, scales them to cover the network's size and cuts them to the
    centre. "encoded" takes the contents of JPEG, PNG, GIF and BMP files and does so by the whole rule of `data.images`, EXIF
    orientation first. "pixels" takes float32 pixels of exactly the network's size; for a network that is not of images in grey or
    colour it is the only one, and the default.
    """
    import tensorflow as tf

    model = source.model
    are_probabilities, shape = source.are_probabilities, model.input_shape[1:]

    def classify(image: Any) -> dict[str, Any]:
        return named_outputs(model(image, training=False), target, are_probabilities)

    def classify_any_size(image: Any) -> dict[str, Any]:
        return classify(tf.cast(image if None in shape else image_graph.cover(image, shape), tf.float32))

    def classify_encoded(image: Any) -> dict[str, Any]:
        pixels = tf.map_fn(partial(image_graph.decode, shape=shape), image, fn_output_signature=tf.TensorSpec(shape, tf.uint8))
        return classify(tf.cast(pixels, tf.float32))

    # The endpoints alone keep the variables. Tracking the model too would write every one twice.
    archive = keras.export.ExportArchive()
    are_pictures = len(shape) == 3 and shape[-1] in (1, 3)
    if are_pictures:
        any_size = tf.TensorSpec((target.batch, None, None, shape[-1]), tf.uint8, "image")
        archive.add_endpoint("serving_default", classify_any_size, [any_size])
        archive.add_endpoint(ENCODED, classify_encoded, [tf.TensorSpec((target.batch,), tf.string, "image")])
    pixels = tf.TensorSpec((target.batch, *shape), tf.float32, "image")
    archive.add_endpoint(PIXELS if are_pictures else "serving_default", classify, [pixels])
    archive.write_out(str(path / VERSION), verbose=False)
