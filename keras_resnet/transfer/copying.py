"""The graph of a functional model run anew: with other layers or inputs, or with the models inside it opened up."""

from collections.abc import Callable
from inspect import signature
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_resnet.errors import InputError, shown
from keras_resnet.hooks import calls_of, functional_of, is_graph, run_graph
from keras_resnet.networks.loading import deep_recursion
from keras_resnet.networks.pixel_range import notice_in_predictions
from keras_resnet.networks.settings import fixed_settings


class Graph(NamedTuple):
    """The calls of the layers of a model, in the order in which they run."""

    inputs: Any
    outputs: Any
    calls: list[tuple[Any, list[Any], list[Any]]]
    """Each a layer or operation, the symbolic tensors that go in, and those that come out."""


def check_graph(model: keras.Model) -> None:
    """InputError for what is not a graph of layers."""
    if not isinstance(model, keras.Model) or not is_graph(model):
        raise InputError(f"{shown(getattr(model, 'name', model))} is not a functional Keras model, nor a built sequential one")


def is_model(operation: Any) -> bool:
    """Whether a layer is a graph of layers itself."""
    return isinstance(operation, keras.Model) and is_graph(operation)


def copied(
    model: keras.Model,
    change: Callable[[Any], Any],
    *,
    inputs: Any = None,
    first: Callable[[Any], Any] = lambda inputs: inputs,
    weights: Callable[[Any, Any], list[np.ndarray]] = lambda layer, copy: layer.get_weights(),
    prefix: str = "",
) -> keras.Model:
    """A functional copy of a model, uncompiled, with layers and weights of its own; models inside it are copied too.

    Args:
        model: a functional or sequential one.
        change: gives what stands in the place of a layer or operation: a copy, or any function of its inputs. It is asked once
            each.
        inputs: tensors in place of the inputs, where these are others.
        first: what is done to the inputs before all else.
        weights: the weights of a copy, given the layer and the copy.
        prefix: put before the names of models and inputs.
    """
    check_graph(model)
    known: dict[Any, Any] = {}

    def substitute(operation: Any) -> Callable[..., Any]:
        def call(*values: Any, **settings: Any) -> Any:
            if operation not in known and is_model(operation):
                entrances = keras.tree.map_structure(
                    lambda tensor, old: like(tensor, prefix + old.name), values[0], functional_of(operation).input
                )
                known[operation] = copied(operation, change, inputs=entrances, weights=weights, prefix=prefix)
            elif operation not in known:
                known[operation] = change(operation)
            return known[operation](*values, **settings)

        return call

    with fixed_settings(), deep_recursion():
        if inputs is None:
            inputs = keras.tree.map_structure(lambda tensor: like(tensor, prefix + tensor.name), functional_of(model).input)
        copy = keras.Model(inputs, run_graph(model, first(inputs), substitute), name=prefix + model.name)
    for layer, other in known.items():
        if isinstance(other, keras.Layer) and not is_model(layer):
            other.set_weights(weights(layer, other))
    notice_in_predictions(copy)
    return copy


def like(tensor: Any, name: str | None = None) -> Any:
    """An input of the shape and type of a symbolic tensor."""
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name or tensor.name)


def copy_of(operation: Any, **changes: Any) -> Any:
    """A layer or operation of the same configuration, but for `changes`, with fresh weights."""
    return type(operation).from_config({**operation.get_config(), **changes})


def closed(model: keras.Model) -> Graph:
    """The graph of a model as it is."""
    functional = functional_of(model)
    return Graph(functional.input, functional.output, calls_of(model))


def opened(model: keras.Model) -> Graph:
    """The graph of a model as it is or, where there are models inside it, with their layers in their place.

    The layers are the same, and have the same weights.
    """
    check_graph(model)
    if not any(is_model(layer) for layer in model.layers):
        return Graph(model.input, model.output, calls_of(model))
    calls: list[tuple[Any, list[Any], list[Any]]] = []

    def through(training: bool | None) -> Callable[[Any], Callable[..., Any]]:
        def substitute(operation: Any) -> Callable[..., Any]:
            def call(*values: Any, **settings: Any) -> Any:
                if training is not None and "training" in signature(operation.call).parameters:
                    settings["training"] = training
                if is_model(operation):
                    return run_graph(operation, values[0], through(settings.get("training")))
                results = operation(*values, **settings)
                calls.append((operation, tensors_in((values, settings)), tensors_in(results)))
                return results

            return call

        return substitute

    with fixed_settings(), deep_recursion():
        inputs = keras.tree.map_structure(like, functional_of(model).input)
        outputs = run_graph(model, inputs, through(None))
    return Graph(inputs, outputs, calls)


def tensors_in(structure: Any) -> list[Any]:
    """The symbolic tensors of a structure."""
    return [value for value in keras.tree.flatten(structure) if isinstance(value, keras.KerasTensor)]


def model_of(inputs: Any, outputs: Any, name: str) -> keras.Model:
    """A functional model between tensors of networks of any depth."""
    with fixed_settings(), deep_recursion():
        model = keras.Model(inputs, outputs, name=name)
    notice_in_predictions(model)
    return model
