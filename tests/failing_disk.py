"""A disk that fails at every change that a training, an export and a search make to it, and a kill before each change.

    LD_PRELOAD=failing_disk.so python tests/failing_disk.py training|overwriting|export|search FOLDER [STRIDE]

Prints what went wrong, one line each, and last what was tried; `test_failing_disk.py` runs it. STRIDE: only every so many changes.
"""

import csv
import ctypes
import dataclasses
import hashlib
import json
import logging
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from keras_resnet import startup

startup.prepare()

import keras
import numpy as np
import tensorflow as tf

import keras_resnet as kr
from keras_resnet.atomic import write_json
from keras_resnet.errors import InputError
from keras_resnet.export import WRITERS, check
from keras_resnet.fields import to_json
from keras_resnet.files.manifest import entries, verify
from keras_resnet.runs.run import CONTENTS, Run
from keras_resnet.search import Study, trials

OFF, COUNT, FULL, ONCE, COPY = range(5)  # as in failing_disk.c
DISK = ctypes.CDLL(None)
TINY = dataclasses.replace(kr.SPECS["resnet8"], depths=(1,), widths=(4,), stem_width=4)
SHORT = dataclasses.replace(kr.RECIPES["digits"], epochs=2, batch_size=24)


def few() -> kr.data.Dataset:
    digits = kr.data.load("digits")
    sizes = {"train": 48, "validation": 16, "test": 16}
    splits = {name: (digits.splits[name].take(np.arange(size)), digits.splits[name].labels[:size]) for name, size in sizes.items()}
    return kr.data.from_arrays(splits, class_names=list(digits.class_names))


def train(out: Path, **options: object) -> None:
    kr.fit(TINY, SHORT, few(), out, seed=3, checkpoint_every=2, verbose=0, **options)


def training(root: Path) -> None:
    train(root / "run", resume=True)


def overwriting(root: Path) -> None:
    train(root / "run", overwrite=True)


def exports(root: Path) -> None:
    targets = [kr.export.Target("tflite"), kr.export.Target("saved_model"), kr.export.Target("onnx")]
    for row in kr.export.export(root / "run", targets=targets, data=few(), accept_undecided=True):
        assert row.accepted, row.problem


class Again:
    """Whether the same is done once more, on a good disk: then files that were converted and checked before are copied."""

    is_true = False


def remember(folder: Path) -> None:
    """Convert and check each target once, but where the disk may fail. (A check reads, and starts a process each time.)"""
    compare, checks = check.Reference.compare, {}

    def compare_once(reference: check.Reference, target: kr.export.Target, *rest: object) -> check.Check:
        if target not in checks:
            checks[target] = compare(reference, target, *rest)
        return checks[target]

    def remembering(write: Callable) -> Callable:
        def write_or_copy(source: object, path: Path, target: kr.export.Target) -> None:
            before = folder / target.file
            copy = shutil.copytree if before.is_dir() else shutil.copy
            if Again.is_true and before.exists():
                copy(before, path)
                return
            write(source, path, target)
            if not before.exists():
                folder.mkdir(exist_ok=True)
                (shutil.copytree if path.is_dir() else shutil.copy)(path, before)

        return write_or_copy

    check.Reference.compare = compare_once
    WRITERS.update({name: remembering(write) for name, write in WRITERS.items()})


def pretend(study: Study, spec: kr.ResNetSpec, recipe: kr.Recipe, out: Path, seed: int, renew_lease: object = None) -> Run:
    """A trial whose score is the share of the depth; its files are written as one."""
    metrics = {"validation": {"accuracy": sum(spec.depths) / 12}, "kept_epoch": 1, "epochs": 1, "train_seconds": 1.0}

    def fill(folder: Path) -> None:
        for name in ("model.keras", "labels.txt"):
            (folder / name).touch()
        (folder / "spec.json").write_text(to_json(spec))
        (folder / "recipe.json").write_text(to_json(recipe))
        write_json(folder / "metrics.json", {**metrics, "seed": seed, "images": {"validation": 287}})

    return Run.open(out if out.exists() else kr.atomic.write_whole(out, fill))


def space(hp: object) -> kr.ResNetSpec:
    return dataclasses.replace(kr.SPECS["resnet8"], depths=tuple(hp.Int(f"depth{stage}", 1, 4) for stage in (1, 2, 3)))


def search(root: Path) -> None:
    trials.train_in_process = pretend
    study = Study(space=space, trials=3, engine="random", finalists=1, seeds=2)
    assert len(kr.search.run(study, root / "study").rows) == 3


def rows_of(table: Path) -> set[str]:
    """The rows of a table of a search, if there is one, without measured times."""
    rows = csv.DictReader(table.read_text().splitlines() if table.exists() else [])
    return {str({name: value for name, value in row.items() if "seconds" not in name}) for row in rows}


def weights(run: Path) -> list[np.ndarray]:
    last = kr.build(Run.open(run).spec)
    last.load_weights(run / "last.weights.h5")
    return [*keras.saving.load_model(run / "model.keras").get_weights(), *last.get_weights()]


def listing(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def damage_of_run(root: Path, expected: list[np.ndarray], may_miss: bool) -> str:
    """What is wrong with the run, or nothing; it is the same training's whenever it is there."""
    if not (root / "run").exists():
        return "" if may_miss else "the run that was there is gone"
    if missing := [name for name in CONTENTS if not (root / "run" / name).exists()]:
        return f"the run is without {missing}"
    same = all(np.array_equal(one, other) for one, other in zip(weights(root / "run"), expected, strict=True))
    return "" if same else "the run has other weights"


def damage_of_export(root: Path, before: set[str]) -> str:
    folder = root / "run" / "export"
    if not (folder / "manifest.json").exists():
        return "" if not before else "manifest.json is gone"
    for name in entries(folder) or {}:
        try:
            verify(folder / name)
        except InputError as error:
            return str(error)
    there = {path.name for path in folder.iterdir() if "model" in path.name and path.name[0] != "."}
    lost = before - there
    return f"{sorted(lost)} are gone" if lost else ""


@dataclasses.dataclass(frozen=True)
class Case:
    """What runs, what is there before, and what must hold after a failure: it says what is wrong."""

    run: Callable[[Path], None]
    before: Callable[[Path], None]
    damage: Callable[[Path], str]


def case_of(name: str, base: Path) -> Case:
    if name == "search":
        return Case(search, lambda root: None, lambda root: "")
    whole = base / "whole"
    train(whole / "run")
    expected = weights(whole / "run")

    def there(root: Path) -> None:
        shutil.copytree(whole, root, dirs_exist_ok=True)

    if name == "export":
        remember(base / "written")
        exports(whole)
        files = {path.name for path in (whole / "run" / "export").iterdir() if "model" in path.name}
        return Case(exports, there, lambda root: damage_of_export(root, files) or damage_of_run(root, expected, False))
    if name == "overwriting":
        return Case(overwriting, there, lambda root: damage_of_run(root, expected, False))
    return Case(training, lambda root: None, lambda root: damage_of_run(root, expected, True))


class Trial:
    def __init__(self, case: Case, base: Path) -> None:
        self.case, self.root, self.copies = case, base / "disk", base / "copies"
        self.problems: Counter[str] = Counter()

    def start(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        self.case.before(self.root)

    def watched(self, mode: int, n: int = 0) -> tuple[str, int]:
        """How a run ended, empty where it ended well, and its number of changes."""
        self.copies.mkdir(exist_ok=True)
        DISK.watch(bytes(self.root), mode, n, bytes(self.copies))
        error, Again.is_true = "", False
        try:
            self.case.run(self.root)
        except OSError as failure:
            error = f"OSError: {failure}"
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
        return error, DISK.changes()

    def tell(self, what: str) -> None:
        self.problems[what] += 1
        print(what, flush=True)

    def goes_on(self, where: str) -> None:
        """The same again, on a good disk, ends as it always does, with nothing left behind."""
        if damage := self.case.damage(self.root):
            self.tell(f"{where}: {damage}")
        Again.is_true = True
        try:
            self.case.run(self.root)
        except Exception as failure:
            self.tell(f"{where}: again: {type(failure).__name__}: {failure}")
        else:
            if damage := self.case.damage(self.root):
                self.tell(f"{where}: again: {damage}")
            if difference := self.listed() ^ self.expected:
                self.tell(f"{where}: again: other files or rows: {sorted(difference)[:6]}")

    def listed(self) -> set[str]:
        """Every file, and the rows of a search; but what its engine keeps for itself."""
        tables = [rows_of(self.root / "study" / name) for name in ("results.csv", "finals.csv")]
        names = {name for name in listing(self.root) if not name.startswith("study/state/")}
        return names.union(*tables)

    def all(self, stride: int) -> None:
        self.start()
        error, count = self.watched(COUNT)
        kinds = Counter(DISK.changed().decode().split())
        assert not error, error
        self.expected = self.listed()
        for mode, name in ((FULL, "full"), (ONCE, "once")):
            for n in range(1, count + 1, stride):
                self.start()
                error, _ = self.watched(mode, n)
                where = f"{name} at change {n} of {count}"
                if error and not ("No space left" in error or "Input/output error" in error):
                    self.tell(f"{where}: {error[:300]}")
                self.goes_on(where)
        self.start()
        self.watched(COPY)
        tried = set()
        for copy in sorted(self.copies.iterdir())[::stride]:
            content = hashlib.sha256()
            for path in sorted(copy.rglob("*")):
                content.update(bytes(path.relative_to(copy)) + (path.read_bytes() if path.is_file() else b"/"))
            if content.digest() in tried:
                continue
            tried.add(content.digest())
            shutil.rmtree(self.root)
            shutil.copytree(copy, self.root, symlinks=True)
            self.goes_on(f"killed before change {int(copy.name)} of {count}")
        print(json.dumps({"changes": count, "kinds": kinds, "kills": len(tried), "problems": sum(self.problems.values())}))


def main(name: str, folder: str, stride: str = "1") -> None:
    DISK.changed.restype, DISK.changes.restype = ctypes.c_char_p, ctypes.c_long
    DISK.watch.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p]
    logging.getLogger("keras_resnet").setLevel(logging.ERROR)
    tf.config.run_functions_eagerly(True)
    check.SECONDS, check.FEWEST = 0.0, 2
    base = Path(folder).absolute()
    base.mkdir(parents=True, exist_ok=True)
    Trial(case_of(name, base), base).all(int(stride))


if __name__ == "__main__":
    main(*sys.argv[1:])
