"""A canary for each hook: where a new Keras or KerasTuner has changed what is replaced or read in it, the sentence says so."""

import ast
import itertools
import json
import re
from concurrent import futures
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from keras_tuner import oracles

import keras_resnet
from keras_resnet import hooks
from keras_resnet.hooks import ORACLE, REPLACED
from keras_resnet.recipes.lamb import Lamb
from keras_resnet.search.wire import values_of

PACKAGE = Path(keras_resnet.__file__).parent
IMAGES, LABELS = np.ones((4, 6, 6, 2), "float32"), np.zeros(4, "int32")


def classifier(**settings):
    image = keras.Input((6, 6, 2))
    maps = keras.layers.Conv2D(3, 1, name="conv")(image)
    model = keras.Model(image, keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling2D()(maps)))
    optimizer = keras.optimizers.SGD(0.1, 0.9, **settings)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def fit(model):
    model.fit(tf.data.Dataset.from_tensors((IMAGES, LABELS)), verbose=0)


def test_call(tmp_path):
    model = classifier()
    plain = model(IMAGES).numpy()
    hooks.replace(model.get_layer("conv"), "call", lambda inputs: keras.ops.zeros((4, 6, 6, 3)))
    assert not np.array_equal(model(IMAGES), plain), REPLACED["call"]
    hooks.replace(model, "call", lambda inputs, training=None, mask=None: "replaced")
    assert model(IMAGES) == "replaced", REPLACED["call"]
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "model.keras")(IMAGES), plain, err_msg=REPLACED["call"])


def test_compute_loss():
    """It is asked in training and in evaluation, and told which; afterwards the loss of the class is there again."""
    model, asked = classifier(), []
    plain = model.evaluate(IMAGES, LABELS, verbose=0)

    def compute_loss(x=None, y=None, y_pred=None, sample_weight=None, training=True):
        asked.append((x.shape[1:], y_pred.shape[1:], len(y.shape), training))
        return keras.ops.sum(y_pred) * 0 + 7.0

    hooks.replace(model, "compute_loss", compute_loss)
    hooks.forget_traces(model)
    assert model.evaluate(IMAGES, LABELS, verbose=0) == model.train_on_batch(IMAGES, LABELS) == 7, REPLACED["compute_loss"]
    assert {(IMAGES.shape[1:], (2,), 1, training) for training in (True, False)} == set(asked), REPLACED["compute_loss"]
    hooks.restore(model, "compute_loss")
    hooks.forget_traces(model)
    assert model.evaluate(IMAGES, LABELS, verbose=0) == pytest.approx(plain, rel=1e-5)


def test_activation():
    layer = keras.layers.Dense(2, activation="softmax")
    plain = layer(IMAGES)
    with hooks.replaced({layer: keras.activations.linear}, "activation"):
        np.testing.assert_allclose(keras.ops.softmax(layer(IMAGES)), plain, rtol=1e-5, err_msg=REPLACED["activation"])
    np.testing.assert_allclose(layer(IMAGES), plain)


def test_convolution_op():
    layer = classifier().get_layer("conv")
    hooks.replace(layer, "convolution_op", lambda inputs, kernel: keras.ops.zeros((4, 6, 6, 3)))
    assert not np.any(layer(IMAGES)), REPLACED["convolution_op"]


def test_update_step_and_momentum():
    model = classifier()
    step = mock.Mock(wraps=model.optimizer.update_step)
    hooks.replace(model.optimizer, "update_step", step)
    fit(model)
    variables = [arguments.args[1] for arguments in step.call_args_list[-4:]]  # those of the last trace
    shapes = [tuple(weight.shape) for weight in model.trainable_variables]
    assert [tuple(variable.shape) for variable in variables] == shapes, REPLACED["update_step"]
    for variable, weight in zip(variables, model.trainable_variables, strict=True):  # the backend's variable, not Keras's
        momentum = hooks.momentum_of(model.optimizer, variable)
        assert momentum.path.endswith(f"{weight.path.replace('/', '_')}_momentum"), hooks.momentum_of.__doc__


@pytest.mark.parametrize("wrapped", [False, True])
def test_moving_averages(wrapped):
    model = classifier(use_ema=True, ema_momentum=0.5)
    if wrapped:
        model.compile(keras.optimizers.LossScaleOptimizer(model.optimizer), model.loss)
    before = [np.array(weight) for weight in model.trainable_variables]
    finalize = mock.Mock()
    hooks.replace(model.optimizer, "finalize_variable_values", finalize)
    fit(model)
    finalize.assert_called_once()
    averages = hooks.moving_averages(model.optimizer)
    for average, start, weight in zip(averages, before, model.trainable_variables, strict=True):
        assert not np.array_equal(start, weight), REPLACED["finalize_variable_values"]
        assert average.shape == weight.shape, hooks.moving_averages.__doc__
    assert hooks.moving_averages(classifier().optimizer) == []


def test_clipping():
    model = classifier(gradient_accumulation_steps=2, global_clipnorm=1.0)
    model.optimizer.build(model.trainable_variables)
    clip = mock.Mock(wraps=hooks.clipping_of(model.optimizer))
    hooks.replace(model.optimizer, "_clip_gradients", clip)
    for _ in range(2):
        model.optimizer.apply([keras.ops.ones_like(weight) for weight in model.trainable_variables])
    [[gradients]] = [call.args for call in clip.call_args_list]
    assert [tuple(each.shape) for each in gradients] == [tuple(weight.shape) for weight in model.trainable_variables]
    assert np.sqrt(sum(np.sum(np.square(each)) for each in clip(gradients))) == pytest.approx(1), REPLACED["_clip_gradients"]


def test_metrics_are_built():
    model = classifier()
    model.compile("sgd", model.loss, metrics=["accuracy"])
    hooks.build_metrics(model, LABELS[:1], np.zeros((1, 2)))
    names = [variable.path for variable in model.metrics_variables]
    assert len(names) > 2, hooks.build_metrics.__doc__
    fit(model)
    assert [variable.path for variable in model.metrics_variables] == names, hooks.build_metrics.__doc__


def test_symbolic_build():
    model = classifier()
    build = mock.Mock(wraps=model._maybe_symbolic_build)
    hooks.replace(model, "_maybe_symbolic_build", build)
    fit(model)
    assert build.called, REPLACED["_maybe_symbolic_build"]
    model = classifier()
    hooks.build_symbolically(model, IMAGES, LABELS)
    assert model.optimizer.built, hooks.build_symbolically.__doc__


def test_reduce():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        model = classifier()
    reduce = mock.Mock(wraps=strategy.reduce)
    hooks.replace(strategy, "reduce", reduce)
    fit(model)
    assert reduce.called, REPLACED["reduce"]
    assert reduce.call_args.kwargs.keys() <= {"axis"}, REPLACED["reduce"]


def test_updates_and_decay():
    model = classifier(weight_decay=0.5)
    update, decay = (mock.Mock(wraps=own) for own in hooks.updating_of(model.optimizer))
    hooks.replace(model.optimizer, "_backend_update_step", update)
    hooks.replace(model.optimizer, "_apply_weight_decay", decay)
    model.optimizer.build(model.trainable_variables)
    model.optimizer.apply([keras.ops.zeros_like(weight) for weight in model.trainable_variables], model.trainable_variables)
    [[gradients, variables, rate]], [[decayed]] = ([call.args for call in each.call_args_list] for each in (update, decay))
    assert len(gradients) == 4, REPLACED["_backend_update_step"]
    assert float(rate) == np.float32(0.1), REPLACED["_backend_update_step"]
    for variable, other, weight in zip(variables, decayed, model.trainable_variables, strict=True):
        assert hooks.weight_of(model.optimizer, variable) is weight, hooks.weight_of.__doc__
        assert hooks.weight_of(model.optimizer, other) is weight, REPLACED["_apply_weight_decay"]
    before = np.array(weight)
    model.optimizer.weight_decay = 0.0
    decay(decayed)
    np.testing.assert_array_equal(weight, before, err_msg=REPLACED["_apply_weight_decay"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.SGD(0.1, 0.9, use_ema=True, gradient_accumulation_steps=2),
        lambda: keras.optimizers.AdamW(0.1),
        lambda: Lamb(0.1),
        lambda: keras.optimizers.SGD(0.1),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)),
    ],
)
def test_an_optimizer_is_rebuilt(make):
    kernel, bias, late = (keras.Variable(np.ones(shape, "float32"), name=f"weight_{shape}") for shape in (2, 3, 4))
    optimizer = make()
    optimizer.build([kernel, bias])
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    for _ in range(3):
        optimizer.apply([keras.ops.ones((2,)), keras.ops.ones((3,))], [kernel, bias])
    known = {v.path: np.array(v) for v in optimizer.variables if v.shape == (3,) or "iteration" in v.path}
    hooks.rebuild_optimizer(optimizer, [late, bias])
    variables = {v.path: np.array(v) for v in optimizer.variables}
    assert {path: value for path, value in variables.items() if path in known}.keys() == known.keys(), (
        "slots are named by the weight"
    )
    for path, value in known.items():
        np.testing.assert_array_equal(variables[path], value, err_msg=hooks.rebuild_optimizer.__doc__)
    assert not [v.path for v in optimizer.variables if v.shape == (2,)], "what is known of a weight that left goes"
    assert all(np.all(np.array(v) == ("average" in v.path)) for v in inner.variables if v.shape == (4,)), "the others start anew"
    before = np.array(kernel)
    for _ in range(2):
        optimizer.apply([keras.ops.ones((4,)), keras.ops.ones((3,))], [late, bias])
    assert np.all(np.array(late) != 1)
    np.testing.assert_array_equal(kernel, before)


def test_calls_and_runs_of_a_graph():
    model = keras.Sequential([keras.Input((6, 6, 2)), classifier()])
    inner = model.layers[0]
    assert hooks.functional_of(inner) is inner, hooks.functional_of.__doc__
    assert hooks.functional_of(model).layers[-1] is inner, hooks.functional_of.__doc__
    calls = hooks.calls_of(inner)
    assert [layer for layer, _, _ in calls] == inner.layers[1:], hooks.calls_of.__doc__
    for (_, _, [result]), (_, [source], _) in itertools.pairwise(calls):
        assert source is result, hooks.calls_of.__doc__
    for _, [source], _, fill in hooks.runnable_calls_of(inner):
        (value,), named = fill({id(source): "value"})
        assert (value, named) == ("value", {}), hooks.runnable_calls_of.__doc__
    used = []
    out = hooks.run_graph(inner, keras.Input((6, 6, 2)), lambda layer: used.append(layer) or layer)
    assert used == inner.layers[1:], hooks.run_graph.__doc__
    assert out.shape == (None, 2), hooks.run_graph.__doc__


def test_predict(tmp_path):
    model = classifier()
    hooks.replace(model, "predict", lambda images: "replaced")
    assert model.predict(IMAGES) == "replaced", REPLACED["predict"]
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").predict(IMAGES, verbose=0).shape == (4, 2), REPLACED["predict"]


def test_traces_are_forgotten():
    model = classifier()
    fit(model)
    before = model.train_function
    hooks.forget_traces(model)
    fit(model)
    assert model.train_function is not before, REPLACED["train_function"]


def test_mirror_pad():
    image = keras.Input((4, 2))
    operation = hooks.mirror_pad(((0, 0), (1, 1), (0, 0)), "blur_pad")
    model = keras.Model(image, operation(image))
    assert [layer.name for layer in model.operations][1:] == ["blur_pad"], hooks.mirror_pad.__doc__
    numbers = np.arange(8).reshape(1, 4, 2)
    np.testing.assert_array_equal(model(numbers)[0, :, 0], [2, 0, 2, 4, 6, 4], err_msg=hooks.mirror_pad.__doc__)


def test_graph():
    model = classifier()
    nodes = {node.operation.name: [parent.operation.name for parent in node.parent_nodes] for node in hooks.graph_nodes(model)}
    assert nodes["logits"][0].startswith("global_average_pooling2d"), hooks.graph_nodes.__doc__
    assert len(nodes) == 4, hooks.graph_nodes.__doc__
    assert hooks.operation_of(model.output) is model.get_layer("logits"), hooks.operation_of.__doc__
    assert hooks.origin_of(model.output)[:2] == (model.get_layer("logits"), 0), hooks.origin_of.__doc__
    assert hooks.origin_of(model.output)[2][0] is model.layers[-2].output, hooks.origin_of.__doc__
    layer = model.get_layer("conv")
    layer(keras.Input((6, 6, 2)))
    assert hooks.count_uses(layer) == 2, hooks.count_uses.__doc__
    assert hooks.is_graph(model)
    assert not hooks.is_graph(keras.Sequential([keras.layers.Dense(1)])), hooks.is_graph.__doc__

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    assert not hooks.is_graph(Own(model.inputs, model.outputs)), hooks.is_graph.__doc__


def test_training_is_known_to_layers_that_are_not_told():
    model, told = classifier(), []
    layer = model.get_layer("conv")
    plain = layer.convolution_op
    hooks.replace(layer, "convolution_op", lambda *given: told.append(hooks.is_training(layer)) or plain(*given))
    for training in (True, False):
        model(IMAGES, training=training)
    model(IMAGES)
    assert told == [True, False, False], hooks.is_training.__doc__
    assert not hooks.is_training(keras.layers.Dense(1))


def test_replaced_is_for_a_while():
    layer = classifier().get_layer("conv")
    first, second = mock.Mock(), mock.Mock()
    with hooks.replaced({layer: first}, "call"):
        with hooks.replaced({layer: second}, "call"):
            assert layer.call is second
        assert layer.call is first
    assert "call" not in vars(layer)


def engine(kind=oracles.RandomSearchOracle, folder=None, **settings):
    """An engine with a depth of 1 to 3 and a fixed width."""
    made = kind(objective=keras_tuner.Objective("score", "max"), **settings)
    made.hyperparameters.Int("depth", 1, 3)
    made.hyperparameters.Fixed("width", 8)
    if folder:
        made._set_project_dir(str(folder), "search")
    return made


def values_that_were_tried(folder):
    oracle = engine(folder=folder, max_trials=3)
    tried = oracle.create_trial("worker").hyperparameters.values
    return oracle._duplicate(tried) and not oracle._duplicate({**tried, "depth": tried["depth"] % 3 + 1})


def next_of_a_grid(folder):
    grid = engine(oracles.GridSearchOracle, folder)
    values = [{"depth": 1, "width": 8}]
    while following := grid._get_next_combination(values[-1]):
        values.append(following)
    return [each["depth"] for each in values] == [1, 2, 3]


def size_of_a_round(folder):
    band = engine(oracles.HyperbandOracle, folder, max_epochs=9)
    with mock.patch.object(band, "_get_size", wraps=band._get_size) as size:
        band.create_trial("worker")
    return size.called and band._get_size(2, 0) == 9 and band._get_size(2, 2) == 1


def first_round_of_hyperband(folder):
    band = engine(oracles.HyperbandOracle, folder, max_epochs=9)
    with mock.patch.object(band, "_random_trial", wraps=band._random_trial) as draw:
        band.create_trial("worker")
    (trial, bracket), _ = draw.call_args
    return trial == "0000" and bracket["bracket_num"] == 2 and len(bracket["rounds"][0]) == 1


def known_values_in_a_row(folder):
    oracle = engine(folder=folder, max_trials=9)
    oracle._max_collisions = 5
    with mock.patch.object(oracle, "_duplicate", return_value=True), mock.patch.object(oracle, "_tried_so_far", {1}):
        return oracle._random_values() is None


def folder_of_a_trial(folder):
    oracle = engine(folder=folder, max_trials=9)
    trial = oracle.create_trial("worker")
    return (Path(oracle._get_trial_dir(trial.trial_id)) / "trial.json").is_file()


def trials_to_retry(folder):
    oracle = engine(folder=folder, max_trials=9)
    trial = oracle.create_trial("worker")
    oracle.ongoing_trials.pop("worker")
    oracle._retry_queue.append(trial.trial_id)
    return oracle.create_trial("other").trial_id == trial.trial_id and not oracle._retry_queue


def drawn_values(folder):
    oracle = engine(folder=folder, max_trials=9)
    return oracle._random_values().keys() == {"depth", "width"}


def file_of_the_state(folder):
    oracle = engine(folder=folder, max_trials=9)
    trial = oracle.create_trial("worker")
    state = json.loads(Path(oracle._get_oracle_fname()).read_text())
    return state["ongoing_trials"] == {"worker": trial.trial_id} and state["retry_queue"] == []


CANARIES = {
    "_duplicate": values_that_were_tried,
    "_get_next_combination": next_of_a_grid,
    "_get_oracle_fname": file_of_the_state,
    "_get_size": size_of_a_round,
    "_get_trial_dir": folder_of_a_trial,
    "_max_collisions": known_values_in_a_row,
    "_nonfixed_space": lambda folder: [e.name for e in engine(oracles.BayesianOptimizationOracle)._nonfixed_space()] == ["depth"],
    "_random_trial": first_round_of_hyperband,
    "_random_values": drawn_values,
    "_retry_queue": trials_to_retry,
    "_set_project_dir": lambda folder: Path(engine(folder=folder)._get_oracle_fname()).parent == folder / "search",
}
CALLED = {"_check_consecutive_failures", "_random_values", "_save_trial"}  # that subclasses override, in the test below


@pytest.mark.parametrize("name", CANARIES)
def test_oracle(name, tmp_path):
    assert CANARIES[name](tmp_path), f"{name} {ORACLE[name]}"


def test_every_private_part_of_an_oracle_has_a_canary():
    assert CANARIES.keys() | CALLED == ORACLE.keys()


def test_oracle_calls_what_is_overridden(tmp_path):
    oracle = oracles.RandomSearchOracle(objective=keras_tuner.Objective("score", "max"), max_trials=2)
    oracle.hyperparameters.Int("depth", 1, 9)
    oracle._set_project_dir(str(tmp_path), "search")
    with (
        mock.patch.object(oracle, "_save_trial") as save,
        mock.patch.object(oracle, "_check_consecutive_failures") as check,
        mock.patch.object(oracle, "_random_values", wraps=oracle._random_values) as draw,
    ):
        trial = oracle.create_trial("worker")
        trial.status = "FAILED"
        oracle.end_trial(trial)
    for name, called in (("_save_trial", save), ("_check_consecutive_failures", check), ("_random_values", draw)):
        assert called.called, f"{name} {ORACLE[name]}"
    assert Path(oracle._get_oracle_fname()).parent == tmp_path / "search", ORACLE["_get_oracle_fname"]


def test_known_hyperparameters():
    space = keras_tuner.HyperParameters()
    space.Int("depth", 1, 9)
    (entry,) = space.space
    assert hooks.is_known(space, entry), hooks.is_known.__doc__
    assert not hooks.is_known(keras_tuner.HyperParameters(), entry), hooks.is_known.__doc__


def test_a_worker_asks_its_chief(free_port):
    import grpc

    service, asked = hooks.messages(), []
    methods = ("GetSpace", "UpdateSpace", "CreateTrial", "UpdateTrial", "EndTrial", "GetBestTrials", "GetTrial")

    def answer(name):
        return lambda request, context: asked.append((name, request)) or getattr(service, f"{name}Response")()

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    hooks.add_servicer(SimpleNamespace(**{name: answer(name) for name in methods}), server)
    server.add_insecure_port(f"127.0.0.1:{free_port}")
    server.start()
    stub = hooks.chief_stub(grpc.insecure_channel(f"127.0.0.1:{free_port}"))
    trial = keras_tuner.engine.trial.Trial(keras_tuner.HyperParameters(), "0007", "COMPLETED")
    trial.hyperparameters.values = {"depth": 3, "rate": 0.1, "deep": True, "kind": "a"}
    requests = {
        "CreateTrial": {"tuner_id": "worker"},
        "GetTrial": {"trial_id": "0007"},
        "UpdateTrial": {"trial_id": "0007", "metrics": {"score": 0.1}, "step": 3},
        "EndTrial": {"trial": trial.to_proto()},
    }
    requests = {name: getattr(service, f"{name}Request")(**fields) for name, fields in requests.items()}
    for name, request in requests.items():
        assert getattr(stub, name)(request) == getattr(service, f"{name}Response")(), hooks.chief_stub.__doc__
    assert asked == list(requests.items()), hooks.add_servicer.__doc__
    assert requests["UpdateTrial"].metrics["score"] == 0.1, hooks.messages.__doc__  # in double precision
    assert values_of(requests["EndTrial"].trial) == trial.hyperparameters.values, hooks.messages.__doc__
    server.stop(None)


def test_files_of_tensorflow(tmp_path):
    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([1])])
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.double)
    (graph,) = hooks.saved_model_of((tmp_path / "saved" / "saved_model.pb").read_bytes()).meta_graphs
    assert "serving_default" in graph.signature_def, hooks.saved_model_of.__doc__
    assert graph.graph_def.library.function, hooks.saved_model_of.__doc__


def test_the_operations_of_a_tflite_file():
    from ai_edge_litert.interpreter import Interpreter

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    interpreter = Interpreter(model_content=tf.lite.TFLiteConverter.from_keras_model(model).convert())
    before = hooks.operations_of(interpreter)
    interpreter.allocate_tensors()
    *same, (delegate, inputs, outputs) = hooks.operations_of(interpreter)
    assert "FULLY_CONNECTED" in [name for name, _, _ in before], hooks.operations_of.__doc__
    assert (same, delegate) == (before, "DELEGATE"), hooks.operations_of.__doc__
    assert interpreter.get_input_details()[0]["index"] in inputs, hooks.operations_of.__doc__
    assert outputs == [interpreter.get_output_details()[0]["index"]], hooks.operations_of.__doc__


PRIVATE_MODULE = re.compile(r"(keras|keras_tuner)\.src\b|tensorflow\.(python|core|lite\.python)\b")


@cache
def tree_of(path):
    """The syntax of a module."""
    return ast.parse(path.read_text())


OF_NAMED_TUPLES = ("_asdict", "_fields", "_make", "_replace")  # documented; the underscore leaves names to the fields


def is_foreign(node):
    """Whether an attribute is one of something that is neither the object itself, nor its base, nor the module `os`."""
    own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls", "os")
    return not own and not isinstance(node.value, ast.Call)


@cache
def methods_of(folder):
    """The names of all functions in the modules of a folder."""
    trees = map(tree_of, folder.glob("*.py"))
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_hooks_are_in_one_place(path):
    if path.name == "hooks.py":
        return
    private = {
        name
        for node in ast.walk(tree_of(path))
        for name in [getattr(node, "module", None), *(alias.name for alias in getattr(node, "names", ()) if hasattr(alias, "name"))]
        if name and PRIVATE_MODULE.match(name)
    }
    assert not private, f"{private}: import it in hooks"
    own = methods_of(path.parent)
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Assign):
            names = {target.attr for target in node.targets if isinstance(target, ast.Attribute)}
            assert not names & set(REPLACED), f"{names}: use hooks.replace"
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            if node.attr in OF_NAMED_TUPLES:
                continue
            if is_foreign(node):
                raise AssertionError(f"the private {node.attr} of another object belongs into hooks")
            is_ours = node.attr in own or node.attr == "_exit"
            assert is_ours or node.attr in ORACLE, f"{node.attr} of KerasTuner: list it in hooks.ORACLE"
