"""What a training says before its first step: images, network, recipe, steps, and what may go wrong."""

import logging

import numpy as np

from keras_resnet.data import SPLITS, Dataset
from keras_resnet.networks.cost import cost_of
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import name_of
from keras_resnet.recipes.automatic import FEWEST_STEPS
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.recipes.words import in_words, of_teachers
from keras_resnet.training.teachers import Teachers

LOG = logging.getLogger("keras_resnet")
MOST_CLASSES = 12  # that are named with their images in the first lines
LARGEST_SHARE = 0.5  # share of the first weights in a moving average above which there is a warning
UNITS = {1: "values", 2: "pixels", 3: "voxels"}  # by rank


def announce(
    spec: ResNetSpec,
    recipe: Recipe,
    data: Dataset,
    done: int | None,
    *,
    begins_at_random: bool,
    shows: bool,
    teachers: Teachers = (),
) -> None:
    """Print the first lines, if it `shows` anything. Warn of too few steps for a network that begins with random weights, or for a
    moving average of the weights."""
    if shows:
        print("\n".join(first_lines(spec, recipe, data, done, teachers)), flush=True)
    each = data.steps_per_epoch(recipe.batch_size)
    problem = few_steps(recipe, each)
    if problem and begins_at_random:
        LOG.warning(problem)
    steps = recipe.epochs * each
    if recipe.ema and recipe.ema**steps > LARGEST_SHARE:
        LOG.warning(f"ema={recipe.ema} averages over more than the {steps} steps of this training: the initial weights dominate")


def first_lines(spec: ResNetSpec, recipe: Recipe, data: Dataset, done: int | None = None, teachers: Teachers = ()) -> list[str]:
    """Images, network, recipe, teachers and steps, a line each. `done` steps were trained before; None if the training is not
    resumed."""
    each = data.steps_per_epoch(recipe.batch_size)
    steps = recipe.epochs * each
    cost = cost_of(spec)
    lines = [
        f"images: {images_of(data)}",
        f"classes: {classes_of(data)}",
        *left_out(data),
        f"network: {name_of(spec)}, {cost.trainable:,} parameters, {cost.multiply_adds:,} multiply-adds an image",
        f"recipe: {in_words(recipe)}",
        *(f"teacher: {teacher.in_words(spec)}" for teacher in teachers),
        *([f"distillation: {of_teachers(recipe)}"] if teachers else []),
        f"steps: {steps:,}, {each:,} in each epoch",
    ]
    if done is None:
        return lines
    there = f"from step {done:,}, in epoch {done // each + 1} of {recipe.epochs}"
    return [*lines, f"resumed: {there if done else 'there is no checkpoint, so from the first step'}"]


def left_out(data: Dataset) -> list[str]:
    """A line of the files that could not be read, if there are any."""
    count = len(data.skipped)
    return [f"left out: {count:,} file{'s' * (count > 1)}, the first {data.skipped[0]}"] if count else []


def images_of(data: Dataset) -> str:
    """How many there are for what, and of which size."""
    counts = ", ".join(f"{len(data.splits[split]):,} {split}" for split in SPLITS)
    *sides, channels = data.image_shape
    return f"{counts}; {'x'.join(map(str, sides))} {UNITS[len(sides)]}, {channels} channel{'s' * (channels > 1)}"


def classes_of(data: Dataset) -> str:
    """The classes, with their images of each split where there are few."""
    count = len(data.class_names)
    splits = SPLITS if data.knows_all_labels else SPLITS[1:]
    numbers = [np.bincount(data.splits[split].labels, minlength=count) for split in splits]
    if count > MOST_CLASSES:
        what = f"{'training' if data.knows_all_labels else 'validation'} images"
        return f"{count:,}, each with {numbers[0].min():,} to {numbers[0].max():,} {what}"
    listed = (f"{name} {'+'.join(map(str, row))}" for name, row in zip(data.class_names, zip(*numbers, strict=True), strict=True))
    return f"{count}, each with its images for {'+'.join(splits)}: {', '.join(listed)}"


def few_steps(recipe: Recipe, each: int) -> str:
    """What to do where so few steps can hardly teach anything; empty where there are enough. `each` are those of an epoch."""
    steps = recipe.epochs * each
    if steps >= FEWEST_STEPS:
        return ""
    epochs = -(-FEWEST_STEPS // each)
    smaller = f", or smaller batches by --batch-size {recipe.batch_size // 4}" if recipe.batch_size >= 32 else ""
    return (
        f"only {steps} steps, too few to train from random weights: stop (Ctrl-C) and set --epochs {epochs} (epochs={epochs} of "
        f"the recipe){smaller}, or start from a trained network (--init)"
    )
