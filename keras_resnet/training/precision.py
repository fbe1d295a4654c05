"""The model that is trained, and the short measurement that chooses its precision and whether XLA compiles it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import keras
import numpy as np

from keras_resnet.data import Dataset
from keras_resnet.fields import change
from keras_resnet.networks.layers import build
from keras_resnet.networks.settings import fixed_settings
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.recipes.fast_kernels import graphs_as_written
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.runs.environment import emulates_bfloat16, processor
from keras_resnet.timing import seconds_of
from keras_resnet.training.distribute import Distribution

LOG = logging.getLogger("keras_resnet")
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
TIMED = 4  # runs of a measurement, of which the median counts
SECONDS = 0.5  # that each of them should take
TOO_SLOW = 5  # times the speed of another choice, behind which one is given up after two steps


def training_model(
    spec: ResNetSpec,
    recipe: Recipe,
    steps_per_epoch: int,
    class_weights: list[float] | None = None,
    teachers: Sequence[keras.Model] = (),
) -> keras.Model:
    """The network of `spec`, compiled to be trained by `recipe`: the plain one in its weights, in another precision perhaps."""
    if recipe.progressive:
        spec = replace(spec, input_shape=(*(None for _ in spec.input_shape[:-1]), spec.input_shape[-1]))
    model = build(spec, remat=recipe.remat, dtype=POLICIES[recipe.precision])
    recipe.compile(model, steps_per_epoch, from_logits=spec.gives_logits, class_weights=class_weights, teachers=teachers)
    return model


def settle(spec: ResNetSpec, recipe: Recipe, distribution: Distribution) -> Recipe:
    """`recipe` with the fastest choice in place of "auto"; it is logged with its reason."""
    emulates = recipe.precision in ("bfloat16", "auto") and emulates_bfloat16()
    if emulates and recipe.precision == "bfloat16":
        LOG.warning(
            f"precision=bfloat16: this processor ({processor()}) only emulates it, a step may take minutes; float32 is faster"
        )
    elif emulates:
        LOG.warning(f"precision=float32: this processor ({processor()}) only emulates bfloat16, which is not tried")
        recipe = change(recipe, {"precision": "float32"})
    for name, choices in (("precision", ("float32", "bfloat16")), ("jit", jit_choices(recipe))):
        if getattr(recipe, name) == "auto":
            measured = change(recipe, {"batch_size": recipe.batch_size // distribution.replicas})
            measured = change(measured, {"jit": "off"}) if recipe.jit == "auto" else measured
            rates = distribution.mean(try_each(spec, {choice: change(measured, {name: choice}) for choice in choices}))
            fastest = max(rates, key=rates.__getitem__)
            LOG.warning(f"{name}={fastest}: {', '.join(map(told, rates, rates.values(), [rates[fastest]] * len(rates)))}")
            recipe = change(recipe, {name: fastest})
    return recipe


def try_each(spec: ResNetSpec, choices: dict[str, Recipe]) -> dict[str, float]:
    """Images per second of each choice; one that is far behind those before it is given up after its first steps."""
    rates: dict[str, float] = {}
    for choice, recipe in choices.items():
        rates[choice] = images_per_second(spec, recipe, at_least=max(rates.values(), default=0) / TOO_SLOW)
    return rates


def told(choice: str, rate: float, fastest: float) -> str:
    """The speed of a choice in words."""
    return f"{rate:.0f} images/s with {choice}" + (", stopped after its first steps" if rate < fastest / TOO_SLOW else "")


def jit_choices(recipe: Recipe) -> tuple[str, ...]:
    """Whether XLA is there to be chosen: JAX always has it, and shapes that change would be compiled again and again."""
    return ("off", "on") if keras.backend.backend() == "tensorflow" and not recipe.progressive else ("off",)


def images_per_second(spec: ResNetSpec, recipe: Recipe, at_least: float = 0) -> float:
    """The training speed on random images in memory, on one device; a rough one where it is below `at_least`."""
    return rate(steps_of(spec, recipe), recipe.batch_size, at_least)


def steps_of(spec: ResNetSpec, recipe: Recipe) -> Callable[..., Any]:
    """A function that trains one step, on a batch or on random images."""
    model = training_model(spec, change(recipe, {"class_weight": "none"}), 1)
    images = np.random.default_rng(0).integers(0, 256, (recipe.batch_size, *spec.require_sizes("the speed"))).astype("uint8")
    labels = np.arange(recipe.batch_size) % spec.classes
    if recipe.one_hot:
        labels = np.eye(spec.classes, dtype="float32")[labels]

    def step(x: Any = images, y: Any = labels) -> None:
        if keras.backend.backend() != "tensorflow":
            x, y = np.asarray(x), np.asarray(y)
        float(np.ravel(model.train_on_batch(x, y))[0])

    return step


def rate(action: Callable[[], Any], images: int, at_least: float = 0) -> float:
    """Images per second of an action on so many: the median of several runs, behind one that may compile.

    Where the run after that one is slower than `at_least`, it has to do.
    """

    def seconds(runs: int) -> float:
        return sum(seconds_of(action, runs))

    seconds(1)
    if at_least and (speed := images / seconds(1)) < at_least:
        return speed
    runs = 1
    while (duration := seconds(runs)) < SECONDS / 4:  # a batch may be ready already, and one run tells nothing
        runs *= 2
    runs = max(1, round(runs * SECONDS / duration))
    return images * runs / median(seconds(runs) for _ in range(TIMED))


@fixed_settings()
def throughput(spec: ResNetSpec, recipe: Recipe, data: Dataset) -> list[dict[str, Any]]:
    """Images per second of the pipeline of `data`, of training steps on images in memory, and of both, as rows of a table."""
    spec = replace(spec, input_shape=data.image_shape, classes=len(data.class_names))
    recipe = settle(spec, data.check(recipe.fitting(len(data.splits["train"]))), Distribution())
    batches = iter(data.training_batches(recipe))
    with graphs_as_written():
        step = steps_of(spec, recipe)
        rates = {
            "pipeline alone": rate(lambda: next(batches), recipe.batch_size),
            "training step alone": rate(step, recipe.batch_size),
            "both": rate(lambda: step(*next(batches)), recipe.batch_size),
        }
    slower = min(rates["pipeline alone"], rates["training step alone"])
    return [
        {"what": name, "images_per_second": round(value), "share_of_the_slower": round(value / slower, 2)}
        for name, value in rates.items()
    ]
