"""A warning about scaled pixels: a network that normalises takes 0 to 255, and cannot learn from 0 to 1."""

import logging
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_resnet.hooks import replace
from keras_resnet.networks.connections import every_layer

LOG = logging.getLogger("keras_resnet")
LOOKED_AT = 8  # images of the first batch


def normalizing_layers(model: keras.Model) -> Iterator[keras.layers.Rescaling]:
    """The layers that normalise pixels in networks of `build`, also in those inside a model."""
    return (layer for layer in every_layer(model) if type(layer) is keras.layers.Rescaling and layer.name == "normalize")


def notice(low: float, high: float) -> bool:
    """Log a warning where pixels between `low` and `high` cannot be raw ones. Returns whether it did."""
    if low >= 0 and high > 1:
        return False
    LOG.warning(
        f"the pixels are between {low:.3g} and {high:.3g}, but this network takes 0 to 255 and normalises them itself: do not "
        "scale them, or build it with normalize=None"
    )
    return True


def notice_in_predictions(model: keras.Model) -> None:
    """Let the first `model.predict` that gets an array look at its pixels. Only this object changes, and nothing that is saved."""
    if model.layers and any(layer in normalizing_layers(model) for layer in model.layers[:2]):
        plain, looked = model.predict, list[bool]()

        def predict(x: Any, *args: Any, **settings: Any) -> Any:
            if not looked and hasattr(x, "shape") and len(x):
                looked.append(True)
                pixels = np.asarray(x[:LOOKED_AT])
                notice(float(pixels.min()), float(pixels.max()))
            return plain(x, *args, **settings)

        replace(model, "predict", predict)
