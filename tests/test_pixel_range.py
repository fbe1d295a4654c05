"""Pixels that were scaled before they reach a network that scales them itself, and inputs that are no pictures."""

import logging

import keras
import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet.data.dataset import SPLITS, Dataset, Split
from keras_resnet.networks.variants import resolve

WARNING = "but this network takes 0 to 255 and normalises them itself"
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1)).astype("float32")
LABELS = np.arange(16) % 10


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if WARNING in record.getMessage()]


@pytest.fixture(autouse=True)
def _all_is_heard(caplog):
    caplog.set_level(logging.WARNING, "keras_resnet")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((64, 2), None),
        ((64, 3), None),
        ((8, 8, 8, 1), None),
        ((8, 8, 8, 3), None),
        ((8, 8, 4), None),
        ((8, 8, 2), None),
        ((8, 8, 3), ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7))),
        ((8, 8, 1), ((pytest.approx(120.7333),), (pytest.approx(63.9333),))),
    ],
)
def test_statistics_of_pictures_are_for_pictures(shape, expected):
    assert kr.build("resnet8", input_shape=shape).layers[1].name == ("normalize" if expected else "stem_conv")
    assert resolve("resnet8", input_shape=shape).normalization == expected
    own = kr.build("resnet8", input_shape=shape, normalize=((1.0,), (2.0,)))
    half = kr.build("resnet8", input_shape=shape, normalize="half")
    assert own.layers[1].name == half.layers[1].name == "normalize"


def test_to_ask_for_those_of_pictures_elsewhere_is_refused():
    with pytest.raises(kr.InputError, match=r"normalize='imagenet' is for grey and colour images, not for input_shape=\(64, 2"):
        kr.build("resnet18", input_shape=(64, 2), normalize="imagenet")


@pytest.mark.parametrize(
    ("scale", "offset", "told"), [(1, 0, False), (1 / 255, 0, True), (1 / 127.5, -1, True), (0.1, -12, True)], ids=str
)
def test_a_training_by_a_recipe(scale, offset, told, tiny, caplog, eagerly):
    model = kr.build(tiny, input_shape=(8, 8, 1))
    recipe = kr.Recipe(epochs=2, batch_size=8)
    recipe.compile(model, 2)
    plain = model.get_layer("normalize").call
    model.fit(PIXELS * scale + offset, LABELS, batch_size=8, epochs=2, verbose=0, callbacks=recipe.callbacks())
    assert len(warnings(caplog)) == told
    assert model.get_layer("normalize").call == plain


@pytest.mark.traced
def test_layers_in_front_that_scale(tiny, caplog, eagerly):
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, kr.build(tiny, input_shape=(8, 8, 1))(keras.layers.Rescaling(1 / 255)(image)))
    recipe = kr.Recipe(epochs=1, batch_size=8)
    recipe.compile(model, 2)
    model.fit(PIXELS, LABELS, batch_size=8, verbose=0, callbacks=recipe.callbacks())
    [warning] = warnings(caplog)
    assert "are between 0" in warning
    assert "and 1, but" in warning or "and 0.99" in warning


def test_the_first_prediction(tiny, caplog, tmp_path):
    model = kr.build(tiny, input_shape=(8, 8, 1))
    plain = model.predict(PIXELS, verbose=0)
    assert not warnings(caplog)
    model.save(tmp_path / "model.keras")
    loaded = kr.load(tmp_path / "model.keras")
    for _ in range(2):
        loaded.predict(PIXELS / 255, verbose=0)
    assert len(warnings(caplog)) == 1
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras").predict(PIXELS, verbose=0), plain)


def test_a_run(tiny, tmp_path, caplog, eagerly):
    dim = (PIXELS[:, :, :, :1] > 128).astype("uint8")
    recipe = kr.Recipe(epochs=1, batch_size=8, crop=0)
    splits = dict.fromkeys(SPLITS, Split.of(dim, LABELS))  # `load` refuses such arrays
    kr.fit(tiny, recipe, Dataset(splits, list("0123456789"), dim.shape[1:]), tmp_path / "run", verbose=0)
    assert len(warnings(caplog)) == 1
