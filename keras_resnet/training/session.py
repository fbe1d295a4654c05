"""`Training`: all that one training needs, made by `prepare` before the first step."""

import logging
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_resnet.data import Dataset
from keras_resnet.networks.layers import build
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.recipes.fast_kernels import prepare_metrics
from keras_resnet.recipes.quantization_aware import round_kernels, simulate_integers
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.runs.environment import environment
from keras_resnet.training import linear_probe
from keras_resnet.training.callbacks import BestAndLast, Throughput
from keras_resnet.training.distribute import Distribution
from keras_resnet.training.first_weights import FirstWeights, take_weights
from keras_resnet.training.linear_probe import LinearProbe
from keras_resnet.training.precision import training_model
from keras_resnet.training.recall import Recall
from keras_resnet.training.teachers import Teachers

LOG = logging.getLogger("keras_resnet")


@dataclass(frozen=True)
class Training:
    """A training: what goes in, and the callbacks that follow it."""

    spec: ResNetSpec
    recipe: Recipe
    data: Dataset
    seed: int
    init: FirstWeights | None
    distribution: Distribution
    environment: dict[str, Any]
    model: keras.Model
    """The one that trains, perhaps in a lower precision and on several devices."""
    weights: BestAndLast
    throughput: Throughput
    probe: LinearProbe | None = None
    teachers: Teachers = ()

    @property
    def keep(self) -> str:
        """Which weights are kept: "last" or "best", see `Recipe.keep`, or "probe" where the fitted
        classifier alone was better than either."""
        kept = self._keep
        row = self.weights.history[-1 if kept == "last" else self.weights.best_epoch - 1]
        return "probe" if self.probe and self.probe.is_better_than(row, self.weights.images) else kept

    @property
    def _keep(self) -> str:
        if self.recipe.keep != "auto":
            return self.recipe.keep
        return "last" if self.recipe.ends_at_zero and len(self.weights.history) == self.recipe.epochs else "best"

    @property
    def kept_weights(self) -> list[np.ndarray]:
        """Those that `model.keras` has."""
        if self.probe and self.keep == "probe":
            return self.probe.weights
        return self.weights.last if self.keep == "last" else self.weights.best

    def give_kept_weights(self, model: keras.Model) -> None:
        """Give them to a plain model; of quantisation-aware training with the rounded kernels that it computed with."""
        model.set_weights(self.kept_weights)
        if self.recipe.quantization_aware:
            round_kernels(model, self.recipe.weight_bits)

    @property
    def kept_epoch(self) -> int:
        """The epoch that they are of, counted from 1; 0 for those of the linear probe."""
        return {"probe": 0, "last": len(self.weights.history)}.get(self.keep, self.weights.best_epoch)

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which every training image has been seen once."""
        return self.data.steps_per_epoch(self.recipe.batch_size)


def prepare(
    spec: ResNetSpec,
    recipe: Recipe,
    data: Dataset,
    seed: int,
    devices: Distribution,
    init: FirstWeights | None = None,
    teachers: Teachers = (),
) -> Training:
    """Everything that a training needs, before its first step."""
    class_weights = recipe.class_weights(data.splits["train"].labels, data.class_names)
    with devices.scope():
        taught_by = [teacher.model(data, recipe) for teacher in teachers]
    keras.utils.set_random_seed(seed)  # the weights of the network do not depend on its teachers
    with devices.scope():
        model = training_model(spec, recipe, data.steps_per_epoch(recipe.batch_size), class_weights, taught_by)
        head = take_weights(model, init, list(data.class_names)) if init else ""
    if init and head and not recipe.linear_probe:
        LOG.warning(f"the classes differ from those of {init.name!r}: the classifier {head!r} starts from random weights")
    with devices.alone():
        plain = build(spec)
        plain.compile(loss=Recipe().make_loss(from_logits=spec.gives_logits), metrics=["accuracy", Recall(spec.classes)])
        prepare_metrics(plain)
        if recipe.quantization_aware:
            simulate_integers(plain, recipe.weight_bits)
    probe = None
    if recipe.linear_probe:
        with devices.alone():
            plain.set_weights(model.get_weights())
            probe = linear_probe.fit(plain, data, class_weights)
        with devices.scope():
            model.set_weights(probe.weights)
    callbacks = BestAndLast(model, plain, data, devices), Throughput(recipe.batch_size)
    return Training(spec, recipe, data, seed, init, devices, environment(), model, *callbacks, probe, teachers)


def example(data: Dataset, recipe: Recipe, replicas: int) -> tuple[np.ndarray, np.ndarray]:
    """A batch of zeros in the shape that one of so many devices gets."""
    count = recipe.batch_size // replicas
    labels = np.zeros((count, len(data.class_names)), "float32") if recipe.one_hot else np.zeros(count, "int32")
    return np.zeros((count, *data.image_shape), data.dtype), labels
