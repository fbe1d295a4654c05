"""What a recipe does to the training images of a step: whole batches at a time, and a function of (seed, step) alone.

Every image has random numbers of its own, drawn for the whole step and then shared out, so that it is changed in the same way
however many devices the step is divided among. Only MixUp and CutMix pair images of one device.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from keras_resnet.recipe import Recipe

if TYPE_CHECKING:
    from tensorflow import Tensor

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
CHANGES = (
    "identity",
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "brightness",
    "contrast",
    "autocontrast",
    "equalize",
    "posterize",
    "solarize",
    "color",
    "sharpness",
)


class Draws:
    """Random numbers for the images of a step: drawn for all of them, and those of images `first` to `first + count` given."""

    def __init__(self, seed: "Tensor", total: int, first: int, count: int) -> None:
        self.seed, self.total, self.first, self.count, self.number = seed, total, first, count, 0

    def __call__(self, *shape: int, low: float = 0, high: float = 1, dtype: str = "float32") -> "Tensor":
        """Uniform numbers (count, *shape) from `low` up to `high`, new ones at each call."""
        drawn = _tensorflow().random.stateless_uniform([self.total, *shape], self.next_seed(), low, high, dtype)
        return drawn[self.first : self.first + self.count]

    def next_seed(self) -> "Tensor":
        """A seed that no other draw has."""
        self.number += 1
        return _tensorflow().random.experimental.stateless_fold_in(self.seed, self.number)


def augment(images: "Tensor", labels: "Tensor", recipe: Recipe, draws: Draws, classes: int) -> tuple["Tensor", "Tensor"]:
    """Images (batch, height, width, channels) and integer labels (batch,) as the recipe trains on them.

    Labels become (batch, classes) where `Recipe.one_hot` says so.
    """
    tf = _tensorflow()
    if recipe.crop or recipe.flip:
        images = shift_and_flip(images, draws, recipe.crop, recipe.flip)
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


def shift_and_flip(images: "Tensor", draws: Draws, shift: int, flip: bool) -> "Tensor":
    """Shift images by up to `shift` pixels each, edges mirrored, and mirror half of them.

    All of it is one choice of rows and one of columns, so the whole batch costs two gathers.
    """
    tf = _tensorflow()
    height, width = images.shape[1], images.shape[2]
    moved = draws(2, low=-shift, high=shift + 1, dtype="int32")
    rows = _mirrored_at_edges(tf.range(height) + moved[:, :1], height)
    columns = _mirrored_at_edges(tf.range(width) + moved[:, 1:], width)
    if flip:
        columns = tf.where(draws(1, low=0, high=2, dtype="int32") == 1, tf.reverse(columns, [1]), columns)
    return tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def resized_crop(images: "Tensor", draws: Draws, smallest: float) -> "Tensor":
    """A random part of each image, at least `smallest` of its area, scaled back to the size of the image."""
    tf = _tensorflow()
    top, left, height, width = tf.unstack(crop_boxes(crop_numbers(draws, smallest), images.shape[1] / images.shape[2]), axis=1)
    boxes = tf.stack([top, left, top + height, left + width], axis=1)
    cut = tf.image.crop_and_resize(tf.cast(images, "float32"), boxes, tf.range(images.shape[0]), images.shape[1:3])
    return _like(images, cut)


def crop_numbers(draws: Draws, smallest: float) -> "Tensor":
    """What a random part of an image is made of: its share of the area, the log of its aspect, and where it is: (count, 4)."""
    tf = _tensorflow()
    return tf.stack([draws(low=smallest), draws(low=math.log(3 / 4), high=math.log(4 / 3)), draws(), draws()], axis=1)


def crop_boxes(numbers: "Tensor", tall: Any) -> "Tensor":
    """Top, left, height and width (..., 4) of parts, as shares of an image that is `tall` times as high as it is wide."""
    tf = _tensorflow()
    area, aspect, down, right = tf.unstack(numbers, axis=-1)
    ratio = tf.exp(aspect) * tall  # width to height, in shares of the sides
    height, width = tf.minimum(tf.sqrt(area / ratio), 1), tf.minimum(tf.sqrt(area * ratio), 1)
    return tf.stack([down * (1 - height), right * (1 - width), height, width], axis=-1)


def decoded_part(content: "Tensor", numbers: "Tensor", shape: tuple[int, ...]) -> "Tensor":
    """A part of a JPEG, the rest of which is never decoded, at `shape`."""
    tf = _tensorflow()
    size = tf.cast(tf.image.extract_jpeg_shape(content)[:2], "float32")
    box = crop_boxes(numbers, size[0] / size[1]) * tf.concat([size, size], 0)
    window = tf.maximum(tf.cast(box, "int32"), [0, 0, 1, 1])
    part = tf.image.decode_and_crop_jpeg(content, window, channels=shape[-1])
    return _fitted(part, shape)


def decoded_whole(content: "Tensor", numbers: "Tensor", shape: tuple[int, ...]) -> "Tensor":
    """The same part of an image in another format."""
    tf = _tensorflow()
    image = tf.io.decode_image(content, channels=shape[-1], expand_animations=False)
    size = tf.cast(tf.shape(image)[:2], "float32")
    box = crop_boxes(numbers, size[0] / size[1]) * tf.concat([size, size], 0)
    top, left, height, width = tf.unstack(tf.maximum(tf.cast(box, "int32"), [0, 0, 1, 1]))
    return _fitted(image[top : top + height, left : left + width], shape)


def _fitted(image: "Tensor", shape: tuple[int, ...]) -> "Tensor":
    tf = _tensorflow()
    exact = tf.image.resize(image, shape[:2], antialias=True)
    return tf.ensure_shape(tf.cast(tf.clip_by_value(tf.round(exact), 0, 255), "uint8"), shape)


def change(images: "Tensor", draws: Draws, ranges: Ranges, strength: "Tensor") -> "Tensor":
    """One of `CHANGES` for each image, of a strength (batch,) from 0 to 1."""
    tf = _tensorflow()
    kind = draws(low=0, high=len(CHANGES), dtype="int32")
    signed = strength * tf.where(draws() < 0.5, -1.0, 1.0)
    pixels = tf.cast(tf.clip_by_value(tf.round(tf.cast(images, "float32")), 0, 255), "uint8")
    pixels = move(pixels, kind, signed, ranges)
    pixels = map_values(pixels, kind, strength, signed, ranges)
    return tf.cast(blend(pixels, kind, signed, ranges), images.dtype)


def move(pixels: "Tensor", kind: "Tensor", signed: "Tensor", ranges: Ranges) -> "Tensor":
    """Turn, shear or shift the images whose change it is, about their centre."""
    tf = _tensorflow()
    height, width = pixels.shape[1], pixels.shape[2]

    def amount(name: str, most: float) -> "Tensor":
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


def map_values(pixels: "Tensor", kind: "Tensor", strength: "Tensor", signed: "Tensor", ranges: Ranges) -> "Tensor":
    """Every change that gives each value of a channel another: one table of 256 values per image and channel, one look-up."""
    tf = _tensorflow()
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
    for name, made in tables.items():
        table = tf.where((kind == CHANGES.index(name))[:, None, None], made, table)
    table = tf.cast(tf.clip_by_value(tf.round(table), 0, 255), "uint8")
    start = tf.reshape(tf.range(batch * channels) * 256, [batch, 1, 1, channels])
    return tf.gather(tf.reshape(table, [-1]), tf.cast(pixels, "int32") + start)


def blend(pixels: "Tensor", kind: "Tensor", signed: "Tensor", ranges: Ranges) -> "Tensor":
    """Colour and sharpness: further from the grey or blurred image, or nearer to it. Pixels as float32, 0 to 255."""
    tf = _tensorflow()
    exact = tf.cast(pixels, "float32")
    kernel = tf.constant([1, 1, 1, 1, 5, 1, 1, 1, 1], "float32", [3, 3, 1, 1]) / 13
    blurred = tf.nn.depthwise_conv2d(exact, tf.tile(kernel, [1, 1, exact.shape[-1], 1]), [1, 1, 1, 1], "SAME")
    inner = tf.pad(tf.ones([exact.shape[1] - 2, exact.shape[2] - 2], "bool"), [[1, 1], [1, 1]])[None, :, :, None]
    other = exact
    for name, made in (("color", _grey(pixels)), ("sharpness", tf.where(inner, blurred, exact))):
        other = tf.where((kind == CHANGES.index(name))[:, None, None, None], made, other)
    mixed = other + (1 + signed * ranges.blend)[:, None, None, None] * (exact - other)
    return tf.clip_by_value(tf.round(mixed), 0, 255)


def erase(images: "Tensor", draws: Draws, probability: float) -> "Tensor":
    """Fill a random rectangle of 2 to 33 % of an image with noise, with that probability."""
    tf = _tensorflow()
    tall = images.shape[1] / images.shape[2]
    area = draws(low=0.02, high=1 / 3)
    ratio = tf.exp(draws(low=math.log(0.3), high=math.log(1 / 0.3))) * tall
    height, width = tf.minimum(tf.sqrt(area / ratio), 1), tf.minimum(tf.sqrt(area * ratio), 1)
    inside = _rectangle(images, draws() * (1 - height), draws() * (1 - width), height, width)
    chosen = inside & (draws() < probability)[:, None, None, None]
    noise = _like(images, draws(*images.shape[1:], high=255))
    return tf.where(chosen, noise, images)


def mix(images: "Tensor", labels: "Tensor", draws: Draws, recipe: Recipe) -> tuple["Tensor", "Tensor"]:
    """MixUp or CutMix of every image with another one of the batch; with both in the recipe, a coin decides for the step."""
    tf = _tensorflow()
    images = tf.cast(images, "float32")
    partners, others = tf.reverse(images, [0]), tf.reverse(labels, [0])
    coin = tf.random.stateless_uniform([], draws.next_seed()) < 0.5 if recipe.mixup and recipe.cutmix else bool(recipe.cutmix)

    def mixup() -> tuple["Tensor", "Tensor"]:
        share = _beta(draws.next_seed(), recipe.mixup)
        return share * images + (1 - share) * partners, share * labels + (1 - share) * others

    def cutmix() -> tuple["Tensor", "Tensor"]:
        side = tf.sqrt(1 - _beta(draws.next_seed(), recipe.cutmix))
        middle = tf.random.stateless_uniform([2], draws.next_seed())
        low, high = tf.maximum(middle - side / 2, 0), tf.minimum(middle + side / 2, 1)
        boxes = [tf.reshape(number, [1]) for number in (*tf.unstack(low), *tf.unstack(high - low))]
        inside = tf.cast(_rectangle(images, *boxes), "float32")
        share = 1 - tf.reduce_mean(inside)
        return images + inside * (partners - images), share * labels + (1 - share) * others

    return tf.cond(coin, cutmix, mixup) if not isinstance(coin, bool) else (cutmix if coin else mixup)()


def _beta(seed: "Tensor", alpha: float) -> "Tensor":
    tf = _tensorflow()
    one, other = tf.unstack(tf.random.stateless_gamma([2], seed, alpha))
    return one / tf.maximum(one + other, 1e-20)


def _rectangle(images: "Tensor", top: "Tensor", left: "Tensor", height: "Tensor", width: "Tensor") -> "Tensor":
    """Whether a pixel is inside a rectangle, given in shares of the sides: (batch or 1, height, width, 1)."""
    tf = _tensorflow()

    def along(start: "Tensor", length: "Tensor", side: int) -> "Tensor":
        middles = (tf.range(side, dtype="float32") + 0.5) / side
        return (middles >= start[:, None]) & (middles < (start + length)[:, None])

    rows, columns = along(top, height, images.shape[1]), along(left, width, images.shape[2])
    return rows[:, :, None, None] & columns[:, None, :, None]


def _grey(pixels: "Tensor") -> "Tensor":
    """(batch, height, width, 1): luma of colour images, grey ones as they are."""
    tf = _tensorflow()
    exact = tf.cast(pixels, "float32")
    if pixels.shape[-1] != 3:
        return tf.reduce_mean(exact, axis=-1, keepdims=True)
    return tf.reduce_sum(exact * tf.constant(GREY), axis=-1, keepdims=True)


def _stretched(values: "Tensor", counts: "Tensor") -> "Tensor":
    """Tables that bring the lowest value there is to 0 and the highest to 255."""
    tf = _tensorflow()
    there = counts > 0
    low = tf.reduce_min(tf.where(there, values, 255.0), axis=-1, keepdims=True)
    high = tf.reduce_max(tf.where(there, values, 0.0), axis=-1, keepdims=True)
    return tf.where(high > low, (values - low) * 255 / tf.maximum(high - low, 1), values)


def _equalized(values: "Tensor", counts: "Tensor") -> "Tensor":
    """Tables that spread the values that there are evenly."""
    tf = _tensorflow()
    last = tf.reduce_max(tf.where(counts > 0, tf.range(256), 0), axis=-1, keepdims=True)
    of_last = tf.gather(counts, last, axis=-1, batch_dims=2)
    step = (tf.reduce_sum(counts, axis=-1, keepdims=True) - of_last) // 255
    spread = (tf.cumsum(counts, axis=-1, exclusive=True) + step // 2) // tf.maximum(step, 1)
    return tf.where(step > 0, tf.cast(spread, "float32"), values)


def _like(images: "Tensor", exact: "Tensor") -> "Tensor":
    """Exact pixels as `images` has them."""
    tf = _tensorflow()
    return exact if images.dtype == tf.float32 else tf.cast(tf.clip_by_value(tf.round(exact), 0, 255), images.dtype)


def _mirrored_at_edges(index: "Tensor", size: int) -> "Tensor":
    """Indices that reach over an edge of 0..size-1, reflected back."""
    last = size - 1
    return last - abs(last - abs(index))


def _tensorflow() -> Any:
    import tensorflow

    return tensorflow
