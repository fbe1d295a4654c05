"""Writes ONNX files, with tf2onnx."""

import json
from pathlib import Path
from typing import Any

import keras

from keras_resnet.errors import InputError
from keras_resnet.export.signature import with_interface
from keras_resnet.export.supported import Source
from keras_resnet.files.targets import Target
from keras_resnet.hooks import replace

STANDARD = ("", "ai.onnx")


def write_onnx(source: Source, path: Path, target: Target) -> None:
    """An ONNX file of standard operations, with its class names. InputError if the network needs others."""
    import onnx
    import tensorflow as tf

    model = with_interface(source, target)
    original = model.call

    def call(*inputs: Any, **settings: Any) -> Any:
        # Keras has XLA compile grouped convolutions on its own, which ONNX cannot call: here they are run in line.
        tf.config.run_functions_eagerly(True)
        try:
            return original(*inputs, **settings)
        finally:
            tf.config.run_functions_eagerly(False)

    replace(model, "call", call)
    image = model.inputs[0]
    signature = [keras.InputSpec(shape=image.shape, dtype=image.dtype, name="image")]
    model.export(str(path), format="onnx", verbose=False, opset_version=target.opset, input_signature=signature)
    proto = onnx.load(path)
    nodes = [node for node in proto.graph.node if node.domain not in STANDARD or not onnx.defs.has(node.op_type, target.opset)]
    if nodes:
        raise InputError(f"ONNX {target.opset} has no operation for {', '.join(sorted({node.op_type for node in nodes}))}")
    properties = {"preprocessing": source.preprocessing, "classes": json.dumps(source.class_names), "layout": target.layout}
    onnx.helper.set_model_props(proto, properties)
    onnx.save(proto, path)
