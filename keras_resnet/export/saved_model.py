"""Writes SavedModels as TensorFlow Serving takes them: a folder with numbered versions."""

from pathlib import Path
from typing import Any

import keras

from keras_resnet.export.signature import named_outputs
from keras_resnet.export.supported import Source
from keras_resnet.export.targets import Target
from keras_resnet.files.runtimes import ENCODED, PIXELS
from keras_resnet.networks.connections import gives_probabilities

VERSION = "1"


def write_saved_model(source: Source, path: Path, target: Target) -> None:
    """A SavedModel in `path`/1 with these signatures, each of one argument, "image".

    "serving_default" takes uint8 pixels of any height and width, and scales them to the network's. "encoded" takes the contents
    of JPEG, PNG, GIF and BMP files. "pixels" takes float32 pixels of exactly the network's size; for a network that is not
    of images in grey or colour it is the only one, and the default.
    """
    import tensorflow as tf

    model = source.model
    are_probabilities, shape = gives_probabilities(model), model.input_shape[1:]

    def classify(image: Any) -> dict[str, Any]:
        return named_outputs(model(image, training=False), target, are_probabilities)

    def resize(image: Any) -> Any:
        pixels = tf.cast(image, tf.float32)
        return pixels if None in shape else tf.ensure_shape(tf.image.resize(pixels, shape[:2], antialias=True), (None, *shape))

    def decode(content: Any) -> Any:
        image = tf.io.decode_image(content, channels=shape[-1], expand_animations=False)
        return resize(image[None])[0] if None not in shape else tf.cast(image, tf.float32)

    def classify_encoded(image: Any) -> dict[str, Any]:
        return classify(tf.map_fn(decode, image, fn_output_signature=tf.TensorSpec(shape, tf.float32)))

    # The endpoints alone keep the variables. Tracking the model too would write every one twice.
    archive = keras.export.ExportArchive()
    are_pictures = len(shape) == 3 and shape[-1] in (1, 3)
    if are_pictures:
        any_size = tf.TensorSpec((target.batch, None, None, shape[-1]), tf.uint8, "image")
        archive.add_endpoint("serving_default", lambda image: classify(resize(image)), [any_size])
        archive.add_endpoint(ENCODED, classify_encoded, [tf.TensorSpec((target.batch,), tf.string, "image")])
    pixels = tf.TensorSpec((target.batch, *shape), tf.float32, "image")
    archive.add_endpoint(PIXELS if are_pictures else "serving_default", classify, [pixels])
    archive.write_out(str(path / VERSION), verbose=False)
