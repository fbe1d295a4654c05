"""`ModelFile`: a model file that runs in a process of its own, so that a bad file cannot crash this one."""

import hashlib
import json
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
from keras_resnet.files.runtimes import kind_of, packed, unpacked
from keras_resnet.json_files import checked, read_json
from keras_resnet.outside import parse

MANIFEST = "manifest.json"


class Entry(TypedDict, total=False):
    """A file in `manifest.json`."""

    sha256: dict[str, str]


class Manifest(TypedDict, total=False):
    """`manifest.json`, as far as it is read here; that of something else has no `files`."""

    files: dict[str, Entry]


class Facts(TypedDict):
    """What the process of a file says of it."""

    shape: list[int | None]
    scores: str


START = "import sys; sys.path.append(sys.argv[2]); from keras_resnet.files.runtimes import main; main(int(sys.argv[1]))"


class ModelFile:
    """A SavedModel folder, or a `.tflite`, `.onnx` or `.keras` file, opened in its own runtime and in a process of its own.

    Call it with raw pixels (batch, *image_shape), channels last: it returns outputs (batch, classes), or for a file that gives the
    best classes (batch, k, 2), score and number of each. InputError, which names the file, if it does not exist, if it differs
    from the manifest beside it, if its runtime refuses it or crashes, and if it does not take these images.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise InputError(f"no model at {str(path)!r}")
        kind = kind_of(self.path)
        if kind is None:
            raise InputError(f"{str(path)!r} is not a SavedModel folder, .tflite, .onnx or .keras file")
        verify(self.path)
        self.connection, other_end = Pipe()
        command = [sys.executable, "-P", "-c", START, str(other_end.fileno()), str(Path(__file__).parents[2])]
        silent = subprocess.DEVNULL
        self.process = subprocess.Popen(command, pass_fds=[other_end.fileno()], stdin=silent, stdout=silent, stderr=silent)
        other_end.close()
        self.close = weakref.finalize(self, end, self.process, self.connection)
        order = {"path": str(self.path.absolute()), "kind": kind, "threads": threads or os.cpu_count()}
        answer = self._ask("cannot be opened, it may be damaged", order)
        facts: Facts = checked(parse(str(answer)), Facts, repr(str(path)))
        self.image_shape: tuple[int | None, ...] = tuple(facts["shape"])
        """Of the pixels that it takes, channels last; None for a side of any length."""
        self.scores: str = facts["scores"]
        """What it puts out: "logits", "probabilities", or "scores" of the best classes; empty where the file does not say."""

    def __enter__(self) -> "ModelFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        outputs = self._ask(f"cannot take images of shape {images.shape}", {"what": "outputs"}, images)
        if len(outputs) != len(images) or outputs.ndim not in (2, 3) or (outputs.ndim == 3 and outputs.shape[2] != 2):
            raise InputError(f"{str(self.path)!r} is not a classifier: it gives {outputs.shape} for images of shape {images.shape}")
        return outputs

    def seconds(self, images: np.ndarray, rounds: int) -> np.ndarray:
        """Seconds of each of so many runs, after a few that do not count: (rounds,)."""
        return self._ask(f"cannot take images of shape {images.shape}", {"what": "seconds", "rounds": rounds}, images)

    def peak_memory(self) -> int:
        """The most bytes of memory that opening and running the file has taken so far, its runtime's own not counted."""
        return int(self._ask("does not answer", {"what": "memory"}))

    def _ask(self, problem: str, order: dict[str, Any], images: np.ndarray | None = None) -> np.ndarray:
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
            answer = self.connection.recv_bytes()
        except (EOFError, ConnectionError):
            raise InputError(f"{str(self.path)!r} {problem}: {exit_reason(self.process)}") from None
        except BaseException:  # an answer that comes later would be taken for that to the next question
            self.close()
            raise
        if answer[:1] == b"?":
            raise InputError(f"{str(self.path)!r} cannot be opened here: {answer[1:].decode()}")
        if answer[:1] == b"!":
            raise InputError(f"{str(self.path)!r} {problem}: {answer[1:].decode()}")
        return unpacked(answer[1:])


def end(process: subprocess.Popen, connection: Any) -> None:
    connection.close()
    process.kill()
    process.wait()


def exit_reason(process: subprocess.Popen) -> str:
    code = process.wait()
    return f"its runtime crashed ({signal.Signals(-code).name})" if code < 0 else f"its runtime ended with exit code {code}"


def digests(path: Path) -> dict[str, str]:
    """SHA-256 of a file, or of every file in a folder, by name from the folder that `path` is in."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path.parent).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def verify(path: Path) -> None:
    """InputError if a manifest beside `path` lists it with another content than it has. What no manifest lists is not checked."""
    for place in {path.absolute(), path.resolve()}:
        entry = place.parent if place.name.isdecimal() else place
        manifest = entry.parent / MANIFEST
        try:
            content = read_json(manifest, Manifest)
            if "files" not in content:  # that of something else
                continue
            digests_listed = {name: digest for row in content["files"].values() for name, digest in row["sha256"].items()}
        except FileNotFoundError:
            continue
        except InputError as error:
            raise InputError(f"{error}; export again, or remove it") from None
        expected = {name: digest for name, digest in digests_listed.items() if name.split("/")[0] == entry.name}
        actual = digests(entry) if expected else {}
        if wrong := [name for name in sorted(expected | actual) if expected.get(name) != actual.get(name)]:
            raise InputError(f"{str(entry)!r} is not what {MANIFEST} lists: {wrong[0]} has changed since the export, or is damaged")
