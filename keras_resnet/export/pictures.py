"""Pictures of other shapes and kinds, made of the test images, that an exported file which takes such pictures is tried on.

It must answer them as it answers the pixels that `data.images` makes of them: those it gets wherever it takes no pictures.
"""

import io
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from keras_resnet.data.images import decode, describe, fit_pixels
from keras_resnet.errors import InputError
from keras_resnet.files.model_file import ModelFile
from keras_resnet.files.predictions import scores_alone
from keras_resnet.files.targets import MAX_DIFFERENCE, scale_of

SHAPES = {"3:4": (2.0, 1.5), "16:9": (1.5, 8 / 3), "1:2": (3.0, 1.5), "2:1": (1.5, 3.0)}  # in heights and widths of the test images
NOISES = 20  # tries with noise of a picture whose outputs differ more than those of others
NOISE = 2  # grey values; decoders of JPEG and ways of rounding are nearer to each other

COVER = "it must scale the image until it covers the network's size, and crop the centre"
UPRIGHT = "it must turn the image upright by its EXIF orientation"
COLOURS = "it must drop alpha, and read palettes, 16 bits and colours as `read_image` does"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture, as a signature gets it."""

    kind: str
    """For a person, such as "a PNG file of 16:9"."""
    content: Any
    """The bytes of a file, or uint8 pixels (height, width, channels)."""
    rule: str
    """What a file that answers otherwise may have missed."""

    def pixels(self, shape: tuple[int | None, ...]) -> np.ndarray:
        """What `data.images` makes of it: uint8 pixels of `shape`, or of its own size, upright, where a side of that is open."""
        is_file = isinstance(self.content, bytes)
        height, width, channels = shape
        if height is None or width is None:
            height, width = describe(io.BytesIO(self.content))[0] if is_file else self.content.shape[:2]
        if is_file:
            return decode(io.BytesIO(self.content), (height, width, channels or 3))
        return fit_pixels(picture_of(self.content), height, width, channels or 3)


def check_pictures(file: ModelFile, images: np.ndarray) -> None:
    """InputError, which says for which picture and why, if a SavedModel answers a picture otherwise than its pixels.

    `images` are some test images, uint8 (count, height, width, 1 or 3).
    """
    pictures = [*files(images), *arrays(images)]
    pixels = [picture.pixels(file.image_shape).astype("float32") for picture in pictures]
    expected = scores(file, pixels)
    some = [noisy(exact, number) for number, exact in enumerate(pixels[::3])]
    sensitivity = float(np.max(np.abs(scores(file, some) - expected[::3])))
    usual = max(MAX_DIFFERENCE * scale_of(expected, file.scores == "logits"), sensitivity)
    actual = scores(file, [picture.content for picture in pictures])
    for picture, exact, one, other in zip(pictures, pixels, actual, expected, strict=True):
        difference, allowed = float(np.max(np.abs(one - other))), usual
        if difference > allowed:  # or is this picture more sensitive than the others, as one between two classes is?
            near = scores(file, [noisy(exact, number) for number in range(NOISES)])
            allowed = max(allowed, float(np.max(np.abs(near - other))))
        if difference > allowed:
            raise InputError(
                f"for {picture.kind} its outputs differ by {difference:.2e} from those for the pixels of `read_image` "
                f"(noise of {NOISE} grey values: {allowed:.2e}): {picture.rule}"
            )


def noisy(exact: np.ndarray, seed: int) -> np.ndarray:
    """Pixels, each `NOISE` grey values brighter or darker; all of them are brighter for seed 0, and darker for seed 1."""
    signs = np.random.default_rng(seed).choice([-1, 1], exact.shape) if seed > 1 else 1 - 2 * seed
    return exact + NOISE * np.asarray(signs, "float32")


def scores(file: ModelFile, contents: list[Any]) -> np.ndarray:
    """The outputs of a file for files or pixels, of any sizes: (count, classes), or (count, k) of the best k classes."""
    singles = [[content] for content in contents]
    alike = [list(group) for _, group in groupby(contents, np.shape)]  # files too, if they all come to one size
    outputs = [file(np.array(batch)) for batch in (singles if None in file.image_shape else alike)]
    return scores_alone(np.concatenate(outputs))


def files(images: np.ndarray) -> list[Picture]:
    """Files of all shapes, of the eight EXIF orientations in JPEGs and one in a PNG, and of other colours."""
    colour = np.stack([mosaic(images, "16:9", first)[..., 0] for first in range(3)], axis=-1)
    grey = mosaic(images, "2:1")[..., 0]
    alpha = np.indices(grey.shape).sum(0).astype("uint8")
    deep = Image.fromarray(grey.astype("uint16") * 256 + alpha)
    other = Image.fromarray(colour if images.shape[-1] == 1 else grey)
    rows: list[tuple[str, Image.Image, str, int, str]]
    rows = [(f"a PNG file of {shape}", picture_of(mosaic(images, shape)), "PNG", 1, COVER) for shape in SHAPES]
    turned = picture_of(mosaic(images, "3:4"))
    rows += [(f"a JPEG file of EXIF orientation {number}", turned, "JPEG", number, UPRIGHT) for number in range(1, 9)]
    rows += [
        ("a PNG file of EXIF orientation 6", turned, "PNG", 6, UPRIGHT),
        ("a PNG file with alpha", Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]), "PNG", 1, COLOURS),
        ("a PNG file with colours and alpha", Image.fromarray(np.dstack([colour, colour[..., 0]])), "PNG", 1, COLOURS),
        ("a PNG file with a palette", Image.fromarray(colour).quantize(64), "PNG", 1, COLOURS),
        ("a PNG file of 16 bits", deep, "PNG", 1, COLOURS),
        (f"a JPEG file in {'colour' if images.shape[-1] == 1 else 'grey'}", other, "JPEG", 1, COLOURS),
    ]
    return [Picture(kind=kind, content=encoded(image, form, number), rule=rule) for kind, image, form, number, rule in rows]


def arrays(images: np.ndarray) -> list[Picture]:
    """Pixels of all shapes."""
    return [Picture(kind=f"integer pixels of {shape}", content=mosaic(images, shape), rule=COVER) for shape in SHAPES]


def mosaic(images: np.ndarray, shape: str, first: int = 0) -> np.ndarray:
    """The middle of nine images at twice their size, with one of `SHAPES`, uint8: what is cut off is not what stays."""
    chosen = np.take(images, first + np.arange(9), axis=0, mode="wrap").repeat(2, axis=1).repeat(2, axis=2)
    whole = np.concatenate([np.concatenate(list(row), axis=1) for row in chosen.reshape(3, 3, *chosen.shape[1:])])
    sides = [round(share * side) for share, side in zip(SHAPES[shape], images.shape[1:3], strict=True)]
    top, left = ((full - side) // 2 for full, side in zip(whole.shape, sides, strict=False))
    return whole[top : top + sides[0], left : left + sides[1]]


def picture_of(pixels: np.ndarray) -> Image.Image:
    """Pixels (height, width, 1 or 3) as a picture."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def encoded(image: Image.Image, form: str, orientation: int = 1) -> bytes:
    """The content of a file of a picture; its EXIF is of either byte order, by turns."""
    stream, exif = io.BytesIO(), Image.Exif()
    exif.endian = "<>"[orientation % 2]
    exif[ExifTags.Base.Orientation] = orientation
    image.save(stream, form, quality=95, exif=exif)
    return stream.getvalue()
