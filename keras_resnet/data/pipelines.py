"""What every tf.data pipeline of images needs: errors in one line, and no tuning."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.errors import InputError
from keras_resnet.lazy_tensorflow import Batches


@contextmanager
def errors_in_a_line() -> Iterator[None]:
    """InputError for an image that cannot be read again, in place of TensorFlow's error, whose many lines are of its graph."""
    try:
        yield
    except tf.errors.OpError as error:
        if not (found := re.search(r"InputError: (.+)", str(error))):
            raise
        raise InputError(found[1]) from None


def without_autotune(batches: Batches) -> Batches:
    """The same batches, not tuned: the thread that does it sleeps for up to a minute, and the end of `fit` waits for it."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)
