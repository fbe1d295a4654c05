"""What this package replaces in Keras and TensorFlow objects, and what is private of them and of KerasTuner that it uses.

No other module does any of this. `setup.py` allows only versions that have these parts; `tests/test_hooks.py` has a test for each,
which says in a sentence what a new version has changed.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import Any

REPLACED = {
    "activation": "a layer applies its own `activation` to its outputs whenever it is called",
    "compute_loss": "a model that trains asks its own `compute_loss(x=, y=, y_pred=, sample_weight=, training=)` for the loss",
    "call": "Keras looks `call` up in the layer or model whenever that is called, and does not save it",
    "convolution_op": "a convolution layer asks its own `convolution_op(inputs, kernel)` for its outputs",
    "_apply_weight_decay": "an optimizer decays by its own `_apply_weight_decay(variables)`, by its `weight_decay` at that time",
    "_backend_update_step": "an optimizer changes its weights by its own `_backend_update_step(gradients, variables, rate)`",
    "update_step": "an optimizer changes each weight by its own `update_step(gradient, variable, learning_rate)`",
    "_clip_gradients": "an optimizer clips by its own `_clip_gradients(gradients)`, when they are accumulated",
    "finalize_variable_values": "`fit` puts averages in place in the end, by the optimizer's `finalize_variable_values(variables)`",
    "_maybe_symbolic_build": "`fit` on TensorFlow builds an unbuilt model by its own `_maybe_symbolic_build(iterator=)`",
    "predict": "`model.predict` is looked up in the model whenever it is called, and not saved",
    "reduce": "`fit` on TensorFlow asks the strategy's own `reduce(op, value, axis=)` for the loss and the metrics of all devices",
    "train_function": "`fit` traces again where `train_function` is None, `evaluate` and `predict` likewise",
}
"""Attributes that are replaced in single objects, and what each replacement needs."""
ORACLE = {
    "_check_consecutive_failures": "is called when a trial ends, and may raise to end the search",
    "_duplicate": "tells whether values were tried before",
    "_get_next_combination": "gives the next values of a grid",
    "_get_oracle_fname": "is the file of the state",
    "_get_size": "is the number of trials in a round of Hyperband",
    "_get_trial_dir": "is the folder of a trial",
    "_max_collisions": "is how many known values in a row end the search for new ones",
    "_nonfixed_space": "has the hyperparameters that the Gaussian process knows",
    "_random_trial": "gives the values of Hyperband's first round",
    "_random_values": "draws values, or gives None where there are no others",
    "_retry_queue": "has the trials to retry",
    "_save_trial": "writes a trial to the disk",
    "_set_project_dir": "sets the folder of the search",
}
"""Private parts of `keras_tuner.Oracle` and its engines that subclasses use or override."""


def replace(subject: Any, name: str, substitute: Any) -> None:
    """Put `substitute` in the place of an attribute of `REPLACED`, in this object only."""
    assert name in REPLACED, name
    setattr(subject, name, substitute)


@contextmanager
def replaced(substitutes: Mapping[Any, Any], name: str) -> Iterator[None]:
    """`replace` in several objects, each by its own substitute, for a while."""
    before = {subject: vars(subject)[name] for subject in substitutes if name in vars(subject)}
    try:
        for subject, substitute in substitutes.items():
            replace(subject, name, substitute)
        yield
    finally:
        for subject in substitutes:
            if subject in before:
                replace(subject, name, before[subject])
            else:
                restore(subject, name)


def restore(subject: Any, name: str) -> None:
    """Undo `replace`: the attribute of the class is there again."""
    vars(subject).pop(name, None)


def forget_traces(model: Any) -> None:
    """Let `fit`, `evaluate` and `predict` trace a model again, since its layers compute otherwise now."""
    for name in ("train_function", "test_function", "predict_function"):
        setattr(model, name, None)


def is_graph(model: Any) -> bool:
    """Whether a model is functional or sequential, built, and computes by its graph: a subclass may have a `call` of its own."""
    has_own_call = any("call" in vars(kind) for kind in type(model).__mro__ if not kind.__module__.startswith("keras."))
    return not has_own_call and hasattr(functional_of(model), "_nodes_by_depth")


def functional_of(model: Any) -> Any:
    """The functional model that a sequential one is inside, with the same layers; any other model itself."""
    return getattr(model, "_functional", model)


def graph_nodes(model: Any) -> list[Any]:
    """The uses of layers in a functional or sequential model: each has its `operation` and its `parent_nodes`."""
    return list(chain(*functional_of(model)._nodes_by_depth.values()))


def calls_of(model: Any) -> list[tuple[Any, list[Any], list[Any]]]:
    """The uses of layers and operations in a functional or sequential model in the order in which they run: what is called, and the
    symbolic tensors that go in and come out."""
    return [call[:3] for call in runnable_calls_of(model)]


def runnable_calls_of(model: Any) -> list[tuple[Any, list[Any], list[Any], Any]]:
    """`calls_of`, each with a function that gives the positional and the named arguments of the call, from the values of the
    symbolic tensors by their ids."""
    by_depth = functional_of(model)._nodes_by_depth
    nodes = chain(*(by_depth[depth] for depth in sorted(by_depth, reverse=True)))
    return [(node.operation, node.input_tensors, node.outputs, node.arguments.fill_in) for node in nodes if not node.is_input]


def run_graph(model: Any, inputs: Any, substitute: Any) -> Any:
    """The outputs of a functional or sequential model on other inputs; `substitute(layer)` is called in place of each layer."""
    return functional_of(model)._run_through_graph(inputs, operation_fn=substitute)


def operation_of(tensor: Any) -> Any:
    """The layer or operation that a symbolic tensor comes out of."""
    return tensor._keras_history.operation


def origin_of(tensor: Any) -> tuple[Any, int, list[Any]]:
    """The layer or operation that a symbolic tensor comes out of, its place among those that do, and the tensors that went in."""
    history = tensor._keras_history
    return history.operation, history.tensor_index, history.operation._inbound_nodes[history.node_index].input_tensors


def mirror_pad(amounts: tuple[tuple[int, int], ...], name: str | None) -> Any:
    """The operation of `keras.ops.pad(mode="reflect")` with a name, which that function does not take."""
    from keras.src.ops.numpy import Pad

    return Pad(amounts, mode="reflect", name=name)


def is_training(layer: Any) -> bool:
    """Whether a layer that is being called is called to train, also one whose `call` is not told."""
    return bool(layer._get_call_context().get_value("training"))


def count_uses(layer: Any) -> int:
    """How often a layer was called on symbolic tensors."""
    return len(layer._inbound_nodes)


def build_symbolically(model: Any, *batch: Any) -> None:
    """Build a compiled model, its loss and its metrics, as `fit` would from its first batch of images and labels."""
    model._symbolic_build(data_batch=batch)


def place_of(optimizer: Any, variable: Any) -> int:
    """The place of a weight, Keras's or the backend's variable, among those that the optimizer was built for."""
    return optimizer._get_variable_index(variable)


def build_metrics(model: Any, labels: Any, outputs: Any) -> None:
    """Make the variables of the compiled metrics for batches of such labels and outputs, as the first step would."""
    model._compile_metrics.build(labels, outputs)


def momentum_of(optimizer: Any, variable: Any) -> Any:
    """The momentum that SGD keeps of a weight."""
    return optimizer.momentums[place_of(optimizer, variable)]


def weight_of(optimizer: Any, variable: Any) -> Any:
    """Keras's variable of a weight, given that one or the backend's."""
    return optimizer._trainable_variables[place_of(optimizer, variable)]


def updating_of(optimizer: Any) -> tuple[Any, Any]:
    """The optimizer's own ways to change weights by their gradients and to decay them."""
    return optimizer._backend_update_step, optimizer._apply_weight_decay


def rebuild_optimizer(optimizer: Any, variables: list[Any]) -> None:
    """Let a built optimizer train other weights. What it knows of those that it trained stays; the others start anew.

    The step is kept, and with it the learning rate of a schedule. The moving average of a weight that joins starts at the weight.
    """
    if inner := getattr(optimizer, "inner_optimizer", None):  # float16 wraps it, and keeps nothing of a weight
        rebuild_optimizer(inner, variables)
        optimizer._trainable_variables_indices = {}
        super(type(optimizer), optimizer).build(variables)
        return
    known = list(optimizer._trainable_variables)
    slots = {name: list(value) for name, value in vars(optimizer).items() if _is_slots(name, value) and len(value) == len(known)}
    for slot in chain(*slots.values()):
        optimizer._untrack_variable(slot)
    optimizer.built, optimizer._trainable_variables_indices = False, {}
    with optimizer._distribution_strategy.scope() if hasattr(optimizer, "_distribution_strategy") else nullcontext():
        optimizer.build(variables)
    places = {id(variable): place for place, variable in enumerate(variables)}
    for average, variable in zip(moving_averages(optimizer), variables, strict=False):
        average.assign(variable.value)
    for name, values in slots.items():
        for variable, slot in zip(known, values, strict=True):
            if id(variable) in places:
                getattr(optimizer, name)[places[id(variable)]].assign(slot.value)


def _is_slots(name: str, value: Any) -> bool:
    """Whether an attribute of an optimizer is a list of variables that it made."""
    made = name not in ("_variables", "_trainable_variables") and isinstance(value, list)
    return made and all(hasattr(slot, "assign") for slot in value)


def clipping_of(optimizer: Any) -> Any:
    """The optimizer's own clipping, of the gradients of one device."""
    return optimizer._clip_gradients


def moving_averages(optimizer: Any) -> list[Any]:
    """The moving averages of the trainable weights, in their order; none where the optimizer keeps none."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # float16 wraps it
    return list(optimizer._model_variables_moving_average) if optimizer.use_ema else []


def is_known(hyperparameters: Any, entry: Any) -> bool:
    """Whether hyperparameters have one of that name under those conditions."""
    return bool(hyperparameters._exists(entry.name, entry.conditions))


def messages() -> Any:
    """The messages of KerasTuner's protocol between a chief and its workers."""
    from keras_tuner.src import protos

    return protos.get_service()


def add_servicer(servicer: Any, server: Any) -> None:
    """Let a gRPC server answer by KerasTuner's protocol: each call is a method of `servicer`."""
    from keras_tuner.src import protos

    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)


def chief_stub(channel: Any) -> Any:
    """The calls of KerasTuner's protocol to the chief at the other end of a gRPC channel."""
    from keras_tuner.src import protos

    return protos.get_service_grpc().OracleStub(channel)


def operations_of(interpreter: Any) -> list[tuple[str, list[int], list[int]]]:
    """The operations of a LiteRT Interpreter, each with the numbers of the tensors that go in and come out. After those of the file
    come the "DELEGATE" of each part that another library took over."""
    rows = interpreter._get_ops_details()
    return [(row["op_name"], [int(i) for i in row["inputs"]], [int(i) for i in row["outputs"]]) for row in rows]


def saved_model_of(content: bytes) -> Any:
    """The message in `saved_model.pb`: `meta_graphs`, each with `graph_def` and `signature_def`."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    return SavedModel.FromString(content)
