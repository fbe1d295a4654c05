"""Files from the web into a cache folder: whole, and with their published hash, or not at all."""

import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from keras_resnet.atomic import put_in_place, scratch
from keras_resnet.console import byte_bar
from keras_resnet.errors import InputError
from keras_resnet.outside import printable

CACHE = "KERAS_RESNET_CACHE"  # environment variable: the folder of what is downloaded
TIMEOUT = 30  # seconds without an answer
PIECE = 2**20  # bytes that are read at once
LARGEST = 2 * 2**30  # bytes of a file; the largest published one has a tenth


def cache() -> Path:
    """The folder of downloaded files: `KERAS_RESNET_CACHE`, or `keras_resnet` in the cache folder of the user."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keras_resnet"
    return Path(os.environ.get(CACHE) or usual)


def download(url: str, target: Path, *, md5: str, about: dict[str, str]) -> Path:
    """The file at `target`, or where Keras keeps files of that name; downloaded if there is none with this MD5 hash.

    `about` has the licence, which is printed when the file comes. InputError, in one line, if it cannot be had.
    """
    for path in (target, Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models" / target.name):
        if path.is_file() and digest(path, "md5") == md5:
            return path
    with scratch(target) as folder:
        new = folder / target.name
        hash_ = receive(url, new, about, target)
        if hash_ != md5:
            raise InputError(
                f"{url} is not the published file: its MD5 is {hash_}, not {md5}; nothing was kept. A proxy may have changed it"
            )
        put_in_place(new, target)
    return target


def receive(url: str, new: Path, about: dict[str, str], target: Path) -> str:
    """Write what is at `url` into a file; returns its MD5. InputError if not all of it comes."""
    hash_ = hashlib.md5(usedforsecurity=False)
    try:
        with opened(url) as answer:
            announce(about, url)
            length = answer.headers.get("Content-Length")
            received = write(answer, new, hash_, int(length) if length and length.isdecimal() else None)
    except urllib.error.HTTPError as error:
        raise InputError(f"{url} cannot be downloaded: the server answers {error.code} {printable(error.reason)}") from None
    except (NoAnswer, urllib.error.URLError) as error:
        reason = printable(getattr(error, "reason", error))
        raise InputError(f"{url} cannot be downloaded: {reason}. Without a connection, copy the file to {str(target)!r}") from None
    if length and length.isdecimal() and received < int(length):
        raise InputError(f"{url} cannot be downloaded: the connection ended after {received:,} of {int(length):,} bytes; try again")
    return hash_.hexdigest()


class NoAnswer(Exception):
    """The address is none, or the connection failed before or while a file came."""


def opened(url: str) -> Any:
    """The answer of a server."""
    try:
        return urllib.request.urlopen(url, timeout=TIMEOUT)
    except urllib.error.URLError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoAnswer(str(error).strip() or type(error).__name__) from None


def write(answer: Any, new: Path, hash_: Any, length: int | None) -> int:
    """Write what comes, a piece at a time; returns the number of bytes. An OSError is then one of the disk."""
    received = 0
    with new.open("wb") as file, byte_bar(new.name, length) as advance:
        while (piece := read_piece(answer)) and received < LARGEST:
            file.write(piece)
            hash_.update(piece)
            received += len(piece)
            advance(len(piece))
    return received


def read_piece(answer: Any) -> bytes:
    try:
        return bytes(answer.read(PIECE))
    except http.client.IncompleteRead as error:
        return error.partial
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(str(error) or type(error).__name__) from None


def digest(path: Path, kind: str) -> str:
    """The hash of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def announce(about: dict[str, str], source: str) -> None:
    """Say once, before a file comes, where it is from and under which licence."""
    print(printable(f"downloading {source}; licence: {about['licence']}"), file=sys.stderr)
