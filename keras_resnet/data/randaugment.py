"""RandAugment (arXiv:1909.13719) and TrivialAugment (arXiv:2103.10158): a different change for each image, a whole batch at once.

All geometric changes of an image are one projective transform, all changes of its values one table of 256 entries per channel,
colour and sharpness one blend. An image that is not to be changed gets the identity.
"""

import math
from typing import Any, NamedTuple

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.data.random_numbers import Draws
from keras_resnet.lazy_tensorflow import Tensor

GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601
FILL = 128  # where a turned or shifted image leaves a corner empty


class Ranges(NamedTuple):
    """How far a change goes at full strength."""

    rotate: float
    """In radians."""
    shear: float
    translate: float
    """Share of the side, or pixels where it is above 1."""
    blend: float
    """Of brightness, contrast, colour and sharpness: 1 +- this."""
    bits: int
    """That posterising leaves."""


RANGES = {
    "randaugment": Ranges(math.radians(30), 0.3, 0.45, 0.9, 4),  # arXiv:1909.13719
    "trivialaugment": Ranges(math.radians(135), 0.99, 32, 0.99, 2),  # arXiv:2103.10158, the wide space
}
SHAPE_CHANGES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
VALUE_CHANGES = ("brightness", "contrast", "autocontrast", "equalize", "posterize", "solarize")
CHANGES = ("identity", *SHAPE_CHANGES, *VALUE_CHANGES, "color", "sharpness")


def change(images: Tensor, draws: Draws, ranges: Ranges, strength: Tensor) -> Tensor:
    """One of `CHANGES` for each image, of a strength (batch,) from 0 to 1."""
    kind = draws(low=0, high=len(CHANGES), dtype="int32")
    signed = strength * tf.where(draws() < 0.5, -1.0, 1.0)
    pixels = rounded(tf.cast(images, "float32"))
    pixels = move(pixels, kind, signed, ranges)
    pixels = map_values(pixels, kind, strength, signed, ranges)
    return tf.cast(blend(pixels, kind, signed, ranges), images.dtype)


def move(pixels: Tensor, kind: Tensor, signed: Tensor, ranges: Ranges) -> Tensor:
    """Turn, shear or shift the images whose change it is, about their centre."""
    height, width = pixels.shape[1], pixels.shape[2]

    def amount(name: str, most: float) -> Tensor:
        return tf.where(kind == CHANGES.index(name), signed * most, 0.0)

    def pixels_of(side: int) -> float:
        return ranges.translate if ranges.translate > 1 else ranges.translate * side

    angle = amount("rotate", ranges.rotate)
    sine, cosine = tf.sin(angle), tf.cos(angle)
    shear_x, shear_y = amount("shear_x", ranges.shear), amount("shear_y", ranges.shear)
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    rows = [
        (cosine, shear_x - sine, amount("translate_x", pixels_of(width))),
        (shear_y + sine, cosine, amount("translate_y", pixels_of(height))),
    ]
    flat = []
    for (of_x, of_y, offset), middle in zip(rows, (middle_x, middle_y), strict=True):
        flat += [of_x, of_y, middle + offset - of_x * middle_x - of_y * middle_y]
    transforms = tf.stack([*flat, tf.zeros_like(angle), tf.zeros_like(angle)], axis=1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels,
        transforms=transforms,
        output_shape=[height, width],
        fill_value=FILL,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def map_values(pixels: Tensor, kind: Tensor, strength: Tensor, signed: Tensor, ranges: Ranges) -> Tensor:
    """Every change that gives each value of a channel another: one table of 256 values per image and channel, one look-up."""
    batch, height, width, channels = pixels.shape
    values = tf.range(256.0)[None, None]  # (1, 1, 256)
    flat = tf.cast(tf.reshape(tf.transpose(pixels, [0, 3, 1, 2]), [batch * channels, height * width]), "int32")
    counts = tf.reshape(tf.math.bincount(flat, minlength=256, maxlength=256, axis=-1), [batch, channels, 256])
    factor = (1 + signed * ranges.blend)[:, None, None]
    mean = tf.reduce_mean(_grey(pixels), axis=[1, 2])[:, None, :]  # (batch, 1, 1)
    step = tf.pow(2.0, tf.round(strength * (8 - ranges.bits)))[:, None, None]
    tables = {
        "brightness": values * factor,
        "contrast": mean + factor * (values - mean),
        "autocontrast": _stretched(values, counts),
        "equalize": _equalized(values, counts),
        "posterize": values - values % step,
        "solarize": tf.where(values < 256 * (1 - strength[:, None, None]), values, 255 - values),
    }
    table = tf.broadcast_to(values, [batch, channels, 256])
    for name, changed in tables.items():
        table = tf.where((kind == CHANGES.index(name))[:, None, None], changed, table)
    start = tf.reshape(tf.range(batch * channels) * 256, [batch, 1, 1, channels])
    return tf.gather(tf.reshape(rounded(table), [-1]), tf.cast(pixels, "int32") + start)


def blend(pixels: Tensor, kind: Tensor, signed: Tensor, ranges: Ranges) -> Tensor:
    """Colour and sharpness: further from the grey or blurred image, or nearer to it. Pixels as float32, 0 to 255."""
    exact = tf.cast(pixels, "float32")
    kernel = tf.constant([1, 1, 1, 1, 5, 1, 1, 1, 1], "float32", [3, 3, 1, 1]) / 13
    blurred = tf.nn.depthwise_conv2d(exact, tf.tile(kernel, [1, 1, exact.shape[-1], 1]), [1, 1, 1, 1], "SAME")
    inner = tf.pad(tf.ones([exact.shape[1] - 2, exact.shape[2] - 2], "bool"), [[1, 1], [1, 1]])[None, :, :, None]
    other = exact
    for name, changed in (("color", _grey(pixels)), ("sharpness", tf.where(inner, blurred, exact))):
        other = tf.where((kind == CHANGES.index(name))[:, None, None, None], changed, other)
    mixed = other + (1 + signed * ranges.blend)[:, None, None, None] * (exact - other)
    return rounded(mixed, "float32")


def rounded(exact: Tensor, dtype: Any = "uint8") -> Tensor:
    """Pixels as whole numbers of 0 to 255."""
    return tf.cast(tf.clip_by_value(tf.round(exact), 0, 255), dtype)


def _grey(pixels: Tensor) -> Tensor:
    """(batch, height, width, 1): luma of colour images, grey ones as they are."""
    exact = tf.cast(pixels, "float32")
    if pixels.shape[-1] != 3:
        return tf.reduce_mean(exact, axis=-1, keepdims=True)
    return tf.reduce_sum(exact * tf.constant(GREY), axis=-1, keepdims=True)


def _stretched(values: Tensor, counts: Tensor) -> Tensor:
    """Tables that bring the lowest value there is to 0 and the highest to 255."""
    low = tf.reduce_min(tf.where(counts > 0, values, 255.0), axis=-1, keepdims=True)
    high = tf.reduce_max(tf.where(counts > 0, values, 0.0), axis=-1, keepdims=True)
    return tf.where(high > low, (values - low) * 255 / tf.maximum(high - low, 1), values)


def _equalized(values: Tensor, counts: Tensor) -> Tensor:
    """Tables that spread the values that there are evenly."""
    last = tf.reduce_max(tf.where(counts > 0, tf.range(256), 0), axis=-1, keepdims=True)
    of_last = tf.gather(counts, last, axis=-1, batch_dims=2)
    step = (tf.reduce_sum(counts, axis=-1, keepdims=True) - of_last) // 255
    spread = (tf.cumsum(counts, axis=-1, exclusive=True) + step // 2) // tf.maximum(step, 1)
    return tf.where(step > 0, tf.cast(spread, "float32"), values)
