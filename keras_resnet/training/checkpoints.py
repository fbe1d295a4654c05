"""What a checkpoint holds, so that a training is resumed exactly: weights, optimiser state, seeds, best epoch, history.

`checkpoint_files` writes it to disk.
"""

from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnet.recipes.quantization_aware import ranges
from keras_resnet.runs.history import write_history
from keras_resnet.training import checkpoint_files
from keras_resnet.training.checkpoint_files import Checkpoint
from keras_resnet.training.session import Training


class Checkpoints(keras.callbacks.Callback):
    """Writes a checkpoint every so many steps and after every epoch; restores one at the start."""

    def __init__(self, training: Training, folder: Path, plan: dict[str, Any], every: int) -> None:
        super().__init__()
        self.training, self.folder, self.plan, self.every = training, folder, plan, every
        self.step = 0
        self.steps_per_epoch = training.steps_per_epoch
        self.sums: list[np.ndarray] = []
        """Of the metrics, over the steps of this epoch before the checkpoint."""

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
        if self.step // self.every > before // self.every and self.step % self.steps_per_epoch:
            self.write()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.write()
        if self.training.distribution.chief:
            write_history(self.training.weights.history, self.folder / checkpoint_files.HISTORY)

    def write(self) -> None:
        """Write a checkpoint. Of several machines the chief does, but all of them must read the variables."""
        throughput, weights = self.training.throughput, self.training.weights
        facts = {
            "plan": self.plan,
            "images": throughput.images,
            "seconds": throughput.seconds,
            "whole": throughput.total_seconds,
            "history": weights.history,
            "best_epoch": weights.best_epoch,
            "best_arrays": len(weights.best),
            "backend": keras.backend.backend(),
        }
        state = [*self.variables(), *self.model.metrics_variables]
        arrays = [*weights.best, *weights.last, *map(keras.ops.convert_to_numpy, state)]
        if self.training.distribution.chief:
            checkpoint_files.write(self.folder, Checkpoint(self.step, arrays, facts))
