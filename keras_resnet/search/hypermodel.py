"""`HyperResNet`: residual networks for any KerasTuner script."""

from dataclasses import replace
from random import Random
from typing import Any

import keras
import keras_tuner

from keras_resnet.errors import InputError
from keras_resnet.networks.layers import build
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import SPECS
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.search.budget import DRAWS, Budget, costs
from keras_resnet.search.study import Space, Study


def residual_space(hp: Any, basis: ResNetSpec = SPECS["resnet20"]) -> tuple[ResNetSpec, dict[str, Any]]:
    """Depth and width of every stage, block, shortcut, order of activation, squeeze and stochastic depth; learning rate and decay.

    Args:
        hp: `keras_tuner.HyperParameters`.
        basis: the network whose other fields stay, and whose number of stages.
    """
    spec = replace(
        basis,
        block=hp.Choice("block", ["basic", "bottleneck"]),
        depths=tuple(hp.Int(f"depth{stage}", 1, 6) for stage in range(1, len(basis.depths) + 1)),
        widths=tuple(hp.Choice(f"width{stage}", [width // 2, width, 2 * width]) for stage, width in enumerate(basis.widths, 1)),
        shortcut=hp.Choice("shortcut", ["projection", "avg_projection"]),
        activation_order=hp.Choice("activation_order", ["original", "full_preactivation"]),
        squeeze=hp.Choice("squeeze", [0, 4]) or None,
        stochastic_depth=hp.Float("stochastic_depth", 0.0, 0.2, step=0.1),
    )
    recipe = {
        "learning_rate": hp.Float("learning_rate", 0.02, 0.5, sampling="log"),
        "weight_decay": hp.Float("weight_decay", 5e-5, 2e-3, sampling="log"),
    }
    return spec, recipe


class HyperResNet(keras_tuner.HyperModel):
    """A hypermodel over specs.

    Args:
        space: a function of `keras_tuner.HyperParameters` that returns a `ResNetSpec`, or one and changes to the recipe.
        input_shape: of the images, (*space, channels).
        classes: how many.
        recipe: a name in `RECIPES` or a `Recipe`, by which models are compiled; epochs and batch size are those of `fit`.
        steps_per_epoch: batches in an epoch, over which the schedule is laid.
        budget: a network above it is not built: the trial's values are drawn again at random until they are within it, and the
            trial fails if none are. Latencies take a `Study`; so does a grid, whose values are not random.

    >>> tuner = keras_tuner.RandomSearch(HyperResNet(input_shape=(32, 32, 3), classes=10), "val_accuracy", max_trials=20)
    """

    def __init__(
        self,
        space: Space = residual_space,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        recipe: str | Recipe = "cifar-30",
        steps_per_epoch: int = 1,
        budget: Budget | None = None,
    ) -> None:
        super().__init__(name="HyperResNet")
        if budget and budget.latency:
            raise InputError("budget of latency: HyperResNet measures none; use keras_resnet.search.Study")
        self.study = Study(space=space, recipe=recipe, budget=budget or Budget())
        self.shape, self.classes, self.steps_per_epoch = input_shape, classes, steps_per_epoch

    def spec(self, hp: keras_tuner.HyperParameters) -> tuple[ResNetSpec, Recipe]:
        """The network and the recipe of those hyperparameters."""
        spec, recipe = self.study.draw(hp)
        return replace(spec, input_shape=self.shape, classes=self.classes), recipe

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """The network, compiled. Values in `hp` that are beyond the budget are drawn again, always with the same result."""
        generator = Random(repr(sorted(hp.values.items())))
        for _ in range(DRAWS):
            if not (refusal := self.refusal(hp)):
                break
            for entry in hp.space:
                hp.values[entry.name] = entry.random_sample(generator.randrange(2**31))
            hp.ensure_active_values()
        else:
            raise keras_tuner.errors.FailedTrialError(f"nothing in the space is within the budget; the last: {refusal}")
        spec, recipe = self.spec(hp)
        model = build(spec)
        recipe.compile(model, self.steps_per_epoch, from_logits=spec.gives_logits)
        return model

    def refusal(self, hp: keras_tuner.HyperParameters) -> str:
        """Why the network of those values is not to be built, or nothing."""
        try:
            return self.study.budget.excess(costs(self.spec(hp)[0]))
        except InputError as error:
            return str(error)

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *arguments: Any, **options: Any) -> Any:
        """`model.fit`, stopped where the loss is not finite."""
        callbacks = [*options.pop("callbacks", []), *self.spec(hp)[1].callbacks()]
        return model.fit(*arguments, callbacks=callbacks, **options)
