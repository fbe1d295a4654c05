"""TensorFlow, imported when it is first used: `from keras_resnet import lazy_tensorflow as tf`."""

from typing import Any

Tensor = Any  # tensorflow.Tensor
Batches = Any  # tensorflow.data.Dataset


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # `from ... import` asks every module for its `__path__`
        raise AttributeError(name)
    import tensorflow

    return getattr(tensorflow, name)
