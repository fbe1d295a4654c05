"""Residual networks for Keras 3: build, train, search, export.

Names are imported when they are first used: `import keras_resnet` alone imports neither Keras nor TensorFlow.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Diverged": "errors",
    "InputError": "errors",
    "ResNetSpec": "networks.spec",
    "SPECS": "networks.variants",
    "VARIANTS": "networks.variants",
    "Recipe": "recipes.recipe",
    "RECIPES": "recipes.named",
    "Run": "runs.run",
    "build": "networks.layers",
    "UNIT_FIELDS": "networks.layers",
    "identity_block": "networks.layers",
    "projection_block": "networks.layers",
    "load": "networks.loading",
    "Cost": "networks.cost",
    "cost_of": "networks.cost",
    "fit": "training.fit",
}
_MODULES = {
    "data": "data",
    "distribute": "training.distribute",
    "export": "export",
    "quantization": "recipes.quantization_aware",
    "recipes": "recipes",
    "search": "search",
}

__all__ = [*_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"keras_resnet.{_MODULES[name]}")
    if name in _HOMES:
        return getattr(import_module(f"keras_resnet.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'keras_resnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
