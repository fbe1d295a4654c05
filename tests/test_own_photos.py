"""A few photographs: a pretrained network is chosen, its classifier fitted, and the rest trained further if that helps."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.data import from_folder
from keras_resnet.networks import choice
from keras_resnet.runs.evaluation import mistakes
from keras_resnet.training import choosing, linear_probe
from keras_resnet.training.first_weights import FirstWeights
from keras_resnet.training.linear_probe import ABSENT, LinearProbe, logistic_regression


@pytest.fixture(autouse=True)
def _few_penalties(monkeypatch):
    """Two strengths and two folds: all of them take longer than the trainings here."""
    monkeypatch.setattr(linear_probe, "STRENGTHS", (0.01, 0.1))
    monkeypatch.setattr(linear_probe, "FOLDS", 2)


GENTLE = replace(kr.RECIPES["digits"], epochs=2, learning_rate=0.01, linear_probe=True)


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize(("present", "weights"), [([0, 1], None), ([0, 1, 2], None), ([0, 2], [1.0, 1.0, 9.0]), ([1, 2], None)])
def test_the_classifier_is_that_of_scikit_learn_for_features_as_they_are(present, weights):
    generator = np.random.default_rng(1)
    labels = np.repeat(present, 20)
    features = generator.normal(labels[:, None] * [0.5, 0, 1, 0], [1, 5, 1, 0.1]) + np.array([0, 3, -9, 0])
    strength, kernel, bias = logistic_regression(features, labels, 3, weights)
    scaled = (features - features.mean(0)) / features.std(0)
    given = weights and {label: weights[label] for label in present}
    reference = LogisticRegression(C=strength, class_weight=given, max_iter=1000).fit(scaled, labels)
    shares = softmax(features @ kernel + bias)
    np.testing.assert_allclose(shares[:, present], reference.predict_proba(scaled), atol=2e-3)
    assert all(bias[label] == ABSENT and not kernel[:, label].any() for label in {0, 1, 2} - set(present))


def test_a_class_with_one_image_has_no_cross_validation():
    features = np.random.default_rng(0).normal(size=(5, 3))
    _, kernel, _ = logistic_regression(features, np.array([0, 0, 0, 0, 1]), 2)
    assert np.isfinite(kernel).all()
    assert kernel.any()


@pytest.mark.parametrize(
    ("accuracy", "images", "stays"), [(0.9, 100, False), (0.7, 100, False), (0.6, 100, True), (0.6, 20, False)]
)
def test_the_classifier_alone_is_kept_where_training_did_harm(accuracy, images, stays):
    assert LinearProbe(1.0, [], {"accuracy": 0.8, "loss": 0.4}).is_better_than({"val_accuracy": accuracy}, images) is stays


@pytest.fixture(scope="module")
def letters(few):
    """The digits under other names: classes that the network was not trained on."""
    return replace(few, class_names=[f"letter {name}" for name in few.class_names])


@pytest.mark.usefixtures("eagerly")
def test_a_fitted_classifier_is_better_than_a_random_one_and_stays_if_nothing_is(small_run, letters, tmp_path):
    run = kr.fit(None, replace(GENTLE, learning_rate=30.0), letters, tmp_path / "run", init=small_run, verbose=0)
    assert run.metrics["kept_epoch"] == 0
    found = run.metrics["linear_probe"]["validation"]
    assert run.metrics["validation"]["accuracy"] == pytest.approx(found["accuracy"])
    assert found["accuracy"] > 0.5
    trunk = [layer.get_weights() for layer in small_run.load().layers if layer.name.startswith("stage")]
    for before, layer in zip(trunk, [one for one in run.load().layers if one.name.startswith("stage")], strict=True):
        assert all(np.array_equal(*pair) for pair in zip(before, layer.get_weights(), strict=True))


class Stop(Exception):
    pass


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_it_is_resumed_exactly(small_run, letters, tmp_path):
    from keras import callbacks

    def stop(batch, logs=None):
        if batch == 1:
            raise Stop

    train = {"init": small_run, "verbose": 0, "checkpoint_every": 1}
    whole = kr.fit(None, GENTLE, letters, tmp_path / "whole", **train)
    with pytest.raises(Stop):
        kr.fit(None, GENTLE, letters, tmp_path / "run", **train, callbacks=[callbacks.LambdaCallback(on_train_batch_end=stop)])
    resumed = kr.fit(None, GENTLE, letters, tmp_path / "run", **train, resume=True)
    assert resumed.metrics["linear_probe"] == whole.metrics["linear_probe"]
    for one, other in zip(resumed.load().get_weights(), whole.load().get_weights(), strict=True):
        assert np.array_equal(one, other)


def test_a_recipe_that_fits_the_classifier_needs_weights(tiny, few, tmp_path):
    with pytest.raises(InputError, match="linear_probe=true needs a trained network: start from a run, file or name with init"):
        kr.fit(tiny, GENTLE, few, tmp_path / "run")


@pytest.mark.usefixtures("eagerly")
def test_one_command_for_photographs(call, photos, tmp_path, monkeypatch):
    """No network and no recipe are named: both are told with a reason, and how to choose otherwise."""
    monkeypatch.chdir(tmp_path)
    code, out, err = call("train", "--data", photos, "--epochs", 1)
    assert code == 0, err
    assert "network: tiny-imagenet, pretrained on photographs of 200 classes, because 26 training images are few" in out
    assert "size: 40x40 pixels; the network was pretrained at 64x64, and small photographs are enlarged" in out
    assert "recipe: the classifier is fitted to the features, then 1 epoch of fine-tuning, discarded if" in out
    assert "to change this: --image-size, --epochs or --init" in out
    run = kr.Run(tmp_path / "runs" / "photos-tiny-imagenet")
    assert run.metrics["init"] == FirstWeights.of("tiny-imagenet").digest
    assert run.metrics["init_name"] == "tiny-imagenet"  # a command that trains it again needs it
    assert run.recipe.linear_probe
    assert run.spec.input_shape == (40, 40, 3)
    test = run.metrics["test"]
    assert sum(map(sum, test["confusion_matrix"])) == 8 == sum(test["images_by_class"].values())
    assert "bright_above" in out.partition("balanced")[2]


def test_a_folder_of_the_name_of_the_pretrained_network_is_read_as_images(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos.rename("tiny-imagenet")
    assert choosing.choose("tiny-imagenet")[1].init.spec.classes == 200


def test_very_many_photographs_begin_with_random_weights(photos, monkeypatch):
    assert choosing.choose(photos)[1].name == "tiny-imagenet"
    assert choosing.choose(photos, pretrained=False)[1].init is None
    data, picked = choosing.choose(photos, image_size=200)
    assert (picked.init, data.image_shape) == (None, (200, 200, 3))
    monkeypatch.setattr(choosing, "MOST_IMAGES", 20)
    data, picked = choosing.choose(photos)
    assert (picked.init, picked.network) == (None, choice.for_images(26, (24, 24, 3)).network)
    assert data.image_shape == (24, 24, 3)


@pytest.mark.parametrize(("own", "taken"), [((20, 30), 32), ((32, 32), 48), ((36, 90), 56), ((43, 43), 64), ((640, 480), 64)])
def test_photographs_are_enlarged_by_half_at_most(own, taken, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", own).save(tmp_path / name / "one.png")
        (tmp_path / name / "two.png").write_bytes(b"nothing")
    assert choosing.size_for(choosing.photos_in(tmp_path)) == taken


def test_grey_photographs_have_three_equal_channels(photos):
    for path in photos.rglob("*.jpg"):
        with Image.open(path) as image:
            image.convert("L").save(path)
    data, picked = choosing.choose(photos)
    assert (picked.name, data.image_shape) == ("tiny-imagenet", (40, 40, 3))
    pixels = data.splits["train"].take(np.arange(3))
    assert (pixels == pixels[..., :1]).all()
    assert kr.data.load(**data.origin).image_shape == (40, 40, 3)
    with pytest.raises(InputError, match="channels=3: must be 1 or 3, and is for folders of images only"):
        kr.data.load("digits", channels=3)


def test_auto_is_as_no_recipe(letters, tmp_path, monkeypatch):
    def stop(data, *, pretrained):
        raise Stop(pretrained)

    monkeypatch.setattr("keras_resnet.training.fit.choose_for", stop)
    for recipe, pretrained in {None: True, "auto": True, "digits": False, GENTLE: False}.items():
        with pytest.raises(Stop, match=str(pretrained)):
            kr.fit(None, recipe, letters, tmp_path / "run")


def test_photographs_of_a_path_are_read_as_the_first_weights_need_them(photos, tmp_path, monkeypatch):
    def stop(spec, recipe, data, *others):
        raise Stop(data.image_shape)

    for path in photos.rglob("*.jpg"):
        with Image.open(path) as image:
            image.convert("L").save(path)
    monkeypatch.setattr("keras_resnet.training.fit.suited", stop)
    with pytest.raises(Stop, match=r"\(64, 64, 3\)"):
        kr.fit(None, None, photos, tmp_path / "run", init="tiny-imagenet")
    with pytest.raises(Stop, match=r"\(24, 24, 1\)"):
        kr.fit("resnet8", None, photos, tmp_path / "run")


def test_classes_count_alike_where_they_are_uneven():
    even, uneven = ([30, 40], [10, 40])
    assert kr.recipes.for_images(70, (64, 64, 3), pretrained=True, class_counts=even).class_weight == "none"
    assert kr.recipes.for_images(50, (64, 64, 3), pretrained=True, class_counts=uneven).class_weight == "balanced"


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("nowhere", "'nowhere'"),
        ("tiny-imagenett", "did you mean 'tiny-imagenet'"),
        ("nofile.h5", "no file of weights at 'nofile.h5'"),
        ("saved_models/nothing", "no run folder at 'saved_models/nothing'"),
    ],
)
def test_first_weights_that_are_none(init, message):
    with pytest.raises(InputError, match=message):
        FirstWeights.of(init)


def test_the_most_confident_mistakes_come_first():
    answers, labels = np.array([0, 1, 1, 0]), np.array([0, 0, 0, 1])
    found = mistakes(answers, np.array([1.0, 0.6, 0.9, 0.7]), labels, ["cat", "dog"], ["a", "b", "c", "d"])
    assert [row["image"] for row in found] == ["c", "d", "b"]
    assert found[0] == {"image": "c", "class": "cat", "predicted": "dog", "probability": 0.9}


def test_examples_of_a_folder_have_their_files(photos):
    data = from_folder(photos)
    for examples in (*data.splits.values(), data.examples("all")):
        found = [examples.name(place).split("/")[-2] for place in range(len(examples))]
        assert found == [data.class_names[label] for label in examples.labels]
