"""`fit`: carry out a recipe on a network and an image set, and leave a run folder.

The images come as an argument and the model is plain Keras, so this also runs on Keras's JAX and PyTorch backends.
"""

import csv
import math
import os
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnet import recipes
from keras_resnet.errors import Diverged, InputError
from keras_resnet.fields import to_json
from keras_resnet.recipes import Recipe
from keras_resnet.report import plot_history
from keras_resnet.resnet import build
from keras_resnet.runs import Run, check_free, write_json, writing
from keras_resnet.spec import ResNetSpec, name_of, resolve

if TYPE_CHECKING:
    from keras_resnet.data import Dataset

NO_WEIGHT_DECAY = ["gamma", "beta", "bias"]
PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy")


def fit(
    spec: str | ResNetSpec,
    recipe: str | Recipe,
    data: "Dataset",
    out: str | Path,
    *,
    seed: int = 0,
    overwrite: bool = False,
    verbose: int | str = "auto",
) -> Run:
    """Train a fresh network and leave a run folder at `out`.

    Args:
        spec: a name in `SPECS` or a `ResNetSpec`; its input shape and classes are replaced by those of the images.
        recipe: a name in `RECIPES` or a `Recipe`.
        data: images and labels; `keras_resnet.data.load` gives them.
        out: the folder to write, see `runs.CONTENTS`. It appears whole, when all is done.
        seed: of weights, order and augmentation. The same seed gives the same weights bit for bit on one CPU device; with
            TensorFlow on several cores, where TF_NUM_INTEROP_THREADS=1 is set before it starts (the command line sets it).
        overwrite: replace the run at `out`, once this one is done.
        verbose: of `model.fit`.

    Returns: the `Run`. Its `model.keras` has the weights of the epoch with the best validation accuracy.
    InputError if `out` exists. `Diverged` if the loss becomes NaN; the last good weights are then in a run folder `out`-diverged.
    """
    if not hasattr(data, "training_batches"):
        raise InputError(f"expected images from keras_resnet.data.load, received {type(data).__name__}")
    spec = resolve(spec, input_shape=data.image_shape, classes=len(data.class_names))
    recipe = recipes.resolve(recipe)
    out = check_free(out, overwrite)
    keras.utils.set_random_seed(seed)
    model = build(spec)
    compile_model(model, recipe, spec, len(data.splits["train"]))
    weights, throughput = BestAndLast(), Throughput(recipe.batch_size)
    diverged = None
    try:
        model.fit(
            data.training_batches(recipe.batch_size, seed=seed, crop=recipe.crop, flip=recipe.flip),
            steps_per_epoch=steps_per_epoch(recipe, len(data.splits["train"])),
            epochs=recipe.epochs,
            validation_data=data.validation,
            callbacks=[StopOnNaN(), throughput, weights],
            shuffle=False,  # the stream is in its own order
            verbose=verbose,
        )
    except Diverged as error:
        if not weights.epoch:
            raise Diverged(f"{error}; nothing was learned before that: try a lower learning_rate") from None
        diverged, out = error, check_free(out.with_name(f"{out.name}-diverged"), overwrite=True)
    facts = {
        "network": name_of(spec),
        "parameters": model.count_params(),
        "images": {split: len(examples) for split, examples in data.splits.items()},
        "seed": seed,
        "epochs": len(weights.history),
        "best_epoch": weights.epoch,
        **throughput.facts(),
    }
    training = Training(spec, recipe, data, weights, facts | ({"diverged": str(diverged)} if diverged else {}))
    run = save(training, model, out)
    if diverged:
        raise Diverged(f"{diverged}; the weights up to then are kept in {str(run.path)!r}")
    return run


def steps_per_epoch(recipe: Recipe, examples: int) -> int:
    """Steps after which every training image has been seen once."""
    return math.ceil(examples / recipe.batch_size)


def compile_model(model: keras.Model, recipe: Recipe, spec: ResNetSpec, examples: int) -> None:
    """Compile `model` for `recipe` on so many training examples, with cross-entropy on integer labels and accuracy."""
    if spec.classifier_activation == "sigmoid":
        raise InputError(
            "classifier_activation='sigmoid' is for several labels an image; train on one label with 'softmax' or none"
        )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=spec.classifier_activation is None)
    model.compile(optimizer(recipe, recipe.epochs * steps_per_epoch(recipe, examples)), loss, metrics=["accuracy"])


def optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """The optimiser of a recipe for a training of `steps` steps."""
    rate = learning_rate(recipe, steps)
    if recipe.optimizer == "adamw":
        result = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
    else:
        # Keras decays weights apart from the gradient. The papers' L2 penalty passes through the momentum, which
        # multiplies it by 1 / (1 - momentum) in the long run.
        decay = recipe.weight_decay / (1 - recipe.momentum)
        result = keras.optimizers.SGD(rate, recipe.momentum, nesterov=recipe.momentum > 0, weight_decay=decay)
    result.exclude_from_weight_decay(var_names=NO_WEIGHT_DECAY)
    return result


def learning_rate(recipe: Recipe, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The schedule of a recipe for a training of `steps` steps."""
    peak, warmup = recipe.learning_rate, round(recipe.warmup * steps)
    if recipe.schedule == "cosine":
        start, target = (peak / 100, peak) if warmup else (peak, None)
        return keras.optimizers.schedules.CosineDecay(start, max(1, steps - warmup), warmup_target=target, warmup_steps=warmup)
    milestones = recipe.milestones if recipe.schedule == "step" else ()
    boundaries = [warmup, *(round(share * steps) for share in milestones)]
    values = [peak / 10, *(peak / 10**drops for drops in range(len(boundaries)))]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)


class StopOnNaN(keras.callbacks.Callback):
    """Raises `Diverged` at the step whose loss is not finite, or after the epoch whose validation loss is not."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not math.isfinite(logs["loss"]):
            raise Diverged(f"the loss became {float(logs['loss'])} at step {batch + 1} of epoch {self.epoch}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not math.isfinite(logs["val_loss"]):
            raise Diverged(f"the validation loss became {float(logs['val_loss'])} after epoch {self.epoch}")


class BestAndLast(keras.callbacks.Callback):
    """Keeps the weights of the last epoch and of the one with the best validation accuracy (of two equal ones, the lower loss)."""

    def __init__(self) -> None:
        super().__init__()
        self.best: list[np.ndarray] = []
        self.last: list[np.ndarray] = []
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        self._score = (-math.inf, -math.inf)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.history.append({"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}})
        self.last = self.model.get_weights()
        score = (logs["val_accuracy"], -logs["val_loss"])
        if score > self._score:
            self.best, self.epoch, self._score = self.last, epoch + 1, score


class Throughput(keras.callbacks.Callback):
    """Adds the learning rate and the training images per second to the logs, without validation and each epoch's first step."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.images, self.seconds = 0, 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.first_step = -1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.latest, self.step = time.perf_counter(), batch
        if self.first_step < 0:
            self.first, self.first_step = self.latest, batch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        images, seconds = (self.step - self.first_step) * self.batch_size, self.latest - self.first
        self.images, self.seconds = self.images + images, self.seconds + seconds
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        logs["images_per_second"] = round(images / seconds) if seconds else 0

    def facts(self) -> dict[str, float]:
        """Of the whole training: seconds, and images per second."""
        whole = time.perf_counter() - self.began
        return {"train_seconds": round(whole, 1), "images_per_second": round(self.images / self.seconds) if self.seconds else 0}


@dataclass(frozen=True)
class Training:
    """What a finished training leaves to be saved."""

    spec: ResNetSpec
    recipe: Recipe
    data: "Dataset"
    weights: BestAndLast
    facts: dict[str, Any]


def save(training: Training, model: keras.Model, out: Path) -> Run:
    """Write the run folder of `training`, whole or not at all. `model` is evaluated with the best weights."""
    with writing(out) as folder:
        model.set_weights(training.weights.best)
        scores = {
            split: model.evaluate(training.data.batches(split), verbose=0, return_dict=True) for split in ("validation", "test")
        }
        plain = build(training.spec)  # never compiled, so its files hold no optimiser and open anywhere
        plain.set_weights(training.weights.last)
        plain.save_weights(folder / "last.weights.h5")
        plain.set_weights(training.weights.best)
        plain.save(folder / "model.keras")
        (folder / "spec.json").write_text(to_json(training.spec), encoding="utf-8")
        (folder / "recipe.json").write_text(to_json(training.recipe), encoding="utf-8")
        (folder / "labels.txt").write_text("\n".join(training.data.class_names) + "\n", encoding="utf-8")
        write_json(folder / "data.json", training.data.origin)
        write_json(folder / "metrics.json", training.facts | scores)
        write_json(folder / "environment.json", environment())
        with (folder / "history.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, training.weights.history[0])
            table.writeheader()
            table.writerows(training.weights.history)
        plot_history(training.weights.history, folder / "history.png", best_epoch=training.weights.epoch)
    return Run.open(out)


def environment() -> dict[str, Any]:
    """Versions and hardware of this process."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "backend": keras.backend.backend(),
        "packages": versions,
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "devices": [str(device) for device in keras.distribution.list_devices()],
    }


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
