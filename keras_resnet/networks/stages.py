"""Where the layers of any Keras ResNet stand: in the stem, in a unit of a stage, or in the head.

The units are known by the names of their layers: those of this package (`stage1_block1_...`), of keras.applications
(`conv2_block1_...`, which is stage 1) and of KerasHub (`stack0_block0_...`, the same), with or without a prefix. A layer without
such a name is in the stem if it feeds a unit, and in the head otherwise.
"""

import re
from collections.abc import Iterable
from typing import Any

import keras

from keras_resnet.errors import InputError, shown
from keras_resnet.hooks import operation_of
from keras_resnet.networks.connections import Connections, every_layer, every_model, is_functional

UNIT = re.compile(r"(?:^|_)(stage|conv|stack)(\d+)_block(\d+)(?:_|$)")
STAGE = re.compile(r"(stage|conv|stack)(\d+)")
SHIFTS = {"stage": (0, 0), "conv": (-1, 0), "stack": (1, 1)}  # to this package's numbers of stages and units

Unit = tuple[int, int]
"""A stage and a unit in it, both counted from 1."""


def unit_of(name: str) -> Unit | None:
    """The unit that a layer of that name belongs to.

    >>> unit_of("conv3_block4_2_relu")
    (2, 4)
    """
    found = UNIT.search(name)
    if not found:
        return None
    stage, block = SHIFTS[found[1]]
    return int(found[2]) + stage, int(found[3]) + block


class Stages:
    """The layers of a model, those of models inside it too, by their place in a residual network.

    Args:
        model: any Keras model; the order of its layers counts where it is not a graph of layers.
    """

    def __init__(self, model: keras.Model) -> None:
        if not isinstance(model, keras.Model):
            raise InputError(f"{shown(model)} is not a Keras model")
        self.layers = list(dict.fromkeys(every_layer(model)))
        self.units: dict[Unit, list[Any]] = {}
        for layer in self.layers:
            if unit := unit_of(layer.name):
                self.units.setdefault(unit, []).append(layer)
        self.units = dict(sorted(self.units.items()))
        self.model = model

    @property
    def stem(self) -> set[Any]:
        """The layers that feed the units, and belong to none."""
        inside = {layer for unit in self.units.values() for layer in unit}
        return self.before(inside) - inside

    def depths(self) -> dict[Any, int]:
        """How many groups each layer is away from the head: 0 there, 1 in the last unit, the number of units + 1 in the stem.

        InputError if no layer has the name of a unit.
        """
        if not self.units:
            raise InputError(
                "no residual units are found by the names of the layers: expected names such as stage1_block1_conv1 or "
                "conv2_block1_1_conv"
            )
        depths = dict.fromkeys(self.layers, 0) | dict.fromkeys(self.stem, len(self.units) + 1)
        for depth, unit in enumerate(reversed(self.units.values()), start=1):
            depths.update(dict.fromkeys(unit, depth))
        return depths

    def first(self, count: int) -> set[Any]:
        """The first `count` layers. InputError if there are not so many."""
        if not 0 <= count <= len(self.layers):
            raise InputError(f"{count} layers: this model has {len(self.layers)}")
        return set(self.layers[:count])

    def find(self, place: str) -> set[Any]:
        """The layers of a stage ("stage3"; "conv4" is the same one), of a unit ("stage3_block2"), "stem" or "head", or the layer of
        that name. InputError if there is none; it says what there is."""
        found = {layer for layer in self.layers if layer.name == place} or self._named(str(place))
        if not found:
            raise InputError(f"{place!r} is no stage, unit or layer of this model: it has {', '.join(self.names())}")
        return found

    def _named(self, place: str) -> set[Any]:
        if place in ("stem", "head") and self.units:
            return {layer for layer, depth in self.depths().items() if depth == (0 if place == "head" else len(self.units) + 1)}
        if unit := unit_of(place):
            return set(self.units.get(unit, ()))
        if stage := STAGE.fullmatch(place):
            number = int(stage[2]) + SHIFTS[stage[1]][0]
            return {layer for unit, layers in self.units.items() if unit[0] == number for layer in layers}
        return set()

    def names(self) -> list[str]:
        """What `find` knows of this model by a short name, and the first and the last layer."""
        stages = [f"stage{number}" for number in dict.fromkeys(stage for stage, _ in self.units)]
        layers = f"layers from {self.layers[0].name!r} to {self.layers[-1].name!r}"
        return [*(["stem", *stages, "head"] if stages else []), layers]

    def before(self, ends: Iterable[Any]) -> set[Any]:
        """Every layer that one of `ends` needs, and those themselves."""
        ends = set(ends)
        if not is_functional(self.model):
            last = max((self.layers.index(layer) for layer in ends), default=-1)
            return set(self.layers[: last + 1])
        return upstream(self.model, ends) & set(self.layers)


def upstream(model: keras.Model, ends: Iterable[Any]) -> set[Any]:
    """All layers, operations and models that feed `ends`, through the models inside `model` too."""
    sources, inside = Connections(model).sources, list(every_model(model))[1:]
    entrances = {operation_of(tensor): part for part in inside for tensor in keras.tree.flatten(part.inputs)}
    waiting, found = list(ends), set[Any]()
    while waiting:
        operation = waiting.pop()
        if operation not in found:
            found.add(operation)
            fed = entrances.get(operation, operation)  # what enters a model inside is what that one is fed with
            waiting.extend(source for use in sources.get(fed, ()) for source in use)
            waiting.extend(map(operation_of, keras.tree.flatten(operation.outputs)) if hasattr(operation, "layers") else ())
    return found
