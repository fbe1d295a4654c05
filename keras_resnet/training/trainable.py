"""Network, recipe and images of a training, each as the others need it, and what cannot be trained."""

import logging
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np

from keras_resnet import recipes
from keras_resnet.data import Dataset
from keras_resnet.errors import InputError, shown
from keras_resnet.networks.cost import cost_of
from keras_resnet.networks.pixel_range import LOOKED_AT, notice
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import resolve
from keras_resnet.recipes.automatic import AUTO
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.runs.environment import devices as hardware
from keras_resnet.startup import memory
from keras_resnet.training.distribute import Distribution
from keras_resnet.training.first_weights import FirstWeights

LOG = logging.getLogger("keras_resnet")
ONE_DEVICE_ONLY = {  # what Keras on TensorFlow does on one device only
    "accumulate": "it cannot accumulate there",
    "steps_per_execution": "it cannot take several steps at a time there",
}
NEED_TRAINED = ("quantization_aware", "linear_probe")  # fields of a recipe


def checked_seed(seed: int) -> int:
    """The seed. InputError if it is none."""
    if not isinstance(seed, Integral) or not 0 <= seed < 2**32:
        raise InputError(f"seed={shown(seed)}: must be a whole number of at least 0 and below 2**32")
    return int(seed)


def suited(
    spec: str | ResNetSpec | None, recipe: str | Recipe | None, data: Dataset, devices: Distribution, init: FirstWeights | None
) -> tuple[ResNetSpec, Recipe, Dataset]:
    """Network, recipe and images, each as the others need it. InputError for what cannot be trained."""
    spec = resolve(
        init.to_train(spec) if init else spec or ResNetSpec(), input_shape=data.image_shape, classes=len(data.class_names)
    )
    if init:
        spec = init.checked(spec)
    recipe = recipe_for(recipe, data, pretrained=init is not None)
    recipe = data.check(_fitting(recipe, len(data.splits["train"])), devices.replicas)
    check_trainable(spec, recipe, devices, recipe.epochs * data.steps_per_epoch(recipe.batch_size))
    for field in NEED_TRAINED:
        if getattr(recipe, field) and init is None:
            raise InputError(f"{field}=true needs a trained network: start from a run, file or name with init (--init)")
    if spec.normalization:
        pixels = data.sample(LOOKED_AT)
        notice(float(pixels.min()), float(pixels.max()))
    return spec, recipe, replace(data, batch_size=recipe.batch_size)


def recipe_for(recipe: str | Recipe | None, data: Dataset, *, pretrained: bool = False) -> Recipe:
    """The recipe of that name, or for None and "auto" that which suits the images, and a network that is pretrained or not."""
    if recipe is not None and recipe != AUTO:
        return recipes.resolve(recipe)
    train = data.splits["train"]
    about: dict[str, Any] = {"source": data.origin.get("source"), "class_names": data.class_names}
    if not pretrained:
        return recipes.for_images(len(train), data.image_shape, **about)
    counts = np.bincount(train.labels).tolist() if data.knows_all_labels else []
    found = recipes.for_images(len(train), data.image_shape, **about, pretrained=True, class_counts=counts)
    return found if data.knows_all_labels else replace(found, linear_probe=False)


def _fitting(recipe: Recipe, examples: int) -> Recipe:
    """The recipe with a batch of no more than all training images."""
    if recipe.batch_size > examples:
        LOG.warning(f"batch_size={recipe.batch_size} is more than the {examples} training images: {examples} is used")
    return recipe.fitting(examples)


def check_memory(spec: ResNetSpec, recipe: Recipe, devices: Distribution) -> None:
    """InputError if weights and activations of a batch need more memory than this machine has, where its processor trains."""
    has = memory()
    if has is None or not all(name.lower().startswith("cpu") for name in hardware()):
        return
    each = recipe.batch_size // devices.replicas
    in_full = each if recipe.precision == "float32" else each // 2  # activations of 16 bits take half
    needs = cost_of(spec).training_bytes(in_full, remat=recipe.remat)
    if needs > has:
        what = f"a training in batches of {each} of {'x'.join(map(str, spec.input_shape))}"
        raise InputError(
            f"{what} needs about {needs / 2**30:,.1f} GiB of memory, and this machine has {has / 2**30:,.1f}: take smaller batches "
            "(--batch-size), smaller images (--image-size) or a smaller network, or set remat=true"
        )


def check_trainable(spec: ResNetSpec, recipe: Recipe, devices: Distribution, steps: int) -> None:
    """InputError for what cannot be trained, in so many steps and on those devices."""
    if spec.classifier_activation == "sigmoid":
        raise InputError(
            "classifier_activation='sigmoid' is for several labels an image; train on one label with 'softmax' or none"
        )
    if spec.classifier_activation == "softmax" and recipe.loss == "binary":
        raise InputError("loss='binary' takes each class by itself: train it with classifier_activation=none, not 'softmax'")
    default = Recipe()
    for field, why in ONE_DEVICE_ONLY.items():
        value = getattr(recipe, field)
        if value != getattr(default, field) and devices.replicas > 1 and devices.name != "data_parallel":
            raise InputError(f"{field}={value} is not possible on {devices.replicas} devices with Keras on TensorFlow: {why}")
    check_memory(spec, recipe, devices)
    if recipe.accumulate > steps:
        raise InputError(f"accumulate={recipe.accumulate}: the weights would never change in the {steps} steps of this training")
    if recipe.sync_norm and spec.norm != "batch":
        raise InputError(f"sync_norm=true is for batch normalisation, and this network has norm={spec.norm!r}")
