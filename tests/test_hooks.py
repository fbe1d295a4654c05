"""A canary for each hook: where a new Keras or KerasTuner has changed what is replaced or read in it, the sentence says so."""

import ast
from pathlib import Path
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


@pytest.mark.parametrize("name", ORACLE)
def test_oracle(name):
    engines = (oracles.RandomSearchOracle, oracles.BayesianOptimizationOracle, oracles.HyperbandOracle, oracles.GridSearchOracle)
    objective = keras_tuner.Objective("score", "max")
    there = [hasattr(engine(objective=objective), name) for engine in engines]
    assert any(there), f"{name} {ORACLE[name]}: no engine of KerasTuner has it"


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


def test_the_parts_of_the_chief_and_its_client():
    from keras_tuner.src import protos
    from keras_tuner.src.distribute.oracle_chief import OracleServicer
    from keras_tuner.src.distribute.oracle_client import OracleClient

    assert {"CreateTrial", "EndTrial", "GetTrial", "UpdateTrial"} <= set(dir(OracleServicer)), "a chief answers to these calls"
    assert {"create_trial", "end_trial", "get_trial", "update_trial"} <= set(dir(OracleClient)), "a worker makes these calls"
    assert hasattr(protos.get_service_grpc(), "OracleStub"), "a worker speaks through a stub"


def is_foreign(node):
    """Whether an attribute is one of something that is neither the object itself, nor its base, nor the module `os`."""
    own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls", "os")
    return not own and not isinstance(node.value, ast.Call)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_hooks_are_in_one_place(path):
    if path.name == "hooks.py":
        return
    trees = {other: ast.parse(other.read_text()) for other in {path, *path.parent.glob("*.py")}}
    own = {node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(trees[path]):
        if isinstance(node, ast.Assign):
            names = {target.attr for target in node.targets if isinstance(target, ast.Attribute)}
            assert not names & set(REPLACED), f"{names}: use hooks.replace"
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            if is_foreign(node):
                raise AssertionError(f"the private {node.attr} of another object belongs into hooks")
            is_ours = node.attr in own or node.attr == "_exit"
            assert is_ours or node.attr in ORACLE, f"{node.attr} of KerasTuner: list it in hooks.ORACLE"
