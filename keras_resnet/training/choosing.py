"""Network, first weights and image size for images of which nothing else was said."""

import math
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from keras_resnet.data import Dataset, is_folder, load
from keras_resnet.data.images import describe
from keras_resnet.data.scan import parts_of
from keras_resnet.errors import InputError
from keras_resnet.networks import choice
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.training.first_weights import FirstWeights
from keras_resnet.weights.names import EMBEDDED, TINY_IMAGENET

SIZE = 64  # pixels along a side, of the images that it was pretrained on
ENLARGED = 1.5  # times their side, that small images are enlarged at most: deer and horses of 32 are known better at 48 than at 64
STEP = 8  # pixels, that sizes are multiples of
SIDES = range(32, 129)  # pixels, of images that suit it
LOOKED_AT = 50  # image files whose size is read
MOST_IMAGES = 20_000  # training images, from which random weights may be as good: the small data sets of arXiv:1912.11370 end there


class Choice(NamedTuple):
    """A network and what it begins with."""

    network: str | ResNetSpec
    init: FirstWeights | None
    """None for random weights."""
    why: str

    @property
    def name(self) -> str:
        """For a folder."""
        return self.init.name if self.init else str(self.network)

    def lines(self, data: Dataset, recipe: Recipe) -> list[str]:
        """What was chosen and why, a line each, and how to choose otherwise."""
        if not self.init:
            return [f"no network was named: using {self.network} ({self.why}); `keras-resnet list --for SIZE` shows others"]
        size = "x".join(map(str, data.image_shape[:-1]))
        epochs = f"{recipe.epochs} epoch{'s' * (recipe.epochs > 1)} of fine-tuning"
        if recipe.linear_probe:
            epochs = (
                f"the classifier is fitted to the features, then {epochs}, discarded if it makes the network clearly less accurate "
                "on the validation images"
            )
        return [
            f"network: {TINY_IMAGENET}, pretrained on photographs of 200 classes, because {self.why}",
            f"size: {size} pixels{as_pretrained(data.image_shape)}",
            f"recipe: {epochs}{weighting(data, recipe)}",
            "to change this: --image-size, --epochs or --init; a named network or recipe starts from random weights",
        ]


def as_pretrained(shape: tuple[int, ...]) -> str:
    """Words on a size, beside that of the pretraining."""
    if min(shape[:2]) == SIZE:
        return ", as in the pretraining"
    return f"; the network was pretrained at {SIZE}x{SIZE}, and small photographs are enlarged by at most half"


def weighting(data: Dataset, recipe: Recipe) -> str:
    """Words on the weights of the classes, where they have some."""
    if recipe.class_weight != "balanced":
        return ""
    counts = np.bincount(data.splits["train"].labels, minlength=len(data.class_names))
    return f"; classes with {counts.min():,} to {counts.max():,} training images are weighted to count the same"


def choose(
    source: Any, *, data_dir: str | Path | None = None, image_size: Any = None, pretrained: bool = True
) -> tuple[Dataset, Choice]:
    """Images of a source, see `data.load`, and the choice for them: where it is allowed, a pretrained network for photographs that
    are not very many. Those of a folder are read in its size, and grey ones in three equal channels."""
    photos = photos_in(source) if pretrained else []
    size = size_for(photos) if photos and image_size is None else image_size
    data = load(source, data_dir=data_dir, image_size=size, channels=3 if photos else None)
    count = len(data.splits["train"])
    *sides, channels = data.image_shape
    if pretrained and channels == 3 and len(sides) == 2 and all(side in SIDES for side in sides) and count < MOST_IMAGES:
        first = FirstWeights(TINY_IMAGENET, EMBEDDED[TINY_IMAGENET], None)  # not by name: a folder of images may have this name
        return data, Choice(first.spec, first, f"{count:,} training images are few to start from random weights")
    if photos:  # but of a size that does not suit it
        data = load(source, image_size=image_size)
    network, why = choice.for_images(count, data.image_shape)
    return data, Choice(network, None, why)


def photos_in(source: Any) -> list[Path]:
    """The training files of a folder of not too many images for the pretrained network; empty for any other source."""
    paths = [path for path, _ in parts_of(Path(source), {})["train"]] if is_folder(source) else []
    return paths if len(paths) < MOST_IMAGES else []


def size_for(paths: list[Path]) -> int:
    """Pixels along a side to read photographs in: those of the pretraining, and fewer for small ones."""
    sides = []
    for path in paths[:: max(1, len(paths) // LOOKED_AT)]:
        with suppress(OSError, ValueError, SyntaxError, InputError, Image.DecompressionBombError):
            sides.append(min(describe(path)[0]))
    usual = median(sides) if sides else SIZE
    return int(min(max(STEP * math.ceil(ENLARGED * usual / STEP), SIDES[0]), SIZE))
