"""A training that is interrupted at any moment goes on, and ends with the weights of one that was not."""

import csv
import dataclasses
import errno
import os
import pickle
import random
import shutil
import sys
import threading
import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.training import checkpoint_files, checkpoints
from keras_resnet.training import fit as train
from keras_resnet.training.distribute import Distribution
from keras_resnet.training.opening import first_lines
from keras_resnet.training.resume import check_same, plan_of

SHORT = dataclasses.replace(kr.RECIPES["digits"], epochs=3, batch_size=8)  # twelve steps an epoch
SETTINGS = {"seed": 3, "checkpoint_every": 5, "verbose": 0}


def fit_with_copies(spec, recipe, data, folder, **settings):
    """A training without interruption, and beside it what was on the disk before each checkpoint: what an end there leaves."""
    write, save = checkpoint_files.write, train.save

    def copy_and_write(training, checkpoint):
        shutil.copytree(training, folder / f"before-{checkpoint.step}")
        write(training, checkpoint)

    def copy_and_save(training, out, **settings):
        shutil.copytree(checkpoint_files.folder_of(out), folder / "before-the-run")
        return save(training, out, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_files, "write", copy_and_write)
        patch.setattr(train, "save", copy_and_save)
        return kr.fit(spec, recipe, data, folder / "run", **SETTINGS | settings)


def end_before(step, run, out):
    """Leave at `out` what the training of `run` would have left, had it ended before that checkpoint."""
    shutil.copytree(run.path.with_name(f"before-{step}"), checkpoint_files.folder_of(out))


@pytest.fixture(scope="module")
def undisturbed(tiny, few, tmp_path_factory):
    return fit_with_copies(tiny, SHORT, few, tmp_path_factory.mktemp("whole"))


def last_weights(run):
    model = kr.build(run.spec)
    model.load_weights(run.path / "last.weights.h5")
    return model.get_weights()


def history_of(run):
    return list(csv.DictReader((run.path / "history.csv").read_text().splitlines()))


def assert_same(run, other):
    for mine, theirs in (
        (keras.saving.load_model(run.model_path).get_weights(), keras.saving.load_model(other.model_path).get_weights()),
        (last_weights(run), last_weights(other)),
    ):
        for one, another in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(one, another)
    columns = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    for one, another in zip(history_of(run), history_of(other), strict=True):
        for column in columns:  # sums of an interrupted epoch are added up in another order where steps are executed together
            assert float(one[column]) == pytest.approx(float(another[column]), rel=1e-6), column
    assert run.metrics["test"] == other.metrics["test"]
    assert run.metrics["kept_epoch"] == other.metrics["kept_epoch"]


@pytest.mark.parametrize(
    ("step", "begins_at"), [(15, 12), *(pytest.param(*places, marks=pytest.mark.slow) for places in ((10, 5), (20, 15), (36, 35)))]
)
def test_goes_on_from_the_step(step, begins_at, tiny, few, undisturbed, tmp_path):
    end_before(step, undisturbed, tmp_path / "run")
    assert checkpoint_files.newest(checkpoint_files.folder_of(tmp_path / "run")).step == begins_at
    steps = Steps()
    run = kr.fit(tiny, SHORT, few, tmp_path / "run", resume=True, callbacks=[steps], **SETTINGS)
    assert_same(run, undisturbed)
    assert steps.count == 36 - begins_at
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


class Steps(keras.callbacks.Callback):
    count = 0

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1


@pytest.mark.slow
def test_patience_is_as_long_after_an_interruption(tiny, few, tmp_path):
    recipe = dataclasses.replace(SHORT, epochs=20, learning_rate=1e-9, warmup=0.0, schedule="constant")  # nothing becomes better
    whole = fit_with_copies(tiny, recipe, few, tmp_path, patience=4)
    accuracies = [float(row["val_accuracy"]) for row in history_of(whole)]
    assert len(accuracies) == whole.metrics["epochs"] < 20
    assert accuracies.index(max(accuracies)) == len(accuracies) - 1 - 4
    end_before(12 * (len(accuracies) - 1), whole, tmp_path / "other")
    assert_same(kr.fit(tiny, recipe, few, tmp_path / "other", patience=4, resume=True, **SETTINGS), whole)


@pytest.mark.parametrize(
    ("fields", "step"),
    [
        (
            {
                "batch_size": 6,  # 16 steps
                "steps_per_execution": 5,  # so four
                "progressive": (0.5, 1.0),
                "loss": "binary",
                "optimizer": "lamb",
                "learning_rate": 0.01,
                "ema": 0.9,
                "crop": 0,
                "resized_crop": 0.3,
                "repeats": 2,
                "augment": "trivialaugment",
            },
            28,
        ),
        pytest.param(
            {"ema": 0.9, "mixup": 0.2, "cutmix": 1.0, "erase": 0.3, "label_smoothing": 0.1, "accumulate": 2, "clip_norm": 1.0},
            20,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {
                "precision": "float16",
                "augment": "randaugment",
                "schedule": "linear",
                "remat": True,
                "optimizer": "adamw",
                "learning_rate": 1e-3,
            },
            20,
            marks=pytest.mark.slow,
        ),
        pytest.param({"distill": "features", "mixup": 0.2, "ema": 0.9}, 20, marks=pytest.mark.slow),
    ],
    ids=["batch_size", "ema", "float16", "features"],
)
def test_goes_on_whatever_the_recipe(fields, step, tiny, few, tmp_path):
    """And with every dropout, and a teacher."""
    recipe = dataclasses.replace(SHORT, epochs=2, **fields)
    spec, settings = dataclasses.replace(tiny, stochastic_depth=0.3, head_dropout=0.2), dict(SETTINGS)
    if recipe.loss == "softmax":
        settings["teacher"] = kr.build(tiny, input_shape=(8, 8, 1))
    whole = fit_with_copies(spec, recipe, few, tmp_path, **settings)
    end_before(step, whole, tmp_path / "other")
    assert_same(kr.fit(spec, recipe, few, tmp_path / "other", resume=True, **settings), whole)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tiny, few, undisturbed, tmp_path, caplog):
    end_before(20, undisturbed, tmp_path / "run")
    before, latest = checkpoint_files.files(checkpoint_files.folder_of(tmp_path / "run"))
    assert (before.name, latest.name) == ("step-000000012.npz", "step-000000015.npz")
    content = bytearray(latest.read_bytes())
    with np.load(latest) as arrays:
        content[content.index(arrays["arr_0"].tobytes())] ^= 1
    latest.write_bytes(content)
    run = kr.fit(tiny, SHORT, few, tmp_path / "run", resume=True, **SETTINGS)
    assert "step-000000015.npz' is damaged" in caplog.text
    assert "the checkpoint before it is used" in caplog.text
    assert_same(run, undisturbed)


def test_damaged_checkpoints_that_leave_none_are_named(tmp_path, caplog):
    for step in (41, 42):
        (tmp_path / f"step-{step:09}.npz").write_bytes(b"PK damaged")
    assert checkpoint_files.newest(tmp_path) is None
    latest, before = (record.getMessage() for record in caplog.records)
    assert latest.endswith("the checkpoint before it is used")
    assert before.endswith("there is none before it, so the training starts again")


def test_resume_begins_what_has_not_begun_and_returns_what_is_complete(tiny, few, undisturbed, tmp_path):
    run = kr.fit(tiny, SHORT, few, tmp_path / "run", resume=True, **SETTINGS)
    assert_same(run, undisturbed)
    changed = run.model_path.stat().st_mtime_ns
    assert kr.fit(tiny, SHORT, few, tmp_path / "run", resume=True, **SETTINGS).path == run.path
    assert run.model_path.stat().st_mtime_ns == changed
    with pytest.raises(InputError, match=r"run at .* has another seed: seed=3, not 4"):
        kr.fit(tiny, SHORT, few, tmp_path / "run", resume=True, **SETTINGS | {"seed": 4})


def test_another_training_does_not_go_on(tiny, few, undisturbed, tmp_path):
    end_before(20, undisturbed, tmp_path / "run")
    other = dataclasses.replace(SHORT, learning_rate=0.01)
    with pytest.raises(InputError, match=r"has another recipe: learning_rate=0.05, not 0.01; it can only be resumed unchanged"):
        kr.fit(tiny, other, few, tmp_path / "run", resume=True, **SETTINGS)
    with pytest.raises(InputError, match=r"was interrupted: continue with resume=True .* or discard it with overwrite=True"):
        kr.fit(tiny, other, few, tmp_path / "run", **SETTINGS)
    run = kr.fit(tiny, other, few, tmp_path / "run", overwrite=True, **SETTINGS)
    assert run.recipe == other
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_one_process_at_a_time(tiny, few, tmp_path):
    with (
        checkpoint_files.occupied(checkpoint_files.folder_of(tmp_path / "run")),
        pytest.raises(InputError, match="another process is training there"),
    ):
        kr.fit(tiny, SHORT, few, tmp_path / "run", **SETTINGS)


PROGRAM = """
import pickle, sys, time, keras, keras_resnet as kr
spec, recipe, splits, names, settings = pickle.loads(open(sys.argv[1], "rb").read())
data = kr.data.from_arrays(splits, class_names=names)
pause = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.02))  # so that a kill comes in time
kr.fit(spec, recipe, data, sys.argv[2], **settings | {"resume": True, "checkpoint_every": 1, "callbacks": [pause]})
"""


@pytest.mark.parametrize(
    ("times", "taught"), [(1, False), *(pytest.param(10, taught, marks=pytest.mark.slow) for taught in (False, True))]
)
def test_killed_at_random_moments(times, taught, tiny, few, undisturbed, tmp_path, forked, request):
    """SIGKILL, checkpoints being written included, and without or with a teacher. `benchmarks/kills.py` does it fifty times."""
    splits, settings = (
        {name: (images.take(np.arange(len(images))), images.labels) for name, images in few.splits.items()},
        dict(SETTINGS),
    )
    if taught:
        settings["teacher"] = str(request.getfixturevalue("small_run").path)
        undisturbed = kr.fit(tiny, SHORT, few, tmp_path / "undisturbed", **settings)
    (tmp_path / "training").write_bytes(pickle.dumps((tiny, SHORT, splits, list(few.class_names), settings)))
    out, generator, kills = tmp_path / "run", random.Random(0), 0
    folder = checkpoint_files.folder_of(out)

    def last_step():
        return max((int(path.stem[5:]) for path in checkpoint_files.files(folder)), default=0)

    while True:
        before = last_step()
        with (tmp_path / "errors").open("wb") as errors:
            training = forked([sys.executable, "-c", PROGRAM, str(tmp_path / "training"), str(out)], stderr=errors)
        while kills < times and training.poll() is None and last_step() <= before:
            time.sleep(0.01)
        if kills < times:
            time.sleep(generator.random() / 5)
            if training.poll() is None:
                training.kill()
                kills += 1
                training.wait()
                assert not out.exists() or kr.Run.open(out)
                continue
        assert training.wait() == 0, (tmp_path / "errors").read_text()
        break
    assert kills >= 1
    assert_same(kr.Run.open(out), undisturbed)


def test_what_a_kill_at_the_very_end_leaves_is_removed(tiny, few, undisturbed):
    folder = checkpoint_files.folder_of(undisturbed.path)
    folder.mkdir()
    checkpoint_files.write(folder, checkpoint_files.Checkpoint(36, [np.zeros(3)], {}))
    assert kr.fit(tiny, SHORT, few, undisturbed.path, resume=True, **SETTINGS) == undisturbed
    assert not folder.exists()


def test_a_full_disk_ends_the_training_and_leaves_what_is_whole(tiny, few, undisturbed, tmp_path, monkeypatch):
    savez, written = np.savez, []

    def savez_until_full(file, *arrays, **facts):
        if len(written) == 4:
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(file)
        savez(file, *arrays, **facts)

    monkeypatch.setattr(np, "savez", savez_until_full)
    with pytest.raises(
        OSError, match=r"the checkpoint of step 20 cannot be written to .*No space left on device.*--resume continues"
    ):
        kr.fit(tiny, SHORT, few, tmp_path / "run", **SETTINGS)
    assert not (tmp_path / "run").exists()
    folder = checkpoint_files.folder_of(tmp_path / "run")
    assert sorted(path.name for path in folder.glob("step-*")) == ["step-000000012.npz", "step-000000015.npz"]
    monkeypatch.undo()
    assert_same(kr.fit(tiny, SHORT, few, tmp_path / "run", resume=True, **SETTINGS), undisturbed)


@pytest.mark.slow
def test_the_last_weights_are_kept_too(tiny, few, tmp_path):
    """Where all epochs are done, and the run is not written."""
    recipe = dataclasses.replace(SHORT, epochs=2, ema=0.9)
    whole = fit_with_copies(tiny, recipe, few, tmp_path)
    end_before("the-run", whole, tmp_path / "other")
    assert_same(kr.fit(tiny, recipe, few, tmp_path / "other", resume=True, **SETTINGS), whole)


def test_another_backend_does_not_go_on(tiny, few, undisturbed, tmp_path, monkeypatch):
    end_before(20, undisturbed, tmp_path / "run")
    monkeypatch.setattr("keras_resnet.training.resume.keras.backend.backend", lambda: "jax")
    monkeypatch.setattr("keras_resnet.training.fit.choose", lambda name: Distribution())
    with pytest.raises(InputError, match="ran on tensorflow, not on jax"):
        kr.fit(tiny, SHORT, few, tmp_path / "run", resume=True, **SETTINGS)


def other_pixels(images, labels):
    images[3] = 255 - images[3]


def other_labels(images, labels):
    labels[[0, 1]] = labels[[1, 0]]


@pytest.mark.parametrize("change", [other_pixels, other_labels])
def test_other_images_of_the_same_number_do_not_go_on(change, tiny, few, undisturbed, tmp_path):
    """Nor does a training of them give the run that is complete."""
    splits = {name: (split.take(np.arange(len(split))), split.labels.copy()) for name, split in few.splits.items()}
    change(*splits["train"])
    other = kr.data.from_arrays(splits, class_names=list(few.class_names))
    end_before(20, undisturbed, tmp_path / "run")
    for place in (tmp_path / "run", undisturbed.path):
        with pytest.raises(
            InputError, match=r"used other images: the same number, but other labels, pixels or files; use the original"
        ):
            kr.fit(tiny, SHORT, other, place, resume=True, **SETTINGS)


def test_a_training_of_an_earlier_version_goes_on(tiny, few):
    """It lacks fields that came later, whose defaults did the same, and the digest of the images."""
    plan = plan_of(tiny, SHORT, few, 3, None)
    old = {part: dict(values) for part, values in plan.items()}
    for part, name in (("recipe", "nesterov"), ("network", "stochastic_depth"), ("images", "digest")):
        del old[part][name]
    check_same(old, plan, "the training")
    other = plan_of(tiny, dataclasses.replace(SHORT, nesterov=False), few, 3, None)
    with pytest.raises(InputError, match="another recipe: nesterov=True, not False"):
        check_same(old, other, "the training")


@pytest.mark.usefixtures("eagerly")
def test_checkpoints_take_a_small_share_of_the_time(tiny, few, tmp_path, monkeypatch):
    """Of a training of a few seconds there is none. In a long one they are as rare as they are slow."""
    steps = []
    monkeypatch.setattr(checkpoint_files, "write", lambda folder, checkpoint: steps.append(checkpoint.step))
    monkeypatch.setattr(checkpoints, "SHORTEST", 1000.0)
    kr.fit(tiny, dataclasses.replace(SHORT, epochs=1), few, tmp_path / "run", **SETTINGS | {"checkpoint_every": None})
    assert steps == []

    now = 0.0
    monkeypatch.setattr(checkpoints.time, "perf_counter", lambda: now)
    distribution = SimpleNamespace(workers=1, chief=True)
    saver = checkpoints.Checkpoints(SimpleNamespace(steps_per_epoch=9, distribution=distribution), tmp_path, {}, None)
    monkeypatch.setattr(checkpoints, "SHORTEST", 10.0)
    saver.seconds, due = 3.0, []
    for saver.step in range(200):
        now += 1
        if saver.is_due(saver.step - 1):
            due.append(saver.step)
            saver.latest = now
    assert due == [59, 119, 179]  # three seconds a minute


def test_checkpoints_are_written_while_the_training_goes_on(tiny, few, undisturbed, tmp_path, monkeypatch):
    """A copy is written, slowly, which later steps do not change."""
    write, later, waited, written = checkpoint_files.write, threading.Event(), [], []

    def write_late(folder, checkpoint):
        if checkpoint.step == 15:
            waited.append(later.wait(60))
        write(folder, checkpoint)
        written.append(checkpoint_files.newest(folder))

    monkeypatch.setattr(checkpoint_files, "write", write_late)
    kr.fit(tiny, SHORT, few, tmp_path / "run", **SETTINGS, callbacks=[Later(later)])
    assert waited == [True]
    expected = checkpoint_files.newest(undisturbed.path.with_name("before-20"))
    (late,) = [checkpoint for checkpoint in written if checkpoint.step == expected.step == 15]
    for mine, undisturbed_one in zip(late.arrays, expected.arrays, strict=True):
        np.testing.assert_array_equal(mine, undisturbed_one)
    assert len(late.facts["history"]) == 1


class Later(keras.callbacks.Callback):
    """Sets an event at the eighteenth step."""

    def __init__(self, event):
        super().__init__()
        self.event, self.count = event, 0

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1
        if self.count == 18:
            self.event.set()


@pytest.mark.usefixtures("eagerly")
def test_a_resumed_training_says_from_where(tiny, few, undisturbed, tmp_path, capsys):
    end_before(20, undisturbed, tmp_path / "run")
    kr.fit(tiny, SHORT, few, tmp_path / "run", resume=True, **SETTINGS | {"verbose": 2})
    assert "resumed: from step 15, in epoch 2 of 3" in capsys.readouterr().out
    kr.fit(tiny, SHORT, few, tmp_path / "run", resume=True, **SETTINGS | {"verbose": 2})
    assert "is complete: nothing is left to train" in capsys.readouterr().out
    assert first_lines(tiny, SHORT, few, 0)[-1] == "resumed: there is no checkpoint, so from the first step"
    assert not any("resumed" in line for line in first_lines(tiny, SHORT, few))
