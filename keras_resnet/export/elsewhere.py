"""Exports where Keras's backend is not TensorFlow: a process of TensorFlow makes them, and asks this one for the images.

Keras itself (3.15.1, `model.export`) writes ONNX from JAX and PyTorch, and TFLite from PyTorch: by a converter for each of them
(jax2onnx, `torch.onnx`, litert-torch, which fixes the batch to 1). None writes TFLite from JAX, nor the signatures, integers and
choices of `Target`. One process of TensorFlow for all of them gives the files and the checks that TensorFlow gives.

This module is also the program of that process.
"""

import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import partial, wraps
from importlib.util import find_spec
from inspect import signature
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from threading import Lock
from typing import Any, ParamSpec, TypeVar

import keras
import numpy as np

from keras_resnet.atomic import empty_folders, remove_empty, sweep
from keras_resnet.data import Dataset, Split
from keras_resnet.errors import InputError
from keras_resnet.export.supported import opened
from keras_resnet.networks.loading import load
from keras_resnet.runs.run import Run

LOG = logging.getLogger("keras_resnet")
TENSORFLOW = "tensorflow"
START = (
    "import sys; sys.path.append(sys.argv[2]); from keras_resnet import startup; startup.prepare(); "
    "from keras_resnet.export.elsewhere import main; main(int(sys.argv[1]))"
)
PASSED_ON = (InputError, OSError, MemoryError, ModuleNotFoundError)  # errors that the program has one line for
IMAGES, RETURNED, RAISED = "images", "returned", "raised"  # messages of the process, beside the names of callbacks
Given = ParamSpec("Given")
Result = TypeVar("Result")


def in_tensorflow(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Let a function of `source`, `data`, `out` and others run in a process of TensorFlow where the backend is another one."""

    @wraps(function)
    def call(*arguments: Given.args, **options: Given.kwargs) -> Result:
        if (backend := keras.backend.backend()) == TENSORFLOW:
            return function(*arguments, **options)
        given = signature(function).bind(*arguments, **options).arguments
        return elsewhere(call, backend, {**given.pop("fields", {}), **given})

    return call


def elsewhere(function: Callable, backend: str, options: dict[str, Any]) -> Any:
    """What a function of this package gives, run in a process of TensorFlow; its callbacks are called in this one."""
    source, data, out = options.pop("source"), options.pop("data", None), options.pop("out", None)
    subject, images, folder = opened(source, data, out)
    if find_spec(TENSORFLOW) is None:
        raise ModuleNotFoundError(f"No module named {TENSORFLOW!r}", name=TENSORFLOW)
    LOG.warning(f"exporting in a process of TensorFlow, since the backend is {backend}")
    callbacks = {option: value for option, value in options.items() if callable(value)}
    order: dict[str, Any] = {
        "function": function,
        "callbacks": [*callbacks],
        "options": {option: value for option, value in options.items() if option not in callbacks} | {"out": out},
        "labels": {split: images.splits[split].labels for split in images.splits},
        "set": {field: getattr(images, field) for field in ("class_names", "image_shape", "dtype", "batch_size", "origin")},
    }
    made = empty_folders(folder)
    with TemporaryDirectory() as place:
        order["source"] = subject.path if isinstance(subject, Run) else Path(place, "model.keras")
        if isinstance(subject, keras.Model):
            subject.save(order["source"])
        try:
            return run_process(order, images, callbacks)
        finally:  # nothing of a process that was ended stays
            sweep(folder)
            remove_empty(made)


def run_process(order: dict[str, Any], images: Dataset, callbacks: dict[str, Callable]) -> Any:
    """The answer of a process of TensorFlow to an order. It has ended then, whatever happens."""
    here, there = Pipe()
    # The memory of a GPU is this process's, and files are run on processors.
    environment = os.environ | {"KERAS_BACKEND": TENSORFLOW, "CUDA_VISIBLE_DEVICES": "-1"}
    with TemporaryFile() as printed, here:
        # -P: or a file h5py.py in the current folder would be taken for the library
        command = [sys.executable, "-P", "-c", START, str(there.fileno()), str(Path(__file__).parents[2])]
        silent, files = subprocess.DEVNULL, [there.fileno()]
        process = subprocess.Popen(command, pass_fds=files, env=environment, stdin=silent, stdout=printed, stderr=printed)
        there.close()
        try:
            here.send(order)
            return answer(here, images, callbacks)
        except (EOFError, ConnectionError):
            code = process.wait()
            printed.seek(0)
            lines = printed.read().decode(errors="replace").split("\n")
            why = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
            raise InputError(f"the process of TensorFlow ended with exit code {code}: {why}") from None
        finally:
            process.kill()
            process.wait()


def answer(connection: Connection, images: Dataset, callbacks: dict[str, Callable]) -> Any:
    """Give a process the images that it asks for, and call what it calls, until it returns or raises something."""
    while True:
        kind, content = connection.recv()
        if kind == RETURNED:
            return content
        if kind == RAISED:
            raise content
        if kind == IMAGES:
            split, indices = content
            connection.send(images.splits[split].take(indices))
        else:
            callbacks[kind](*content)


def main(descriptor: int) -> None:
    """The program of the process."""
    connection = Connection(descriptor)
    order, lock = connection.recv(), Lock()

    def ask(split: str, indices: np.ndarray) -> np.ndarray:
        with lock:  # TensorFlow asks in threads
            connection.send((IMAGES, (split, indices)))
            return np.asarray(connection.recv())

    def tell(kind: str, *content: Any) -> None:
        with lock:
            connection.send((kind, content))

    try:
        splits = {name: Split(partial(ask, name), labels) for name, labels in order["labels"].items()}
        images, callbacks = Dataset(splits=splits, **order["set"]), {name: partial(tell, name) for name in order["callbacks"]}
        source = load_again(order["source"]) if order["source"].suffix == ".keras" else order["source"]
        result = order["function"](source, data=images, **order["options"], **callbacks)
    except Exception as error:
        connection.send((RAISED, passed_on(error)))
    else:
        connection.send((RETURNED, result))


def load_again(path: Path) -> keras.Model:
    """The model of the other process. InputError where TensorFlow cannot have it."""
    try:
        return load(path, compile=False)
    except InputError as error:
        why = str(error).removeprefix(f"{str(path)!r} cannot be opened, it may be damaged: ")
        raise InputError(f"the model cannot be opened by a process of TensorFlow: {why}; set KERAS_BACKEND=tensorflow") from None


def passed_on(error: Exception) -> Exception:
    """An error that another process can raise, with its lines as a note: one of this process may be of a type unknown there."""
    if not isinstance(error, PASSED_ON):
        error = RuntimeError(f"{type(error).__name__}: {error}").with_traceback(error.__traceback__)
    error.add_note("".join(traceback.format_exception(error)))
    return error
