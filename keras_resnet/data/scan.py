"""What is in a folder of classes: the parts of the set, the pictures of each class, and why everything else is left out.

Pictures are not decoded here, see `folder`.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from keras_resnet.data.images import SUFFIXES
from keras_resnet.data.labels import listed
from keras_resnet.errors import InputError, unknown
from keras_resnet.outside import check_class_names, printable

LOG = logging.getLogger("keras_resnet")
SPLIT_FOLDERS = {"train": ("train", "training"), "validation": ("val", "valid", "validation"), "test": ("test", "testing")}
SPLIT_WORDS = ("train", "test", "val", "dev", "eval")  # in names of folders that look like parts of a set
UNFINISHED = (".part", ".crdownload", ".download", ".tmp", ".bak", "~")
OWN_FILES = (  # of a run, of a search, of an export and of an evaluation
    ("spec.json", "model.keras"),
    ("study.json", "state"),
    ("report.json", "REPORT.md"),
    ("evaluation.json", "confusion.png"),
)
SHOWN_NAMES, SHOWN_REASONS = 3, 20

Files = list[tuple[Path, str]]  # pictures, each with its class
LeftOut = dict[Path, str]  # what is not taken, with the reason


def parts_of(folder: Path, left_out: LeftOut) -> dict[str, Files]:
    """The pictures of each split that is there; all for training where `folder` holds the classes themselves.

    InputError where folders are not laid out in one of these two ways; it says what is there.
    """
    parts = {name: _files(part, name, left_out) for name, part in _split_folders(folder, left_out).items()}
    class_names = sorted({name for _, name in parts["train"]})
    check_class_names(class_names, repr(str(folder)))
    if len(class_names) < 2:
        names = f"only {class_names[0]!r}" if class_names else "none"
        raise InputError(f"{str(folder)!r} must hold at least two class folders with images ({', '.join(SUFFIXES)}); found {names}")
    for split, files in parts.items():
        for path, name in files:
            if name not in class_names:  # it would shift labels silently
                where = f"{str(path)!r} is for {split}"
                raise InputError(f"{where}: {unknown('training class', name, class_names)}; move other folders out of the set")
    return parts


def parts_to_evaluate(folder: Path, class_names: Sequence[str], left_out: LeftOut) -> dict[str, Files]:
    """The pictures of each split that is there, whichever these are; all for "test" where `folder` holds the classes themselves.

    InputError for a class that is not one of `class_names`.
    """
    inside = {entry.name.lower(): entry for entry in _folders(folder, {})}
    found = {name: [inside[alias] for alias in aliases if alias in inside] for name, aliases in SPLIT_FOLDERS.items()}
    splits = {name: entry for name, entries in found.items() for entry in entries if _folders(entry, {})}
    parts = {name: _files(part, name, left_out) for name, part in (splits or {"test": folder}).items()}
    for path, name in [file for files in parts.values() for file in files]:
        if name not in class_names:
            hint = "rename its folder, or move it out of the set"
            raise InputError(f"{str(path)!r}: {unknown('class of the run', name, class_names)}; {hint}")
    if splits:
        left_out |= {entry: "beside the parts" for entry in _entries(folder, left_out) if entry not in splits.values()}
    return parts


def pictures_in(folder: Path, left_out: LeftOut) -> list[Path]:
    """What may be a picture in a folder, at any depth, in order."""
    return list(_pictures(folder, left_out, {folder.resolve()}))


def tell(left_out: LeftOut, taken: int, folder: Path) -> None:
    """A warning with everything that is left out, by reason."""
    reasons: dict[str, list[str]] = {}
    for path, why in sorted(left_out.items()):
        reasons.setdefault(why, []).append(str(path.relative_to(folder)))
    lines = [f"  {len(names)} {printable(why)}: {listed(names, SHOWN_NAMES)}" for why, names in reasons.items()]
    if len(lines) > SHOWN_REASONS:
        lines[SHOWN_REASONS:] = [f"  and {len(lines) - SHOWN_REASONS} more reasons; `data.skipped` has all"]
    if lines:
        LOG.warning("\n".join([f"{len(left_out)} of {taken + len(left_out)} files in {str(folder)!r} are left out:", *lines]))


def _split_folders(folder: Path, left_out: LeftOut) -> dict[str, Path]:
    """The folder of each split that is there; the folder itself for training if it holds classes.

    A split's folder has class folders in it: a class may be called "train" too.
    """
    inside = {entry.name.lower(): entry for entry in _folders(folder, {})}
    found = {name: [inside[alias] for alias in aliases if alias in inside] for name, aliases in SPLIT_FOLDERS.items()}
    if not any(_folders(train, {}) for train in found["train"]):
        _check_classes(folder, list(inside.values()), [entry for entries in found.values() for entry in entries])
        return {"train": folder}
    for name, entries in found.items():
        if len(entries) > 1:
            raise InputError(f"two folders for {name}: {', '.join(repr(str(entry)) for entry in entries)}; keep one")
    parts = {name: entries[0] for name, entries in found.items() if entries}
    _check_level(parts["train"], _folders(parts["train"], {}))
    classes = _names_inside(parts["train"])
    for entry in _entries(folder, left_out):
        if entry in parts.values():
            continue
        if entry.is_dir() and _names_inside(entry) & classes:
            raise _misnamed(folder, [*parts.values(), entry])
        left_out[entry] = f"beside {', '.join(part.name for part in parts.values())}"
    return parts


def _check_classes(folder: Path, entries: list[Path], splits: list[Path]) -> None:
    """InputError if the folders of `folder` are no classes, but parts of a set, or a level too few or too many."""
    if entries and len(entries) == len(splits):
        flat = [entry for entry in splits if not _names_inside(entry)]
        if flat:
            raise _without_classes(flat[0])
        raise InputError(f"{str(folder)!r} has {listed(entry.name for entry in entries)} but no folder for training: name it train")
    _check_level(folder, entries)
    held = [(entry, names) for entry in entries if len(names := _names_inside(entry)) > 1]
    shared = [entry for entry, names in held if any(len(names & others) > 1 for other, others in held if other != entry)]
    if len(shared) < 2:
        return
    if any(word in entry.name.lower() for entry in shared for word in SPLIT_WORDS):
        raise _misnamed(folder, shared)
    folders = listed(entry.name for entry in shared)
    LOG.warning(f"{folders} in {str(folder)!r} have the same sub-folders: each of them is read as one class")


def _check_level(folder: Path, entries: list[Path]) -> None:
    """InputError for pictures without class folders, and for classes one folder further down."""
    if not entries and any(map(_may_be_picture, _entries(folder, {}))):
        raise _without_classes(folder)
    if len(entries) == 1 and len(_names_inside(entries[0])) > 1 and not any(map(_may_be_picture, _entries(entries[0], {}))):
        inner = listed(sorted(_names_inside(entries[0])))
        raise InputError(f"{str(folder)!r} has one folder, {entries[0].name!r}, with {inner} in it: pass {str(entries[0])!r}")


def _misnamed(folder: Path, entries: list[Path]) -> InputError:
    """The error for folders that look like parts of a set under other names."""
    found = " and ".join(f"{printable(entry.name)}/" for entry in entries)
    same = listed(sorted(set.intersection(*map(_names_inside, entries[-2:]))))
    known = "; ".join(f"{name}: {', '.join(aliases)}" for name, aliases in SPLIT_FOLDERS.items())
    return InputError(
        f"{str(folder)!r} has {found} with the same folders in them ({same}): they look like splits of one set, but the known "
        f"names are {known}; rename them, or move other folders away"
    )


def _without_classes(part: Path) -> InputError:
    """The error for a folder that has no class folders: the reason and the remedy."""
    count = sum(map(_may_be_picture, _entries(part, {})))
    if not count:
        return InputError(f"{str(part)!r} has no class folders and no pictures: fill it, or remove it")
    return InputError(
        f"{str(part)!r} has {count} pictures but no class folders, so they have no labels: sort them into a folder for each class, "
        "or move them out of the set"
    )


def _files(part: Path, name: str, left_out: LeftOut) -> Files:
    """The pictures of each class. InputError for a class folder without any: to drop it would shift the labels silently."""
    files: Files = []
    for entry in _entries(part, left_out):
        if not entry.is_dir():
            left_out.setdefault(entry, "beside the class folders")
            continue
        inside: LeftOut = {}
        paths = list(_pictures(entry, inside, {entry.resolve()}))
        if not paths and any(_is_own(path) for path in inside):
            inside = {entry: "written by this program"}
        elif not paths:
            raise InputError(f"class folder {str(entry)!r} has no image files ({', '.join(SUFFIXES)}){_instead(inside)}")
        left_out.update(inside)
        files += [(path, entry.name) for path in paths]
    if not files and name != "train":
        raise _without_classes(part)
    return files


def _instead(left_out: LeftOut) -> str:
    return f"; it has {len(left_out)} others, such as {next(iter(left_out)).name!r}" if left_out else ""


def _pictures(folder: Path, left_out: LeftOut, read: set[Path]) -> Iterator[Path]:
    """What may be a picture in a class folder, and in the folders inside it, by the same rules; each folder is read once."""
    for entry in _entries(folder, left_out):
        if not entry.is_dir():
            if why := _why_no_picture(entry):
                left_out[entry] = why
            else:
                yield entry
        elif folder.resolve().is_relative_to(place := entry.resolve()):
            left_out[entry] = "a link to a folder above it"
        elif place in read:
            left_out[entry] = "a folder that links lead to more than once"
        else:
            read.add(place)
            yield from _pictures(entry, left_out, read)


def _entries(folder: Path, left_out: LeftOut) -> list[Path]:
    """What is in a folder, in order, but what is left out whatever it holds."""
    entries = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            left_out[entry] = "hidden"
        elif not (entry.is_file() or entry.is_dir()):
            left_out[entry] = "a broken link" if entry.is_symlink() else "not a file"
        elif entry.is_dir() and entry.name.startswith("__"):
            left_out[entry] = "a system folder"
        elif _is_own(entry):
            left_out[entry] = "written by this program"
        else:
            entries.append(entry)
    return entries


def _folders(folder: Path, left_out: LeftOut) -> list[Path]:
    return [entry for entry in _entries(folder, left_out) if entry.is_dir()]


def _names_inside(folder: Path) -> set[str]:
    return {entry.name for entry in _folders(folder, {})}


def _is_own(entry: Path) -> bool:
    """Whether this program wrote a folder: a run, a search, an export, an evaluation, or what TensorBoard shows of a training."""
    if not entry.is_dir():
        return False
    of_tensorboard = entry.name.endswith("-tensorboard") and any(entry.rglob("events.out.tfevents*"))
    return of_tensorboard or any(all((entry / name).exists() for name in names) for names in OWN_FILES)


def _may_be_picture(entry: Path) -> bool:
    return entry.is_file() and not _why_no_picture(entry)


def _why_no_picture(path: Path) -> str:
    """Nothing for a file whose suffix, or content if the suffix is another one, is that of a picture."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return ""
    if path.name.lower().endswith(UNFINISHED):
        return f"unfinished or a copy ({suffix or '~'})"
    try:
        with Image.open(path):
            return ""
    except Exception:  # Pillow raises many kinds
        return f"not a picture that Pillow reads ({suffix or 'no suffix'})"
