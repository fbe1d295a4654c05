"""Where a training runs: one device, all devices of a machine, or several machines. Other modules leave that to this one.

Keras on TensorFlow takes a `tf.distribute.Strategy`, Keras on JAX a `keras.distribution`. Either way the training is the same: each
batch is divided among the devices.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypedDict

import keras
import numpy as np

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.errors import InputError, WorkerLost, shown, unknown
from keras_resnet.hooks import build_symbolically, replace
from keras_resnet.json_files import checked
from keras_resnet.outside import parse
from keras_resnet.training.strategies import STRATEGIES

LOG = logging.getLogger("keras_resnet")


@dataclass(frozen=True)
class Distribution:
    """A training's devices. `strategy` is what the backend calls it, None for one device."""

    name: str = "one"
    strategy: Any = None
    replicas: int = 1
    workers: int = 1
    worker: int = 0

    @property
    def chief(self) -> bool:
        """Whether this process writes files."""
        return self.worker == 0

    def scope(self) -> AbstractContextManager[Any]:
        """Where the model is built and compiled."""
        if self.name == "data_parallel":
            return _distribution(self.strategy)
        return self.strategy.scope() if self.strategy else nullcontext()

    def fitting(self) -> AbstractContextManager[Any]:
        """Where `fit` runs. On TensorFlow it enters the scope of its model itself, and other models must stay out of it."""
        if self.name == "data_parallel":
            return _distribution(self.strategy)
        return _worker_lost_on_error() if self.workers > 1 else nullcontext()

    def alone(self) -> AbstractContextManager[Any]:
        """Where a model of this process alone is built and used, also during `fit`."""
        return _distribution(None) if self.name == "data_parallel" else nullcontext()

    def prepare(self, model: keras.Model, images: np.ndarray, labels: np.ndarray) -> None:
        """Build what Keras would build from the first batch of `fit`: it cannot, where that batch is on several machines."""
        if self.strategy is None or self.name == "data_parallel":
            return
        with self.scope():
            build_symbolically(model, images, labels)
        replace(model, "_maybe_symbolic_build", lambda *_, **__: None)

    def batches(self, make: Any) -> Any:
        """The training batches for `fit`; `make(part=, parts=)` gives those of one of so many machines."""
        if self.workers == 1:
            return make(part=0, parts=1)
        if self.name == "data_parallel":
            return make(part=self.worker, parts=self.workers)
        local = self.replicas // self.workers

        def batches_of_machine(context: Any) -> Any:
            batches = make(part=context.input_pipeline_id, parts=context.num_input_pipelines)

            def split(tensor: Any) -> Any:
                shape = tf.concat([[local, -1], tf.shape(tensor)[1:]], 0)
                return tf.ensure_shape(tf.reshape(tensor, shape), [local, tensor.shape[0] // local, *tensor.shape[1:]])

            return batches.map(lambda *batch: tf.nest.map_structure(split, batch)).unbatch() if local > 1 else batches

        return self.strategy.distribute_datasets_from_function(batches_of_machine)

    def wait(self) -> None:
        """Wait until every machine calls this."""
        self.mean({"": 0.0})

    def mean(self, logs: dict[str, float]) -> dict[str, float]:
        """Numbers of each machine as the mean of all. Every machine must call this."""
        if self.workers == 1:
            return logs
        names = sorted(logs)
        values = np.array([float(logs[name]) for name in names], "float32")
        if self.name == "data_parallel":
            from jax.experimental.multihost_utils import process_allgather

            means = np.asarray(process_allgather(values)).reshape(self.workers, -1).mean(axis=0)
        else:
            gathered = self.strategy.run(tf.function(lambda: tf.constant(values)))
            means = self.strategy.reduce("MEAN", gathered, axis=None).numpy()
        return dict(zip(names, map(float, means), strict=True))


def choose(name: str = "auto") -> Distribution:
    """The distribution of that name in `STRATEGIES`. InputError if the backend or the machine does not have it.

    Call it before anything else of TensorFlow: a group of machines must be formed first.
    """
    if name not in list(STRATEGIES):
        raise unknown("strategy", name, STRATEGIES)
    backend = keras.backend.backend()
    if name == "auto":
        name = _automatic(backend)
    if name == "one":
        return Distribution()
    if backend != {"data_parallel": "jax"}.get(name, "tensorflow"):
        raise InputError(f"strategy={name!r} is not for Keras on {backend}; there, choose {_strategies_of(backend)}")
    return {"mirrored": _mirrored, "multi_worker": _multi_worker, "tpu": _tpu, "data_parallel": _data_parallel}[name]()


def _automatic(backend: str) -> str:
    if backend == "tensorflow":
        if len(_cluster().get("worker", ())) + len(_cluster().get("chief", ())) > 1:
            return "multi_worker"
        if os.environ.get("TPU_NAME"):
            return "tpu"
        return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one"
    if backend == "jax":
        if os.environ.get("KERAS_DISTRIBUTION_JOB_ADDRESSES"):  # before JAX is asked for anything
            return "data_parallel"
        if len([device for device in keras.distribution.list_devices() if not device.startswith("cpu")]) > 1:
            return "data_parallel"
    return "one"


def _strategies_of(backend: str) -> str:
    return {"tensorflow": "one, mirrored, multi_worker, tpu", "jax": "one, data_parallel"}.get(backend, "one")


def _mirrored() -> Distribution:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return _alone("mirrored")
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    return Distribution("mirrored", strategy, strategy.num_replicas_in_sync)


def _multi_worker() -> Distribution:
    if not _cluster():
        example = '{"cluster": {"worker": ["host0:2222", ...]}, "task": ...}'
        raise InputError(f"strategy='multi_worker' needs TF_CONFIG, such as {example}")
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    reduce = strategy.reduce

    def reduce_scalars_too(reduce_op: Any, value: Any, axis: int | None = None) -> Any:
        """Keras 3.15 asks for the mean of loss and metrics along an axis that they do not have."""
        scalar = strategy.experimental_local_results(value)[0].shape.rank == 0
        return reduce(reduce_op, value, axis=None if scalar else axis)

    replace(strategy, "reduce", reduce_scalars_too)
    resolver = strategy.cluster_resolver
    workers = [(kind, number) for kind in ("chief", "worker") for number in range(len(_cluster().get(kind, ())))]
    if (task := (resolver.task_type, resolver.task_id)) not in workers:
        raise InputError(f"TF_CONFIG makes this process {task[0]} {task[1]}: allowed are the chief and the workers of the cluster")
    return Distribution("multi_worker", strategy, strategy.num_replicas_in_sync, len(workers), workers.index(task))


def _alone(name: str) -> Distribution:
    LOG.warning(f"strategy={name!r} finds one device only: training on that one")
    return Distribution()


def _tpu() -> Distribution:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(os.environ.get("TPU_NAME", "local"))
    except Exception as error:  # whatever says that there is no TPU
        why = str(error).split(" [")[0].splitlines()
        raise InputError(f"no TPU was found: {why[0] if why else type(error).__name__}") from None
    strategy = tf.distribute.TPUStrategy(resolver)
    return Distribution("tpu", strategy, strategy.num_replicas_in_sync)


def _data_parallel() -> Distribution:
    if os.environ.get("KERAS_DISTRIBUTION_JOB_ADDRESSES"):
        keras.distribution.initialize()
    import jax

    devices = keras.distribution.list_devices()
    if len(devices) == 1:
        return _alone("data_parallel")
    parallel = keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    return Distribution("data_parallel", parallel, len(devices), jax.process_count(), jax.process_index())


@contextmanager
def _worker_lost_on_error() -> Iterator[None]:
    """Any error of TensorFlow is taken for the loss of another machine: what fails here alone fails there a moment later."""
    try:
        yield
    except tf.errors.OpError as error:
        why = next(iter(error.message.splitlines()), type(error).__name__)
        raise WorkerLost(
            f"a worker of the group was lost ({type(error).__name__}: {why[:200]}); "
            "start all of them again, with resume=True (--resume)"
        ) from error


class Machines(TypedDict, total=False):
    """TF_CONFIG, as far as it is read here."""

    cluster: dict[str, list[str]]


def _cluster() -> dict[str, list[str]]:
    """The machines that TF_CONFIG names."""
    try:
        return checked(parse(os.environ.get("TF_CONFIG") or "{}"), Machines, "TF_CONFIG").get("cluster", {})
    except ValueError as error:
        raise InputError(f"TF_CONFIG={shown(os.environ['TF_CONFIG'])} is not a JSON object of machines: {error}") from None


@contextmanager
def _distribution(distribution: Any) -> Iterator[None]:
    """Keras's global distribution, for a while."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(distribution)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)
