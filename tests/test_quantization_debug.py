"""Where int8 hurts, and what helps: on a network that is hard for it."""

import copy
import json

import keras
import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.export import Target, advice, debug_quantization, export, quantization_debug
from keras_resnet.export.equalize import equalized, pairs
from keras_resnet.export.quantization_debug import decibels, layer_noise
from keras_resnet.export.supported import Source
from keras_resnet.export.tflite import float_file


@pytest.fixture(autouse=True, scope="module")
def _fewer_examples():
    """A fifth of the images that errors are measured on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantization_debug, "EXAMPLES", 20)
        yield


@pytest.fixture(scope="module")
def hard(small_run):
    """The trained network, with half the channels of one layer 300 times as large, and compensated in the next."""
    model = kr.load(small_run.model_path, compile=False)
    _, norm, following = pairs(model)[0]
    gamma, beta, *rest = norm.get_weights()
    kernel, *bias = following.get_weights()
    factors = np.where(np.arange(len(gamma)) % 2, 300, 1)
    norm.set_weights([gamma * factors, beta * factors, *rest])
    following.set_weights([kernel / factors[:, None], *bias])
    return model


@pytest.fixture(scope="module")
def found(hard, digits, tmp_path_factory):
    out = tmp_path_factory.mktemp("hard")
    return debug_quantization(hard, data=digits, out=out, most=2), out


def test_the_hard_network_is_the_same_function(hard, small_run, digits):
    images = digits.sample(20, "test").astype("float32")
    expected = kr.load(small_run.model_path).predict_on_batch(images)
    np.testing.assert_allclose(hard.predict_on_batch(images), expected, rtol=1e-3, atol=1e-3)


def test_the_worst_layers_are_found(found, hard):
    layers = [row["layer"] for row in found[0]["layers"]]
    convolution, _, following = pairs(hard)[0]
    assert set(layers[:2]) == {convolution.name, following.name}
    weighted = [layer.name for layer in hard.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))]
    assert sorted(layers) == sorted(weighted)
    _, second, third = (row["signal_to_noise"] for row in found[0]["layers"][:3])
    assert second < third - 6


@pytest.mark.slow
def test_the_gate_refuses_and_the_remedies_help(found, hard, digits, tmp_path):
    plain, _, two_in_float, equal = found[0]["files"]
    assert plain["accuracy"] < found[0]["keras_accuracy"] - 0.01
    assert two_in_float["top1_agreement"] > 0.98 > plain["top1_agreement"]
    assert equal["top1_agreement"] > 0.98
    (row,) = export(hard, targets=[Target("tflite", "int8")], data=digits, out=tmp_path)
    assert not row.passed
    assert not (tmp_path / "model_int8.tflite").exists()
    for target in (Target("tflite", "int8", equalize=True), Target("tflite", "int8", float_layers=2, output="softmax", batch=1)):
        (row,) = export(hard, targets=[target], data=digits, out=tmp_path)
        assert row.passed, row.problem
        assert (tmp_path / target.file).exists()
    assert {"model_int8_equalized.tflite", "model_int8_softmax_batch1_2float.tflite"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("pixels", ["int8", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("uint8", "float32"))])
def test_mixed_files_take_the_pixels_asked_for(hard, digits, tmp_path, pixels):
    target = Target("tflite", "int8", pixels=pixels, float_layers=2)
    (row,) = export(hard, targets=[target], data=digits, out=tmp_path, min_agreement=0.9)
    assert row.passed, row.problem
    [told] = json.loads((tmp_path / "manifest.json").read_text())["files"][target.file]["inputs"]
    assert told["type"] == pixels


@pytest.mark.slow
def test_no_more_layers_in_float_than_there_are(hard, digits, tmp_path):
    (row,) = export(hard, targets=[Target("tflite", "int8", float_layers=4)], data=digits, out=tmp_path)
    assert row.passed, row.problem
    assert row.top1_agreement > 0.99
    with pytest.raises(InputError, match="float_layers=5: there are 4 layers with weights"):
        export(hard, targets=[Target("tflite", "int8", float_layers=5)], data=digits, out=tmp_path)


@pytest.mark.slow
def test_the_normalisation_of_colours_is_a_layer_too(tiny, tmp_path):
    """Files scale channels by a convolution, LiteRT's fastest way; it has a name, and can be kept in float."""
    network = kr.build(tiny, classes=3, input_shape=(16, 16, 3))
    images = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3))
    data = kr.data.load({"train": (images, np.arange(30) % 3), "test": (images, np.arange(30) % 3)})
    layers = debug_quantization(network, data=data, out=tmp_path, most=0)["layers"]
    weighted = [layer.name for layer in network.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))]
    assert sorted(row["layer"] for row in layers) == sorted(["normalize", *weighted])
    assert next(row["signal_to_noise"] for row in layers if row["layer"] == "normalize") > 40


def test_the_last_layer_is_not_named_after_a_factor_behind_it(digits, tmp_path):
    pixels = keras.Input(digits.image_shape)
    hidden = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="first")(pixels))
    network = keras.Model(pixels, keras.layers.Rescaling(0.5, name="factor")(keras.layers.Dense(10, name="last")(hidden)))
    layers = debug_quantization(network, data=digits, out=tmp_path, most=0)["layers"]
    assert sorted(row["layer"] for row in layers) == ["first", "last"]


def test_what_was_found_is_written(found):
    assert json.loads((found[1] / "quantization.json").read_text()) == found[0]
    assert (found[1] / "quantization.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(found[1].glob("*.tflite"))


def test_equalising_changes_ranges_and_not_the_function(hard, digits):
    images = digits.sample(20, "test").astype("float32")
    other = equalized(hard)
    np.testing.assert_allclose(other.predict_on_batch(images), hard.predict_on_batch(images), rtol=1e-3, atol=1e-3)
    for (convolution, norm, following), (_, before, _) in zip(pairs(other), pairs(hard), strict=True):
        gamma, beta, _, variance = norm.get_weights()
        kernel = np.abs(convolution.get_weights()[0]).max((0, 1, 2)) * np.abs(gamma) / np.sqrt(variance + norm.epsilon)
        np.testing.assert_allclose(np.maximum(kernel, np.abs(beta)), np.abs(following.get_weights()[0]).max((0, 1, 3)), rtol=1e-4)
        assert not np.allclose(before.get_weights()[0], gamma)


def test_a_dead_channel_gets_no_huge_offset():
    model = kr.build("resnet8", input_shape=(8, 8, 1), classes=3)
    convolution, norm, _ = pairs(model)[0]
    kernel = convolution.get_weights()[0]
    kernel[..., 0] = 1e-10
    convolution.set_weights([kernel])
    norm.set_weights([norm.get_weights()[0], np.full(16, 0.5), *norm.get_weights()[2:]])
    _, other, _ = pairs(equalized(model))[0]
    assert np.abs(other.get_weights()[1]).max() < 5


class Scores(keras.Model):
    """A model that cannot be made from its configuration: it takes no name."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, images):
        return self.dense(keras.ops.mean(images, (1, 2)))


def test_models_inside_a_model_stay_as_they_are():
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype("float32")
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, Scores()(image))
    np.testing.assert_allclose(equalized(model).predict_on_batch(images), model.predict_on_batch(images), atol=1e-6)


def test_shared_layers_stay_as_they_are():
    image = keras.Input((8, 8, 2))
    convolution, norm = keras.layers.Conv2D(4, 3, padding="same"), keras.layers.BatchNormalization()
    shared = keras.layers.Conv2D(4, 3, padding="same")
    middle = keras.layers.Activation("relu")(norm(convolution(image)))
    other = keras.layers.Conv2D(4, 1)(image)
    scores = keras.layers.Flatten()(shared(middle) + shared(other))
    model = keras.Model(image, scores)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 2))
    assert not pairs(model)
    np.testing.assert_allclose(equalized(model).predict_on_batch(images), model.predict_on_batch(images), atol=1e-5)


def test_the_noise_of_a_layer_is_that_of_rounding_its_numbers(small_run, digits):
    """The last layer alone: its inputs, its weights and its outputs are rounded to 8 bits, as NumPy does it here."""
    model = kr.load(small_run.model_path, compile=False)
    images = digits.sample(100)
    source = Source(model=model, name="digits", class_names=digits.class_names, calibration=images)
    target = Target("tflite", "int8")
    (row,) = [row for row in layer_noise(float_file(source, target), source, target) if row.layer == "logits"]

    def rounded(values, low, high):
        step = (high - low) / 255
        return np.round(values / step) * step

    inner = keras.Model(model.inputs, model.get_layer("logits").input).predict_on_batch(images.astype("float32"))
    kernel, bias = model.get_layer("logits").get_weights()
    steps = np.abs(kernel).max(0) / 127
    outputs = inner @ kernel + bias
    integers = rounded(inner, 0, inner.max()) @ (np.round(kernel / steps) * steps) + bias
    integers = rounded(integers, min(0, outputs.min()), max(0, outputs.max()))
    expected = 10 * np.log10(np.mean(outputs[:20] ** 2) / np.mean((integers - outputs)[:20] ** 2))
    assert row.signal_to_noise == pytest.approx(expected, abs=0.5)


def test_the_ranges_are_the_same_for_every_file():
    """The quantizer widens that of a sigmoid to what its integers always mean, as many as the target has bits."""
    image = keras.Input((4,))
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Dense(3, activation="sigmoid")(image)))
    images = np.random.default_rng(0).integers(0, 2, (8, 4)).astype("uint8")
    source = Source(model=model, name="small", class_names=["one", "other"], calibration=images)
    file = float_file(source, Target("tflite", "int8"))
    before = copy.deepcopy(file.ranges)
    assert file.quantized(Target("tflite", "int16"))
    np.testing.assert_equal(file.ranges, before)


@pytest.mark.parametrize("quantize", ["int8", "int16", "int4"])
def test_a_channel_without_weights_keeps_its_bias(quantize):
    """Of a convolution, of one for each channel, and of a dense layer."""
    image = keras.Input((4, 4, 2))
    convolution = keras.layers.Conv2D(2, 3, padding="same", bias_initializer="ones")
    each = keras.layers.DepthwiseConv2D(3, padding="same", bias_initializer="ones", activation="relu")
    dense = keras.layers.Dense(2, bias_initializer="ones")
    model = keras.Model(image, dense(keras.layers.Flatten()(each(convolution(image)))))
    for layer, axis, channel, weight in ((convolution, -1, 1, 0.001), (each, 2, 0, 0.1), (dense, -1, 1, 0.1)):
        kernel, bias = layer.get_weights()
        kernel[:] = weight
        np.moveaxis(kernel, axis, 0)[channel] = 1e-12
        layer.set_weights([kernel, bias])
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 2)).astype("uint8")
    source = Source(model=model, name="small", class_names=["one", "other"], calibration=images)
    target = Target("tflite", quantize)
    found = quantization_debug.outputs(float_file(source, target).quantized(target), images)
    np.testing.assert_allclose(found, model.predict_on_batch(images.astype("float32")), rtol=0.03)


@pytest.mark.slow
def test_only_what_a_factor_passes_is_a_pair():
    assert len(pairs(kr.build("resnet20"))) == 9  # inside each unit; what leaves it goes two ways
    assert len(pairs(kr.build("resnet50"))) == 32
    assert not pairs(kr.build("resnet20", activation="silu"))
    assert not pairs(kr.build("resnet20", norm=None))


def test_decibels():
    assert decibels(np.array([10.0, 0.0]), np.array([1.0, 0.0])) == pytest.approx(20)
    assert decibels(np.ones(2), np.zeros(2)) == np.inf


def test_advice_is_the_smallest_file_that_is_good_enough():
    def row(count, equalize, size, accuracy):
        return {"float_layers": count, "equalize": equalize, "bytes": size, "accuracy": accuracy}

    plain, one, equal = row(0, False, 100, 0.9), row(1, False, 120, 0.95), row(0, True, 110, 0.949)
    assert "equalize=True" in advice([plain, one, equal], 0.95)
    assert "float_layers=1" in advice([plain, one], 0.95)
    assert advice([plain, one], 0.904).startswith("plain int8")
    assert "fine-tune" in advice([plain], 0.95)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"equalize": True}, "equalize=True goes with quantize='int8' or 'int4', not with None"),
        ({"quantize": "int16", "float_layers": 2}, "float_layers=2 goes with quantize='int8' or 'int4', not with 'int16'"),
        ({"quantize": "int8", "float_layers": -1}, "float_layers=-1: must not be negative"),
    ],
    ids=str,
)
def test_remedies_are_for_int8(fields, message):
    with pytest.raises(InputError, match=message):
        Target("tflite", **fields)
