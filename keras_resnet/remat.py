"""Training in less memory: the inside of every residual unit is computed again for the backward pass (arXiv:1604.06174)."""

from collections.abc import Callable, Iterable
from typing import Any

import keras

from keras_resnet.graph import Merge, Node, in_order
from keras_resnet.resnet import Part, parts


def recompute_units(model: keras.Model, out: Node | dict[str, Node]) -> None:
    """Let the training pass of `model` keep what enters each unit, in place of all that the unit makes of it.

    Only this object changes, and only how it trains: layers, names, weights and the saved file are those of the plain model.

    Args:
        model: a functional model of `layers.build`.
        out: the description of what it puts out.
    """
    wanted = keras.tree.flatten(out)
    nodes = in_order(wanted)
    image, rest = nodes[0], parts(nodes[1:], wanted)
    layers = {node: model.get_layer(node.name) for node in nodes[1:]}
    plain, shared = model.call, {}  # type: ignore[var-annotated]

    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training:
            return plain(inputs, training=training, mask=mask)
        made = {image: first_tensor(inputs, model.inputs[0])}
        for part in rest:
            if part.is_unit:
                made.update(zip(part.results, recomputed(part, layers, made, shared), strict=True))
            else:
                run(part.nodes, layers, made)
        return keras.tree.map_structure(made.get, out)

    model.call = call


def first_tensor(inputs: Any, expected: keras.KerasTensor) -> Any:
    """The images as a tensor like `expected`, in whatever form a functional model takes them."""
    [images] = keras.tree.flatten(inputs)
    images = keras.ops.convert_to_tensor(images, dtype=expected.dtype)
    return keras.ops.expand_dims(images, -1) if len(images.shape) < len(expected.shape) else images


def run(nodes: Iterable[Node], layers: dict[Node, keras.Layer], made: dict[Node, Any]) -> None:
    """Put the outputs of `nodes` into `made`, as in training."""
    for node in nodes:
        tensors = [made[source] for source in node.inputs]
        made[node] = layers[node](tensors if isinstance(node, Merge) else tensors[0], training=True)


def recomputed(part: Part, layers: dict[Node, keras.Layer], made: dict[Node, Any], shared: dict[Any, Any]) -> list[Any]:
    """The results of a unit, of which the backward pass will find its inputs only.

    Units that differ in nothing but their weights are traced once: `shared` keeps their common function.
    """
    variables = [variable for node in part.nodes for variable in layers[node].variables]
    weights = [variable for variable in variables if variable.trainable]
    state = [variable for variable in variables if not variable.trainable]
    key = kind_of(part, layers)
    if key not in shared:
        shared[key] = pure(part, layers, weights, state)
    unit, changed = shared[key]
    results = unit(
        [made[source] for source in part.sources],
        [variable.value for variable in weights],
        [keras.ops.copy(variable.value) for variable in state],  # TensorFlow passes variables by reference, and these change
    )
    count = len(part.results)
    for place, value in zip(changed, results[count:], strict=True):
        state[place].assign(value)
    return list(results[:count])


def pure(
    part: Part, layers: dict[Node, keras.Layer], weights: list[keras.Variable], state: list[keras.Variable]
) -> tuple[Callable[..., Any], list[int]]:
    """A unit as a function of its inputs, weights and state, and the places of what it changes in the state.

    Moving statistics and the state of random numbers go in and come out as values: so the second computation changes
    nothing again, and drops what the first one dropped.
    """
    changed: list[int] = []

    def unit(tensors: list[Any], weight_values: list[Any], state_values: list[Any]) -> list[Any]:
        def forward(*values: Any) -> list[Any]:
            count = len(part.sources)
            made = dict(zip(part.sources, values[:count], strict=True))
            given = [*zip(weights, values[count:], strict=True), *zip(state, state_values, strict=True)]
            with keras.StatelessScope(state_mapping=given) as scope:
                before = [scope.get_current_value(variable) for variable in state]
                run(part.nodes, layers, made)
                after = [scope.get_current_value(variable) for variable in state]
            changed[:] = [place for place, value in enumerate(after) if value is not before[place]]
            return [*(made[node] for node in part.results), *(returned(after[place]) for place in changed)]

        return keras.remat(forward)(*tensors, *weight_values)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(unit, autograph=False), changed
    return unit, changed


def returned(value: Any) -> Any:
    """`value` in a type that TensorFlow's recomputation can put out: no integer; this one holds the seeds exactly."""
    whole = "int" in keras.backend.standardize_dtype(value.dtype)
    return keras.ops.cast(value, "float64") if whole and keras.backend.backend() == "tensorflow" else value


def kind_of(part: Part, layers: dict[Node, keras.Layer]) -> tuple[Any, ...]:
    """All that two units must share to be one function: layers, settings, wiring, and the shapes that come in."""
    number = {node: place for place, node in enumerate((*part.sources, *part.nodes))}
    described = []
    for node in part.nodes:
        settings = layers[node].get_config()
        told = {key: value for key, value in settings.items() if key not in ("name", "seed") and "initializer" not in key}
        described.append((type(layers[node]), repr(told), *(number[source] for source in node.inputs)))
    return *described, *(source.shape for source in part.sources), *(number[node] for node in part.results)
