"""TFLite files, for LiteRT on phones and elsewhere."""

import re
from dataclasses import replace
from pathlib import Path

from keras_resnet.errors import InputError
from keras_resnet.export.debug import Debugger
from keras_resnet.export.equalize import equalized
from keras_resnet.export.interface import Source, offered
from keras_resnet.export.metadata import describe
from keras_resnet.export.targets import Target

INTEGER = {"int8": "TFLITE_BUILTINS_INT8", "int16": "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"}


def write_tflite(source: Source, path: Path, target: Target) -> None:
    """A TFLite file of built-in operations only, with metadata and labels inside. InputError if the network needs others."""
    import tensorflow as tf

    if target.equalize:
        source = replace(source, model=equalized(source.model))
    if target.float_layers:
        debugger = Debugger(source, target)
        errors = debugger.errors()
        if target.float_layers > len(errors):
            raise InputError(f"float_layers={target.float_layers}: there are {len(errors)} layers with weights")
        path.write_bytes(debugger.without([error.tensor for error in errors[: target.float_layers]]))
        describe(path, target, source)
        return
    converter = tf.lite.TFLiteConverter.from_keras_model(offered(source.model, target))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if target.quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if target.quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if target.is_integer:
        converter.representative_dataset = lambda: source.examples(target.batch)
        converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, INTEGER[str(target.quantize)])]
        if target.pixels != "float32":
            converter.inference_input_type = getattr(tf, str(target.pixels))
            if not target.best:
                converter.inference_output_type = converter.inference_input_type
    try:
        path.write_bytes(converter.convert())
    except Exception as error:
        others = re.findall(r"(?:Custom|Flex|TF Select) ops: (.+)", str(error))
        if not others:
            raise
        raise InputError(f"TFLite has no built-in operation for {', '.join(others)}") from error
    describe(path, target, source)
