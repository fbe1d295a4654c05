"""What comes from outside and may be anything: names of files and classes, JSON text, files that are no files.

Names that a terminal or a page would act on are escaped or refused here, and nowhere else. `json_files` checks what is in JSON.
"""

import json
import os
import re
import stat
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from keras_resnet.errors import NEAR, InputError, shown

ODD = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, separators of lines, bidirectional overrides, and what Python has for bytes that are not UTF-8."""
LONGEST_NAME = 1000  # characters of a class
MOST_DIGITS = 18  # of a whole number in JSON: it then fits into 64 bits
LARGEST_TEXT = 64 * 2**20  # bytes of a file
OTHERS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def printable(text: object) -> str:
    r"""Text as a terminal, a table or a page may show it: one line, with backslashes for what is no plain text.

    >>> printable("red\x1b[31m")
    'red\\x1b[31m'
    """
    return ODD.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), str(text))


def in_markdown(text: object) -> str:
    """Text as a table in Markdown may show it: what would begin a cell, a tag, a link or code is escaped."""
    return re.sub(r"[|<\[\]`]", r"\\\g<0>", printable(text))


def check_class_names(names: Iterable[Any], where: str) -> None:
    """InputError for a name that a file of one name a line, a table or a page cannot hold, and for one that is there twice."""
    seen = set()
    for name in names:
        if not isinstance(name, str) or not name:
            raise InputError(f"{where}: {shown(name)} is not a class name: it must be one line of text")
        if ODD.search(name):
            what = "control characters and bytes that are not UTF-8"
            raise InputError(f"{where}: {shown(name)} is not a class name: it must be one line of text without {what}; rename it")
        if len(name) > LONGEST_NAME:
            raise InputError(f"{where}: {shown(name)} is not a class name: it must have at most {LONGEST_NAME:,} characters")
        if name in seen:
            raise InputError(f"{where}: two classes are called {name!r}")
        seen.add(name)


def parse(text: str, *, infinite: bool = False) -> Any:
    """JSON text as Python values. ValueError, of one line, for what is no JSON, for whole numbers and nesting without a limit, and,
    unless `infinite`, for what Python writes for infinity and NaN."""
    number = float if infinite else _finite
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_whole, parse_float=number, parse_constant=number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def check_regular(path: Path) -> None:
    """InputError if `path`, or an entry at any depth of that folder, is a named pipe, a socket or a device: to read one may never
    end."""
    for entry in [path, *path.rglob("*")] if path.is_dir() else [path]:
        try:
            kind = stat.S_IFMT(entry.stat().st_mode)
        except OSError:  # nothing is there: whoever opens it says so
            continue
        if kind in OTHERS:
            raise InputError(f"{str(entry)!r} is {OTHERS[kind]}, not a regular file")


def regular(path: str, flags: int) -> int:
    """An `opener` of `open` for regular files only: to read a pipe or a device may never end. InputError for anything else."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)  # without that, to open a pipe waits for a writer
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise InputError(f"{str(path)!r} is {OTHERS.get(stat.S_IFMT(mode), 'a folder')}, not a regular file")
    return descriptor


def nearest_folder(path: str | Path, fits: Callable[[Path], bool] = Path.is_dir, names: Iterable[str] = ()) -> str:
    """The end of a message that no folder is at `path`: the most similar name of `names` and of what `fits` beside it, hidden ones
    aside; empty if none is similar."""
    path = Path(path)
    try:
        beside = [entry.name for entry in path.parent.iterdir() if entry.name[0] != "." and entry != path and fits(entry)]
    except (OSError, ValueError):  # there is no parent, it cannot be listed, or no file can have such a name
        beside = []
    nearest = get_close_matches(path.name, [*names, *beside], n=1, cutoff=NEAR)
    return f"; did you mean {str(path.parent / nearest[0])!r}?" if nearest else ""


def read_text(path: Path, *, most: int = LARGEST_TEXT) -> str:
    """The UTF-8 text of a file. FileNotFoundError if there is none.

    InputError, which names the file, if it has more than `most` bytes, is not UTF-8, or is no file at all, such as a pipe, which
    might never end.
    """
    with open(path, "rb", opener=regular) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise InputError(f"{str(path)!r} has {size:,} bytes: at most {most:,} are read")
        content = file.read(most)
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{str(path)!r} is damaged: byte {error.start} is not UTF-8") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {shown(twice)} appears twice")
    return values


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > MOST_DIGITS:
        raise ValueError(f"a whole number of {len(digits):,} digits: at most {MOST_DIGITS} are read")
    return int(digits)


def _finite(number: str) -> float:
    if (value := float(number)) - value != 0:  # infinite, or no number
        raise ValueError(f"{shown(number)} is not a finite number")
    return value
