"""The weights that a training starts from: those of a run, or of a file of weights. For fine-tuning, other classes, or
quantisation-aware training."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnet.errors import InputError
from keras_resnet.fields import names
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.runs.run import Run
from keras_resnet.shipped import by_name

if TYPE_CHECKING:
    import keras

    from keras_resnet.weights.arrays import Arrays

SHOWN_BY_SHAPES = ("depths", "widths", "stem_width", "block", "stem", "groups", "group_width", "squeeze", "norm")
"""Fields of a network that a difference in is told by layer and shape."""


@dataclass(frozen=True, eq=False)
class FirstWeights:
    """A trained network: its weights are at hand when they are asked for."""

    name: str
    """As it was given: a folder, a file, or a name such as "tiny-imagenet"."""
    path: Path
    """The file of the weights."""
    run: Run | None
    """The run that they are of, if they are of one."""

    network: str | ResNetSpec | None = None
    """The network of the file, where that alone does not say it."""
    decides: bool = False
    """Whether the network is that of the file, though another was named: keras.applications' ResNet50 is `resnet50v1` here."""

    @classmethod
    def of(cls, init: "str | Path | Run | FirstWeights", network: str | ResNetSpec | None = None) -> "FirstWeights":
        """Those of a run or its folder, of a file of weights, or of a name, see `weights.read`. InputError if it is none of these.

        `network` is the one to train, which "imagenet" needs.
        """
        if isinstance(init, FirstWeights):
            return init
        if isinstance(init, Run):
            return cls(str(init.path), init.model_path, init)
        from keras_resnet.weights.names import KINDS, find
        from keras_resnet.weights.own import file_of_a_run

        if (folder := by_name(init)).is_dir():
            weights = file_of_a_run(folder)
            return cls(str(init), weights, None) if weights.suffix == ".safetensors" else cls.of(Run.at(folder))
        found = find(init, network)
        if not found.path.is_file():
            if found.path.suffix in KINDS:
                raise InputError(f"no file of weights at {str(init)!r}")
            return cls.of(Run.open(found.path))
        return cls(str(init), found.path, None, found.spec, decides=network is not None and found.spec is None)

    @cached_property
    def spec(self) -> ResNetSpec:
        """The network."""
        return self.run.spec if self.run else self._read.spec

    def to_train(self, network: str | ResNetSpec | None) -> str | ResNetSpec:
        """The network to train where `network` was asked for."""
        return self.spec if network is None or self.decides else network

    @cached_property
    def class_names(self) -> list[str] | None:
        """In the order of the outputs, where they are known."""
        return self.run.class_names if self.run else self._read.class_names

    @cached_property
    def arrays(self) -> "Arrays":
        """The weights by names such as `stem_conv/kernel`."""
        if self.run:
            from keras_resnet.weights.own import variables

            return {name: weight.numpy() for name, weight in variables(self.run.load())}
        return self._read.arrays

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file of the weights."""
        from keras_resnet.weights.download import digest

        return digest(self.path, "sha256")

    @cached_property
    def _read(self) -> Any:
        from keras_resnet.weights.reading import read

        return read(self.path, spec=self.network)

    def checked(self, spec: ResNetSpec) -> ResNetSpec:
        """The network to train, with what a file of another library decides: `normalize` and `norm_epsilon`. InputError where the
        weights are of a network that computes something else with arrays of the same shapes."""
        from keras_resnet.weights.reading import FREE, OF_THE_LIBRARY

        for name in names(ResNetSpec):
            asked, there = getattr(spec, name), getattr(self.spec, name)
            if asked != there and name not in FREE and name not in SHOWN_BY_SHAPES:
                raise InputError(f"{self.name!r} is of a network with {name}={there!r}, and not {name}={asked!r}")
        return spec if self.run else replace(spec, **{name: getattr(self.spec, name) for name in OF_THE_LIBRARY})


def take_weights(model: "keras.Model", first: FirstWeights, class_names: list[str] | None) -> str:
    """Give every layer of `model` the weights that the layer of its name has there.

    The classifier keeps its own where the classes are others. InputError for any other layer that is missing here or there, or has
    another shape.

    Returns: the name of a classifier that keeps its own, or "".
    """
    head = classifier_of(model).name if class_names != first.class_names else ""
    for layer in model.layers:
        if layer.name == head or not layer.weights:
            continue
        own = [f"{layer.name}/{weight.name}" for weight in layer.weights]
        there = [first.arrays[name] for name in own if name in first.arrays]
        found, here = [array.shape for array in there], [tuple(weight.shape) for weight in layer.weights]
        if found != here:
            difference = f"has shapes {found} there and {here} here" if there else "is missing there"
            raise InputError(f"{first.name!r} does not fit this network: layer {layer.name!r} {difference}")
        layer.set_weights(there)
    present = {layer.name for layer in model.layers}
    if left := [name for name in first.arrays if name.partition("/")[0] not in present]:
        raise InputError(f"{first.name!r} does not fit this network: layer {left[0].partition('/')[0]!r} is missing here")
    return head


def classifier_of(model: "keras.Model") -> "keras.Layer":
    """The last layer with weights."""
    return next(layer for layer in reversed(model.layers) if layer.weights)


def origin(first: FirstWeights | None) -> dict[str, Any]:
    """The digest of the file that the first weights are from, under "init"; None for random weights."""
    return {"init": first.digest if first else None}
