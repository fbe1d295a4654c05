"""Residual networks for Keras 3, from a spec to a phone.

Names are loaded when they are first used: `import keras_resnet` imports neither Keras nor TensorFlow.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Diverged": "errors",
    "InputError": "errors",
    "ResNetSpec": "spec",
    "SPECS": "variants",
    "VARIANTS": "variants",
    "Recipe": "recipe",
    "RECIPES": "recipes",
    "Run": "runs",
    "build": "layers",
    "UNIT_FIELDS": "layers",
    "identity_block": "layers",
    "projection_block": "layers",
    "load": "loading",
    "Cost": "cost",
    "cost_of": "cost",
    "fit": "train",
}
_ROOMS = ("data", "distribute", "export", "quantization", "recipes", "search")

__all__ = [*_HOMES, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"keras_resnet.{name}")
    if name in _HOMES:
        return getattr(import_module(f"keras_resnet.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'keras_resnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
