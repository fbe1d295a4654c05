"""Fused operations: the same training, in fewer of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_resnet as kr
from keras_resnet.export.rescaling import scaled_by_convolution
from keras_resnet.recipes.fast_kernels import fuse, fuse_momentum, graphs_as_written

SMALL = {"depths": (1, 1), "widths": (8, 16), "stem_width": 8, "classes": 3, "activation": "tanh"}
LABELS = np.arange(6) % 3


def trained(shape, *, fused, steps=3, freeze=None, jit_compile=False, eager=False, **fields):
    keras.utils.set_random_seed(0)
    model = kr.build("resnet20", input_shape=shape, shortcut="projection", **SMALL | fields)
    if fused:
        fuse(model)
    if freeze:
        model.get_layer(freeze).trainable = False
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=jit_compile and not eager, run_eagerly=eager)
    images = np.random.default_rng(0).uniform(0, 255, (6, *shape)).astype("float32")
    return model, [model.train_on_batch(images, LABELS) for _ in range(steps)]


@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        ((8, 8, 1), {}),
        ((9, 2), {}),
        pytest.param((5, 6, 7, 1), {}, marks=pytest.mark.slow),
        pytest.param((None, None, 1), {}, marks=pytest.mark.slow),
        pytest.param((8, 8, 1), {"remat": True}, marks=pytest.mark.slow),
        pytest.param((8, 8, 1), {"activation_order": "full_preactivation"}, marks=pytest.mark.slow),
        ((8, 8, 1), {"freeze": "stage1_block1_norm1"}),
        pytest.param((8, 8, 1), {"jit_compile": True}, marks=pytest.mark.slow),
        ((8, 8, 1), {"block": "bottleneck"}),
        pytest.param((None, None, 1), {"block": "bottleneck", "squeeze": 4}, marks=pytest.mark.slow),
        pytest.param((8, 8, 1), {"block": "bottleneck", "groups": 2}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_trains_as_keras_does(shape, fields):
    size = tuple(length or 8 for length in shape)
    plain, expected = trained(size, fused=False, eager=True, **fields)
    model, losses = trained(size, fused=True, **fields)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for one, other in zip(model.weights, plain.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4, err_msg=one.path)


def test_the_kernel_is_in_the_training_step_and_nowhere_else():
    model, _ = trained((8, 8, 1), fused=True, steps=0)

    def operations(training):
        function = tf.function(lambda x: model(x, training=training)).get_concrete_function(tf.TensorSpec((6, 8, 8, 1)))
        return [operation.type for operation in function.graph.get_operations()]

    norms = sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    assert operations(True).count("FusedBatchNormV3") == norms
    assert "FusedBatchNormV3" not in operations(False)


def test_pointwise_convolutions_are_products_of_matrices_in_training():
    model, _ = trained((8, 8, 1), fused=True, steps=0, block="bottleneck")
    sizes = [(layer.kernel_size, layer.strides) for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    for training, products in ((True, sizes.count(((1, 1), (1, 1)))), (False, 0)):
        call = tf.function(lambda x, training=training: model(x, training=training))
        types = [operation.type for operation in call.get_concrete_function(tf.TensorSpec((6, 8, 8, 1))).graph.get_operations()]
        assert types.count("MatMul") == products + 1  # the classifier
        assert types.count("Conv2D") == len(sizes) - products
        assert ("EnsureShape" in types) == training


def test_file_is_that_of_a_plain_model(tmp_path):
    model, _ = trained((8, 8, 1), fused=True, steps=1, eager=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    images = np.ones((2, 8, 8, 1))
    np.testing.assert_array_equal(loaded.predict_on_batch(images), model.predict_on_batch(images))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_other_precisions(policy):
    _, expected = trained((8, 8, 1), fused=False, eager=True, dtype=policy)
    _, losses = trained((8, 8, 1), fused=True, dtype=policy)
    np.testing.assert_allclose(losses, expected, rtol=1e-12 if policy == "float64" else 2e-2)


def test_one_example_and_one_pixel():
    """The variance of a sample of one is not defined; that of all there is, which Keras keeps, is zero."""
    image = keras.Input((1, 1, 2))
    model = keras.Model(image, keras.layers.BatchNormalization(momentum=0.5)(image))
    fuse(model)
    model(np.ones((1, 1, 1, 2)), training=True)
    np.testing.assert_allclose(model.layers[1].moving_mean, [0.5, 0.5])
    np.testing.assert_allclose(model.layers[1].moving_variance, [0.5, 0.5])


@pytest.mark.parametrize(
    ("fields", "nesterov"),
    [
        *(({}, False), ({"use_ema": True}, True), ({"global_clipnorm": 0.1}, True), ({"weight_decay": 0.01}, False)),
        pytest.param({}, True, marks=pytest.mark.slow),
        pytest.param({"use_ema": True}, False, marks=pytest.mark.slow),
        pytest.param({"global_clipnorm": 0.1}, False, marks=pytest.mark.slow),
        pytest.param({"weight_decay": 0.01}, True, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_momentum_in_one_kernel_is_that_of_keras(fields, nesterov):
    def trained_weights(fused):
        optimizer = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 20), 0.9, nesterov=nesterov, **fields)
        if fused:
            fuse_momentum(optimizer)
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(2)])
        model.compile(optimizer, "mse")
        images = np.random.default_rng(0).normal(size=(40, 4))
        model.fit(images, images[:, :2] ** 2, batch_size=4, verbose=0, shuffle=False)
        return [*model.get_weights(), *map(np.asarray, optimizer.variables)]

    for one, other in zip(trained_weights(True), trained_weights(False), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_what_is_saved_of_it_is_plain_sgd():
    optimizer = keras.optimizers.SGD(0.1, 0.9)
    fuse_momentum(optimizer)
    assert keras.optimizers.serialize(optimizer)["module"] == "keras.optimizers"


def test_a_recipe_asks_for_both(monkeypatch):
    model = kr.build("resnet8", classes=3, input_shape=(8, 8, 1))
    kr.RECIPES["digits"].compile(model, 10)
    images = np.zeros((6, 8, 8, 1))

    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = model.loss(labels, model(images, training=True))
        model.optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)

    model.optimizer.build(model.trainable_weights)
    graph = tf.function(step).get_concrete_function(tf.constant(images, "float32"), tf.constant(LABELS)).graph
    types = [operation.type for operation in graph.get_operations()]
    norms = sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    assert types.count("FusedBatchNormV3") == types.count("FusedBatchNormGradV3") == norms
    assert types.count("ResourceApplyKerasMomentum") == len(model.trainable_weights)


def test_graphs_are_as_written_for_a_while():
    before = tf.config.optimizer.get_experimental_options()
    with pytest.raises(ZeroDivisionError), graphs_as_written():
        assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"] is True
        raise ZeroDivisionError
    assert not tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"]
    assert before == {} or before == tf.config.optimizer.get_experimental_options()


COLOURS = {"scale": [0.1, 0.2, 0.4], "offset": [-1.0, 0.0, 3.0]}


def test_steps_of_a_recipe_run_as_written(monkeypatch):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    recipe, options = kr.Recipe(epochs=1), []
    recipe.compile(model, 1)
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: options.append(tf.config.optimizer.get_experimental_options())
    )
    model.fit(np.zeros((2, 2)), np.zeros(2), callbacks=[*recipe.callbacks(), watch], verbose=0)
    assert options[0]["disable_meta_optimizer"]
    assert not tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"]


@pytest.mark.parametrize("fields", [{}, {"label_smoothing": 0.1}], ids=str)
def test_a_step_is_traced_once(fields, tiny, monkeypatch):
    traces, true_step = [], keras.Model.train_step
    monkeypatch.setattr(keras.Model, "train_step", lambda self, data: traces.append(1) or true_step(self, data))
    model, recipe = kr.build(tiny, input_shape=(8, 8, 1)), kr.Recipe(epochs=1, **fields)
    recipe.compile(model, 2)
    labels = np.zeros((8, 10), "float32") if recipe.one_hot else np.zeros(8)
    model.fit(np.zeros((8, 8, 8, 1)), labels, batch_size=4, verbose=0)
    assert len(traces) == 1


def operations_of(model):
    graph = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec((2, *model.input_shape[1:]))).graph
    return {operation.type for operation in graph.get_operations()} & {"Conv2D", "Mul"}


@pytest.mark.parametrize(
    ("shape", "fields", "during"),
    [
        ((4, 5, 3), COLOURS, "Conv2D"),
        ((4, 5, 3), COLOURS | {"scale": 0.5}, "Conv2D"),
        ((4, 5, 3), COLOURS | {"offset": 1.0}, "Conv2D"),
        ((4, 5, 3), {"scale": 0.5, "offset": 1.0}, "Mul"),
        ((4, 5, 1), {"scale": [0.5], "offset": [1.0]}, "Mul"),
        ((5, 3), COLOURS, "Mul"),
        ((4, 5, 3), {"scale": [[[0.1, 0.2, 0.4]]]}, "Conv2D"),
        ((4, 5, 1), COLOURS, "Mul"),
        ((4, 5, 40), {"scale": [0.5] * 40}, "Mul"),
    ],
    ids=str,
)
def test_channels_are_scaled_by_a_convolution_for_a_while(shape, fields, during):
    image = keras.Input(shape)
    inner = keras.Model(image, keras.layers.Rescaling(**fields)(image))
    model = keras.Model(image, inner(image))
    images = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype("float32")
    expected = images * np.asarray(fields["scale"]) + np.asarray(fields.get("offset", 0))
    with pytest.raises(KeyError), scaled_by_convolution(model):
        assert operations_of(model) == {during}
        np.testing.assert_allclose(model(images), expected, rtol=1e-5, atol=1e-5)
        raise KeyError
    assert operations_of(model) == {"Mul"}
    assert "call" not in vars(inner.layers[1])


def test_a_layer_in_two_models_and_one_with_a_call_of_its_own():
    class Twice(keras.layers.Rescaling):
        def call(self, inputs):
            return 2 * super().call(inputs)

    image = keras.Input((4, 5, 3))
    shared, own, subclass = keras.layers.Rescaling(**COLOURS), keras.layers.Rescaling(**COLOURS), Twice(**COLOURS)
    own.call = lambda inputs: inputs + 1
    towers = [keras.Model(image, layer(shared(image))) for layer in (own, subclass)]
    model = keras.Model(image, [tower(image) for tower in towers])
    images = np.ones((2, 4, 5, 3), "float32")
    expected = model(images)
    with scaled_by_convolution(model):
        assert "call" in vars(shared)
        assert "call" not in vars(subclass)
    assert "call" not in vars(shared)
    for found, other in zip(model(images), expected, strict=True):
        np.testing.assert_array_equal(found, other)
