"""Experiment trackers: TensorBoard, Weights & Biases and MLflow, each through its own callback."""

from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.data import Dataset
from keras_resnet.errors import InputError, unknown
from keras_resnet.recipes.recipe import Recipe

PICTURES = 16  # of training images, as the network sees them


def trackers(names: list[str], *, out: Path, recipe: Recipe, data: Dataset, seed: int = 0) -> list[keras.callbacks.Callback]:
    """Callbacks for `fit`: from "tensorboard", "wandb" and "mlflow", those in `names`. InputError if one is not installed.

    TensorBoard's files go to a folder beside the run, `OUT-tensorboard`, so that they are there while it trains.
    """
    callbacks = []
    for name in names:
        if name not in TRACKERS:
            raise unknown("experiment tracker", name, TRACKERS)
        if find_spec(name) is None:
            raise InputError(f"{name!r} is not installed here: pip install {name}")
        callbacks += TRACKERS[name](out, recipe, data, seed)
    return callbacks


def tensorboard(out: Path, recipe: Recipe, data: Dataset, seed: int) -> list[keras.callbacks.Callback]:
    """All logs of every epoch, learning rate and throughput among them, and the first training images."""
    folder = out.with_name(f"{out.name}-tensorboard")
    images, _ = next(iter(data.training_batches(recipe, seed=seed)))
    pixels = np.clip(np.asarray(images[:PICTURES], "float32") / 255, 0, 1)
    pictures = [Pictures(folder / "train", pixels)] if len(data.image_shape) == 3 else []  # signals and volumes are none
    return [keras.callbacks.TensorBoard(str(folder)), *pictures]


def wandb(out: Path, recipe: Recipe, data: Dataset, seed: int) -> list[keras.callbacks.Callback]:
    """A run of Weights & Biases, named as the run folder; project and mode by its own environment variables."""
    import_module("wandb").init(name=out.name, config={**asdict(recipe), "seed": seed, **data.origin})
    return [import_module("wandb.integration.keras").WandbMetricsLogger()]


def mlflow(out: Path, recipe: Recipe, data: Dataset, seed: int) -> list[keras.callbacks.Callback]:
    """A run of MLflow, named as the run folder; where it goes is said by its own environment variables."""
    flow = import_module("mlflow")
    if flow.active_run() is None:
        flow.start_run(run_name=out.name)
    flow.log_params({**asdict(recipe), "seed": seed, **data.origin})
    return [import_module("mlflow.keras").MlflowCallback()]


TRACKERS = {"tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow}  # each named as the package that it needs


class Pictures(keras.callbacks.Callback):
    """Writes images (number, height, width, channels) of 0 to 1 for TensorBoard, once."""

    def __init__(self, folder: Path, images: np.ndarray) -> None:
        super().__init__()
        self.folder, self.images = folder, images

    def on_train_begin(self, logs: Any = None) -> None:
        if len(self.images):
            with tf.summary.create_file_writer(str(self.folder)).as_default():
                tf.summary.image("training images", self.images, step=0, max_outputs=len(self.images))
        self.images = self.images[:0]
