"""A search over specs: KerasTuner's engines, budgets that are checked before anything is built, each trial in its own process.

`study` is the question, `budget` what may be spent, `latency` how long a file will take, `oracle` draws, `kept` keeps account,
`worker` trains, `server` brings many machines together, `results` and `page` tell; `under_way` is the course of it all.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_resnet.atomic import occupied, replace_text
from keras_resnet.errors import InputError
from keras_resnet.search.budget import Budget, widest
from keras_resnet.search.hypermodel import HyperResNet, residual_space
from keras_resnet.search.results import STATE, Results
from keras_resnet.search.runner import OVER, Search
from keras_resnet.search.server import Chief, ChiefIsDone, connected
from keras_resnet.search.study import ENGINES, Study, load_study

__all__ = ["ENGINES", "Budget", "HyperResNet", "Results", "Study", "load_study", "residual_space", "run", "widest"]

LEASE, SHORTEST = 60.0, 5.0  # seconds of silence after which a worker is taken for lost, and the fewest that may be
HERE = "here"  # the name of the worker where there is but one


def run(
    study: str | Path | Study,
    out: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    trials: int | None = None,
    measure_latency: bool = False,
    chief: str | None = None,
    worker: str | None = None,
    name: str | None = None,
    lease: float = LEASE,
    tensorboard: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Results:
    """Carry out a study, or go on with it, and leave its results.

    Args:
        study: a `Study`, or the path of a file that has one.
        out: the folder to write: `results.csv`, `results.html`, `trials/` with a run each, `winner/` with that of the best network.
            None for a folder beside the study's file, with its name.
        data_dir: where the images are, in place of what the study says.
        trials: how many, in place of the study's own number.
        measure_latency: measure the latency of each network whole, as the study may say itself.
        chief: "host:port" to serve workers there, in place of training here.
        worker: "host:port" of the chief to train for. It writes its runs to `out`, which all machines must see.
        name: of this worker; None for one of its own. One that comes back under its name gets its trial again.
        lease: seconds after which a worker that was not heard of is taken for lost, and its trial given to another one.
        tensorboard: write `tensorboard/` too, for its HParams.
        tell: called with a line for each thing that happens.

    Returns: the `Results`; those of a worker are empty. InputError for a study that is none, an `out` that another process holds or
    that has the results of another study, and where three trials in a row fail, with the reason of the last.
    """
    path = None if isinstance(study, Study) else Path(study)
    found = study if isinstance(study, Study) else load_study(study)
    if out is None and path is None:
        raise InputError("a study that is not a file needs out=, the folder to write")
    if lease < SHORTEST:
        raise InputError(f"lease={lease:g}: must be at least {SHORTEST:g} seconds")
    if chief and worker:
        raise InputError("a process is the chief or a worker, not both")
    changes: dict[str, Any] = {"data_dir": str(data_dir)} if data_dir else {}
    if trials is not None:
        changes["trials"] = trials
    if measure_latency:
        changes["measure_latency"] = True
    found = replace(found, **changes)
    search = Search(found, Path(out or path.with_suffix("")), lease, tell)  # type: ignore[union-attr]
    if worker:
        chosen = connected(worker, name or f"{os.uname().nodename}-{os.getpid()}", search.out / STATE / OVER, tell)
        with suppress(ChiefIsDone):
            search.work(chosen.oracle, chosen.name)
        tell("the search is over")
        return search.results
    with occupied(search.out / STATE, "searching"):
        search.begin()
        if chief:
            search.oracle.followed = True
            with Chief(search.oracle, chief, search.tell_of) as serving:
                tell(f"waiting for workers at {chief}")
                try:
                    search.carry_out(serving.serve)
                except InputError:
                    replace_text(search.out / STATE / OVER, "")
                    raise
                replace_text(search.out / STATE / OVER, "")
        else:
            search.carry_out(lambda oracle: search.work(oracle, HERE))
        if tensorboard:
            search.results.write_tensorboard(search.out / "tensorboard")
    return search.results
