"""The folder that a training leaves: what is in it, how it is opened, and how it appears whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from keras_resnet.errors import InputError
from keras_resnet.fields import from_json
from keras_resnet.recipes import Recipe
from keras_resnet.spec import ResNetSpec

CONTENTS = {
    "spec.json": "the network (ResNetSpec)",
    "recipe.json": "how it was trained (Recipe)",
    "data.json": "what it was trained on, as arguments of keras_resnet.data.load",
    "metrics.json": "accuracy, loss, cost and seed",
    "history.csv": "one row an epoch",
    "history.png": "loss and accuracy curves",
    "environment.json": "versions and hardware",
    "labels.txt": "class names, one a line, in the order of the outputs",
    "model.keras": "the network with the weights of the best epoch on the validation images",
    "last.weights.h5": "the weights after the last epoch",
}


@dataclass(frozen=True)
class Run:
    """A finished run in the folder `path`. `Run.open` checks that it is one."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """The run in that folder. InputError if the folder is missing or not a run."""
        path = Path(path)
        if not path.is_dir():
            raise InputError(f"no run folder at {str(path)!r}")
        missing = [name for name in CONTENTS if not (path / name).is_file()]
        if missing:
            raise InputError(f"{str(path)!r} is not a complete run: it has no {', '.join(missing)}")
        return cls(path)

    @cached_property
    def spec(self) -> ResNetSpec:
        """The network."""
        return from_json(ResNetSpec, self._text("spec.json"))

    @cached_property
    def recipe(self) -> Recipe:
        """How it was trained."""
        return from_json(Recipe, self._text("recipe.json"))

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What it reached and what it cost."""
        return self._json("metrics.json")

    @cached_property
    def data(self) -> dict[str, Any]:
        """Arguments of `keras_resnet.data.load`; `source` is None for a run trained on arrays."""
        return self._json("data.json")

    @cached_property
    def class_names(self) -> list[str]:
        """Class names in the order of the outputs."""
        return self._text("labels.txt").splitlines()

    @property
    def model_path(self) -> Path:
        """The trained network, a plain Keras file."""
        return self.path / "model.keras"

    @property
    def export_path(self) -> Path:
        """The folder of the run's exported files."""
        return self.path / "export"

    def _text(self, name: str) -> str:
        return (self.path / name).read_text(encoding="utf-8")

    def _json(self, name: str) -> dict[str, Any]:
        return json.loads(self._text(name))


def check_free(out: str | Path, overwrite: bool = False) -> Path:
    """`out` as a path where a run may be written. InputError if something is there that must not be replaced."""
    out = Path(out)
    if out.exists():
        if not overwrite:
            raise InputError(
                f"{str(out)!r} exists; choose another folder or pass --overwrite (overwrite=True) to replace the run in it"
            )
        Run.open(out)  # only a run may be replaced: never delete a folder of something else
    return out


@contextmanager
def writing(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its name, and the place of what was there, if the block ends without an error."""
    with scratch(out) as partial:
        yield partial
        put_in_place(partial, out)


@contextmanager
def scratch(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`, on the same disk, removed in the end; first what killed processes left there is."""
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    partial = _beside(target, "partial")
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def put_in_place(source: Path, target: Path) -> None:
    """Give a finished file or folder its name, in place of what has it. `target` is always the old one or the new one, whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    flush(source)
    replaced = _beside(target, "replaced")
    if target.is_dir():
        os.rename(target, replaced)
    os.replace(source, target)
    flush(target.parent, inside=False)
    shutil.rmtree(replaced, ignore_errors=True)


def sweep(target: Path) -> None:
    """Remove what killed processes left beside `target`; give it back where one died in the middle of replacing it."""
    for leftover in target.parent.glob(f".{target.name}.*-*"):
        kind, _, process = leftover.name.removeprefix(f".{target.name}.").partition("-")
        if kind not in ("partial", "replaced") or not process.isdigit() or _alive(int(process)):
            continue
        if kind == "replaced" and not target.exists():
            os.rename(leftover, target)
        elif leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def flush(path: Path, *, inside: bool = True) -> None:
    """Force a file, or a folder and all that is inside, to the disk."""
    for entry in [path, *path.rglob("*")] if inside and path.is_dir() else [path]:
        descriptor = os.open(entry, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write `content` under a temporary name and rename it, so that `path` is always whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path, "partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    put_in_place(partial, path)


def _beside(out: Path, kind: str) -> Path:
    return out.with_name(f".{out.name}.{kind}-{os.getpid()}")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
