"""Models of every structure that Keras allows, compiled, trained, cloned or not: what is exported of them."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_resnet as kr
from keras_resnet.console import quiet
from keras_resnet.export import WRITERS
from keras_resnet.export.check import Reference
from keras_resnet.export.supported import open_source
from keras_resnet.files.runtimes import RUNTIMES
from keras_resnet.files.targets import Target
from keras_resnet.networks.connections import scores_of
from keras_resnet.recipes.batch_statistics import recompute_statistics


@keras.saving.register_keras_serializable("tests")
class Net(keras.Model):
    """A subclass: its layers are no graph."""

    def __init__(self, form=lambda scores: scores, activation=None, **settings):
        super().__init__(**settings)
        self.form, self.conv, self.dense = form, layers.Conv2D(3, 3), layers.Dense(10, activation=activation)

    def call(self, images):
        return self.form(self.dense(layers.Flatten()(self.conv(images))))


def built(model):
    model(np.zeros((1, 8, 8, 1), "float32"))
    return model


def graph(tail=lambda logits: logits, *, front=lambda image: image, form=lambda tensor: tensor, name="image"):
    image = keras.Input((8, 8, 1), name=name)
    scores = layers.Dense(10)(layers.Flatten()(layers.Conv2D(2, 1, use_bias=False)(layers.Rescaling(1 / 16)(front(image)))))
    return keras.Model(form(image), tail(scores))


def wrapped(model, tail=lambda scores: scores):
    image = keras.Input((8, 8, 1))
    return keras.Model(image, tail(model(image)))


def exported(model, data, out, format="tflite", **fields):
    """The answers of a file to a few images, in this process, and those of the model."""
    target = Target(format, **fields)
    source, *_ = open_source(model, data, out)
    with quiet():
        WRITERS[format](source, out / target.file, target)
    assert Reference.of(source, data).are_probabilities == source.are_probabilities
    name, load = RUNTIMES["saved_model" if format == "saved_model" else f".{format}"]
    images = data.splits["test"].take(np.arange(20)).astype("float32")
    answers = load(importlib.import_module(name), out / target.file, 1).run(images)
    return answers, np.asarray(keras.tree.flatten(model(images, training=False))[0])


@pytest.fixture(autouse=True, scope="module")
def _threads():
    with pytest.MonkeyPatch.context() as patch:  # TensorFlow runs already
        for kind in ("intra", "inter"):
            patch.setattr(tf.config.threading, f"set_{kind}_op_parallelism_threads", lambda number: None)
        yield


STRUCTURES = {
    "subclass": lambda: built(Net()),
    "subclass_of_dictionary": lambda: built(Net(lambda scores: {"scores": scores})),
    "wrapped_subclass": lambda: wrapped(built(Net())),
    "wrapped_with_layers_behind": lambda: wrapped(built(Net()), layers.Dense(10)),
    "lists": lambda: graph(lambda logits: [logits], form=lambda image: [image]),
    "dictionaries": lambda: graph(lambda logits: {"scores": logits}, form=lambda image: {"image": image}),
    "nested": lambda: wrapped(wrapped(graph(lambda logits: {"a": logits})), lambda scores: scores["a"]),
    "one_output_of_two": lambda: wrapped(graph(lambda logits: [logits, layers.Softmax()(logits)]), lambda both: both[1]),
    "sequential_of_models": lambda: keras.Sequential([keras.Input((8, 8, 1)), graph(), layers.Softmax()]),
}

RARE = ("subclass_of_dictionary", "nested", "one_output_of_two", "wrapped_with_layers_behind", "lists", "sequential_of_models")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in RARE)) for name in STRUCTURES])
def test_structures(name, few, tmp_path):
    answers, expected = exported(STRUCTURES[name](), few, tmp_path)
    np.testing.assert_allclose(answers, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_the_check_of_an_export_passes(few, tmp_path):
    for number, model in enumerate(
        (STRUCTURES["wrapped_subclass"](), STRUCTURES["dictionaries"](), graph(front=RANDOM["rotation"]()))
    ):
        for kind in ("tflite", "onnx", "saved_model"):
            check = kr.export.export(model, kind, data=few, out=tmp_path / str(number), output="softmax")[0]
            assert check.passed, check.problem


def test_what_cannot_be_exported_is_refused_in_one_true_line(few, tmp_path):
    class Choosing(Net):
        def call(self, images):
            return super().call(images) if np.mean(images) > 0 else super().call(-images)

    image = keras.Input((8, 8, 1))
    for model, why in (
        (Net(name="fresh"), "'fresh' is not built: give it an Input, or call it on images once"),
        (built(Choosing(name="choosing")), "'choosing' cannot be called on an image of .8, 8, 1. as a graph of layers: "),
        (graph(lambda logits: {"a": logits, "b": logits}), "a classifier takes one image and gives"),
        (wrapped(built(Net(activation=keras.activations.hard_sigmoid))), "pass scores='probabilities' or scores='logits'"),
    ):
        with pytest.raises(kr.InputError, match=why) as error:
            kr.export.tflite(model, data=few, out=tmp_path)
        assert "\n" not in str(error.value)
    with pytest.raises(kr.InputError, match="no kind of scores named 'softmax'"):
        kr.export.tflite(keras.Model(image, layers.Flatten()(image)), data=few, out=tmp_path, scores="softmax")


TAILS = {
    "cast": lambda scores: layers.Activation("linear", dtype="float32")(scores),
    "reshape": lambda scores: layers.Reshape((10,))(scores),
    "clip": lambda scores: keras.ops.clip(scores, 1e-7, 1.0),
    "cast_operation": lambda scores: keras.ops.cast(scores, "float32"),
    "noise": lambda scores: layers.GaussianNoise(0.1)(scores),
    "all": lambda scores: layers.Dropout(0.1)(layers.Flatten()(keras.ops.clip(scores, 0, 1))),
}


@pytest.mark.parametrize("tail", TAILS)
def test_scores_are_known_through_layers_that_keep_them(tail):
    for kind in (layers.Softmax(), layers.Activation("sigmoid"), keras.ops.softmax):
        model = graph(lambda logits, kind=kind: TAILS[tail](kind(logits)))
        assert (
            scores_of(model)
            == scores_of(wrapped(model))
            == scores_of(keras.Sequential([keras.Input((8, 8, 1)), model]))
            == "probabilities"
        )
    assert scores_of(graph(TAILS[tail])) == "logits"


def test_no_softmax_of_a_softmax(few, tmp_path):
    """Also where no layer says what it is: the outputs of the model for the images do."""
    hidden = graph(lambda logits: keras.ops.multiply(keras.ops.softmax(logits), 1.0))
    assert scores_of(hidden) == ""
    for model in (graph(lambda logits: TAILS["clip"](layers.Softmax()(logits))), hidden):
        (tmp_path / model.name).mkdir()
        answers, expected = exported(model, few, tmp_path / model.name, output="softmax")
        np.testing.assert_allclose(answers, expected, atol=1e-4)


@pytest.mark.slow
def test_a_wrong_statement_about_scores_does_not_pass(few, tmp_path):
    with pytest.raises(kr.InputError, match="should give probabilities, but its outputs are between"):
        kr.export.tflite(graph(), data=few, out=tmp_path, scores="probabilities")
    [check] = kr.export.export(graph(layers.Softmax()), "tflite", data=few, out=tmp_path, scores="logits", output="softmax")
    assert not check.passed


RANDOM = {
    "flip": lambda: layers.RandomFlip("horizontal"),
    "rotation": lambda: layers.RandomRotation(0.1),
    "noise": lambda: layers.GaussianNoise(0.9),
    "dropout": lambda: layers.Dropout(0.5),
    "contrast": lambda: layers.RandomContrast(0.5),
    "translation": lambda: layers.RandomTranslation(0.2, 0.2),
    "zoom": lambda: layers.RandomZoom(0.2),
}


@pytest.mark.parametrize("format", [pytest.param("tflite", marks=pytest.mark.slow), "onnx"])
def test_nothing_random_is_exported(format, few, tmp_path):
    model = graph(front=keras.Sequential([keras.Input((8, 8, 1)), *(make() for make in RANDOM.values())]))
    answers, expected = exported(model, few, tmp_path, format)
    np.testing.assert_allclose(answers, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("format", ["tflite", "onnx", pytest.param("saved_model", marks=pytest.mark.slow)])
def test_models_that_a_recipe_has_trained(format, few, tmp_path, eagerly):
    """Pointwise convolutions among them, which train by operations that TFLite does not have."""
    model, images = graph(), few.splits["train"].take(np.arange(96)).astype("float32")
    recipe = kr.recipes.resolve("digits", epochs=1, batch_size=48)
    recipe.compile(model, 2)
    model.fit(images, few.splits["train"].labels, batch_size=48, verbose=0, callbacks=recipe.callbacks())
    for trained in (model, *([wrapped(model), copied(model)] if format == "tflite" else [])):
        (tmp_path / trained.name).mkdir(exist_ok=True)
        answers, expected = exported(trained, few, tmp_path / trained.name, format)
        np.testing.assert_allclose(answers, expected, atol=1e-4 * np.abs(expected).max())


def copied(model):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def test_a_trained_model_predicts_by_the_plain_computation(few):
    model = graph()
    kr.RECIPES["digits"].compile(model, 2)
    names = {
        node.name for node in tf.function(model).get_concrete_function(tf.TensorSpec((None, 8, 8, 1))).graph.as_graph_def().node
    }
    assert not [name for name in names if "EnsureShape" in name or ("MatMul" in name and "dense" not in name)], names


@pytest.mark.slow
def test_networks_of_others_that_a_recipe_compiled(digits, tmp_path):
    model = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=10)
    kr.Recipe().compile(model, 2)
    images = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3)).astype("uint8")
    data = kr.data.load((images, np.arange(60) % 10))
    check = kr.export.tflite(model, data=data, out=tmp_path, accept_undecided=True)
    assert check.accepted, check.problem


def test_statistics_of_models_inside_a_model_are_recomputed(few):
    image = keras.Input((8, 8, 1))
    inner = keras.Model(image, layers.BatchNormalization()(image))
    images = few.splits["train"].take(np.arange(48)).astype("float32")
    recompute_statistics(wrapped(inner), [images[:47], images[47:]])  # the last batch is smaller, and counts as much less
    np.testing.assert_allclose(inner.layers[1].moving_mean, images.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(inner.layers[1].moving_variance, images.var((0, 1, 2)), rtol=0.01)
