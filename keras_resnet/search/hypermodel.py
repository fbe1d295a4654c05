"""`HyperResNet`: residual networks for any KerasTuner script."""

import math
from dataclasses import replace
from inspect import signature
from random import Random
from typing import Any

import keras
import keras_tuner

from keras_resnet.errors import InputError
from keras_resnet.networks.layers import build
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import SPECS
from keras_resnet.recipes.named import RECIPES
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.search.budget import DRAWS, Budget, costs
from keras_resnet.search.study import Space, Study

SHORTCUTS = ["projection", "avg_projection"]


def residual_space(hp: Any, basis: ResNetSpec = SPECS["resnet20"]) -> tuple[ResNetSpec, dict[str, Any]]:
    """Depth and width of every stage, block, shortcut, order of activation, squeeze and stochastic depth; learning rate and decay.

    Args:
        hp: `keras_tuner.HyperParameters`.
        basis: the network whose other fields stay, and whose number of stages. It is what the defaults give, with the learning rate
            and the decay of "cifar-30"; but projections in place of other shortcuts, such as padding, which cannot shrink channels.
    """

    def choice(field: str, *others: Any) -> Any:
        own = getattr(basis, field)
        return hp.Choice(field, list(dict.fromkeys([own, *others])), default=own)

    depths = tuple(hp.Int(f"depth{stage}", 1, max(6, depth), default=depth) for stage, depth in enumerate(basis.depths, 1))
    widths = [
        hp.Choice(f"width{stage}", [width // 2, width, 2 * width], default=width) for stage, width in enumerate(basis.widths, 1)
    ]
    spec = replace(
        basis,
        block=choice("block", "basic", "bottleneck"),
        depths=depths,
        widths=tuple(widths),
        shortcut=hp.Choice("shortcut", SHORTCUTS, default=basis.shortcut if basis.shortcut in SHORTCUTS else SHORTCUTS[0]),
        activation_order=choice("activation_order", "original", "full_preactivation"),
        squeeze=hp.Choice("squeeze", sorted({0, 4, basis.squeeze or 0}), default=basis.squeeze or 0) or None,
        stochastic_depth=hp.Float("stochastic_depth", 0.0, 0.2, step=0.1, default=min(0.2, basis.stochastic_depth)),
    )
    usual = RECIPES["cifar-30"]
    recipe = {
        "learning_rate": hp.Float("learning_rate", 0.02, 0.5, sampling="log", default=usual.learning_rate),
        "weight_decay": hp.Float("weight_decay", 5e-5, 2e-3, sampling="log", default=usual.weight_decay),
    }
    return spec, recipe


class HyperResNet(keras_tuner.HyperModel):
    """A hypermodel over specs.

    Args:
        space: a function of `keras_tuner.HyperParameters` that returns a `ResNetSpec`, or one and changes to the recipe.
        input_shape: of the images, (*space, channels).
        classes: how many.
        recipe: a name in `RECIPES` or a `Recipe`; epochs and batch size are those of `fit`, and the schedule covers all its steps.
        steps_per_epoch: batches in an epoch. None: counted from the arguments of `fit`, which is not possible for a generator.
        budget: a network above it is not built: the values are drawn again at random, and the trial fails if none fit. For limits
            on latency, and for a grid, use a `Study`.
        include_top: False builds the networks without classifier, not compiled, for a hypermodel of your own around them.
        name: as of every `keras_tuner.HyperModel`.
        tunable: as of every `keras_tuner.HyperModel`.

    Labels are integers or one-hot.

    >>> tuner = keras_tuner.RandomSearch(HyperResNet(input_shape=(32, 32, 3), classes=10), "val_accuracy", max_trials=20)
    """

    def __init__(
        self,
        space: Space = residual_space,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        recipe: str | Recipe = "cifar-30",
        steps_per_epoch: int | None = None,
        budget: Budget | None = None,
        include_top: bool = True,
        name: str = "HyperResNet",
        tunable: bool = True,
    ) -> None:
        super().__init__(name=name, tunable=tunable)
        if budget and budget.latency:
            raise InputError("budget of latency: HyperResNet measures none; use keras_resnet.search.Study")
        self.study = Study(space=space, recipe=recipe, budget=budget or Budget())
        self.shape, self.classes, self.steps_per_epoch, self.include_top = input_shape, classes, steps_per_epoch, include_top

    def spec(self, hp: keras_tuner.HyperParameters) -> tuple[ResNetSpec, Recipe]:
        """The network and the recipe of those hyperparameters."""
        spec, recipe = self.study.draw(hp)
        return replace(spec, input_shape=self.shape, classes=self.classes), recipe

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """The network, compiled for a single step: `fit` compiles it for all of them. Values in `hp` that are beyond the budget are
        drawn again, always with the same result."""
        generator = Random(repr(sorted(hp.values.items())))
        for _ in range(DRAWS):
            if not (refusal := self.refusal(hp)):
                break
            for entry in hp.space:
                hp.values[entry.name] = entry.random_sample(generator.randrange(2**31))
            hp.ensure_active_values()
        else:
            raise keras_tuner.errors.FailedTrialError(f"nothing in the space is within the budget; the last one: {refusal}")
        spec, recipe = self.spec(hp)
        if not self.include_top:
            return build(spec, include_top=False)
        model = build(spec)
        recipe.compile(model, self.steps_per_epoch or 1, from_logits=spec.gives_logits)
        return model

    def refusal(self, hp: keras_tuner.HyperParameters) -> str:
        """Why the network of those values is not to be built, or nothing."""
        try:
            return self.study.budget.excess(costs(self.spec(hp)[0]))
        except InputError as error:
            return str(error)

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *arguments: Any, **options: Any) -> Any:
        """`model.fit` by the recipe, its schedule over all epochs and steps of this call; stopped where the loss is not finite."""
        spec, recipe = self.spec(hp)
        given = signature(model.fit).bind(*arguments, **options).arguments
        recipe, steps = replace(recipe, epochs=given.get("epochs", 1)), self.steps_per_epoch or count_steps(given)
        recipe.compile(model, steps, from_logits=spec.gives_logits, one_hot=are_one_hot(given))
        model.optimizer.iterations.assign(given.get("initial_epoch", 0) * steps)  # where Hyperband goes on with a trial
        callbacks = [*(options.pop("callbacks", None) or []), *recipe.callbacks()]
        return model.fit(*arguments, callbacks=callbacks, **options)


def are_one_hot(arguments: dict[str, Any]) -> bool | None:
    """Whether the labels of `model.fit` with those arguments are (batch, classes); None where only the first batch would tell."""
    images: Any = arguments.get("x")
    labels = arguments.get("y")
    if labels is None and hasattr(images, "element_spec"):
        labels = images.element_spec[1]
    elif labels is None and hasattr(images, "__getitem__"):
        labels = images[0][1]
    shape = getattr(labels, "shape", None)
    return None if shape is None else len(shape) == 2 and shape[-1] != 1


def count_steps(arguments: dict[str, Any]) -> int:
    """Steps of an epoch of `model.fit` with those arguments. InputError where only the end of the first epoch would tell."""
    if arguments.get("steps_per_epoch"):
        return int(arguments["steps_per_epoch"])
    images: Any = arguments.get("x")
    if hasattr(images, "shape"):
        count = math.floor(len(images) * (1 - arguments.get("validation_split", 0.0)))  # as Keras splits them
        return math.ceil(count / (arguments.get("batch_size") or 32))
    try:
        return len(images)
    except TypeError:
        kind = type(images).__name__
        raise InputError(f"the number of steps in a {kind} is not known: give HyperResNet steps_per_epoch=") from None
