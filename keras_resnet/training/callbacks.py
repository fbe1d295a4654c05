"""Callbacks of a training: the best and the last weights, early stopping, a rising loss, images per second, progress."""

import logging
import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import keras
import numpy as np

from keras_resnet.confidence import standard_error
from keras_resnet.data import Dataset
from keras_resnet.hooks import moving_averages, replace
from keras_resnet.recipes.batch_statistics import recompute_statistics
from keras_resnet.recipes.quantization_aware import ranges
from keras_resnet.recipes.stop_on_nan import check_finite
from keras_resnet.training.distribute import Distribution

LOG = logging.getLogger("keras_resnet")
RISE = 2.0  # times the loss of a network that knows nothing, above which the validation loss has risen
ESTIMATE_AFTER = 5  # steps after the first one, which compiles, that the first estimate of the time is from
LINE_SECONDS, LINE_SHARE = 30.0, 0.1  # in a log, a line within an epoch after so long and so much of the epoch
STATISTICS_IMAGES = 2048  # of the training images, that the statistics of averaged weights are computed from


class BestAndLast(keras.callbacks.Callback):
    """Validates after each epoch, and holds the weights of the last and of the best one.

    The validated model is `plain`: the network as it will be saved, in float32 on one device, with the trained weights or their
    moving average; in quantisation-aware training it simulates int8 too. The best epoch is the latest whose validation accuracy is
    within one standard error of the highest (the one-standard-error rule of Breiman et al., Classification and Regression Trees,
    1984).
    """

    def __init__(self, training: keras.Model, plain: keras.Model, data: Dataset, distribution: Distribution) -> None:
        super().__init__()
        self.plain, self.data, self.distribution = plain, data, distribution
        self.images = len(data.splits["validation"])
        # Keras overwrites the weights by their average at the end of every `fit`, which may be one of several: not here.
        replace(training.optimizer, "finalize_variable_values", lambda variables: None)
        self.best: list[np.ndarray] = []
        self.last: list[np.ndarray] = []
        self.best_epoch = 0
        self.history: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        with self.distribution.alone():
            self.plain.set_weights(self.model.get_weights())
            for mine, learned in zip(ranges(self.plain), ranges(self.model), strict=True):
                mine.assign(learned)
            if averages := moving_averages(self.model.optimizer):
                for variable, average in zip(self.plain.trainable_variables, averages, strict=True):
                    variable.assign(np.array(keras.ops.convert_to_numpy(average)))  # a copy: JAX gives buffers away
                recompute_statistics(self.plain, self.data.sample_batches(STATISTICS_IMAGES))
            results = self.plain.evaluate(self.data.validation, verbose=0, return_dict=True)
        logs.update({f"val_{name}": value for name, value in results.items()})
        check_finite(logs["val_loss"], f"after epoch {epoch + 1}", "validation loss")
        self.history.append({"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}})
        self.last = self.plain.get_weights()
        highest = max(row["val_accuracy"] for row in self.history)
        if logs["val_accuracy"] >= highest - standard_error(highest, self.images):
            self.best, self.best_epoch = self.last, epoch + 1


class Patience(keras.callbacks.Callback):
    """Ends a training after so many epochs without a better validation accuracy, as the history of `weights` has it."""

    def __init__(self, weights: BestAndLast, epochs: int) -> None:
        super().__init__()
        self.weights, self.epochs = weights, epochs

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        accuracies = [row["val_accuracy"] for row in self.weights.history]
        if epoch - accuracies.index(max(accuracies)) >= self.epochs:
            self.model.stop_training = True


class RisingLoss(keras.callbacks.Callback):
    """Warns once, while it can still be stopped, of a validation loss far above that of random guessing."""

    def __init__(self, classes: int, learning_rate: float) -> None:
        super().__init__()
        self.start, self.learning_rate = math.log(classes), learning_rate
        self.is_told = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.is_told or logs["val_loss"] <= RISE * self.start:
            return
        self.is_told = True
        LOG.warning(
            f"the validation loss rose to {logs['val_loss']:.2f} in epoch {epoch + 1}, random guessing gives {self.start:.2f}: if "
            "it does not fall soon, stop the training (Ctrl-C) and start again with a lower learning rate, such as "
            f"--set learning_rate={self.learning_rate / 4:.2g}, or with smaller batches (--batch-size)"
        )


class Throughput(keras.callbacks.Callback):
    """Adds the learning rate and the training images per second to the logs; validation and the compiling step do not count."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.images, self.seconds = 0, 0.0
        self.compiled = False
        self.start = time.perf_counter()

    @property
    def total_seconds(self) -> float:
        """Seconds up to now, validation and compiling included."""
        return time.perf_counter() - self.start

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.first = self.latest = time.perf_counter()
        self.batch = self.steps = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.latest = time.perf_counter()
        if not self.compiled:
            self.compiled, self.first = True, self.latest
        else:
            self.steps += batch + 1 - self.batch
        self.batch = batch + 1
        logs["images_per_second"] = self.rate()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        logs["images_per_second"] = self.rate()
        self.images, self.seconds = self.images + self.steps * self.batch_size, self.seconds + self.latest - self.first

    def rate(self) -> int:
        """Images per second of this epoch so far."""
        return round(self.steps * self.batch_size / (self.latest - self.first)) if self.steps else 0

    def facts(self) -> dict[str, float]:
        """Of all finished epochs: seconds with validation, and training images per second."""
        return {
            "train_seconds": round(self.total_seconds, 1),
            "images_per_second": round(self.images / self.seconds) if self.seconds else 0,
        }


class Progress(keras.callbacks.Callback):
    """Prints a line an epoch: loss, accuracy, images per second, the time left, and what validation gives.

    Inside `with progress.bar:`, and in a terminal (`live`), a line below it shows the current epoch. Elsewhere a line after the
    first steps estimates the time, and long epochs have lines within them. `step` says how many of all `steps` of `epochs` epochs
    are done, those before an interruption too.
    """

    def __init__(self, step: Callable[[], int], steps: int, epochs: int, *, live: bool) -> None:
        from rich import progress
        from rich.console import Console
        from rich.table import Column

        super().__init__()
        self.step, self.steps, self.epochs, self.live = step, steps, epochs, live
        self.first: tuple[int, float] | None = None
        self.line: tuple[int, float] | None = None  # the step and the moment of the last one within an epoch
        text = progress.TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="crop"))
        columns = text, progress.BarColumn(None)
        self.bar = progress.Progress(*columns, console=Console(), transient=True, expand=True, disable=not live)
        self.bar.add_task("starting", total=1)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        step, now = self.step(), time.perf_counter()
        self.first = self.first or (step, now)  # the first step compiles
        share = step * self.epochs / self.steps - self.epoch
        text = f"epoch {self.epoch + 1}/{self.epochs} {share:4.0%}  {loss(logs)}  {self.speed(logs)}"
        if self.live:
            self.bar.update(self.bar.task_ids[0], completed=share, description=text)
        elif self.is_due(step, now):
            self.line = step, now
            print(text, flush=True)

    def is_due(self, step: int, now: float) -> bool:
        """Whether a log gets a line at this step: the first gives an estimate, others are rare and not at the end of an epoch."""
        each = self.steps / self.epochs
        if not step % each:
            return False
        if self.line is None:
            return self.first is not None and step >= self.first[0] + ESTIMATE_AFTER
        before, moment = self.line
        return now - moment >= LINE_SECONDS and LINE_SHARE * each <= step - before

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        parts = [f"epoch {epoch + 1}/{self.epochs}", loss(logs)]
        parts += [] if self.live else [self.speed(logs)]  # the live line has it
        parts += [f"validation {logs['val_loss']:.4f}, {logs['val_accuracy']:.4f}"] if "val_loss" in logs else []
        print("  ".join(parts), flush=True)
        self.line = self.line and (self.step(), time.perf_counter())

    def speed(self, logs: Any) -> str:
        """Images per second, and the time left once there is an estimate."""
        seconds = self.seconds_left()
        left = "" if seconds is None else f"  {timedelta(seconds=math.ceil(seconds))} left"
        return f"{logs['images_per_second']:,} images/s{left}"

    def seconds_left(self) -> float | None:
        """From the steps since the first one of this process; None before there is a second one."""
        now = self.step()
        step, moment = self.first or (now, 0.0)
        return (time.perf_counter() - moment) / (now - step) * (self.steps - now) if now > step else None


def loss(logs: Any) -> str:
    """The loss and the accuracy of training so far."""
    return f"loss {logs['loss']:.4f}, accuracy {logs['accuracy']:.4f}"
