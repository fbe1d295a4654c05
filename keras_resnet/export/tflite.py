"""Writes TFLite files, for LiteRT on phones and elsewhere."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

from keras_resnet.errors import InputError
from keras_resnet.export.calibration import calibration_batches
from keras_resnet.export.converter import make_converter
from keras_resnet.export.equalize import equalized
from keras_resnet.export.metadata import describe
from keras_resnet.export.quantization_debug import Debugger
from keras_resnet.export.rescaling import scaled_by_convolution
from keras_resnet.export.signature import with_interface
from keras_resnet.export.supported import Source
from keras_resnet.export.targets import Target


def write_tflite(source: Source, path: Path, target: Target) -> None:
    """A TFLite file of built-in operations only, with metadata and labels inside. InputError if the network needs others."""
    if target.equalize:
        source = replace(source, model=equalized(source.model))
    with scaled_by_convolution(source.model):
        path.write_bytes(convert_mixed(source, target) if target.float_layers else convert(source, target))
    describe(path, target, source)


def convert_mixed(source: Source, target: Target) -> bytes:
    """A file of integers but for the layers that lose the most by them. InputError if there are fewer layers."""
    debugger = Debugger(source, target)
    errors = debugger.errors()
    if target.float_layers > len(errors):
        raise InputError(f"float_layers={target.float_layers}: there are {len(errors)} layers with weights")
    return debugger.convert([error.tensor for error in errors[: target.float_layers]])


def convert(source: Source, target: Target) -> bytes:
    """A file with the numbers of `target`. InputError where TFLite has no operation for one of the network's."""
    import tensorflow as tf

    examples = partial(calibration_batches, source.calibration, target.batch)
    converter = make_converter(with_interface(source, target), target.quantize, examples)
    if target.is_integer and target.pixels != "float32":
        converter.inference_input_type = getattr(tf, str(target.pixels))
        if not target.best:
            converter.inference_output_type = converter.inference_input_type
    try:
        return bytes(converter.convert())
    except Exception as error:
        others = re.findall(r"(?:Custom|Flex|TF Select) ops: (.+)", str(error))
        if not others:
            raise
        raise InputError(f"TFLite has no built-in operation for {', '.join(others)}") from error
