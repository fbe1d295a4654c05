"""The default recipe of an image set, chosen by number, size and kind of the images."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from keras_resnet.recipes.named import RECIPES
from keras_resnet.recipes.recipe import Recipe

AUTO = "auto"  # what stands for this recipe where a name is asked for
FEWEST_STEPS = 300  # below which a network that begins with random weights has hardly begun to learn
ENOUGH_STEPS = 480  # that a small set is trained for
FEW = 2000  # training images, below which the steps are gentler and their weights are averaged
PROBED = 2000  # training images, below which a pretrained network begins with a fitted classifier
UNEVEN = 3  # times as many images in the largest class as in the smallest, from which classes are weighted
FINE_TUNING: dict[str, Any] = {"epochs": 30, "learning_rate": 0.1, "ema": 0.95}
FINE_TUNING_BATCH = 32  # at least, unless the images are fewer
GENTLE: dict[str, Any] = {"learning_rate": 0.2, "ema": 0.95}
BATCHES = (8, 128)  # the smallest batch, whose statistics normalisation can still use, and the largest
STEPS_PER_EPOCH = 12  # that a small set is divided into, within these batches
MOST_EPOCHS = 200
SHIFT = 1 / 8  # share of a side by which images are shifted, as in arXiv:1512.03385 section 4.2


def for_images(
    count: int,
    image_shape: tuple[int, ...],
    *,
    source: object = None,
    class_names: Sequence[str] = (),
    pretrained: bool = False,
    class_counts: Sequence[int] = (),
) -> Recipe:
    """The recipe for `count` training images of `image_shape`, (height, width, channels) in pixels.

    A source with a recipe of its own, such as "digits", gets that one; others one-cycle SGD as in "cifar-30". Fewer than 2,000
    images get smaller batches, more epochs, and a moving average of the weights for validation and for the run. The learning rate
    is for 128 images and scales with the batch. Images are shifted by up to an eighth of a side. They are mirrored unless all class
    names are single characters or numbers, as those of arrays without `class_names` are: set `flip=True` for these. Signals and
    volumes are neither shifted nor mirrored.

    A `pretrained` network is fine-tuned: with fewer than 2,000 images its classifier is fitted first (`linear_probe`), and classes
    count alike where the largest has at least three times as many training images, in `class_counts`, as the smallest.

    >>> for_images(192, (64, 64, 3)).batch_size
    16
    """
    if isinstance(source, str) and source in RECIPES:
        return RECIPES[source]
    batch = 2 ** int(math.log2(max(1, count / STEPS_PER_EPOCH)))
    batch = min(max(BATCHES[0], min(batch, BATCHES[1])), count)
    steps = math.ceil(count / batch)
    usual = RECIPES["cifar-30"]
    if pretrained:
        changes = {**changes_of(image_shape, class_names), **FINE_TUNING, "linear_probe": count < PROBED}
        there = [count for count in class_counts if count]
        is_uneven = bool(there) and max(there) >= UNEVEN * min(there)
        return replace(
            usual, batch_size=min(count, max(batch, FINE_TUNING_BATCH)), class_weight="balanced" if is_uneven else "none", **changes
        )
    gentle = GENTLE if count < FEW else {}
    epochs = min(MOST_EPOCHS, max(usual.epochs, math.ceil(ENOUGH_STEPS / steps)))
    return replace(usual, epochs=epochs, batch_size=batch, **changes_of(image_shape, class_names), **gentle)


def changes_of(image_shape: tuple[int, ...], class_names: Sequence[str]) -> dict[str, Any]:
    """Augmentation of images of that shape, as fields of a recipe."""
    if len(image_shape) != 3:
        return {"crop": 0, "flip": False}
    flip = not all(len(name) == 1 or name.isdecimal() for name in class_names) if class_names else True
    return {"crop": max(1, round(min(image_shape[:2]) * SHIFT)), "flip": flip}
