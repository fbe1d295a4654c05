"""Reads an image file into an array, in the same way for training, evaluation and prediction.

The rule: turn the image upright by its EXIF orientation; drop transparency; of 16 bits take the high 8; convert to grey or RGB;
scale the image until it just covers the network's size (bilinear, with antialiasing), and crop the centre. `image_graph` does this
in exported files, docs/how-to/phone.md on phones.

Memory is bounded by what a header says, before anything is decoded: of more than `MOST_PIXELS` a JPEG is read at half its sides,
and other files are refused. Large pictures are decoded one at a time, however many threads there are.
"""

import io
import re
import threading
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from keras_resnet.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
MOST_PIXELS = 2**26  # that are decoded of a picture: 256 MiB, and as much again to turn or convert it
LARGE_PIXELS = 2**24  # above which no two are decoded at the same time
MOST_BYTES = 2**28  # of a file
ALONE = threading.RLock()
Image.core.set_block_size(2**26)  # documented; blocks of the usual size stay with the thread that decoded a picture
GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L")


def read_image(path: str | Path, image_shape: tuple[int, ...]) -> np.ndarray:
    """The file as uint8 pixels of `image_shape` (height, width, channels), with 1 (grey) or 3 (RGB) channels, by the rule above.

    Of an animation the first frame. InputError if there is no such file or it is not a readable image.
    """
    if not Path(path).is_file():
        raise InputError(f"no image file at {str(path)!r}")
    try:
        return decode(content_of(path), image_shape)
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise InputError(f"{str(path)!r} is not a readable image: {reason(error)}") from None


def content_of(path: str | Path) -> io.BytesIO:
    """The content of a file. ValueError if it has more than `MOST_BYTES`."""
    with open(path, "rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
    return io.BytesIO(content)


def decode(file: str | Path | io.BytesIO, image_shape: tuple[int, ...]) -> np.ndarray:
    """`read_image` with the errors that Pillow raises."""
    # In full, though JPEGs decode at an eighth of their size several times faster: pixels would be up to 70 grey values off.
    with opened(file) as image:
        ImageOps.exif_transpose(image, in_place=True)
        return fit_pixels(image, *image_shape)


@contextmanager
def opened(file: str | Path | io.BytesIO) -> Iterator[Image.Image]:
    """An image file, to be decoded within the limits. ValueError, which says why, if that is not possible."""
    with Image.open(file) as image:
        limit_size(image)
        with alone_if_large(image):
            yield image


def alone_if_large(image: Image.Image) -> AbstractContextManager[Any]:
    """Within it no other picture is decoded, if this one is large. To ask a PNG for its orientation decodes it too."""
    return ALONE if image.width * image.height > LARGE_PIXELS else nullcontext()


def limit_size(image: Image.Image) -> None:
    """Let a JPEG that is too large be read at half its sides. ValueError for other files that are, and for programs."""
    if image.format == "EPS":
        raise ValueError("EPS files are programs, and are not opened")
    size = f"{image.width} x {image.height}"
    if is_too_large(image):
        image.draft(image.mode, (image.width // 2, image.height // 2))
    if is_too_large(image):
        raise ValueError(f"{size} pixels: at most {MOST_PIXELS:,} are decoded, make it smaller")


def is_too_large(image: Image.Image) -> bool:
    """Whether the open file has more pixels than are decoded."""
    return image.width * image.height > MOST_PIXELS


def unchanged(content: bytes, checksum: int, place: str) -> io.BytesIO:
    """What was read again of a file. InputError if it is not what it was when it was first read; `place` says where it is."""
    if zlib.crc32(content) != checksum:
        raise InputError(f"{place} is damaged, or was changed since it was first read")
    return io.BytesIO(content)


def read_again(path: Path, checksum: int) -> io.BytesIO:
    """The content of a file that was read before. InputError if it cannot be read now, or is another one."""
    try:
        content = content_of(path).getvalue()
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read any more: {getattr(error, 'strerror', error)}") from None
    return unchanged(content, checksum, repr(str(path)))


def upright(file: io.BytesIO) -> bytes:
    """The content of the file, if TensorFlow reads it as Pillow does; otherwise it is written anew as a PNG."""
    with Image.open(file) as image:
        is_whole = not is_too_large(image)
    with opened(file) as image:
        if is_whole and is_plain(image):
            return file.getvalue()
        channels = 1 if is_grey(image) else 3
        ImageOps.exif_transpose(image, in_place=True)
        pixels = fit_pixels(image, image.height, image.width, channels)
    png = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(png, "PNG", compress_level=0)
    return png.getvalue()


def is_plain(image: Image.Image) -> bool:
    """Whether TensorFlow reads the open file of an image as this module does, and it lies upright."""
    is_simple = image.format in ("JPEG", "PNG", "BMP") and image.mode in ("L", "RGB") and not is_too_large(image)
    return is_simple and image.getexif().get(ExifTags.Base.Orientation, 1) == 1


def fit_pixels(image: Image.Image, height: int, width: int, channels: int) -> np.ndarray:
    """An image in memory as uint8 pixels (height, width, channels)."""
    if channels not in (1, 3):
        raise InputError(f"an image file gives 1 or 3 channels, not {channels}")
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))  # as Pillow itself does with those of colour
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no agreed range")
    mode = "L" if channels == 1 else "RGB"
    image = image if image.mode == mode else image.convert(mode)  # which copies even what has the mode
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels)


def describe(path: str | Path | io.BytesIO) -> tuple[tuple[int, int], bool]:
    """((height, width), whether it is grey) of a file, upright."""
    with opened(path) as image:
        return (image.width, image.height) if _is_sideways(image) else (image.height, image.width), is_grey(image)


def is_grey(image: Image.Image) -> bool:
    """Whether the file stores no colour; a palette counts by the colours that it holds."""
    if image.mode == "P":
        colours = np.array(image.getpalette("RGB")).reshape(-1, 3)
        return bool((colours == colours[:, :1]).all())
    return image.mode in GREY_MODES


def reason(error: Exception) -> str:
    """A Pillow error in a few words."""
    if "cannot identify image file" in str(error):
        return "its format is not recognised"
    if isinstance(error, Image.DecompressionBombError) and (pixels := re.search(r"\d+", str(error))):
        return f"{int(pixels[0]):,} pixels: at most {MOST_PIXELS:,} are decoded, make it smaller"
    return str(error) or type(error).__name__


def _is_sideways(image: Image.Image) -> bool:
    """Whether height and width change places when the image is turned upright."""
    return image.getexif().get(ExifTags.Base.Orientation, 1) > 4
