"""The network in a file or a folder of this package."""

from pathlib import Path
from typing import Any

import keras

from keras_resnet.networks import loading
from keras_resnet.weights.loading import build
from keras_resnet.weights.own import file_of_a_run


def load(path: str | Path, **settings: Any) -> keras.Model:
    """`keras.saving.load_model` for networks of any depth: Keras alone needs a raised recursion limit for a thousand layers.

    Args:
        path: a `.keras` file, or a folder: of a run, whose model is then loaded, or with `spec.json` and `model.safetensors`,
            whose network is then built with these weights. Or a trained network of this project by name, such as
            "cifar10-resnet20" (in a clone of the repository).
        settings: those of `keras.saving.load_model`, for a file of Keras.

    InputError, which names the file, if there is none or it cannot be read.
    """
    file = file_of_a_run(Path(path)) if Path(path).is_dir() else Path(path)
    return build(weights=file) if file.suffix == ".safetensors" else loading.load(path, **settings)
