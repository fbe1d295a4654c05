"""A search over specs: KerasTuner's engines or Optuna, budgets that are checked before anything is built, trials in own processes.

`study` says what is searched, `budget` sets limits, `limit` compares networks with one, `latency` predicts the time of a file.
`engine` says what an engine does: `oracle` draws the values of trials by KerasTuner, and `leases` gives them to workers;
`optuna_engine` and `optuna_leases` do so by Optuna, `optuna_studies` opens it in an `optuna_storage`, `optuna_attributes` checks
what trials have there, and `optuna_space` translates the space. `trials` trains trials, each by a `worker` from the images in
`sources`; `runner` runs the study, and `results` and `page` write the results. With KerasTuner on many machines `server` is the
chief and `client` a worker, `certificate` lets only them connect, and `wire` says what they may send. `hypermodel` is for scripts
that use KerasTuner themselves.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_resnet.atomic import occupied, replace_text
from keras_resnet.errors import InputError
from keras_resnet.runs.run import check_outside
from keras_resnet.search import certificate
from keras_resnet.search.budget import Budget, widest
from keras_resnet.search.client import ChiefIsDone, Connection, RemoteOracle
from keras_resnet.search.hypermodel import HyperResNet, residual_space
from keras_resnet.search.results import STATE, Results
from keras_resnet.search.runner import OVER, Search
from keras_resnet.search.server import ANYWHERE, Chief
from keras_resnet.search.study import ENGINES, OPTUNA, PRUNERS, Study, load_study
from keras_resnet.search.wire import check_address, check_worker_name

__all__ = ["ENGINES", "PRUNERS", "Budget", "HyperResNet", "Results", "Study", "load_study", "residual_space", "run", "widest"]

LEASE, SHORTEST = 60.0, 5.0  # seconds of silence after which a worker is taken for lost, and the least of them
HERE = "here"  # the name of the worker where there is but one


def run(
    study: str | Path | Study,
    out: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    trials: int | None = None,
    measure_latency: bool = False,
    runtime: str | None = None,
    chief: str | None = None,
    worker: str | None = None,
    name: str | None = None,
    lease: float = LEASE,
    storage: str | None = None,
    tensorboard: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Results:
    """Run a study, or resume it, and write its results.

    Args:
        study: a `Study`, or the path of a file with one.
        out: the folder to write: `results.csv`, `results.html`, `trials/` with a run each, `winner/` with that of the best network.
            None for a folder beside the study's file, with its name.
        data_dir: where the images are, in place of what the study says.
        trials: how many, in place of the study's own number.
        measure_latency: measure the latency of each whole network, as the study may say itself.
        runtime: of LiteRT, that latencies are measured by, in place of the study's own: "interpreter" or "compiled".
        chief: "host:port" to serve workers there, in place of training here. Only those that can read its certificate in `out` can
            connect.
        worker: "host:port" of the chief to train for. It writes its runs to `out`, which all machines must see.
        name: of this worker; None for a new one. A worker that is restarted with the same name gets its trial back.
        lease: seconds of silence after which a worker counts as lost, and another one resumes its trial.
        storage: where engine="optuna" stores its study: "sqlite:///FILE", "postgresql://...", "mysql://..." or "journal:FILE".
            None for a SQLite file in `out`. Processes with the same study, storage and `out` share the trials, on any machines.
        tensorboard: write `tensorboard/` too, for its HParams.
        tell: called with each line of progress.

    Returns: the `Results`; those of a worker are empty. InputError for an invalid study, if another process uses `out` or it has
    the results of another study, and if three trials in a row fail, with the reason of the last.
    """
    if chief and worker:
        raise InputError("a process is either the chief or a worker")
    if address := chief or worker:
        check_address(address)
    if isinstance(study, Study) and not out:
        raise InputError("a study that is not a file needs out=, a folder to write")
    question = study if isinstance(study, Study) else load_study(study)
    check_engine(question, storage, address)
    folder = Path(out or Path(study).with_suffix(""))  # type: ignore[arg-type]
    if lease < SHORTEST:
        raise InputError(f"lease={lease:g}: must be at least {SHORTEST:g} seconds")
    options = {"data_dir": str(data_dir) if data_dir else None, "trials": trials, "measure_latency": measure_latency or None}
    options["runtime"] = runtime
    changes: dict[str, Any] = {field: value for field, value in options.items() if value is not None}
    search = Search(replace(question, **changes), folder, lease, tell)
    check_outside(folder, search.data.origin["source"])
    is_one_of_many = worker or question.engine == OPTUNA
    name = check_worker_name(name or f"{os.uname().nodename}-{os.getpid()}") if is_one_of_many else HERE
    if worker:
        work_for(worker, search, name)
        return search.results
    with search.with_optuna(storage) if question.engine == OPTUNA else occupied(folder / STATE, "searching"):
        search.begin()
        if chief:
            serve(search, chief)
        else:
            search.carry_out(lambda oracle: search.work(oracle, name))
        if tensorboard:
            with search.writing():
                search.results.write_tensorboard(folder / "tensorboard")
    return search.results


def check_engine(study: Study, storage: str | None, address: str | None) -> None:
    """InputError for what the engine of a study does not have."""
    if storage and study.engine != OPTUNA:
        raise InputError(f"a storage is for engine='optuna'; the study has {study.engine!r}")
    if address and study.engine == OPTUNA:
        raise InputError("engine='optuna' has no chief: run the same command on each machine, with --storage")


def serve(search: Search, address: str) -> None:
    """Carry out a search as the chief, and leave a mark in the end that workers may go."""
    oracle: Any = search.oracle
    oracle.has_successor = True
    pem, over = (search.out / STATE / name for name in (certificate.FILE, OVER))

    def end() -> None:
        replace_text(over, "")
        pem.unlink(missing_ok=True)

    with Chief(oracle, address, pem, lambda trial, news: search.tell(f"{search.title(trial)}: {news}")) as chief:
        everywhere = ", on every network of this machine" if address.rpartition(":")[0] in ANYWHERE else ""
        search.tell(f"waiting for workers at {address}{everywhere}; those that can read {str(pem)!r} can connect")
        try:
            search.carry_out(chief.serve)
        except InputError:
            end()
            raise
        end()


def work_for(address: str, search: Search, name: str) -> None:
    """Train the trials of the chief at an address, until it says or has left a mark that the search is over."""
    ask = Connection(address, name, search.out / STATE / certificate.FILE, search.out / STATE / OVER, search.tell)
    with suppress(ChiefIsDone):
        search.work(RemoteOracle(ask, search.space, search.study.trained_by({}).epochs), name)
    search.tell("the search is over")
