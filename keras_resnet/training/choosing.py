"""Network, first weights and image size for images of which nothing else was said."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_resnet.data import Dataset, is_folder, load
from keras_resnet.data.scan import parts_of
from keras_resnet.networks import choice
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.training.first_weights import FirstWeights

PRETRAINED = "tiny-imagenet"
SIZE = (64, 64)  # of the images that it was pretrained on
SIDES = range(48, 129)  # pixels, of images that cannot be resized and still suit it
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
        first = "the classifier is fitted to its features; " if recipe.linear_probe else ""
        kept = ", left out if they make it less accurate on the validation images" if recipe.linear_probe else ""
        return [
            f"network: {PRETRAINED}, pretrained on 200 classes of photographs, since {self.why}",
            f"size: {size} pixels, as those that it was pretrained on" if data.image_shape[:2] == SIZE else f"size: {size} pixels",
            f"recipe: {first}then {recipe.epochs} epoch{'s' * (recipe.epochs > 1)} of fine-tuning{kept}{weighting(data, recipe)}",
            "to choose otherwise: name a network, which begins with random weights, or give --init, --image-size or --recipe",
        ]


def weighting(data: Dataset, recipe: Recipe) -> str:
    """Words on the weights of the classes, where they have some."""
    if recipe.class_weight != "balanced":
        return ""
    counts = np.bincount(data.splits["train"].labels, minlength=len(data.class_names))
    return f"; classes count alike, though one has {counts.min():,} training images and one {counts.max():,}"


def choose(
    source: Any, *, data_dir: str | Path | None = None, image_size: Any = None, pretrained: bool = True
) -> tuple[Dataset, Choice]:
    """Images of a source, see `data.load`, and the choice for them: where it is allowed, a pretrained network for photographs that
    are not very many. Those of a folder are read in its size, and grey ones in three equal channels."""
    is_photos = pretrained and is_folder_of_photos(source)
    size = SIZE if is_photos and image_size is None else image_size
    data = load(source, data_dir=data_dir, image_size=size, channels=3 if is_photos else None)
    count = len(data.splits["train"])
    *sides, channels = data.image_shape
    if pretrained and channels == 3 and len(sides) == 2 and all(side in SIDES for side in sides) and count < MOST_IMAGES:
        first = FirstWeights.of(PRETRAINED)
        return data, Choice(first.spec, first, f"{count:,} training images are few to begin with random weights")
    if is_photos:  # but of a size that does not suit it
        data = load(source, image_size=image_size)
    network, why = choice.for_images(count, data.image_shape)
    return data, Choice(network, None, why)


def is_folder_of_photos(source: Any) -> bool:
    """Whether it is a folder of not too many images, for the pretrained network."""
    return is_folder(source) and len(parts_of(Path(source), {})["train"]) < MOST_IMAGES
