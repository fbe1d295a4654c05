"""Transfer: frozen layers stay, other heads and channels keep the weights, folded networks compute the same."""

import logging
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet import InputError, transfer
from keras_resnet.networks.stages import Stages, unit_of

CE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
LABELS = np.arange(4) % 3
NARROW = {"depths": (1, 1), "widths": (4, 8), "stem_width": 4, "input_shape": (8, 8, 3), "classes": 3}


def images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, shape).astype("float32")


def unlike(model, seed=1):
    """The model with weights and statistics unlike those of the start."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" not in weight.path and len(weight.shape) == 1:
            low = 0.5 if "variance" in weight.path or "gamma" in weight.path else -0.3
            weight.assign(generator.uniform(low, low + 0.6, weight.shape))
        elif "seed" not in weight.path:
            weight.assign(generator.normal(0, (2 / np.prod(weight.shape[:-1])) ** 0.5, weight.shape))
    return model


def network(name="resnet8", **fields):
    return unlike(kr.build(name, **NARROW | fields))


def of_applications(version=1):
    """ResNet50 of keras.applications, or ResNet50V2, with fewer units and channels."""
    from keras.src.applications import resnet

    stacked = getattr(resnet, f"stack_residual_blocks_v{version}")
    first, last = ({"stride1": 1}, {}) if version == 1 else ({}, {"stride1": 1})

    def stack(x):
        return stacked(stacked(x, 2, version, name="conv2", **first), 4, 2, name="conv3", **last)

    settings = {"weights": None, "classes": 3, "classifier_activation": None, "input_shape": (32, 32, 3)}
    return unlike(resnet.ResNet(stack, preact=version == 2, use_bias=True, **settings))


def nested(inner):
    """A model that holds another one."""
    image = keras.Input(inner.input_shape[1:], name="outside")
    return keras.Model(image, keras.layers.Dense(3, name="last")(inner(keras.layers.Rescaling(0.5, name="half")(image))))


@pytest.fixture(scope="module")
def shared():
    """A network for what costs less than to build one."""
    return kr.build("resnet8", **NARROW | {"depths": (1, 2)})


def saved(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")


def trained(model, *callbacks, epochs=1, compile=True):
    if compile:
        model.compile(keras.optimizers.SGD(0.01, 0.9), CE)
    model.fit(images(4, *model.input_shape[1:]), LABELS, batch_size=2, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return model


def arrays(model, *, frozen=None):
    """The weights of the layers that have some, by name; of those that are frozen, or are not."""
    layers = [layer for layer in Stages(model).layers if layer.weights and (frozen is None or layer.trainable != frozen)]
    return {layer.name: layer.get_weights() for layer in layers}


def assert_equal(before, after):
    for name, weights in before.items():
        for one, other in zip(weights, after[name], strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)


def assert_moved(before, after):
    assert before
    for name, weights in before.items():
        assert any(not np.array_equal(one, other) for one, other in zip(weights, after[name], strict=True)), name


def first_trained(model):
    return next(layer.name for layer in Stages(model).layers if layer.weights and layer.trainable)


MODELS = {
    "plain": network,
    "nested": lambda: nested(network(depths=(2,), widths=(4,))),
    "applications": of_applications,
    "applications' V2, nested": lambda: nested(of_applications(2)),
    "pre-activation": lambda: network("resnet20", activation_order="full_preactivation"),
}
QUICK = ("nested",)
EACH = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in MODELS]


@pytest.mark.parametrize("name", EACH)
def test_frozen_layers_stay_bit_for_bit(name, tmp_path):
    """In a model from a file, compiled after it is frozen and loaded; it is frozen there too."""
    before = transfer.freeze(MODELS[name](), up_to="stage1")
    model = saved(before, tmp_path)
    still, moving = arrays(model, frozen=True), arrays(model, frozen=False)
    assert list(still) == list(arrays(before, frozen=True))
    assert sum(len(weights) == 4 for weights in still.values()) > 1  # BatchNormalization
    trained(model)
    assert_equal(still, arrays(model))
    assert_moved(moving, arrays(model))


def test_frozen_statistics_stay_in_the_fused_step_of_a_recipe():
    model = transfer.freeze(network(), up_to="stage1_block1")
    kr.Recipe(epochs=1).compile(model, 2)
    still, moving = arrays(model, frozen=True), arrays(model, frozen=False)
    trained(model, compile=False)
    assert_equal(still, arrays(model))
    assert_moved(moving, arrays(model))


def test_trainable_set_from_outside_undoes_it():
    """As the docstring says; the statistics move in a call of training, too."""
    inner = network()
    model = transfer.freeze(nested(inner), up_to="head")
    norm = inner.get_layer("stem_norm")
    before = norm.get_weights()
    model(images(4, 8, 8, 3), training=True)
    np.testing.assert_array_equal(norm.moving_mean, before[2])
    model.trainable = False
    model.trainable = True
    assert norm.trainable
    model(images(4, 8, 8, 3), training=True)
    assert not np.array_equal(norm.moving_mean, before[2])
    before = transfer.freeze(model, up_to="stem") and norm.get_weights()
    model(images(4, 8, 8, 3), training=True)
    np.testing.assert_array_equal(norm.moving_mean, before[2])
    model.trainable = inner.trainable = False  # what a model around it says counts for all in it, so it has to say otherwise
    transfer.unfreeze(model, "stage2")
    assert first_trained(model) == "stage2_block1_conv1"
    assert {weight.path.split("/")[0] for weight in model.trainable_variables} == set(arrays(model, frozen=False))


@pytest.mark.parametrize(
    ("place", "first"),
    [
        ("stem", "stage1_block1_conv1"),
        ("stage1", "stage2_block1_conv1"),
        pytest.param("conv2", "stage2_block1_conv1", marks=pytest.mark.slow),
        pytest.param("stage2_block1", "stage2_block2_conv1", marks=pytest.mark.slow),
        ("stage2_block2_relu1", "stage2_block2_conv2"),
        ("stage2", "logits"),
        (0, "stem_conv"),
        (3, "stem_norm"),
    ],
)
def test_places(place, first, shared):
    model = transfer.unfreeze(shared)
    assert first_trained(transfer.freeze(model, place)) == first
    if not isinstance(place, str):
        assert first_trained(transfer.unfreeze(model, place)) == first


def test_places_of_other_networks():
    model = of_applications(2)
    assert first_trained(transfer.freeze(model, "stage1")) == "conv3_block1_preact_bn"
    transfer.unfreeze(model)
    assert first_trained(transfer.freeze(model, "conv2_block2_out")) == "conv3_block1_preact_bn"
    assert [unit_of(name) for name in ("a_stage3_block2_out", "stack0_block1_add", "conv1_bn", "stage1", "restage1_block1")] == [
        *((3, 2), (1, 2)),
        *(None, None, None),
    ]


def test_unfreezing_leaves_what_is_asked():
    model = transfer.freeze(network(), "head")
    assert not model.trainable_variables
    transfer.unfreeze(model, "stage2", batch_norm=False)
    assert list(arrays(model, frozen=False)) == ["stage2_block1_conv1", "stage2_block1_conv2", "logits"]
    assert list(arrays(transfer.unfreeze(model, "head"), frozen=False))[-1] == "logits"
    assert first_trained(transfer.unfreeze(model, "stage1")) == "stage1_block1_conv1"


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            lambda model: transfer.freeze(model, "stage9"),
            "'stage9' is no stage, unit or layer .*: it has stem, stage1, stage2, head",
        ),
        (lambda model: transfer.unfreeze(model, "logit"), "'logit' is no stage"),
        (lambda model: transfer.freeze(model, 99), "99 layers: this model has "),
        (lambda model: transfer.StagedUnfreezing({-1: "stem"}), "epoch -1: expected a whole number"),
        (lambda model: trained(model, transfer.StagedUnfreezing({1: "stage9"})), "'stage9' is no stage"),
        (lambda model: transfer.freeze("resnet50"), "'resnet50' is not a Keras model"),
        (lambda model: transfer.replace_head(model, 0), "classes=0"),
        (lambda model: transfer.replace_head(model, ["cat", "dog"]), r"classes=\['cat', 'dog'\].*expected at least 1 class"),
        (lambda model: transfer.adapt_channels(model, 0), "channels=0"),
        (lambda model: transfer.adapt_channels(model, "1"), "channels='1'.*expected at least 1 channel"),
        (lambda model: transfer.adapt_channels(model, 4, extra="ones"), "extra='ones': expected .* zeros, mean"),
        (lambda model: transfer.with_prefix(model, ""), "prefix=''"),
        (lambda model: transfer.with_prefix(model, "left/"), "prefix='left/': .* none of them '/'"),
        (lambda model: transfer.feature_maps(model, 3), r"levels=\(3,\): expected distinct levels out of 0, 1"),
        (
            lambda model: transfer.feature_maps(model),
            r"levels=\(2, 3, 4, 5\): expected distinct levels out of 0, 1; a map of level n",
        ),
        (lambda model: transfer.fold_batch_norm(keras.Sequential([])), "is not a functional Keras model"),
        (lambda model: kr.Recipe(layer_decay=0), "layer_decay=0.0: must be above 0 and at most 1"),
        (lambda model: kr.Recipe(layer_decay=0.5).compile(keras.Sequential([keras.Input((3,))]), 1), "no residual units are found"),
    ],
)
def test_what_is_not_there_is_refused(action, message):
    with pytest.raises(InputError, match=message):
        action(network(normalize=None))


class Watch(keras.callbacks.Callback):
    """What trains in each epoch, and the weights after it."""

    def __init__(self):
        super().__init__()
        self.first, self.weights, self.slots = [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.first.append(first_trained(self.model))
        momenta = zip(self.model.trainable_variables, self.model.optimizer.momentums if epoch else (), strict=epoch > 0)
        self.slots.append({weight.path: np.array(momentum) for weight, momentum in momenta})

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(arrays(self.model))


def test_stages_unfreeze_while_fit_runs():
    """What joins trains from then on, and not before; the rest keeps its momentum, the optimizer its step."""
    model, watch = transfer.freeze(network(depths=(1,), widths=(4,)), up_to="stage1"), Watch()
    start = arrays(model)
    trained(model, transfer.StagedUnfreezing({1: "stage1"}), watch, epochs=2)
    assert watch.first == ["logits", "stage1_block1_conv1"]
    for before, after, names in ((start, watch.weights[0], ("st",)), (*watch.weights, ("stem",))):
        assert_equal({name: weights for name, weights in before.items() if name.startswith(names)}, after)
        assert_moved({name: weights for name, weights in before.items() if not name.startswith(names)}, after)
    assert {path for path, momentum in watch.slots[1].items() if momentum.any()} == {"logits/kernel", "logits/bias"}
    assert model.optimizer.iterations == 4


def test_stages_of_earlier_epochs_are_unfrozen_at_once():
    model = transfer.freeze(network(), up_to="stage2")
    model.compile("sgd", CE, run_eagerly=True)
    callback = transfer.StagedUnfreezing({1: "stage1", 5: "stem"}, batch_norm=False)
    model.fit(images(2, 8, 8, 3), LABELS[:2], initial_epoch=3, epochs=4, verbose=0, callbacks=[callback])
    assert list(arrays(model, frozen=False))[:3] == ["stage1_block1_conv1", "stage1_block1_conv2", "stage2_block1_conv1"]


def updates(recipe, model):
    """How far the optimizer of a recipe moves each weight, along the same gradients."""
    recipe.compile(model, 10)
    before, generator = [np.array(weight) for weight in model.trainable_variables], np.random.default_rng(0)
    gradients = [keras.ops.convert_to_tensor(generator.normal(size=weight.shape), "float32") for weight in before]
    for _ in range(recipe.accumulate):
        model.optimizer.apply(gradients, model.trainable_variables)
    return {w.path: np.array(w) - start for w, start in zip(model.trainable_variables, before, strict=True)}


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": "sgd"},
        {"optimizer": "adamw", "weight_decay": 0.1},
        pytest.param({"optimizer": "sgd", "ema": 0.9, "accumulate": 2}, marks=pytest.mark.slow),
        pytest.param({"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_each_unit_trains_at_a_share_of_the_rate_behind_it(fields):
    recipe = kr.Recipe(learning_rate=1e-3, schedule="constant", warmup=0, epochs=1, **fields)
    whole = updates(recipe, network(depths=(1, 2)))
    scaled = updates(kr.recipes.resolve(recipe, layer_decay=0.5), network(depths=(1, 2)))
    shares = {"stem": 0.5**4, "stage1_block1": 0.5**3, "stage2_block1": 0.5**2, "stage2_block2": 0.5, "logits": 1.0}
    assert len(whole) == 23
    for path, change in whole.items():
        [share] = [share for name, share in shares.items() if path.startswith(name)]
        np.testing.assert_allclose(scaled[path], share * change, rtol=1e-3, atol=1e-6, err_msg=path)


def test_lamb_and_weights_that_join_late_have_their_share_too():
    recipe = kr.Recipe(optimizer="lamb", learning_rate=1e-3, schedule="constant", warmup=0, epochs=1, layer_decay=0.5)
    model = transfer.freeze(network(), up_to="stage1")
    scaled = updates(recipe, model)
    assert not [path for path in scaled if path.startswith(("stem", "stage1"))]
    gamma = np.abs(scaled["stage2_block1_norm1/gamma"]) / np.abs(scaled["logits/bias"]).max()
    np.testing.assert_allclose(gamma, 0.5, rtol=1e-3)  # without decay, the first step of LAMB is the rate
    transfer.unfreeze(model)
    before = np.array(model.get_layer("stem_norm").gamma)
    model.optimizer.apply([keras.ops.ones_like(weight) for weight in model.trainable_variables], model.trainable_variables)
    assert np.abs(model.get_layer("stem_norm").gamma - before).max() < 0.3 * np.abs(scaled["logits/bias"]).max()


@pytest.mark.slow
def test_a_whole_step_decays_by_layer():
    """In the compiled step of `fit`, and by `fit`'s own gradients: the stem moves by what it does, times its share."""
    moved = []
    for layer_decay in (1.0, 0.1):
        model = network()
        kr.Recipe(learning_rate=1e-3, schedule="constant", warmup=0, epochs=1, layer_decay=layer_decay).compile(model, 1)
        before = model.get_weights()
        model.fit(images(4, 8, 8, 3), LABELS, verbose=0)
        moved.append({w.path: np.array(w) - b for w, b in zip(model.weights, before, strict=True)})
    np.testing.assert_allclose(moved[1]["stem_conv/kernel"], moved[0]["stem_conv/kernel"] * 1e-3, rtol=0.1, atol=1e-7)
    np.testing.assert_allclose(moved[1]["logits/kernel"], moved[0]["logits/kernel"], rtol=1e-3, atol=1e-7)


def test_a_new_head_has_the_layers_of_the_old_network(tmp_path):
    model = network()
    other = transfer.replace_head(model, 5, dropout=0.5)
    assert other.output_shape == (None, 5)
    assert [layer.name for layer in other.layers[-3:]] == ["pool", "dropout", "logits"]
    assert all(other.get_layer(layer.name) is layer for layer in model.layers[:-1])
    x = images(2, 8, 8, 3)
    np.testing.assert_allclose(saved(other, tmp_path)(x), other(x), rtol=1e-5, atol=1e-6)
    assert model.output_shape == (None, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: kr.build("resnet8", include_top=False, **NARROW),
        pytest.param(lambda: kr.build("seresnet50", include_top=False, **NARROW), marks=pytest.mark.slow),
        pytest.param(lambda: kr.build("resnet8", include_top=False, pooling="max", **NARROW), marks=pytest.mark.slow),
        lambda: keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(2.0), network()]),
        lambda: keras.Sequential([network(include_top=False), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(9)]),
        lambda: keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(9)]),
        pytest.param(of_applications, marks=pytest.mark.slow),
    ],
)
def test_heads_of_other_models(make):
    model = make()
    other = transfer.replace_head(model, 4, activation="softmax")
    assert other.output_shape == (None, 4)
    assert len([weight for weight in other.weights if weight.path.startswith("logits")]) == 2
    assert {id(weight) for weight in other.weights[:-2]} <= {id(weight) for weight in model.weights}
    assert len(other.weights) >= len(model.weights) - 2
    np.testing.assert_allclose(np.sum(other(images(2, *model.input_shape[1:])), -1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", EACH)
def test_two_networks_in_one_model(name, tmp_path):
    model = MODELS[name]()
    one, two = (transfer.with_prefix(model, prefix) for prefix in ("a_", "b_"))
    assert all(layer.name.startswith("a_") for layer in [one, *one.layers, *Stages(one).layers])
    both = saved(keras.Model([one.input, two.input], keras.layers.Add()([one.output, two.output])), tmp_path)
    x, y = images(2, *model.input_shape[1:]), images(2, *model.input_shape[1:], seed=1)
    np.testing.assert_allclose(both([x, y]), model(x) + model(y), rtol=1e-5, atol=1e-4)
    one.get_layer(one.layers[-1].name).set_weights([0 * weight for weight in one.layers[-1].get_weights()])
    assert np.any(model(x))
    assert not any(layer.trainable for layer in Stages(transfer.freeze(both, "stage1")).layers if "stem" in layer.name)


@pytest.mark.parametrize(
    ("normalize", "is_nested"),
    [
        ("imagenet", True),
        (((100.0,) * 3, (50.0,) * 3), False),
        pytest.param("imagenet", False, marks=pytest.mark.slow),
        pytest.param(None, False, marks=pytest.mark.slow),
        pytest.param(None, True, marks=pytest.mark.slow),
    ],
)
def test_other_channels(normalize, is_nested, tmp_path):
    model = nested(network(normalize=normalize)) if is_nested else network(normalize=normalize)
    x = images(4, 8, 8, 4)
    grey = transfer.adapt_channels(model, 1)
    assert grey.input_shape == (None, 8, 8, 1)
    assert ("channels" in [layer.name for layer in grey.layers]) == (normalize == "imagenet")
    expected = model(np.repeat(x[..., :1], 3, -1))
    np.testing.assert_allclose(grey(x[..., :1]), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    four, expected = transfer.adapt_channels(model, 4), model(x[..., :3])
    np.testing.assert_allclose(four(x), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(saved(four, tmp_path)(x), four(x), rtol=1e-5, atol=1e-5)
    assert np.any(np.abs(transfer.adapt_channels(model, 4, extra="mean")(x) - expected) > 1e-3)


def test_channels_of_other_kinds_of_networks():
    grey = kr.build("resnet8", **NARROW | {"input_shape": (8, 8, 1), "normalize": ((100.0,), (50.0,))})
    x = images(2, 8, 8, 3)
    colour, x[..., 1:] = transfer.adapt_channels(grey, 3), x[..., :1]
    np.testing.assert_allclose(colour(x), grey(x[..., :1]), rtol=1e-4, atol=1e-5)
    numbers = transfer.adapt_channels(network(normalize=((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))), 4).get_layer("normalize")
    np.testing.assert_allclose(1 / np.ravel(numbers.scale), [4, 5, 6, 5])
    np.testing.assert_allclose(-np.ravel(numbers.offset) / np.ravel(numbers.scale), [1, 2, 3, 2])


@pytest.mark.slow
def test_two_channels_of_another_network():
    model, x = of_applications(), images(2, 32, 32, 2)
    x[..., 1] = x[..., 0]
    expected = model(np.repeat(x[..., :1], 3, -1))
    np.testing.assert_allclose(transfer.adapt_channels(model, 2)(x), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_normalization_layers_get_other_channels():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0])(image)
    x = keras.layers.Conv2D(2, 3)(keras.layers.BatchNormalization()(x))
    model, x = unlike(keras.Model(image, x)), images(2, 8, 8, 4)
    np.testing.assert_allclose(transfer.adapt_channels(model, 4)(x), model(x[..., :3]), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(transfer.adapt_channels(model, 1)(x[..., :1]), model(x[..., [0] * 3]), rtol=1e-5, atol=1e-4)
    flat = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(InputError, match=r"layer 'dense\w*' has a weight of \(12, 2\), which cannot be adapted to \(16, 2\)"):
        transfer.adapt_channels(flat, 4)


def norms(model):
    return sum(isinstance(layer, keras.layers.BatchNormalization) for layer in Stages(model).layers)


@pytest.mark.parametrize("name", EACH)
def test_folded_normalisation(name, tmp_path, caplog):
    model = MODELS[name]()
    with caplog.at_level(logging.WARNING):
        folded = transfer.fold_batch_norm(model)
    x = images(4, *model.input_shape[1:])
    expected = model(x)
    np.testing.assert_allclose(saved(folded, tmp_path)(x), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    preactivation = "V2" in name or "pre" in name
    assert 0 < norms(folded) < norms(model) if preactivation else norms(folded) == 0 < norms(model)
    assert f"{norms(folded)} of {norms(model)} BatchNormalization layers are not folded: " in caplog.text or not preactivation


def test_other_layers_fold_and_what_cannot_says_so(caplog):
    layers, image = keras.layers, keras.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="depthwise")(image)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.BatchNormalization(center=False)(layers.Conv2D(4, 3, activation="relu")(x))  # after the ReLU
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, groups=2)(x))
    shared = layers.Conv2D(4, 1)(x)
    x = layers.GlobalAveragePooling2D()(layers.Add()([layers.BatchNormalization(name="second_reader")(shared), shared]))
    model = unlike(keras.Model(image, layers.BatchNormalization(center=False)(layers.Dense(3)(x))))
    folded, x = transfer.fold_batch_norm(model), images(2, 8, 8, 3)
    np.testing.assert_allclose(folded(x), model(x), rtol=1e-4, atol=1e-5 * np.abs(model(x)).max())
    assert norms(folded) == 2
    assert "2 of 5 BatchNormalization layers are not folded" in caplog.text
    assert "'second_reader' follows Conv2D, which feeds others too" in caplog.text
    assert "has an activation" in caplog.text


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("resnet50v2", {}),
        pytest.param("resnet18", {}, marks=pytest.mark.slow),
        pytest.param("resnet18v2", {}, marks=pytest.mark.slow),
        pytest.param("resnet50d", {}, marks=pytest.mark.slow),
        pytest.param("seresnet50", {"antialias": True}, marks=pytest.mark.slow),
        pytest.param("ecaresnet50t", {"activation": "silu"}, marks=pytest.mark.slow),
        pytest.param("resnet18v2", {"shortcut": "padding"}, marks=pytest.mark.slow),
        pytest.param("resnet18", {"activation_order": "relu_preactivation"}, marks=pytest.mark.slow),
        pytest.param("resnet18", {"activation_order": "norm_after_addition"}, marks=pytest.mark.slow),
        pytest.param("resnet18", {"shortcut": "none"}, marks=pytest.mark.slow),
        pytest.param("resnet18", {"shortcut_gate": "exclusive", "stem_pool": "convolution"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_maps_are_those_of_features(name, fields):
    """The maps of `build(..., features=...)`, of a model that has its weights already."""
    fields = {"depths": (2, 1, 1, 1), "widths": (8, 8, 8, 8), "stem_width": 8, "input_shape": (None, None, 3), **fields}
    model = kr.build(name, **fields)
    maps = transfer.feature_maps(model, (1, 2, 3, 4, 5))
    expected = kr.build(name, features=(1, 2, 3, 4, 5), **fields)
    assert [layer_of(maps, key) for key in maps.output] == [layer_of(expected, key) for key in expected.output]
    assert all(model.get_layer(layer.name) is layer for layer in maps.layers)


def layer_of(model, key):
    return model.output[key]._keras_history.operation.name


@pytest.mark.parametrize("version", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_maps_of_other_models(version):
    model = of_applications(version)
    maps = transfer.feature_maps(model, (3, 2), names="P")
    last = {1: ["conv3_block2_out", "conv2_block1_out"], 2: ["post_relu", "conv2_block2_preact_relu"]}[version]
    assert [layer_of(maps, key) for key in ("P3", "P2")] == last
    around, x = transfer.feature_maps(nested(model), (2, 3)), images(2, 32, 32, 3)
    assert {key: value.shape for key, value in around.output.items()} == {"C2": (None, 8, 8, 8), "C3": (None, 4, 4, 16)}
    np.testing.assert_allclose(around(x)["C3"], maps(x / 2)["P3"], rtol=1e-4, atol=1e-4)
    assert len(around.weights) < len(model.weights)


BACKENDS = """
import keras, numpy as np, keras_resnet as kr
fields = {"depths": (1, 1), "widths": (4, 8), "stem_width": 4, "input_shape": (8, 8, 3), "classes": 3}
changes = []
for share in (1.0, 0.5):
    keras.utils.set_random_seed(0)
    model = kr.build("resnet8", **fields)
    recipe = kr.Recipe(learning_rate=1e-3, schedule="constant", warmup=0, epochs=1, optimizer="adamw", layer_decay=share)
    recipe.compile(model, 1)
    before = [np.array(w) for w in map(keras.ops.convert_to_numpy, model.trainable_variables)]
    model.fit(np.ones((4, 8, 8, 3)) * np.arange(4)[:, None, None, None] * 60, np.arange(4) % 3, verbose=0)
    after = [np.array(w) for w in map(keras.ops.convert_to_numpy, model.trainable_variables)]
    changes.append([a - b for a, b in zip(after, before)])
np.testing.assert_allclose(changes[1][0], changes[0][0] * 0.5**3, rtol=0.02, atol=1e-7)
np.testing.assert_allclose(changes[1][-1], changes[0][-1], rtol=0.02, atol=1e-7)
model = kr.transfer.freeze(kr.build("resnet8", **fields), "stage2")
model.compile(keras.optimizers.SGD(0.01, 0.9), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
x, y = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)), np.arange(4) % 3
get = lambda name: [keras.ops.convert_to_numpy(w) for w in model.get_layer(name).weights]
start, seen = get("stem_norm"), []
watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append([get("stem_norm"), get("stage2_block1_norm2")]))
model.fit(x, y, epochs=3, verbose=0, callbacks=[kr.transfer.StagedUnfreezing({1: "stage2", 2: "stem"}), watch])
assert all(np.array_equal(a, b) for a, b in zip(start, seen[1][0]))
assert not np.array_equal(seen[0][1][3], seen[1][1][3]) and not np.array_equal(start[3], seen[2][0][3])
folded = kr.transfer.fold_batch_norm(model)
np.testing.assert_allclose(folded.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends(backend):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", BACKENDS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_the_page_runs(capsys):
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "transfer.md").read_text()
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), {"__name__": "__main__"})
    assert "(None, 8, 8, 4)\n{'P1': (None, 4, 4, 32), 'P2': (None, 2, 2, 64)}" in capsys.readouterr().out


@pytest.mark.parametrize("shape", [(13, 21, 3), (None, None, 3), (40, 2)])
def test_a_pyramid_adds_what_coarser_maps_have_seen(shape):
    model = kr.build("resnet8", input_shape=shape, include_top=False)
    pyramid = transfer.feature_pyramid(model, levels=(0, 1, 2), channels=5)
    for layer in pyramid.layers:
        if layer.name.startswith("fpn_smooth"):
            kernel = np.zeros(layer.kernel.shape)
            kernel[(1,) * (kernel.ndim - 2)] = np.eye(5)  # the map as it is
            layer.set_weights([kernel, np.zeros(5)])
    images = np.random.default_rng(0).normal(size=(1, *(side or 16 for side in shape[:-1]), shape[-1])).astype("float32")
    found = pyramid.predict(images, verbose=0)
    maps = transfer.feature_maps(model, (0, 1, 2)).predict(images, verbose=0)
    expected = None
    for level in (2, 1, 0):
        kernel, bias = pyramid.get_layer(f"fpn_lateral{level}").get_weights()
        lateral = maps[f"C{level}"] @ kernel.reshape(kernel.shape[-2:]) + bias
        if expected is not None:
            for axis in range(1, lateral.ndim - 1):
                expected = np.repeat(expected, 2, axis)
            lateral = lateral + expected[tuple(slice(size) for size in lateral.shape)]
        expected = lateral
        np.testing.assert_allclose(found[f"P{level}"], expected, rtol=1e-4, atol=1e-4)


def test_levels_of_a_pyramid_are_neighbours():
    model = kr.build("resnet8", depths=(1, 1, 1), widths=(1, 1, 1), stem_width=1, include_top=False)
    assert list(transfer.feature_pyramid(model, 1, channels=4).output) == ["P1"]
    with pytest.raises(InputError, match=r"levels=\[0, 2\]: expected consecutive levels"):
        transfer.feature_pyramid(model, levels=(0, 2))
