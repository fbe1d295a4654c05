"""Shared by the tests: a tiny network and a few images, one trained run, images on disk, and the real CIFAR-10 where it is."""

import gc
import os
import socket

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")  # as the command line does: the same seed gives the same weights

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_resnet as kr
from keras_resnet.atomic import write_json
from keras_resnet.export import check
from keras_resnet.fields import to_json
from keras_resnet.runs.run import Run
from keras_resnet.search import runner

CIFAR10 = Path(os.environ.get("KERAS_RESNET_TFDS", Path(__file__).parents[2] / "shared" / "tensorflow_datasets"))


@pytest.fixture(scope="session")
def digits():
    return kr.data.load("digits")


@pytest.fixture(scope="session")
def tiny():
    """One unit of four channels: what takes the least time to trace and to train."""
    return replace(kr.SPECS["resnet8"], depths=(1,), widths=(4,), stem_width=4)


@pytest.fixture(scope="session")
def few(digits):
    """96 digits to train on, 32 to validate and 32 to test."""
    sizes = {"train": 96, "validation": 32, "test": 32}
    splits = {name: (digits.splits[name].take(np.arange(size)), digits.splits[name].labels[:size]) for name, size in sizes.items()}
    return kr.data.from_arrays(splits, class_names=list(digits.class_names))


@pytest.fixture(autouse=True, scope="module")
def _memory_returns():
    """What a module built is forgotten: the graphs of one file grew to 1.7 GB."""
    yield
    keras.backend.clear_session()
    gc.collect()


@pytest.fixture(autouse=True)
def _short_latencies(request, monkeypatch):
    """The gate of an export measures latencies for a moment only, but where a test is about them."""
    if "measures_latency" not in request.keywords:
        monkeypatch.setattr(check, "SECONDS", 0.0)
        monkeypatch.setattr(check, "FEWEST", 2)


@pytest.fixture(scope="session")
def run(digits, tmp_path_factory):
    """A resnet8 trained on the digits for a few seconds."""
    return kr.fit("resnet8", "digits", digits, tmp_path_factory.mktemp("runs") / "digits-resnet8", verbose=0)


@pytest.fixture(scope="session")
def cifar10_dir():
    if not (CIFAR10 / "cifar10").is_dir():
        pytest.skip("CIFAR-10 is not prepared here; set KERAS_RESNET_TFDS to a TensorFlow Datasets folder that has it")
    return CIFAR10


@pytest.fixture
def photos(tmp_path):
    """A folder of two classes, bright above dark or the other way round: 20 colour JPEGs of 24x24 in each."""
    generator = np.random.default_rng(0)
    for label, name in enumerate(("bright_above", "dark_above")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(20):
            pixels = generator.integers(0, 100, (24, 24, 3))
            pixels[12 * label : 12 * label + 12] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / name / f"{index:02d}.jpg", quality=95)
    return tmp_path / "photos"


@pytest.fixture
def pretended(monkeypatch):
    """Trials without training, whose score is the share of the depth; `wrong` says which of them fail, and how, or get another
    score."""
    wrong, trained = {}, []

    def pretend(study, spec, recipe, out, seed, alive=lambda: None):
        trained.append((out.name, spec, recipe, seed, study.patience))
        score = wrong.get(out.name, sum(spec.depths) / 12)
        if isinstance(score, BaseException):
            raise score
        metrics = {"validation": {"accuracy": score}, "best_epoch": 1, "epochs": 1, "train_seconds": 1.0, "seed": seed}
        out.mkdir(parents=True, exist_ok=True)
        for name in ("model.keras", "labels.txt"):
            (out / name).touch()
        for name, content in (("spec.json", spec), ("recipe.json", recipe)):
            (out / name).write_text(to_json(content))
        write_json(out / "metrics.json", metrics)
        return Run.open(out)

    monkeypatch.setattr(runner, "train_in_process", pretend)
    return wrong, trained


@pytest.fixture
def free_port():
    """A port of this machine that nothing listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
