"""The network in a file or a folder of this package."""

from pathlib import Path
from typing import Any

import keras

from keras_resnet.networks import loading
from keras_resnet.runs.run import model_in
from keras_resnet.shipped import by_name
from keras_resnet.weights.loading import build


def load(path: str | Path, **settings: Any) -> keras.Model:
    """`keras.saving.load_model` for networks of any depth: Keras alone needs a raised recursion limit for a thousand layers.

    Args:
        path: a `.keras` file, or a folder: of a run, whose model is then loaded, or with `spec.json` and `model.safetensors`,
            whose network is then built with these weights. Or a trained network of this project by name, such as
            "tiny-imagenet" or, in a clone of the repository, "cifar10-resnet20".
        settings: those of `keras.saving.load_model`, for a file of Keras.

    InputError, which names the file, if there is none or it cannot be read.
    """
    path = by_name(path)
    file = model_in(path) if path.is_dir() else path
    return build(weights=file) if file.suffix == ".safetensors" else loading.load(file, **settings)
