"""Residual networks for Keras 3: build, train, search, export.

Names are imported when they are first used: `import keras_resnet` alone imports neither Keras nor TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names for type checkers and editors
    from keras_resnet import analysis as analysis
    from keras_resnet import applications as applications
    from keras_resnet import data as data
    from keras_resnet import export as export
    from keras_resnet import recipes as recipes
    from keras_resnet import reproductions as reproductions
    from keras_resnet import search as search
    from keras_resnet import transfer as transfer
    from keras_resnet import weights as weights
    from keras_resnet.errors import Diverged as Diverged
    from keras_resnet.errors import InputError as InputError
    from keras_resnet.networks.cost import Cost as Cost
    from keras_resnet.networks.cost import cost_of as cost_of
    from keras_resnet.networks.drawing import draw as draw
    from keras_resnet.networks.layers import UNIT_FIELDS as UNIT_FIELDS
    from keras_resnet.networks.layers import identity_block as identity_block
    from keras_resnet.networks.layers import projection_block as projection_block
    from keras_resnet.networks.spec import ResNetSpec as ResNetSpec
    from keras_resnet.networks.variants import SPECS as SPECS
    from keras_resnet.networks.variants import VARIANTS as VARIANTS
    from keras_resnet.recipes import quantization_aware
    from keras_resnet.recipes.named import RECIPES as RECIPES
    from keras_resnet.recipes.recipe import Recipe as Recipe
    from keras_resnet.runs.run import Run as Run
    from keras_resnet.training import distribute as distribute
    from keras_resnet.training.fit import fit as fit
    from keras_resnet.weights.loading import build as build
    from keras_resnet.weights.opening import load as load

    quantization = quantization_aware

__version__ = "0.2.0"

_HOMES = {
    "Diverged": "errors",
    "InputError": "errors",
    "ResNetSpec": "networks.spec",
    "SPECS": "networks.variants",
    "VARIANTS": "networks.variants",
    "Recipe": "recipes.recipe",
    "RECIPES": "recipes.named",
    "Run": "runs.run",
    "build": "weights.loading",
    "UNIT_FIELDS": "networks.layers",
    "identity_block": "networks.layers",
    "projection_block": "networks.layers",
    "load": "weights.opening",
    "Cost": "networks.cost",
    "cost_of": "networks.cost",
    "draw": "networks.drawing",
    "fit": "training.fit",
}
_MODULES = {
    "analysis": "analysis",
    "applications": "applications",
    "data": "data",
    "distribute": "training.distribute",
    "export": "export",
    "quantization": "recipes.quantization_aware",
    "recipes": "recipes",
    "reproductions": "reproductions",
    "search": "search",
    "transfer": "transfer",
    "weights": "weights",
}

__all__ = [*_HOMES, *_MODULES]


if not TYPE_CHECKING:  # or every name would be there for a type checker, and of any type

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(f"keras_resnet.{_MODULES[name]}")
        if name in _HOMES:
            return getattr(import_module(f"keras_resnet.{_HOMES[name]}"), name)
        raise AttributeError(f"module 'keras_resnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
