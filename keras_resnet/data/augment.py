"""Augmentation of training images, a whole batch at a time. It depends on nothing but (seed, step).

Random numbers are drawn for all images of the step, so an image is changed in the same way on any number of devices. The
exceptions are MixUp and CutMix: they pair images of the same device.
"""

from typing import Any

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.data.image_graph import EXACT, coloured, stored, stretched
from keras_resnet.data.randaugment import RANGES, change, rounded
from keras_resnet.data.random_numbers import Draws
from keras_resnet.lazy_tensorflow import Tensor
from keras_resnet.recipes.recipe import Recipe


def augment(images: Tensor, labels: Tensor, recipe: Recipe, draws: Draws, classes: int) -> tuple[Tensor, Tensor]:
    """Images (batch, height, width, channels) and integer labels (batch,) as the recipe trains on them.

    Labels become (batch, classes) where `Recipe.one_hot` says so.
    """
    if recipe.crop or recipe.flip:
        images = shift_and_flip(images, draws, recipe.crop, recipe.flip, recipe.crop_edges)
    if recipe.resized_crop:
        images = resized_crop(images, draws, recipe.resized_crop)
    if recipe.augment == "randaugment":
        for _ in range(recipe.randaugment_layers):
            images = change(images, draws, RANGES["randaugment"], draws(low=0, high=0) + recipe.magnitude / 10)
    if recipe.augment == "trivialaugment":
        images = change(images, draws, RANGES["trivialaugment"], draws())
    if recipe.erase:
        images = erase(images, draws, recipe.erase)
    if recipe.one_hot:
        labels = tf.one_hot(labels, classes)
    if recipe.mixes:
        images, labels = mix(images, labels, draws, recipe)
    return images, labels


def shift_and_flip(images: Tensor, draws: Draws, shift: int, flip: bool, edges: str = "mirror") -> Tensor:
    """Shift images by up to `shift` pixels each, and mirror half of them; `edges` as in `Recipe.crop_edges`.

    All of it is one choice of rows and one of columns, so the whole batch costs two gathers.
    """
    offsets = draws(2, low=-shift, high=shift + 1, dtype="int32")
    if edges == "zero":
        images = tf.pad(images, [[0, 0], [shift, shift], [shift, shift], [0, 0]])
        offsets += shift
    height, width = (side - 2 * shift * (edges == "zero") for side in images.shape[1:3])
    rows = _mirrored_at_edges(tf.range(height) + offsets[:, :1], images.shape[1])
    columns = _mirrored_at_edges(tf.range(width) + offsets[:, 1:], images.shape[2])
    if flip:
        columns = tf.where(draws(1, low=0, high=2, dtype="int32") == 1, tf.reverse(columns, [1]), columns)
    return tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def resized_crop(images: Tensor, draws: Draws, smallest: float) -> Tensor:
    """A random part of each image, at least `smallest` of its area, scaled back to the size of the image; see `crop_boxes`."""
    tall = images.shape[1] / images.shape[2]
    top, left, height, width = tf.unstack(crop_boxes(crop_numbers(draws, smallest), tall), axis=1)
    boxes = tf.stack([top, left, top + height, left + width], axis=1)
    crops = tf.image.crop_and_resize(tf.cast(images, "float32"), boxes, tf.range(images.shape[0]), images.shape[1:3])
    return _like(images, crops)


def crop_numbers(draws: Draws, smallest: float, most: float = 1) -> Tensor:
    """What a random part of an image is made of: (count, 5).

    They are the smallest share of the area, the one that was drawn, and three numbers from 0 to 1: for the aspect, and for the
    place from the top and from the left.
    """
    area = draws(low=smallest, high=most)
    return tf.stack([tf.fill(tf.shape(area), smallest), area, draws(), draws(), draws()], axis=1)


def crop_boxes(numbers: Tensor, tall: Any, narrowest: float = 3 / 4, most: float = 1) -> Tensor:
    """Top, left, height and width (..., 4) of parts, as shares of an image that is `tall` times as high as it is wide.

    The aspect of a part, width to height in pixels of the image, is from `narrowest` to its inverse, and even in its logarithm over
    those at which so large a part fits into the image. Areas go up to the largest, of `most` at most, that has a legal aspect: 67 %
    of an image of 2:1 for 3:4 to 4:3, and 75 % of one of 16:9. Where that is less than the smallest area allowed, the aspect is
    kept and the area is not: the part is the largest of a legal aspect.
    """
    smallest, area, position, down, right = tf.unstack(numbers, axis=-1)
    # Width to height in shares of the sides, whose product is the area: a part of them fits from `area` to 1 / `area`.
    low, high = narrowest * tall, tall / narrowest
    largest = tf.minimum(tf.minimum(high, 1 / low), most)
    area = smallest + (area - smallest) * tf.maximum(tf.math.divide_no_nan(largest - smallest, most - smallest), 0)
    area = tf.minimum(area, largest)
    first, last = tf.maximum(area, low), tf.minimum(1 / area, high)
    ratio = first * (last / first) ** position
    height, width = tf.minimum(tf.sqrt(area / ratio), 1), tf.minimum(tf.sqrt(area * ratio), 1)
    return tf.stack([down * (1 - height), right * (1 - width), height, width], axis=-1)


def decoded_part(content: Tensor, numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A part of a JPEG, the rest of which is never decoded, at `shape`."""
    window = _window(numbers, tf.image.extract_jpeg_shape(content)[:2])
    part = tf.image.decode_and_crop_jpeg(content, window, dct_method=EXACT)
    return stretched(coloured(part, shape[-1])[None], shape)[0]


def decoded_whole(content: Tensor, numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same part of an image in another format, which is decoded as a whole."""
    image = coloured(stored(content), shape[-1])
    top, left, height, width = tf.unstack(_window(numbers, tf.shape(image)[:2]))
    return stretched(image[None, top : top + height, left : left + width], shape)[0]


def _window(numbers: Tensor, size: Tensor) -> Tensor:
    """Top, left, height and width, in whole pixels, of a part of an image of that height and width."""
    size = tf.cast(size, "float32")
    top, left, height, width = tf.unstack(crop_boxes(numbers, size[0] / size[1]) * tf.concat([size, size], 0))
    return tf.maximum(tf.cast(tf.stack([top, left, tf.round(height), tf.round(width)]), "int32"), [0, 0, 1, 1])


def erase(images: Tensor, draws: Draws, probability: float) -> Tensor:
    """Fill a random rectangle of 2 to 40 % of an image with noise, with that probability."""
    boxes = crop_boxes(crop_numbers(draws, 0.02, most=0.4), images.shape[1] / images.shape[2], narrowest=0.3, most=0.4)
    inside = _rectangle(images, *tf.unstack(boxes, axis=1))
    erased = inside & (draws() < probability)[:, None, None, None]
    return tf.where(erased, _like(images, draws(*images.shape[1:], high=255)), images)


def mix(images: Tensor, labels: Tensor, draws: Draws, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """MixUp or CutMix of every image with another one of the batch; with both in the recipe, a coin decides for the step."""
    images = tf.cast(images, "float32")
    partners, others = tf.reverse(images, [0]), tf.reverse(labels, [0])
    coin = tf.random.stateless_uniform([], draws.next_seed()) < 0.5 if recipe.mixup and recipe.cutmix else bool(recipe.cutmix)

    def mixup() -> tuple[Tensor, Tensor]:
        share = _beta(draws.next_seed(), recipe.mixup)
        return share * images + (1 - share) * partners, share * labels + (1 - share) * others

    def cutmix() -> tuple[Tensor, Tensor]:
        side = tf.sqrt(1 - _beta(draws.next_seed(), recipe.cutmix))
        middle = tf.random.stateless_uniform([2], draws.next_seed())
        low, high = tf.maximum(middle - side / 2, 0), tf.minimum(middle + side / 2, 1)
        boxes = [tf.reshape(number, [1]) for number in (*tf.unstack(low), *tf.unstack(high - low))]
        inside = tf.cast(_rectangle(images, *boxes), "float32")
        share = 1 - tf.reduce_mean(inside)
        return images + inside * (partners - images), share * labels + (1 - share) * others

    return tf.cond(coin, cutmix, mixup) if not isinstance(coin, bool) else (cutmix if coin else mixup)()


def _beta(seed: Tensor, alpha: float) -> Tensor:
    one, other = tf.unstack(tf.random.stateless_gamma([2], seed, alpha))
    return one / tf.maximum(one + other, 1e-20)


def _rectangle(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Whether a pixel is inside a rectangle, given in shares of the sides: (batch or 1, height, width, 1)."""

    def along(start: Tensor, length: Tensor, side: int) -> Tensor:
        middles = (tf.range(side, dtype="float32") + 0.5) / side
        return (middles >= start[:, None]) & (middles < (start + length)[:, None])

    rows, columns = along(top, height, images.shape[1]), along(left, width, images.shape[2])
    return rows[:, :, None, None] & columns[:, None, :, None]


def _like(images: Tensor, exact: Tensor) -> Tensor:
    """Exact pixels as `images` has them."""
    return exact if images.dtype == tf.float32 else rounded(exact, images.dtype)


def _mirrored_at_edges(index: Tensor, size: int) -> Tensor:
    """Indices that reach over an edge of 0..size-1, reflected back."""
    last = size - 1
    return last - abs(last - abs(index))
