"""The folder that a training leaves: what is in it, how it is opened, and how it appears whole or not at all."""

import errno
import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

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
REPLACED = "replaced-"  # before the name of what was moved aside into a scratch folder


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
        return self._parsed("spec.json", partial(from_json, ResNetSpec))

    @cached_property
    def recipe(self) -> Recipe:
        """How it was trained."""
        return self._parsed("recipe.json", partial(from_json, Recipe))

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What it reached and what it cost."""
        return self._parsed("metrics.json", json.loads)

    @cached_property
    def data(self) -> dict[str, Any]:
        """Arguments of `keras_resnet.data.load`; `source` is None for a run trained on arrays."""
        return self._parsed("data.json", json.loads)

    @cached_property
    def class_names(self) -> list[str]:
        """Class names in the order of the outputs."""
        return self._text("labels.txt").removesuffix("\n").split("\n")

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

    def _parsed(self, name: str, parse: Callable[[str], Any]) -> Any:
        try:
            return parse(self._text(name))
        except (TypeError, ValueError) as error:
            raise InputError(f"{str(self.path / name)!r} is damaged: {error}") from None


def check_free(out: str | Path, overwrite: bool = False) -> Path:
    """`out` as a path where a run can and may be written. InputError if it cannot, or if something is there that must stay."""
    out = Path(out)
    ancestor = next(path for path in out.absolute().parents if path.exists())
    if not ancestor.is_dir() or not os.access(ancestor, os.W_OK | os.X_OK):
        raise InputError(f"{str(out)!r} cannot be written: {str(ancestor)!r} is not a folder that one may write in")
    sweep(out)
    if out.exists() or out.is_symlink():
        if not overwrite:
            raise InputError(
                f"{str(out)!r} exists; choose another folder or pass --overwrite (overwrite=True) to replace the run in it"
            )
        Run.open(out)  # only a run may be replaced: never delete a folder of something else
    return out


def write_whole(out: Path, fill: Callable[[Path], None], *, overwrite: bool = False) -> Path:
    """Let `fill` write into a temporary folder, then give it the name `out`, all at once. Returns where it is.

    What is at `out` by then stays, unless it is a run and `overwrite` is true: the new folder is called `out`-2, or -3, instead.
    """
    with scratch(out) as folder:
        new = folder / "new"
        new.mkdir()
        fill(new)
        if overwrite and _is_run(out):
            put_in_place(new, out)
            return out
        flush(new)
        number, place = 1, out
        while not _rename_if_free(new, place):
            number += 1
            place = out.with_name(f"{out.name}-{number}")
        flush(place.parent, inside=False)
        return place


@contextmanager
def scratch(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`, on the same disk, removed in the end; first what killed processes left there is.

    It is locked as long as this process lives, so that no other one takes it for a leftover.
    """
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    folder = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
    with _locked(folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def put_in_place(source: Path, target: Path) -> None:
    """Give a finished file or folder in a `scratch` folder its name, in place of what has it.

    A file is replaced at once. A folder has no name for an instant; if the process dies in it, `sweep` gives the old one back.
    """
    folder, target = source.parent.absolute(), target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    flush(source)
    if target.is_dir():
        os.rename(target, folder / (REPLACED + quote(str(target.relative_to(folder.parent)), safe="")))
    os.replace(source, target)
    flush(target.parent, inside=False)


def sweep(target: Path) -> None:
    """Remove the `scratch` folders that killed processes left for `target`; what one of them had moved aside comes back."""
    target = target.absolute()
    for leftover in target.parent.glob(f"{glob.escape(_prefix(target))}*"):
        if not leftover.is_dir():
            continue
        with _locked(leftover) as dead:
            if not dead:
                continue
            for replaced in leftover.glob(f"{REPLACED}*"):
                home = leftover.parent / unquote(replaced.name.removeprefix(REPLACED))
                if not home.exists():
                    os.rename(replaced, home)
            shutil.rmtree(leftover, ignore_errors=True)


def flush(path: Path, *, inside: bool = True) -> None:
    """Force a file, or a folder and all that is inside, to the disk."""
    for entry in [path, *path.rglob("*")] if inside and path.is_dir() else [path]:
        descriptor = os.open(entry, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _prefix(target: Path) -> str:
    return f".{target.name}.partial-"


def _rename_if_free(source: Path, target: Path) -> bool:
    """Rename a folder; False if the name is taken by anything but an empty folder. The system checks and renames in one step."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            return False
        raise
    return True


def _is_run(path: Path) -> bool:
    try:
        Run.open(path)
    except InputError:
        return False
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether this process got the lock of a folder, which the system takes back from a process that ends in any way."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
