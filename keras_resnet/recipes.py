"""How a network is trained, as data: `Recipe`, and the table of the named ones with source, cost and expected accuracy.

Nothing here trains anything: `train.fit` carries a recipe out. Lengths of a schedule are shares of the whole training,
so that a recipe keeps its shape when `epochs` changes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from keras_resnet.errors import InputError
from keras_resnet.fields import change, coerce_all, documented, look_up

if TYPE_CHECKING:
    import keras


@documented
@dataclass(frozen=True)
class Recipe:
    """One way to train. A wrong value raises `InputError` (a ValueError) that says what was received and what is allowed."""

    epochs: int = 30
    """Passes over the training images."""
    batch_size: int = 128
    """Images in a step."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with Nesterov momentum, or AdamW (arXiv:1711.05101)."""
    learning_rate: float = 0.1
    """The highest learning rate of the schedule."""
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 5e-4
    """Of convolution and classifier kernels only. For SGD in the papers' terms, an L2 penalty; for AdamW decoupled."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """After the warm-up: half a cosine down to zero, a tenth at each milestone, or no change."""
    warmup: float = 0.2
    """Share of all steps before that: a linear rise from near zero to a cosine ("one-cycle"), else a tenth of learning_rate."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """Shares of all steps after which a step schedule divides the learning rate by ten."""
    crop: int = 4
    """Shift each training image at random by up to so many pixels both ways, edges mirrored; 0 for none."""
    flip: bool = True
    """Mirror half of the training images left to right."""
    clip_norm: float | None = None
    """Scale the gradient of all weights together down to this norm where it is above. None for no limit."""
    fused_norm: bool = False
    """Train batch normalisation with TensorFlow's fused kernel: the same but for rounding, in less time."""
    remat: bool = False
    """Recompute the inside of every unit for the backward pass: less memory, more time."""

    def __post_init__(self) -> None:
        coerce_all(self)
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}: must be at least 1")
        for name in ("learning_rate", "weight_decay", "crop"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}={getattr(self, name)}: must not be negative")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise InputError(f"clip_norm={self.clip_norm}: must be above 0")
        for name in ("momentum", "warmup"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}: must be at least 0 and below 1")
        if any(not 0 < share < 1 for share in self.milestones) or list(self.milestones) != sorted(set(self.milestones)):
            raise InputError(f"milestones={self.milestones}: must be shares between 0 and 1 in rising order")
        if self.schedule == "step" and self.milestones and self.milestones[0] <= self.warmup:
            raise InputError(f"milestones={self.milestones} must come after warmup={self.warmup}")

    def compile(self, model: "keras.Model", steps_per_epoch: int, *, from_logits: bool = True) -> None:
        """Compile any Keras classifier of integer labels for this recipe.

        Args:
            model: puts out (batch, classes).
            steps_per_epoch: batches in an epoch: the schedule is laid over `epochs` times as many steps.
            from_logits: whether it puts out logits, or probabilities.

        >>> recipe.compile(model, steps_per_epoch=len(data))
        >>> model.fit(data, epochs=recipe.epochs, callbacks=recipe.callbacks())
        """
        import keras

        from keras_resnet.optimization import optimizer

        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
        model.compile(optimizer(self, self.epochs * steps_per_epoch), loss, metrics=["accuracy"])

    def callbacks(self) -> list["keras.callbacks.Callback"]:
        """What `fit` should have beside it: `Diverged` is raised at the step whose loss is not finite."""
        from keras_resnet.callbacks import StopOnNaN

        return [StopOnNaN()]


class Protocol(NamedTuple):
    """One row of the table: a recipe, where it comes from, and what it costs and reaches, with the command that measured it."""

    recipe: Recipe
    source: str
    evidence: str


PROTOCOLS = {
    "digits": Protocol(
        Recipe(epochs=30, batch_size=32, learning_rate=0.05, crop=1, flip=False),
        "one-cycle, arXiv:1708.07120",
        "resnet8: 98.7 +- 0.3 % on the 359 test digits, 10 seeds, 8 s each on two cores",
    ),
    "cifar-30": Protocol(
        Recipe(epochs=30, batch_size=128, learning_rate=0.2),
        "one-cycle, arXiv:1708.07120; crop and flip of arXiv:1512.03385 section 4.2",
        "resnet20: 87.1 % on CIFAR-10 (JPEG copy), 1 seed, 45,000 training images, 31 minutes on two cores",
    ),
}
RECIPES = {name: protocol.recipe for name, protocol in PROTOCOLS.items()}


def resolve(recipe: str | Recipe, **fields: Any) -> Recipe:
    """The recipe of that name, or the recipe itself, with `fields` changed.

    >>> resolve("cifar-30", epochs=5).epochs
    5
    """
    return change(look_up(recipe, RECIPES, "recipe"), fields)


def default_for(source: str) -> str:
    """The name of the recipe for an image set when none is asked for."""
    return source if source in RECIPES else "cifar-30"
