"""Paths from outside: only regular files are opened, since reading a named pipe or a device may never end."""

import stat
from pathlib import Path

from keras_resnet.errors import InputError

OTHERS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_regular(path: Path) -> None:
    """InputError if `path`, or an entry at any depth of that folder, is a named pipe, a socket or a device."""
    for entry in [path, *path.rglob("*")] if path.is_dir() else [path]:
        try:
            kind = stat.S_IFMT(entry.stat().st_mode)
        except OSError:  # nothing is there: whoever opens it says so
            continue
        if kind in OTHERS:
            raise InputError(f"{str(entry)!r} is {OTHERS[kind]}, not a regular file")
