"""The inputs and outputs of an exported file: the type and layout of its pixels, and the kind of its scores."""

from typing import Any

import keras
from keras import ops

from keras_resnet.errors import InputError
from keras_resnet.export.supported import Source, check_classifies
from keras_resnet.files.targets import Target
from keras_resnet.networks.connections import every_layer

NAME = "exported"


def with_interface(source: Source, target: Target) -> keras.Model:
    """A model around that of `source` whose input "image" and outputs are those of `target`, see `named_outputs`.

    It does not train: layers that change images at random leave them as they are. InputError for another precision than float32.
    """
    model = source.model
    check_classifies(model.inputs, model.outputs)
    check_precision(model)
    shape = model.input_shape[1:]
    dtype = "float32" if target.is_integer else target.pixels
    channels_first = target.layout == "NCHW"
    image = keras.Input((shape[-1], *shape[:-1]) if channels_first else shape, batch_size=target.batch, dtype=dtype, name="image")
    pixels = ops.transpose(image, (0, *range(2, len(shape) + 1), 1)) if channels_first else image
    scores = model(pixels if dtype == "float32" else ops.cast(pixels, "float32"), training=False)
    # A name of its own: Keras's would count the models of the process, and the names in a file with them.
    return keras.Model(image, named_outputs(scores, target, source.are_probabilities), name=NAME)


def check_precision(model: keras.Model) -> None:
    """InputError for a model of which layers with weights compute in another precision than float32."""
    for layer in every_layer(model):
        if layer.weights and layer.compute_dtype != "float32":
            raise InputError(
                f"{model.name!r} computes in {layer.compute_dtype} (policy {layer.dtype_policy.name}), but files are made of "
                "float32: build it under keras.config.set_dtype_policy('float32'), and give it the same weights"
            )


def named_outputs(scores: Any, target: Target, are_probabilities: bool) -> dict[str, Any]:
    """The outputs of a file from those of its network: "logits" or "probabilities", (batch, classes), or "scores" and "classes"
    (int32), each (batch, k), from the best on."""
    if target.output == "logits" or (are_probabilities and target.output == "softmax"):
        return {"probabilities" if are_probabilities else "logits": scores}
    shares = scores if are_probabilities else ops.softmax(scores)
    if not target.best:
        return {"probabilities": shares}
    if target.best > shares.shape[-1]:
        raise InputError(f"output={target.output!r}: there are only {shares.shape[-1]} classes")
    best, classes = ops.top_k(shares, target.best)
    return {"scores": best, "classes": classes}
