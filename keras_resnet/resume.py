"""What of a training goes into a checkpoint and comes back out of it, and whether a training may go on from one."""

import json
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnet import checkpoints
from keras_resnet.checkpoints import Checkpoint
from keras_resnet.errors import InputError
from keras_resnet.initial import origin
from keras_resnet.quantization import ranges
from keras_resnet.recipe import Recipe
from keras_resnet.report import write_history
from keras_resnet.runs import Run
from keras_resnet.spec import ResNetSpec

if TYPE_CHECKING:
    from keras_resnet.data import Dataset
    from keras_resnet.train import Training


def identity(spec: ResNetSpec, recipe: Recipe, data: "Dataset", seed: int, init: Run | None) -> dict[str, Any]:
    """What must be equal for a training to go on, as JSON gives it back."""
    images = {split: len(examples) for split, examples in data.splits.items()}
    described = {
        "network": asdict(spec),
        "recipe": asdict(recipe),
        "seed": {"seed": seed},
        "first weights": origin(init),
        "images": {**data.origin, **images},
    }
    return json.loads(json.dumps(described))


def complete(run: Run, plan: dict[str, Any]) -> Run:
    """`run`, if it is the one that was planned. InputError otherwise."""
    images = {**run.data, **run.metrics["images"]}
    found = {
        "network": asdict(run.spec),
        "recipe": asdict(run.recipe),
        "seed": {"seed": run.metrics["seed"]},
        "first weights": {"init": run.metrics.get("init")},
        "images": images,
    }
    refuse_other(json.loads(json.dumps(found)), plan, f"the run at {str(run.path)!r}")
    return run


def checkpoint_to_use(
    folder: Path, plan: dict[str, Any], out: Path, *, resume: bool, overwrite: bool, chief: bool = True
) -> Checkpoint | None:
    """Where to go on, or None to begin. InputError if an interrupted training would be lost, or is not the one that is planned."""
    if resume:
        begun = checkpoints.newest(folder)
        if begun:
            refuse_other(begun.facts["plan"], plan, f"the interrupted training of {str(out)!r}")
            if begun.facts["backend"] != (backend := keras.backend.backend()):
                raise InputError(f"the interrupted training of {str(out)!r} ran on {begun.facts['backend']}, not on {backend}")
        return begun
    if overwrite and chief:
        checkpoints.clear(folder)
    if checkpoints.files(folder) and not overwrite:
        raise InputError(
            f"a training of {str(out)!r} was interrupted: go on with it by resume=True (--resume), or forget it by overwrite=True "
            "(--overwrite)"
        )
    return None


def refuse_other(found: dict[str, Any], plan: dict[str, Any], what: str) -> None:
    """InputError that names the first difference between what there is and what is asked for."""
    for part, values in plan.items():
        for name in {**values, **found[part]}:
            if (there := found[part].get(name)) != (asked := values.get(name)) and asked != "auto":
                raise InputError(f"{what} has another {part}: {name}={there!r}, not {asked!r}; it can only go on as it began")


class Checkpoints(keras.callbacks.Callback):
    """Writes all that a training needs to go on, every so many steps and after every epoch; puts it back at the start."""

    def __init__(self, training: "Training", folder: Path, plan: dict[str, Any], every: int) -> None:
        super().__init__()
        self.training, self.folder, self.plan, self.every = training, folder, plan, every
        self.step = 0
        self.steps_per_epoch = training.steps_per_epoch
        self.sums: list[np.ndarray] = []
        """Of the metrics, over the steps of this epoch that were made before."""

    def restore(self, begun: Checkpoint | None) -> None:
        """Put everything back, if there is something, into the compiled model and what watches it."""
        model, watched, weights = self.training.model, self.training.throughput, self.training.weights
        with self.training.distribution.scope():
            model.optimizer.build(model.trainable_variables)
        if begun is None:
            return
        facts, arrays = begun.facts, iter(begun.arrays)
        weights.best = list(islice(arrays, facts["best_arrays"]))
        weights.last = list(islice(arrays, facts["best_arrays"]))
        for variable in self.variables():
            variable.assign(next(arrays))
        self.sums = list(arrays) if begun.step % self.steps_per_epoch else []
        weights.history, weights.epoch, weights.score = facts["history"], facts["best_epoch"], tuple(facts["score"])
        watched.images, watched.seconds = facts["images"], facts["seconds"]
        watched.began -= facts["whole"]
        self.step = begun.step

    def variables(self) -> list[keras.Variable]:
        """Weights, seeds, ranges of integers and the state of the optimiser."""
        model = self.training.model
        every = (*model.weights, *model.variables, *ranges(model), *model.optimizer.variables)
        return list({id(variable): variable for variable in every}.values())

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begin = self.step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # Metrics come into being with the first step; they are sums, to which the earlier ones are added.
        for variable, value in zip(self.model.metrics_variables if self.sums else [], self.sums, strict=True):
            variable.assign(variable + value)
        self.sums = []
        before, self.step = self.step, self.begin + batch + 1  # an execution of several steps ends here only once
        if self.step // self.every > before // self.every and self.step % self.steps_per_epoch:
            self.write()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.write()
        if self.training.distribution.chief:
            write_history(self.training.weights.history, self.folder / checkpoints.HISTORY)

    def write(self) -> None:
        """Write a checkpoint. Of several machines the chief does, but all of them must read the variables."""
        watched, weights = self.training.throughput, self.training.weights
        facts = {
            "plan": self.plan,
            "images": watched.images,
            "seconds": watched.seconds,
            "whole": watched.whole,
            "history": weights.history,
            "best_epoch": weights.epoch,
            "score": weights.score,
            "best_arrays": len(weights.best),
            "backend": keras.backend.backend(),
        }
        state = [*self.variables(), *self.model.metrics_variables]
        arrays = [*weights.best, *weights.last, *map(keras.ops.convert_to_numpy, state)]
        if self.training.distribution.chief:
            checkpoints.write(self.folder, Checkpoint(self.step, arrays, facts))
