"""What `kr.analysis` computes equals what NumPy and TensorFlow compute in another way, on small networks."""

import csv
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from itertools import combinations, pairwise
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_resnet as kr
from keras_resnet import InputError, analysis
from keras_resnet.analysis.derivatives import batches, gradients_of
from keras_resnet.analysis.gradient_paths import outputs_on_path
from keras_resnet.analysis.of_run import FORMS
from keras_resnet.analysis.propagation import moments
from keras_resnet.analysis.steps import Network, values_at
from keras_resnet.analysis.units import Chain
from keras_resnet.hooks import count_uses

IMAGES = np.random.default_rng(0).uniform(0, 255, (12, 8, 8, 1)).astype("float32")
LABELS = np.arange(12) % 3
SMALL = {"depths": (2, 2), "widths": (4, 6), "stem_width": 4, "input_shape": (8, 8, 1), "classes": 3}
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def shaken(model, seed=0):
    """A model whose normalisation has statistics, scales and shifts unlike those of the start."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if len(weight.shape) == 1:
            low = 0.5 if "variance" in weight.path or "gamma" in weight.path else -0.2
            weight.assign(generator.uniform(low, low + 0.5, weight.shape))
        else:
            weight.assign(generator.normal(0, (2 / np.prod(weight.shape[:-1])) ** 0.5, weight.shape))
    return model


def small(**fields):
    return shaken(kr.build("resnet20", **SMALL | fields))


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture
def changed(model, another):
    """A network like `model` with the same weights, for a test to change."""
    another.set_weights(model.get_weights())
    return another


@pytest.fixture(scope="module")
def another():
    return kr.build("resnet20", **SMALL)


@pytest.fixture(scope="module")
def preactivated():
    return small(activation_order="full_preactivation", depths=(3,), widths=(4,))


def users(units=3, width=4, *, size=(8, 8), channels=1, kernel=3, residual=True, end=lambda x: layers.Dense(3, name="scores")(x)):
    """A network as a user writes it: no name says what is a unit, additions are operators, He-normal weights, no normalisation."""
    image = keras.Input((*size, channels))
    convolve = lambda x: layers.Conv2D(width, kernel, padding="same", kernel_initializer="he_normal")(x)  # noqa: E731
    x = convolve(image)
    for _ in range(units):
        branch = convolve(layers.ReLU()(convolve(layers.ReLU()(x))))
        x = x + branch if residual else branch
    return keras.Model(image, end(layers.GlobalAveragePooling2D()(layers.ReLU()(x))))


def inside(inner):
    """A model with another one inside."""
    image = keras.Input((8, 8, 1))
    return keras.Model(image, layers.Softmax()(inner(layers.Rescaling(0.5)(image))))


def layer_outputs(model, *names):
    return [np.asarray(value) for value in keras.Model(model.input, [model.get_layer(name).output for name in names])(IMAGES)]


NETWORKS = {
    "original": lambda: small(),
    "bottleneck_preactivation": lambda: small(block="bottleneck", activation_order="full_preactivation", squeeze=2),
    "gates": lambda: small(shortcut_gate="exclusive"),
    "plain": lambda: small(shortcut="none"),
    "users": users,
    "nested": lambda: inside(users()),
    "sequential": lambda: keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)]),
}


RARE = ("original", "bottleneck_preactivation", "gates", "plain")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in RARE)) for name in NETWORKS])
def test_units_are_found_and_the_model_stays_what_it_was(name):
    model = NETWORKS[name]()
    weights, uses = model.get_weights(), [count_uses(layer) for layer in model.layers]
    chain = Chain(model)
    assert len(chain.units) == {"users": 3, "nested": 3, "sequential": 1}.get(name, 4)
    assert chain.is_residual == (name not in ("plain", "sequential"))
    np.testing.assert_allclose(chain(IMAGES), model(IMAGES), rtol=1e-6)
    if name != "nested":  # which is opened up by calling its layers once more
        analysis.signals(model, IMAGES)
        analysis.gradients(model, IMAGES, LABELS)
    assert uses == [count_uses(layer) for layer in model.layers]
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_units_have_the_names_of_their_layers(model):
    names = [f"stage{stage}_block{block}" for stage in (1, 2) for block in (1, 2)]
    assert [unit.name for unit in Chain(model).units] == names
    assert [unit.is_identity for unit in Chain(model).units] == [True, True, False, True]
    assert [unit.name for unit in Chain(small(shortcut="none")).units] == names


@pytest.mark.slow
def test_units_of_keras_applications():
    for make, count, first in (("ResNet50", 16, "conv2_block1"), ("ResNet50V2", 16, "conv2_block1"), ("VGG16", 13, "block1_conv1")):
        model = getattr(keras.applications, make)(weights=None, input_shape=(64, 64, 3), classes=4)
        images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
        chain = Chain(model)
        assert (len(chain.units), chain.units[0].name) == (count, first)
        np.testing.assert_allclose(chain(images), model(images), rtol=1e-5)
        assert analysis.grad_cam(model, images).shape == (2, 64, 64)


def test_what_is_no_chain_is_refused():
    image = keras.Input((8, 8, 1))
    x, y = layers.Conv2D(2, 1)(image), layers.Conv2D(2, 1)(image)
    crossed = keras.Model(
        image, layers.GlobalAveragePooling2D()(layers.Concatenate()([x + layers.ReLU()(x), y + layers.ReLU()(y)]))
    )
    with pytest.raises(InputError, match=r"not a chain of units|more than its own input"):
        Chain(crossed)
    with pytest.raises(InputError, match="no residual units and no convolutions"):
        Chain(keras.Model(image, layers.Dense(2)(layers.Flatten()(image))))
    with pytest.raises(InputError, match="there are no images"):
        analysis.responses(users(), IMAGES[:0])


def test_forward_and_backward_equations(preactivated):
    """x_L = x_l + sum of F, and the gradient of that sum (arXiv:1603.05027 eq. 4 and 5)."""
    chain = Chain(preactivated)
    first, last = layer_outputs(preactivated, "stage1_block1_add", "stage1_block3_add")

    def branches(x):
        total = 0.0
        for unit in chain.units[1:]:
            branch = unit.branch(x)
            x, total = x + branch, total + branch
        return total

    np.testing.assert_allclose(last, first + np.asarray(branches(first)), rtol=1e-5, atol=1e-5)
    [above] = gradients_of(lambda x: keras.ops.sum(chain.head(x)[:, 0]), [last])
    [through] = gradients_of(lambda x: keras.ops.sum(branches(x) * above), [first])
    with tf.GradientTape() as tape:
        x = tf.convert_to_tensor(first)
        tape.watch(x)
        scores = keras.ops.sum(chain.outputs_from(x, 1)[:, 0])
    np.testing.assert_allclose(tape.gradient(scores, x), above + through, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("residual", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_signals_are_those_of_he_initialised_networks(residual):
    """Without normalisation, the expected mean square doubles with each unit of a residual network, and stays in a plain one.

    What comes into a unit is as often positive as negative: half of its mean square passes a ReLU, and a convolution with He-normal
    weights doubles it (arXiv:1502.01852 section 2.2). The branch adds as much as comes in.
    """
    images, factors = np.random.default_rng(1).normal(size=(8, 4, 4, 96)).astype("float32"), []
    for seed in range(3):
        keras.utils.set_random_seed(seed)
        rows = analysis.signals(users(6, 96, size=(4, 4), channels=96, kernel=1, residual=residual), images)
        totals = np.array([row["squared_mean"] + row["variance"] for row in rows])
        factors.append(totals[1:] / totals[:-1])
    assert np.mean(factors) == pytest.approx(2 if residual else 1, rel=0.05)


def test_with_batch_normalisation_the_variance_grows_by_one_in_each_unit():
    """Of a network of pre-activation units, before training (arXiv:2101.08692 section 3)."""
    fields = {"depths": (4,), "widths": (48,), "stem_width": 48, "activation_order": "full_preactivation", "normalize": None}
    keras.utils.set_random_seed(0)
    model = kr.build("resnet20", **SMALL | fields | {"input_shape": (16, 16, 3)})
    rows = analysis.signals(model, np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype("float32"))
    totals = [row["squared_mean"] + row["variance"] for row in rows]
    share = (46 / 48) ** 2  # of the window of a 3x3 convolution that is inside a map of 16x16 pixels, on average
    assert np.mean(np.diff(totals)) == pytest.approx(share, rel=0.1)


def test_moments_and_responses_are_those_of_the_layers(model):
    [add, norm] = layer_outputs(model, "stage1_block2_add", "stage1_block2_norm2")
    row = analysis.signals(model, IMAGES, training=False)[1]
    np.testing.assert_allclose(row["squared_mean"], (add.mean((0, 1, 2)) ** 2).mean(), rtol=1e-5)
    np.testing.assert_allclose(row["variance"], add.var((0, 1, 2)).mean(), rtol=1e-5)
    np.testing.assert_allclose(row["branch_variance"], norm.var((0, 1, 2)).mean(), rtol=1e-5)
    assert moments(np.ones((2, 3, 3, 2))) == (1.0, 0.0)
    rows = analysis.responses(model, IMAGES)
    assert [each["layer"] for each in rows] == [
        layer.name for layer in model.layers if isinstance(layer, layers.Conv2D) and "shortcut" not in layer.name
    ]
    np.testing.assert_allclose(rows[4]["deviation"], norm.std(), rtol=1e-4)


def test_responses_of_convolutions_beside_each_other():
    inputs = keras.Input((8, 8, 1))
    normalised, plain = layers.Conv2D(2, 3, padding="same", name="one")(inputs), layers.Conv2D(2, 3, padding="same", name="other")
    out = layers.add([plain(inputs), layers.BatchNormalization(epsilon=1.0, name="norm")(normalised)])
    model = shaken(keras.Model(inputs, out))
    deviations = {row["layer"]: row["deviation"] for row in analysis.responses(model, IMAGES)}
    one, other = layer_outputs(model, "norm", "other")
    np.testing.assert_allclose([deviations["one"], deviations["other"]], [one.std(), other.std()], rtol=1e-4)


@pytest.mark.parametrize("training", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_gradient_norms(model, training):
    rows = analysis.gradients(model, IMAGES, LABELS, training=training)
    statistics = [np.array(weight) for weight in model.non_trainable_weights]
    weights = [weight for weight in model.trainable_weights if weight.path.startswith("stage2_block1")]
    sums = keras.Model(model.input, [model.get_layer("stage2_block1_add").output, model.output])
    with tf.GradientTape() as tape:
        output, logits = sums(IMAGES, training=training)
        loss = CROSS_ENTROPY(LABELS, logits)
    *by_weight, by_output = tape.gradient(loss, [*(weight.value for weight in weights), output])
    for weight, before in zip(model.non_trainable_weights, statistics, strict=True):
        weight.assign(before)
    flat = np.concatenate([np.ravel(gradient) for gradient in by_weight])
    assert rows[2]["unit"] == "stage2_block1"
    np.testing.assert_allclose(rows[2]["weights"], np.linalg.norm(flat), rtol=1e-3)
    np.testing.assert_allclose(rows[2]["mean_weight"], np.abs(flat).mean(), rtol=1e-3)
    np.testing.assert_allclose(rows[2]["output"], np.linalg.norm(by_output), rtol=1e-3)


def test_gradient_norms_over_a_training(tmp_path, eagerly):
    model = users(2)
    model.compile(keras.optimizers.SGD(1e-3), CROSS_ENTROPY)
    norms = analysis.GradientNorms(IMAGES / 255, LABELS, tmp_path / "norms.csv", every=2)
    first = analysis.gradients(model, IMAGES / 255, LABELS)
    model.fit(IMAGES / 255, LABELS, epochs=3, verbose=0, callbacks=[norms])
    assert [row["epoch"] for row in norms.rows] == [0, 0, 2, 2]
    np.testing.assert_allclose(norms.rows[1]["weights"], first[1]["weights"], rtol=1e-5)
    assert norms.rows[3]["weights"] != first[1]["weights"]
    with (tmp_path / "norms.csv").open() as file:
        assert [float(row["weights"]) for row in csv.DictReader(file)] == [row["weights"] for row in norms.rows]
    assert analysis.plot_gradient_norms(norms.rows).axes[0].get_lines()
    with pytest.raises(InputError, match="every=0"):
        analysis.GradientNorms(IMAGES, LABELS, every=0)


def test_gradients_of_a_network_of_mixed_precision():
    model = kr.build(kr.ResNetSpec(**SMALL), dtype="mixed_float16")
    assert all(row["output"] > 0 for row in analysis.gradients(model, IMAGES, LABELS))
    assert all(row["correlation"] for row in analysis.gradient_correlation(model, IMAGES))


def test_labels_in_a_column_are_labels_and_others_are_refused(model):
    column = LABELS[:, None]
    assert analysis.lesions(model, IMAGES, column) == analysis.lesions(model, IMAGES, LABELS)
    for labels in (LABELS[:3], np.eye(3)[LABELS]):
        for function in (analysis.lesions, analysis.gradients, analysis.path_lengths, analysis.landscape):
            with pytest.raises(InputError, match="and 12 images do not belong together"):
                function(model, IMAGES, labels)
        with pytest.raises(InputError, match="and 12 images do not belong together"):
            analysis.GradientNorms(IMAGES, labels)


def test_numbers_that_are_not_finite(model, monkeypatch):
    rows = [{"x": x, "y": y, "loss": 1.0 + x * x if y else np.nan, "accuracy": 0.5} for x in (-1, 0, 1) for y in (-1, 0, 1)]
    assert analysis.plot_landscape({"a": rows}).axes
    with pytest.raises(InputError, match="the loss is nowhere finite"):
        analysis.plot_landscape({"a": [{**row, "loss": np.inf} for row in rows]})
    monkeypatch.setattr("keras_resnet.analysis.projection.pooled_features", lambda model, images: np.full((12, 6), np.nan))
    with pytest.raises(InputError, match="features that are not finite"):
        analysis.embedding(model, IMAGES)


def test_one_output_has_no_accuracy():
    model = users(end=lambda x: layers.Dense(1, activation="sigmoid")(x))
    with pytest.raises(InputError, match="one output for each image, not one for each class"):
        analysis.lesions(model, IMAGES, LABELS % 2)


def test_correlation_of_gradients(model):
    rows = analysis.gradient_correlation(model, IMAGES[:5], seed=3)
    direction = np.random.default_rng(3).normal(size=3).astype("float32")
    sums = keras.Model(model.input, [model.get_layer("stage1_block2_add").output, model.output])
    gradients = []
    for image in IMAGES[:5]:
        with tf.GradientTape() as tape:
            output, logits = sums(image[None])
            total = tf.reduce_sum(logits * direction)
        gradients.append(np.ravel(tape.gradient(total, output)))
    pairs = [np.corrcoef(gradients[one], gradients[other])[0, 1] for one, other in combinations(range(5), 2)]
    np.testing.assert_allclose(rows[1]["correlation"], np.mean(pairs), rtol=1e-3)
    np.testing.assert_allclose(rows[1]["absolute"], np.mean(np.abs(pairs)), rtol=1e-3)
    with pytest.raises(InputError, match="1 images: a correlation needs"):
        analysis.gradient_correlation(model, IMAGES[:1])


def accuracy(outputs):
    return float(np.mean(np.asarray(outputs).argmax(-1) == LABELS))


def test_lesions(model, changed):
    """A unit without its branch is one whose branch ends with zeros."""
    rows = analysis.lesions(model, IMAGES, LABELS, batch_size=7)
    assert [row["kept"] for row in rows] == ["identity", "identity", "shortcut", "identity"]
    for row in rows:
        changed.set_weights(model.get_weights())
        for weight in changed.get_layer(f"{row['unit']}_norm2").trainable_weights:
            weight.assign(np.zeros(weight.shape))
        outputs = changed(IMAGES)
        np.testing.assert_allclose(analysis.with_changes(model, IMAGES, without=[row["unit"]]), outputs, rtol=1e-5, atol=1e-5)
        assert row["accuracy"] == pytest.approx(accuracy(outputs))
        assert row["difference"] == pytest.approx(accuracy(outputs) - accuracy(model(IMAGES)))
    with pytest.raises(InputError, match="no unit named 'stage1_block9'; did you mean"):
        analysis.with_changes(model, IMAGES, without=["stage1_block9"])
    with pytest.raises(InputError, match=r"labels of \(3,\) and 12 images"):
        analysis.lesions(model, IMAGES, LABELS[:3])


def test_lesions_of_a_plain_network():
    plain = users(3, residual=False)
    chain = Chain(plain)
    assert len(chain.units) == 7  # each convolution is one
    rows = analysis.lesions(plain, IMAGES, LABELS)
    assert [row["kept"] for row in rows] == [None, *["identity"] * 6]
    kept = [layer for layer in plain.layers[1:] if "conv" in layer.name or "dense" in layer.name or layer.name == "scores"]
    x = IMAGES
    for number, layer in enumerate(kept[:-1]):
        x = x if number == 2 else keras.ops.relu(layer(x))
    np.testing.assert_allclose(
        analysis.with_changes(plain, IMAGES, without=[chain.units[2].name]), kept[-1](keras.ops.mean(x, (1, 2))), rtol=1e-5
    )
    with pytest.raises(InputError, match="cannot be dropped"):
        analysis.with_changes(plain, IMAGES, without=[chain.units[0].name])
    with pytest.raises(InputError, match="has no shortcuts"):
        analysis.path_lengths(plain, IMAGES, LABELS)


def test_swaps(model, changed):
    """Two units exchanged are two whose weights are exchanged. The second unit of stage 2 has no other of its shape."""
    [row] = analysis.swaps(model, IMAGES, LABELS, batch_size=7)
    one, other = row["first"], row["second"]
    assert (one, other, row["between"]) == ("stage1_block1", "stage1_block2", 1)
    for layer in model.layers:
        if layer.name.startswith((one, other)):
            place = layer.name.replace(one, "x").replace(other, one).replace("x", other)
            changed.get_layer(place).set_weights(layer.get_weights())
    outputs = changed(IMAGES)
    [row] = analysis.swaps(model, 20 * IMAGES - 2000, np.asarray(changed(20 * IMAGES - 2000)).argmax(-1))
    assert row["accuracy"] == 1
    assert row["difference"] > 0
    order = ["stage1_block2", "stage1_block1", "stage2_block1", "stage2_block2"]
    np.testing.assert_allclose(analysis.with_changes(model, IMAGES, order=order), outputs, rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="order has 3 names"):
        analysis.with_changes(model, IMAGES, order=order[:3])
    with pytest.raises(InputError, match="no two units of 'one' can be exchanged"):
        analysis.swaps(small(depths=(1, 1), name="one"), IMAGES, LABELS)


def test_plots_of_long_names_odd_names_and_small_numbers(tmp_path):
    rows = [{"unit": "of_a_unit_with_a_long_name", "accuracy": 0.5, "difference": -0.4, "kept": "shortcut"}]
    made = analysis.plot_lesions({r"runs/$\frac$": rows})
    made.savefig(tmp_path / "lesions.png")
    [panel] = made.axes
    assert panel.get_window_extent().height / made.dpi > 2  # inches that the names leave
    assert "shortcut changes the map" in [text.get_text() for text in panel.get_legend().get_texts()]
    paths = [{"length": number, "log10_paths": 0.0, "norm": 1e-5 * (number + 1), "share": 0.5} for number in range(2)]
    made = analysis.plot_path_lengths({r"$\frac$": paths, "b": paths})
    made.savefig(tmp_path / "paths.png")
    assert {len(text.get_text()) for text in made.axes[1].get_yticklabels()} <= set(range(5))
    made = analysis.plot_heatmaps(IMAGES[:3], IMAGES[:3, ..., 0], ["a class with a long name\n→ another long name"] * 3)
    made.savefig(tmp_path / "heatmaps.png")
    boxes = [panel.title.get_window_extent() for panel in made.axes[:3]]
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


def test_the_gradients_of_all_paths_add_up(preactivated):
    """To the whole gradient, in a network whose units are linear; and the rows are those of single paths."""
    linear = users(2, end=lambda x: layers.Dense(3, name="scores")(x))
    for layer in linear.layers:
        if isinstance(layer, layers.ReLU):
            layer.negative_slope = 1.0
    chain, norms = Chain(linear), {}
    whole = gradients_of(lambda x: keras.ops.sum(linear(x)[:, 0]), [IMAGES])[0]
    total = np.zeros_like(whole)
    for branches in (set(), {0}, {1}, {0, 1}):
        [gradient] = gradients_of(lambda x, branches=branches: keras.ops.sum(outputs_on_path(chain, x, branches)[:, 0]), [IMAGES])
        norms.setdefault(len(branches), []).append(np.linalg.norm(gradient))
        total += gradient
    np.testing.assert_allclose(total, whole, rtol=1e-4, atol=1e-6)
    rows = analysis.path_lengths(linear, IMAGES, LABELS, samples=3, loss=lambda labels, outputs: keras.ops.sum(outputs[:, 0]))
    assert [row["length"] for row in rows] == [0, 1, 2]
    np.testing.assert_allclose([rows[0]["norm"], rows[2]["norm"]], [norms[0][0], norms[2][0]], rtol=1e-4)
    assert min(norms[1]) - 1e-6 <= rows[1]["norm"] <= max(norms[1]) + 1e-6
    assert 10 ** rows[1]["log10_paths"] == pytest.approx(2)
    weighed = np.array([rows[0]["norm"], 2 * rows[1]["norm"], rows[2]["norm"]])
    np.testing.assert_allclose([row["share"] for row in rows], weighed / weighed.sum(), rtol=1e-5)


def test_directions_are_filter_normalised(model):
    [one], [other] = (analysis.directions(model, seed=seed) for seed in (0, 1))
    for weight, way, second in zip(model.trainable_weights, one, other, strict=True):
        values = np.asarray(weight)
        if values.ndim == 1:  # biases, and those of batch normalisation
            assert not way.any()
            continue
        for number in range(values.shape[-1]):
            np.testing.assert_allclose(np.linalg.norm(way[..., number]), np.linalg.norm(values[..., number]), rtol=1e-4)
        assert abs(np.corrcoef(way.ravel(), second.ravel())[0, 1]) < 0.9
    depthwise = keras.Sequential([keras.Input((4, 4, 3)), layers.DepthwiseConv2D(3, name="by_channel")])
    [[way, _]] = analysis.directions(depthwise)
    np.testing.assert_allclose(np.linalg.norm(way, axis=(0, 1)), np.linalg.norm(depthwise.get_weights()[0], axis=(0, 1)), rtol=1e-5)


@pytest.mark.parametrize("dimensions", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_landscape(model, changed, dimensions):
    before = model.get_weights()
    rows = analysis.landscape(model, IMAGES, LABELS, dimensions=dimensions, points=3, span=0.5, batch_size=6 * dimensions)
    assert len(rows) == 3**dimensions
    for weight, same in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, same)
    middle = rows[len(rows) // 2]
    assert middle["x"] == 0
    assert middle["loss"] == pytest.approx(float(CROSS_ENTROPY(LABELS, model(IMAGES))), rel=1e-4)
    for weight, *ways in zip(changed.trainable_weights, *analysis.directions(model, count=dimensions), strict=True):
        weight.assign_add(0.5 * ways[0] - (0.5 * ways[1] if dimensions == 2 else 0))
    row = next(row for row in rows if row["x"] == 0.5 and row.get("y", -0.5) == -0.5)
    assert row["loss"] == pytest.approx(float(CROSS_ENTROPY(LABELS, changed(IMAGES))), rel=1e-3)
    assert row["accuracy"] == pytest.approx(accuracy(changed(IMAGES)))
    with pytest.raises(InputError, match="points=4"):
        analysis.landscape(model, IMAGES, LABELS, points=4)


def alignment(x, y):
    """Linear centred kernel alignment as in arXiv:1905.00414 section 3: by features, not by images."""
    x, y = ((each.reshape(len(each), -1) - each.reshape(len(each), -1).mean(0)).astype("float64") for each in (x, y))
    return np.linalg.norm(y.T @ x) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y)


def test_similarity_of_layers(model, changed):
    other = shaken(changed, seed=1)
    found = analysis.similarity(model, IMAGES, other)
    names = [f"{unit}_add" for unit in found.first]
    ours, theirs = layer_outputs(model, *names), layer_outputs(other, *names)
    expected = [[alignment(one, two) for two in theirs] for one in ours]
    np.testing.assert_allclose(found.values, expected, rtol=1e-4)
    assert found.rows()[1] == {"first": "stage1_block1", "second": "stage1_block2", "similarity": found.values[0, 1]}
    own = analysis.similarity(model, IMAGES, layers=["stem_conv", "logits"])
    np.testing.assert_allclose(own.values.diagonal(), 1)
    np.testing.assert_allclose(own.values, own.values.T)
    with pytest.raises(InputError, match="no layer named 'stem_cnv'; did you mean 'stem_conv'"):
        analysis.similarity(model, IMAGES, layers=["stem_cnv"])


def maps_and_gradients(model, layer, classes):
    both = keras.Model(model.input, [model.get_layer(layer).output, model.get_layer("logits").output])
    with tf.GradientTape() as tape:
        maps, logits = both(IMAGES)
        score = tf.reduce_sum(tf.gather(logits, classes, axis=1, batch_dims=1))
    return np.asarray(maps, "float64"), np.asarray(tape.gradient(score, maps), "float64")


@pytest.mark.parametrize("layer", ["stage1_block2_conv1", pytest.param("stage2_block2_out", marks=pytest.mark.slow)])
def test_grad_cam(model, layer):
    maps, gradients = maps_and_gradients(model, layer, LABELS)
    expected = np.maximum(np.einsum("nhwc,nc->nhw", maps, gradients.mean((1, 2))), 0)
    found = analysis.grad_cam(model, IMAGES, layer=layer, classes=LABELS, resize=False)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)
    alphas = gradients**2 / (2 * gradients**2 + maps.sum((1, 2))[:, None, None] * gradients**3 + (gradients == 0))
    expected = np.maximum(np.einsum("nhwc,nc->nhw", maps, (alphas * np.maximum(gradients, 0)).sum((1, 2))), 0)
    found = analysis.grad_cam_plus_plus(model, IMAGES, layer=layer, classes=LABELS, resize=False)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)


ENDS = {
    "fused": lambda x: layers.Dense(3, activation="softmax", name="scores")(x),
    "layer": lambda x: layers.Softmax()(layers.Dense(3, name="scores")(x)),
    "activation": lambda x: layers.Activation("softmax", dtype="float32")(layers.Dense(3, name="scores")(x)),
    "operation": lambda x: keras.ops.softmax(layers.Dense(3, name="scores")(x)),
}


def test_heatmaps_use_the_logits_beneath_a_softmax_also_of_a_model_inside():
    plain = users(1)
    heat = analysis.grad_cam(plain, IMAGES)
    for end in ENDS.values():
        model = users(1, end=end)
        model.set_weights(plain.get_weights())
        np.testing.assert_allclose(analysis.grad_cam(model, IMAGES), heat, rtol=1e-4, atol=1e-6)
        assert model.get_layer("scores").activation is keras.activations.get("softmax" if end is ENDS["fused"] else None)
    names = [layer.name for layer in plain.layers if "conv" in layer.name]
    inner = inside(plain)
    found = analysis.grad_cam(inner, 2 * IMAGES, layer=names[-1], classes=LABELS)
    np.testing.assert_allclose(found, analysis.grad_cam(plain, IMAGES, layer=names[-1], classes=LABELS), rtol=1e-4, atol=1e-6)


def test_occlusion():
    model = users(1)
    found = analysis.occlusion(model, IMAGES, size=5, stride=4, classes=LABELS, value=7.0)
    whole = np.asarray(model(IMAGES))[np.arange(12), LABELS]
    total, count = np.zeros((12, 8, 8)), np.zeros((8, 8))
    for row in (0, 3):
        for column in (0, 3):
            hidden = IMAGES.copy()
            hidden[:, row : row + 5, column : column + 5] = 7
            fall = whole - np.asarray(model(hidden))[np.arange(12), LABELS]
            total[:, row : row + 5, column : column + 5] += fall[:, None, None]
            count[row : row + 5, column : column + 5] += 1
    np.testing.assert_allclose(found, total / count, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "logits"}, "layer 'logits' returns .*, which is not a feature map"),
        ({"layer": "stage1_block1_ad"}, "did you mean 'stage1_block1_add'"),
        ({"classes": [3] * 12}, "expected a whole number from 0 to 2"),
        ({"classes": [0]}, "for each of 12 images"),
    ],
)
def test_wrong_heatmaps_are_refused(model, arguments, message):
    with pytest.raises(InputError, match=message):
        analysis.grad_cam(model, IMAGES, **arguments)


def test_enlarged_maps_are_those_of_keras():
    maps = np.random.default_rng(0).normal(size=(2, 3, 5))
    expected = keras.ops.image.resize(maps[..., None].astype("float32"), (8, 20), interpolation="bilinear")[..., 0]
    np.testing.assert_allclose(analysis.heatmaps.enlarged(maps, (8, 20)), expected, atol=1e-5)


def test_features_filters_and_embedding(model):
    found = analysis.features(model, IMAGES)
    assert list(found) == ["stage1_block2_out", "stage2_block2_out"]
    for maps, expected in zip(found.values(), layer_outputs(model, *found), strict=True):
        np.testing.assert_allclose(maps, expected, rtol=1e-5)
    np.testing.assert_array_equal(analysis.filters(model), model.get_layer("stem_conv").kernel)
    pooled = found["stage2_block2_out"].mean((1, 2))
    points = analysis.embedding(model, IMAGES)
    values, vectors = np.linalg.eigh(np.cov(pooled.T))
    np.testing.assert_allclose(points.var(0, ddof=1), values[::-1][:2], rtol=1e-3)
    np.testing.assert_allclose(np.abs(points[:, 0]), np.abs((pooled - pooled.mean(0)) @ vectors[:, -1]), rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="no method named 'tsn'; did you mean 'tsne'"):
        analysis.embedding(model, IMAGES, method="tsn")
    with pytest.raises(InputError, match="layer 'pool' has no kernel"):
        analysis.filters(model, layer="pool")


@pytest.mark.slow
def test_signals_and_volumes_too():
    fields = {"depths": (1,), "widths": (4,), "stem_width": 4, "classes": 3, "normalize": None}
    for shape in ((16, 2), (6, 6, 6, 1)):
        model = kr.build("resnet20", **fields, input_shape=shape)
        images = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
        assert analysis.grad_cam(model, images).shape == (4, *shape[:-1])
        assert len(analysis.lesions(model, images, LABELS[:4])) == 1


def test_every_row_of_the_table_has_its_functions():
    for row in analysis.ANALYSES.values():
        assert callable(getattr(analysis, row.measure))
        assert callable(getattr(analysis, row.plot))
        assert row.form in FORMS
    assert set(analysis.__all__) <= set(dir(analysis)) | {name for name in analysis.__all__ if hasattr(analysis, name)}


def test_a_table_and_a_plot_in_the_folder_of_the_run(small_run, call):
    code, out, _ = call("analyze", small_run.path, "gradcam", "--images", 4)
    assert code == 0, out
    assert "arXiv:1610.02391" in out
    assert (small_run.path / "analysis" / "gradcam.png").read_bytes().startswith(b"\x89PNG")
    with (small_run.path / "analysis" / "gradcam.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert set(rows[0]) == {"image", "class", "predicted", "peak_row", "peak_column", "peak"}
    out_file = small_run.path.parent / "lesions.csv"
    assert call("analyze", small_run.path, "lesions", "--out", out_file, "--images", 50)[0] == 0
    assert out_file.read_text().startswith("unit,kept,accuracy,difference\n")


def test_two_runs_of_one_name_are_both_there(tmp_path):
    def of(folder, number):
        run = SimpleNamespace(path=tmp_path / folder / "winner")
        return SimpleNamespace(run=run, model=None, measured=lambda row, model: [{"unit": "a", "accuracy": number}])

    found = FORMS["profile"](analysis.ANALYSES["lesions"], [of("first", 0.5), of("second", 0.75)])
    assert [(row["network"], row["accuracy"]) for row in found.rows] == [("first/winner", 0.5), ("second/winner", 0.75)]


def test_wrong_commands_say_what_there_is(small_run, call, tmp_path):
    for arguments, message in (
        ((), "name an analysis: signals, responses, gradients"),
        (("gradcm",), "no analysis named 'gradcm'; did you mean 'gradcam'? (allowed: signals, "),
        (("lesions", "--out", tmp_path / "table.xls"), "expected a file that ends with .png, .svg, .pdf or .csv"),
        (("lesions", "--out", tmp_path / "nowhere" / "a.csv"), "there is no folder"),
        (("lesions", "--out", small_run.path / "history.csv"), "exists; choose another name"),
    ):
        code, _, err = call("analyze", small_run.path, *arguments)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err
    before = (small_run.path / "history.csv").read_bytes()
    assert (small_run.path / "history.csv").read_bytes() == before
    with pytest.raises(InputError, match="'filters' shows one run"):
        analysis.analyze(small_run, "filters", other=small_run)
    with pytest.raises(InputError, match="no split named 'tests'"):
        analysis.analyze(small_run, "filters", split="tests")


@pytest.mark.slow
@pytest.mark.parametrize("what", analysis.ANALYSES)
def test_every_command_on_the_digits(what, digits, tmp_path, tmp_path_factory, call):
    path = tmp_path_factory.getbasetemp() / "digits-resnet14"
    if not path.exists():
        kr.fit(replace(kr.SPECS["resnet8"], depths=(2, 2, 2)), kr.recipes.resolve("digits", epochs=2), digits, path, verbose=0)
    other = ["--other", path] if analysis.ANALYSES[what].form in ("profile", "similarity") else []
    code, out, err = call("analyze", path, what, *other)
    assert code == 0, err
    assert "written" in out
    assert (path / "analysis" / f"{what}.png").stat().st_size > 1000  # sixteen filters of 3x3 are small


SCRIPT = """
import keras, numpy as np, keras_resnet as kr
from keras_resnet import analysis
assert keras.backend.backend() == BACKEND
images, labels = np.load("images.npy"), np.arange(6) % 3
model = kr.load("model.keras")
state = [np.array(weight) for weight in model.get_weights()]
found = {
    "signals": [row["variance"] for row in analysis.signals(model, images)],
    "gradients": [[row["weights"], row["output"]] for row in analysis.gradients(model, images, labels)],
    "correlation": [row["correlation"] for row in analysis.gradient_correlation(model, images)],
    "lesions": analysis.with_changes(model, images, without=["stage1_block1"]),
    "paths": [row["norm"] for row in analysis.path_lengths(model, images, labels)],
    "landscape": [row["loss"] for row in analysis.landscape(model, images, labels, points=3)],
    "similarity": analysis.similarity(model, images).values,
    "grad_cam": analysis.grad_cam(model, images),
    "occlusion": analysis.occlusion(model, images),
    "embedding": analysis.embedding(model, images),
}
assert all((one == other).all() for one, other in zip(state, model.get_weights()))
np.savez(f"{BACKEND}.npz", **{name: np.asarray(value, "float64") for name, value in found.items()})
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends(backend, model, tmp_path, monkeypatch):
    if not find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", IMAGES[:6])
    code = SCRIPT.replace("BACKEND", repr(backend))
    environment = {**os.environ, "KERAS_BACKEND": backend}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    monkeypatch.chdir(tmp_path)
    exec(SCRIPT.replace("BACKEND", repr("tensorflow")), {})
    ours, theirs = np.load("tensorflow.npz"), np.load(f"{backend}.npz")
    for name in ours:
        np.testing.assert_allclose(theirs[name], ours[name], rtol=2e-3, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_page(tmp_path, monkeypatch):
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "look-inside.md").read_text()
    monkeypatch.chdir(tmp_path)
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), {"__name__": "__main__"})
    assert {path.name for path in tmp_path.iterdir()} == {"gradients.png", "norms.csv", "norms.png", "heatmaps.png"}
    assert all(f"`{what}`" in page for what in analysis.ANALYSES)


def test_a_branch_of_one_convolution_that_is_added_first():
    """Both paths have one convolution: the branch is the one with the larger kernel."""
    inputs = keras.Input((8, 8, 2))
    stem = layers.Conv2D(2, 3, padding="same")(inputs)
    branch, projection = layers.Conv2D(4, 3, padding="same", name="branch")(stem), layers.Conv2D(4, 1, name="projection")(stem)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.add([branch, projection], name="unit_add"))))
    [unit] = Chain(model).units
    assert [step.operation.name for step in unit.branch.steps] == ["branch"]


def test_grad_cam_is_of_the_map_that_is_pooled():
    """Also where that has one pixel."""
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(3, 3, strides=4, padding="same", name="one_pixel")(layers.Conv2D(3, 3, padding="same")(inputs))
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 2)).astype("float32")
    found = analysis.grad_cam(model, images, classes=[0, 1], resize=False)
    np.testing.assert_array_equal(found, analysis.grad_cam(model, images, classes=[0, 1], layer="one_pixel", resize=False))
    assert found.shape == (2, 1, 1)


def test_a_frozen_network_has_no_landscape(model):
    frozen = keras.models.clone_model(model)
    frozen.trainable = False
    with pytest.raises(InputError, match="no weights to move"):
        analysis.directions(frozen)


def test_only_wanted_values_are_kept_and_large_images_come_in_small_batches(model):
    network = Network(model)
    wanted = set(network.on_all_paths()[:3])
    images = np.zeros((30, 224, 224, 1), "float32")
    [first, *_] = batches(images)
    assert set(values_at(wanted, network.steps, {network.start: np.zeros((1, *model.input_shape[1:]))})) == wanted
    assert len(first) == 10
    assert [len(batch) for batch in batches(images, 25)] == [25, 5]
