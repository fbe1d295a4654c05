"""Rematerialisation, or gradient checkpointing (arXiv:1604.06174): training in less memory and more time.

Only the inputs of each residual unit are kept for the backward pass, which computes the inside of the unit again. The result is
the same.
"""

from collections.abc import Callable, Iterable
from typing import Any

import keras

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.hooks import replace
from keras_resnet.networks.graph import Merge, Node, in_order
from keras_resnet.networks.resnet import Part, parts


def recompute_units(model: keras.Model, out: Node | dict[str, Node]) -> None:
    """Let the training pass of `model` keep what enters each unit, in place of all that the unit makes of it.

    Only this object changes, and only how it trains: layers, names, weights and the saved file are those of the plain model.
    So a copy, a clone, or another model made of its layers trains plainly; call the model itself to build upon it. TensorFlow gives
    no second derivatives of it.

    Args:
        model: a functional model of `layers.build`.
        out: the description of what it puts out.
    """
    ends = keras.tree.flatten(out)
    nodes = in_order(ends)
    image, rest = nodes[0], parts(nodes[1:], ends)
    by_name = {operation.name: operation for operation in model.operations}
    layers = {node: by_name[node.name] for node in nodes[1:]}
    plain, shared = model.call, {}  # type: ignore[var-annotated]
    entrance = keras.Model(model.inputs, model.inputs)  # takes images in every form that `model` does

    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training:
            return plain(inputs, training=training, mask=mask)
        tensors = {image: keras.tree.flatten(entrance(inputs))[0]}
        for part in rest:
            if part.is_unit:
                results, losses = recomputed(part, layers, tensors, shared)
                tensors.update(zip(part.results, results, strict=True))
                for loss in losses:
                    layers[part.nodes[-1]].add_loss(loss)
            else:
                run(part.nodes, layers, tensors)
        return keras.tree.map_structure(tensors.get, out)

    call.recomputes = True  # type: ignore[attr-defined]
    replace(model, "call", call)


def run(nodes: Iterable[Node], layers: dict[Node, Any], tensors: dict[Node, Any]) -> None:
    """Put the outputs of `nodes` into `tensors`, as in training."""
    for node in nodes:
        sources = [tensors[source] for source in node.inputs]
        settings = {"training": True} if isinstance(layers[node], keras.Layer) else {}
        tensors[node] = layers[node](sources if isinstance(node, Merge) else sources[0], **settings)


def recomputed(
    part: Part, layers: dict[Node, Any], tensors: dict[Node, Any], shared: dict[Any, Any]
) -> tuple[list[Any], list[Any]]:
    """The results of a unit, of which only the inputs are stored for the backward pass, and the losses that its layers add.

    Units that differ in nothing but their weights are traced once: `shared` keeps their common function.
    """
    variables = [variable for node in part.nodes for variable in getattr(layers[node], "variables", ())]
    weights = [variable for variable in variables if variable.trainable]
    state = [variable for variable in variables if not variable.trainable]
    key = (part.name if replicas() > 1 else "", kind_of(part, layers))  # shared among replicas, gradients go astray
    if key not in shared:
        shared[key] = pure(part, layers, weights, state)
    unit, changed = shared[key]
    results = unit(
        [tensors[source] for source in part.sources],
        [variable.value for variable in weights],
        [keras.ops.copy(variable.value) for variable in state],  # TensorFlow passes variables by reference, and these change
    )
    count, values = len(part.results), results[len(results) - len(changed) :]
    for place, value in zip(changed, values, strict=True):
        state[place].assign(value)
    return list(results[:count]), list(results[count : len(results) - len(changed)])


def replicas() -> int:
    """Devices that the model is being called on at the same time."""
    if keras.backend.backend() != "tensorflow":
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


def pure(
    part: Part, layers: dict[Node, Any], weights: list[keras.Variable], state: list[keras.Variable]
) -> tuple[Callable[..., Any], list[int]]:
    """A unit as a function of its inputs, weights and state, and the places of what it changes in the state.

    Moving statistics and the state of random numbers go in and come out as values: so the second computation changes
    nothing again, and drops what the first one dropped. It gives the results, added losses, and changed state.
    """
    changed: list[int] = []

    def unit(tensors: list[Any], weight_values: list[Any], state_values: list[Any]) -> list[Any]:
        def forward(*values: Any) -> list[Any]:
            count = len(part.sources)
            outputs = dict(zip(part.sources, values[:count], strict=True))
            mapping = [*zip(weights, values[count:], strict=True), *zip(state, state_values, strict=True)]
            with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
                before = [scope.get_current_value(variable) for variable in state]
                run(part.nodes, layers, outputs)
                after = [scope.get_current_value(variable) for variable in state]
            changed[:] = [place for place, value in enumerate(after) if value is not before[place]]
            return [*(outputs[node] for node in part.results), *scope.losses, *(returned(after[place]) for place in changed)]

        return keras.remat(forward)(*tensors, *weight_values)

    if keras.backend.backend() == "tensorflow":
        return tf.function(unit, autograph=False), changed
    return unit, changed


def returned(value: Any) -> Any:
    """`value` in a type that TensorFlow's recomputation can put out: no integer; this one holds the seeds exactly."""
    is_integer = "int" in keras.backend.standardize_dtype(value.dtype)
    return keras.ops.cast(value, "float64") if is_integer and keras.backend.backend() == "tensorflow" else value


def kind_of(part: Part, layers: dict[Node, Any]) -> tuple[Any, ...]:
    """All that two units must share to be one function: layers, settings, wiring, and the shapes that come in."""
    number = {node: place for place, node in enumerate((*part.sources, *part.nodes))}
    kinds = []
    for node in part.nodes:
        config = layers[node].get_config()
        settings = {key: value for key, value in config.items() if key not in ("name", "seed") and "initializer" not in key}
        kinds.append((type(layers[node]), repr(settings), *(number[source] for source in node.inputs)))
    return *kinds, *(source.shape for source in part.sources), *(number[node] for node in part.results)
