"""Several devices and several processes train as one device does."""

import dataclasses
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.training.distribute import STRATEGIES, Distribution, choose

SCRIPT = Path(__file__).with_name("train_on_devices.py")
STEPS = 10  # whose losses are compared: later, rounding has grown
EPOCH = 12  # steps
FORKS = multiprocessing.get_context("forkserver")  # which has imported TensorFlow already
CHILD = """
import os, runpy, sys
for number, path in enumerate(outputs, start=1):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
sys.stdout, sys.stderr = open(1, "w", buffering=1), open(2, "w", buffering=1)
os.environ.pop("TF_CONFIG", None)
os.environ.update(environment)
sys.argv = arguments
runpy.run_path(arguments[0], run_name="__main__")
"""


class Started:
    """`train_on_devices.py` in a process of its own, which leaves the run of a strategy at `folder`/runs/STRATEGY."""

    def __init__(self, folder, environment=None, **settings):
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        self.output, self.errors = (Path(tempfile.mkstemp(dir=folder)[1]) for _ in range(2))
        arguments = [str(SCRIPT), str(folder / "runs"), json.dumps(settings)]
        if "KERAS_BACKEND" in (environment or {}):
            everything = os.environ | {"PYTHONPATH": str(Path(kr.__file__).parents[1])} | environment
            with self.output.open("wb") as output, self.errors.open("wb") as errors:
                self.process = subprocess.Popen([sys.executable, *arguments], env=everything, stdout=output, stderr=errors)
            return
        outputs = [str(self.output), str(self.errors)]
        order = {"arguments": arguments, "environment": environment or {}, "outputs": outputs}
        self.process = FORKS.Process(target=exec, args=(CHILD, order))
        self.process.start()

    def code(self, timeout=300):
        if isinstance(self.process, subprocess.Popen):
            return self.process.wait(timeout)
        self.process.join(timeout)
        return self.process.exitcode

    def results(self):
        assert self.code() == 0, self.errors.read_text()[-2000:]
        return [json.loads(line) for line in self.output.read_text().splitlines() if line.startswith("{")]


def free_ports(count=2):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def workers_of(backend):
    """The environments of two processes that find each other on this machine."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports()]
    if backend == "jax":
        names = {
            "KERAS_BACKEND": "jax",
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": ",".join(addresses),
            "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
        }
        return [{**names, "KERAS_DISTRIBUTION_PROCESS_ID": str(index)} for index in range(2)]
    cluster = {"worker": addresses}
    return [{"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})} for index in range(2)]


@pytest.fixture(scope="module", params=["tensorflow", "jax"])
def backend(request):
    if request.param == "jax":
        pytest.importorskip("jax", reason="JAX is not installed")
    return request.param


@pytest.fixture(scope="module")
def alone_and_two(backend, tmp_path_factory):
    environment, several = ({"KERAS_BACKEND": "jax"}, "data_parallel") if backend == "jax" else ({}, "mirrored")
    return Started(tmp_path_factory.mktemp("devices"), environment, devices=2, strategies=["one", several]).results()


@pytest.fixture(scope="module")
def alone(alone_and_two):
    return alone_and_two[0]


@pytest.fixture(scope="module")
def two_devices(alone_and_two):
    return alone_and_two[1]


@pytest.fixture(scope="module")
def two_processes(backend, tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    processes = [Started(folder, environment) for environment in workers_of(backend)]
    results = [process.results()[0] for process in processes]
    assert [path.name for path in (folder / "runs").iterdir()] == ["auto"]
    return results


@pytest.mark.timeout(600)
def test_two_devices_train_as_one(backend, alone, two_devices):
    assert two_devices["replicas"] == 2
    assert two_devices["auto"] == 1  # processors alone are one device
    np.testing.assert_allclose(two_devices["losses"][:STEPS], alone["losses"][:STEPS], rtol=2e-5)
    assert len(two_devices["losses"]) == len(alone["losses"]) == 2 * EPOCH
    assert two_devices["test"]["loss"] == pytest.approx(alone["test"]["loss"], rel=0.2)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.slow)], indirect=True)
def test_two_processes_train_as_one(backend, alone, two_processes):
    chief, other = two_processes
    assert chief["workers"] == chief["replicas"] == 2
    assert chief["weights"] == other["weights"]
    assert chief["history"] == other["history"]  # there is one run, and the chief wrote it
    np.testing.assert_allclose(chief["losses"][:STEPS], alone["losses"][:STEPS], rtol=2e-5)
    assert chief["losses"] == other["losses"]  # the mean over both, not that of a process


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", ["tensorflow"], indirect=True)
def test_without_synchronisation_each_device_normalises_for_itself(backend, two_devices, tmp_path):
    [apart] = Started(tmp_path, devices=2, strategies=["mirrored"], recipe={"sync_norm": False, "epochs": 1}).results()
    together, each = (np.array(result["losses"][:STEPS]) for result in (two_devices, apart))
    assert np.abs(together / each - 1).max() > 1e-4  # where one device differs from two by 2e-5 at most


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", ["tensorflow"], indirect=True)
@pytest.mark.parametrize(
    "recipe", [{"optimizer": "lamb", "learning_rate": 0.01, "weight_decay": 0.02}, {"clip_norm": 0.05}], ids=str
)
def test_two_devices_clip_as_one(backend, recipe, tmp_path):
    """Gradients that are all longer than the clipping allows; of LAMB also without a `clip_norm`."""
    one, two = Started(tmp_path, devices=2, strategies=["one", "mirrored"], recipe=recipe).results()
    np.testing.assert_allclose(two["losses"][:STEPS], one["losses"][:STEPS], rtol=2e-5)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", ["tensorflow"], indirect=True)
def test_a_worker_that_dies_ends_the_job_and_a_restart_goes_on(backend, two_processes, tmp_path):
    fields = {"fit": {"checkpoint_every": 5, "resume": True}}
    chief, other = (Started(tmp_path, environment, **fields, wait_at=15) for environment in workers_of(backend))
    while other.process.exitcode is None and "step 15\n" not in other.errors.read_text():
        time.sleep(0.01)
    other.process.kill()
    assert chief.code(200) not in (0, None)
    assert "a worker of the group was lost" in chief.errors.read_text()
    assert not (tmp_path / "runs" / "auto").exists()
    both = [Started(tmp_path, environment, **fields) for environment in workers_of(backend)]
    [again], _ = [process.results() for process in both]
    assert 0 < len(again["losses"]) <= EPOCH  # it did not begin again
    assert again["weights"] == pytest.approx(two_processes[0]["weights"], rel=1e-5)


def test_names(caplog):
    assert choose("one").replicas == 1
    assert choose("mirrored").name == "one"
    assert "finds one device only" in caplog.text
    assert choose("auto").name == "one"  # there is no second device here
    with pytest.raises(InputError, match="no strategy named 'mirored'; did you mean 'mirrored'"):
        choose("mirored")
    for odd in (None, ["one"]):
        with pytest.raises(InputError, match=r"no strategy named .*\(allowed: auto, one, "):
            choose(odd)
    with pytest.raises(InputError, match="strategy='data_parallel' is not for Keras on tensorflow; there, choose one, mirrored"):
        choose("data_parallel")
    assert set(STRATEGIES) == {"auto", "one", "mirrored", "multi_worker", "tpu", "data_parallel"}


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match="strategy='multi_worker' needs TF_CONFIG, such as"):
        choose("multi_worker")
    monkeypatch.setenv("TF_CONFIG", "{")
    with pytest.raises(InputError, match=r"TF_CONFIG='\{' is not a JSON object of machines: Expecting property name"):
        choose("multi_worker")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 47}, "batch_size=47 cannot be divided among 2 devices"),
        ({"accumulate": 2}, "accumulate=2 is not possible on 2 devices with Keras on TensorFlow: it cannot accumulate there"),
        ({"steps_per_execution": 3}, "steps_per_execution=3 is not possible on 2 devices"),
    ],
    ids=str,
)
def test_what_several_devices_cannot_do_is_refused(fields, message, digits, tmp_path):
    devices = Distribution("mirrored", strategy=object(), replicas=2)
    recipe = dataclasses.replace(kr.RECIPES["digits"], batch_size=48)
    with pytest.raises(InputError, match=message):
        kr.fit("resnet8", dataclasses.replace(recipe, **fields), digits, tmp_path / "run", strategy=devices)
    assert not list(tmp_path.iterdir())
