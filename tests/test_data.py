import dataclasses
import io
import itertools
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.data import named
from keras_resnet.data.arrays import from_arrays
from keras_resnet.data.dataset import Dataset, Split
from keras_resnet.data.folder import from_folder
from keras_resnet.data.images import describe, fit_pixels
from keras_resnet.data.npz import write_npz
from keras_resnet.data.splits import split_by_class


def gathered(batches):
    """All images and labels of a tf.data set."""
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def plain(batch_size, **fields):
    """A recipe that leaves the images alone unless told otherwise."""
    return kr.Recipe(batch_size=batch_size, **{"crop": 0, "flip": False, **fields})


def numbered(count, **fields):
    """A set whose image i is full of the number i and has label i."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 4, 4, 1))
    split = Split.of(images, np.arange(count))
    return Dataset(dict.fromkeys(("train", "validation", "test"), split), [str(i) for i in range(count)], (4, 4, 1), **fields)


def test_digits(digits):
    parts = {name: gathered(digits.batches(name)) for name in digits.splits}
    assert sum(len(labels) for _, labels in parts.values()) == 1797
    assert digits.image_shape == (8, 8, 1)
    assert digits.class_names == list("0123456789")
    for images, labels in parts.values():
        assert images.dtype == np.uint8
        assert (images.min(), images.max()) == (0, 255)  # from 0..16
        assert set(labels) == set(range(10))
    everything = np.concatenate([images.reshape(len(images), -1) for images, _ in parts.values()])
    assert len(np.unique(everything, axis=0)) == 1797  # no image is in two splits


def test_test_and_validation_are_batched_in_order():
    images, labels = gathered(numbered(10, batch_size=4).test)
    assert list(labels) == list(range(10)) == list(images[:, 0, 0, 0])
    assert [len(labels) for _, labels in numbered(10, batch_size=4).validation] == [4, 4, 2]


def test_train_comes_in_a_new_order_each_time():
    train = numbered(50).train
    orders = [list(gathered(train)[1]) for _ in range(2)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(50))
    assert orders[0] != orders[1]


def test_training_stream_is_full_batches_and_every_image_once_an_epoch():
    batches = list(itertools.islice(numbered(10).training_batches(plain(4), seed=3), 10))  # 40 images: four epochs
    assert all(labels.shape == (4,) for _, labels in batches)
    epochs = np.concatenate([labels for _, labels in batches]).reshape(4, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    for images, labels in batches:
        np.testing.assert_array_equal(images[:, 0, 0, 0], labels)


def test_several_machines_share_each_batch():
    """The same images, changed in the same way, as one machine has."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (30, 6, 6, 3)).astype(np.uint8)
    data = Dataset({"train": Split.of(images, np.arange(30, dtype=np.int32) % 3)}, ["a", "b", "c"], (6, 6, 3))
    recipe = plain(12, crop=2, flip=True, augment="randaugment", erase=0.5, label_smoothing=0.1)
    whole = list(itertools.islice(data.training_batches(recipe, seed=5, start=2), 4))
    parts = [list(itertools.islice(data.training_batches(recipe, seed=5, start=2, part=part, parts=2), 4)) for part in range(2)]
    for step, (pixels, labels) in enumerate(whole):
        assert labels.shape == (12, 3)
        np.testing.assert_array_equal(np.concatenate([part[step][0] for part in parts]), pixels)
        np.testing.assert_array_equal(np.concatenate([part[step][1] for part in parts]), labels)
    with pytest.raises(InputError, match="batch_size=12 cannot be divided among 5 devices"):
        data.training_batches(recipe, parts=5)


def test_repeated_augmentation_takes_each_image_several_times():
    labels = gathered(numbered(12).training_batches(plain(6, repeats=3)).take(2))[1]
    assert sorted(np.unique(labels, return_counts=True)[1]) == [3, 3, 3, 3]
    assert len(set(labels[:3])) == 1  # beside one another, so that they meet in one batch


def test_sizes_progress():
    split = Split.of(np.zeros((10, 8, 12, 1), np.uint8), np.zeros(10, np.int32))
    data = Dataset({"train": split}, ["a"], (8, 12, 1))
    recipe = plain(5, epochs=3, progressive=(0.5, 1.0))
    sizes = [images.shape[1:3] for images, _ in data.training_batches(recipe).take(6)]
    assert sizes == [(4, 6)] * 3 + [(8, 12)] * 3
    with pytest.raises(InputError, match="would have fewer than 4 pixels along a side"):
        data.training_batches(plain(5, progressive=(0.3, 1.0)))


def test_the_end_of_a_stream_is_not_waited_for():
    """What tunes a stream may sleep for up to a minute, and its end waits for it."""
    data = numbered(10)
    for batches in (data.train, data.test, data.training_batches(plain(5))):
        assert batches.options().autotune.enabled is False


def test_order_is_a_function_of_the_seed():
    def first(seed):
        return list(gathered(numbered(50).training_batches(plain(25), seed=seed).take(4))[1])

    assert first(1) == first(1) != first(2)


def test_augmentation_is_a_function_of_seed_and_step():
    """Of one image again and again, so that the order plays no part."""
    image = np.random.default_rng(0).integers(0, 256, (1, 6, 6, 1)).astype(np.uint8)
    split = Split.of(np.repeat(image, 32, 0), np.zeros(32, np.int32))
    data = Dataset({"train": split}, ["a"], (6, 6, 1))

    def batches(seed):
        return gathered(data.training_batches(plain(32, crop=2, flip=True), seed=seed).take(2))[0].reshape(2, 32, 6, 6, 1)

    np.testing.assert_array_equal(batches(1), batches(1))
    assert np.any(batches(1)[0] != batches(2)[0])
    assert np.any(batches(1)[0] != batches(1)[1])


def counts(data):
    return {name: len(split) for name, split in data.splits.items()}


def write_folder(root, parts):
    for part, count in parts.items():
        for index in range(count):
            path = root / part / "ab"[index % 2] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), 40 * (index % 2)).save(path)
    return root


def write_records(root, parts):
    root.mkdir()
    for part, count in parts.items():
        with tf.io.TFRecordWriter(str(root / f"{part}-0.tfrecord")) as writer:
            for index in range(count):
                png = tf.io.encode_png(np.full((4, 4, 1), index, np.uint8)).numpy()
                label = -1 if part == "test" else index % 2
                feature = {
                    "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png])),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return root


def arrays_of(root, parts):
    return {part: (np.full((count, 4, 4, 1), 9, np.uint8), np.arange(count) % 2) for part, count in parts.items()}


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (write_folder, {"train": 20, "val": 6}),
        (write_records, {"train": 20, "val": 6}),
        (write_records, {"train": 20, "val": 6, "test": 4}),  # without labels, as those of ImageNet
        (arrays_of, {"train": 20, "validation": 6}),
    ],
)
def test_what_a_source_holds_out_is_reported(make, parts, tmp_path, caplog):
    """As it is with the sets of TensorFlow Datasets, see there."""
    data = kr.data.load(make(tmp_path / "set", parts))
    assert counts(data) == {"train": 16, "validation": 4, "test": 6}
    assert "no labelled test images: its validation images are used for test" in caplog.text
    assert len(data.class_names) == 2


def test_split_by_class_takes_a_share_of_each():
    labels = np.array([0] * 30 + [1] * 10 + [2] * 3 + [3] * 2)
    kept, held_out = split_by_class(labels, 0.2)
    assert sorted([*kept, *held_out]) == list(range(45))
    assert list(np.bincount(labels[held_out], minlength=4)) == [6, 2, 1, 1]


# Folders


def test_folder_of_classes(photos):
    data = kr.data.load(photos)
    assert data.class_names == ["bright_above", "dark_above"]
    assert data.image_shape == (24, 24, 3)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 26, "validation": 6, "test": 8}
    images, labels = gathered(data.test)
    assert list((images[:, :12].mean((1, 2, 3)) < images[:, 12:].mean((1, 2, 3))).astype(int)) == list(labels)


def test_unreadable_files_are_named_counted_and_left_out(photos, caplog):
    whole = (photos / "bright_above" / "00.jpg").read_bytes()
    (photos / "bright_above" / "00.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "dark_above" / "07.jpg").write_text("this is not an image")
    (photos / "dark_above" / "notes.txt").write_text("neither is this, and it does not say so")
    data = kr.data.load(photos)
    assert "3 of 41 files" in caplog.text
    for name in ("00.jpg", "07.jpg", "1 not a picture that Pillow reads (.txt): dark_above/notes.txt"):
        assert name in caplog.text
    assert [line.split(": ")[0].rpartition("/")[2] for line in sorted(data.skipped)] == ["00.jpg", "07.jpg", "notes.txt"]
    assert sum(map(len, data.splits.values())) == 38


def test_files_are_known_by_their_content_where_the_suffix_is_another(photos, caplog):
    for name in ("01.jfif", "02.JPE", "03", "04.heic"):
        shutil.copy(photos / "dark_above" / "05.jpg", photos / "dark_above" / name)
    Image.new("RGB", (24, 24)).save(photos / "dark_above" / "06.avif")
    data = kr.data.load(photos)
    assert len(data.examples("all")) == 45
    assert not data.skipped


def test_whatever_is_left_out_is_counted_and_named_by_reason(photos, caplog):
    """A folder inside a class by the same rules as the class."""
    one = photos / "dark_above" / "05.jpg"
    places = ("06.jpg.part", ".07.jpg", "more/08.jpg", ".thumbnails/09.jpg", "__MACOSX/09.jpg", "a-run/history.png")
    for name in (*(f"dark_above/{place}" for place in places), "stray.jpg", ".hidden/09.jpg", "saved_models/a-run/history.png"):
        (photos / name).parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(one, photos / name)
    for name in ("spec.json", "model.keras"):  # what a run has beside pictures
        for place in ("dark_above", "saved_models"):
            (photos / place / "a-run" / name).touch()
    for place, names in {"files": ("report.json", "REPORT.md"), "found": ("evaluation.json", "confusion.png")}.items():
        (photos / place).mkdir()
        for name in names:  # of an export and an evaluation
            shutil.copy(one, photos / place / name)
    (photos / "dark_above" / "20.heic").write_bytes(b"....ftypheic")
    (photos / "dark_above" / "21.jpg").symlink_to("nowhere.jpg")
    (photos / "dark_above" / "again").symlink_to(photos / "dark_above")
    (photos / "old.tfrecord.log").touch()
    data = kr.data.load(photos)
    assert data.class_names == ["bright_above", "dark_above"]
    assert len(data.examples("all")) == 41
    assert "14 of 55 files" in caplog.text
    for line in (
        "  1 a link to a folder above it: dark_above/again",
        "  1 a broken link: dark_above/21.jpg",
        "  2 beside the class folders: old.tfrecord.log, stray.jpg",
        "  1 a system folder: dark_above/__MACOSX",
        "  3 hidden: .hidden, dark_above/.07.jpg, dark_above/.thumbnails",
        "  1 not a picture that Pillow reads (.heic): dark_above/20.heic",
        "  1 unfinished or a copy (.part): dark_above/06.jpg.part",
        "  4 written by this program: dark_above/a-run, files, found, ...",
    ):
        assert line in caplog.text.splitlines(), line
    assert len(data.skipped) == 14


def test_each_folder_is_read_once_whatever_links_lead_to_it(photos):
    """Links of two to the next folder, and of that to the one after, are 2 ** 40 paths to the last."""
    deep = photos / "dark_above" / "deep"
    for number in range(40):
        (deep / str(number)).mkdir(parents=True)
        for name in "ab":
            (deep / str(number) / name).symlink_to(deep / str(number + 1))
    (deep / "40").mkdir()
    shutil.copy(photos / "dark_above" / "05.jpg", deep / "40")
    assert len(kr.data.load(photos).examples("all")) == 41


def test_a_link_to_a_folder_above_brings_no_picture_of_another_class(photos, caplog):
    (photos / "dark_above" / "all").symlink_to(photos)
    data = kr.data.load(photos)
    assert len(data.examples("all")) == 40
    assert "a link to a folder above it: dark_above/all" in caplog.text


def test_a_stray_record_file_makes_no_set_of_records(photos, caplog):
    for name in ("old.tfrecord", "train.tfrecord.log"):
        (photos / name).write_text("no record at all")
    assert len(kr.data.load(photos).examples("all")) == 40
    assert "2 beside the class folders: old.tfrecord, train.tfrecord.log" in caplog.text


def copies(photos, root, *parts):
    for part in parts:
        shutil.copytree(photos, root / part)
    return root


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            ("training_set", "test_set"),
            r"has test_set/ and training_set/ with the same folders in them \(bright_above, dark_a",
        ),
        (
            ("train", "dev"),
            r"has train/ and dev/ with the same folders .* the known names are train: train, training; validation: val,",
        ),
        (("train", "val", "validate"), r"has train/ and val/ and validate/ with the same folders"),
        (("test", "val"), r"has test, val but no folder for training: name it train"),
        (("photos",), r"has one folder, 'photos', with bright_above, dark_above in it: pass '.*/photos'"),
        (("data/train", "data/val"), r"has one folder, 'data', with train, val in it: pass '.*/data'"),
        (("train/photos",), r"train' has one folder, 'photos', with bright_above, dark_above in it"),
        (("train", "test/unknown"), r"is for test: no training class named 'unknown' \(allowed: bright_above, dark_above\); move"),
    ],
)
def test_folders_that_are_no_classes_are_named(photos, tmp_path, parts, message):
    with pytest.raises(InputError, match=message):
        kr.data.load(copies(photos, tmp_path / "set", *parts))


def test_a_folder_without_class_folders_is_named(photos, tmp_path):
    root = copies(photos, tmp_path / "set", "train")
    (root / "test").mkdir()
    with pytest.raises(InputError, match=r"test' has no class folders and no pictures: fill it, or remove it"):
        kr.data.load(root)
    for name in ("0.jpg", "1.jpg"):
        shutil.copy(photos / "dark_above" / "05.jpg", root / "test" / name)
    with pytest.raises(InputError, match=r"test' has 2 pictures but no class folders, so they have no labels: sort them into"):
        kr.data.load(root)
    for flat in (root / "test", photos / "dark_above"):
        with pytest.raises(InputError, match=r"has \d+ pictures but no class folders"):
            kr.data.load(flat)
    shutil.rmtree(root / "train")
    shutil.copytree(root / "test", root / "train")
    with pytest.raises(InputError, match=r"train' has 2 pictures but no class folders"):
        kr.data.load(root)


def test_what_is_beside_the_parts_is_told(photos, tmp_path, caplog):
    root = copies(photos, tmp_path / "set", "train", "val", "annotations/boxes")
    (root / "README.txt").touch()
    data = kr.data.load(root)
    assert counts(data) == {"train": 32, "validation": 8, "test": 40}
    assert "  2 beside train, val: README.txt, annotations" in caplog.text


def test_classes_with_the_same_folders_in_them_are_told(photos, tmp_path, caplog):
    assert kr.data.load(copies(photos, tmp_path / "set", "cat", "dog")).class_names == ["cat", "dog"]
    assert "cat, dog in" in caplog.text
    assert "have the same sub-folders: each of them is read as one class" in caplog.text


def test_files_beyond_the_memory_limit_are_decoded_again_each_time(photos):
    (photos / "dark_above" / "07.jpg").write_text("not an image")
    kept, streamed = from_folder(photos), from_folder(photos, memory=0)
    for split in kept.splits:
        for left, right in zip(gathered(kept.batches(split)), gathered(streamed.batches(split)), strict=True):
            np.testing.assert_array_equal(left, right)


def test_train_val_test_folders(photos, tmp_path):
    root = tmp_path / "split"
    for part, names in {"train": "0[0-9]", "val": "1[0-4]", "Test": "1[5-9]"}.items():
        for entry in photos.glob(f"*/{names}.jpg"):
            target = root / part / entry.parent.name / entry.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(entry.read_bytes())
    data = kr.data.load(root)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 20, "validation": 10, "test": 10}
    (root / "val" / "dark_above").rename(root / "val" / "dark_abov")
    with pytest.raises(InputError, match="no training class named 'dark_abov'; did you mean 'dark_above'"):
        kr.data.load(root)


def test_a_class_may_be_called_train(photos):
    (photos / "bright_above").rename(photos / "train")
    assert kr.data.load(photos).class_names == ["dark_above", "train"]


@pytest.mark.parametrize("size", [8.0, "8", (8,), (8, 8, 3), (8.5, 8), True, object()])
def test_an_image_size_of_another_form_is_refused(photos, size):
    with pytest.raises(InputError, match="expected one whole number or two"):
        kr.data.load(photos, image_size=size)


def test_numpy_sizes_and_names_can_be_saved(photos):
    data = kr.data.load(photos, image_size=np.int64(8))
    assert json.loads(json.dumps(data.origin))["image_size"] == [8, 8]
    assert from_arrays(good(), class_names=np.array(["a", "b"])).class_names == ["a", "b"]
    for names in ([1, 2], ["a", "b\nc"], ["a", ""]):
        with pytest.raises(InputError, match=r"class_names: .* is not a class name: it must be one line of text"):
            from_arrays(good(), class_names=names)


def test_a_shift_beyond_the_image_is_refused(digits):
    with pytest.raises(InputError, match=r"crop=8 is too large for images of \(8, 8, 1\)"):
        digits.training_batches(plain(32, crop=8))


def test_a_class_folder_without_images_is_refused(photos):
    (photos / "empty").mkdir()
    with pytest.raises(InputError, match="empty' has no image files"):
        kr.data.load(photos)


def test_two_folders_for_one_split_are_refused(photos, tmp_path):
    for name in ("train", "val", "valid"):
        (tmp_path / "split").mkdir(exist_ok=True)
        shutil.copytree(photos, tmp_path / "split" / name)
    with pytest.raises(InputError, match="two folders for validation"):
        kr.data.load(tmp_path / "split")


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "jpeg", "webp", "tiff", "PNG"])
def test_formats_grey_and_size(tmp_path, suffix):
    for name, level in (("dark", 40), ("light", 200)):
        (tmp_path / name).mkdir()
        for index in range(4):
            Image.new("L", (20, 10), level).save(tmp_path / name / f"{index}.{suffix}")
    data = kr.data.load(tmp_path)
    assert data.image_shape[:2] == (10, 20)
    assert data.image_shape[2] == (3 if suffix == "webp" else 1)  # webp has no grey
    images, labels = gathered(data.train)
    assert np.abs(images.mean((1, 2, 3)) - np.array([40, 200])[labels]).max() < 2
    assert kr.data.load(tmp_path, image_size=16).image_shape[:2] == (16, 16)
    for size in (0, -3):
        with pytest.raises(InputError, match="1 to 8192"):
            kr.data.load(tmp_path, image_size=size)


def test_images_of_many_sizes_come_to_one(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(3):
            Image.new("RGB", (300 + index, 200), "red" if name == "a" else "blue").save(tmp_path / name / f"{index}.png")
    assert kr.data.load(tmp_path).image_shape == (224, 224, 3)
    assert kr.data.load(tmp_path, image_size=(10, 30)).image_shape == (10, 30, 3)


@pytest.mark.parametrize(("side", "shape"), [(256, (256, 256, 1)), (257, (224, 224, 1))])
def test_large_images_are_brought_to_224(tmp_path, side, shape):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(3):
            Image.new("L", (side, side)).save(tmp_path / name / f"{index}.png")
    assert kr.data.load(tmp_path).image_shape == shape


def test_exif_orientation_and_depth_and_frames(tmp_path):
    upright = np.zeros((8, 8, 3), np.uint8)
    upright[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees to see it upright
    Image.fromarray(np.rot90(upright)).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(kr.data.read_image(tmp_path / "turned.png", (8, 8, 3)), upright)
    Image.new("L", (8, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert describe(tmp_path / "turned.jpg") == ((8, 4), True)
    Image.fromarray(np.full((4, 4), 200 * 257, np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(kr.data.read_image(tmp_path / "deep.png", (4, 4, 1)), np.full((4, 4, 1), 200))
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(InputError, match="32-bit pixels"):
        kr.data.read_image(tmp_path / "float.tiff", (4, 4, 1))
    frames = [Image.new("L", (4, 4), level) for level in (90, 180)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert kr.data.read_image(tmp_path / "moving.gif", (4, 4, 1)).max() == 90


def test_fit_pixels_cuts_to_the_centre():
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    assert fit_pixels(Image.fromarray(pixels), 10, 10, 3).min() == 255


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "at least two class folders with images .* found none"),
        (lambda root: (root / "only").mkdir() or Image.new("L", (4, 4)).save(root / "only" / "a.png"), "found only 'only'"),
        (
            lambda root: [(root / name).mkdir() or (root / name / "a.jpg").write_text("x") for name in "ab"],
            "none of the 2 image files",
        ),
        (
            lambda root: [(root / name).mkdir() or Image.new("L", (4, 4)).save(root / name / "a.png") for name in "ab"],
            "no images for validation: to take them from the training images, a class needs at least three",
        ),
    ],
)
def test_a_folder_with_nothing_to_learn_from_is_refused(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(InputError, match=message):
        kr.data.load(tmp_path)


def test_missing_sources(tmp_path):
    with pytest.raises(InputError, match="no folder 'no/such/folder' to read images from"):
        kr.data.load("no/such/folder")
    with pytest.raises(InputError, match=r"no folder '\./photos' to read"):
        kr.data.load("./photos")
    with pytest.raises(InputError, match="image_size is for folders"):
        kr.data.load("digits", image_size=32)
    for source in ("digits", tmp_path, (np.zeros((4, 8, 8, 1)), [0, 1, 0, 1])):
        with pytest.raises(InputError, match=r"data_dir .* is for the names of TensorFlow Datasets"):
            kr.data.load(source, data_dir=tmp_path)
    with pytest.raises(InputError, match=r"no image file at 'x\.png'"):
        kr.data.read_image("x.png", (8, 8, 1))


def test_damaged_image_is_refused(tmp_path):
    (tmp_path / "x.png").write_text("no")
    with pytest.raises(InputError, match="not a readable image: its format is not recognised"):
        kr.data.read_image(tmp_path / "x.png", (8, 8, 1))


# Arrays


def good():
    return np.full((12, 4, 4, 3), 200, np.uint8), np.arange(12) % 2


def test_arrays():
    data = kr.data.load({"train": good(), "test": good()})
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 10, "validation": 2, "test": 12}
    assert data.class_names == ["0", "1"]
    floats = kr.data.load((good()[0] * np.float32(0.5), good()[1][:, None]))  # labels as keras.datasets shapes them
    images, labels = gathered(floats.train)
    assert images.dtype == np.float32
    assert (images == 100).all()
    assert labels.ndim == 1


def test_labels_in_other_forms_are_taken(caplog):
    x, y = good()
    pairs = kr.data.load(((x, y[:, None]), (x[:6], y[:6])))  # as keras.datasets gives them
    assert counts(pairs) == {"train": 10, "validation": 2, "test": 6}
    assert counts(kr.data.load([(x, y), (x[:2], y[:2]), (x[:6], y[:6])])) == {"train": 12, "validation": 2, "test": 6}
    one_hot = kr.data.load((x, np.eye(2)[y]))
    np.testing.assert_array_equal(one_hot.examples("all").labels, kr.data.load((x, y)).examples("all").labels)
    assert caplog.text == ""
    assert kr.data.load((x, np.eye(3)[y])).class_names == ["0", "1", "2"]
    assert "no training images of 1 of 3 classes (2)" in caplog.text
    from_1 = kr.data.load((x, y + 1))
    assert from_1.class_names == ["1", "2"]
    assert set(from_1.examples("all").labels) == {0, 1}
    assert "labels count from 1 to 2: they are shifted to start at 0" in caplog.text
    assert from_arrays((x, y), class_names=["a", "b", "c"]).class_names == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x, y: (x, np.array([0, 5])[y]),
            r"no training images of 4 of 6 classes \(1, 2, 3, 4\).*np.unique\(labels, ",
        ),
        (lambda x, y: {"train": (x, y), "test": (x, y + 1)}, r"no training images of 1 of 3 classes \(2\), but test has some"),
        (lambda x, y: ((x / 255).astype("uint8"), y), "the largest is 0, which is black; multiply images scaled to 0..1 by 255"),
        (lambda x, y: (x, np.eye(2)[y] * 0.9), r"labels of shape \(12, 2\) are not one-hot"),
        (lambda x, y: (x, np.array(["cat", "dog"])[y]), "must be whole numbers, received <U3; np.unique"),
        (lambda x, y: (x[:, 0, :, 0] / 9, y), r"received shape \(12, 4\); for signals of one channel add the axis"),
        (lambda x, y: (x[:, 0].astype("float32") * np.float32("inf"), y), "values must be finite, received inf..inf"),
        (lambda x, y: (np.zeros((12, 1, 99), "float32"), y), "look like channels first"),
        (lambda x, y: (np.full((12, 8, 8, 8), -1.0), y), r"received -1..-1; for volumes of one channel add the axis"),
        (lambda x, y: (x / 255.0, y), "the largest is 0.*multiply images scaled to 0..1 by 255"),
        (lambda x, y: (x * np.float32("nan"), y), "pixels must be 0..255, received nan"),
        (lambda x, y: (x.astype(int) - 201, y), "received -1..-1"),
        (lambda x, y: (np.zeros((12, 3, 8, 8), np.uint8), y), "look like channels first"),
        (lambda x, y: (x[..., 0], y), r"add the axis: images\[..., None\]"),
        (lambda x, y: (x, y[:-1]), "12 images but labels of shape"),
        (lambda x, y: (x, y / 2), "labels must be whole numbers"),
        (lambda x, y: (x, y - 1), "received -1..0"),
        (lambda x, y: (x, y * 0), "at least two classes"),
        (lambda x, y: (x[:0], y[:0]), "no images"),
        (lambda x, y: x, "expected .images, labels."),
        (lambda x, y: {"trian": (x, y)}, "no split named 'trian'; did you mean 'train'"),
        (lambda x, y: {"test": (x, y)}, "no arrays under 'train'"),
        (lambda x, y: {"train": (x, y), "test": (x[:, :2], y)}, "one shape"),
    ],
)
def test_arrays_in_the_wrong_form_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        kr.data.load(change(*good()))


# TensorFlow Datasets


def test_a_part_of_cifar10(cifar10_dir, monkeypatch):
    monkeypatch.setattr(named, "_split_names", lambda splits: {"train": "train[:1000]", "test": "test[:200]"})
    data = kr.data.load("cifar10", data_dir=cifar10_dir)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 800, "validation": 200, "test": 200}
    assert data.image_shape == (32, 32, 3)
    assert data.class_names[0] == "airplane"
    assert data.sample(50).mean() == pytest.approx(120, abs=15)


@pytest.mark.slow
def test_cifar10(cifar10_dir):
    data = kr.data.load("cifar10", data_dir=cifar10_dir)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 45_000, "validation": 5_000, "test": 10_000}
    assert data.image_shape == (32, 32, 3)
    assert data.class_names[0] == "airplane"
    assert list(np.bincount(data.splits["validation"].labels)) == [500] * 10
    assert data.sample(50).mean() == pytest.approx(120, abs=15)


def test_images_of_one_size_are_read_in_batches_and_keep_their_labels(monkeypatch):
    monkeypatch.setattr(named, "READ", 4)
    images, labels = np.arange(10 * 12).reshape(10, 2, 2, 3).astype(np.uint8), np.arange(10)
    examples = tf.data.Dataset.from_tensor_slices({"image": images, "label": labels, "id": labels})
    info = SimpleNamespace(splits={"train": SimpleNamespace(num_examples=10)}, features={"image": SimpleNamespace(shape=(2, 2, 3))})
    split = named._read(SimpleNamespace(info=info, as_dataset=lambda **_: examples), "train", (2, 2, 3))
    np.testing.assert_array_equal(split.take(np.arange(10)), images)
    np.testing.assert_array_equal(split.labels, labels)


def test_a_set_prints_as_one_line(digits):
    assert repr(digits) == "<Dataset 'digits': 1,151 train, 287 validation, 359 test; (8, 8, 1) uint8, 10 classes>"


@pytest.fixture(scope="module")
def shapes():
    """A set of TensorFlow Datasets with images of many sizes, validation but no labels for test, and two configurations."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class TinyShapes(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name, version="1.0.0") for name in ("colour", "grey")]  # noqa: RUF012
        pkg_dir_path = None

        def _info(self):
            channels = 3 if self.builder_config.name == "colour" else 1
            image = tfds.features.Image(shape=(None, None, channels))
            features = tfds.features.FeaturesDict({"image": image, "label": tfds.features.ClassLabel(names=["dark", "light"])})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, manager):
            test = self._generate_examples(4, labelled=False)  # as ImageNet's
            return {"train": self._generate_examples(20), "validation": self._generate_examples(6), "test": test}

        def _generate_examples(self, count, labelled=True):
            channels = 3 if self.builder_config.name == "colour" else 1
            for index in range(count):
                pixels = np.full((20 + index, 30, channels), 50 + 150 * (index % 2), np.uint8)
                yield index, {"image": pixels, "label": index % 2 if labelled else -1}

    return TinyShapes


@pytest.mark.parametrize(("name", "channels"), [("tiny_shapes", 3), ("tiny_shapes/colour", 3), ("tiny_shapes/grey", 1)])
def test_a_set_is_prepared_where_it_is_not_yet(shapes, tmp_path, name, channels):
    data = kr.data.load(name, data_dir=tmp_path, image_size=16)
    assert data.image_shape == (16, 16, channels)
    assert {split: len(examples) for split, examples in data.splits.items()} == {"train": 16, "validation": 4, "test": 6}
    images, labels = gathered(data.test)
    assert np.abs(images.mean((1, 2, 3)) - np.array([50, 200])[labels]).max() < 1
    assert kr.data.load(name, data_dir=tmp_path).image_shape == (224, 224, channels)
    shutil.copytree(tmp_path / "tiny_shapes", tmp_path / "my_own")  # prepared elsewhere, by code that is not here
    for info in (tmp_path / "my_own").rglob("dataset_info.json"):
        info.write_text(info.read_text().replace("tiny_shapes", "my_own"))
    for file in (tmp_path / "my_own").rglob("tiny_shapes-*"):
        file.rename(file.with_name(file.name.replace("tiny_shapes", "my_own")))
    config = name.partition("/")[2]
    assert len(kr.data.load(f"my_own/{config}" if config else "my_own", data_dir=tmp_path, image_size=8).examples("all")) == 26
    with pytest.raises(InputError, match=r"tiny_shapes/none' is not in .* and cannot be prepared"):
        kr.data.load("tiny_shapes/none", data_dir=tmp_path)


def test_an_unknown_set_gets_the_nearest_name():
    with pytest.raises(InputError, match="no image set or folder named 'cifar11'; did you mean 'cifar10"):
        kr.data.load("cifar11")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("photo", "no image set or folder named 'photo'; did you mean 'photos'"),
        ("photo/", r"no folder 'photo/' to read images from; did you mean 'photos'\?$"),
        ("./photo", r"no folder '\./photo' to read images from; did you mean 'photos'\?$"),
        ("photos/cst", r"no folder 'photos/cst' to read images from; did you mean 'photos/cat'\?$"),
        ("photos/bird", "no folder 'photos/bird' to read images from$"),
    ],
)
def test_a_mistyped_folder_gets_the_nearest_folder(tmp_path, monkeypatch, typed, message):
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cst.txt").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        kr.data.load(typed)


def test_of_run_refuses_other_classes(small_run, digits, photos):
    assert kr.data.of_run(small_run).class_names == small_run.class_names
    other = dataclasses.replace(digits, class_names=list("abcdefghij"))
    with pytest.raises(InputError, match="the images are"):
        kr.data.of_run(small_run, other)
    with pytest.raises(InputError, match="the images are"):
        kr.data.of_run(small_run, photos)


def test_of_run_refuses_images_that_have_changed(tiny, photos, tmp_path, monkeypatch):
    """One more image, and the split by class is another one: the test images could have been trained on."""
    monkeypatch.chdir(photos.parent)
    recipe = dataclasses.replace(kr.RECIPES["digits"], epochs=1)
    run = kr.fit(tiny, recipe, kr.data.load("photos"), tmp_path / "run", verbose=0)
    monkeypatch.chdir("/")  # a relative path was kept as an absolute one
    assert len(kr.data.of_run(run).examples("all")) == 40
    shutil.copy(photos / "dark_above" / "00.jpg", photos / "dark_above" / "new.jpg")
    with pytest.raises(InputError, match="have changed since training"):
        kr.data.of_run(run)
    assert len(kr.data.of_run(run, photos).examples("all")) == 41
    (photos / "dark_above" / "new.jpg").unlink()
    assert len(kr.data.of_run(run).examples("all")) == 40
    replaced = photos / "dark_above" / "07.jpg"
    whole = replaced.read_bytes()
    black = io.BytesIO()
    Image.new("RGB", (24, 24)).save(black, "JPEG")
    for change in (
        lambda: replaced.write_bytes(black.getvalue()),
        lambda: replaced.write_bytes(black.getvalue().ljust(len(whole), b"\0")),  # of the same size
        lambda: replaced.rename(replaced.with_name("new.jpg")),
    ):
        change()  # as many as before
        with pytest.raises(InputError, match=r"have changed since training \(the same number, but other labels, pixels or files"):
            kr.data.of_run(run)
        replaced.write_bytes(whole)
    replaced.with_name("new.jpg").unlink()
    origin = json.loads((run.path / "data.json").read_text())
    del origin["digest"]  # as an earlier version left it
    (run.path / "data.json").write_text(json.dumps(origin))
    assert len(kr.data.of_run(kr.Run.open(run.path)).examples("all")) == 40


def test_a_sample_is_drawn_at_random_and_always_the_same():
    samples = [np.concatenate(list(numbered(50).sample_batches(20)))[:, 0, 0, 0] for _ in range(2)]
    assert len(set(samples[0])) == 20
    assert list(samples[0]) == list(samples[1]) != sorted(samples[0])
    assert max(samples[0]) >= 20  # and not the first ones


def test_all_is_every_image_once(digits):
    images, labels = gathered(digits.batches("all"))
    assert len(images) == 1797
    for name in digits.splits:
        part, _ = gathered(digits.batches(name))
        assert part.tobytes() in images.tobytes()
    assert list(np.bincount(labels)) == list(sum(np.bincount(split.labels) for split in digits.splits.values()))


def test_a_file_of_arrays(tmp_path, few):
    """With the names that keras.datasets, MedMNIST and a search give to arrays."""
    images, labels = (np.concatenate(parts) for parts in zip(*(gathered(few.batches(name)) for name in few.splits), strict=True))
    np.savez(tmp_path / "keras.npz", x_train=images[:128], y_train=labels[:128], x_test=images[128:], y_test=labels[128:])
    names = {"train": slice(96), "val": slice(96, 128), "test": slice(128, None)}
    arrays = {f"{name}_images": images[part] for name, part in names.items()}
    arrays |= {f"{name}_labels": labels[part, None] for name, part in names.items()}
    np.savez_compressed(tmp_path / "med.npz", **arrays)
    write_npz(few, tmp_path / "ours.npz")
    assert (
        kr.data.load(tmp_path / "keras.npz").digest
        == kr.data.load(((images[:128], labels[:128]), (images[128:], labels[128:]))).digest
    )
    for name in ("med.npz", "ours.npz"):
        data = kr.data.load(tmp_path / name)
        assert (data.digest, data.class_names) == (few.digest, few.class_names)
        assert data.origin == {"source": str(tmp_path / name)}


def test_a_file_of_arrays_that_cannot_be_read(tmp_path):
    np.savez(tmp_path / "other.npz", images=np.zeros((4, 8, 8, 1)), labels=np.zeros(4))
    np.savez(tmp_path / "objects.npz", x_train=np.array([{}, {}]), y_train=np.zeros(2))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:300])
    for name, message in (
        ("none.npz", "no file at"),
        ("other.npz", "has images, labels: expected train_images and train_labels, or x_train and y_train"),
        ("objects.npz", "cannot be read, it may be damaged: Object arrays"),
        ("cut.npz", "cannot be read, it may be damaged: File is not a zip file"),
    ):
        with pytest.raises(InputError, match=message):
            kr.data.load(str(tmp_path / name))
    with pytest.raises(InputError, match="image_size is for folders"):
        kr.data.load(tmp_path / "other.npz", image_size=8)
