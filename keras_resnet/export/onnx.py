"""ONNX files, by tf2onnx."""

import json
from pathlib import Path
from typing import Any

import keras

from keras_resnet.errors import InputError
from keras_resnet.export.interface import Source, offered
from keras_resnet.export.targets import Target
from keras_resnet.hooks import replace

STANDARD = ("", "ai.onnx")


def write_onnx(source: Source, path: Path, target: Target) -> None:
    """An ONNX file of standard operations, with its class names. InputError if the network needs others."""
    import onnx
    import tensorflow as tf

    model = offered(source.model, target)
    plain = model.call

    def call(*inputs: Any, **settings: Any) -> Any:
        # Keras has XLA compile grouped convolutions on its own, for which ONNX has no word: here they stand in line.
        tf.config.run_functions_eagerly(True)
        try:
            return plain(*inputs, **settings)
        finally:
            tf.config.run_functions_eagerly(False)

    replace(model, "call", call)
    image = model.inputs[0]
    signature = [keras.InputSpec(shape=image.shape, dtype=image.dtype, name="image")]
    model.export(str(path), format="onnx", verbose=False, opset_version=target.opset, input_signature=signature)
    made = onnx.load(path)
    others = sorted({node.op_type for node in made.graph.node if not is_standard(node, target.opset)})
    if others:
        raise InputError(f"ONNX {target.opset} has no operation for {', '.join(others)}")
    onnx.helper.set_model_props(
        made, {"preprocessing": source.preprocessing, "classes": json.dumps(source.class_names), "layout": target.layout}
    )
    onnx.save(made, path)


def is_standard(node: Any, opset: int) -> bool:
    """Whether ONNX itself defines the operation of a node in that version."""
    import onnx

    return node.domain in STANDARD and onnx.defs.has(node.op_type, opset)
