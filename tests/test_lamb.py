"""LAMB beside NumPy written from the paper: arXiv:1904.00962, algorithm 2, with what arXiv:2110.00476 adds."""

import os
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_resnet import InputError, Recipe
from keras_resnet.recipes import optimizer as optimizers

SHAPES = {"kernel": (3, 3, 2, 4), "empty/kernel": (2, 3), "gamma": (4,), "beta": (4,), "logits/kernel": (5, 3), "bias": (3,)}
STEPS = 6
RATE, DECAY = 0.02, 0.1


def start():
    generator = np.random.default_rng(0)
    weights = {name: generator.normal(size=shape) for name, shape in SHAPES.items()}
    return weights | {"empty/kernel": np.zeros((2, 3))}


def gradients(size):
    """Those of each step, together of that norm at the first one and less and less after it."""
    generator = np.random.default_rng(1)
    for step in range(STEPS):
        found = {name: generator.normal(size=shape) for name, shape in SHAPES.items()}
        norm = np.sqrt(sum(np.sum(gradient**2) for gradient in found.values()))
        yield {name: gradient * size / norm / (step + 1) for name, gradient in found.items()}


def reference(size, *, undecayed=("gamma", "beta", "bias"), limit=1.0):
    """The weights after each step."""
    weights = start()
    m, v = ({name: np.zeros(shape) for name, shape in SHAPES.items()} for _ in range(2))
    for step, found in enumerate(gradients(size), start=1):
        norm = np.sqrt(sum(np.sum(gradient**2) for gradient in found.values()))
        for name, weight in weights.items():
            gradient = found[name] * min(1, limit / norm)
            m[name] = 0.9 * m[name] + 0.1 * gradient
            v[name] = 0.999 * v[name] + 0.001 * gradient**2
            update = m[name] / (1 - 0.9**step) / (np.sqrt(v[name] / (1 - 0.999**step)) + 1e-6)
            decays = not any(word in name for word in undecayed)
            update = update + DECAY * weight if decays else update
            norms = np.linalg.norm(weight), np.linalg.norm(update)
            ratio = norms[0] / norms[1] if decays and min(norms) > 0 else 1
            weights[name] = weight - RATE * ratio * update
        yield dict(weights)


def make(**fields):
    recipe = Recipe(optimizer="lamb", learning_rate=RATE, weight_decay=DECAY, schedule="constant", warmup=0, **fields)
    return recipe.make_optimizer(STEPS)


def variables():
    return [keras.Variable(value, name=name.rpartition("/")[2], dtype="float32") for name, value in start().items()]


@pytest.mark.parametrize("size", [0.3, 20.0], ids=["short", "clipped"])
@pytest.mark.parametrize("fields", [{}, {"decay": "all"}, {"clip_norm": 0.05}], ids=str)
def test_steps_are_those_of_the_paper(size, fields):
    undecayed = () if fields.get("decay") == "all" else ("gamma", "beta", "bias")
    weights, optimizer = variables(), make(**fields)
    expected = reference(size, undecayed=undecayed, limit=fields.get("clip_norm", 1.0))
    for found, values in zip(gradients(size), expected, strict=True):
        optimizer.apply([keras.ops.convert_to_tensor(each, "float32") for each in found.values()], weights)
        for weight, (name, value) in zip(weights, values.items(), strict=True):
            np.testing.assert_allclose(weight, value, rtol=2e-6, atol=1e-6, err_msg=name)


def test_gradients_are_averaged_before_they_are_clipped():
    """Those of two steps, long and opposite but for a rest: what is clipped is the rest."""
    weights, optimizer = variables(), make(accumulate=2)
    for found in gradients(0.3):
        for sign in (1, -1):
            both = [each + sign * 100 * np.ones_like(each) for each in found.values()]
            optimizer.apply([keras.ops.convert_to_tensor(each, "float32") for each in both], weights)
    for weight, value in zip(weights, list(reference(0.3))[-1].values(), strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("eagerly")
def test_what_is_saved_goes_on(tmp_path):
    """The weights that are not decayed are saved too, which Keras does not do."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization(), keras.layers.Dense(2)])
    model.compile(make(), "mse")
    images, targets = np.random.default_rng(0).normal(size=(2, 8, 4)).astype("float32")
    model.train_on_batch(images, targets[:, :2])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        for _ in range(3):
            each.train_on_batch(images, targets[:, :2])
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match="takes the names of the weights"):
        make().exclude_from_weight_decay(var_list=model.trainable_weights)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
def test_several_devices_clip_what_they_have_together(name, monkeypatch):
    """Two devices whose gradients are opposite but for a rest of norm 0.2: it is clipped where it is longer."""
    recipe = Recipe(optimizer=name, clip_norm=0.1, schedule="constant", warmup=0)
    one, other = np.array([30.0, 40.0], "float32"), np.array([-30.0, -39.8], "float32")
    context = SimpleNamespace(num_replicas_in_sync=2, all_reduce=lambda how, values: [values[0] + other])
    monkeypatch.setattr(tf.distribute, "get_replica_context", lambda: context)
    [clipped] = optimizers.clipping_of(recipe.make_optimizer(1))([tf.constant(one)])
    np.testing.assert_allclose(clipped, one / 2, rtol=1e-4)
    recipe = Recipe(optimizer=name, clip_norm=0.5, schedule="constant", warmup=0)
    [whole] = optimizers.clipping_of(recipe.make_optimizer(1))([tf.constant(one)])
    np.testing.assert_array_equal(whole, one)


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import keras, numpy as np
import test_lamb
assert keras.backend.backend() == {backend!r}
for size in (0.3, 20.0):
    test_lamb.test_steps_are_those_of_the_paper(size, {{}})
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])
model.compile(test_lamb.make(ema=0.5, accumulate=2), "mse")
model.fit(np.ones((8, 4)), np.ones((8, 2)), batch_size=2, verbose=0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends(backend):
    pytest.importorskip(backend)
    script = SCRIPT.format(tests=os.path.dirname(__file__), backend=backend)
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
