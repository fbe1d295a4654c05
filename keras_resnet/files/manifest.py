"""`manifest.json` of a folder of exports: the files that are listed there, with their digests.

A manifest is not signed. It tells damage, and files that an export did not write; it does not tell who wrote them.
"""

import hashlib
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from keras_resnet.errors import InputError
from keras_resnet.json_files import read_json

MANIFEST = "manifest.json"


class Entry(TypedDict):
    """A file in `manifest.json`."""

    sha256: dict[str, str | None]
    weights: NotRequired[str | None]


class Manifest(TypedDict, total=False):
    """`manifest.json`, as far as it is read here; that of something else has no `files`."""

    files: dict[str, Entry]


def entries(folder: Path) -> dict[str, dict[str, Any]] | None:
    """The entry of each file in the manifest of a folder, by its name. None if there is no manifest, or one of something else.

    InputError for a damaged one.
    """
    try:
        content = read_json(folder / MANIFEST, Manifest)
        if "files" not in content:
            return None
        files: dict[str, dict[str, Any]] = content["files"]
        for entry in files.values():
            entry["sha256"]  # that of a damaged one has none, which is told
        return files
    except (FileNotFoundError, NotADirectoryError):
        return None
    except InputError as error:
        raise InputError(f"{error}; move {str(folder)!r} away and export again") from None


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
