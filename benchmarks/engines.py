"""The engines of a search with many workers, some of which are killed: what is lost or there twice, and how long does it take?

    python benchmarks/engines.py [--workers 100] [--trials 150] [--killed 0.3] [--seconds 10] [--out benchmarks/engines.json]

Each worker is a process that runs the search of this package and sleeps in place of a training; the score follows from the
values. That share of the workers is killed (SIGKILL), one after the other, each in a trial, and not started again. The lease is
30 seconds. Each worker counts as a machine of its own, so that Optuna's cannot see by a lock that another one is gone. KerasTuner
(random) has its chief in one process more. Optuna's sampler is TPE, on a SQLite file, on a journal and, if it is installed, on a
PostgreSQL server.
"""

import argparse
import csv
import json
import multiprocessing
import os
import platform
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras_resnet as kr
from keras_resnet import search
from keras_resnet.atomic import write_json
from keras_resnet.fields import to_json
from keras_resnet.runs.run import Run

with suppress(ImportError):
    import psycopg  # noqa: F401
from keras_resnet.search import optuna_leases, optuna_storage, optuna_studies, page, trials  # noqa: F401  (before the processes are forked)
from keras_resnet.search.oracle import space_of

LEASE = 30.0
FORK = multiprocessing.get_context("fork")
BEGIN, READY = FORK.Event(), FORK.Semaphore(0)  # every machine opens its storage first, which takes a second of a core
DONE, BEGUN = "trained", "begun"  # files of a trial with a line for each training


def space(hp: Any) -> kr.ResNetSpec:
    depths = tuple(hp.Int(f"depth{stage}", 1, 9) for stage in (1, 2, 3))
    width = hp.Choice("width", [4, 8, 16])
    return replace(kr.SPECS["resnet8"], depths=depths, widths=(width, 2 * width, 4 * width), stem_width=width)


def pretend(seconds: float) -> Any:
    """A training that sleeps."""

    def train(study: Any, spec: kr.ResNetSpec, recipe: Any, out: Path, seed: int, alive: Any) -> Run:
        out.with_suffix(f".{BEGUN}").parent.mkdir(parents=True, exist_ok=True)
        note(out.with_suffix(f".{BEGUN}"))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            alive()
            time.sleep(0.25)
        out.mkdir(parents=True, exist_ok=True)
        note(out / DONE)
        metrics = {"validation": {"accuracy": sum(spec.depths) / 30}, "kept_epoch": 1, "epochs": 1, "train_seconds": seconds}
        write_json(out / "metrics.json", {**metrics, "seed": seed, "images": {"validation": 287}})
        for name, content in (
            ("spec.json", to_json(spec)),
            ("recipe.json", to_json(recipe)),
            ("labels.txt", ""),
            ("model.keras", ""),
        ):
            (out / name).write_text(content)
        return Run.open(out)

    return train


def note(file: Path) -> None:
    with file.open("a") as stream:
        stream.write(f"{os.getpid()}\n")


def work(out: Path, name: str, options: argparse.Namespace, engine: str, **place: str) -> None:
    """One process of the search."""
    trials.train_in_process = pretend(options.seconds)
    optuna_leases.name_of_machine = lambda: name
    plain = trials.Trials.work

    def work_together(self: Any, oracle: Any, name: str) -> None:
        if not BEGIN.is_set():
            READY.release()
            BEGIN.wait()
        plain(self, oracle, name)

    trials.Trials.work = work_together  # type: ignore[method-assign]
    page.importance = page.parallel = page.front = page.curves = lambda results, folder: None  # pictures are no engine's work
    sys.stdout = sys.stderr = (out.parent / f"{name}.log").open("a", buffering=1)
    study = search.Study(space=space, engine=engine, trials=options.trials, recipe="digits", finalists=1)
    search.run(study, out, name=name, lease=LEASE, tell=print, **place)


def measure(folder: Path, options: argparse.Namespace, engine: str, chief: str | None = None, storage: str | None = None) -> dict:
    """One search: what became of its trials, and the seconds from when all workers were ready until every process had ended."""
    out, generator = folder / "out", random.Random(0)
    place = {"worker": chief} if chief else {"storage": str(storage)}
    BEGIN.clear()
    processes = {"chief": begin(out, "chief", options, engine, chief=chief)} if chief else {}
    workers = {name: begin(out, name, options, engine, **place) for name in (f"worker{n:03}" for n in range(options.workers))}
    for _ in workers:
        if not READY.acquire(timeout=options.limit):
            raise SystemExit(f"not all workers began: {dead(workers)}")
    BEGIN.set()
    start = time.monotonic()
    victims: list[str] = []
    while len(victims) < round(options.killed * options.workers) and any(worker.is_alive() for worker in workers.values()):
        name = generator.choice([name for name in workers if name not in victims])
        if workers[name].is_alive() and is_training(out, workers[name].pid):
            workers[name].kill()
            victims.append(name)
        time.sleep(0.1)
    for name, process in {**processes, **workers}.items():
        process.join(options.limit)
        if process.is_alive():
            print(f"{name} did not end", flush=True)
            process.kill()
    seconds = time.monotonic() - start
    failed = [name for name, process in {**processes, **workers}.items() if name not in victims and process.exitcode]
    return {**counted(out, options.trials), "killed": len(victims), "workers_failed": len(failed), "seconds": round(seconds, 1)}


def dead(workers: dict[str, Any]) -> list[str]:
    return [name for name, process in workers.items() if not process.is_alive()]


def begin(out: Path, name: str, options: argparse.Namespace, engine: str, **place: str) -> Any:
    process = FORK.Process(target=work, args=(out, name, options, engine), kwargs=place)
    process.start()
    return process


def is_training(out: Path, pid: int) -> bool:
    begun = [file.read_text().split() for file in out.glob(f"trials/*.{BEGUN}")]
    done = [file.read_text().split() for file in out.glob(f"trials/*/{DONE}")]
    return sum(lines.count(str(pid)) for lines in begun) > sum(lines.count(str(pid)) for lines in done)


def counted(out: Path, wanted: int) -> dict[str, int]:
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    done = [row for row in rows if row["status"] == "completed"]
    values = {tuple(row[name] for name in ("depth1", "depth2", "depth3", "width")) for row in done}
    ended = sum(len(file.read_text().split()) for file in out.glob(f"trials/*/{DONE}"))
    begun = sum(len(file.read_text().split()) for file in out.glob(f"trials/*.{BEGUN}"))
    return {
        "trials": len(done),
        "lost": wanted - len({row["trial"] for row in done}),
        "twice": len(done) - len(values) + len(rows) - len({row["trial"] for row in rows}),
        "trainings_begun": begun,
        "trained_again": ended - len(done),
    }


@contextmanager
def postgresql(folder: Path) -> Iterator[str | None]:
    """The URL of a server of its own, or None where it is not installed. It does not run as root."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        yield None
        return
    options: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
        options["user"] = "nobody"
    subprocess.run([programs[-1], "-D", folder / "data", "-U", "me", "--auth=trust"], check=True, **options)
    command = [programs[-1].with_name("postgres"), "-D", folder / "data", "-k", folder, "-h", "", "-c", "max_connections=300"]
    server = subprocess.Popen(command, **options)
    file = folder / "data" / "postmaster.pid"
    while not file.exists() or "ready" not in file.read_text():
        time.sleep(0.1)
    try:
        yield f"postgresql://me@/postgres?host={folder}"
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, kind, default in (("workers", int, 100), ("trials", int, 150), ("killed", float, 0.3), ("seconds", float, 10.0)):
        parser.add_argument(f"--{name}", type=kind, default=default)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds until a process that has not ended is killed")
    parser.add_argument("--only", default="", help="a part of the name of what is measured")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows: dict[str, dict] = {}
    data, known = kr.data.load("digits"), space_of(search.Study(space=space))
    optuna_storage.RDBStorage = partial(optuna_storage.RDBStorage, skip_compatibility_check=True)  # type: ignore[misc]
    with TemporaryDirectory() as folder:  # imports what each process needs
        trials.train_in_process = pretend(0.0)
        study = search.Study(space=space, engine="optuna", trials=2, recipe="digits", finalists=1)
        search.run(study, Path(folder, "out"))
    trials.load, trials.space_of = lambda *_, **__: data, lambda study: known  # once, and not in each process
    for name in ("KerasTuner, chief", "Optuna, SQLite", "Optuna, journal", "Optuna, PostgreSQL"):
        if options.only not in name:
            continue
        with TemporaryDirectory() as text, TemporaryDirectory() as other:
            folder = Path(text)
            with postgresql(Path(other)) if "PostgreSQL" in name else nullcontext() as url:
                places: dict[str, dict[str, str | None]] = {
                    "KerasTuner, chief": {"engine": "random", "chief": f"127.0.0.1:{free_port()}"},
                    "Optuna, SQLite": {"engine": "optuna", "storage": f"sqlite:///{folder / 'trials.sqlite3'}"},
                    "Optuna, journal": {"engine": "optuna", "storage": f"journal:{folder / 'trials.journal'}"},
                    "Optuna, PostgreSQL": {"engine": "optuna", "storage": url},
                }
                if "PostgreSQL" in name and not url:
                    print(f"{name}: not installed", flush=True)
                    continue
                rows[name] = measure(folder, options, **places[name])  # type: ignore[arg-type]
                print(name, rows[name], flush=True)
                report(options, rows)


def report(options: argparse.Namespace, rows: dict[str, dict]) -> None:
    """Write what was measured so far."""
    packages = {package: version(package) for package in ("keras-tuner", "optuna", "sqlalchemy")}
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    settings = {"workers": options.workers, "trials": options.trials, "killed": options.killed, "seconds": options.seconds}
    result = {"machine": {**machine, **packages}, "settings": {**settings, "lease": LEASE}, "engines": rows}
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
