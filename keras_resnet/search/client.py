"""A worker of a search: it asks the chief on another machine, by KerasTuner's protocol, and judges what comes back."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from keras_tuner import HyperParameters
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_resnet.errors import InputError, WorkerLost
from keras_resnet.hooks import chief_stub, messages
from keras_resnet.search import certificate
from keras_resnet.search.wire import (
    LARGEST,
    WORKER_KEY,
    check_address,
    check_values,
    is_trial_name,
    message_of,
    one_line,
    short,
    status_of,
    values_of,
)

POLL, PATIENCE = 0.5, 600.0  # seconds between two looks, and until a chief is taken for lost
COMING = 60.0  # seconds that a chief may need to start: so long a mark that it left before is not believed
WAIT_FOR = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,  # the call arrived while the chief was closing its server
    grpc.StatusCode.UNKNOWN,  # the connection broke within an answer
    grpc.StatusCode.NOT_FOUND,  # the chief does not see the run yet: folders of a network are slow
)
TOO_MANY = "Concurrent RPC limit exceeded"  # at once


class ChiefIsDone(Exception):
    """There is no chief any more, and it left a mark that all is done."""


class Connection:
    """Calls to the chief at an address. Where there is none, or it was killed, they wait for it: each may be made twice.

    `ChiefIsDone` where there is a file `done`; `WorkerLost` where no chief with the same certificate comes, or a call fails;
    InputError where everyone has rights on the certificate `pem`.
    """

    def __init__(self, address: str, name: str, pem: Path, done: Path, tell: Callable[[str], None]) -> None:
        check_address(address)
        self.address, self.name, self.pem, self.done, self.tell = address, name, pem, done, tell
        self.is_mark_old = done.exists()  # it may be of a search that somebody goes on with just now
        self.content, self.stub = b"", None
        self.is_up = False

    def __call__(self, method: str, request: Any) -> Any:
        start, told = time.monotonic(), ""
        while True:
            try:
                answer = getattr(self.connected(), method)(request, timeout=PATIENCE, metadata=[(WORKER_KEY, self.name)])
                self.is_mark_old, self.is_up = False, True
                return answer
            except FileNotFoundError:
                problem, limit = f"{str(self.pem)!r} does not exist; the chief writes it into its --out", PATIENCE
            except grpc.RpcError as error:
                problem, limit = self.problem(error)
            seconds, self.is_up = time.monotonic() - start, False
            if self.done.exists() and (seconds > COMING or not self.is_mark_old):
                raise ChiefIsDone
            if seconds > limit:
                raise WorkerLost(f"no chief of this search has answered at {self.address} for {limit:g} seconds: {problem}")
            if problem != told:
                self.tell(f"waiting for a chief at {self.address}: {problem}")
                told = problem
            time.sleep(POLL)

    def connected(self) -> Any:
        """What has the calls. After one that failed, the certificate is read again: a chief may have made another one."""
        if self.is_up or (self.stub and not self.pem.exists()):  # in the end the chief removes it
            return self.stub
        content = certificate.read(self.pem)
        if content != self.content:
            options = [
                ("grpc.ssl_target_name_override", certificate.HOST),
                ("grpc.max_reconnect_backoff_ms", 1000),
                ("grpc.max_receive_message_length", LARGEST),
            ]
            channel = grpc.secure_channel(self.address, certificate.of_client(content), options)
            self.content, self.stub = content, chief_stub(channel)
        return self.stub

    def problem(self, error: Any) -> tuple[str, float]:
        """What a call has to wait for, and for how long. WorkerLost if waiting does not help."""
        details = one_line(error.details() or "")
        if error.code() not in WAIT_FOR and TOO_MANY not in details:
            raise WorkerLost(f"the chief failed: {details}") from None
        if "handshake failed" in details:
            return f"the chief there has another certificate than {str(self.pem)!r}; give both the same --out", COMING
        if error.code() == grpc.StatusCode.UNKNOWN:
            return details or "no answer", COMING
        return details if error.code() == grpc.StatusCode.NOT_FOUND else "no answer", PATIENCE


class RemoteOracle:
    """The oracle of a chief. Of a trial it takes name and values, if they are of the space here; all else is not read."""

    prunes = False

    def __init__(self, ask: Connection, space: HyperParameters, most_epochs: int) -> None:
        self.ask, self.space, self.most_epochs = ask, space, most_epochs

    def create_trial(self, tuner_id: str) -> Trial:
        answer = self.ask("CreateTrial", messages().CreateTrialRequest(tuner_id=tuner_id)).trial
        hyperparameters, status = self.space.copy(), status_of(answer)
        if status in (TrialStatus.IDLE, TrialStatus.STOPPED):
            return Trial(hyperparameters, trial_id="", status=status)
        try:
            if status != TrialStatus.RUNNING or not is_trial_name(answer.trial_id):
                raise InputError(f"{short(answer.trial_id)} is not the name of a trial")
            hyperparameters.values = values_of(answer)
            check_values(hyperparameters.values, self.space, self.most_epochs)
        except InputError as error:
            raise InputError(
                f"the chief sent a trial that does not belong to this study: {error}; give both the same study"
            ) from None
        return Trial(hyperparameters, trial_id=answer.trial_id, status=status)

    def should_prune(self, trial_id: str, curve: list[float]) -> bool:
        return False

    def get_trial(self, trial_id: str) -> None:
        """Renew the lease of a trial."""
        self.ask("GetTrial", messages().GetTrialRequest(trial_id=trial_id))

    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> None:
        self.ask("UpdateTrial", messages().UpdateTrialRequest(trial_id=trial_id, metrics=metrics, step=step))

    def end_trial(self, trial: Trial) -> None:
        self.ask("EndTrial", messages().EndTrialRequest(trial=message_of(trial)))
