"""What shows a training while it runs."""

import csv
import dataclasses
import re
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.runs.history import accuracies_in
from keras_resnet.training import checkpoint_files
from keras_resnet.training.callbacks import Progress
from keras_resnet.training.trackers import trackers

RECIPE = dataclasses.replace(kr.RECIPES["digits"], epochs=2)


def test_tensorboard_has_curves_and_pictures(tiny, few, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    kr.fit(tiny, RECIPE, few, out, callbacks=trackers(["tensorboard"], out=out, recipe=RECIPE, data=few), verbose=0)
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
    images, _ = next(iter(few.training_batches(RECIPE)))
    np.testing.assert_allclose(first, images[0], atol=1)


def test_places_that_are_not_there(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_resnet.training.trackers.find_spec", lambda name: None)
    with pytest.raises(InputError, match="'wandb' is not installed here: pip install wandb"):
        trackers(["wandb"], out=tmp_path / "run", recipe=RECIPE, data=digits)
    with pytest.raises(InputError, match="no experiment tracker named 'tensorbord'; did you mean 'tensorboard'"):
        trackers(["tensorbord"], out=tmp_path / "run", recipe=RECIPE, data=digits)


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
    monkeypatch.setattr("keras_resnet.training.trackers.find_spec", lambda name: name)
    made = trackers(["wandb", "mlflow"], out=tmp_path / "run", recipe=RECIPE, data=digits, seed=3)
    assert [type(each) for each in made] == [own, own]
    assert started["wandb"]["name"] == started["mlflow"] == "run"
    assert started["parameters"] == started["wandb"]["config"]
    assert started["parameters"]["seed"] == 3
    assert started["parameters"]["source"] == "digits"


@pytest.mark.usefixtures("eagerly")
def test_progress_and_history_during_the_training(tiny, few, tmp_path, capsys):
    epochs = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            path = checkpoint_files.folder_of(tmp_path / "run") / "history.csv"
            epochs.append([row["epoch"] for row in csv.DictReader(path.read_text().splitlines())])

    kr.fit(tiny, RECIPE, few, tmp_path / "run", callbacks=[Look()], verbose=2)
    assert epochs == [["1"], ["1", "2"]]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    form = (
        r"epoch {}/2  loss \d\.\d{{4}}, accuracy 0\.\d{{4}}  [\d,]+ images/s  0:00:\d\d left  validation \d+\.\d{{4}}, 0\.\d{{4}}"
    )
    assert len(lines) == 2
    for number, line in enumerate(lines, start=1):
        assert re.fullmatch(form.format(number), line), line
    header = Path(tmp_path / "run" / "history.csv").read_text().splitlines()[0]
    assert header == "epoch,accuracy,loss,learning_rate,images_per_second,val_accuracy,val_balanced_accuracy,val_loss"


def test_accuracies_of_a_training_that_goes_on(tmp_path):
    """None of a table that is not there, any more or yet, or that is half written."""
    table = tmp_path / "history.csv"
    assert accuracies_in(table) == []
    for content, expected in (("epoch,val_accuracy\n1,0.5\n2,0.75\n", [0.5, 0.75]), ("epoch,val_accuracy\n1,0.", []), ("\n", [])):
        table.write_text(content)
        assert accuracies_in(table) == expected
    table.write_bytes(b"\xff\n")
    assert accuracies_in(table) == []


CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_progress_fits_into_a_terminal(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    made = 0
    progress = Progress(lambda: made, steps=20, epochs=2, live=True)
    logs = {"loss": 1.5, "accuracy": 0.25, "images_per_second": 12345}
    progress.bar.live.auto_refresh = False  # it draws only where `refresh` is called
    with progress.bar:
        for epoch in range(2):
            progress.on_epoch_begin(epoch)
            for batch in range(10):
                made += 1
                progress.on_train_batch_end(batch, logs)
                progress.bar.refresh()
            progress.on_epoch_end(epoch, {**logs, "val_loss": 1.25, "val_accuracy": 0.5})
    lines = [line for line in re.split(r"[\r\n]+", CONTROL.sub("", capsys.readouterr().out)) if line.strip()]
    assert max(map(len, lines)) <= columns
    live = [line for line in lines if "%" in line]
    assert live[1].startswith("epoch 1/2  20%  loss 1.5000, accuracy 0.2500  12,345 image"[:columns])
    assert live[-1].startswith("epoch 2/2 100%  loss")
    assert ("━" in live[-1]) == ("0:00:00 left" in live[-1]) == (columns > 60)
    ended = " ".join(line.strip() for line in lines if "%" not in line and "starting" not in line)
    one = "epoch {}/2  loss 1.5000, accuracy 0.2500  validation 1.2500, 0.5000"
    assert " ".join(ended.split()) == " ".join(f"{one.format(1)} {one.format(2)}".split())


def test_progress_is_live_in_a_terminal_and_leaves_it_in_order(tiny, few, tmp_path, capsys, monkeypatch):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    monkeypatch.setenv("TERM", "xterm")
    stream = sys.stdout
    monkeypatch.setattr(stream, "isatty", lambda: True)
    with pytest.raises(KeyboardInterrupt):
        kr.fit(tiny, RECIPE, few, tmp_path / "run", callbacks=[Stop()])
    assert sys.stdout is stream
    out = capsys.readouterr().out
    assert out.rindex("\x1b[?25h") > out.rindex("\x1b[?25l")  # the cursor is there again
    assert re.search(r"[\r\n]epoch 1/2  loss \d\.\d{4}, accuracy 0\.\d{4}  validation", CONTROL.sub("", out))
    assert "epoch 2/2 100%  loss" in out


def test_time_left_is_extrapolated_from_the_steps_made(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    made = 10  # continued after ten steps
    progress = Progress(lambda: made, steps=130, epochs=1, live=False)
    progress.on_epoch_begin(0)
    for batch in range(21):
        made += 1
        progress.on_train_batch_end(batch, {"loss": 1.0, "accuracy": 0.5, "images_per_second": 8})
        if batch == 0:
            assert progress.seconds_left() is None
        now[0] += 3
    # 21 steps from the end of the first one on took 63 seconds, the last of them not over; 99 are to come.
    assert progress.seconds_left() == pytest.approx(99 * 63 / 20)
