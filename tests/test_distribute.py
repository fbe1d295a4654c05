"""Several devices and several processes train as one device does."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.training.distribute import STRATEGIES, Distribution, choose

SCRIPT = Path(__file__).with_name("train_on_devices.py")
STEPS = 10  # whose losses are compared: later, rounding has grown


def start(out, environment=None, **settings):
    command = [sys.executable, str(SCRIPT), str(out), json.dumps(settings)]
    here = {name: value for name, value in os.environ.items() if name not in ("TF_CONFIG", "KERAS_BACKEND")}
    here |= {"PYTHONPATH": str(Path(kr.__file__).parents[1]), **(environment or {})}
    return subprocess.Popen(command, env=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-2000:]
    return json.loads(output.splitlines()[-1])


def trained(out, environment=None, **settings):
    return result(start(out, environment, **settings))


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
def alone(request, tmp_path_factory):
    if request.param == "jax":
        pytest.importorskip("jax", reason="JAX is not installed")
    out = tmp_path_factory.mktemp("alone") / "run"
    return request.param, trained(out, {"KERAS_BACKEND": request.param}, strategy="one")


@pytest.mark.timeout(600)
def test_two_devices_train_as_one(alone, tmp_path):
    backend, expected = alone
    strategy = {"tensorflow": "mirrored", "jax": "data_parallel"}[backend]
    found = trained(tmp_path / "run", {"KERAS_BACKEND": backend}, devices=2, strategy=strategy)
    assert found["replicas"] == 2
    np.testing.assert_allclose(found["losses"][:STEPS], expected["losses"][:STEPS], rtol=2e-5)
    assert len(found["losses"]) == len(expected["losses"]) == 2 * 27
    assert found["test"]["loss"] == pytest.approx(expected["test"]["loss"], rel=0.2)


@pytest.mark.timeout(600)
def test_two_processes_train_as_one(alone, tmp_path):
    backend, expected = alone
    processes = [start(tmp_path / "run", environment) for environment in workers_of(backend)]
    chief, other = [result(process) for process in processes]
    assert chief["workers"] == chief["replicas"] == 2
    assert chief["weights"] == other["weights"]
    assert chief["history"] == other["history"]  # there is one run, and the chief wrote it
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    np.testing.assert_allclose(chief["losses"][:STEPS], expected["losses"][:STEPS], rtol=2e-5)
    assert chief["losses"] == other["losses"]  # the mean over both, not that of a process


@pytest.mark.timeout(600)
def test_without_synchronisation_each_device_normalises_for_itself(tmp_path):
    together, apart = [
        trained(tmp_path / str(sync), devices=2, strategy="mirrored", recipe={"sync_norm": sync, "epochs": 1})
        for sync in (True, False)
    ]
    assert abs(together["losses"][0] / apart["losses"][0] - 1) > 1e-4


@pytest.mark.timeout(600)
def test_a_worker_that_dies_ends_the_job_and_a_restart_goes_on(tmp_path):
    whole = [start(tmp_path / "whole", environment) for environment in workers_of("tensorflow")]
    expected, _ = [result(process) for process in whole]
    fields = {"fit": {"checkpoint_every": 5, "resume": True}}
    processes = [start(tmp_path / "run", environment, **fields) for environment in workers_of("tensorflow")]
    for line in processes[1].stderr:
        if line.split() == ["step", "33"]:
            processes[1].send_signal(signal.SIGKILL)
            break
    _, errors = processes[0].communicate(timeout=200)
    assert processes[0].returncode not in (0, None)
    assert "a worker of the group was lost" in errors
    assert not (tmp_path / "run").exists()
    processes = [start(tmp_path / "run", environment, **fields) for environment in workers_of("tensorflow")]
    found, _ = [result(process) for process in processes]
    assert 0 < len(found["losses"]) <= 54 - 27  # it did not begin again
    assert found["weights"] == pytest.approx(expected["weights"], rel=1e-5)


def test_names(caplog):
    assert choose("one").replicas == 1
    assert choose("mirrored").name == "one"
    assert "finds one device here" in caplog.text
    assert choose("auto").name == "one"  # there is no second device here
    with pytest.raises(InputError, match="no strategy named 'mirored'; did you mean 'mirrored'"):
        choose("mirored")
    with pytest.raises(InputError, match="strategy='data_parallel' is not for Keras on tensorflow; there, choose one, mirrored"):
        choose("data_parallel")
    assert set(STRATEGIES) == {"auto", "one", "mirrored", "multi_worker", "tpu", "data_parallel"}


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match="strategy='multi_worker' needs TF_CONFIG, such as"):
        choose("multi_worker")
    monkeypatch.setenv("TF_CONFIG", "{")
    with pytest.raises(InputError, match=r"TF_CONFIG='\{' is not a JSON object"):
        choose("multi_worker")


@pytest.mark.timeout(300)
def test_jax_without_accelerators_trains_on_one_device(tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    found = trained(tmp_path / "run", {"KERAS_BACKEND": "jax"}, devices=2, strategy="auto", recipe={"epochs": 1})
    assert found["replicas"] == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 47}, "batch_size=47 cannot be divided among 2 devices"),
        ({"accumulate": 2}, "accumulate=2 is not possible on 2 devices with Keras on TensorFlow: it cannot accumulate there"),
        ({"clip_norm": 1.0}, "clip_norm=1.0 is not possible on 2 devices"),
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
