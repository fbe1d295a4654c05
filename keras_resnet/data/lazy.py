"""TensorFlow, loaded when it is first asked for something: `from keras_resnet.data import lazy as tf`."""

from typing import Any


def __getattr__(name: str) -> Any:
    import tensorflow

    return getattr(tensorflow, name)
