"""How any Keras classifier is trained, as data, and how a model is compiled for it.

`recipe` has the fields, `named` the recipes of the literature, `automatic` the one that suits an image set, `words` says one in a
line; `compiling` compiles a model for it; `learning_rate`, `optimizer` and `losses` make what a recipe asks for; `batch_statistics`
suits normalisation to averaged weights, `fast_kernels` makes training steps faster, `quantization_aware` simulates int8,
`stop_on_nan` stops a training that diverges.
"""

from keras_resnet.recipes.automatic import for_images
from keras_resnet.recipes.named import PROTOCOLS, RECIPES, Protocol, fine_tuning, hyperrule, resolve
from keras_resnet.recipes.recipe import Recipe

__all__ = ["PROTOCOLS", "RECIPES", "Protocol", "Recipe", "fine_tuning", "for_images", "hyperrule", "resolve"]
