"""Stops a training at the step where its loss becomes NaN or infinite."""

import math
from typing import Any

import keras

from keras_resnet.errors import Diverged


class StopOnNaN(keras.callbacks.Callback):
    """Raises `Diverged` at the step whose loss is not finite, or after the epoch whose validation loss is not.

    `done` steps of the first epoch were trained before.
    """

    def __init__(self, done: int = 0) -> None:
        super().__init__()
        self.done = done

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        step, together = self.done + batch + 1, getattr(self.model, "steps_per_execution", 1)
        which = f"step {step}" if together == 1 else f"one of the steps {step - together + 1} to {step}"
        check_finite(logs["loss"], f"at {which} of epoch {self.epoch}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.done = 0
        check_finite(logs.get("val_loss", 0), f"after epoch {self.epoch}", "validation loss")


def check_finite(loss: Any, when: str, what: str = "loss") -> None:
    """Raise `Diverged` if it is not a finite number."""
    if not math.isfinite(loss):
        raise Diverged(f"the {what} became {float(loss)} {when}")
