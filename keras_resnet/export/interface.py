"""The network as a file offers it: the type and layout of its pixels, and what it puts out."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnet.errors import InputError
from keras_resnet.export.targets import Target
from keras_resnet.networks.connections import gives_probabilities


@dataclass(frozen=True, kw_only=True)
class Source:
    """What an export starts from."""

    model: keras.Model
    name: str
    class_names: list[str]
    calibration: np.ndarray
    """Training images, to find the ranges of integers with: (count, *image_shape)."""

    @property
    def image_shape(self) -> tuple[int | None, ...]:
        """Of the pixels that the model takes, channels last."""
        return tuple(self.model.input_shape[1:])

    @property
    def preprocessing(self) -> str:
        """How pixels are to be given."""
        *sides, channels = self.image_shape
        colours = {1: "grey", 3: "RGB"} if len(sides) == 2 else {}
        kind = colours.get(channels or 0, f"{channels} channels")
        size = " x ".join("any" if side is None else str(side) for side in sides)
        return f"Raw pixels, 0 to 255, {kind}, {size}: the network normalises them itself."


def offered(model: keras.Model, target: Target) -> keras.Model:
    """A model around `model` whose input "image" and outputs are those that `target` asks for.

    Outputs have the names "logits" or "probabilities", or "scores" and "classes" (int32), each (batch, k), from the best on.
    """
    check_classifies(model)
    shape = model.input_shape[1:]
    given = "float32" if target.is_integer else target.pixels
    first = target.layout == "NCHW"
    image = keras.Input((shape[-1], *shape[:-1]) if first else shape, batch_size=target.batch, dtype=given, name="image")
    pixels = ops.transpose(image, (0, *range(2, len(shape) + 1), 1)) if first else image
    scores = model(pixels if given == "float32" else ops.cast(pixels, "float32"))
    return keras.Model(image, outputs_of(scores, target, gives_probabilities(model)))


def outputs_of(scores: Any, target: Target, are_probabilities: bool) -> dict[str, Any]:
    """What a file puts out, by name, made of the outputs of the network."""
    if target.output == "logits" or (are_probabilities and target.output == "softmax"):
        return {"probabilities" if are_probabilities else "logits": scores}
    shares = scores if are_probabilities else ops.softmax(scores)
    if not target.best:
        return {"probabilities": shares}
    if target.best > shares.shape[-1]:
        raise InputError(f"output={target.output!r}: there are only {shares.shape[-1]} classes")
    best, classes = ops.top_k(shares, target.best)
    return {"scores": best, "classes": classes}


def check_classifies(model: keras.Model) -> None:
    """InputError for a model that is not one of one image in and one row of class scores out."""
    if not getattr(model, "inputs", None):
        raise InputError(f"{model.name!r} is not built: give it an Input, or call it on images once")
    inputs, outputs = keras.tree.flatten(model.inputs), keras.tree.flatten(model.outputs)
    if len(inputs) != 1 or len(outputs) != 1 or len(outputs[0].shape) != 2 or outputs[0].shape[-1] is None:
        shapes = [tuple(tensor.shape) for tensor in (*inputs, *outputs)]
        raise InputError(f"a classifier takes one image and gives (batch, classes); this model has {shapes}")
