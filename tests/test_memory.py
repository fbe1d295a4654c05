"""Memory is bounded before it is allocated: that of pictures by their headers, that of arrays and trainings by the machine."""

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.data import images
from keras_resnet.startup import memory


def encoded(kind, side=64):
    """A smooth picture as a file."""
    ramp = np.linspace(0, 255, side).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(
        np.stack([np.tile(ramp, (side, 1)), np.tile(ramp[:, None], (1, side)), np.full((side, side), 90)], -1).astype(np.uint8)
    ).save(stream, kind, quality=95)
    return stream


def test_a_jpeg_that_is_too_large_is_read_at_half_its_sides(monkeypatch):
    jpeg = encoded("JPEG")
    whole = images.decode(jpeg, (16, 16, 3)).astype(int)
    monkeypatch.setattr(images, "MOST_PIXELS", 64 * 64 - 1)
    assert abs(images.decode(jpeg, (16, 16, 3)) - whole).max() <= 2
    with Image.open(io.BytesIO(images.upright(jpeg))) as again:  # TensorFlow would decode it in full
        assert (again.format, again.size) == ("PNG", (32, 32))
    monkeypatch.setattr(images, "MOST_PIXELS", 32 * 32 - 1)
    with pytest.raises(ValueError, match="64 x 64 pixels: at most 1,023 are decoded, make it smaller"):
        images.decode(jpeg, (16, 16, 3))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_other_pictures_that_are_too_large_are_left_out(kind, monkeypatch, photos, caplog):
    content, fit = encoded(kind).getvalue(), images.fit_pixels
    (photos / "dark_above" / "bomb.jpg").write_bytes(content)
    monkeypatch.setattr(images, "MOST_PIXELS", 64 * 64 - 1)
    monkeypatch.setattr(
        images, "fit_pixels", lambda image, *shape: fit(image, *shape) if image.size != (64, 64) else pytest.fail("decoded")
    )
    assert len(kr.data.load(photos).examples("all")) == 40
    assert "1 64 x 64 pixels: at most 4,095 are decoded, make it smaller: dark_above/bomb.jpg" in caplog.text
    with pytest.raises(InputError, match=r"bomb.jpg' is not a readable image: 64 x 64 pixels"):
        kr.data.read_image(photos / "dark_above" / "bomb.jpg", (8, 8, 3))


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch):
    at_work, most = [], []

    def work(*arguments):
        at_work.append(threading.get_ident())
        most.append(len(at_work))
        time.sleep(0.01)
        at_work.pop()

    monkeypatch.setattr(images, "fit_pixels", work)
    monkeypatch.setattr(images, "is_grey", work)  # Pillow decodes a PNG that is asked for its orientation, before this
    monkeypatch.setattr(images, "LARGE_PIXELS", 64 * 64 - 1)
    content = encoded("PNG").getvalue()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: images.decode(io.BytesIO(content), (8, 8, 3)), range(8)))
        list(threads.map(lambda _: images.describe(io.BytesIO(content)), range(8)))
    assert most == [1] * 16


def test_a_file_without_an_end_is_not_read(monkeypatch, photos):
    monkeypatch.setattr(images, "MOST_BYTES", 100)
    with pytest.raises(InputError, match="is not a readable image: it has more than 100 bytes"):
        kr.data.read_image(photos / "dark_above" / "01.jpg", (8, 8, 3))


def test_arrays_and_trainings_that_the_machine_cannot_hold_are_refused(monkeypatch, few, tiny, tmp_path):
    assert 2**28 < memory() < 2**50
    np.savez_compressed(tmp_path / "zeros.npz", x_train=np.zeros((100, 100, 100, 1), np.uint8), y_train=np.zeros(100, int))
    monkeypatch.setattr("keras_resnet.data.npz.memory", lambda: 2**19)
    with pytest.raises(InputError, match=r"zeros.npz' has 0.0 GiB of arrays, and this machine 0.0 GiB of memory"):
        kr.data.load(tmp_path / "zeros.npz")
    monkeypatch.setattr("keras_resnet.training.trainable.memory", lambda: 2**28)
    monkeypatch.setattr("keras_resnet.training.fit.prepare", lambda *arguments: pytest.fail("the network is built"))
    with pytest.raises(
        InputError, match=r"a training in batches of 96 of 8x8x1 needs about 0.4 GiB of memory, .* has 0.2: take smaller"
    ):
        kr.fit(kr.networks.variants.resolve("resnet50", stem="3x3", stem_pool=None), "cifar-30", few, tmp_path / "run")
    assert not (tmp_path / "run").exists()
