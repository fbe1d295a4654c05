"""The weights that a training starts from: those of a run, or of a file of weights. For fine-tuning, other classes, or
quantisation-aware training."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnet.errors import InputError
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.runs.run import Run

if TYPE_CHECKING:
    import keras

    from keras_resnet.weights.arrays import Arrays


@dataclass(frozen=True, eq=False)
class FirstWeights:
    """A trained network: its weights are at hand when they are asked for."""

    name: str
    """As it was given: a folder, a file, or a name such as "tiny-imagenet"."""
    path: Path
    """The file of the weights."""
    run: Run | None
    """The run that they are of, if they are of one."""

    @classmethod
    def of(cls, init: "str | Path | Run | FirstWeights") -> "FirstWeights":
        """Those of a run or its folder, of a file of weights, or of a name. InputError if it is none of these."""
        if isinstance(init, FirstWeights):
            return init
        if isinstance(init, Run):
            return cls(str(init.path), init.model_path, init)
        if Path(init).is_dir():
            return cls.of(Run.open(init))
        from keras_resnet.weights.names import find

        path = find(init).path
        return cls(str(init), path, None) if path.is_file() else cls.of(Run.open(path))

    @cached_property
    def spec(self) -> ResNetSpec:
        """The network."""
        return self.run.spec if self.run else self._read.spec

    @cached_property
    def class_names(self) -> list[str] | None:
        """In the order of the outputs, where they are known."""
        return self.run.class_names if self.run else self._read.class_names

    @cached_property
    def arrays(self) -> "Arrays":
        """The weights by names such as `stem_conv/kernel`."""
        if self.run:
            from keras_resnet.weights.loading import variables

            return {name: weight.numpy() for name, weight in variables(self.run.load())}
        return self._read.arrays

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file of the weights."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @cached_property
    def _read(self) -> Any:
        from keras_resnet.weights.reading import read

        return read(self.path)


def take_weights(model: "keras.Model", first: FirstWeights, class_names: list[str]) -> str:
    """Give every layer of `model` the weights that the layer of its name has there.

    The classifier keeps its own where the classes are others. InputError for any other layer that is missing there or has another
    shape.

    Returns: the name of a classifier that keeps its own, or "".
    """
    head = classifier_of(model).name if class_names != first.class_names else ""
    for layer in model.layers:
        if layer.name == head or not layer.weights:
            continue
        names = [f"{layer.name}/{weight.name}" for weight in layer.weights]
        there = [first.arrays[name] for name in names if name in first.arrays]
        found, here = [array.shape for array in there], [tuple(weight.shape) for weight in layer.weights]
        if found != here:
            difference = f"has shapes {found} there and {here} here" if there else "is missing there"
            raise InputError(f"{first.name!r} does not fit this network: layer {layer.name!r} {difference}")
        layer.set_weights(there)
    return head


def classifier_of(model: "keras.Model") -> "keras.Layer":
    """The last layer with weights."""
    return next(layer for layer in reversed(model.layers) if layer.weights)


def origin(first: FirstWeights | None) -> dict[str, Any]:
    """The digest of the file that the first weights are from, under "init"; None for random weights."""
    return {"init": first.digest if first else None}
