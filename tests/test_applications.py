"""The interface of keras.applications: the same arguments, names, inputs and outputs."""

import hashlib
import inspect
import json
import re
from functools import partial
from types import SimpleNamespace

import h5py
import keras
import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet import InputError, applications
from keras_resnet.networks.resnet import outputs

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (2, 64, 64, 3)).astype("float32")
FUNCTIONS = {"resnet": ("ResNet50", "ResNet101", "ResNet152"), "resnet_v2": ("ResNet50V2", "ResNet101V2", "ResNet152V2")}
SMALL = {"depths": (2, 2), "widths": (4, 8)}


def save_legacy(model, path):
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)
    return path


@pytest.fixture
def small(monkeypatch):
    """ResNet50, ResNet50V2 and ResNet18 of two units with few channels, named as they are."""
    from keras_resnet.networks.variants import resolve

    for name in ("resnet50v1", "resnet50v2_keras", "resnet18"):
        monkeypatch.setitem(applications.SPECS, name, resolve(name, **SMALL))


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in FUNCTIONS.items() for name in names])
def test_arguments_are_those_of_keras(module, name):
    ours, theirs = (getattr(getattr(each, module), name) for each in (applications, keras.applications))
    here, there = (inspect.signature(each).parameters.values() for each in (ours, theirs))
    assert [(one.name, one.default) for one in here] == [(one.name, one.default) for one in there]
    assert ours.__name__ == name
    assert getattr(applications, name) is ours
    assert applications.imagenet_utils.preprocess_input is keras.applications.imagenet_utils.preprocess_input


def small_of_keras(second, include_top=True, pooling=None, **options):
    """The network of `small`, by the code of keras.applications."""
    from keras.src.applications import resnet

    def stack(x):
        if second:
            return resnet.stack_residual_blocks_v2(resnet.stack_residual_blocks_v2(x, 4, 2, name="conv2"), 8, 2, 1, name="conv3")
        return resnet.stack_residual_blocks_v1(resnet.stack_residual_blocks_v1(x, 4, 2, 1, name="conv2"), 8, 2, name="conv3")

    name = "resnet50v2" if second else "resnet50"
    return resnet.ResNet(stack, second, True, include_top, pooling=pooling, name=name, **options)


def check_same(module, name, theirs, randomized, tmp_path, **options):
    """The same outputs from the same weights, by way of a file, and the same names of layers."""
    theirs = randomized(theirs(weights=None, input_shape=(64, 64, 3), **options))
    path = save_legacy(theirs, tmp_path / "w.h5")
    ours = getattr(getattr(applications, module), name)(weights=path, input_shape=(64, 64, 3), **options)
    prepared = getattr(applications, module).preprocess_input(IMAGES.copy())
    expected = np.asarray(theirs(prepared, training=False))
    np.testing.assert_allclose(ours(prepared, training=False), expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
    here, there = ({layer.name for layer in each.layers[1:]} for each in (ours, theirs))
    assert {name for name in there - here if not re.fullmatch(r"conv\d_block\d+_2_pad|max_pooling2d(_\d+)?", name)} == set()
    assert module == "resnet_v2" or [layer.name for layer in ours.layers[1:]] == [layer.name for layer in theirs.layers[1:]]
    assert ours.name == theirs.name
    norms = [[(one.epsilon, one.momentum) for one in each.layers if hasattr(one, "momentum")] for each in (ours, theirs)]
    assert norms[0] == norms[1]


@pytest.mark.parametrize(
    ("module", "name", "options"),
    [("resnet", "ResNet50", {}), ("resnet_v2", "ResNet50V2", {"include_top": False, "pooling": "max"})],
)
def test_the_same_network(module, name, options, small, randomized, tmp_path):
    check_same(module, name, partial(small_of_keras, module == "resnet_v2"), randomized, tmp_path, **options)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in FUNCTIONS.items() for name in names])
def test_whole_networks(module, name, randomized, tmp_path):
    check_same(module, name, getattr(getattr(keras.applications, module), name), randomized, tmp_path)


def test_the_usual_choices(small):
    make = applications.ResNet50
    assert make(weights=None, include_top=False).input_shape == (None, None, None, 3)
    model = make(weights=None, input_shape=(32, 40, 3), classes=5, name="mine")
    assert (model.name, model.output_shape, model.layers[-1].name) == ("mine", (None, 5), "predictions")
    np.testing.assert_allclose(np.sum(model(IMAGES[:, :32, :40]), axis=1), 1, rtol=1e-5)
    model.layers[-1].activation = None  # before a heatmap
    assert np.min(model(IMAGES[:, :32, :40])) < 0
    pooled = {pooling: make(weights=None, include_top=False, pooling=pooling) for pooling in ("avg", "max")}
    assert {pooling: model.layers[-1].name for pooling, model in pooled.items()} == {"avg": "avg_pool", "max": "max_pool"}
    own = make(weights=None, classes=2, classifier_activation=lambda x: 3 + 0 * x, input_shape=(32, 32, 3))
    assert np.asarray(own(IMAGES[:, :32, :32])).tolist() == [[3, 3]] * 2


def test_an_input_tensor(small, randomized, tmp_path):
    """Also one that another layer gives."""
    first = randomized(applications.ResNet50(weights=None, include_top=False, input_shape=(32, 32, 3)))
    first.save_weights(tmp_path / "trunk.weights.h5")
    grey = keras.Input((32, 32, 1))
    colour = keras.layers.Conv2D(3, 1)(grey)
    for tensor, inputs in ((colour, grey), (given := keras.Input((32, 32, 3)), given)):
        model = applications.ResNet50(weights=None, include_top=False, input_tensor=tensor)
        assert model.input is inputs
        assert model.output_shape == first.output_shape
    with pytest.raises(InputError, match=r"input_tensor=array.*: expected a Keras tensor"):
        applications.ResNet50(weights=None, input_tensor=np.zeros((1, 32, 32, 3)))


def test_a_network_gets_back_what_it_saved(small, randomized, tmp_path):
    first = randomized(applications.ResNet50(weights=None, classes=5, input_shape=(64, 64, 3)))
    first.save_weights(path := tmp_path / "w.weights.h5")
    again = applications.ResNet50(weights=path, classes=5, input_shape=(64, 64, 3))
    np.testing.assert_array_equal(again(IMAGES), first(IMAGES))
    with pytest.raises(InputError, match=r"w\.weights\.h5' does not fit resnet50"):
        applications.ResNet50(weights=path, classes=6, input_shape=(64, 64, 3))


def test_weights_of_another_library(small, randomized, tmp_path):
    """They get what `preprocess_input` gives, and see what they were trained on."""
    network = randomized(kr.build("resnet18", **SMALL, classes=5, input_shape=(64, 64, 3)))
    arrays = {f"{layer.name}/{weight.name}": np.asarray(weight) for layer in network.layers for weight in layer.weights}
    import safetensors.numpy

    from keras_resnet.fields import to_json

    (tmp_path / "spec.json").write_text(to_json(kr.networks.variants.resolve("resnet18", **SMALL, classes=5)))
    (tmp_path / "w.safetensors").write_bytes(safetensors.numpy.save(arrays))
    tensor = keras.layers.Dense(3, use_bias=False, kernel_initializer="identity")(keras.Input((64, 64, 3)))  # not in the file
    ours = applications.ResNet18(weights=tmp_path / "w.safetensors", classes=5, input_tensor=tensor, classifier_activation=None)
    expected = np.asarray(network(IMAGES))
    given = ours(applications.preprocess_input(IMAGES.copy()))
    np.testing.assert_allclose(given, expected, atol=1e-4 * np.abs(expected).max())
    assert {layer.name for layer in ours.layers} >= {"conv2_block1_out", "conv3_block1_0_conv", "predictions"}
    with pytest.raises(InputError, match=r"is of a network with block='basic', and resnet50 has block='bottleneck'"):
        applications.ResNet50(weights=tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"'predictions/kernel' is .* in the file and"):
        applications.ResNet18(weights=tmp_path / "w.safetensors", input_shape=(64, 64, 3))
    with pytest.raises(InputError, match="classifier_activation='relu': with trained weights"):
        applications.ResNet18(weights=tmp_path / "w.safetensors", classes=5, classifier_activation="relu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 5}, "classes=5: weights='imagenet' is for 1000 classes.*include_top=False"),
        ({"include_top": False, "input_shape": (64, 64, 4)}, "images have 4 channels: weights='imagenet' is for 3.*adapt_channels"),
    ],
)
def test_what_the_weights_of_imagenet_do_not_fit_is_said_before_a_download(options, message, monkeypatch):
    monkeypatch.setattr(applications, "find", lambda *_, **__: pytest.fail("downloads"))
    with pytest.raises(InputError, match=message):
        applications.ResNet50(**options)


def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(InputError, match=r"channels last.*set_image_data_format\('channels_last'\), and move the channels"):
            applications.ResNet50(weights=None)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_names_of_classes(tmp_path, monkeypatch):
    index = json.dumps({str(number): [f"n{number:08}", f"class {number}"] for number in range(1000)}).encode()
    (tmp_path / "imagenet_class_index.json").write_bytes(index)
    monkeypatch.setenv("KERAS_RESNET_CACHE", str(tmp_path))
    monkeypatch.setattr(applications, "CLASS_INDEX_MD5", hashlib.md5(index).hexdigest())
    scores = np.zeros((2, 1000))
    scores[0, [7, 3]] = 0.6, 0.4
    first, _ = applications.decode_predictions(scores, top=2)
    assert first == [("n00000007", "class 7", 0.6), ("n00000003", "class 3", 0.4)]
    with pytest.raises(InputError, match=r"takes \(batch, 1000\).*received \(2, 5\)"):
        applications.decode_predictions(scores[:, :5])


TRANSFER = """
import keras
from keras.applications.resnet50 import ResNet50, preprocess_input

base_model = ResNet50(weights=WEIGHTS, input_shape=(SIZE, SIZE, 3), include_top=False)
base_model.trainable = False
inputs = keras.Input(shape=(SIZE, SIZE, 3))
x = preprocess_input(inputs)
x = base_model(x, training=False)
x = keras.layers.GlobalAveragePooling2D()(x)
x = keras.layers.Dropout(0.2)(x)
outputs = keras.layers.Dense(1)(x)
model = keras.Model(inputs, outputs)
model.compile(optimizer=keras.optimizers.Adam(), loss=keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
before = [weight.numpy().copy() for weight in base_model.weights]
model.fit(IMAGES, LABELS, epochs=1, verbose=0)
frozen = all((weight.numpy() == old).all() for weight, old in zip(base_model.weights, before))
base_model.trainable = True
model.compile(optimizer=keras.optimizers.Adam(1e-5), loss=keras.losses.BinaryCrossentropy(from_logits=True))
model.fit(IMAGES, LABELS, epochs=1, verbose=0)
moved = any((weight.numpy() != old).any() for weight, old in zip(base_model.trainable_weights, before))
"""  # of keras.io's guide to transfer learning, with its images in an array


def run_guide(**given):
    here = {"LABELS": np.array([[0.0], [1.0]]), **given}
    exec(TRANSFER.replace("from keras.applications", "from keras_resnet.applications"), here)
    return SimpleNamespace(**here)


def test_the_guide_to_transfer_learning(small, eagerly):
    done = run_guide(WEIGHTS=None, SIZE=64, IMAGES=IMAGES)
    assert done.frozen
    assert done.moved
    assert done.base_model.trainable_weights


@pytest.mark.slow
def test_the_guide_with_the_whole_network(randomized, tmp_path):
    theirs = keras.applications.ResNet50(weights=None, include_top=False)
    path = save_legacy(randomized(theirs), tmp_path / "w.h5")
    done = run_guide(WEIGHTS=path, SIZE=150, IMAGES=GENERATOR.integers(0, 256, (2, 150, 150, 3)).astype("float32"))
    assert done.frozen
    assert done.moved


def test_the_head_of_a_network_of_this_package(tiny):
    """A maximum under the classifier, any activation, and a tensor to begin with."""
    images = GENERATOR.integers(0, 256, (2, 32, 32, 3)).astype("float32")
    tensor = keras.layers.Identity()(keras.Input((32, 32, 3)))
    model = kr.build(tiny, classes=3, pooling="max", classifier_activation=keras.ops.square, input_tensor=tensor)
    plain = kr.build(tiny, classes=3, pooling="max")
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(model(images), np.square(plain(images)), rtol=1e-5)
    features = keras.Model(plain.input, plain.get_layer("pool").input)(images)
    np.testing.assert_array_equal(keras.Model(plain.input, plain.get_layer("pool").output)(images), np.max(features, axis=(1, 2)))
    assert kr.build(tiny, classifier_activation="gelu").layers[-1].activation is keras.activations.gelu
    with pytest.raises(InputError, match="classifier_activation='sotfmax': expected one of softmax, sigmoid or none"):
        kr.build(tiny, classifier_activation="sotfmax")
    assert outputs(tiny)[1].name == "logits"
