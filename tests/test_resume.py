"""A training that is interrupted at any moment goes on, and ends with the weights of one that was not."""

import csv
import dataclasses
import errno
import os
import random
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.training import checkpoint_files
from keras_resnet.training import fit as train
from keras_resnet.training.distribute import Distribution

SHORT = dataclasses.replace(kr.RECIPES["digits"], epochs=3)
SETTINGS = {"seed": 3, "checkpoint_every": 7, "verbose": 0}


class Interrupted(Exception):
    pass


@pytest.fixture
def interrupt(monkeypatch):
    """Let the training raise before the checkpoint of that step, once."""

    def at(step):
        write = checkpoint_files.write

        def or_raise(folder, checkpoint):
            if checkpoint.step >= step:
                monkeypatch.setattr(checkpoint_files, "write", write)
                raise Interrupted
            write(folder, checkpoint)

        monkeypatch.setattr(checkpoint_files, "write", or_raise)

    return at


@pytest.fixture(scope="module")
def undisturbed(digits, tmp_path_factory):
    return kr.fit("resnet8", SHORT, digits, tmp_path_factory.mktemp("whole") / "run", **SETTINGS)


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
    assert run.metrics["best_epoch"] == other.metrics["best_epoch"]


@pytest.mark.parametrize("step", [7, 14, 49, 82, 84, 123])  # an epoch has 41 steps
def test_goes_on_from_the_step(step, digits, undisturbed, tmp_path, interrupt):
    interrupt(step)
    with pytest.raises(Interrupted):
        kr.fit("resnet8", SHORT, digits, tmp_path / "run", **SETTINGS)
    assert not (tmp_path / "run").exists()
    run = kr.fit("resnet8", SHORT, digits, tmp_path / "run", resume=True, **SETTINGS)
    assert_same(run, undisturbed)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_patience_is_as_long_after_an_interruption(digits, tmp_path, interrupt):
    recipe = dataclasses.replace(SHORT, epochs=12, learning_rate=1e-9, warmup=0.0, schedule="constant")  # nothing becomes better
    whole = kr.fit("resnet8", recipe, digits, tmp_path / "whole", patience=4, **SETTINGS)
    accuracies = [float(row["val_accuracy"]) for row in history_of(whole)]
    assert len(accuracies) == whole.metrics["epochs"] < 12
    assert accuracies.index(max(accuracies)) == len(accuracies) - 1 - 4
    interrupt(41 * (len(accuracies) - 2) + 14)
    with pytest.raises(Interrupted):
        kr.fit("resnet8", recipe, digits, tmp_path / "run", patience=4, **SETTINGS)
    assert_same(kr.fit("resnet8", recipe, digits, tmp_path / "run", patience=4, resume=True, **SETTINGS), whole)


def test_goes_on_with_dropout_and_recomputed_units(digits, tmp_path, interrupt):
    spec = kr.SPECS["resnet8"]
    spec = dataclasses.replace(spec, stochastic_depth=0.3, head_dropout=0.2)
    recipe = dataclasses.replace(SHORT, epochs=2, remat=True, optimizer="adamw", learning_rate=1e-3)
    whole = kr.fit(spec, recipe, digits, tmp_path / "whole", **SETTINGS)
    interrupt(63)
    with pytest.raises(Interrupted):
        kr.fit(spec, recipe, digits, tmp_path / "run", **SETTINGS)
    assert_same(kr.fit(spec, recipe, digits, tmp_path / "run", resume=True, **SETTINGS), whole)


@pytest.mark.parametrize(
    "fields",
    [
        {
            "ema": 0.9,
            "mixup": 0.2,
            "cutmix": 1.0,
            "augment": "randaugment",
            "erase": 0.3,
            "label_smoothing": 0.1,
            "accumulate": 2,
            "precision": "bfloat16",
            "clip_norm": 1.0,
        },
        {
            "batch_size": 36,  # 36 steps
            "steps_per_execution": 5,  # so four
            "progressive": (0.5, 1.0),
            "loss": "binary",
            "optimizer": "lamb",
            "learning_rate": 0.01,
            "crop": 0,
            "resized_crop": 0.3,
            "repeats": 2,
            "augment": "trivialaugment",
        },
        {"precision": "float16", "schedule": "linear"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_goes_on_whatever_the_recipe(fields, digits, tmp_path, interrupt):
    recipe = dataclasses.replace(SHORT, epochs=2, **fields)
    whole = kr.fit("resnet8", recipe, digits, tmp_path / "whole", **SETTINGS)
    interrupt(63)
    with pytest.raises(Interrupted):
        kr.fit("resnet8", recipe, digits, tmp_path / "run", **SETTINGS)
    assert_same(kr.fit("resnet8", recipe, digits, tmp_path / "run", resume=True, **SETTINGS), whole)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(digits, undisturbed, tmp_path, interrupt, caplog):
    interrupt(49)
    with pytest.raises(Interrupted):
        kr.fit("resnet8", SHORT, digits, tmp_path / "run", **SETTINGS)
    before, latest = checkpoint_files.files(checkpoint_files.folder_of(tmp_path / "run"))
    assert (before.name, latest.name) == ("step-000000041.npz", "step-000000042.npz")
    content = bytearray(latest.read_bytes())
    content[len(content) // 2] ^= 1
    latest.write_bytes(content)
    run = kr.fit("resnet8", SHORT, digits, tmp_path / "run", resume=True, **SETTINGS)
    assert "step-000000042.npz' is damaged" in caplog.text
    assert "the checkpoint before it is used" in caplog.text
    assert_same(run, undisturbed)


def test_damaged_checkpoints_that_leave_none_are_named(tmp_path, caplog):
    for step in (41, 42):
        (tmp_path / f"step-{step:09}.npz").write_bytes(b"PK damaged")
    assert checkpoint_files.newest(tmp_path) is None
    latest, before = (record.getMessage() for record in caplog.records)
    assert latest.endswith("the checkpoint before it is used")
    assert before.endswith("there is none before it, and the training begins anew")


def test_resume_begins_what_has_not_begun_and_returns_what_is_complete(digits, undisturbed, tmp_path):
    run = kr.fit("resnet8", SHORT, digits, tmp_path / "run", resume=True, **SETTINGS)
    assert_same(run, undisturbed)
    changed = run.model_path.stat().st_mtime_ns
    assert kr.fit("resnet8", SHORT, digits, tmp_path / "run", resume=True, **SETTINGS).path == run.path
    assert run.model_path.stat().st_mtime_ns == changed
    with pytest.raises(InputError, match=r"run at .* has another seed: seed=3, not 4"):
        kr.fit("resnet8", SHORT, digits, tmp_path / "run", resume=True, **SETTINGS | {"seed": 4})


def test_another_training_does_not_go_on(digits, tmp_path, interrupt):
    interrupt(49)
    with pytest.raises(Interrupted):
        kr.fit("resnet8", SHORT, digits, tmp_path / "run", **SETTINGS)
    other = dataclasses.replace(SHORT, learning_rate=0.01)
    with pytest.raises(InputError, match=r"has another recipe: learning_rate=0.05, not 0.01; it can only go on as it began"):
        kr.fit("resnet8", other, digits, tmp_path / "run", resume=True, **SETTINGS)
    with pytest.raises(InputError, match=r"was interrupted: go on with it by resume=True .* or forget it by overwrite=True"):
        kr.fit("resnet8", other, digits, tmp_path / "run", **SETTINGS)
    run = kr.fit("resnet8", other, digits, tmp_path / "run", overwrite=True, **SETTINGS)
    assert run.recipe == other
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_one_process_at_a_time(digits, tmp_path):
    with (
        checkpoint_files.occupied(checkpoint_files.folder_of(tmp_path / "run")),
        pytest.raises(InputError, match="another process is training there"),
    ):
        kr.fit("resnet8", SHORT, digits, tmp_path / "run", **SETTINGS)


def test_killed_at_random_moments(undisturbed, tmp_path):
    """SIGKILL, checkpoints being written included. `benchmarks/kills.py` does it fifty times."""
    generator, kills = random.Random(0), 0
    arguments = ["train", "resnet8", "--set", "epochs=3", "--seed", "3", "--out", str(tmp_path / "run"), "--resume"]
    script = "import sys; from keras_resnet.__main__ import main; sys.exit(main())"
    while True:
        training = subprocess.Popen(
            [sys.executable, "-c", script, *arguments, "--checkpoint-every", "1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if kills < 3:
            begun = time.monotonic() + 60
            folder = checkpoint_files.folder_of(tmp_path / "run")
            count = len(checkpoint_files.files(folder)) and int(checkpoint_files.files(folder)[-1].stem[5:])
            while training.poll() is None and time.monotonic() < begun:
                files = checkpoint_files.files(folder)
                if files and int(files[-1].stem[5:]) > count:
                    break
                time.sleep(0.01)
            time.sleep(generator.random())
            if training.poll() is None:
                os.killpg(training.pid, signal.SIGKILL)
                kills += 1
                training.wait()
                assert not (tmp_path / "run").exists() or kr.Run.open(tmp_path / "run")
                continue
        _, errors = training.communicate()
        assert training.returncode == 0, errors
        break
    assert kills >= 1
    assert_same(kr.Run.open(tmp_path / "run"), undisturbed)


def test_what_a_kill_at_the_very_end_leaves_is_removed(digits, undisturbed, tmp_path):
    folder = checkpoint_files.folder_of(undisturbed.path)
    folder.mkdir()
    checkpoint_files.write(folder, checkpoint_files.Checkpoint(123, [np.zeros(3)], {}))
    assert kr.fit("resnet8", SHORT, digits, undisturbed.path, resume=True, **SETTINGS) == undisturbed
    assert not folder.exists()


def test_a_full_disk_ends_the_training_and_leaves_what_is_whole(digits, undisturbed, tmp_path, monkeypatch):
    savez, written = np.savez, []

    def savez_until_full(file, *arrays, **facts):
        if len(written) == 3:
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(file)
        savez(file, *arrays, **facts)

    monkeypatch.setattr(np, "savez", savez_until_full)
    with pytest.raises(
        OSError, match=r"the checkpoint of step 28 cannot be written to .*No space left on device.*--resume goes on"
    ):
        kr.fit("resnet8", SHORT, digits, tmp_path / "run", **SETTINGS)
    folder = checkpoint_files.folder_of(tmp_path / "run")
    assert [path.name for path in folder.iterdir()] == ["step-000000014.npz", "step-000000021.npz"]
    monkeypatch.undo()
    assert_same(kr.fit("resnet8", SHORT, digits, tmp_path / "run", resume=True, **SETTINGS), undisturbed)


def test_the_last_weights_are_kept_too(digits, tmp_path, monkeypatch):
    """Where all epochs are done, and the run is not written."""
    recipe = dataclasses.replace(SHORT, epochs=2, ema=0.9)
    whole = kr.fit("resnet8", recipe, digits, tmp_path / "whole", **SETTINGS)

    def fail(*arguments, **settings):
        raise Interrupted

    monkeypatch.setattr(train, "save", fail)
    with pytest.raises(Interrupted):
        kr.fit("resnet8", recipe, digits, tmp_path / "run", **SETTINGS)
    monkeypatch.undo()
    assert_same(kr.fit("resnet8", recipe, digits, tmp_path / "run", resume=True, **SETTINGS), whole)


def test_another_backend_does_not_go_on(digits, tmp_path, interrupt, monkeypatch):
    interrupt(14)
    with pytest.raises(Interrupted):
        kr.fit("resnet8", SHORT, digits, tmp_path / "run", **SETTINGS)
    monkeypatch.setattr("keras_resnet.training.resume.keras.backend.backend", lambda: "jax")
    monkeypatch.setattr("keras_resnet.training.fit.choose", lambda name: Distribution())
    with pytest.raises(InputError, match="ran on tensorflow, not on jax"):
        kr.fit("resnet8", SHORT, digits, tmp_path / "run", resume=True, **SETTINGS)
