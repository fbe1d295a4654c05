"""Starts a training from the weights of a finished run: for fine-tuning, other classes, or quantisation-aware training."""

import hashlib
import logging
from typing import Any

import keras

from keras_resnet.errors import InputError
from keras_resnet.runs.run import Run

LOG = logging.getLogger("keras_resnet")


def take_weights(model: keras.Model, run: Run, class_names: list[str]) -> None:
    """Give every layer of `model` the weights that the layer of its name has in `run`.

    The classifier keeps its own where the classes are others; that is logged. InputError for any other layer that the run does not
    have in this shape.
    """
    trained = {layer.name: layer.get_weights() for layer in run.load().layers}
    last = next(layer.name for layer in reversed(model.layers) if layer.weights)
    head = last if class_names != run.class_names else ""
    for layer in model.layers:
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if layer.name == head or not shapes:
            continue
        there = [weight.shape for weight in trained.get(layer.name, ())]
        if there != shapes:
            difference = f"has shapes {there} there and {shapes} here" if there else "is missing there"
            raise InputError(f"{str(run.path)!r} does not fit this network: layer {layer.name!r} {difference}")
        layer.set_weights(trained[layer.name])
    if head:
        LOG.warning(f"the classes differ from those of {str(run.path)!r}: the classifier {head!r} starts from random weights")


def origin(run: Run | None) -> dict[str, Any]:
    """The digest of the network file that the first weights are from, under "init"; None for random weights."""
    return {"init": hashlib.sha256(run.model_path.read_bytes()).hexdigest() if run else None}
