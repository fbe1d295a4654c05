"""Fused batch normalisation: the same training, in one operation."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_resnet as kr
from keras_resnet.fused import fuse_normalization

SMALL = {"depths": (2, 1), "widths": (8, 16), "stem_width": 8, "classes": 3, "activation": "tanh"}
LABELS = np.arange(6) % 3


def trained(shape, *, fused, steps=3, freeze=None, jit_compile=False, **fields):
    keras.utils.set_random_seed(0)
    model = kr.build("resnet20", input_shape=shape, shortcut="projection", **SMALL | fields)
    if fused:
        fuse_normalization(model)
    if freeze:
        model.get_layer(freeze).trainable = False
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=jit_compile)
    images = np.random.default_rng(0).uniform(0, 255, (6, *shape)).astype("float32")
    return model, [model.train_on_batch(images, LABELS) for _ in range(steps)]


@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        ((8, 8, 1), {}),
        ((9, 2), {}),
        ((5, 6, 7, 1), {}),
        ((None, None, 1), {}),
        ((8, 8, 1), {"remat": True}),
        ((8, 8, 1), {"activation_order": "full_preactivation"}),
        ((8, 8, 1), {"freeze": "stage1_block1_norm1"}),
        ((8, 8, 1), {"jit_compile": True}),
    ],
    ids=str,
)
def test_trains_as_keras_does(shape, fields):
    size = tuple(length or 8 for length in shape)
    plain, expected = trained(size, fused=False, **fields)
    model, losses = trained(size, fused=True, **fields)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for one, other in zip(model.weights, plain.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4, err_msg=one.path)


def test_the_kernel_is_in_the_training_step_and_nowhere_else():
    model, _ = trained((8, 8, 1), fused=True)

    def operations(training):
        function = tf.function(lambda x: model(x, training=training)).get_concrete_function(tf.TensorSpec((6, 8, 8, 1)))
        return [operation.type for operation in function.graph.get_operations()]

    norms = sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    assert operations(True).count("FusedBatchNormV3") == norms
    assert "FusedBatchNormV3" not in operations(False)


def test_file_is_that_of_a_plain_model(tmp_path):
    model, _ = trained((8, 8, 1), fused=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    images = np.ones((2, 8, 8, 1))
    np.testing.assert_array_equal(loaded.predict_on_batch(images), model.predict_on_batch(images))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_other_precisions(policy):
    keras.config.set_dtype_policy(policy)
    try:
        _, expected = trained((8, 8, 1), fused=False)
        _, losses = trained((8, 8, 1), fused=True)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(losses, expected, rtol=1e-12 if policy == "float64" else 2e-2)


def test_one_example_and_one_pixel():
    """The variance of a sample of one is not defined; that of all there is, which Keras keeps, is zero."""
    image = keras.Input((1, 1, 2))
    model = keras.Model(image, keras.layers.BatchNormalization(momentum=0.5)(image))
    fuse_normalization(model)
    model(np.ones((1, 1, 1, 2)), training=True)
    np.testing.assert_allclose(model.layers[1].moving_mean, [0.5, 0.5])
    np.testing.assert_allclose(model.layers[1].moving_variance, [0.5, 0.5])


def test_a_recipe_can_ask_for_it(digits, tmp_path):
    recipe = dataclasses.replace(kr.RECIPES["digits"], epochs=4)
    accuracies = [
        kr.fit("resnet8", dataclasses.replace(recipe, fused_norm=fused), digits, tmp_path / str(fused), verbose=0).metrics["test"]
        for fused in (False, True)
    ]
    assert accuracies[1]["accuracy"] == pytest.approx(accuracies[0]["accuracy"], abs=0.03)
    assert accuracies[1]["loss"] != accuracies[0]["loss"]
