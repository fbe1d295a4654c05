"""What can be exported: a network with its class names and the images to check it on. Refuses other networks, with the reason."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnet.data import Dataset, of_run
from keras_resnet.data import load as load_images
from keras_resnet.errors import InputError, unknown
from keras_resnet.export.calibration import calibration_images
from keras_resnet.files.predictions import scores_by_value
from keras_resnet.hooks import is_graph
from keras_resnet.networks.connections import scores_of
from keras_resnet.recipes.quantization_aware import ranges
from keras_resnet.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Source:
    """The network of an export."""

    model: keras.Model
    name: str
    class_names: list[str]
    calibration: np.ndarray  # training images (count, *image_shape), to find the ranges of integers with
    scores: str = ""  # what it gives, "logits" or "probabilities"; empty for what its layers say
    float_files: dict[tuple[Any, ...], Any] = field(default_factory=dict, init=False, repr=False)  # see `tflite.float_file`

    @property
    def are_probabilities(self) -> bool:
        """Whether it gives probabilities, not logits."""
        return (self.scores or scores_of(self.model)) == "probabilities"

    @cached_property
    def weights_digest(self) -> str:
        """SHA-256 of all weights, in their order."""
        digest = hashlib.sha256()
        for weight in self.model.get_weights():
            digest.update(f"{weight.dtype}{weight.shape}".encode())
            digest.update(weight.tobytes())
        return digest.hexdigest()

    @property
    def image_shape(self) -> tuple[int | None, ...]:
        """Of the pixels that the model takes, channels last."""
        return tuple(self.model.input_shape[1:])

    @property
    def preprocessing(self) -> str:
        """The inputs of the model in words."""
        *sides, channels = self.image_shape
        colours = {1: "grey", 3: "RGB"} if len(sides) == 2 else {}
        values = "Raw pixels, 0 to 255" if len(sides) == 2 else "Values as in training"
        kind = colours.get(channels or 0, f"{channels} channels")
        size = " x ".join("any" if side is None else str(side) for side in sides)
        return f"{values}, {kind}, {size}: do not scale them."


def open_source(
    source: Run | str | Path | keras.Model, data: Any, out: str | Path | None, scores: str | None = None
) -> tuple[Source, Dataset, Path]:
    """The network, the images that its files are checked on, and the folder that they go to. InputError, see `export`."""
    if scores not in (None, "logits", "probabilities"):
        raise unknown("kind of scores", scores, ("logits", "probabilities"))
    subject, data, folder = opened(source, data, out)
    model, name = (subject.load(), subject.path.resolve().name) if isinstance(subject, Run) else (subject, subject.name)
    if ranges(model):
        raise InputError(
            f"{model.name!r} is in quantisation-aware training: call keras_resnet.quantization.release(model) before you export it"
        )
    model = as_graph(model, data.image_shape)
    if tuple(model.input_shape[1:]) != data.image_shape and None not in model.input_shape[1:]:
        raise InputError(f"the model takes images of {tuple(model.input_shape[1:])}, but the data are {data.image_shape}")
    if model.output_shape[-1] != len(data.class_names):
        raise InputError(f"the model has {model.output_shape[-1]} classes, but the images have {len(data.class_names)}")
    class_names, calibration = list(data.class_names), calibration_images(data)
    scores = scores or scores_of(model) or measured_scores(model, calibration)
    return Source(model=model, name=name, class_names=class_names, calibration=calibration, scores=scores), data, folder


def opened(source: Run | str | Path | keras.Model, data: Any, out: str | Path | None) -> tuple[Run | keras.Model, Dataset, Path]:
    """The run or the model that is exported, its images, and the folder to write to."""
    if not isinstance(source, keras.Model):
        run = source if isinstance(source, Run) else Run.open(source)
        return run, of_run(run, data), run.export_path if out is None else Path(out)
    if data is None or out is None:
        raise InputError("a Keras model is exported with data=, the images to check on, and out=, the folder to write to")
    return source, load_images(data), Path(out)


def measured_scores(model: keras.Model, images: np.ndarray) -> str:
    """What a model gives whose layers do not say it, by its outputs. InputError where these do not say it either."""
    outputs = model.predict_on_batch(images.astype("float32"))
    if scores := scores_by_value(np.asarray(outputs)):
        return scores
    raise InputError(
        f"the outputs of {model.name!r} are between {outputs.min():.3g} and {outputs.max():.3g}, so they may be logits or "
        "probabilities: pass scores='probabilities' or scores='logits'"
    )


def as_graph(model: keras.Model, image_shape: tuple[int, ...]) -> keras.Model:
    """The functional model of one tensor in and one out that a model is, or, where it is a subclass, that holds it.

    It has the layers and the weights of `model`, and nothing that was put in the place of its `call`. InputError if it does not
    classify such images.
    """
    if is_graph(model):
        inputs, outputs = keras.tree.flatten(model.inputs), keras.tree.flatten(model.outputs)
    elif not model.built or isinstance(model, keras.Sequential):
        raise InputError(f"{model.name!r} is not built: give it an Input, or call it on images once")
    else:
        inputs = [keras.Input(image_shape, name="image")]
        try:
            outputs = keras.tree.flatten(model(inputs[0], training=False))
        except Exception as error:
            why = next((line for line in str(error).splitlines() if line), type(error).__name__)
            raise InputError(f"{model.name!r} cannot be called on an image of {image_shape} as a graph of layers: {why}") from error
    check_classifies(inputs, outputs)
    return keras.Model(inputs[0], outputs[0], name=model.name)


def check_classifies(inputs: list[Any], outputs: list[Any]) -> None:
    """InputError for a model that is not one of one image in and one row of class scores out."""
    if len(inputs) != 1 or len(outputs) != 1 or len(outputs[0].shape) != 2 or outputs[0].shape[-1] is None:
        shapes = [tuple(tensor.shape) for tensor in (*inputs, *outputs)]
        raise InputError(f"a classifier takes one image and gives (batch, classes); this model has {shapes}")
