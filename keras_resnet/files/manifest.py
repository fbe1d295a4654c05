"""`manifest.json` of a folder of exports: the files that are listed there, with their digests.

A manifest is not signed. It tells damage, and files that an export did not write; it does not tell who wrote them.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from keras_resnet.errors import InputError
from keras_resnet.regular import check_regular

MANIFEST = "manifest.json"


def entries(folder: Path) -> dict[str, dict[str, Any]] | None:
    """The entry of each file in the manifest of a folder, by its name. None if there is no manifest, or one of something else.

    InputError for a damaged one.
    """
    path = folder / MANIFEST
    check_regular(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and "files" not in content:
            return None
        files = content["files"]
        if not all(digest is None or isinstance(digest, str) for entry in files.values() for digest in entry["sha256"].values()):
            raise TypeError("a digest is no text")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (IsADirectoryError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InputError(f"{str(path)!r} is damaged; move {str(folder)!r} away and export again") from None
    return files


def digests(path: Path) -> dict[str, str]:
    """SHA-256 of a file, or of every file in a folder, by name from the folder that `path` is in."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    found = {}
    for file in files:
        with file.open("rb") as content:
            found[file.relative_to(path.parent).as_posix()] = hashlib.file_digest(content, "sha256").hexdigest()
    return found


def verify(path: Path) -> bool:
    """Whether a manifest beside `path` lists it, with the digests that it has.

    InputError if the digests differ. A file that no manifest lists is not checked, nor is one whose replacement was interrupted:
    the manifest has None for its digests.
    """
    is_listed = False
    for place in {path.absolute(), path.resolve()}:
        entry = place.parent if place.name.isdecimal() else place
        files = entries(entry.parent) or {}
        listed = {name: digest for row in files.values() for name, digest in row["sha256"].items() if digest}
        expected = {name: digest for name, digest in listed.items() if name.split("/")[0] == entry.name}
        if not expected:
            continue
        actual = digests(entry)
        if wrong := [name for name in sorted(expected | actual) if expected.get(name) != actual.get(name)]:
            raise InputError(f"{str(entry)!r} is not what {MANIFEST} lists: {wrong[0]} has changed since the export, or is damaged")
        is_listed = True
    return is_listed
