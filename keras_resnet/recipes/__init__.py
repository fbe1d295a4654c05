"""How any Keras classifier is trained, as data, and what that makes of a model.

`recipe` has the fields, `named` the recipes of the literature; `learning_rate`, `optimizer` and `losses` make what a recipe asks
for; `fast_kernels` speeds up the steps, `quantization_aware` simulates int8, `stop_on_nan` ends what diverges.
"""

from keras_resnet.recipes.named import PROTOCOLS, RECIPES, Protocol, default_for, fine_tuning, hyperrule, resolve
from keras_resnet.recipes.recipe import Recipe

__all__ = ["PROTOCOLS", "RECIPES", "Protocol", "Recipe", "default_for", "fine_tuning", "hyperrule", "resolve"]
