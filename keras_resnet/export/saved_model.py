"""SavedModels, as TensorFlow Serving takes them: a folder of numbered versions."""

from pathlib import Path
from typing import Any

import keras

from keras_resnet.export.interface import Source, outputs_of
from keras_resnet.export.targets import Target
from keras_resnet.files.runtimes import ENCODED, PIXELS
from keras_resnet.networks.connections import gives_probabilities

VERSION = "1"


def write_saved_model(source: Source, path: Path, target: Target) -> None:
    """A SavedModel in `path`/1 with these signatures, each of one argument, "image", and any number of images.

    "serving_default" takes uint8 pixels of any height and width, and scales them to the network's. "encoded" takes the contents
    of JPEG, PNG, GIF and BMP files. "pixels" takes float32 pixels of exactly the network's size; for a network that is not
    of images in grey or colour it is the only one, and the default.
    """
    import tensorflow as tf

    model = source.model
    shares, shape = gives_probabilities(model), model.input_shape[1:]

    def classify(image: Any) -> dict[str, Any]:
        return outputs_of(model(image, training=False), target, shares)

    def sized(image: Any) -> Any:
        pixels = tf.cast(image, tf.float32)
        return pixels if None in shape else tf.ensure_shape(tf.image.resize(pixels, shape[:2], antialias=True), (None, *shape))

    def decoded(content: Any) -> Any:
        image = tf.io.decode_image(content, channels=shape[-1], expand_animations=False)
        return sized(image[None])[0] if None not in shape else tf.cast(image, tf.float32)

    def classify_encoded(image: Any) -> dict[str, Any]:
        return classify(tf.map_fn(decoded, image, fn_output_signature=tf.TensorSpec(shape, tf.float32)))

    # The endpoints alone keep the variables. Tracking the model too would write every one twice.
    archive = keras.export.ExportArchive()
    batch, pixels = target.batch, tf.float32
    pictures = len(shape) == 3 and shape[-1] in (1, 3)
    if pictures:
        size = (None, None, shape[-1])
        archive.add_endpoint(
            "serving_default", lambda image: classify(sized(image)), [tf.TensorSpec((batch, *size), tf.uint8, "image")]
        )
        archive.add_endpoint(ENCODED, classify_encoded, [tf.TensorSpec((batch,), tf.string, "image")])
    archive.add_endpoint(PIXELS if pictures else "serving_default", classify, [tf.TensorSpec((batch, *shape), pixels, "image")])
    archive.write_out(str(path / VERSION), verbose=False)
