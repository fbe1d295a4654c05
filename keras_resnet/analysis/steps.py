"""The layer calls of a functional model as steps, so that a part of it can be run, from one tensor inside it to another.

Models inside the model are flattened. The model does not change: building a Keras model between two inner tensors would add nodes
to its layers.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import signature
from typing import Any

import keras

from keras_resnet.errors import InputError, unknown
from keras_resnet.hooks import functional_of, replaced, runnable_calls_of
from keras_resnet.networks.connections import PROBABILITIES, SAME_SCORES
from keras_resnet.transfer.copying import check_graph, is_model

GLOBAL_POOLINGS = tuple(getattr(keras.layers, f"Global{kind}Pooling{rank}D") for kind in ("Average", "Max") for rank in (1, 2, 3))


@dataclass(frozen=True)
class Step:
    """One call of a layer or operation. Tensors are numbered in the order in which they are computed."""

    operation: Any
    sources: tuple[int, ...]
    results: tuple[int, ...]
    arguments: Callable[[dict[int, Any]], tuple[tuple[Any, ...], dict[str, Any]]]
    """From the tensors by number to positional and named arguments."""
    training: bool | None = None
    """The `training=` with which the enclosing model was called, if any."""

    @property
    def name(self) -> str:
        """The name of the layer or operation."""
        return str(self.operation.name)

    def run(self, values: dict[int, Any], training: bool) -> None:
        """Run the call, and add its results to `values`, the tensors by number."""
        positional, named = self.arguments(values)
        if takes_training(self.operation):
            named = {"training": training if self.training is None else self.training, **named}
        results = keras.tree.flatten(self.operation(*positional, **named))
        values.update(zip(self.results, results, strict=True))


def values_at(wanted: Collection[int], steps: Sequence[Step], values: dict[int, Any], training: bool = False) -> dict[int, Any]:
    """The wanted values that steps give, starting from some `values`. Others are given back after their last use."""
    last = {source: place for place, step in enumerate(steps) for source in step.sources}
    for place, step in enumerate(steps):
        step.run(values, training)
        for value in {*step.sources, *step.results}.difference(wanted):
            if last.get(value, place) == place:
                del values[value]
    return values


@dataclass(frozen=True)
class Segment:
    """The function from one tensor of a network, `start`, to another, `end`; without steps the identity."""

    steps: tuple[Step, ...]
    start: int
    end: int

    def __call__(self, x: Any, training: bool = False) -> Any:
        return values_at({self.end}, self.steps, {self.start: x}, training)[self.end]


class Network:
    """The steps of a functional model with one input and one output, and the shapes of its tensors by number. InputError for any
    other model."""

    def __init__(self, model: keras.Model) -> None:
        check_graph(model)
        self.model = model
        self.steps: list[Step] = []
        self.shapes: list[tuple[int | None, ...]] = []
        functional = functional_of(model)
        if len(functional.inputs) != 1 or len(functional.outputs) != 1:
            raise InputError(
                f"{model.name!r} has {len(functional.inputs)} inputs and {len(functional.outputs)} outputs, not one each"
            )
        self.start = self._new(functional.inputs[0])
        self.end = self._open(functional, [self.start], None)[0]
        self.producer = {result: step for step in self.steps for result in step.results}

    def _new(self, tensor: Any) -> int:
        self.shapes.append(tuple(tensor.shape))
        return len(self.shapes) - 1

    def _open(self, functional: Any, inputs: Iterable[int], training: bool | None) -> list[int]:
        """Add the steps of a model that is called on these tensors, and return the numbers of its outputs."""
        numbers = {id(tensor): number for tensor, number in zip(functional.inputs, inputs, strict=True)}
        for operation, sources, results, fill in runnable_calls_of(functional):
            own = {id(tensor): numbers[id(tensor)] for tensor in sources}
            if is_model(operation):
                chosen = fill(dict.fromkeys(own))[1].get("training", training)
                given = [numbers[id(tensor)] for tensor in sources]
                numbers.update(zip(map(id, results), self._open(functional_of(operation), given, chosen), strict=True))
                continue
            made = [self._new(tensor) for tensor in results]
            numbers.update(zip(map(id, results), made, strict=True))
            self.steps.append(Step(operation, tuple(own.values()), tuple(made), _arguments(fill, own), training))
        return [numbers[id(tensor)] for tensor in functional.outputs]

    @cached_property
    def rank(self) -> int:
        """The number of axes of a batch of images: 4 for pictures."""
        return len(self.shapes[self.start])

    def is_map(self, value: int) -> bool:
        """Whether a tensor is a feature map: (images, *space, channels)."""
        return len(self.shapes[value]) == self.rank

    def between(self, start: int, end: int) -> Segment:
        """The steps from tensor `start` to tensor `end`. InputError if `end` depends on more than `start`."""
        found, waiting = dict[int, Step](), [end]
        while waiting:
            value = waiting.pop()
            if value == start or (value in self.producer and self.producer[value].results[0] in found):
                continue
            if value not in self.producer:
                raise InputError(
                    f"a part of {self.model.name!r} depends on more than its own input, so it cannot be analysed alone"
                )
            step = self.producer[value]
            found[step.results[0]] = step
            waiting.extend(step.sources)
        return Segment(tuple(found[number] for number in sorted(found)), start, end)

    def on_all_paths(self) -> list[int]:
        """The tensors on every path from the input to the output, in order; the output is one of them."""
        last = {source: place for place, step in enumerate(self.steps) for source in step.sources} | {self.end: len(self.steps)}
        furthest, found = last.get(self.start, 0), []
        for place, step in enumerate(self.steps):
            if furthest <= place and len(step.results) == 1 and step.results[0] in last:
                found.append(step.results[0])
            furthest = max([furthest, *(last.get(result, 0) for result in step.results)])
        return found

    def value_of(self, layer: str) -> int:
        """The output of a layer, by its name. InputError if there is no such layer, or if it is called more than once."""
        results = [step.results[0] for step in self.steps if step.name == layer]
        if not results:
            raise unknown("layer", layer, [step.name for step in self.steps])
        if len(results) > 1:
            raise InputError(f"layer {layer!r} is called {len(results)} times; choose one that is called once")
        return results[0]

    def last_map(self) -> int:
        """The feature map that enters the last global pooling on all paths. Without a pooling, the last map on all paths with more
        than one pixel. InputError if there is none."""
        shared = self.on_all_paths()
        pools = [step for step in self.steps if isinstance(step.operation, GLOBAL_POOLINGS) and step.sources[0] in shared]
        if pools:
            return pools[-1].sources[0]
        maps = [value for value in shared if self.is_map(value) and not is_pooled(self.shapes[value])]
        if not maps:
            raise InputError(f"{self.model.name!r} has no feature map on all paths; name a layer")
        return maps[-1]

    def logits_from(self, start: int) -> Segment:
        """The steps from a tensor to the output, without a final softmax or sigmoid."""
        end = self.end
        while (step := self.producer[end]) and type(step.operation).__name__ in SAME_SCORES:
            end = step.sources[0]
        if type(step.operation).__name__ in ("Softmax", "Sigmoid") or (
            isinstance(step.operation, keras.layers.Activation) and step.operation.activation in PROBABILITIES
        ):
            return self.between(start, step.sources[0])
        segment = self.between(start, end)
        if getattr(step.operation, "activation", None) not in PROBABILITIES:
            return segment
        return replace(segment, steps=(*segment.steps[:-1], replace(step, operation=Linear(step.operation))))


class Linear:
    """A layer without its activation."""

    def __init__(self, layer: keras.Layer) -> None:
        self.layer, self.name = layer, layer.name

    def __call__(self, *values: Any, **settings: Any) -> Any:
        with replaced({self.layer: keras.activations.linear}, "activation"):
            return self.layer(*values, **settings)


def is_pooled(shape: tuple[int | None, ...]) -> bool:
    """Whether a map (images, *space, channels) has one pixel, as after a global pooling that keeps the axes."""
    return set(shape[1:-1]) == {1}


def takes_training(operation: Any) -> bool:
    """Whether a layer takes `training=`."""
    return "training" in signature(getattr(operation, "call", operation)).parameters


def _arguments(fill: Callable[[dict[int, Any]], Any], own: dict[int, int]) -> Callable[[dict[int, Any]], Any]:
    return lambda values: fill({place: values[number] for place, number in own.items()})
