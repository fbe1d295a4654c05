"""The program of the process that opens a model file: a native runtime can crash on a bad one.

`model_file` starts it and talks to it.
"""

import importlib
import io
import json
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet import startup
from keras_resnet.errors import not_installed
from keras_resnet.files.programs import Untrusted, check_trusted
from keras_resnet.files.runtimes import RUNTIMES, served_version
from keras_resnet.timing import seconds_of

WARM_UP = 3


def packed(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def unpacked(content: bytes) -> np.ndarray:
    return np.load(io.BytesIO(content), allow_pickle=False)


def memory(name: str) -> int:
    """Bytes of memory that this process has (VmRSS), or had at most (VmHWM)."""
    try:
        with open("/proc/self/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith(name))
    except (OSError, StopIteration):  # not Linux: the largest so far, in bytes on macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@dataclass
class Served:
    """The file that an order names. It is opened by `open`, and `run_or_time` comes after that."""

    order: dict[str, Any]
    runners: dict[str, Any] = field(default_factory=dict)
    runtime_memory: int = 0
    """Bytes of the process before the file was opened."""

    def open(self) -> np.ndarray:
        """Open the file. What is known of it, as JSON."""
        module, load = RUNTIMES[self.order["kind"]]
        runtime = importlib.import_module(module)
        self.runtime_memory = memory("VmRSS")
        path = Path(self.order["path"])
        if self.order["kind"] == "saved_model" and not self.order["is_trusted"]:
            check_trusted(served_version(path), self.order["is_listed"])
        file = load(runtime, path, self.order["threads"])
        self.runners = {"run": file.run, "make compiled": file.compiled}
        facts = {"shape": file.shape, "scores": file.scores, "layers": file.layers or {}, "compiles": file.compiled is not None}
        facts["accelerated"] = file.accelerated
        return np.array(json.dumps(facts))

    def run_or_time(self, images: np.ndarray, rounds: int | None, *, compiled: bool) -> np.ndarray:
        """The outputs for images or, with rounds, seconds."""
        if compiled and "compiled" not in self.runners:
            self.runners["compiled"] = self.runners["make compiled"]()
        run = self.runners["compiled" if compiled else "run"]
        return np.array(seconds_of(lambda: run(images), rounds, warm_up=WARM_UP)) if rounds else run(images)

    def most_memory(self) -> np.ndarray:
        """Bytes that the file has taken at most."""
        return np.array(max(0, memory("VmHWM") - self.runtime_memory))


def answer(connection: Connection, path: str, action: Callable[[], np.ndarray]) -> bool:
    """Send b"=" and an array, b"!" and what is wrong, b"?" and what is not installed, or b"~" and why the file is not trusted.
    Whether it is an array."""
    try:
        connection.send_bytes(b"=" + packed(np.asarray(action())))
    except ModuleNotFoundError as error:
        connection.send_bytes(b"?" + not_installed(error.name).encode())
        return False
    except Untrusted as error:
        connection.send_bytes(b"~" + str(error).encode())
        return False
    except Exception as error:
        why = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        why = why.removeprefix(f"{path!r} cannot be opened, it may be damaged: ")
        connection.send_bytes(b"!" + why.encode())
        return False
    return True


def serve(connection: Connection) -> None:
    """Open the file that the first message names, and answer each further one, see `answer`."""
    served = Served(json.loads(connection.recv_bytes()))
    path = served.order["path"]
    if not answer(connection, path, served.open):
        return
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except EOFError:  # the client is gone
            return
        if request["what"] == "memory":
            answer(connection, path, served.most_memory)
        else:
            images, compiled = unpacked(connection.recv_bytes()), request.get("compiled", False)
            answer(connection, path, partial(served.run_or_time, images, request.get("rounds"), compiled=compiled))


def main(descriptor: int) -> None:
    """The program of the process of one file, which answers through a pipe."""
    startup.prepare()
    serve(Connection(descriptor))
