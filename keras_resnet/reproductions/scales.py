"""The scales of an experiment: images, recipe and seeds."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from keras_resnet.data import Dataset, load
from keras_resnet.recipes.named import HE_2015, RECIPES
from keras_resnet.recipes.recipe import Recipe


@dataclass(frozen=True)
class Scale:
    """A scale at which every experiment can run."""

    duration: str
    source: str
    """Of the images, see `data.load`."""
    recipe: Recipe
    seeds: tuple[int, ...]
    image_size: int | None = None
    """Height and width in pixels to which images are resized. None: no resizing."""
    images: int | None = None
    """Number of training images, the first ones. None: all."""

    def words(self, images: dict[str, int]) -> str:
        """Images and recipe as text, with the numbers of images."""
        size = f" at {self.image_size}x{self.image_size}" if self.image_size else ""
        counts = "".join(f", {count:,} {split.replace('_', ' ')}" for split, count in images.items())
        return f"{self.source}{size}{counts}, {self.recipe.epochs} epochs of batches of {self.recipe.batch_size}"

    def load(self, data_dir: str | Path | None = None) -> Dataset:
        """Load the images. `data_dir` is where TensorFlow Datasets keeps its files."""
        data = load(self.source, data_dir=data_dir if self.source != "digits" else None, image_size=self.image_size)
        if self.images is None or self.images >= len(data.splits["train"]):
            return data
        splits = {**data.splits, "train": data.splits["train"].part(np.arange(self.images))}
        return replace(data, splits=splits, origin={"source": None})


WARMED_UP = replace(HE_2015, warmup=0.1, warmup_start=0.1)
SCALES = {
    "smoke": Scale("a minute", "digits", replace(WARMED_UP, epochs=3, batch_size=64, crop=0, flip=False), seeds=(0,)),
    "small": Scale(
        "hours on two cores, minutes on a GPU",
        "cifar10",
        replace(WARMED_UP, epochs=8),
        seeds=(0, 1),
        image_size=16,
        images=16_000,
    ),
    "paper": Scale("days on a GPU", "cifar10", RECIPES["he-2015-warmup"], seeds=(0, 1, 2, 3, 4)),
}
