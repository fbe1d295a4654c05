"""TFRecord files, and training on random parts of encoded images."""

import dataclasses
import io
import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.data import augment, named, records
from keras_resnet.data.folder import from_folder
from keras_resnet.data.images import read_image
from keras_resnet.data.pipelines import errors_in_a_line

RECIPE = kr.Recipe(batch_size=8, crop=0, flip=False)


def encoded(pixels, kind="JPEG", **settings):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **settings)
    return file.getvalue()


def example(image, label, keys=("image/encoded", "image/class/label")):
    feature = {
        keys[0]: tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        keys[1]: tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        "image/filename": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"x.jpg"])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def pixels_of(index, height=40, width=50):
    """Every image has a brightness of its own, and rises from left to right and from top to bottom."""
    rows, columns = np.meshgrid(np.linspace(0, 60, height), np.linspace(0, 60, width), indexing="ij")
    return np.stack([rows + 4 * index, columns + 4 * index, np.full_like(rows, 4 * index)], axis=-1).astype("uint8")


def write(folder, name, count, first=0, label_of=lambda index: index % 3, **fields):
    folder.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / name)) as writer:
        for index in range(first, first + count):
            writer.write(example(encoded(pixels_of(index), quality=95), label_of(index), **fields))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "set", "train.tfrecord-00000-of-00002", 12)
    write(tmp_path / "set", "train.tfrecord-00001-of-00002", 12, first=12)
    write(tmp_path / "set", "validation.tfrecord", 6, first=24)
    write(tmp_path / "set", "test.tfrecord", 5, first=30)
    return tmp_path / "set"


def test_records_are_found_again_in_any_order(folder, tmp_path):
    data = kr.data.load(folder, image_size=(20, 25))
    assert data.image_shape == (20, 25, 3)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 24, "validation": 6, "test": 5}
    assert data.class_names == ["0", "1", "2"]
    order = np.array([23, 0, 11, 12])
    images = data.splits["train"].take(order)
    for index, image in zip(order, images, strict=True):
        (tmp_path / "one.jpg").write_bytes(encoded(pixels_of(index), quality=95))
        np.testing.assert_array_equal(image, read_image(tmp_path / "one.jpg", (20, 25, 3)))
    assert list(data.splits["train"].labels) == [index % 3 for index in range(24)]
    assert kr.data.load(data.origin["source"], image_size=data.origin["image_size"]).splits["test"].labels.shape == (5,)


def test_the_index_is_kept_until_a_file_changes(folder, monkeypatch, caplog):
    kr.data.load(folder)
    assert "reading 2 TFRecord files" in caplog.text
    caplog.clear()
    assert len(kr.data.load(folder).splits["train"]) == 24
    assert caplog.text == ""
    [index] = folder.glob(".train*.npz")
    index.write_bytes(index.read_bytes()[:100])
    assert len(kr.data.load(folder).splits["train"]) == 24
    assert "reading 2 TFRecord files" in caplog.text
    caplog.clear()
    write(folder, "train.tfrecord-00001-of-00002", 3)
    assert len(kr.data.load(folder).splits["train"]) == 15
    assert "reading 2 TFRecord files" in caplog.text


def test_labels_from_one_and_other_keys(tmp_path):
    write(tmp_path / "set", "train-0.tfrecord", 24, label_of=lambda index: index % 2 + 1, keys=("image", "label"))
    data = kr.data.load(tmp_path / "set")
    assert data.class_names == ["1", "2"]
    assert set(data.splits["train"].labels) == {0, 1}
    assert len(data.splits["test"]) == 4  # set aside, as everywhere
    named = records.from_records(tmp_path / "set", class_names=["zero", "one", "two"])
    assert set(named.splits["train"].labels) == {1, 2}


def test_what_is_wrong_is_named(folder, tmp_path):
    path = folder / "train.tfrecord-00000-of-00002"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[3000] ^= 1
    for damaged, why in (
        (whole[:-7], r"it ends within a record at byte \d{4,}"),
        (whole[:500], "it ends within a record at byte 0"),
        (b"not a record file at all", "its checksum is wrong for the record at byte 0"),
        (flipped, r"its checksum is wrong for the record at byte (1|2)\d{3}; copy it again"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=rf"00000-of-00002' is damaged or no TFRecord file: {why}"):
            kr.data.load(folder)
    path.write_bytes(whole)
    write(folder, "test.tfrecord", 4, keys=("picture", "label"))
    with pytest.raises(
        InputError, match="its examples have none of image/encoded, image; they have image/filename, label, picture"
    ):
        kr.data.load(folder)
    write(folder, "test.tfrecord", 4, label_of=lambda index: index - 1)
    with pytest.raises(InputError, match=r"labels must be 0\.\.2 for 3 classes, received -1\.\.2"):
        kr.data.load(folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data.tfrecord").touch()
    with pytest.raises(InputError, match=r"has no TFRecord files named train\*; found data.tfrecord"):
        kr.data.load(tmp_path / "other")


@pytest.mark.parametrize("kind", ["GZIP", "ZLIB"])
def test_compressed_files_are_read(kind, folder, caplog, monkeypatch):
    plain = kr.data.load(folder, image_size=(20, 25))
    pixels = plain.splits["train"].take(np.arange(24))
    path = folder / "train.tfrecord-00001-of-00002"
    content = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    with tf.io.TFRecordWriter(str(path), kind) as writer:
        for record in content:
            writer.write(record)
    for _ in range(2):  # the second time by the index
        caplog.clear()
        packed = kr.data.load(folder, image_size=(20, 25))
        assert packed.digest == plain.digest
        np.testing.assert_array_equal(packed.splits["train"].take(np.arange(24)), pixels)
        assert sum(len(labels) for _, labels in packed.train) == 24
    assert caplog.text == ""
    monkeypatch.setattr(records, "MEMORY", 1000)
    with pytest.raises(
        InputError, match=r"1 compressed TFRecord files, '.*00001-of-00002' and on, have .* unpack them, or write them"
    ):
        kr.data.load(folder)
    monkeypatch.undo()
    whole = path.read_bytes()
    for damaged in (whole[:-300], whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"00001-of-00002' is damaged or no TFRecord file: "):
            kr.data.load(folder)


def test_a_file_may_begin_as_a_compressed_one_does(folder):
    """If its first record has 35,615 bytes."""
    jpeg = encoded(pixels_of(3), quality=95)
    jpeg += bytes(0x8B1F - len(example(jpeg + bytes(30_000), 1)) + 30_000)
    path = folder / "train.tfrecord-00001-of-00002"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for label in range(3):
            writer.write(example(jpeg, label))
    assert path.read_bytes()[:2] == b"\x1f\x8b"
    assert len(kr.data.load(folder).splits["train"]) == 15


def test_a_damaged_image_in_a_record_is_named_and_left_out(folder, caplog):
    jpeg = encoded(pixels_of(3), quality=95)
    with tf.io.TFRecordWriter(str(folder / "train.tfrecord-00001-of-00002")) as writer:
        for index, image in enumerate((jpeg, jpeg[: len(jpeg) // 2], b"no picture", jpeg)):
            writer.write(example(image, index % 3))
    for _ in range(2):  # the index knows it too
        caplog.clear()
        data = kr.data.load(folder)
        assert {name: len(split) for name, split in data.splits.items()} == {"train": 14, "validation": 6, "test": 5}
        assert "2 of 27 images in" in caplog.text
        assert "train.tfrecord-00001-of-00002: the image of the record at byte " in caplog.text
        assert len(data.skipped) == 2
        assert "its format is not recognised" in data.skipped[1]
    assert sum(len(labels) for _, labels in data.train) == 14


def test_images_that_change_after_the_index_are_noticed(folder):
    data = kr.data.load(folder)
    path = folder / "train.tfrecord-00000-of-00002"
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content)
    message = r"the image at byte \d+ of '.*00000-of-00002' is damaged, or was changed since it was first read$"
    with pytest.raises(InputError, match=message):
        data.splits["train"].take(np.arange(12))
    with pytest.raises(InputError, match=message), errors_in_a_line():
        list(data.train)
    path.unlink()
    with pytest.raises(InputError, match="00000-of-00002' cannot be read any more: No such file"):
        data.splits["train"].take(np.arange(12))


def test_batches_are_what_is_taken(folder, monkeypatch):
    """By TensorFlow's threads, in place of Pillow's; and with large images decoded at a part of their size."""
    large = encoded(pixels_of(9, 300, 410), quality=95), encoded(pixels_of(9, 130, 140), "WEBP", quality=95)
    with tf.io.TFRecordWriter(str(folder / "test.tfrecord")) as writer:
        for index, image in enumerate((*large, encoded(pixels_of(9)[..., 0]), encoded(pixels_of(9), "PNG"))):
            writer.write(example(image, index % 3))
    for size in ((20, 25), (12, 9)):
        test = dataclasses.replace(kr.data.load(folder, image_size=size), batch_size=3)
        images = np.concatenate([pixels for pixels, _ in test.test])
        assert [len(labels) for _, labels in test.test] == [3, 1]
        assert abs(images.astype(int) - test.splits["test"].take(np.arange(4))).max() <= 1


def test_texts_name_the_classes(tmp_path):
    texts = {1: "tench", 2: "crane", 3: "crane"}
    with tf.io.TFRecordWriter(str(_made(tmp_path / "set") / "train.tfrecord")) as writer:
        for index in range(15):
            record = tf.train.Example.FromString(example(encoded(pixels_of(index)), index % 3 + 1))
            record.features.feature["image/class/text"].bytes_list.value.append(texts[index % 3 + 1].encode())
            writer.write(record.SerializeToString())
    for _ in range(2):
        assert kr.data.load(tmp_path / "set").class_names == ["tench", "crane (2)", "crane (3)"]


def test_a_text_that_a_terminal_would_act_on_names_no_class(tmp_path):
    with tf.io.TFRecordWriter(str(_made(tmp_path / "set") / "train.tfrecord")) as writer:
        for index in range(15):
            record = tf.train.Example.FromString(example(encoded(pixels_of(index)), index % 3))
            record.features.feature["image/class/text"].bytes_list.value.append(b"\x1b[31mred")
            writer.write(record.SerializeToString())
    with pytest.raises(InputError, match=r"set': '\\x1b\[31mred \(0\)' is not a class name"):
        kr.data.load(tmp_path / "set")


def _made(folder):
    folder.mkdir()
    return folder


def test_other_records_of_the_same_number_have_another_digest(folder):
    before = kr.data.load(folder).digest
    assert kr.data.load(folder).digest == before
    write(folder, "test.tfrecord", 5, first=31)
    assert kr.data.load(folder).digest != before


def test_a_part_of_a_jpeg_is_that_of_the_whole_image():
    """Decoding only what is needed gives what cutting the decoded image gives."""
    draws = augment.Draws(tf.constant([0, 0], tf.int64), 20, 0, 20)
    numbers = augment.crop_numbers(draws, 0.1)
    content = encoded(pixels_of(30, 60, 90), quality=95)
    for row in numbers:
        part = augment.decoded_part(tf.constant(content), row, (16, 16, 3)).numpy().astype(int)
        whole = augment.decoded_whole(tf.constant(content), row, (16, 16, 3)).numpy().astype(int)
        assert abs(part - whole).max() <= 1
        top, left, height, width = augment.crop_boxes(row, 60 / 90).numpy() * [60, 90, 60, 90]
        image = Image.open(io.BytesIO(content)).crop([int(left), int(top), int(left) + round(width), int(top) + round(height)])
        reference = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR)).astype(int)
        assert abs(part - reference).max() <= 4  # two decoders


@pytest.mark.parametrize("source", [pytest.param("records", marks=pytest.mark.slow), "folder"])
def test_training_reads_parts_of_encoded_images(source, folder, photos):
    if source == "records":
        data = kr.data.load(folder, image_size=(16, 16))
    else:
        Image.open(photos / "bright_above" / "03.jpg").save(photos / "bright_above" / "03.png")
        (photos / "bright_above" / "03.jpg").unlink()
        data = from_folder(photos, memory=0)
    recipe = dataclasses.replace(RECIPE, resized_crop=0.3, flip=True)
    batches = list(itertools.islice(data.training_batches(recipe, seed=1), 4))
    again = list(itertools.islice(data.training_batches(recipe, seed=1, start=2), 2))
    for (images, labels), (same, equal) in zip(batches[2:], again, strict=True):
        np.testing.assert_array_equal(images, same)
        np.testing.assert_array_equal(labels, equal)
    assert batches[0][0].shape == (8, *data.image_shape)
    assert batches[0][0].dtype == tf.uint8
    parts = [next(iter(data.training_batches(recipe, seed=1, part=part, parts=2))) for part in range(2)]
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), batches[0][0])
    plain = list(itertools.islice(data.training_batches(RECIPE, seed=1), 4))
    for (images, labels), (whole, equal) in zip(batches, plain, strict=True):
        np.testing.assert_array_equal(labels, equal)
        if source == "records":  # blue is one value all over an image: the part is of the right one
            np.testing.assert_allclose(images[..., 2].numpy().mean((1, 2)), whole[..., 2].numpy().mean((1, 2)), atol=3)


def test_an_image_that_lies_on_its_side_is_turned(photos):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    pixels = np.zeros((24, 24, 3), "uint8")
    pixels[:12] = 250
    path = photos / "bright_above" / "00.jpg"
    path.write_bytes(encoded(pixels, exif=exif, quality=95))
    data = from_folder(photos, memory=0)
    index = next(i for i in range(len(data.splits["train"])) if b"PNG" in data.splits["train"].encoded(i)[:8])
    image = np.asarray(Image.open(io.BytesIO(data.splits["train"].encoded(index))).convert("RGB"))
    np.testing.assert_array_equal(image, read_image(path, (24, 24, 3)))
    assert image[:, 18].mean() > 200 > 50 > image[:, 6].mean()


@pytest.mark.slow
def test_a_large_set_of_tensorflow_datasets_is_read_from_its_files(cifar10_dir, monkeypatch, tmp_path):
    monkeypatch.setattr(named, "_split_names", lambda splits: {"train": "test"})
    small = named.from_tfds("cifar10", data_dir=cifar10_dir)
    monkeypatch.setattr(named, "MEMORY", 1000)

    def read_only(*arguments, **fields):
        raise OSError("nothing is written beside the set")

    monkeypatch.setattr(records.np, "savez", read_only)
    large = named.from_tfds("cifar10", data_dir=cifar10_dir)
    assert large.class_names == small.class_names
    assert sum(map(len, large.splits.values())) == 10_000
    for name, split in large.splits.items():
        some = np.arange(20)
        np.testing.assert_array_equal(split.labels, small.splits[name].labels)
        difference = abs(split.take(some).astype(int) - small.splits[name].take(some))
        assert difference.mean((1, 2, 3)).max() < 2  # two JPEG decoders
