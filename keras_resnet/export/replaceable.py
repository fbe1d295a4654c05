"""What an export may replace in a folder: the files that the manifest of an export lists there, and the records of exports.

Anything else in its way is somebody else's: it is refused before a file is converted.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_origin

from keras_resnet.errors import InputError
from keras_resnet.export.supported import Source
from keras_resnet.files.manifest import MANIFEST, entries
from keras_resnet.json_files import read_json
from keras_resnet.outside import read_text

REPORT, READABLE = "report.json", "REPORT.md"
TITLE = "# Exported files"  # first line of the readable report
LAYERS, CURVE = "quantization.json", "quantization.png"
ANOTHER = "another folder (out=, --out)"
SHOWN = 8  # characters of a digest


def identity(source: Source) -> dict[str, Any]:
    """What all files of a folder have in common: the model that they are of."""
    image, classes = list(source.image_shape), source.class_names
    return {"name": source.name, "image": image, "preprocessing": source.preprocessing, "classes": classes}


def check_folder(folder: Path, source: Source, files: Iterable[str], *, is_own: bool) -> None:
    """InputError if `files` cannot be exported to a folder: what they would replace is no export, or others there are of another
    model. In the `export/` of its own run, which may have been renamed, a model has any name."""
    if not next(path for path in (folder, *folder.absolute().parents) if path.exists()).is_dir():
        raise InputError(f"{str(folder)!r} cannot be written: there is a file in its place, or above it")
    listed = entries(folder) or {}
    check_records(folder, (MANIFEST, REPORT, READABLE))
    for file in files:
        check_listed(folder, file, listed)
    there = {name: entry for name, entry in listed.items() if (folder / name).exists()}
    if there:
        check_model(folder, source, is_own=is_own)
        check_weights(folder, source, {name: entry for name, entry in there.items() if name not in files})


def check_records(folder: Path, names: Iterable[str]) -> None:
    """InputError for a record that is in the way and is not one of an export."""
    for name in names:
        path = folder / name
        if (path.exists() or path.is_symlink()) and not is_record(path):
            raise InputError(f"{str(path)!r} was not written by an export: move it away, or export to {ANOTHER}")


def is_record(path: Path) -> bool:
    """Whether a file says that it is a record of exports."""
    tests: dict[str, Callable[[Path], bool]] = {
        MANIFEST: lambda path: {"files", "classes", "image", "preprocessing"} <= read(path, dict[str, Any]).keys(),
        REPORT: lambda path: all({"file", "passed"} <= set(row) for row in read(path, list[dict[str, Any]]) or [()]),
        READABLE: lambda path: read_text(path).startswith(f"{TITLE}\n"),
        LAYERS: lambda path: {"files", "layers", "keras_accuracy"} <= read(path, dict[str, Any]).keys(),
        CURVE: lambda path: is_record(path.with_name(LAYERS)),
    }
    try:
        return tests[path.name](path)
    except (OSError, TypeError, ValueError):
        return False


def check_listed(folder: Path, file: str, listed: dict[str, dict[str, Any]]) -> None:
    """InputError for a file, or one in that folder, that would be replaced and that the manifest does not list."""
    path, names = folder / file, listed.get(file, {}).get("sha256", {})
    for entry in [entry for entry in path.rglob("*") if not entry.is_dir()] if path.is_dir() else [path]:
        if (entry.exists() or entry.is_symlink()) and entry.relative_to(folder).as_posix() not in names:
            raise InputError(f"{str(entry)!r} is in the way, and no {MANIFEST} lists it: move it away, or export to {ANOTHER}")


def check_model(folder: Path, source: Source, *, is_own: bool) -> None:
    """InputError if the files of a folder are of a model of other classes, images or name."""
    manifest, own = read(folder / MANIFEST, dict[str, Any]), identity(source)
    for name in ("classes", "image", "name"):
        if manifest.get(name) != own[name] and not (is_own and name == "name"):
            there, here = (f"{content.get('name')!r} ({name}: {shortened(content.get(name))})" for content in (manifest, own))
            raise InputError(f"{str(folder)!r} has files of {there}; export {here} to {ANOTHER}")


def check_weights(folder: Path, source: Source, others: dict[str, dict[str, Any]]) -> None:
    """InputError if a file that stays in the folder has other weights. Earlier versions did not note them."""
    for name, entry in others.items():
        there, here = str(entry.get("weights") or ""), source.weights_digest
        if there and there != here:
            raise InputError(
                f"{str(folder / name)!r} has other weights than {source.name!r} now (SHA-256 {there[:SHOWN]} and {here[:SHOWN]}): "
                f"remove it, export it again too, or export to {ANOTHER}"
            )


def shortened(value: Any) -> str:
    """A value for a message, of a list the first parts."""
    return f"{', '.join(map(str, value[:8]))}{', ...' * (len(value) > 8)}" if isinstance(value, list) else str(value)


def read(path: Path, kind: Any) -> Any:
    """The list or dictionary in a JSON file; an empty one if the file is missing, damaged or of another kind."""
    try:
        return read_json(path, kind)
    except (FileNotFoundError, ValueError):
        return (get_origin(kind) or dict)()
