"""One rule of geometry and colour for pictures of any shape, in memory, in graphs, and in the gate of exported files."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_resnet import InputError
from keras_resnet.data import image_graph
from keras_resnet.data.exif_graph import orientation
from keras_resnet.data.images import decode, describe
from keras_resnet.export.pictures import arrays, check_pictures, encoded, files

SIZE = (24, 32)


def graph(shape):
    return tf.function(lambda content: image_graph.decode(content, shape), input_signature=[tf.TensorSpec([], tf.string)])


def test_a_graph_reads_files_as_read_image_does():
    """Upright, covered, cut and coloured: to one grey value at the network's size, and exactly at a picture's own."""
    generator = np.random.default_rng(1)
    colours = generator.integers(0, 256, (9, 3, 4, 3), "uint8").repeat(4, axis=1).repeat(4, axis=2)
    contents = [picture.content for picture in files(colours)]
    contents += [encoded(Image.fromarray(colours[0]), form) for form in ("BMP", "GIF")]
    contents += [encoded(Image.fromarray(colours[0]).convert("CMYK"), "JPEG")]
    contents += [encoded(Image.fromarray(image).quantize(9), "BMP") for image in (colours[0], colours[0, ..., 0])]
    grey, colour, as_it_is = graph((*SIZE, 1)), graph((*SIZE, 3)), graph((None, None, 3))
    for content in contents:
        for channels, read in ((1, grey), (3, colour)):
            expected = decode(io.BytesIO(content), (*SIZE, channels)).astype(int)
            assert abs(read(content).numpy() - expected).max() <= 1
        own = decode(io.BytesIO(content), (*describe(io.BytesIO(content))[0], 3))
        np.testing.assert_array_equal(as_it_is(content), own)


def test_damaged_exif_is_upright():
    content = encoded(Image.new("L", (9, 9)), "JPEG", 6)
    assert orientation(tf.constant(content)) == 6
    start = content.index(b"Exif")
    for damaged in (content[:3], content[: start + 9], content[: start + 20], content[:start] + b"\xff" * 40, b"x"):
        assert orientation(tf.constant(damaged)) == 1
    other = b"\xff\xe2\x00\x06\xff\xe1Ex"  # another segment before it, with a marker inside; and a byte that fills
    assert orientation(tf.constant(content[:2] + other + b"\xff" + content[2:])) == 6


def test_large_jpegs_are_decoded_in_full():
    """Pillow's decoder can skip what scaling drops, but it rounds the size upwards."""
    soft = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), "uint8"))
    content = encoded(soft.resize((803, 601), Image.Resampling.BICUBIC), "JPEG")
    served = image_graph.decode(tf.constant(content), (64, 64, 3)).numpy().astype(int)
    assert abs(decode(io.BytesIO(content), (64, 64, 3)) - served).max() <= 1


def test_arrays_of_any_shape_are_covered_and_cut(digits):
    for picture in arrays(digits.splits["test"].take(np.arange(9))):
        actual = image_graph.cover(picture.content[None], (8, 8, 1))[0].numpy().astype(int)
        assert abs(actual - picture.pixels((8, 8, 1))).max() <= 1


class Served:
    """In place of a SavedModel: its signatures, on a network of one product."""

    image_shape, scores = (8, 8, 1), "logits"
    weights = np.random.default_rng(0).normal(0, 0.01, (64, 10))

    def __call__(self, images):
        if images.dtype.kind == "S":
            images = np.stack([image_graph.decode(tf.constant(content), self.image_shape) for content in images])
        elif images.dtype == np.uint8:
            images = image_graph.cover(images, self.image_shape).numpy()
        return self.answer(images.reshape(len(images), -1).astype(float))

    def answer(self, pixels):
        return pixels @ self.weights


BROKEN = {
    "cover": (image_graph.stretched, "for a PNG file of 3:4 .* must scale the image until it covers"),
    "orientation": (lambda content: tf.constant(1, tf.int64), "EXIF orientation 2 .* must turn the image upright by its EXIF"),
    "coloured": (lambda image, channels: image[..., -1:], "for a PNG file with alpha .* must drop alpha"),
}


def test_one_picture_may_be_more_sensitive_than_the_others(digits):
    """As one between two classes is, where one grey value of rounding is told apart from a picture that was turned wrongly."""
    images = digits.splits["test"].take(np.arange(8))
    between = files(images)[8].pixels((8, 8, 1)).ravel().astype(float)

    class Sensitive(Served):
        def answer(self, pixels):
            distances = np.square(pixels - between).sum(1, keepdims=True)
            return super().answer(pixels) + 100 * np.exp(-distances / 100)

    check_pictures(Sensitive(), images)


def test_a_file_that_is_right_on_squares_and_wrong_on_wide_pictures_is_refused(digits):
    class OnSquares(Served):
        def __call__(self, images):
            if images.dtype == np.uint8 and images.shape[2] == 2 * images.shape[1]:
                images = tf.image.resize(images.astype("float32"), (8, 8), antialias=True).numpy()
            return super().__call__(images)

    images = digits.splits["test"].take(np.arange(8))
    np.testing.assert_array_equal(OnSquares()(images), Served()(images))
    with pytest.raises(InputError, match=r"for integer pixels of 2:1 .* must scale the image until it covers"):
        check_pictures(OnSquares(), images)


def test_signatures_that_break_the_rule_are_refused(digits, monkeypatch):
    images = digits.splits["test"].take(np.arange(8))
    check_pictures(Served(), images)
    for name, (broken, message) in BROKEN.items():
        with monkeypatch.context() as patch, pytest.raises(InputError, match=message):
            patch.setattr(image_graph, name, broken)
            check_pictures(Served(), images)
