"""What watches a training: it stops on NaN, keeps weights in memory, and counts images per second."""

import math
import time
from typing import Any

import keras
import numpy as np

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
        if not math.isfinite(logs["loss"]):
            raise Diverged(f"the loss became {float(logs['loss'])} at step {self.done + batch + 1} of epoch {self.epoch}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.done = 0
        if not math.isfinite(logs.get("val_loss", 0)):
            raise Diverged(f"the validation loss became {float(logs['val_loss'])} after epoch {self.epoch}")


class BestAndLast(keras.callbacks.Callback):
    """Keeps the weights of the last epoch and of the one with the best validation accuracy (of two equal ones, the lower loss)."""

    def __init__(self) -> None:
        super().__init__()
        self.best: list[np.ndarray] = []
        self.last: list[np.ndarray] = []
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        self.score = (-math.inf, -math.inf)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.history.append({"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}})
        self.last = self.model.get_weights()
        score = (logs["val_accuracy"], -logs["val_loss"])
        if score > self.score:
            self.best, self.epoch, self.score = self.last, epoch + 1, score


class Throughput(keras.callbacks.Callback):
    """Adds the learning rate and the training images per second to the logs; validation and the compiling step do not count."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.images, self.seconds = 0, 0.0
        self.compiled = False
        self.began = time.perf_counter()

    @property
    def whole(self) -> float:
        """Seconds up to now, validation and compiling included."""
        return time.perf_counter() - self.began

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.first, self.steps = time.perf_counter(), 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.latest = time.perf_counter()
        if not self.compiled:
            self.compiled, self.first = True, self.latest
        else:
            self.steps += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        images, seconds = self.steps * self.batch_size, self.latest - self.first
        self.images, self.seconds = self.images + images, self.seconds + seconds
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        logs["images_per_second"] = round(images / seconds) if seconds else 0

    def facts(self) -> dict[str, float]:
        """Of all finished epochs: seconds with validation, and training images per second."""
        return {
            "train_seconds": round(self.whole, 1),
            "images_per_second": round(self.images / self.seconds) if self.seconds else 0,
        }
