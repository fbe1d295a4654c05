"""A search on many machines: the chief and the client of KerasTuner's own protocol, without its waiting times."""

import os
import time
from collections.abc import Callable
from concurrent import futures
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc

from keras_resnet.console import quiet
from keras_resnet.errors import InputError, WorkerLost
from keras_resnet.hooks import add_servicer, chief_stub, oracle_client, oracle_servicer

POLL, PATIENCE = 0.5, 600.0  # seconds between two looks, and until a chief is taken for lost
COMING = 60.0  # seconds that a chief may need to start: so long a mark that it left before is not believed


class Chief:
    """Serves oracles to workers, one after the other; `tell` is called with each trial and its news."""

    def __init__(self, oracle: Any, address: str, tell: Callable[[Any, str], None]) -> None:
        check_address(address)
        self.servicer, self.address, self.tell = oracle_servicer(oracle), address, tell

    def __enter__(self) -> "Chief":
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
        add_servicer(self.servicer, self.server)
        port = 0
        with quiet(), suppress(RuntimeError):
            port = self.server.add_insecure_port(self.address)
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


class ChiefIsDone(Exception):
    """There is no chief any more, and it left a mark that all is done."""


def connect(address: str, name: str, done: Path, tell: Callable[[str], None] = lambda line: None) -> Any:
    """The oracle of the chief at that address, for a worker of that name. Calls to a chief that is gone wait for its return, or
    for the mark that it leaves when it is done."""
    host, port = check_address(address)
    variables = {"KERASTUNER_ORACLE_IP": host, "KERASTUNER_ORACLE_PORT": port, "KERASTUNER_TUNER_ID": name}
    original = {variable: os.environ[variable] for variable in variables if variable in os.environ}
    os.environ |= variables
    client = oracle_client()
    for variable in variables:  # with them every tuner of this process would look for that chief
        del os.environ[variable]
    os.environ |= original
    channel = grpc.insecure_channel(address, options=[("grpc.max_reconnect_backoff_ms", 1000)])
    client.stub = RetryingStub(chief_stub(channel), done, lambda: tell(f"waiting for a chief at {address}"))
    return client


class RetryingStub:
    """A stub whose calls are made again where the chief was killed while it answered: each of them may be made twice.

    `ChiefIsDone` where there is a file `done`; `WorkerLost` where the chief does not come back, or something broke in it.
    """

    def __init__(self, stub: Any, done: Path, on_wait: Callable[[], None]) -> None:
        self.stub, self.done, self.on_wait = stub, done, on_wait
        self.is_mark_old = done.exists()  # it may be of a search that somebody goes on with just now

    def __getattr__(self, method: str) -> Any:
        def call(request: Any, **options: Any) -> Any:
            start, is_waiting = time.monotonic(), False
            while (seconds := time.monotonic() - start) < PATIENCE:
                try:
                    answer = getattr(self.stub, method)(request, **{**options, "timeout": PATIENCE, "wait_for_ready": False})
                    self.is_mark_old = False
                    return answer
                except grpc.RpcError as error:
                    if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                        raise WorkerLost(f"the chief failed: {error.details()}") from None
                    if self.done.exists() and (seconds > COMING or not self.is_mark_old):
                        raise ChiefIsDone from None
                    if not is_waiting:
                        self.on_wait()
                        is_waiting = True
                    time.sleep(POLL)
            raise WorkerLost(f"the chief has not answered for {PATIENCE:g} seconds: start it again, and then this worker")

        return call


def check_address(address: str) -> tuple[str, str]:
    """Host and port of an address. InputError if it is none."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"{address!r} is no address: expected HOST:PORT, such as 10.0.0.1:8000")
    return host, port
