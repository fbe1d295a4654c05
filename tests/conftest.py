"""Shared by the tests: a tiny network and a few images, one trained run, images on disk, and the real CIFAR-10 where it is.

Nothing heavy is imported here: the process that only distributes the tests would wait for it.
"""

import fcntl
import gc
import multiprocessing
import os
import random
import shutil
import socket
import subprocess
import sys

from keras_resnet import startup

startup.prepare()  # as the command line does: the same seed gives the same weights
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # there are more processes of tests than cores
# TensorFlow reads it once, at its first operation. Set here, it gives all processes of the tests the same kernels.
os.environ.setdefault(startup.ONEDNN, "1")

from dataclasses import replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import keras_resnet as kr
from keras_resnet import lazy_tensorflow as tf
from keras_resnet.atomic import write_json
from keras_resnet.console import quiet
from keras_resnet.fields import to_json
from keras_resnet.runs.run import Run

TFDS = Path(os.environ.get("KERAS_RESNET_TFDS", Path(__file__).parents[2] / "shared" / "tensorflow_datasets"))

LONGEST = (
    "test_shell",
    "test_distribute",
    "test_backends",
    "test_export",
    "test_resume",
    "test_search",
    "test_latency",
    "test_remat",
)

FORKS = multiprocessing.get_context("forkserver")
FORK_SERVER = "KERAS_RESNET_TESTS_FORK_SERVER"  # address of the one that all processes of the tests share
FORKS.set_forkserver_preload(
    ["tensorflow", "keras_resnet.training.fit", "onnxruntime", "ai_edge_litert.interpreter", "sklearn.datasets"]
)
CHILD = """
import os, sys
if settings:
    import keras
    for set_one, value in zip(("set_floatx", "set_epsilon", "set_image_data_format", "set_dtype_policy"), settings):
        getattr(keras.config, set_one)(value)
numbers = {number: file.fileno() for number, file in files.items()}
for number in (0, 1, 2):
    os.dup2(numbers.pop(number), number)
sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", buffering=1), open(2, "w", buffering=1)
sys.argv = [str(numbers.get(int(argument), argument) if argument.isdecimal() else argument) for argument in arguments]
exec(code, {"__name__": "__main__"})
"""


ELSEWHERE = """
import os, sys, keras
for name in [name for name in sys.modules if name.partition(".")[0] == "keras_resnet"]:
    del sys.modules[name]
sys.modules["keras_resnet"] = None
keras.saving.get_custom_objects().clear()
os.chdir(sys.argv.pop(1))
"""


def pytest_configure(config):
    """Forks come from one process, which imports TensorFlow, ONNX Runtime and LiteRT once, and not once for each process of the
    tests."""
    server = forkserver._forkserver
    if "PYTEST_XDIST_WORKER" in os.environ:
        server._forkserver_address, server._forkserver_alive_fd = os.environ[FORK_SERVER], os.open(os.devnull, os.O_RDONLY)
        server.ensure_running = lambda: None
    elif config.getoption("numprocesses", None):
        with quiet():
            forkserver.ensure_running()
        os.environ[FORK_SERVER] = server._forkserver_address


def pytest_collection_modifyitems(items):
    """The files that take longest first, so that no process waits for one of them in the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_collection_finish(session):
    """What is imported stays, and the collector need not look through it again and again: a tenth of the time of all tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


class Forked:
    """`subprocess.Popen([python, ..., "-c", code, *arguments])` for what the package starts: a process of its own too, but forked
    from one that has imported TensorFlow, which takes 6 seconds."""

    settings: tuple | None = None
    """Keras's global ones, as its file keras.json would set them: floatx, epsilon, image data format, precision policy."""

    def __init__(
        self, command, *, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(), env=None
    ):
        place = command.index("-c")
        with open(os.devnull, "r+b", buffering=0) as nothing:
            reading, self.stdin = (nothing.fileno(), None) if stdin != subprocess.PIPE else os.pipe()
            numbers = {0: reading, **{number: number for number in pass_fds}}
            for number, file in ((1, stdout), (2, stderr)):
                numbers[number] = (nothing if file == subprocess.DEVNULL else file).fileno()
            files = {number: Connection(os.dup(file)) for number, file in numbers.items()}  # these go to other processes
        if self.stdin:
            os.close(reading)
            self.stdin = os.fdopen(self.stdin, "wb")
        order = {"code": command[place + 1], "arguments": ["-c", *command[place + 2 :]], "files": files, "settings": self.settings}
        self.process = FORKS.Process(target=exec, args=(CHILD, order))
        with quiet():  # what others are forked from says nothing into the output of a test
            forkserver.ensure_running()
        self.process.start()
        self.pid, self.kill = self.process.pid, self.process.kill

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.wait()

    def poll(self):
        return self.process.exitcode

    returncode = property(poll)

    def wait(self, timeout=None):
        self.process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("a fork", timeout)
        return self.poll()


STARTING = tuple(f"keras_resnet.{name}.subprocess" for name in ("files.model_file", "search.worker", "export.elsewhere"))
FORKED = SimpleNamespace(**{**vars(subprocess), "Popen": Forked})


@pytest.fixture(autouse=True, scope="module")
def _forks():
    """Files and trials are run in processes that are forked; `starts_python` of a test or a parameter: in new ones."""
    with pytest.MonkeyPatch.context() as patch:
        for name in STARTING:
            patch.setattr(name, FORKED)
        yield


@pytest.fixture
def forked():
    """Starts a forked process, in the way of `subprocess.Popen`."""
    return Forked


@pytest.fixture
def elsewhere(tmp_path):
    """Runs a script with Keras, in `tmp_path`, in a process where this package is not installed."""

    def run(script, *arguments):
        with (tmp_path / "errors").open("wb") as errors:
            process = Forked([sys.executable, "-c", ELSEWHERE + script, str(tmp_path), *arguments], stderr=errors)
        assert process.wait() == 0, (tmp_path / "errors").read_text()

    return run


@pytest.fixture(autouse=True)
def _seeded():
    """Keras draws from this generator where there is no seed: a test has the same weights whichever tests ran before it."""
    random.seed(0)


@pytest.fixture(autouse=True)
def _new_processes(request, monkeypatch):
    if "starts_python" in request.keywords:
        for name in STARTING:
            monkeypatch.setattr(name, subprocess)


@pytest.fixture(scope="session")
def digits():
    return kr.data.load("digits")


@pytest.fixture(scope="session")
def tiny():
    """One unit of four channels: what takes the least time to trace and to train."""
    return replace(kr.SPECS["resnet8"], depths=(1,), widths=(4,), stem_width=4)


@pytest.fixture
def quick_weights(monkeypatch):
    """Kernels of zeros, since only their shapes count: random numbers take most of the time of building."""
    import keras

    monkeypatch.setattr(
        keras.initializers.VarianceScaling, "__call__", lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype)
    )


@pytest.fixture(scope="session")
def randomized():
    """Gives a model weights as random as those of a trained network, statistics and biases among them."""
    generator = np.random.default_rng(0)

    def randomize(model):
        for weight in model.weights:
            noise = generator.normal(size=weight.shape)
            scale = np.sqrt(2 / np.prod(weight.shape[:-1])) if weight.name == "kernel" else 0.25
            start = {"gamma": 1.0, "moving_variance": 1.5}.get(weight.name, 0.0)
            weight.assign(start + scale * np.clip(noise, -3, 3))
        return model

    return randomize


@pytest.fixture(scope="session")
def few(digits):
    """96 digits to train on, 32 to validate and 32 to test."""
    sizes = {"train": 96, "validation": 32, "test": 32}
    splits = {name: (digits.splits[name].take(np.arange(size)), digits.splits[name].labels[:size]) for name, size in sizes.items()}
    return kr.data.from_arrays(splits, class_names=list(digits.class_names))


@pytest.fixture(autouse=True, scope="module")
def _memory_returns():
    """What a module built is forgotten: the graphs of one file grew to 1.7 GB."""
    import keras

    yield
    keras.backend.clear_session(free_memory=False)
    gc.collect()
    gc.freeze()  # the next file need not look through what is left, the modules that were imported


@pytest.fixture(autouse=True, scope="session")
def _short_latencies():
    """The gate of an export measures latencies for a moment only, but where a test is about them."""
    from keras_resnet.export import check

    usual = {name: getattr(check, name) for name in ("SECONDS", "FEWEST")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "SECONDS", 0.0)
        patch.setattr(check, "FEWEST", 2)
        yield usual


@pytest.fixture(autouse=True)
def _whole_latencies(request, monkeypatch, _short_latencies):
    if "measures_latency" in request.keywords:
        for name, value in _short_latencies.items():
            monkeypatch.setattr(f"keras_resnet.export.check.{name}", value)


@pytest.fixture(autouse=True, scope="session")
def _no_pictures():
    """That of the history takes a sixth of a training of a few steps, those of a page half of a search without training."""
    from keras_resnet.search import page

    usual = {name: getattr(page, name) for name in ("front", "parallel", "importance", "curves")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_resnet.training.saving.plot_history", lambda history, path, **options: path.touch())
        patch.setattr("keras_resnet.training.saving.plot_confusion", lambda counts, names, path: path.touch())
        for name in usual:
            patch.setattr(page, name, lambda results, trials: None)
        yield usual


@pytest.fixture(scope="module")
def drawn():
    """The pictures of a training are drawn."""
    from keras_resnet.runs.evaluation import plot_confusion
    from keras_resnet.runs.history import plot_history

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_resnet.training.saving.plot_history", plot_history)
        patch.setattr("keras_resnet.training.saving.plot_confusion", plot_confusion)
        yield


@pytest.fixture
def pictures(monkeypatch, _no_pictures):
    """Those of the page of a search are drawn."""
    for name, draw in _no_pictures.items():
        monkeypatch.setattr(f"keras_resnet.search.page.{name}", draw)


@pytest.fixture(scope="session")
def small_run(digits, tiny, tmp_path_factory):
    """A network of four layers with weights that knows most digits: its files take a third of the time of a resnet8's.

    The first process of the tests that asks for it trains it. Each has a copy of its own.
    """
    base = tmp_path_factory.getbasetemp()
    trained = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "digits-small"
    with trained.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not trained.exists():
            spec, recipe = replace(tiny, widths=(16,), stem_width=16), kr.recipes.resolve("digits", epochs=15)
            kr.fit(spec, recipe, digits, trained, verbose=0)
    return Run.open(shutil.copytree(trained, tmp_path_factory.mktemp("runs") / "digits-small"))


@pytest.fixture
def eagerly(request):
    """Steps are not traced, which takes longer than a few steps of a tiny network; but those of a test with the mark `traced`."""
    tf.config.run_functions_eagerly("traced" not in request.keywords)
    yield
    tf.config.run_functions_eagerly(False)


def with_set(name):
    """The folder of TensorFlow Datasets, where it has that set."""
    if not (TFDS / name).is_dir():
        pytest.skip(f"{name} is not prepared here; set KERAS_RESNET_TFDS to a TensorFlow Datasets folder that has it")
    return TFDS


@pytest.fixture(scope="session")
def cifar10_dir():
    return with_set("cifar10")


@pytest.fixture(scope="session")
def tiny_imagenet_dir():
    return with_set("tiny_imagenet")


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
def pretended_run():
    """Writes a run that nobody trained."""

    def write(out, spec, recipe, seed, score):
        metrics = {"validation": {"accuracy": score}, "kept_epoch": 1, "epochs": 1, "train_seconds": 1.0, "seed": seed}
        metrics["images"] = {"validation": 287}
        out.mkdir(parents=True, exist_ok=True)
        for name, content in (("spec.json", spec), ("recipe.json", recipe)):
            (out / name).write_text(to_json(content))
        write_json(out / "metrics.json", metrics)
        for name in ("labels.txt", "model.keras"):  # last: with these it is a run
            (out / name).touch()
        return Run.open(out)

    return write


@pytest.fixture
def pretended(monkeypatch, pretended_run):
    """Trials without training, whose score is the share of the depth; `wrong` says which of them fail, and how, or get another
    score."""
    wrong, trained = {}, []

    def pretend(study, spec, recipe, out, seed, alive=lambda: None):
        trained.append((out.name, spec, recipe, seed, study.patience))
        score = wrong.get(out.name, sum(spec.depths) / 12)
        if isinstance(score, BaseException):
            raise score
        return pretended_run(out, spec, recipe, seed, score)

    def at(function, x0, **options):
        return SimpleNamespace(fun=function(x0), x=x0)

    monkeypatch.setattr("keras_resnet.search.trials.train_in_process", pretend)
    # The Bayesian engine takes the best of 50 random points, without a descent from each, which takes a second.
    monkeypatch.setattr("keras_tuner.src.tuners.bayesian.scipy", SimpleNamespace(optimize=SimpleNamespace(minimize=at)))
    return wrong, trained


@pytest.fixture
def call(monkeypatch, capfd):
    """Run the program in this process: (exit code, standard output, standard error)."""
    from keras_resnet.__main__ import main

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["keras-resnet", *map(str, arguments)])
        code = main()
        return (code, *capfd.readouterr())

    return call


@pytest.fixture
def free_port():
    """A port of this machine that nothing listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
