"""A trained network for another task: frozen layers, another classifier, other channels, feature maps.

`freezing` has freeze, unfreeze and `StagedUnfreezing`, `surgery` the classifier, the channels and the names, `folding` batch
normalisation as part of the convolutions, `features` the maps of a model that exists, and a pyramid on them. `copying` runs the
graph of a model anew. All take functional Keras models: those of this package, of keras.applications, and models that hold one.
"""

from keras_resnet.transfer.features import feature_maps, feature_pyramid
from keras_resnet.transfer.folding import fold_batch_norm
from keras_resnet.transfer.freezing import StagedUnfreezing, freeze, unfreeze
from keras_resnet.transfer.surgery import adapt_channels, replace_head, with_prefix

__all__ = [
    "StagedUnfreezing",
    "adapt_channels",
    "feature_maps",
    "feature_pyramid",
    "fold_batch_norm",
    "freeze",
    "replace_head",
    "unfreeze",
    "with_prefix",
]
