"""The program of the process that opens a model file: a native runtime can crash on a bad one.

`model_file` starts it and talks to it.
"""

import importlib
import io
import json
import resource
from collections.abc import Callable
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


def serve(connection: Connection) -> None:
    """Open the file that the first message names, and answer each further one: b"=" and an array, b"!" and what is wrong, b"?" and
    what is not installed, or b"~" and why the file is not trusted."""
    order = json.loads(connection.recv_bytes())
    module, load = RUNTIMES[order["kind"]]

    def answer(action: Callable[[], np.ndarray]) -> bool:
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
            why = why.removeprefix(f"{order['path']!r} cannot be opened, it may be damaged: ")
            connection.send_bytes(b"!" + why.encode())
            return False
        return True

    runners: dict[str, Any] = {}
    runtime_memory = 0

    def open_file() -> np.ndarray:
        nonlocal runtime_memory
        runtime = importlib.import_module(module)
        runtime_memory = memory("VmRSS")
        path = Path(order["path"])
        if order["kind"] == "saved_model" and not order["is_trusted"]:
            check_trusted(served_version(path), order["is_listed"])
        file = load(runtime, path, order["threads"])
        runners["run"], runners["make compiled"] = file.run, file.compiled
        facts = {"shape": file.shape, "scores": file.scores, "layers": file.layers or {}, "compiles": file.compiled is not None}
        facts["accelerated"] = file.accelerated
        return np.array(json.dumps(facts))

    def run_or_time(images: np.ndarray, rounds: int | None, *, compiled: bool) -> np.ndarray:
        if compiled and "compiled" not in runners:
            runners["compiled"] = runners["make compiled"]()
        run = runners["compiled" if compiled else "run"]
        return np.array(seconds_of(lambda: run(images), rounds, warm_up=WARM_UP)) if rounds else run(images)

    if not answer(open_file):
        return
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except EOFError:  # the client is gone
            return
        if request["what"] == "memory":
            answer(lambda: np.array(max(0, memory("VmHWM") - runtime_memory)))
        else:
            images = unpacked(connection.recv_bytes())
            answer(partial(run_or_time, images, request.get("rounds"), compiled=request.get("compiled", False)))


def main(descriptor: int) -> None:
    """The program of the process of one file, which answers through a pipe."""
    startup.prepare()
    serve(Connection(descriptor))
