"""Writes TFLite files, for LiteRT on phones and elsewhere."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

from keras_resnet.errors import InputError
from keras_resnet.export.calibration import calibration_batches
from keras_resnet.export.equalize import equalized
from keras_resnet.export.metadata import describe
from keras_resnet.export.quantization_debug import layer_noise
from keras_resnet.export.quantizer import FloatFile
from keras_resnet.export.rescaling import scaled_by_convolution
from keras_resnet.export.signature import with_interface
from keras_resnet.export.supported import Source
from keras_resnet.files.targets import Target


def write_tflite(source: Source, path: Path, target: Target) -> None:
    """A TFLite file of built-in operations only, with metadata and labels inside. InputError if the network needs others."""
    if target.equalize:
        source = replace(source, model=equalized(source.model))
    file = float_file(source, target)
    worst = [layer.tensor for layer in layer_noise(file, source, target)] if target.float_layers else []
    if target.float_layers > len(worst):
        raise InputError(f"float_layers={target.float_layers}: there are {len(worst)} layers with weights")
    float_tensors = worst[: target.float_layers]
    path.write_bytes(file.quantized(target, float_tensors=float_tensors) if target.quantize else file.content)
    describe(path, target, source)


def float_file(source: Source, target: Target) -> FloatFile:
    """A float32 file with the inputs and outputs of `target`; the same one for targets that differ in their numbers only."""
    pixels = "float32" if target.is_integer else target.pixels
    interface = pixels, target.output, target.batch
    if interface not in source.float_files:
        content = convert(source, Target("tflite", pixels=pixels, output=target.output, batch=target.batch))
        examples = partial(calibration_batches, source.calibration, target.batch)
        source.float_files[interface] = FloatFile(content, examples, has_bytes=source.calibration.dtype == "uint8")
    return source.float_files[interface]


def convert(source: Source, target: Target) -> bytes:
    """What TensorFlow's converter makes of a network. InputError where TFLite has no operation for one of the network's."""
    import tensorflow as tf

    with scaled_by_convolution(source.model):
        converter = tf.lite.TFLiteConverter.from_keras_model(with_interface(source, target))
        try:
            return bytes(converter.convert())
        except Exception as error:
            others = re.findall(r"(?:Custom|Flex|TF Select) ops: (.+)", str(error))
            if not others:
                raise
            raise InputError(f"TFLite has no built-in operation for {', '.join(others)}") from error
