"""Sources that give images one after another, and what `fit` makes of them."""

import dataclasses
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.data import streams
from keras_resnet.data.sources import batch_of
from keras_resnet.data.streams import Stream
from keras_resnet.export.comparison_images import with_comparison_images
from keras_resnet.export.supported import open_source
from keras_resnet.training.opening import classes_of

RECIPE = dataclasses.replace(kr.RECIPES["digits"], epochs=1, batch_size=16)
pytestmark = pytest.mark.usefixtures("eagerly")


class Batches(keras.utils.PyDataset):
    """Batches of 8, with one-hot labels, and a change of the images that a function makes."""

    def __init__(self, images, labels, change=lambda images: images, **options):
        super().__init__(**options)
        self.images, self.labels, self.change = images, labels, change

    def __len__(self):
        return len(self.images) // 8

    def __getitem__(self, number):
        part = slice(8 * number, 8 * number + 8)
        return self.change(self.images[part]), keras.utils.to_categorical(self.labels[part], 10)


@pytest.fixture(scope="module")
def arrays(few):
    """96 images and labels."""
    split = few.splits["train"]
    return split.take(np.arange(96)), split.labels


def as_tensors(images, labels):
    return tf.data.Dataset.from_tensor_slices((images, labels))


SOURCES = {
    "single": as_tensors,
    "batched": lambda images, labels: as_tensors(images, labels).batch(7),
    "shuffled": lambda images, labels: as_tensors(images, labels).shuffle(96, seed=3),
    "one-hot": lambda images, labels: as_tensors(images, np.eye(10, dtype="float32")[labels]),
    "dictionaries": lambda images, labels: as_tensors(images, labels).map(
        lambda *pair: dict(zip(("image", "label"), pair, strict=True))
    ),
    "PyDataset": Batches,
    "function": lambda images, labels: lambda: zip(images, labels, strict=True),
    "generator": lambda images, labels: (pair for pair in zip(images, labels, strict=True)),
    "list by index": lambda images, labels: Indexed(list(zip(images, labels, strict=True))),
}


class Indexed:
    """What Grain's MapDataset and the sets of PyTorch are."""

    def __init__(self, pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, number):
        return self.pairs[number]


def test_a_source_that_fits_into_memory_is_one_set_whatever_its_kind_and_order(arrays):
    """In an order that is its own, so that a seed gives the same training."""
    sets = {name: kr.data.load(make(*arrays)) for name, make in SOURCES.items()}
    expected = sets["single"]
    assert sum(map(len, expected.splits.values())) == 96
    for name, data in sets.items():
        assert type(data) is kr.data.Dataset, name
        assert data.class_names == list("0123456789"), name
        for split, examples in data.splits.items():
            np.testing.assert_array_equal(examples.labels, expected.splits[split].labels, name)
            everything = np.arange(len(examples))
            np.testing.assert_array_equal(examples.take(everything), expected.splits[split].take(everything), name)


@pytest.mark.parametrize(
    ("images", "labels", "shape", "read"),
    [
        ((8, 8, 1), np.int64(3), (1, 8, 8, 1), [3]),
        ((8, 8, 1), np.eye(10)[3], (1, 8, 8, 1), [3]),
        ((8, 8, 1), np.eye(8)[3], (1, 8, 8, 1), [3]),
        ((5, 8, 8, 1), [[0], [1], [0], [1], [1]], (5, 8, 8, 1), [0, 1, 0, 1, 1]),
        ((5, 8, 8, 1), np.array([0.0, 1, 0, 2, 1]), (5, 8, 8, 1), [0, 1, 0, 2, 1]),
        ((4, 50, 2), [0, 0, 1, 0], (4, 50, 2), [0, 0, 1, 0]),  # signals
        ((50, 2), 1, (1, 50, 2), [1]),
    ],
)
def test_one_example_is_told_from_a_batch(images, labels, shape, read):
    batch, numbers = batch_of((np.zeros(images), labels))
    assert batch.shape == shape
    assert numbers.tolist() == read


def test_grain(arrays):
    grain = pytest.importorskip("grain")
    pairs = list(zip(*arrays, strict=True))
    whole = kr.data.load(grain.MapDataset.source(pairs).shuffle(seed=1).batch(4))
    assert sum(map(len, whole.splits.values())) == 96
    endless = grain.MapDataset.source(pairs).repeat().to_iter_dataset().batch(4)
    data = kr.data.load((endless, (arrays[0][:40], arrays[1][:40])), images_per_epoch=48)
    np.testing.assert_array_equal(next(iter(data.train))[0][:4], arrays[0][:4])


class Interruption(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "kind", ["PyDataset", *(pytest.param(name, marks=pytest.mark.slow) for name in SOURCES if name != "PyDataset")]
)
def test_each_trains_resumes_and_is_exported(kind, arrays, tiny, tmp_path):
    """To the weights of a training without interruption on the same images from another source."""
    whole = kr.fit(tiny, RECIPE, as_tensors(*arrays), tmp_path / "whole", verbose=0)
    options = {"checkpoint_every": 1, "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        kr.fit(tiny, RECIPE, SOURCES[kind](*arrays), tmp_path / "cut", callbacks=[Interruption()], **options)
    cut = kr.fit(tiny, RECIPE, SOURCES[kind](*arrays), tmp_path / "cut", resume=True, **options)
    for one, other in zip(*(keras.saving.load_model(run.model_path).get_weights() for run in (whole, cut)), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match="it was trained on arrays, an iterable or elsewhere; pass them as data=, or save"):
        kr.export.tflite(cut)
    assert kr.export.tflite(cut, data=SOURCES[kind](*arrays)).images_from == {"test": 20, "validation and training": 76}


def test_a_model_is_exported_on_any_source(arrays, tiny, tmp_path):
    model = kr.build(tiny, input_shape=(8, 8, 1), classes=10)
    _, data, _ = open_source(model, as_tensors(*arrays), tmp_path)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 61, "validation": 15, "test": 20}


def test_an_endless_source_is_a_stream_in_its_order(arrays, caplog):
    validation = as_tensors(*arrays).take(40)
    data = kr.data.load((as_tensors(*arrays).repeat().batch(8), validation), images_per_epoch=64)
    assert "half of its validation images are used for test" in caplog.text
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 64, "validation": 20, "test": 20}
    assert isinstance(data, Stream)
    assert data.steps_per_epoch(16) == 4
    recipe = dataclasses.replace(RECIPE, crop=0, flip=False, epochs=3)
    seen = np.concatenate([images for images, _ in data.training_batches(recipe, start=2).take(5)])
    np.testing.assert_array_equal(seen, arrays[0][(np.arange(80)) % 96])
    compared = with_comparison_images(data)  # of an export
    assert len(compared.examples("compared").labels) == 104
    assert sum(map(len, data.sample_batches(50))) == 50


def test_what_is_not_known_of_a_stream_is_not_told(arrays, tiny, tmp_path, caplog):
    """Sorted by class, so that its first images are of two of ten: none of the others are missing, and no class is rare."""
    order = np.argsort(arrays[1], kind="stable")
    source = as_tensors(arrays[0][order], arrays[1][order]).repeat()
    data = kr.data.load((source, tuple(array[:40] for array in arrays)), images_per_epoch=16)
    assert "no training images of" not in caplog.text
    numbers = "+".join(str(np.sum(data.splits[split].labels == 0)) for split in ("validation", "test"))
    assert classes_of(data).startswith(f"10, each with its images for validation+test: 0 {numbers}, 1 ")
    with pytest.raises(InputError, match=r"class_weight='balanced' counts .* not known of a stream: give the weights, such as"):
        kr.fit(tiny, dataclasses.replace(RECIPE, class_weight="balanced"), data, tmp_path / "run", verbose=0)
    assert data.check(dataclasses.replace(RECIPE, class_weight={"3": 5})).class_weight == (("3", 5.0),)


def test_a_stream_with_numbers_goes_on_where_it_was(arrays):
    """Of 96 images an epoch; each image twice in a row, as the recipe has it, from image 24 of the source on."""
    for workers in (1, 2):
        data = kr.data.load({"train": Batches(*arrays, workers=workers), "validation": arrays}, images_per_epoch=96)
        recipe = dataclasses.replace(RECIPE, crop=0, flip=False, repeats=2)
        images, labels = next(iter(data.training_batches(recipe, start=3)))
        np.testing.assert_array_equal(images, arrays[0][np.repeat(np.arange(24, 32), 2)])
        np.testing.assert_array_equal(labels, arrays[1][np.repeat(np.arange(24, 32), 2)])


def test_a_set_of_keras_is_told_when_a_pass_ends(arrays):
    """Where many shuffle."""

    class Turning(Batches):
        def on_epoch_end(self):
            self.images = self.images[::-1]

    data = kr.data.load((Turning(*arrays), arrays), images_per_epoch=96)
    images = np.concatenate([pixels for pixels, _ in data.training_batches(dataclasses.replace(RECIPE, crop=0)).take(12)])
    np.testing.assert_array_equal(images, np.concatenate([arrays[0], arrays[0][::-1]]))


def test_a_source_with_random_changes_of_its_own_is_read_in_every_epoch(arrays, caplog):
    random = np.random.default_rng(0)
    source = Batches(*arrays, change=lambda images: random.permutation(images, axis=1))
    data = kr.data.load((source, arrays))
    assert isinstance(data, Stream)
    assert "the source augments its images at random" in caplog.text
    assert len(data.splits["train"]) == 96
    first, second = (next(iter(data.train))[0] for _ in range(2))
    assert np.any(first != second)


def test_resume_says_what_is_not_exact(arrays, tiny, tmp_path, caplog):
    def make(source):
        return kr.data.load((source, arrays), images_per_epoch=32)

    class Kill(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    source = as_tensors(*arrays).batch(8)
    with pytest.raises(KeyboardInterrupt):
        kr.fit(tiny, RECIPE, make(source), tmp_path / "run", checkpoint_every=1, callbacks=[Kill()], verbose=0)
    caplog.clear()
    run = kr.fit(tiny, RECIPE, make(source), tmp_path / "run", resume=True, verbose=0)
    assert run.metrics["images"]["train"] == 32
    assert kr.export.tflite(run, data=make(source)).passed
    [told] = [record.message for record in caplog.records if record.message.startswith("resume: ")]
    assert "only if it gives the same images in the same order in each pass" in told
    for endless in (source.repeat(), (pair for pair in zip(*arrays, strict=True))):
        assert "cannot be set to a position" in make(endless).resume_note()
    assert kr.data.load(source).resume_note() == ""


def test_what_a_source_cannot_be_is_refused_with_the_remedy(arrays, monkeypatch):
    images, labels = arrays
    source = as_tensors(images, labels)
    for wrong, message in (
        (source.repeat(), r"train: the source has no end; say how long an epoch is by load\(source, images_per_epoch"),
        ((source, source.repeat()), r"validation: a source without an end, .* give fewer images, by take\(\)"),
        (source.map(lambda *pair: (*pair, 1.0)), "gives 3 parts; for class weights set class_weight in the recipe"),
        (as_tensors(images, np.full((96, 3), 1 / 3)).batch(8), "must be one-hot, not shares of several classes: leave MixUp"),
        (as_tensors(images / 255, labels), "multiply images scaled to 0..1 by 255"),
        (lambda: iter([(images[0], 1), (images[0, :4], 2)]), "images of one shape are needed, .* resize them in the source"),
        ({"train": source, "tset": source}, "no split named 'tset'; did you mean 'test'?"),
        ({"test": source}, "no source under 'train'"),
    ):
        with pytest.raises(InputError, match=message):
            kr.data.load(wrong)
    with pytest.raises(InputError, match=r"give \(training, validation\)"):
        kr.data.load(source, images_per_epoch=32)
    with pytest.raises(InputError, match="images_per_epoch is for iterables"):
        kr.data.load((images, labels), images_per_epoch=32)
    monkeypatch.setattr(streams, "MEMORY", 1000)
    with pytest.raises(InputError, match="does not fit into memory and does not know its length"):
        kr.data.load(lambda: zip(images, labels, strict=True))


def test_a_source_too_large_for_memory_is_a_stream(arrays, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(streams, "MEMORY", 50 * 64)
    data = kr.data.load((as_tensors(*arrays).batch(8), tuple(array[:40] for array in arrays)))
    assert isinstance(data, Stream)
    assert len(data.splits["train"]) == 96
