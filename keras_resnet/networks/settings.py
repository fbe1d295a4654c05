"""Keras's global settings, set aside: nothing that this package builds, trains, loads or writes depends on them."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def fixed_settings(dtype: str = "float32") -> Iterator[None]:
    """Keras's own defaults for a while, whatever a script or keras.json has set: float32, channels last, epsilon 1e-7.

    Args:
        dtype: name of the precision policy of layers that are made inside.

    It also decorates functions. Afterwards the settings are those of before.
    """
    config = keras.config
    before = config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy()
    try:
        _set("float32", 1e-7, "channels_last", dtype)
        yield
    finally:
        _set(*before)


def _set(floatx: str, epsilon: float, data_format: str, policy: str | keras.DTypePolicy) -> None:
    keras.config.set_floatx(floatx)
    keras.config.set_epsilon(epsilon)
    keras.config.set_image_data_format(data_format)
    keras.config.set_dtype_policy(policy)
