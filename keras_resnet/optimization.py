"""The optimiser, the learning rates and the loss that a recipe asks for, made of Keras's own."""

from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import CosineDecay, LearningRateSchedule, PiecewiseConstantDecay, PolynomialDecay

from keras_resnet.fused import fuse, fuse_momentum
from keras_resnet.quantization import release, simulate_integers
from keras_resnet.recipe import Recipe
from keras_resnet.wiring import normalizations

NO_WEIGHT_DECAY = ["gamma", "beta", "bias"]


def compile_model(model: keras.Model, recipe: Recipe, steps_per_epoch: int, *, from_logits: bool = True) -> None:
    """`Recipe.compile`."""
    if recipe.sync_norm:
        synchronize_normalization(model)
    release(model)
    fuse(model)
    if recipe.quantization_aware:
        simulate_integers(model)
    model.compile(
        optimizer(recipe, recipe.epochs * steps_per_epoch),
        loss(recipe, from_logits),
        metrics=["accuracy"],
        jit_compile={"on": True, "off": False}.get(recipe.jit, "auto") if keras.backend.backend() == "tensorflow" else "auto",
        steps_per_execution=executed_together(recipe.steps_per_execution, steps_per_epoch),
    )


def executed_together(most: int, steps_per_epoch: int) -> int:
    """Steps of one execution. Keras takes whole executions only, so that other numbers would lengthen every epoch."""
    return max(count for count in range(1, most + 1) if steps_per_epoch % count == 0)


def optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """The optimiser of a recipe for a training of `steps` steps."""
    rate = learning_rate(recipe, steps)  # Keras counts every step, also those that only accumulate
    shared = {
        "global_clipnorm": recipe.clip_norm,
        "use_ema": recipe.ema > 0,
        "ema_momentum": recipe.ema ** (1 / recipe.accumulate),
        "gradient_accumulation_steps": recipe.accumulate if recipe.accumulate > 1 else None,
    }
    if recipe.optimizer == "sgd":
        # Keras decays weights apart from the gradient. The papers' L2 penalty passes through the momentum, which
        # multiplies it by 1 / (1 - momentum) in the long run.
        decay = recipe.weight_decay / (1 - recipe.momentum) or None  # 0 would be computed
        result = keras.optimizers.SGD(rate, recipe.momentum, nesterov=recipe.momentum > 0, weight_decay=decay, **shared)
        fuse_momentum(result)
    else:
        make = {"adamw": keras.optimizers.AdamW, "lamb": keras.optimizers.Lamb}[recipe.optimizer]
        result = make(rate, weight_decay=recipe.weight_decay, **shared)
    if recipe.weight_decay:
        result.exclude_from_weight_decay(var_names=NO_WEIGHT_DECAY)
    return result


def learning_rate(recipe: Recipe, steps: int) -> LearningRateSchedule:
    """The schedule of a recipe for a training of `steps` steps."""
    peak, warmup = recipe.peak_learning_rate, round(recipe.warmup * steps)
    rest, start = max(1, steps - warmup), peak * recipe.warmup_start
    if recipe.schedule == "cosine" and warmup and recipe.warmup_shape == "linear":
        return CosineDecay(start, rest, warmup_target=peak, warmup_steps=warmup)
    drops = [round(share * steps) - warmup for share in recipe.milestones] if recipe.schedule == "step" else []
    after = {
        "cosine": lambda: CosineDecay(peak, rest),
        "linear": lambda: PolynomialDecay(peak, rest, end_learning_rate=0.0),
        # Keras changes after a boundary, and counts steps from 0.
        "step": lambda: PiecewiseConstantDecay([step - 1 for step in drops], [peak / 10**count for count in range(len(drops) + 1)]),
        "constant": lambda: PolynomialDecay(peak, rest, end_learning_rate=peak),
    }[recipe.schedule]()
    return WarmUp(after, warmup, start, peak, recipe.warmup_shape) if warmup else after


def loss(recipe: Recipe, from_logits: bool) -> keras.losses.Loss:
    """The loss of a recipe, for labels that are one-hot where `Recipe.one_hot` says so."""
    if recipe.loss == "binary":
        return PresenceCrossentropy(recipe.label_smoothing, from_logits=from_logits)
    if recipe.one_hot:
        return keras.losses.CategoricalCrossentropy(from_logits=from_logits, label_smoothing=recipe.label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


def synchronize_normalization(model: keras.Model) -> None:
    """Let every BatchNormalization of `model` normalise over the images of all devices. On JAX they do so anyway."""
    if keras.backend.backend() == "tensorflow":
        for layer in normalizations(model):
            layer.synchronized = True


@keras.saving.register_keras_serializable("keras_resnet")
class WarmUp(LearningRateSchedule):
    """A schedule with a rise before it: `steps` steps from `start` to `peak`, or at `start` where `shape` is "constant"."""

    def __init__(self, after: LearningRateSchedule, steps: int, start: float, peak: float, shape: str = "linear") -> None:
        super().__init__()
        self.after, self.steps, self.start, self.peak, self.shape = after, steps, start, peak, shape

    def __call__(self, step: Any) -> Any:
        """The learning rate of that step, counted from 0."""
        step = ops.cast(step, "float32")
        slope = (self.peak - self.start) / self.steps if self.shape == "linear" else 0.0
        return ops.where(step < self.steps, self.start + slope * step, self.after(ops.maximum(step - self.steps, 0.0)))

    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes."""
        after = keras.saving.serialize_keras_object(self.after)
        return {"after": after, "steps": self.steps, "start": self.start, "peak": self.peak, "shape": self.shape}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """The schedule that `get_config` described."""
        return cls(keras.saving.deserialize_keras_object(config.pop("after")), **config)


@keras.saving.register_keras_serializable("keras_resnet")
class PresenceCrossentropy(keras.losses.Loss):
    """Binary cross-entropy of each class by itself, where every class with a share of the image is present (arXiv:2110.00476)."""

    def __init__(self, label_smoothing: float = 0.0, from_logits: bool = True, name: str = "presence", **settings: Any) -> None:
        super().__init__(name=name, **settings)
        self.label_smoothing, self.from_logits = label_smoothing, from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Labels and outputs (batch, classes) to losses (batch,)."""
        present = ops.cast(y_true > 0, y_pred.dtype)
        target = present * (1 - self.label_smoothing) + self.label_smoothing / y_pred.shape[-1]
        return ops.mean(ops.binary_crossentropy(target, y_pred, from_logits=self.from_logits), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing, "from_logits": self.from_logits}
