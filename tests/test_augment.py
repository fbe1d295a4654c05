"""What is done to training images, beside Pillow or one image at a time."""

import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

import keras_resnet as kr
from keras_resnet.data import augment, randaugment
from keras_resnet.data.randaugment import CHANGES, RANGES
from keras_resnet.data.random_numbers import Draws

COUNT = 64


def draws(count=COUNT, seed=0):
    return Draws(tf.constant([seed, 1], tf.int64), count, 0, count)


def pictures(count=COUNT, side=12, channels=3):
    """Smooth enough that interpolation plays a small part."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(10, 240, (count, 4, 4, channels)).astype("uint8")
    resized = [Image.fromarray(image.squeeze()).resize((side, side), Image.Resampling.BICUBIC) for image in coarse]
    return np.stack([np.asarray(image).reshape(side, side, channels) for image in resized])


def changed(images, name, strength, *, sign=1, ranges=RANGES["randaugment"]):
    """Every image by the same change."""
    count = len(images)
    kind = tf.fill([count], CHANGES.index(name))
    strength = tf.fill([count], float(strength))
    moved = randaugment.move(tf.constant(images), kind, strength * sign, ranges)
    mapped = randaugment.map_values(moved, kind, strength, strength * sign, ranges)
    return randaugment.blend(mapped, kind, strength * sign, ranges).numpy().astype(int)


@pytest.mark.parametrize(("edges", "mode"), [("mirror", "reflect"), ("zero", "constant")])
def test_shift_and_flip_equals_one_image_at_a_time(edges, mode):
    """Every result is a crop of the image with wider edges, at any shift and either way round, and all of them occur."""
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    wide = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode=mode)
    crops = {(i, j, flip): wide[i : i + 5, j : j + 6][:, ::flip].tobytes() for i in range(5) for j in range(5) for flip in (1, -1)}
    results = augment.shift_and_flip(tf.constant(np.stack([image] * 1000)), draws(1000), 2, True, edges).numpy()
    assert {result.tobytes() for result in results} == set(crops.values())
    results = augment.shift_and_flip(tf.constant(np.stack([image] * 1000)), draws(1000), 2, False, edges).numpy()
    assert {result.tobytes() for result in results} == {crop for (_, _, flip), crop in crops.items() if flip == 1}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_colours_are_those_of_pillow(channels, strength, sign):
    images = pictures(channels=channels)
    pillow = [Image.fromarray(image.squeeze()) for image in images]
    factor = 1 + sign * 0.9 * strength
    bits = 8 - round(4 * strength)
    expected = {
        "identity": lambda image: image,
        "brightness": lambda image: ImageEnhance.Brightness(image).enhance(factor),
        "contrast": lambda image: ImageEnhance.Contrast(image).enhance(factor),
        "color": lambda image: ImageEnhance.Color(image).enhance(factor),
        "sharpness": lambda image: ImageEnhance.Sharpness(image).enhance(factor),
        "autocontrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
        "posterize": lambda image: ImageOps.posterize(image, bits),
        "solarize": lambda image: ImageOps.solarize(image, 256 * (1 - strength)),
    }
    for name, by_pillow in expected.items():
        reference = np.stack([np.asarray(by_pillow(image)).reshape(12, 12, channels) for image in pillow]).astype(int)
        assert abs(changed(images, name, strength, sign=sign) - reference).max() <= 2, name  # Pillow rounds in between


@pytest.mark.parametrize("sign", [-1, 1])
def test_movements_are_those_of_pillow(sign):
    images = pictures(side=16)
    angle, shear, shift, middle = sign * math.radians(30), sign * 0.3, sign * 0.45 * 16, 7.5
    sine, cosine = math.sin(angle), math.cos(angle)
    matrices = {
        "shear_x": ((1, shear), (0, 1), (0, 0)),
        "shear_y": ((1, 0), (shear, 1), (0, 0)),
        "translate_x": ((1, 0), (0, 1), (shift, 0)),
        "translate_y": ((1, 0), (0, 1), (0, shift)),
        "rotate": ((cosine, -sine), (sine, cosine), (0, 0)),
    }
    places = np.stack(np.meshgrid(np.arange(16), np.arange(16)), axis=-1)  # (row, column) to (x, y)
    for name, (*matrix, offset) in matrices.items():
        source = (places - middle) @ np.array(matrix).T + middle + offset
        inside = ((source >= 0) & (source <= 15)).all(
            -1
        )  # beyond, Pillow repeats the border and TensorFlow blends with the filling
        # Pillow counts from the corner of a pixel, TensorFlow from its middle.
        rows = [(*row, 8 - np.dot(row, (8, 8)) + by) for row, by in zip(matrix, offset, strict=True)]
        for image, result in zip(images, changed(images, name, 1, sign=sign), strict=True):
            moved = Image.fromarray(image).transform((16, 16), Image.Transform.AFFINE, np.ravel(rows), Image.Resampling.BILINEAR)
            assert abs(result - np.asarray(moved).astype(int))[inside].max() <= 2, name
            assert (result[~inside & ((source < -1) | (source > 16)).any(-1)] == 128).all(), name


def test_strengths_are_those_of_the_papers():
    assert RANGES["randaugment"] == (math.pi / 6, 0.3, 0.45, 0.9, 4)
    assert RANGES["trivialaugment"] == (math.pi * 3 / 4, 0.99, 32, 0.99, 2)


@pytest.mark.parametrize(("name", "layers"), [("randaugment", 3), ("trivialaugment", 1)])
def test_changes_are_drawn_evenly(name, layers, monkeypatch):
    seen = []

    def move(pixels, kind, signed, ranges):
        seen.append((kind.numpy(), signed.numpy(), ranges))
        return pixels

    monkeypatch.setattr(randaugment, "move", move)
    recipe = kr.Recipe(crop=0, flip=False, augment=name, magnitude=4, randaugment_layers=3)
    augment.augment(tf.zeros([2800, 4, 4, 1], tf.uint8), tf.zeros([2800], tf.int32), recipe, draws(2800), 2)
    assert len(seen) == layers
    for kinds, signed, ranges in seen:
        assert ranges is RANGES[name]
        counts = np.bincount(kinds, minlength=14)
        assert len(counts) == 14
        assert 140 < counts.min() <= counts.max() < 260
        assert np.mean(signed > 0) == pytest.approx(0.5, abs=0.05)
        if name == "randaugment":
            assert np.unique(abs(signed)) == pytest.approx([0.4])
        else:
            assert np.quantile(abs(signed), (0.1, 0.5, 0.9)) == pytest.approx([0.1, 0.5, 0.9], abs=0.04)
    if layers > 1:
        assert np.mean(seen[0][0] == seen[1][0]) == pytest.approx(1 / 14, abs=0.03)


def test_every_change_occurs_and_none_is_too_strong():
    images = pictures(256)
    for name in ("randaugment", "trivialaugment"):
        recipe = kr.Recipe(crop=0, flip=False, augment=name, magnitude=10)
        results, _ = augment.augment(tf.constant(images), tf.zeros([256], tf.int32), recipe, draws(256), 2)
        assert results.dtype == tf.uint8
        unchanged = np.mean([(result == image).all() for result, image in zip(results.numpy(), images, strict=True)])
        assert 0 < unchanged < 0.3
    still, _ = augment.augment(
        tf.constant(images),
        tf.zeros([256], tf.int32),
        kr.Recipe(crop=0, flip=False, augment="randaugment", magnitude=0),
        draws(256),
        2,
    )
    only_levels = [(result == image).all() for result, image in zip(still.numpy(), images, strict=True)]
    assert np.mean(only_levels) > 0.6  # autocontrast and equalize have no strength


def test_resized_crops_are_parts_of_the_image():
    """Of an image whose two channels say where a pixel is."""
    rows, columns = np.meshgrid(np.linspace(0, 250, 32), np.linspace(0, 250, 32), indexing="ij")
    images = np.repeat(np.stack([rows, columns], axis=-1)[None].astype("float32"), 500, axis=0)
    found = augment.resized_crop(tf.constant(images), draws(500), 0.25).numpy()
    high = (found[:, -1, :, 0] - found[:, 0, :, 0])[:, 0] / 250
    wide = (found[:, :, -1, 1] - found[:, :, 0, 1])[:, 0] / 250
    assert high.min() > 0.4
    assert high.max() == pytest.approx(1, abs=0.01)
    area, ratio = high * wide, wide / high
    room, top = 1 - high, found[:, 0, 0, 0] / 250
    assert np.mean((top / np.maximum(room, 1e-6))[room > 0.2]) == pytest.approx(0.5, abs=0.06)
    assert 0.2 < area.min() < 0.3
    assert area.mean() == pytest.approx(0.62, abs=0.04)
    assert ratio.min() == pytest.approx(3 / 4, abs=0.02)
    assert ratio.max() == pytest.approx(4 / 3, abs=0.02)


@pytest.mark.parametrize("smallest", [0.08, 0.35, 0.66, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (300, 300), (270, 480), (200, 400), (400, 200), (100, 700)])
def test_parts_keep_both_promises(shape, smallest):
    """Share of the area and aspect, in pixels of the image; where no part has both, it is the largest of a legal aspect."""
    height, width = shape
    numbers = augment.crop_numbers(draws(2000), smallest)
    top, left, high, wide = (augment.crop_boxes(numbers, height / width).numpy() * [height, width, height, width]).T
    assert min(top.min(), left.min()) >= 0
    assert (top + high).max() <= height * (1 + 1e-5)
    assert (left + wide).max() <= width * (1 + 1e-5)
    area, aspect = high * wide / (height * width), wide / high
    assert 3 / 4 - 1e-4 < aspect.min() <= aspect.max() < 4 / 3 + 1e-4
    largest = min(1, 4 / 3 * height / width, 4 / 3 * width / height)
    assert min(smallest, largest) - 1e-4 < area.min() <= area.max() < largest + 1e-4
    if smallest < largest:  # and all of that is used
        assert area.mean() == pytest.approx((smallest + largest) / 2, abs=0.02)
    if smallest < 0.1 and max(shape) < 500:
        assert np.mean(top[high < 0.99 * height] / (height - high)[high < 0.99 * height]) == pytest.approx(0.5, abs=0.05)
        assert np.quantile(np.log(aspect), (0.05, 0.95)) == pytest.approx(np.log([3 / 4, 4 / 3]), abs=0.1)


def test_part_of_a_photo_in_whole_pixels():
    numbers = augment.crop_numbers(draws(40), 0.9)
    for row in numbers:
        top, left, height, width = augment._window(row, tf.constant([30, 40])).numpy()
        assert 0 <= top <= 30 - height
        assert 0 <= left <= 40 - width
        assert height * width >= 0.88 * 1200  # to half a pixel


@pytest.mark.parametrize("tall", [1, 4, 1 / 4])
def test_as_much_is_erased_of_long_images(tall):
    boxes = augment.crop_boxes(augment.crop_numbers(draws(2000), 0.02, most=0.4), tall, narrowest=0.3, most=0.4).numpy()
    area = boxes[:, 2] * boxes[:, 3]
    assert (area.min(), area.mean(), area.max()) == pytest.approx((0.02, 0.21, 0.4), abs=0.005)


def test_erasing():
    images = np.zeros((600, 20, 20, 3), "uint8")
    found = augment.erase(tf.constant(images), draws(600), 0.5).numpy()
    filled = (found > 0).any(-1)
    shares = filled.mean((1, 2))
    assert np.mean(shares > 0) == pytest.approx(0.5, abs=0.08)
    assert 0.005 < shares[shares > 0].min() < 0.05
    assert 0.3 < shares.max() < 0.48
    noise = found[filled]
    assert noise.mean() == pytest.approx(127.5, abs=3)
    assert (noise.min(), noise.max()) == (0, 255)
    rows, columns = filled.any(2), filled.any(1)
    ratios = (rows.sum(1) / columns.sum(1))[shares > 0.1]
    assert ratios.min() < 0.5
    assert ratios.max() > 2
    middles = [np.mean(np.flatnonzero(lines)) for side in (rows, columns) for lines in side if lines.any()]
    assert np.mean(middles) == pytest.approx(9.5, abs=1)
    assert min(middles) < 4 < 15 < max(middles)


def test_shares_of_mixed_images():
    """Means and spreads of Beta(alpha, alpha), over many steps."""
    images = tf.reshape(tf.constant([0.0, 1.0]), [2, 1, 1, 1]) * tf.ones([2, 64, 64, 1])

    def shares(**fields):
        recipe = kr.Recipe(crop=0, flip=False, **fields)
        step = tf.function(
            lambda seed: augment.augment(images, tf.range(2), recipe, Draws(tf.stack([seed, 0]), 2, 0, 2), 2)[1][0, 0]
        )
        return np.array([step(tf.constant(seed, tf.int64)) for seed in range(600)])

    for alpha, spread in ((0.2, 0.423), (1.0, 0.289), (8.0, 0.121)):  # sqrt(1 / (4 (2 alpha + 1)))
        found = shares(mixup=alpha)
        assert found.mean() == pytest.approx(0.5, abs=0.06)
        assert found.std() == pytest.approx(spread, abs=0.02)
    found = shares(cutmix=200.0)  # the share is near a half; a rectangle that reaches over the edge is cut
    assert found.min() == pytest.approx(0.5, abs=0.08)
    assert 0.6 < found.mean() < 0.72


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [({"mixup": 0.5}, {"blend"}), ({"cutmix": 1.0}, {"paste"}), ({"mixup": 0.5, "cutmix": 1.0}, {"blend", "paste"})],
)
def test_mixing(fields, kinds):
    """Images of one value each: the share of the partner can be read off the pixels, and labels must say the same."""
    values = np.array([0, 40, 80, 200], "float32")
    images = np.ones((4, 16, 16, 1), "float32") * values[:, None, None, None]
    seen = set()
    for seed in range(20):
        mixed, labels = augment.augment(
            tf.constant(images),
            tf.range(4),
            kr.Recipe(crop=0, flip=False, **fields),
            Draws(tf.constant([seed, 0], tf.int64), 4, 0, 4),
            4,
        )
        expected = labels.numpy() @ values
        np.testing.assert_allclose(mixed.numpy().mean((1, 2, 3)), expected, rtol=1e-4)
        np.testing.assert_allclose(labels.numpy().sum(1), 1, rtol=1e-6)
        amounts = len(np.unique(mixed[0]))
        seen.add("paste" if amounts == 2 else "blend")
    assert seen == kinds
