"""The chief of a search on many machines: it serves an oracle by KerasTuner's protocol, without its waiting times.

Every call is judged before it reaches the oracle: a call that is refused, or that fails, is told to its caller and changes nothing.
"""

import functools
import math
import time
from collections.abc import Callable
from concurrent import futures
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_resnet.console import quiet
from keras_resnet.errors import InputError
from keras_resnet.hooks import add_servicer, messages
from keras_resnet.search import certificate
from keras_resnet.search.study import SCORE
from keras_resnet.search.wire import (
    LARGEST,
    WORKER_KEY,
    check_address,
    is_trial_name,
    is_worker_name,
    message_of,
    one_line,
    short,
    status_of,
    values_of,
)

POLL = 0.5  # seconds between two looks
MOST_CALLS = 1000  # that wait at once
ANYWHERE = ("0.0.0.0", "[::]")


class Refused(Exception):
    """A call that is not carried out."""

    def __init__(self, why: str, code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT) -> None:
        super().__init__(why)
        self.code = code


def judged(method: Callable[..., Any]) -> Callable[..., Any]:
    """A call as a method of the message, its trial's name and its worker's. Whatever it raises is told to the caller."""

    @functools.wraps(method)
    def call(self: "Servicer", request: Any, context: Any) -> Any:
        try:
            worker = self.worker(context)
            name = getattr(request, "trial", request).trial_id if method.__name__ != "CreateTrial" else None
            if name is not None and not is_trial_name(name):
                raise Refused(f"{short(name)} is not the name of a trial")
            return method(self, request, worker, name)
        except Refused as error:
            code, why = error.code, str(error)
        except Exception as error:
            code, why = grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
        return context.abort(code, one_line(why))

    return call


def unused(self: "Servicer", request: Any, context: Any) -> None:
    """A call of KerasTuner's protocol that no worker of this package makes."""
    context.abort(grpc.StatusCode.UNIMPLEMENTED, "workers of this chief do not ask this")


class Servicer:
    """The calls of workers. A worker ends and scores only a trial that it holds; a call for another one changes nothing."""

    GetSpace = UpdateSpace = GetBestTrials = unused

    def __init__(self, oracle: Any) -> None:
        self.oracle = oracle
        self.last_call: dict[str, tuple[str, float]] = {}  # worker and time, by connection

    def worker(self, context: Any) -> str:
        """The name of the caller. Only one at a time comes through a connection."""
        name, now = str(dict(context.invocation_metadata()).get(WORKER_KEY, "")), time.monotonic()
        if not is_worker_name(name):
            raise Refused(f"{short(name)} is not the name of a worker")
        self.last_call = {peer: call for peer, call in self.last_call.items() if now - call[1] < self.oracle.lease}
        other, _ = self.last_call.get(context.peer(), (name, now))
        if other != name:
            raise Refused(f"this connection is that of the worker {other}")
        self.last_call[context.peer()] = name, now
        return name

    @judged
    def CreateTrial(self, request: Any, worker: str, _: None) -> Any:  # noqa: N802
        if request.tuner_id != worker:
            raise Refused(f"{worker} asks for a trial of {short(request.tuner_id)}")
        return messages().CreateTrialResponse(trial=message_of(self.oracle.create_trial(worker)))

    @judged
    def GetTrial(self, request: Any, worker: str, name: str) -> Any:  # noqa: N802
        is_its_own = self.oracle.is_held(name, worker)
        trial = self.oracle.get_trial(name) if is_its_own else self.oracle.foreign_trial(name)
        return messages().GetTrialResponse(trial=message_of(trial))

    @judged
    def UpdateTrial(self, request: Any, worker: str, name: str) -> Any:  # noqa: N802
        """Enter a score, once. It is that of the run in the folder of the search, where the oracle knows it."""
        metrics = dict(request.metrics)
        if set(metrics) != {SCORE} or not math.isfinite(metrics[SCORE]):
            raise Refused(f"{short(metrics)}: expected {SCORE} and a finite number")
        trial = self.oracle.foreign_trial(name)
        if self.oracle.is_held(name, worker):
            trial = self.oracle.trials[name]
            score, step = self.checked(trial, metrics[SCORE], request.step)
            if not trial.metrics.exists(SCORE):
                self.oracle.update_trial(name, {SCORE: score}, step=step)
        return messages().UpdateTrialResponse(trial=message_of(trial))

    def checked(self, trial: Trial, score: float, step: int) -> tuple[float, int]:
        """The score of a trial and its epoch. Refused if it is not that of the run."""
        if not self.oracle.score_of:
            return score, step
        try:
            found = self.oracle.score_of(trial)
        except InputError as error:
            raise Refused(str(error)) from None
        if not found:
            raise Refused(f"trial {trial.trial_id} has no run in the folder of the chief", grpc.StatusCode.NOT_FOUND)
        if not math.isclose(found[0], score, rel_tol=1e-9):
            raise Refused(f"{SCORE} {score:g} of trial {trial.trial_id}: its run has {found[0]:g}")
        return found

    @judged
    def EndTrial(self, request: Any, worker: str, name: str) -> Any:  # noqa: N802
        """End a trial. Its values are those that were given; of the message only the status is taken."""
        status = status_of(request.trial) or ""
        if status not in (TrialStatus.COMPLETED, TrialStatus.FAILED):
            raise Refused(f"trial {name} cannot end as {short(status)}")
        if self.oracle.is_held(name, worker):
            trial = self.oracle.trials[name]
            if values_of(request.trial) == trial.hyperparameters.values:  # else it is of another list of final trainings
                self.check_end(trial, status)
                self.oracle.end_trial(Trial(trial.hyperparameters.copy(), trial_id=name, status=status))
        return messages().EndTrialResponse()

    def check_end(self, trial: Trial, status: str) -> None:
        """Refused for a trial without a score, or without the log of its failure."""
        if status == TrialStatus.COMPLETED and not trial.metrics.exists(SCORE):
            raise Refused(f"trial {trial.trial_id} is completed without a score")
        if status == TrialStatus.FAILED and self.oracle.score_of and not self.oracle.reason_of(trial):
            raise Refused(f"trial {trial.trial_id} has no log in the folder of the chief", grpc.StatusCode.NOT_FOUND)


class Chief:
    """Serves oracles to workers, one after the other; `tell` is called with each trial and its news.

    Only workers with the certificate in the file `pem`, which is made here, can connect.
    """

    def __init__(self, oracle: Any, address: str, pem: Path, tell: Callable[[Any, str], None]) -> None:
        check_address(address)
        self.servicer, self.address, self.pem, self.tell = Servicer(oracle), address, pem, tell

    def __enter__(self) -> "Chief":
        certificate.prepare(self.pem)
        options = [
            ("grpc.max_receive_message_length", LARGEST),
            ("grpc.so_reuseport", 0),  # no other process shares the port
        ]
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=1), options=options, maximum_concurrent_rpcs=MOST_CALLS)
        add_servicer(self.servicer, self.server)
        port = 0
        with quiet(), suppress(RuntimeError):
            port = self.server.add_secure_port(self.address, certificate.of_server(certificate.read(self.pem)))
        if not port:
            raise InputError(
                f"cannot serve at {self.address!r}: another process has that port, or it is no address of this machine"
            )
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop(grace=1).wait()

    def serve(self, oracle: Any) -> None:
        """Lease the trials of an oracle until all have ended, and every worker knows or waits for the next oracle."""
        self.servicer.oracle = oracle
        while True:
            is_over = oracle.is_over()
            while oracle.news:
                self.tell(*oracle.news.popleft())
            if is_over:
                return
            time.sleep(POLL)
