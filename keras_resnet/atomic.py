"""Files and folders that are written whole or not at all, even if the process is killed, and locks on folders.

Linux and macOS only: it uses file locks.
"""

import ctypes
import errno
import fcntl
import glob
import json
import math
import os
import shutil
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from keras_resnet.errors import InputError, Occupied

REPLACED = "replaced-"  # before the name of a folder that was moved into a scratch folder
CURRENT, EXCHANGE = -100, 2  # arguments of Linux's renameat2: AT_FDCWD, RENAME_EXCHANGE
UNREADABLE = (
    OSError,
    EOFError,
    KeyError,
    MemoryError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)  # what a cut or damaged .npz raises


def write_whole(out: Path, fill: Callable[[Path], None], *, may_replace: Callable[[Path], bool] = lambda path: False) -> Path:
    """Let `fill` write into a temporary folder, then rename it to `out`. Returns its path.

    If something is at `out` by then that `may_replace` does not allow to replace, the new folder is called `out`-2, or -3.
    """
    with scratch(out) as folder:
        new = folder / "new"
        new.mkdir()
        fill(new)
        if may_replace(out):
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
    """A temporary folder beside `target`, on the same disk, removed in the end; leftovers of killed processes are removed first.

    It is locked as long as this process lives, so that no other one takes it for a leftover.
    """
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    folder, descriptor = _new_locked_folder(target)
    try:
        yield folder
    finally:
        _clear_and_unlock(folder, descriptor)


def put_in_place(source: Path, target: Path) -> None:
    """Move a finished file or folder out of a `scratch` folder to `target`, and replace what is there.

    A file is replaced at once, and on Linux a folder too. Elsewhere there is an instant without a folder; if the process ends then,
    the next `scratch` for the same target puts the old one back.
    """
    folder, target = source.parent.absolute(), target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    flush(source)
    if target.is_dir() and _exchange(source, target):
        shutil.rmtree(source, ignore_errors=True)
    else:
        if target.is_dir():
            os.rename(target, folder / (REPLACED + quote(str(target.relative_to(folder.parent)), safe="")))
        os.replace(source, target)
    flush(target.parent, inside=False)


def sweep(target: Path) -> None:
    """Clear the `scratch` folders that killed processes left for `target`; of a name "*", for everything beside it."""
    target = target.absolute()
    name = "*" if target.name == "*" else glob.escape(target.name)
    for leftover in target.parent.glob(f"{_prefix(target.with_name(name))}*"):
        if (descriptor := lock(leftover)) is not None:
            _clear_and_unlock(leftover, descriptor)


def flush(path: Path, *, inside: bool = True) -> None:
    """Force a file, or a folder and all that is inside, to the disk."""
    for entry in [path, *path.rglob("*")] if inside and path.is_dir() else [path]:
        descriptor = os.open(entry, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def occupied(folder: Path, doing: str) -> Iterator[None]:
    """Keep `folder` from other processes. Occupied if another one has it.

    It is removed in the end if nothing is in it, and so are the folders above it that were made for it.
    """
    made = empty_folders(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{str(folder)!r} cannot be written: there is a file in its place, or above it") from None
    if (descriptor := lock(folder)) is None:
        raise Occupied(f"another process is {doing} there: it holds {str(folder)!r}")
    try:
        yield
    finally:
        remove_empty(made)
        os.close(descriptor)


def empty_folders(folder: Path) -> list[Path]:
    """A folder that is going to be written, and those above it that are still to be made."""
    return [folder, *(parent for parent in folder.parents if not parent.exists())]


def remove_empty(made: list[Path]) -> None:
    """Remove `empty_folders` again, as far as nothing is in them."""
    with suppress(OSError):  # not empty
        for each in made:
            each.rmdir()


@contextmanager
def waiting_for(folder: Path) -> Iterator[None]:
    """Wait until no other process has `folder`, and keep it from them. It stays."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all, in place of the one that is there. Several processes may do so at once."""
    with scratch(path) as folder:
        new = folder / "new"
        new.write_text(text, encoding="utf-8")
        flush(new)
        os.replace(new, path)  # not `put_in_place`, which replaces folders too
        flush(path.parent, inside=False)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON."""
    path.write_text(as_json(content) + "\n", encoding="utf-8")


def as_json(content: Any) -> str:
    """Indented JSON, which has no infinite numbers, and null where one would be no number at all."""
    return json.dumps(_finite(content), indent=2, allow_nan=False)


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _clear_and_unlock(folder: Path, descriptor: int) -> None:
    """Remove a scratch folder; a folder that was moved into it goes back if nothing replaced it."""
    try:
        for old in folder.glob(f"{REPLACED}*"):
            target = folder.parent / unquote(old.name.removeprefix(REPLACED))
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                os.rename(old, target)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step. False where the system or the file system cannot."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2  # of Linux
    except AttributeError:
        return False
    return bool(renameat2(CURRENT, os.fsencode(one), CURRENT, os.fsencode(other), EXCHANGE) == 0)


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


def _new_locked_folder(target: Path) -> tuple[Path, int]:
    """A new folder beside `target` and its lock; another one where a sweep took the first before it was locked."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
        if (descriptor := lock(folder)) is not None:
            return folder, descriptor


def lock(folder: Path) -> int | None:
    """The lock of a folder, to be closed, or None if a living process has it. The system takes it from a process that ends."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # gone meanwhile, or not a folder
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if folder.is_dir():
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None
