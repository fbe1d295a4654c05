"""Learning rate schedules: warm-up, then cosine, linear, steps or constant; Keras's own where it has them."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import CosineDecay, LearningRateSchedule, PiecewiseConstantDecay, PolynomialDecay


def learning_rate(
    schedule: str,
    *,
    peak: float,
    steps: int,
    warmup: int = 0,
    start: float = 0.0,
    warmup_shape: str = "linear",
    milestones: Sequence[float] = (),
) -> LearningRateSchedule:
    """The learning rate at each of `steps` steps.

    Args:
        schedule: "cosine", "linear", "step" or "constant", see `Recipe.schedule`.
        peak: the highest rate.
        steps: of the whole training.
        warmup: steps of it before `peak` is reached.
        start: the rate at the first step of the warm-up.
        warmup_shape: "linear", or "constant" for `start` until the warm-up is over.
        milestones: of "step": shares of all steps after which the rate falls to a tenth.
    """
    rest = max(1, steps - warmup)
    if schedule == "cosine" and warmup and warmup_shape == "linear":
        return CosineDecay(start, rest, warmup_target=peak, warmup_steps=warmup)
    drops = [round(share * steps) - warmup for share in milestones] if schedule == "step" else []
    after = {
        "cosine": lambda: CosineDecay(peak, rest),
        "linear": lambda: PolynomialDecay(peak, rest, end_learning_rate=0.0),
        # Keras changes after a boundary, and counts steps from 0.
        "step": lambda: PiecewiseConstantDecay([step - 1 for step in drops], [peak / 10**count for count in range(len(drops) + 1)]),
        "constant": lambda: PolynomialDecay(peak, rest, end_learning_rate=peak),
    }[schedule]()
    return WarmUp(after, warmup, start, peak, warmup_shape) if warmup else after


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
