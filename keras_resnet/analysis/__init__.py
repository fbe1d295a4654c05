"""What goes on inside a network: signals, gradients, lesions, loss landscapes, similarity of layers, heatmaps, features.

All functions take functional Keras models, of this package, of keras.applications or of a user, and return arrays or rows. Each has
a plot function, which returns a Matplotlib figure. `units` finds the residual units in the graph of a model, `steps` runs parts of
it, `derivatives` has gradients on TensorFlow, JAX and PyTorch. `table` lists the analyses of `keras-resnet analyze`, `of_run` runs
them. No module has the name of a function: importing the module would hide the function.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_resnet.analysis.ablation import lesions as lesions
    from keras_resnet.analysis.ablation import plot_lesions as plot_lesions
    from keras_resnet.analysis.ablation import plot_swaps as plot_swaps
    from keras_resnet.analysis.ablation import swaps as swaps
    from keras_resnet.analysis.ablation import with_changes as with_changes
    from keras_resnet.analysis.alignment import plot_similarity as plot_similarity
    from keras_resnet.analysis.alignment import similarity as similarity
    from keras_resnet.analysis.gradient_norms import GradientNorms as GradientNorms
    from keras_resnet.analysis.gradient_norms import gradient_correlation as gradient_correlation
    from keras_resnet.analysis.gradient_norms import gradients as gradients
    from keras_resnet.analysis.gradient_norms import plot_gradient_correlation as plot_gradient_correlation
    from keras_resnet.analysis.gradient_norms import plot_gradient_norms as plot_gradient_norms
    from keras_resnet.analysis.gradient_norms import plot_gradients as plot_gradients
    from keras_resnet.analysis.gradient_paths import path_lengths as path_lengths
    from keras_resnet.analysis.gradient_paths import plot_path_lengths as plot_path_lengths
    from keras_resnet.analysis.heatmaps import grad_cam as grad_cam
    from keras_resnet.analysis.heatmaps import grad_cam_plus_plus as grad_cam_plus_plus
    from keras_resnet.analysis.heatmaps import occlusion as occlusion
    from keras_resnet.analysis.heatmaps import plot_heatmaps as plot_heatmaps
    from keras_resnet.analysis.kernels import filters as filters
    from keras_resnet.analysis.kernels import plot_filters as plot_filters
    from keras_resnet.analysis.loss_slices import directions as directions
    from keras_resnet.analysis.loss_slices import landscape as landscape
    from keras_resnet.analysis.loss_slices import plot_landscape as plot_landscape
    from keras_resnet.analysis.of_run import Result as Result
    from keras_resnet.analysis.of_run import analyze as analyze
    from keras_resnet.analysis.projection import embedding as embedding
    from keras_resnet.analysis.projection import plot_embedding as plot_embedding
    from keras_resnet.analysis.propagation import plot_responses as plot_responses
    from keras_resnet.analysis.propagation import plot_signals as plot_signals
    from keras_resnet.analysis.propagation import responses as responses
    from keras_resnet.analysis.propagation import signals as signals
    from keras_resnet.analysis.stage_maps import features as features
    from keras_resnet.analysis.stage_maps import plot_features as plot_features
    from keras_resnet.analysis.table import ANALYSES as ANALYSES
    from keras_resnet.analysis.units import Chain as Chain

_NAMES = {
    "projection": ("embedding", "plot_embedding"),
    "stage_maps": ("features", "plot_features"),
    "kernels": ("filters", "plot_filters"),
    "gradient_norms": (
        *("GradientNorms", "gradient_correlation", "gradients"),
        *("plot_gradient_correlation", "plot_gradient_norms", "plot_gradients"),
    ),
    "heatmaps": ("grad_cam", "grad_cam_plus_plus", "occlusion", "plot_heatmaps"),
    "loss_slices": ("directions", "landscape", "plot_landscape"),
    "ablation": ("lesions", "plot_lesions", "plot_swaps", "swaps", "with_changes"),
    "gradient_paths": ("path_lengths", "plot_path_lengths"),
    "of_run": ("Result", "analyze"),
    "propagation": ("plot_responses", "plot_signals", "responses", "signals"),
    "alignment": ("plot_similarity", "similarity"),
    "table": ("ANALYSES",),
    "units": ("Chain",),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [*_HOMES]


if not TYPE_CHECKING:  # `keras-resnet analyze --help` lists the analyses without loading Keras

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'keras_resnet.analysis' has no attribute {name!r}")
        return getattr(import_module(f"keras_resnet.analysis.{_HOMES[name]}"), name)
