"""Maps for detection and segmentation, headless networks, and images of any size."""

import keras
import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet import InputError

NARROW = {"depths": (2, 1, 1, 1), "widths": (8, 16, 24, 32), "stem_width": 8, "input_shape": (64, 96, 3)}
LEVELS = (1, 2, 3, 4, 5)


def images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, shape).astype("float32")


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet50v2", "resnet50d", "resnetrs50"])
def test_maps_halve_from_level_to_level_and_are_activated(name):
    model = kr.build(name, features=LEVELS, **NARROW)
    maps = model(images(2, 64, 96, 3))
    assert list(maps) == [f"C{level}" for level in LEVELS]
    for level in LEVELS:
        assert maps[f"C{level}"].shape[1:3] == (64 // 2**level, 96 // 2**level)
        assert np.min(maps[f"C{level}"]) == 0  # after a ReLU
        assert np.max(maps[f"C{level}"]) > 0
    assert maps["C5"].shape[-1] == (128 if "50" in name else 32)


@pytest.mark.parametrize("name", ["resnet18", "resnet50v2"])
def test_maps_are_those_of_the_classifier(name):
    model, classifier = kr.build(name, features=LEVELS, **NARROW), kr.build(name, **NARROW)
    assert not any(layer.name in ("pool", "logits") for layer in model.layers)
    for layer in model.layers:
        layer.set_weights(classifier.get_layer(layer.name).get_weights())
    maps, x = model(images(2, 64, 96, 3)), images(2, 64, 96, 3)
    last = keras.Model(classifier.input, classifier.get_layer("pool").input)
    np.testing.assert_allclose(maps["C5"], last(x), rtol=1e-5, atol=1e-5)
    stem = keras.Model(classifier.input, classifier.get_layer("stem_relu").output)
    np.testing.assert_allclose(maps["C1"], stem(x), rtol=1e-5, atol=1e-5)


def test_maps_come_in_the_order_asked_for_and_cost_no_more_than_they_need():
    model = kr.build("resnet18", features=(4, 2), **NARROW)
    assert list(model(images(1, 64, 96, 3))) == ["C4", "C2"]
    assert not any(layer.name.startswith("stage4") for layer in model.layers)
    assert kr.cost_of("resnet18", features=(4, 2), **NARROW).trainable == sum(np.prod(w.shape) for w in model.trainable_weights)


def test_the_stem_alone():
    model = kr.build("resnet18", features=[1], **NARROW)
    cost = kr.cost_of("resnet18", features=[1], **NARROW)
    assert model.output["C1"].shape == (None, 32, 48, 8)
    assert cost.trainable == 7 * 7 * 3 * 8 + 2 * 8
    assert cost.remat_memory == cost.training_memory


def test_output_stride_keeps_the_last_maps_large():
    maps = kr.build("resnet50", features=(3, 4, 5), output_stride=8, **NARROW)(images(1, 64, 96, 3))
    assert {value.shape[1:3] for value in maps.values()} == {(8, 12)}


@pytest.mark.parametrize("pooling", [None, "avg", "max"])
def test_without_the_classifier(pooling):
    model = kr.build("resnet18", include_top=False, pooling=pooling, **NARROW)
    [last] = kr.build("resnet18", features=(5,), **NARROW).output.values()
    assert last.shape == (None, 2, 3, 32)
    assert model.output_shape == ((None, 32) if pooling else (None, 2, 3, 32))
    full = keras.Model(model.input, model.get_layer("stage4_block1_out").output)
    x = images(2, 64, 96, 3)
    expected = np.asarray(full(x))
    if pooling:
        expected = expected.mean((1, 2)) if pooling == "avg" else expected.max((1, 2))
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": ()}, r"features=\(\): expected distinct levels out of 1, 2, 3, 4, 5"),
        ({"features": (0, 1)}, r"features=\(0, 1\): expected distinct levels"),
        ({"features": (6,)}, r"features=\(6,\): expected distinct levels"),
        ({"features": 2}, "features=2: expected distinct levels"),
        ({"features": (2.0, 3)}, r"features=\(2.0, 3\): expected distinct levels"),
        ({"features": (True, 2)}, r"features=\(True, 2\): expected distinct levels"),
        ({"features": (2, 2)}, r"features=\(2, 2\): expected distinct levels"),
        ({"features": (2,), "pooling": "avg"}, "features=.* and pooling='avg' disagree"),
        ({"include_top": False, "pooling": "mean"}, "pooling='mean': expected avg, max or None"),
    ],
)
def test_choices_without_meaning_are_refused(arguments, message):
    for make in (kr.build, kr.cost_of):
        with pytest.raises(InputError, match=message):
            make("resnet18", **arguments)


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "resnet50v2",
        "resnet20",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50d", "ecaresnet50t", "seresnet50")),
    ],
)
def test_any_size(name, tmp_path):
    fields = {"depths": (1, 1, 1), "widths": (16, 16, 32), "stem_width": 16, "classes": 4}
    model = kr.build(name, input_shape=(None, None, 3), **fields)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for side in ((32, 32), (47, 21)):
        x = images(2, *side, 3)
        fixed = kr.build(name, input_shape=(*side, 3), **fields)
        fixed.set_weights(model.get_weights())
        np.testing.assert_allclose(model(x), fixed(x), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(loaded(x), fixed(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet20", "resnet110v2", "wrn16_8", "resnet50"])
@pytest.mark.parametrize("size", [8, 9])
def test_images_down_to_eight_pixels(name, size):
    fields = {"stem": "3x3", "stem_pool": None} if name == "resnet50" else {}
    fields["depths"] = tuple(1 for _ in kr.SPECS[name].depths)  # a second unit changes no size
    model = kr.build(name, input_shape=(size, size, 1), classes=3, **fields)
    assert np.isfinite(model(images(2, size, size, 1))).all()


def test_stochastic_depth_rises_linearly_and_drops_whole_examples():
    model = kr.build("resnet8", stochastic_depth=0.5, input_shape=(8, 8, 1))
    rates = [model.get_layer(f"stage{stage}_block1_drop_path").rate for stage in (1, 2, 3)]
    np.testing.assert_allclose(rates, [0.5 / 3, 1.0 / 3, 0.5])
    drop = model.get_layer("stage3_block1_drop_path")
    x = np.ones((400, 2, 2, 64), "float32")
    kept = np.asarray(drop(x, training=True)).reshape(400, -1)
    assert set(np.unique(kept)) == {0.0, 2.0}  # scaled by 1 / (1 - 0.5), so that the mean stays
    assert (kept.min(1) == kept.max(1)).all()
    assert 150 < (kept[:, 0] > 0).sum() < 250
    np.testing.assert_array_equal(drop(x, training=False), x)
