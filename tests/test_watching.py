"""What shows a training while it runs."""

import csv
import dataclasses
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_resnet as kr
from keras_resnet import InputError, checkpoints
from keras_resnet.callbacks import TimeLeft
from keras_resnet.watching import watch

RECIPE = dataclasses.replace(kr.RECIPES["digits"], epochs=2)


def test_tensorboard_has_curves_and_pictures(digits, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    kr.fit("resnet8", RECIPE, digits, out, watch=watch(["tensorboard"], out=out, recipe=RECIPE, data=digits), verbose=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-tensorboard"]
    events = EventAccumulator(str(tmp_path / "run-tensorboard" / "train"), size_guidance={"tensors": 0}).Reload()
    history = list(csv.DictReader((out / "history.csv").read_text().splitlines()))
    for name, column in {
        "epoch_learning_rate": "learning_rate",
        "epoch_images_per_second": "images_per_second",
        "epoch_loss": "loss",
    }.items():
        written = [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(name)]
        assert written == pytest.approx([float(row[column]) for row in history], rel=1e-5), name
    [pictures] = events.Tensors("training images")
    first = tf.image.decode_png(tf.make_ndarray(pictures.tensor_proto)[2])
    images, _ = next(iter(digits.training_batches(RECIPE)))
    np.testing.assert_allclose(first, images[0], atol=1)


def test_places_that_are_not_there(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_resnet.watching.find_spec", lambda name: None)
    with pytest.raises(InputError, match="'wandb' is not installed here: pip install wandb"):
        watch(["wandb"], out=tmp_path / "run", recipe=RECIPE, data=digits)
    with pytest.raises(InputError, match="no place to watch named 'tensorbord'; did you mean 'tensorboard'"):
        watch(["tensorbord"], out=tmp_path / "run", recipe=RECIPE, data=digits)


def test_other_places_get_their_own_callbacks(digits, tmp_path, monkeypatch):
    """Stand-ins for the two packages, which are large: both were tried as they are."""
    started = {}
    own = keras.callbacks.Callback
    wandb = types.SimpleNamespace(init=lambda **fields: started.update(wandb=fields))
    mlflow = types.SimpleNamespace(
        active_run=lambda: None,
        start_run=lambda run_name: started.update(mlflow=run_name),
        log_params=lambda fields: started.update(parameters=fields),
    )
    modules = {
        "wandb": wandb,
        "wandb.integration.keras": types.SimpleNamespace(WandbMetricsLogger=own),
        "mlflow": mlflow,
        "mlflow.keras": types.SimpleNamespace(MlflowCallback=own),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("keras_resnet.watching.find_spec", lambda name: name)
    made = watch(["wandb", "mlflow"], out=tmp_path / "run", recipe=RECIPE, data=digits, seed=3)
    assert [type(each) for each in made] == [own, own]
    assert started["wandb"]["name"] == started["mlflow"] == "run"
    assert started["parameters"] == started["wandb"]["config"]
    assert started["parameters"]["seed"] == 3
    assert started["parameters"]["source"] == "digits"


def test_history_can_be_read_during_the_training(digits, tmp_path):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            path = checkpoints.folder_of(tmp_path / "run") / "history.csv"
            seen.append([row["epoch"] for row in csv.DictReader(path.read_text().splitlines())])

    kr.fit("resnet8", RECIPE, digits, tmp_path / "run", watch=[Look()], verbose=0)
    assert seen == [["1"], ["1", "2"]]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_progress_shows_speed_and_time_left(digits, tmp_path, capsys):
    kr.fit("resnet8", RECIPE, digits, tmp_path / "run", verbose=2)
    printed = [line for line in capsys.readouterr().out.splitlines() if "images_per_second" in line]
    assert len(printed) == 2
    assert all("minutes_left: " in line for line in printed)
    header = Path(tmp_path / "run" / "history.csv").read_text().splitlines()[0]
    assert header == "epoch,accuracy,loss,learning_rate,images_per_second,val_accuracy,val_loss"


def test_time_left_is_extrapolated_from_the_steps_made(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    made = 10  # continued after ten steps
    left = TimeLeft(lambda: made, steps=130)
    logs = {}
    for batch in range(21):
        made += 1
        left.on_train_batch_end(batch, logs)
        now[0] += 3
    # 20 steps behind the first one took 60 seconds; 99 are to come.
    assert logs["minutes_left"] == pytest.approx(99 * 3 / 60)
