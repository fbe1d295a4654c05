"""TensorFlow's converter from a Keras model to a TFLite file, set up for float32 or one of the quantised types."""

from collections.abc import Callable, Iterable
from typing import Any

import keras

OPERATIONS = {  # that a file may be made of
    "int8": "TFLITE_BUILTINS_INT8",
    "int16": "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8",
}


def make_converter(model: keras.Model, quantize: str | None, examples: Callable[[], Iterable[Any]]) -> Any:
    """A converter to built-in operations only; `examples` gives the inputs that the ranges of integers are found with."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, OPERATIONS.get(str(quantize), "TFLITE_BUILTINS"))]
    if quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize in OPERATIONS:
        converter.representative_dataset = examples
    return converter
