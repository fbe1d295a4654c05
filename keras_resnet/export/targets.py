"""The table of export targets: file name, how to write it from a Keras model, and how far it may be from that model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnet.errors import InputError, unknown

CALIBRATION_IMAGES = 300

Writer = Callable[[keras.Model, Path, np.ndarray], None]


@dataclass(frozen=True)
class Target:
    """One kind of exported file."""

    file: str
    """Its name in the run's `export/` folder."""
    format: str
    quantize: str | None
    write: Writer
    """write(model, path, calibration images)."""
    min_agreement: float
    """Lowest share of test images on which the top-1 answer must equal the Keras model's."""
    max_difference: float | None = None
    """Largest difference of any output, relative to the largest output of the Keras model or 1. None: not bounded."""


def write_saved_model(model: keras.Model, path: Path, calibration: np.ndarray) -> None:
    """A SavedModel with one signature, `serving_default`: float32 "image" (batch, *input_shape) to outputs."""
    import tensorflow as tf

    # The endpoint alone keeps the variables. Tracking the model too would write every one twice.
    archive = keras.export.ExportArchive()
    image = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="image")
    archive.add_endpoint("serve", lambda image: model(image, training=False), [image])
    archive.write_out(str(path), verbose=False)


def write_tflite(quantize: str | None, model: keras.Model, path: Path, calibration: np.ndarray) -> None:
    """A TFLite file of built-in operations only."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":

        def representative_dataset() -> Iterator[list[Any]]:
            for image in calibration:
                yield [image[None].astype(np.float32)]

        converter.representative_dataset = representative_dataset
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    path.write_bytes(converter.convert())


def write_onnx(model: keras.Model, path: Path, calibration: np.ndarray) -> None:
    """An ONNX file: float32 "image" (batch, *input_shape) to outputs."""
    import tensorflow as tf

    plain = model.call

    def call(*inputs: Any, **settings: Any) -> Any:
        # Keras has XLA compile grouped convolutions on its own, for which ONNX has no word: here they stand in line.
        tf.config.run_functions_eagerly(True)
        try:
            return plain(*inputs, **settings)
        finally:
            tf.config.run_functions_eagerly(False)

    model.call = call
    try:
        model.export(str(path), format="onnx", verbose=False)
    finally:
        model.call = plain


TARGETS = {
    target.file: target
    for target in (
        Target("saved_model", "saved_model", None, write_saved_model, 0.999, 1e-4),
        Target("model_float32.tflite", "tflite", None, partial(write_tflite, None), 0.999, 1e-4),
        Target("model_float16.tflite", "tflite", "float16", partial(write_tflite, "float16"), 0.99),
        Target("model_dynamic.tflite", "tflite", "dynamic", partial(write_tflite, "dynamic"), 0.98),
        Target("model_int8.tflite", "tflite", "int8", partial(write_tflite, "int8"), 0.98),
        Target("model.onnx", "onnx", None, write_onnx, 0.999, 1e-4),
    )
}
FORMATS = ("saved_model", "tflite", "onnx")
QUANTIZE = ("float16", "dynamic", "int8")


def select(format: str = "all", quantize: str | None = None) -> list[Target]:
    """The targets of a format, with that quantisation or none; "all" for every one. InputError for a pair that does not exist."""
    if format == "all" and quantize is None:
        return list(TARGETS.values())
    if format not in (*FORMATS, "all"):
        raise unknown("export format", format, (*FORMATS, "all"))
    if quantize is not None and quantize not in QUANTIZE:
        raise unknown("quantization", quantize, QUANTIZE)
    found = [target for target in TARGETS.values() if (target.format, target.quantize) == (format, quantize)]
    if not found:
        raise InputError(f"quantize={quantize!r} goes with format 'tflite', not with {format!r}")
    return found
