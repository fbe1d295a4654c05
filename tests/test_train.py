import csv
import dataclasses
import json
import math
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

import keras_resnet as kr
from keras_resnet import Diverged, InputError
from keras_resnet.confidence import interval
from keras_resnet.networks import layers
from keras_resnet.recipes.stop_on_nan import StopOnNaN
from keras_resnet.runs.run import CONTENTS
from keras_resnet.training import fit as train
from keras_resnet.training.callbacks import BestAndLast, Progress, RisingLoss, Throughput
from keras_resnet.training.distribute import Distribution
from keras_resnet.training.opening import announce
from keras_resnet.training.recall import Recall
from keras_resnet.training.session import Training

SHORT = dataclasses.replace(kr.RECIPES["digits"], epochs=2)
pytestmark = pytest.mark.usefixtures("eagerly")


def weights_of(run):
    return keras.saving.load_model(run.model_path).get_weights()


def history_of(run):
    return list(csv.DictReader((run.path / "history.csv").read_text().splitlines()))


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.fixture(scope="module")
def short(tiny, few, tmp_path_factory):
    """A training of six steps, to compare others with."""
    return kr.fit(tiny, SHORT, few, tmp_path_factory.mktemp("short") / "run", seed=1, verbose=0)


def test_a_run_holds_what_it_says(small_run, digits):
    run = small_run
    assert {path.name for path in run.path.iterdir()} >= set(CONTENTS)
    fields = {"depths": (1,), "widths": (16,), "stem_width": 16, "input_shape": (8, 8, 1), "classes": 10}
    assert run.spec == kr.ResNetSpec(**{**dataclasses.asdict(kr.SPECS["resnet8"]), **fields})
    assert run.recipe == kr.recipes.resolve("digits", epochs=15)
    assert run.class_names == list("0123456789")
    assert run.data == {"source": "digits", "digest": digits.digest}
    history = history_of(run)
    assert [int(row["epoch"]) for row in history] == list(range(1, run.recipe.epochs + 1))
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "images_per_second"} <= set(history[0])
    assert json.loads((run.path / "environment.json").read_text())["packages"]["keras"] == keras.__version__


def test_digits_are_learned(small_run, digits):
    history = history_of(small_run)
    accuracies = [float(row["val_accuracy"]) for row in history]
    assert np.mean(accuracies[-5:]) > max(0.8, *accuracies[:2])
    assert float(history[-1]["loss"]) < 0.5 * float(history[0]["loss"])
    model = keras.saving.load_model(small_run.model_path, safe_mode=True)
    assert not model.compiled
    images, labels = (np.concatenate(parts) for parts in zip(*digits.test.as_numpy_iterator(), strict=True))
    accuracy = np.mean(model(images, training=False).numpy().argmax(1) == labels)
    assert small_run.metrics["test"]["accuracy"] == pytest.approx(accuracy, abs=1.5 / len(labels))


def test_a_schedule_that_ends_at_zero_keeps_its_last_weights(small_run):
    run, last = small_run, history_of(small_run)[-1]
    assert run.metrics["kept_epoch"] == int(last["epoch"]) == 15
    assert run.metrics["validation"]["accuracy"] == pytest.approx(float(last["val_accuracy"]))
    model = keras.saving.load_model(run.model_path)
    model.load_weights(run.path / "last.weights.h5")
    assert same(model.get_weights(), weights_of(run))


def test_accuracies_come_with_their_intervals(small_run):
    for split in ("validation", "test"):
        measured = small_run.metrics[split]
        assert measured["images"] == small_run.metrics["images"][split]
        assert measured["accuracy_interval"] == list(interval(measured["accuracy"], measured["images"]))


@pytest.mark.parametrize(
    ("keep", "schedule", "epochs", "expected"),
    [
        ("auto", "cosine", 9, "last"),
        ("auto", "linear", 9, "last"),
        ("auto", "cosine", 8, "best"),  # ended early
        ("auto", "constant", 9, "best"),
        ("auto", "step", 9, "best"),
        ("best", "cosine", 9, "best"),
        ("last", "step", 8, "last"),
    ],
)
def test_which_weights_are_kept(keep, schedule, epochs, expected):
    weights = SimpleNamespace(history=[{}] * epochs, best=["best"], last=["last"], best_epoch=3)
    recipe = kr.Recipe(keep=keep, schedule=schedule, epochs=9)
    training = Training(None, recipe, None, 0, None, None, {}, None, weights, None)
    assert training.kept_weights == [expected]
    assert training.kept_epoch == (3 if expected == "best" else epochs)


@pytest.mark.traced
def test_the_seed_decides_everything(tiny, few, short, tmp_path):
    again, other = (kr.fit(tiny, SHORT, few, tmp_path / str(seed), seed=seed, verbose=0) for seed in (1, 2))
    assert same(weights_of(short), weights_of(again))
    assert not same(weights_of(short), weights_of(other))
    columns = ("loss", "accuracy", "val_loss", "val_accuracy")
    histories = [[[row[name] for name in columns] for row in history_of(run)] for run in (short, again)]
    assert histories[0] == histories[1]


def test_an_existing_folder_is_kept(tiny, few, short, tmp_path):
    before = (short.path / "metrics.json").read_bytes()
    with pytest.raises(InputError, match="exists; choose another folder"):
        kr.fit(tiny, SHORT, few, short.path, verbose=0)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(InputError, match="is not a run"):
        kr.fit(tiny, SHORT, few, tmp_path / "thesis", overwrite=True, verbose=0)
    assert (short.path / "metrics.json").read_bytes() == before
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_overwrite_replaces_a_run_when_the_new_one_is_done(tiny, few, short, tmp_path, monkeypatch):
    shutil.copytree(short.path, tmp_path / "run")
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("keras_resnet.training.saving.plot_history", lambda *args, **options: 1 / 0)
        kr.fit(tiny, SHORT, few, tmp_path / "run", seed=2, overwrite=True, verbose=0)
    assert kr.Run.open(tmp_path / "run").metrics["seed"] == 1
    kr.fit(tiny, SHORT, few, tmp_path / "run", seed=2, overwrite=True, verbose=0)
    assert kr.Run.open(tmp_path / "run").metrics["seed"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def explode_after(steps):
    """A schedule that is sane for so many steps and then throws the weights out of the number range."""
    return lambda recipe, total: keras.optimizers.schedules.PiecewiseConstantDecay([steps], [0.01, 1e30])


def test_nan_stops_the_run_and_keeps_the_last_good_weights(tiny, few, tmp_path, monkeypatch):
    monkeypatch.setattr(kr.Recipe, "make_schedule", explode_after(3))
    with pytest.raises(
        Diverged, match=r"loss became (nan|inf) (at step \d of|after) epoch 2; the last good weights are in .*run-diverged"
    ):
        kr.fit(tiny, dataclasses.replace(SHORT, epochs=4), few, tmp_path / "run", verbose=0)
    assert [path.name for path in tmp_path.iterdir()] == ["run-diverged"]
    kept = kr.Run.open(tmp_path / "run-diverged")
    assert kept.metrics["epochs"] == kept.metrics["kept_epoch"] == 1
    assert "epoch 2" in kept.metrics["diverged"]
    assert all(np.isfinite(weight).all() for weight in weights_of(kept))


def test_an_earlier_diverged_run_stays(tiny, few, tmp_path, monkeypatch):
    (tmp_path / "run-diverged").mkdir()
    (tmp_path / "run-diverged" / "notes").touch()
    monkeypatch.setattr(kr.Recipe, "make_schedule", explode_after(3))
    with pytest.raises(Diverged, match="run-diverged-2"):
        kr.fit(tiny, SHORT, few, tmp_path / "run", verbose=0)
    assert (tmp_path / "run-diverged" / "notes").exists()
    assert kr.Run.open(tmp_path / "run-diverged-2").metrics["epochs"] == 1


def test_a_folder_that_appears_during_the_training_stays(tiny, few, tmp_path, monkeypatch, caplog):
    def meanwhile(*arguments):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "thesis").touch()
        return run_epochs(*arguments)

    run_epochs = train.run_epochs
    monkeypatch.setattr(train, "run_epochs", meanwhile)
    run = kr.fit(tiny, SHORT, few, tmp_path / "run", verbose=0)
    assert run.path == tmp_path / "run-2"
    assert "was taken in the meantime" in caplog.text
    assert (tmp_path / "run" / "thesis").exists()


def test_the_recipe_decides_augmentation_and_batches(tiny, few, tmp_path, monkeypatch):
    received = {}

    def spy(data, recipe, **options):
        received.update(options, recipe=recipe, evaluation=data.batch_size)
        raise EnoughSeen

    monkeypatch.setattr(kr.data.Dataset, "training_batches", spy)
    recipe = dataclasses.replace(SHORT, epochs=1, batch_size=48, crop=2, flip=True)
    with pytest.raises(EnoughSeen):
        kr.fit(tiny, recipe, few, tmp_path / "run", seed=7, verbose=0)
    assert received == {"recipe": recipe, "evaluation": 48, "seed": 7, "start": 0, "part": 0, "parts": 1}


class EnoughSeen(Exception):
    pass


def test_a_recipe_can_recompute_units(tiny, few, short, tmp_path, monkeypatch):
    recomputed = []
    recompute_units = layers.recompute_units
    monkeypatch.setattr(layers, "recompute_units", lambda model, out: recomputed.append(model) or recompute_units(model, out))
    run = kr.fit(tiny, dataclasses.replace(SHORT, remat=True), few, tmp_path / "run", seed=1, verbose=0)
    assert len(recomputed) == 1
    losses = [[float(row["loss"]) for row in history_of(each)] for each in (run, short)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_throughput_leaves_out_compiling_and_counts_epochs_of_one_step(monkeypatch):
    clock = iter([0, 0, 50, 60, 61, 62, 70])  # start; epoch 1: begin, step; epoch 2: begin, two steps; now
    monkeypatch.setattr("keras_resnet.training.callbacks.time.perf_counter", lambda: next(clock))
    callback = Throughput(10)
    callback.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.1)))
    logs = {}
    callback.on_epoch_begin(0)
    callback.on_train_batch_end(0, logs)
    callback.on_epoch_end(0, logs)
    assert logs["images_per_second"] == 0  # nothing but the compiling step
    callback.on_epoch_begin(1)
    callback.on_train_batch_end(0, logs)
    callback.on_train_batch_end(1, logs)
    assert logs["images_per_second"] == 10
    callback.on_epoch_end(1, logs)
    assert logs == {"learning_rate": 0.1, "images_per_second": 10}  # two batches of ten in 62 - 60 seconds
    assert callback.facts() == {"train_seconds": 70, "images_per_second": 10}


def test_a_batch_is_at_most_all_training_images(tiny, few, tmp_path, caplog):
    run = kr.fit(tiny, dataclasses.replace(SHORT, batch_size=10**6), few, tmp_path / "run", verbose=0)
    assert run.recipe.batch_size == 96
    assert "batch_size=1000000 is more than the 96 training images: 96 is used" in caplog.text
    assert run.metrics["images_per_second"] > 0


def test_nan_on_validation_stops_too():
    callback = StopOnNaN()
    callback.on_epoch_begin(2)
    callback.on_epoch_end(2, {"val_loss": 1.0})
    with pytest.raises(Diverged, match="the validation loss became nan after epoch 3"):
        callback.on_epoch_end(2, {"val_loss": float("nan")})


def test_the_best_epoch_is_the_latest_that_the_images_do_not_tell_from_the_highest():
    class Plain:
        layers = ()

        def set_weights(self, weights):
            self.weights = weights

        def get_weights(self):
            return self.weights

        def evaluate(self, images, **settings):
            return scores[len(callback.history)]

    model = SimpleNamespace(get_weights=lambda: [len(callback.history) + 1], layers=(), optimizer=SimpleNamespace(use_ema=False))
    scores = [{"accuracy": accuracy, "loss": 1.0} for accuracy in (0.5, 0.9, 0.88, 0.86, 0.95, 0.94, 0.92)]
    data = SimpleNamespace(splits={"validation": range(100)}, validation=None)  # an error of 3 % at 0.9, of 2.4 % at 0.95
    callback = BestAndLast(model, Plain(), data, Distribution())
    callback.set_model(model)
    for epoch, best in enumerate((1, 2, 3, 3, 5, 6, 6)):
        logs = {"loss": 1.0}
        callback.on_epoch_end(epoch, logs)
        assert logs["val_accuracy"] == scores[epoch]["accuracy"]
        assert callback.best == [callback.best_epoch] == [best]
        assert callback.last == [epoch + 1]
    scores.append({"accuracy": 1.0, "loss": math.nan})
    with pytest.raises(Diverged, match="the validation loss became nan after epoch 8"):
        callback.on_epoch_end(7, {"loss": 1.0})
    assert callback.best_epoch == 6


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_average_of_the_weights_is_validated_and_kept(precision, tiny, few, tmp_path):
    class Average(keras.callbacks.Callback):
        """The same average, taken by hand after every step."""

        def on_train_begin(self, logs=None):
            self.weights = None

        def on_train_batch_end(self, batch, logs=None):
            now = [np.array(weight) for weight in self.model.trainable_weights]
            self.weights = (
                now if self.weights is None else [0.9 * old + 0.1 * new for old, new in zip(self.weights, now, strict=True)]
            )

        def on_train_end(self, logs=None):
            self.own = [np.array(weight) for weight in self.model.trainable_weights]

    average = Average()
    run = kr.fit(
        tiny,
        dataclasses.replace(SHORT, ema=0.9, precision=precision),
        few,
        tmp_path / "run",
        callbacks=[average],
        verbose=0,
    )
    last = kr.build(run.spec)
    last.load_weights(run.path / "last.weights.h5")
    for kept, expected, own in zip(last.trainable_weights, average.weights, average.own, strict=True):
        np.testing.assert_allclose(kept, expected, rtol=1e-4, atol=1e-5)
        assert np.abs(np.asarray(kept) - own).max() > 1e-6  # the training itself went on from its own weights


@pytest.mark.slow
@pytest.mark.traced
def test_averaged_weights_are_as_good_as_the_training_itself(small_run, digits, tmp_path):
    """With statistics of normalisation of their own: those of the training leave 23 to 49 % in epochs 3 to 6."""

    class Own(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.plain = kr.build(small_run.spec)
            self.plain.compile(loss=self.model.loss, metrics=["accuracy"])
            self.accuracies = []

        def on_epoch_end(self, epoch, logs=None):
            self.plain.set_weights(self.model.get_weights())
            self.accuracies.append(self.plain.evaluate(digits.validation, verbose=0, return_dict=True)["accuracy"])

    own, recipe = Own(), kr.recipes.resolve("digits", epochs=8, ema=0.97)
    run = kr.fit(small_run.spec, recipe, digits, tmp_path / "run", callbacks=[own], verbose=0)
    averaged = [float(row["val_accuracy"]) for row in history_of(run)]
    assert min(np.subtract(averaged, own.accuracies)[4:]) > -0.08


def test_the_run_is_the_plain_network_whatever_trained_it(tiny, few, tmp_path):
    """Accuracies are those of the file, not of the half precision or the open sizes that it was trained with."""
    recipe = dataclasses.replace(SHORT, precision="bfloat16", progressive=(0.5, 1.0), remat=True)
    run = kr.fit(tiny, recipe, few, tmp_path / "run", verbose=0)
    model = keras.saving.load_model(run.model_path)
    assert model.input_shape == (None, 8, 8, 1)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    for split in ("validation", "test"):
        found = model.evaluate(few.batches(split), return_dict=True, verbose=0)
        assert found == pytest.approx({name: run.metrics[split][name] for name in found}, rel=1e-5)


def test_nan_in_the_first_epoch_leaves_nothing(tiny, few, tmp_path, monkeypatch):
    monkeypatch.setattr(kr.Recipe, "make_schedule", explode_after(0))
    with pytest.raises(Diverged, match="epoch 1; no epoch was complete: try a lower learning_rate"):
        kr.fit(tiny, SHORT, few, tmp_path / "run", verbose=0)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_trained_is_refused(tiny, few, tmp_path):
    spec = dataclasses.replace(tiny, classifier_activation="sigmoid")
    for seed in (-1, "3", 2**32):
        with pytest.raises(InputError, match="must be a whole number of at least 0 and below"):
            kr.fit(tiny, SHORT, few, tmp_path / "run", seed=seed, verbose=0)
    with pytest.raises(InputError, match="sigmoid"):
        kr.fit(spec, SHORT, few, tmp_path / "run", verbose=0)
    with pytest.raises(InputError, match=r"expected \(images, labels\), received int"):
        kr.fit(tiny, SHORT, 5, tmp_path / "run", verbose=0)
    spec = dataclasses.replace(spec, classifier_activation="softmax")
    with pytest.raises(InputError, match="loss='binary' takes each class by itself"):
        kr.fit(spec, dataclasses.replace(SHORT, loss="binary"), few, tmp_path / "run", verbose=0)
    with pytest.raises(InputError, match=r"progressive=\(0.1, 1.0\): images of \(8, 8, 1\) would have fewer than 4 pixels"):
        kr.fit(tiny, dataclasses.replace(SHORT, progressive=(0.1, 1.0)), few, tmp_path / "run", verbose=0)
    with pytest.raises(InputError, match=r"accumulate=1000: the weights would never change in the \d+ steps of this training"):
        kr.fit(tiny, dataclasses.replace(SHORT, accumulate=1000), few, tmp_path / "run", verbose=0)
    spec = dataclasses.replace(tiny, norm=None)
    with pytest.raises(InputError, match="sync_norm=true is for batch normalisation, and this network has norm=None"):
        kr.fit(spec, dataclasses.replace(SHORT, sync_norm=True), few, tmp_path / "run", verbose=0)


def test_a_wrong_seed_or_folder_is_told_before_the_devices_meet_and_all_images_are_read(tiny, photos, monkeypatch):
    monkeypatch.setattr(train, "choose", lambda name: 1 / 0)
    with pytest.raises(InputError, match="seed=-1: must be a whole number"):
        kr.fit(tiny, SHORT, photos, photos / "run", seed=-1)
    monkeypatch.undo()
    monkeypatch.setattr(train, "plan_of", lambda *arguments: 1 / 0)
    with pytest.raises(InputError, match="is inside the images"):
        kr.fit("resnet8", SHORT, photos, photos / "run")


def test_an_average_over_more_than_the_training_is_warned_of(tiny, few, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(train, "prepare", lambda *arguments: 1 / 0)  # the warning comes before
    with pytest.raises(ZeroDivisionError):
        kr.fit(tiny, dataclasses.replace(SHORT, epochs=1, ema=0.9999), few, tmp_path / "run", verbose=0)
    assert caplog.text.count("ema=0.9999 averages over more than the 3 steps of this training") == 1


def test_the_step_is_told_as_well_as_it_is_known():
    callback = StopOnNaN(done=10)
    callback.on_epoch_begin(0)
    with pytest.raises(Diverged, match="the loss became nan at step 15 of epoch 1"):
        callback.on_train_batch_end(4, {"loss": math.nan})
    callback.set_model(SimpleNamespace(steps_per_execution=3))
    with pytest.raises(Diverged, match="the loss became inf at one of the steps 13 to 15 of epoch 1"):
        callback.on_train_batch_end(4, {"loss": math.inf})


def test_probabilities_can_be_trained(tiny, few, short, tmp_path):
    """And what is learned is what logits learn."""
    spec = dataclasses.replace(tiny, classifier_activation="softmax")
    run = kr.fit(spec, SHORT, few, tmp_path / "run", seed=1, verbose=0)
    assert run.metrics["network"] == "custom"
    losses = [[float(row["loss"]) for row in history_of(each)] for each in (run, short)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    model = keras.saving.load_model(run.model_path)
    np.testing.assert_allclose(model(np.full((2, 8, 8, 1), 100.0)).numpy().sum(1), 1, rtol=1e-5)


@pytest.mark.traced
def test_a_folder_with_damaged_files_trains(tiny, photos, tmp_path):
    (photos / "bright_above" / "00.jpg").write_bytes((photos / "bright_above" / "00.jpg").read_bytes()[:400])
    (photos / "dark_above" / "07.jpg").write_text("not an image")
    recipe = dataclasses.replace(SHORT, epochs=30, batch_size=8, learning_rate_batch=None)
    run = kr.fit(tiny, recipe, kr.data.load(photos), tmp_path / "run", verbose=0)
    assert run.metrics["images"] == {"train": 24, "validation": 6, "test": 8}
    losses = [float(row["loss"]) for row in history_of(run)]
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


@pytest.mark.parametrize("resized_crop", [None, pytest.param(0.5, marks=pytest.mark.slow)])
def test_an_image_that_is_damaged_meanwhile_is_named_in_a_line(resized_crop, tiny, photos, tmp_path):
    """And once it is whole again the training goes on."""

    path = photos / "dark_above" / "07.jpg"
    whole = path.read_bytes()
    recipe = dataclasses.replace(SHORT, epochs=3, batch_size=8, crop=0, resized_crop=resized_crop)
    data = kr.data.from_folder(photos, memory=0)
    for damage, message in (
        (lambda: path.write_bytes(whole[:300]), r"dark_above/07.jpg' is damaged, or was changed since it was first read$"),
        (path.unlink, r"dark_above/07.jpg' cannot be read any more: No such file or directory$"),
    ):
        with pytest.raises(InputError, match=message):
            meanwhile = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs, damage=damage: damage())
            kr.fit(tiny, recipe, data, tmp_path / "run", resume=True, checkpoint_every=2, callbacks=[meanwhile], verbose=0)
        path.write_bytes(whole)
    assert kr.fit(tiny, recipe, data, tmp_path / "run", resume=True, verbose=0).metrics["epochs"] == 3


def test_classes_without_images_do_not_lower_the_balanced_accuracy():
    metric = Recall(4)
    metric.update_state([0, 0, 1, 3], np.eye(4)[[0, 2, 1, 0]])
    assert metric.by_class() == [0.5, 1.0, None, 0.0]
    assert float(metric.result()) == pytest.approx(0.5)


@pytest.mark.parametrize("class_weight", ["balanced", pytest.param("none", marks=pytest.mark.slow)])
def test_a_rare_class_is_found_where_classes_are_balanced(tiny, tmp_path, class_weight):
    """20 of 400 images have faint stripes. Without weights the run has an accuracy of 0.71 to tell, and a recall of 0."""

    def images(counts, seed):
        labels = np.repeat([0, 1], counts)
        stripes = 15 * np.where(np.arange(8) % 2, -1, 1)[:, None] * labels[:, None, None, None]
        pixels = np.random.default_rng(seed).normal(128, 40, (len(labels), 8, 8, 1)) + stripes
        return np.clip(pixels, 0, 255).astype(np.uint8), labels

    recipe = kr.Recipe(epochs=6, batch_size=80, crop=0, flip=False, class_weight=class_weight)
    data = kr.data.from_arrays({"train": images((380, 20), 0), "test": images((100, 40), 1)}, class_names=["plain", "striped"])
    run = kr.fit(tiny, recipe, data, tmp_path / "run", verbose=0)
    measured = run.metrics["test"]
    assert measured["balanced_accuracy"] == pytest.approx(np.mean(list(measured["recall"].values())))
    assert set(run.metrics["validation"]["recall"]) == {"plain", "striped"}
    assert float(history_of(run)[-1]["val_balanced_accuracy"]) == pytest.approx(run.metrics["validation"]["balanced_accuracy"])
    if class_weight == "none":
        assert measured["recall"]["striped"] < 0.1
        assert measured["accuracy"] > 0.65
    else:
        assert measured["recall"]["striped"] > 0.5
        assert measured["balanced_accuracy"] > 0.65


def test_what_is_trained_is_told_unless_nothing_is_to_be_printed(tiny, few, tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setattr("keras_resnet.training.callbacks.RISE", 0.0)
    kr.fit(tiny, SHORT, few, tmp_path / "quiet", verbose=0)
    assert capsys.readouterr().out == ""
    assert "only 6 steps, too few" in caplog.text  # what may be wrong is told all the same
    assert "the validation loss rose to" in caplog.text
    caplog.clear()
    announce(kr.Run.open(tmp_path / "quiet").spec, SHORT, few, 0, begins_at_random=False, shows=False)
    assert caplog.text == ""  # a trained network needs fewer steps
    kr.fit(tiny, SHORT, few, tmp_path / "run", verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:5]] == ["images", "classes", "network", "recipe", "steps"]
    assert lines[0] == "images: 96 train, 32 validation, 32 test; 8x8 pixels, 1 channel"
    assert lines[4] == "steps: 6, 3 in each epoch"
    assert "only 6 steps, too few" in caplog.text
    assert "--epochs 100" in caplog.text


def test_a_loss_that_rises_is_told_once(caplog):
    callback = RisingLoss(classes=6, learning_rate=0.4)
    for epoch, loss in enumerate((1.8, 3.5, 3.7, 30.0, 30.0)):
        callback.on_epoch_end(epoch, {"val_loss": loss})
    (message,) = [record.getMessage() for record in caplog.records]
    assert "the validation loss rose to 3.70 in epoch 3, random guessing gives 1.79" in message
    assert "--set learning_rate=0.1" in message


def test_a_log_has_lines_within_long_epochs(monkeypatch, capsys):
    """The first after five steps, with an estimate; others after a tenth of an epoch and half a minute."""
    now, step = 0.0, 0
    monkeypatch.setattr("keras_resnet.training.callbacks.time.perf_counter", lambda: now)
    progress = Progress(lambda: step, 200, 2, live=False)
    shown = []
    for epoch in range(2):
        progress.on_epoch_begin(epoch)
        for batch in range(100):
            now, step = now + 2, step + 1
            logs = {"loss": 1.0, "accuracy": 0.5, "images_per_second": 8}
            progress.on_train_batch_end(batch, logs)
            shown += [step] if capsys.readouterr().out else []
        progress.on_epoch_end(epoch, logs)
        capsys.readouterr()
    assert shown == [6, 21, 36, 51, 66, 81, 96, 115, 130, 145, 160, 175, 190]


def test_a_run_has_a_picture_to_try_it_on(small_run, digits):
    sample = small_run.metrics["sample"]
    test = digits.splits["test"]
    assert sample == {"file": "sample.png", "split": "test", "class": str(test.labels[0])}
    picture = np.asarray(Image.open(small_run.path / "sample.png"))
    np.testing.assert_array_equal(picture, test.take(np.arange(1))[0, ..., 0])
