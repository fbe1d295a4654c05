"""Signals and volumes: what `fit` does with images, it does with them."""

import dataclasses

import keras
import keras_tuner
import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet import InputError, search
from keras_resnet.files.model_file import ModelFile
from keras_resnet.files.predictions import accuracy
from keras_resnet.search import HyperResNet, Study, trials
from keras_resnet.training.opening import images_of

RECIPE = dataclasses.replace(kr.RECIPES["cifar-30"], epochs=1, batch_size=8, learning_rate=0.02, mixup=0.2)
SHAPES = {1: (16, 2), 3: (6, 6, 6, 1)}
SETTINGS = {"seed": 1, "checkpoint_every": 1, "verbose": 0}


def arrays(shape):
    """Three classes of signals or volumes, around -3, 0 and 3."""
    labels = np.arange(48) % 3
    means = 3.0 * (labels - 1)
    values = np.random.default_rng(0).normal(means.reshape(-1, *[1] * len(shape)), 1.0, (48, *shape))
    return values.astype("float32"), labels


class Interruption(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise KeyboardInterrupt


def check_no_image_files(run, call):
    """Their networks do not take them, and the error says so."""
    for use in (kr.data.of_run, kr.data.to_evaluate):
        with pytest.raises(InputError, match=r"the network takes inputs of \(.*\), but image files have .*: use arrays"):
            use(run, run.path)
    code, _, err = call("predict", run.path, run.path / "history.png")
    assert code == 2
    assert "the network takes inputs of" in err


@pytest.mark.parametrize("rank", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_they_train_resume_and_are_exported(rank, tiny, tmp_path, caplog, eagerly, call):
    data, spec = kr.data.load(arrays(SHAPES[rank])), dataclasses.replace(tiny, normalize=None)
    whole = kr.fit(spec, RECIPE, data, tmp_path / "whole", **SETTINGS)
    assert images_of(data).endswith({1: "; 16 values, 2 channels", 3: "; 6x6x6 voxels, 1 channel"}[rank])
    assert caplog.text.count("the recipe's crop=4, flip=True is ignored") == 1
    assert (whole.recipe.crop, whole.recipe.flip, whole.recipe.mixup) == (0, False, 0.2)
    assert whole.spec.input_shape == SHAPES[rank]
    with pytest.raises(KeyboardInterrupt):
        kr.fit(spec, RECIPE, data, tmp_path / "run", callbacks=[Interruption()], **SETTINGS)
    run = kr.fit(spec, RECIPE, data, tmp_path / "run", resume=True, **SETTINGS)
    for one, other in zip(*(keras.saving.load_model(each.model_path).get_weights() for each in (run, whole)), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match="was trained on arrays, an iterable or elsewhere; pass them"):
        kr.data.of_run(run)
    check_no_image_files(run, call)
    again = kr.data.of_run(run, arrays(SHAPES[rank]))
    assert accuracy(ModelFile(run.model_path), again, "test") == pytest.approx(run.metrics["test"]["accuracy"])
    assert (kr.export.tflite(run, quantize="int8", data=data) if rank == 1 else kr.export.onnx(run, data=data)).bytes


def test_the_usual_recipe_leaves_volumes_as_they_are():
    values, labels = arrays(SHAPES[3])
    data = kr.data.load((values, labels), batch_size=8)
    recipe = data.check(
        dataclasses.replace(RECIPE, mixup=0.0, augment="randaugment", erase=1.0, cutmix=1.0, progressive=(0.5, 1.0))
    )
    assert recipe == data.check(dataclasses.replace(RECIPE, mixup=0.0))
    images, _ = next(iter(data.training_batches(recipe)))
    assert {image.tobytes() for image in images.numpy()} < {value.tobytes() for value in values}


def study_of(rank, tiny):
    spec = dataclasses.replace(tiny, normalize=None)
    return Study(
        space=lambda hp: hp.Choice("width", [4]) and (spec, {"flip": True}), data=arrays(SHAPES[rank]), recipe=RECIPE, trials=1
    )


def check_winner(run, rank):
    """It knows where its images are, which the search has saved."""
    assert run.spec.input_shape == SHAPES[rank]
    assert run.data["digest"] == kr.data.load(arrays(SHAPES[rank])).digest == kr.data.of_run(run).digest


def test_a_study_searches_signals(tiny, tmp_path, caplog, eagerly, monkeypatch):
    def train_here(study, spec, recipe, out, seed, alive):
        return kr.fit(spec, recipe, study.data, out, seed=seed, verbose=0)

    monkeypatch.setattr(trials, "train_in_process", train_here)
    found = search.run(study_of(1, tiny), tmp_path / "out")
    assert caplog.text.count("the recipe's crop=4, flip=True is ignored") == 1
    check_winner(kr.Run.open(found.out / "winner"), 1)


@pytest.mark.slow
@pytest.mark.parametrize("rank", SHAPES)
def test_a_study_searches_them_in_processes(rank, tiny, tmp_path):
    found = search.run(study_of(rank, tiny), tmp_path / "out")
    check_winner(kr.Run.open(found.out / "winner"), rank)


@pytest.mark.slow
def test_a_script_of_keras_tuner_searches_them(tiny, tmp_path):
    values, labels = arrays(SHAPES[1])
    space = HyperResNet(
        lambda hp: dataclasses.replace(tiny, normalize=None, stem_width=hp.Choice("width", [4, 8])),
        input_shape=SHAPES[1],
        classes=3,
        recipe=kr.Recipe(),
    )
    tuner = keras_tuner.RandomSearch(space, "accuracy", max_trials=1, directory=tmp_path, seed=0)
    tuner.search(values, labels, epochs=1, verbose=0)
    assert tuner.get_best_models()[0].input_shape == (None, *SHAPES[1])


def test_what_looks_like_images_without_channels_is_said(caplog):
    values, labels = arrays((8, 8))
    assert kr.data.load((values, labels)).image_shape == (8, 8)
    assert "taken as signals of length 8 with 8 channels; for grey images add the axis" in caplog.text
    volumes = kr.data.load((np.full((48, 5, 6, 7, 1), 9, "uint8"), labels))
    assert (volumes.image_shape, volumes.dtype) == ((5, 6, 7, 1), "uint8")
    assert kr.data.load((values[..., None, None].astype("int16"), labels)).dtype == "float32"
