"""Gradients, losses and batches on the three backends of Keras, with NumPy arrays in and out.

No function changes a variable: in training mode too, the moving statistics of a model stay the same.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.networks.connections import scores_of

MOST_IMAGES, MOST_PIXELS = 128, 2**19  # of a batch: 10 pictures of 224x224
Loss = Callable[[Any, Any], Any]


def gradients_of(function: Callable[..., Any], values: Sequence[Any]) -> list[np.ndarray]:
    """The gradients of a scalar function with respect to each of its arguments, as arrays of the same shapes. InputError for
    another backend than TensorFlow, JAX and PyTorch."""
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
    """The gradients of a scalar with respect to Keras variables, as arrays of the same shapes."""
    if not variables:
        return []
    return gradients_of(lambda *values: with_weights(function, variables, values), [variable.value for variable in variables])


def with_weights(function: Callable[[], Any], variables: Sequence[Any], values: Sequence[Any]) -> Any:
    """The value of a function with other values of Keras variables. The variables do not change."""
    with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
        return function()


def to_numpy(tensor: Any) -> np.ndarray:
    """A tensor of any backend as an array."""
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def applied(function: Callable[..., Any], images: np.ndarray, batch_size: int | None = None) -> np.ndarray:
    """The outputs of a function for all images, computed in batches: (images, ...)."""
    with keras.StatelessScope():
        return np.concatenate([to_numpy(function(batch)) for batch in batches(images, batch_size)])


def batches(images: np.ndarray, batch_size: int | None = None) -> Iterator[Any]:
    """Float32 tensors of at most `batch_size` images, None for as many as fit in memory. InputError if there is no image."""
    if not len(images):
        raise InputError("there are no images to analyse")
    batch_size = batch_size or max(1, min(MOST_IMAGES, MOST_PIXELS // math.prod(images.shape[1:-1])))
    for start in range(0, len(images), batch_size):
        yield keras.ops.convert_to_tensor(np.asarray(images[start : start + batch_size], "float32"))


def labelled(images: np.ndarray, labels: np.ndarray, batch_size: int | None = None) -> Iterator[tuple[Any, np.ndarray]]:
    """`batches` of images, each with its `class_labels`."""
    labels, start = class_labels(images, labels), 0
    for batch in batches(images, batch_size):
        yield batch, labels[start : start + len(batch)]
        start += len(batch)


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


def class_labels(images: np.ndarray, labels: np.ndarray, loss: Loss | None = None) -> np.ndarray:
    """Labels (images,), or (images, 1) as `keras.datasets` has them, as (images,); for a `loss` of one's own as they are.

    InputError for one-hot and missing ones.
    """
    found = np.asarray(labels)
    if loss is not None:
        return found
    if found.shape not in ((len(images),), (len(images), 1)):
        raise InputError(
            f"labels of {found.shape} and {len(images)} images do not belong together: expected one number for each image"
        )
    return found.reshape(-1)


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """The share, 0 to 1, of images whose highest output (images, classes) is that of the label (images,). InputError for other
    shapes, and for one output."""
    if outputs.ndim != 2 or len(outputs) != len(labels):
        raise InputError(f"outputs of {outputs.shape} and labels of {np.shape(labels)} do not belong together")
    if outputs.shape[1] == 1:
        raise InputError("the model has one output for each image, not one for each class: its accuracy is not defined here")
    return float(np.mean(outputs.argmax(-1) == labels))
