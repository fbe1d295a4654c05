"""The layout of this package: safetensors with the names of the model, such as `stem_conv/kernel`, and `spec.json` beside it; and
the files of a run, in which Keras numbers the layers."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.fields import names
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.weights.arrays import Arrays
from keras_resnet.weights.layout import KERAS, Layout, json_beside

if TYPE_CHECKING:
    import keras


def network_beside(path: Path) -> dict[str, Any]:
    """The fields of `spec.json`. InputError if it is none."""
    found = json_beside(path.parent, "spec.json")
    if set(found) - set(names(ResNetSpec)):
        raise InputError("has a spec.json of another version beside it")
    return found


OWN = Layout(
    "keras_resnet",
    mark=r"(stem_conv|stage1_block1_conv\d)/kernel",
    rows=(),
    first={},
    variables=KERAS,
    has_prefix=False,
    beside=network_beside,
)


def file_of_a_run(folder: Path) -> Path:
    """The file of the weights: the model, or safetensors where there is no model."""
    model, weights = folder / "model.keras", folder / "model.safetensors"
    return weights if weights.is_file() and not model.exists() else model


def is_of_a_run(path: Path) -> bool:
    """Whether it is a file that Keras has written beside a `spec.json`."""
    return path.name.endswith((".keras", ".weights.h5")) and (path.parent / "spec.json").is_file()


def arrays_of_a_run(path: Path) -> Arrays:
    """The arrays of a file of a run by the names of the model. InputError if it is not of the network of its spec.json."""
    from keras_resnet.networks.layers import build

    model = build(ResNetSpec(**network_beside(path)))
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"is not of the network of its spec.json: {str(error).splitlines()[0]}") from None
    return {name: np.array(weight.numpy()) for name, weight in variables(model)}


def variables(model: "keras.Model") -> Iterator[tuple[str, Any]]:
    """The weights of a model by names such as `stem_conv/kernel`."""
    for layer in model.layers:
        for weight in layer.weights:
            yield f"{layer.name}/{weight.name}", weight
