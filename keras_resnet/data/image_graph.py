"""Reads an image file inside a TensorFlow graph, by the rule of `images`: for exported files, which run without this package.

Built-in operations alone. Pixels are those of `images.read_image` but for one grey value, where that rounds twice and this once.
Files are JPEG, PNG, GIF and BMP. Not here: BMP of fewer than 8 bits, and colours under transparency in GIF, which turn black.
"""

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.data.exif_graph import number, orientation, part
from keras_resnet.lazy_tensorflow import Tensor

EXACT = "INTEGER_ACCURATE"  # JPEG as Pillow decodes it; TensorFlow's usual, faster way is up to nine grey values off
LUMA = (19595, 38470, 7471)  # 65536ths, as Pillow has them (ITU-R BT.601)


def decode(content: Tensor, shape: tuple[int | None, ...]) -> Tensor:
    """A file's content, a scalar string, as uint8 pixels of `shape` (height, width, channels); upright at its own size if open."""
    height, width, channels = shape
    image, turn = coloured(stored(content), channels or 3), orientation(content)

    def fit(height: int | None, width: int | None) -> Tensor:
        return image if height is None or width is None else cover(image[None], (height, width, channels or 3))[0]

    # Turned when it is small: from the side that it lies on it is covered and cut as well.
    fitted = tf.cond(turn > 4, lambda: tf.transpose(fit(width, height), [1, 0, 2]), lambda: fit(height, width))
    return tf.ensure_shape(mirrored(fitted, turn), shape)


def upright_pixels(content: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A file that lies upright, a scalar string, as uint8 pixels of `shape` (height, width, channels)."""
    return cover(coloured(stored(content), shape[-1])[None], shape)[0]


def stored(content: Tensor) -> Tensor:
    """The pixels that a file stores, uint8, with 1 to 4 channels; the high byte of 16 bits; the first frame of an animation."""
    return tf.cond(
        tf.strings.substr(content, 0, 2) == b"\xff\xd8",
        lambda: tf.io.decode_jpeg(content, dct_method=EXACT),
        lambda: painted(tf.io.decode_image(content, expand_animations=False), content),
    )


def painted(image: Tensor, content: Tensor) -> Tensor:
    """The pixels of a file; those of a BMP of 8 bits are numbers of its palette, which TensorFlow leaves as they are."""

    def paint() -> Tensor:
        octets = tf.io.decode_raw(content, "uint8")
        palette = tf.reshape(part(octets, 14 + number(part(octets, 14, 4)), 4 * 256), [256, 4])  # behind two heads; BGR and a zero
        return tf.gather(tf.cast(palette[:, 2::-1], "uint8"), tf.cast(image[..., 0], "int32"))

    is_bmp = tf.strings.substr(content, 0, 2) == b"BM"
    return tf.cond(is_bmp & (tf.shape(image)[-1] == 1), paint, lambda: image)


def coloured(image: Tensor, channels: int) -> Tensor:
    """Grey, grey with alpha, RGB or RGBA (height, width, 1 to 4) with 1 or 3 channels: alpha is dropped."""
    is_grey = tf.shape(image)[-1] < 3
    if channels == 3:
        return tf.cond(is_grey, lambda: tf.repeat(image[..., :1], 3, axis=-1), lambda: image[..., :3])

    def luma() -> Tensor:
        total = tf.reduce_sum(tf.cast(image[..., :3], "int32") * tf.constant(LUMA), -1, keepdims=True)
        return tf.cast((total + 2**15) // 2**16, "uint8")

    return tf.cond(is_grey, lambda: image[..., :1], luma)


def mirrored(image: Tensor, turn: Tensor) -> Tensor:
    """An image (height, width, channels) of that EXIF orientation upright, whose sides have changed places if that needs it."""

    def flip(image: Tensor, axis: int, numbers: tuple[int, ...]) -> Tensor:
        is_flipped = tf.reduce_any(turn == tf.constant(numbers, "int64"))
        return tf.cond(is_flipped, lambda: tf.reverse(image, [axis]), lambda: image)

    return flip(flip(image, 1, (2, 3, 6, 7)), 0, (3, 4, 7, 8))


def cover(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Images (batch, any height, any width, channels) at `shape` (height, width, channels), uint8: scaled to cover it, cut to the
    centre."""
    sides, wanted = tf.cast(tf.shape(images)[1:3], "float32"), tf.constant(shape[:2], "float32")
    scale = tf.reduce_max(wanted / sides)
    return scaled(images, shape, tf.stack([scale, scale]), (wanted - sides * scale) / 2)


def stretched(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Images (batch, any height, any width, channels) at `shape` (height, width, channels), uint8, whatever their aspect."""
    scale = tf.constant(shape[:2], "float32") / tf.cast(tf.shape(images)[1:3], "float32")
    return scaled(images, shape, scale, tf.zeros(2))


def scaled(images: Tensor, shape: tuple[int, ...], scale: Tensor, shift: Tensor) -> Tensor:
    """Places (y, x) of images moved to scale * place + shift, those inside `shape` as uint8: bilinear over what a pixel covers."""
    exact = tf.raw_ops.ScaleAndTranslate(
        images=images, size=shape[:2], scale=scale, translation=shift, kernel_type="triangle", antialias=True
    )
    whole = tf.clip_by_value(tf.floor(exact + 0.5), 0, 255)  # halves upwards, as Pillow
    return tf.ensure_shape(tf.cast(whole, "uint8"), (None, *shape))
