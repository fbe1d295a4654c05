"""`ModelFile`: a model file that runs in a process of its own, so that a bad file cannot crash or hang this one.

That is no sandbox: a SavedModel is a program, which has the rights of whoever opens it.
"""

import json
import math
import os
import signal
import subprocess
import sys
import weakref
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.files.manifest import verify
from keras_resnet.files.process import WARM_UP, packed, unpacked
from keras_resnet.files.runtimes import kind_of
from keras_resnet.json_files import checked
from keras_resnet.outside import check_regular, parse

LIMIT, LONGEST = 120.0, 1e6  # seconds; the system takes no more
EACH_IMAGE = 0.1  # of the limit, that a file has more for every image
MEGABYTE = 1e6  # that gives it a second more to open
ENDING = 10.0  # seconds that a process may take to end, once it has closed the connection
NUMBERS = "fiub"  # kinds of NumPy types
BY_COMPILED = " by CompiledModel"
PROBLEMS = {b"?": "cannot be opened here", b"~": "is not opened"}  # by the first byte of an answer


class Facts(TypedDict):
    """What the process of a file says of it."""

    shape: list[int | None]
    scores: str
    layers: dict[str, int]
    compiles: bool
    accelerated: int | None


START = "import sys; sys.path.append(sys.argv[2]); from keras_resnet.files.process import main; main(int(sys.argv[1]))"


class ModelFile:
    """A SavedModel folder, or a `.tflite`, `.onnx` or `.keras` file, opened in its own runtime and in a process of its own.

    Call it with raw pixels (batch, *image_shape), channels last: it returns outputs (batch, classes), or for a file that gives the
    best classes (batch, k, 2), score and number of each. InputError, which names the file, if it does not exist, if it differs
    from the manifest beside it, if its runtime refuses it or crashes, if it takes too long, and if it does not take these images.

    Args:
        path: of the file.
        threads: that it may use; None for all.
        trust: also open a SavedModel that no manifest of an export lists, or that can do more than compute, such as write files.
        limit: seconds to open the file, and one more for each megabyte of it; then to answer, and a tenth more for each image.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None, trust: bool = False, limit: float = LIMIT) -> None:
        self.path, self.limit = Path(path), limit
        if not 0 <= limit < math.inf:
            raise InputError(f"limit={limit}: expected a number of seconds")
        if not self.path.exists():
            raise InputError(f"no model at {str(path)!r}")
        check_regular(self.path)
        kind = kind_of(self.path)
        if kind is None:
            raise InputError(f"{str(path)!r} is not a SavedModel folder, .tflite, .onnx or .keras file")
        is_listed = verify(self.path)
        self.connection, other_end = Pipe()
        command = [sys.executable, "-P", "-c", START, str(other_end.fileno()), str(Path(__file__).parents[2])]
        silent = subprocess.DEVNULL
        self.process = subprocess.Popen(command, pass_fds=[other_end.fileno()], stdin=silent, stdout=silent, stderr=silent)
        other_end.close()
        self.close = weakref.finalize(self, end, self.process, self.connection)
        order = {"path": str(self.path.absolute()), "kind": kind, "threads": threads or os.cpu_count()}
        order |= {"is_trusted": trust, "is_listed": is_listed}
        answer = self._ask("cannot be opened, it may be damaged", order, seconds=limit + size(self.path) / MEGABYTE)
        facts: Facts = checked(parse(str(answer)), Facts, repr(str(path)))
        self.image_shape: tuple[int | None, ...] = tuple(facts["shape"])
        """Of the pixels that it takes, channels last; None for a side of any length."""
        self.scores: str = facts["scores"]
        """What it puts out: "logits", "probabilities", or "scores" of the best classes; empty where the file does not say."""
        self.layers: dict[str, int] = facts["layers"]
        """Of a Keras file: the number of weights in each layer that has any."""
        self.compiles: bool = facts["compiles"]
        """Whether a second runtime can run it: LiteRT's CompiledModel, beside its Interpreter."""
        self.accelerated: int | None = facts["accelerated"]
        """Of a TFLite file: how many of its operations the Interpreter leaves to XNNPACK."""

    def __enter__(self) -> "ModelFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, images: np.ndarray, *, compiled: bool = False) -> np.ndarray:
        """The outputs; `compiled` asks LiteRT's CompiledModel for them, see `compiles`."""
        problem, seconds = f"cannot take images of shape {images.shape}{BY_COMPILED * compiled}", self._seconds(len(images))
        outputs = self._ask(problem, {"what": "outputs", "compiled": compiled}, images, seconds=seconds)
        is_of_best = outputs.ndim == 3 and outputs.shape[2] == 2
        if outputs.shape[:1] != (len(images),) or not (outputs.ndim == 2 or is_of_best) or 0 in outputs.shape[1:]:
            raise InputError(f"{str(self.path)!r} is not a classifier: it gives {outputs.shape} for images of shape {images.shape}")
        if outputs.dtype.kind not in NUMBERS:
            raise InputError(f"{str(self.path)!r} is not a classifier: it gives {outputs.dtype}, not numbers")
        return outputs

    def seconds(self, images: np.ndarray, rounds: int, *, compiled: bool = False) -> np.ndarray:
        """Seconds of each of so many runs, after a few that do not count: (rounds,)."""
        seconds = self._seconds(len(images) * (rounds + WARM_UP))
        order = {"what": "seconds", "rounds": rounds, "compiled": compiled}
        return self._ask(f"cannot take images of shape {images.shape}{BY_COMPILED * compiled}", order, images, seconds=seconds)

    def peak_memory(self) -> int:
        """The most bytes of memory that opening and running the file has taken so far, its runtime's own not counted."""
        return int(self._ask("does not answer", {"what": "memory"}, seconds=self.limit))

    def _seconds(self, images: int) -> float:
        """How long an answer for so many images may take."""
        return self.limit * (1 + EACH_IMAGE * images)

    def _ask(self, problem: str, order: dict[str, Any], images: np.ndarray | None = None, *, seconds: float) -> np.ndarray:
        if self.connection.closed:
            raise InputError(f"{str(self.path)!r} {problem}: it was closed")
        try:
            content = None if images is None else packed(images)
        except ValueError as error:
            raise InputError(f"{str(self.path)!r} {problem}: {error}") from None
        try:
            self.connection.send_bytes(json.dumps(order).encode())
            if content is not None:
                self.connection.send_bytes(content)
            if not self.connection.poll(min(seconds, LONGEST)):
                raise InputError(
                    f"{str(self.path)!r} {problem}: no answer within {seconds:.0f} s; allow more with limit= (--limit)"
                )
            answer = self.connection.recv_bytes()
        except (EOFError, ConnectionError):
            raise InputError(f"{str(self.path)!r} {problem}: {exit_reason(self.process)}") from None
        except BaseException:  # an answer that comes later would be taken for that to the next question
            self.close()
            raise
        kind, content = answer[:1], answer[1:]
        if kind in PROBLEMS or kind == b"!":
            raise InputError(f"{str(self.path)!r} {PROBLEMS.get(kind, problem)}: {content.decode()}")
        return unpacked(content)


def end(process: subprocess.Popen, connection: Any) -> None:
    connection.close()
    process.kill()
    process.wait()


def exit_reason(process: subprocess.Popen) -> str:
    try:
        code = process.wait(ENDING)
    except subprocess.TimeoutExpired:
        process.kill()
        return "its process closed the connection"
    return f"its runtime crashed ({signal.Signals(-code).name})" if code < 0 else f"its runtime ended with exit code {code}"


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
