"""Gradients, losses and batches on the three backends of Keras, with NumPy arrays in and out.

Nothing here changes a variable: also in training mode the moving statistics of a model stay what they were.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.networks.connections import scores_of

BATCH_SIZE = 128
Loss = Callable[[Any, Any], Any]


def gradients_of(function: Callable[..., Any], values: Sequence[Any]) -> list[np.ndarray]:
    """The gradients of a scalar function with respect to each of its arguments, arrays of their shapes."""
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise InputError(f"gradients need the backend {' or '.join(BACKENDS)}, not {backend!r}")
    tensors = [keras.ops.convert_to_tensor(value) for value in values]
    with keras.StatelessScope():
        found = BACKENDS[backend](function, tensors)
    return [to_numpy(gradient) for gradient in found]


def _by_tensorflow(function: Callable[..., Any], values: list[Any]) -> list[Any]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(values)
        result = function(*values)
    return list(tape.gradient(result, values, unconnected_gradients=tf.UnconnectedGradients.ZERO))


def _by_jax(function: Callable[..., Any], values: list[Any]) -> list[Any]:
    import jax

    return list(jax.grad(function, argnums=tuple(range(len(values))))(*values))


def _by_torch(function: Callable[..., Any], values: list[Any]) -> list[Any]:
    import torch

    leaves = [value.detach().clone().requires_grad_() for value in values]
    with torch.enable_grad():
        found = torch.autograd.grad(function(*leaves), leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if gradient is None else gradient for leaf, gradient in zip(leaves, found, strict=True)]


BACKENDS = {"tensorflow": _by_tensorflow, "jax": _by_jax, "torch": _by_torch}


def weight_gradients(function: Callable[[], Any], variables: Sequence[Any]) -> list[np.ndarray]:
    """The gradients of a scalar with respect to Keras variables, arrays of their shapes."""
    if not variables:
        return []
    return gradients_of(lambda *values: with_weights(function, variables, values), [variable.value for variable in variables])


def with_weights(function: Callable[[], Any], variables: Sequence[Any], values: Sequence[Any]) -> Any:
    """The value of a function while Keras variables have other values, which changes nothing."""
    with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
        return function()


def to_numpy(tensor: Any) -> np.ndarray:
    """A tensor of any backend as an array."""
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def applied(function: Callable[..., Any], images: np.ndarray, batch_size: int = BATCH_SIZE) -> np.ndarray:
    """What a function gives for all images, computed in batches."""
    with keras.StatelessScope():
        return np.concatenate([to_numpy(function(batch)) for batch in batches(images, batch_size)])


def batches(images: np.ndarray, batch_size: int = BATCH_SIZE) -> Iterator[Any]:
    """Float32 tensors of at most `batch_size` images. InputError if there is no image."""
    if not len(images):
        raise InputError("there are no images to analyse")
    for start in range(0, len(images), batch_size):
        yield keras.ops.convert_to_tensor(np.asarray(images[start : start + batch_size], "float32"))


def cross_entropy(model: keras.Model, loss: Loss | None = None) -> Loss:
    """`loss`, or the mean cross-entropy of integer labels (images,) and the outputs of a classifier.

    InputError if the last layer does not show whether it gives logits or probabilities.
    """
    if loss is not None:
        return loss
    kind = scores_of(model)
    if not kind:
        raise InputError(f"the last layer of {model.name!r} does not show whether it gives logits or probabilities: give loss=")
    return keras.losses.SparseCategoricalCrossentropy(from_logits=kind == "logits")


def class_labels(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels (images,), or (images, 1) as `keras.datasets` has them, as (images,). InputError for one-hot and missing ones."""
    found = np.asarray(labels)
    if found.shape not in ((len(images),), (len(images), 1)):
        raise InputError(
            f"labels of {found.shape} and {len(images)} images do not belong together: expected one number for each image"
        )
    return found.reshape(-1)


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """The share of images whose highest output (images, classes) is that of the label (images,)."""
    if outputs.ndim != 2 or len(outputs) != len(labels):
        raise InputError(f"outputs of {outputs.shape} and labels of {np.shape(labels)} do not belong together")
    if outputs.shape[1] == 1:
        raise InputError("the model has one output for each image, not one for each class: its accuracy is not defined here")
    return float(np.mean(outputs.argmax(-1) == labels))
