"""The EXIF orientation of a picture, read from the bytes of its file by TensorFlow operations alone, so that a server has it too.

JPEG segments and PNG chunks are walked to the block of EXIF, which is a small TIFF file of either byte order. What is not here:
orientations that are told by XMP alone, and those of other formats, which have none.
"""

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.lazy_tensorflow import Tensor

EXIF = b"Exif\0\0"
FILL, APP1, SCAN, END = 0xFF, 0xE1, 0xDA, 0xD9  # second byte of a JPEG's markers
SIGNATURE, FRAME = 8, 12  # bytes of a PNG's head; of length, name and checksum of each of its chunks
ORIENTATION, SHORT, LONG = 0x0112, 3, 4  # a tag and two types of TIFF
ENTRY = 12  # bytes of a tag


def orientation(content: Tensor) -> Tensor:
    """1 to 8, as EXIF counts, of a file's content, a scalar string; 1, upright, where it says nothing or is damaged."""
    octets = tf.io.decode_raw(content, "uint8")
    start = tf.cond(matches(octets, 0, b"\xff\xd8"), lambda: _in_jpeg(octets), lambda: _in_png(octets))
    value = _of_tiff(octets, start)
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _in_jpeg(octets: Tensor) -> Tensor:
    """Where the TIFF file in the segments of a JPEG starts; its end if there is none."""

    def is_exif(place: Tensor) -> Tensor:
        return matches(octets, place, bytes([FILL, APP1])) & matches(octets, place + 4, EXIF)

    def is_other(place: Tensor) -> Tensor:
        marker, second = tf.unstack(part(octets, place, 2))
        is_segment = (marker == FILL) & (second != SCAN) & (second != END) & (place + 4 <= size(octets))
        return is_segment & ~is_exif(place)

    def following(place: Tensor) -> list[Tensor]:
        is_fill = part(octets, place + 1, 1)[0] == FILL
        length = 2 + number(part(octets, place + 2, 2), is_big=True)
        return [place + tf.where(is_fill, tf.constant(1, "int64"), length)]

    (place,) = tf.while_loop(is_other, following, [tf.constant(2, "int64")])
    return tf.where(is_exif(place), place + 4 + len(EXIF), size(octets))


def _in_png(octets: Tensor) -> Tensor:
    """Where the TIFF file in the chunks of a PNG starts; the end of any file without one."""

    def is_exif(place: Tensor) -> Tensor:
        return matches(octets, place + 4, b"eXIf")

    def is_other(place: Tensor) -> Tensor:
        return (place + FRAME <= size(octets)) & ~is_exif(place)

    def following(place: Tensor) -> list[Tensor]:
        return [place + FRAME + number(part(octets, place, 4), is_big=True)]

    start = tf.where(matches(octets, 0, b"\x89PNG"), tf.constant(SIGNATURE, "int64"), size(octets))
    (place,) = tf.while_loop(is_other, following, [start])
    return tf.where(is_exif(place), place + 8, size(octets))


def _of_tiff(octets: Tensor, start: Tensor) -> Tensor:
    """The value of the tag in the first directory of the TIFF file that starts there; 1 if it has none."""
    is_big = part(octets, start, 1)[0] == ord("M")
    directory = start + number(part(octets, start + 4, 4), is_big)
    complete = (size(octets) - directory - 2) // ENTRY
    count = tf.maximum(tf.minimum(number(part(octets, directory, 2), is_big), complete), 0)
    entries = tf.reshape(part(octets, directory + 2, ENTRY * count), [-1, ENTRY])
    tags, types = number(entries[:, :2], is_big), number(entries[:, 2:4], is_big)
    values = tf.where(types == LONG, number(entries[:, 8:12], is_big), number(entries[:, 8:10], is_big))
    found = tf.boolean_mask(values, (tags == ORIENTATION) & ((types == SHORT) | (types == LONG)))
    return tf.concat([tf.constant([1], "int64"), found], 0)[-1]


def size(octets: Tensor) -> Tensor:
    return tf.size(octets, tf.int64)


def part(octets: Tensor, place: Tensor, count: Tensor) -> Tensor:
    """So many bytes from there, as int64; the last byte again and again beyond the end."""
    places = tf.cast(place, "int64") + tf.range(tf.cast(count, "int64"))
    return tf.cast(tf.gather(octets, tf.minimum(places, size(octets) - 1)), "int64")


def matches(octets: Tensor, place: Tensor, name: bytes) -> Tensor:
    return tf.reduce_all(part(octets, place, len(name)) == tf.constant(list(name), "int64"))


def number(octets: Tensor, is_big: Tensor | bool = False) -> Tensor:
    """Bytes (..., count) as whole numbers: the first byte is the highest where `is_big`."""
    lowest_first = tf.where(is_big, tf.reverse(octets, [-1]), octets)
    return tf.reduce_sum(lowest_first * [256**place for place in range(octets.shape[-1])], -1)
