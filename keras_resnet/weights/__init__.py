"""Weights of other libraries.

`names` finds weights by name, which `download` and `hub` fetch. `arrays` reads a file of weights into named arrays, and runs
nothing that is in it; `pickled` does so for PyTorch's files. `reading` finds the network that they are of, by the tables of
`pytorch`, `timm_v2`, `transformers` and others, which `layout` applies, and by `shapes`. `loading` gives its arrays to a model,
`converting` writes them as a run.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_resnet.weights.arrays import read_arrays as read_arrays
    from keras_resnet.weights.converting import convert as convert
    from keras_resnet.weights.loading import build as build
    from keras_resnet.weights.loading import load as load
    from keras_resnet.weights.reading import LAYOUTS as LAYOUTS
    from keras_resnet.weights.reading import Weights as Weights
    from keras_resnet.weights.reading import read as read

_HOMES = {
    "LAYOUTS": "reading",
    "Weights": "reading",
    "build": "loading",
    "convert": "converting",
    "load": "loading",
    "read": "reading",
    "read_arrays": "arrays",
}

__all__ = [*_HOMES]


if not TYPE_CHECKING:  # `keras-resnet list --weights` needs no Keras

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            return getattr(import_module(f"keras_resnet.weights.{_HOMES[name]}"), name)
        raise AttributeError(f"module 'keras_resnet.weights' has no attribute {name!r}")
