"""What a checkpoint holds, so that a training is resumed exactly: weights, optimiser state, seeds, best epoch, history.

`checkpoint_files` writes it to disk, in a thread, while the training goes on.
"""

import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import keras
import numpy as np

from keras_resnet.recipes.quantization_aware import ranges
from keras_resnet.runs.history import write_history
from keras_resnet.training import checkpoint_files
from keras_resnet.training.checkpoint_files import Checkpoint
from keras_resnet.training.session import Training

SHARE = 0.05  # of the time, that checkpoints may take
SHORTEST = 10.0  # seconds between two of them
FLOAT = 4  # bytes
BYTES_PER_SECOND = 1e8  # that are written, until it was measured
STEPS = 1000  # between two checkpoints on several machines, where clocks could disagree


class Checkpoints(keras.callbacks.Callback):
    """Writes checkpoints; restores one at the start. To be used in a `with`, which waits for the last one to be written.

    There is one after every `every` steps and after every epoch; or, where that is None, whenever all of them together take at most
    `SHARE` of the time. A copy of everything is made at once; a thread writes it.
    """

    def __init__(self, training: Training, folder: Path, plan: dict[str, Any], every: int | None) -> None:
        super().__init__()
        self.training, self.folder, self.plan = training, folder, plan
        self.every = STEPS if every is None and training.distribution.workers > 1 else every
        self.writer = ThreadPoolExecutor(1)
        self.writing: Future[float] | None = None
        self.seconds: float | None = None  # that the last one took
        self.latest = time.perf_counter()
        self.step = 0
        self.steps_per_epoch = training.steps_per_epoch
        self.sums: list[np.ndarray] = []
        """Of the metrics, over the steps of this epoch before the checkpoint."""

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.writer.shutdown(wait=True)
        if error is None:
            self.finish()

    def restore(self, checkpoint: Checkpoint | None) -> None:
        """Put everything back into the compiled model and its callbacks, if there is a checkpoint."""
        model, throughput, weights = self.training.model, self.training.throughput, self.training.weights
        with self.training.distribution.scope():
            model.optimizer.build(model.trainable_variables)
        if checkpoint is None:
            return
        facts, arrays = checkpoint.facts, iter(checkpoint.arrays)
        weights.best = list(islice(arrays, facts["best_arrays"]))
        weights.last = list(islice(arrays, facts["best_arrays"]))
        for variable in self.variables():
            variable.assign(next(arrays))
        self.sums = list(arrays) if checkpoint.step % self.steps_per_epoch else []
        weights.history, weights.best_epoch = facts["history"], facts["best_epoch"]
        throughput.images, throughput.seconds = facts["images"], facts["seconds"]
        throughput.start -= facts["whole"]
        self.step = checkpoint.step

    def variables(self) -> list[keras.Variable]:
        """Weights, seeds, ranges of integers and the state of the optimiser."""
        model = self.training.model
        every = (*model.weights, *model.variables, *ranges(model), *model.optimizer.variables)
        return list({id(variable): variable for variable in every}.values())

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begin = self.step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # Metrics exist after the first step; they are sums, to which the earlier ones are added.
        for variable, value in zip(self.model.metrics_variables if self.sums else [], self.sums, strict=True):
            variable.assign(variable + value)
        self.sums = []
        before, self.step = self.step, self.begin + batch + 1  # an execution of several steps ends here only once
        if self.step % self.steps_per_epoch and self.is_due(before):
            self.write()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.every is not None or self.is_due(self.step):
            self.write()
        if self.training.distribution.chief:
            write_history(self.training.weights.history, self.folder / checkpoint_files.HISTORY)

    def is_due(self, before: int) -> bool:
        """Whether a checkpoint is to be written within an epoch; `before` is the number of steps when this was last asked."""
        if self.every is not None:
            return self.step // self.every > before // self.every
        if self.writing and not self.writing.done():
            return False
        self.finish()
        if self.seconds is None:
            self.seconds = sum(FLOAT * math.prod(variable.shape) for variable in self.variables()) / BYTES_PER_SECOND
        return time.perf_counter() - self.latest >= max(SHORTEST, self.seconds / SHARE)

    def finish(self) -> None:
        """Wait until the last checkpoint is written. OSError if it could not be."""
        if self.writing:
            writing, self.writing = self.writing, None
            self.seconds = writing.result()

    def write(self) -> None:
        """Write a checkpoint. Of several machines the chief does, but all of them must read the variables."""
        self.finish()
        self.latest = time.perf_counter()
        throughput, weights = self.training.throughput, self.training.weights
        facts = {
            "plan": self.plan,
            "images": throughput.images,
            "seconds": throughput.seconds,
            "whole": throughput.total_seconds,
            "history": list(weights.history),
            "best_epoch": weights.best_epoch,
            "best_arrays": len(weights.best),
            "backend": keras.backend.backend(),
        }
        state = [*self.variables(), *self.model.metrics_variables]
        copies = (np.array(keras.ops.convert_to_numpy(variable)) for variable in state)  # the training changes or gives them away
        checkpoint = Checkpoint(self.step, [*weights.best, *weights.last, *copies], facts)
        if self.training.distribution.chief:
            self.writing = self.writer.submit(written, self.folder, checkpoint, self.latest)


def written(folder: Path, checkpoint: Checkpoint, start: float) -> float:
    """Write a checkpoint; seconds since `start`."""
    checkpoint_files.write(folder, checkpoint)
    return time.perf_counter() - start
