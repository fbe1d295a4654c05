"""Which of the named networks suit images of a size, and which one is a good first choice for an image set."""

from dataclasses import replace
from typing import NamedTuple

from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import SPECS

WIDE_STEM = 64  # pixels along the shorter side, from which a stem may leave a quarter of them: its map then has 16 along a side
FINE_STEM = 96  # up to which one that leaves all of them is worth its multiply-adds


class Choice(NamedTuple):
    """A named network, and why it is proposed."""

    network: str
    why: str


STEPS = (  # training images from which each is taken: (for small images, for larger ones)
    (0, "resnet8", "resnet18"),
    (5_000, "resnet20", "resnet18"),
    (50_001, "resnet56", "resnet34"),
    (200_000, "resnet110", "resnet50"),
)


def for_images(count: int, image_shape: tuple[int, ...]) -> Choice:
    """The network to begin with for `count` training images of `image_shape`, sizes in pixels and then channels.

    >>> for_images(1149, (8, 8, 1)).network
    'resnet8'
    """
    sides = image_shape[:-1]
    small = min(sides) < WIDE_STEM
    network = next(fine if small else wide for least, fine, wide in reversed(STEPS) if count >= least)
    size = "x".join(map(str, sides))
    stem = "its stem keeps the resolution of small images" if small else "its stem reduces the sides of large images to a quarter"
    return Choice(network, f"{stem} ({size}), and {SPECS[network].layers} layers suit {count:,} training images")


def suits(spec: ResNetSpec, size: tuple[int, int]) -> bool:
    """Whether the stem of a network suits images of (height, width): neither too few pixels are left nor too many."""
    side = min(size)
    return side >= WIDE_STEM if spec.stem_stride > 1 else side <= FINE_STEM


def at_size(spec: ResNetSpec, size: tuple[int, int]) -> ResNetSpec:
    """The network for images of (height, width)."""
    return replace(spec, input_shape=(*size, spec.input_shape[-1]))
