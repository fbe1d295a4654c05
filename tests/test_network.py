"""The network of a search: who can connect, and what a worker or a chief that is hostile or broken can do. They can do nothing."""

import dataclasses
import functools
import os
import random
import socket
import threading
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace

import grpc
import pytest
from keras_tuner import HyperParameters
from keras_tuner.engine.trial import Trial

import keras_resnet as kr
from keras_resnet import InputError, search
from keras_resnet.errors import WorkerLost
from keras_resnet.hooks import chief_stub, messages
from keras_resnet.search import Study, certificate, client, runner, server, trials
from keras_resnet.search.client import Connection, RemoteOracle
from keras_resnet.search.oracle import oracle_of, space_of
from keras_resnet.search.server import Chief
from keras_resnet.search.wire import check_address, check_values

METHODS = ("GetSpace", "UpdateSpace", "CreateTrial", "UpdateTrial", "EndTrial", "GetBestTrials", "GetTrial")
VICTIM = "../../home/victim/app"


def space(hp):
    return dataclasses.replace(
        kr.SPECS["resnet8"], depths=(hp.Int("depth", 1, 6), 1, 1), activation=hp.Choice("kind", ["relu", "elu"])
    )


STUDY = Study(space=space, trials=3, finalists=1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for module, name in ((trials, "WAIT"), (server, "POLL"), (client, "POLL")):
        monkeypatch.setattr(module, name, 0.05)


@pytest.fixture
def address(free_port):
    return f"127.0.0.1:{free_port}"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "home" / "user" / "out"


def pem_of(out):
    return out / "state" / "certificate.pem"


def calls(address, credentials, worker="mad", local=1):
    """Calls whatever it is told to, with or without a certificate: the status, or OK and the answer."""
    options = [("grpc.ssl_target_name_override", certificate.HOST), ("grpc.use_local_subchannel_pool", local)]
    channel = grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(address, options)
    stub = chief_stub(channel)

    def call(method, request=b"", *, worker=worker):
        if isinstance(request, dict):
            how = getattr(stub, method)
            request = getattr(messages(), f"{method}Request")(**request)
        else:
            how = channel.unary_unary(f"/keras_tuner.Oracle/{method}")
        try:
            return grpc.StatusCode.OK, how(request, timeout=20, metadata=[("worker", worker)] if worker else [])
        except grpc.RpcError as error:
            return error.code(), error.details()

    return call


@contextmanager
def serving(study, out, address):
    """A chief, and what it tells; it is waited for in the end."""
    found = SimpleNamespace(told=[], results=None, error=None)

    def serve():
        try:
            found.results = search.run(study, out, chief=address, lease=60, tell=found.told.append)
        except Exception as error:
            found.error = error

    chief = threading.Thread(target=serve, daemon=True)
    chief.start()
    while chief.is_alive() and not any(line.startswith("waiting for workers") for line in found.told):
        chief.join(0.02)
    yield found
    chief.join(timeout=60)
    assert not chief.is_alive()


def trial(name, status="COMPLETED", **values):
    hyperparameters = HyperParameters()
    hyperparameters.values = values
    return Trial(hyperparameters, trial_id=name, status=status).to_proto()


def everything(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def wrong_calls(given):
    """Every known method with wrong content, of a worker that has the trial `given`: (method, request, part of the answer)."""
    values, name = given.hyperparameters.values.values, given.trial_id
    own = {key: getattr(value, value.WhichOneof("kind")) for key, value in values.items()}
    yield from ((method, {}, "UNIMPLEMENTED") for method in ("GetSpace", "UpdateSpace", "GetBestTrials"))
    other = HyperParameters()
    other.Int("hidden", 1, 2)
    yield "UpdateSpace", {"hyperparameters": other.to_proto()}, "UNIMPLEMENTED"
    yield "CreateTrial", {"tuner_id": "honest"}, "asks for a trial of 'honest'"
    yield "CreateTrial", {"tuner_id": VICTIM}, "asks for a trial of"
    for bad in ("", VICTIM, "/etc", "0001\n", "\u0660\u0660\u0660\u0661", "1", "0" * 1000, "0001/..", "."):
        for method in ("GetTrial", "UpdateTrial"):
            yield method, {"trial_id": bad}, "is not the name of a trial"
        yield "EndTrial", {"trial": trial(bad, **own)}, "is not the name of a trial"
    good = {"val_accuracy": 0.99}
    for metrics in ({}, {"loss": 0.1}, {"val_accuracy": float("nan")}, {"val_accuracy": float("inf")}, {**good, "loss": 1}):
        yield "UpdateTrial", {"trial_id": name, "metrics": metrics}, "expected val_accuracy and a finite number"
    yield "UpdateTrial", {"trial_id": name, "metrics": good, "step": -5}, "has no run in the folder of the chief"
    yield "EndTrial", {"trial": trial(name, "COMPLETED", **own)}, "is completed without a score"
    yield "EndTrial", {"trial": trial(name, "FAILED", **own)}, "has no log in the folder of the chief"
    for status in ("RUNNING", "IDLE", "INVALID", "STOPPED", None):
        yield "EndTrial", {"trial": trial(name, status, **own)}, "cannot end as"
    yield "EndTrial", {}, "is not the name of a trial"
    # Trials of others, or none: the answer is that to a worker that is late, and nothing happens.
    for other in ("0000", "0001", "0002", "0077", "00000"):
        if other != name:
            yield "UpdateTrial", {"trial_id": other, "metrics": good}, "OK"
            yield "GetTrial", {"trial_id": other}, "OK"
            yield "EndTrial", {"trial": trial(other, "COMPLETED", **own)}, "OK"
    yield "EndTrial", {"trial": trial(name, "COMPLETED", depth=10**9)}, "OK"  # of another list


def random_calls(number):
    """Random bytes, and messages whose every part is random: methods and requests."""
    draw = random.Random(number)
    texts = ("", "0000", "0001", "x" * 300, VICTIM, "\x1b[2J", "ä", "1e999", "None")
    numbers = (0, -1, 2**62, -(2**62), 1)
    for index in range(number):
        name, method = draw.choice(texts), draw.choice(METHODS)
        if index % 3 == 0:
            yield draw.choice((*METHODS, "Nothing")), draw.randbytes(draw.choice((0, 1, 7, 100, 10_000)))
        elif method == "EndTrial":
            values = {text: draw.choice((*texts, *numbers, 0.5, True)) for text in draw.sample(texts, 3)}
            yield method, {"trial": trial(name, draw.choice(("COMPLETED", "FAILED", "RUNNING")), **values)}
        else:
            values = {
                "UpdateTrial": {"trial_id": name, "metrics": {draw.choice(("val_accuracy", *texts)): 1e300 * draw.random()}},
                "GetTrial": {"trial_id": name},
                "CreateTrial": {"tuner_id": name},
                "GetBestTrials": {"num_trials": draw.choice((0, -1, 2**31 - 1))},
            }
            yield method, values.get(method, {})


@pytest.mark.parametrize("number", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_worker_gone_mad(number, address, out, pretended, tmp_path):
    """It has the certificate. The chief stays up, an honest worker finishes the search, and no score is foreign."""
    with serving(STUDY, out, address) as chief:
        outside = {path: content for path, content in everything(tmp_path).items() if not path.is_relative_to(out)}
        call = calls(address, certificate.of_client(certificate.read(pem_of(out))))
        for name in (None, "", VICTIM, "x" * 200, "two words"):
            assert "is not the name of a worker" in call("CreateTrial", {"tuner_id": name or ""}, worker=name)[1]
        given = call("CreateTrial", {"tuner_id": "mad"})[1].trial
        assert call("CreateTrial", {"tuner_id": "mad"})[1].trial.trial_id == given.trial_id  # not a second one
        for method, request, words in wrong_calls(given):
            code, answer = call(method, request)
            assert words in (code.name if words.isupper() else answer), (method, request)
            assert len(str(answer if code is not grpc.StatusCode.OK else "").splitlines()) < 2
        assert call("CreateTrial", b"\x0a" + b"\xff" * 5_000_000)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
        for method, request in random_calls(number):
            call(method, request)
        assert not list(out.glob("trials/*"))  # it trained nothing, and nothing was entered
        assert not any("val_accuracy" in line or "failed" in line for line in chief.told)
        search.run(STUDY, out, worker=address, name="mad")  # the same worker, restarted
    assert chief.error is None
    scores = {row["trial"]: row["val_accuracy"] for row in chief.results.rows}
    assert scores == {row["trial"]: (row["depth"] + 2) / 12 for row in chief.results.rows}
    assert list(scores) == ["0000", "0001", "0002"]
    assert chief.results.hyperparameters == ["depth", "kind"]
    assert outside == {path: content for path, content in everything(tmp_path).items() if not path.is_relative_to(out)}
    assert not pem_of(out).exists()  # nobody needs it any more


def test_a_score_is_that_of_the_run(address, out, pretended):
    """And it is entered once, for the worker that has the trial."""
    everywhere = address.replace("127.0.0.1", "0.0.0.0")
    with serving(dataclasses.replace(STUDY, trials=2), out, everywhere) as chief:
        assert f"waiting for workers at {everywhere}, on every network of this machine; those that can read" in chief.told[0]
        credentials = certificate.of_client(certificate.read(pem_of(out)))
        mine, other = (calls(address, credentials, name) for name in ("mine", "other"))
        ask = RemoteOracle(Connection(address, "mine", pem_of(out), out / "none", print), space_of(STUDY), 1)
        given = ask.create_trial("mine")
        _, spec, recipe, seed = runner.Search(STUDY, out, 5.0, print).plan(given)
        place, score = out / "trials" / given.trial_id, sum(spec.depths) / 12
        request = {"trial_id": given.trial_id, "metrics": {"val_accuracy": score}}
        train = functools.partial(trials.train_in_process, STUDY)
        assert "has no run in the folder of the chief" in mine("UpdateTrial", request)[1]
        late = threading.Timer(0.2, train, (spec, recipe, place, seed))  # folders of a network are slow
        late.start()
        ask.update_trial(given.trial_id, {"val_accuracy": score})
        assert place.exists()
        for wrong in (
            (spec, dataclasses.replace(recipe, epochs=999), place, seed),
            (spec, recipe, place, seed + 1),
            (dataclasses.replace(spec, activation="tanh"), recipe, place, seed),
        ):
            train(*wrong)
            assert "is of another training than the trial; give" in mine("UpdateTrial", request)[1]
        failed = RemoteOracle(Connection(address, "other", pem_of(out), out / "none", print), space_of(STUDY), 1)
        second = failed.create_trial("other")
        second.status = "FAILED"
        (out / "trials" / "0001.log").write_bytes(b"\xff\n\x1b[2J no memory")
        failed.end_trial(second)  # the run of the other trial, which is another training now, is not looked at
        train(spec, recipe, place, seed)
        false = {**request, "metrics": {"val_accuracy": 0.99}}
        assert f"val_accuracy 0.99 of trial 0000: its run has {score:g}" in mine("UpdateTrial", false)[1]
        for content, words in (
            ('{"validation": []}', "is damaged"),
            ("[]", "is damaged"),
            ("{", "is damaged"),
            ('{"validation": {"accuracy": 2}, "kept_epoch": 1, "seed": 0}', "is of another training"),
        ):
            (place / "metrics.json").write_text(content)
            assert words in mine("UpdateTrial", request)[1]
        train(spec, recipe, place, seed)
        for caller in (other, mine, mine):
            assert caller("UpdateTrial", request)[0] == grpc.StatusCode.OK
        given.status = "COMPLETED"
        assert other("EndTrial", {"trial": given.to_proto()})[0] == grpc.StatusCode.OK
        assert not any("val_accuracy" in line for line in chief.told)
        search.run(STUDY, out, worker=address, name="mine")
    assert [(row["val_accuracy"], row["reason"]) for row in chief.results.rows] == [(score, ""), (None, "[2J no memory")]


def test_the_door(address, tmp_path):
    """Without the certificate, or with another one, no call arrives; a port scanner is told nothing."""
    pem, foreign = tmp_path / "certificate.pem", tmp_path / "foreign.pem"
    certificate.prepare(foreign)
    oracle = oracle_of(STUDY, space_of(STUDY), tmp_path / "state", lambda values: "", 60.0)
    with Chief(oracle, address, pem, print):
        root = certificate.parts(certificate.read(pem))[1]
        key, chain = certificate.parts(certificate.read(foreign))
        strangers = (
            *(None, certificate.of_client(certificate.read(foreign)), grpc.ssl_channel_credentials(root)),
            *(grpc.ssl_channel_credentials(root, key, chain), grpc.ssl_channel_credentials(root, key, root)),
        )
        for credentials in strangers:
            assert calls(address, credentials)("CreateTrial", {"tuner_id": "mad"})[0] == grpc.StatusCode.UNAVAILABLE
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as scanner:
            scanner.sendall(b"GET / HTTP/1.1\r\n\r\n" * 50)
            assert scanner.recv(100) == b""
        assert not oracle.trials
        second = Chief(oracle, address, pem, print)
        with pytest.raises(InputError, match="another process has that port"), second:
            pass
        friend = calls(address, certificate.of_client(certificate.read(pem)))
        assert friend("CreateTrial", {"tuner_id": "mad"})[0] == grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("none", "certificate.pem' does not exist; the chief writes it into its --out"),
        ("other", "the chief there has another certificate"),
    ],
)
def test_a_worker_without_the_certificate_is_told(which, words, address, monkeypatch, out, tmp_path):
    monkeypatch.setattr(client, *(("PATIENCE", 0.3) if which == "none" else ("COMING", 2.0)))
    told = []
    if which == "other":
        certificate.prepare(pem_of(out))
    with Chief(None, address, tmp_path / "certificate.pem", print), pytest.raises(WorkerLost, match=words) as error:
        search.run(STUDY, out, worker=address, name="lost", tell=told.append)
    assert len(str(error.value).splitlines()) == 1
    assert len(told) == 1
    assert told[0].startswith(f"waiting for a chief at {address}: ")
    assert list(everything(out)) == ([out / "state", pem_of(out)] if which == "other" else [])


def test_a_chief_that_does_not_come_back(address, monkeypatch, tmp_path):
    """And one that does, with another certificate."""
    pem = tmp_path / "certificate.pem"
    oracle = oracle_of(STUDY, space_of(STUDY), tmp_path / "state", lambda values: "", 60.0)
    ask = RemoteOracle(Connection(address, "one", pem, tmp_path / "over", print), space_of(STUDY), 1)
    for _ in range(2):
        with Chief(oracle, address, pem, print):
            given = ask.create_trial("one")
            assert given.hyperparameters.values == oracle.trials[given.trial_id].hyperparameters.values
        with (
            monkeypatch.context() as patch,
            pytest.raises(WorkerLost, match=r"no chief of this search has answered at .* for 1 seconds: no answer"),
        ):
            patch.setattr(client, "PATIENCE", 1.0)
            ask.get_trial(given.trial_id)
        pem.unlink()


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED", "UNKNOWN"])  # gRPC reports any of them
def test_a_call_that_a_chief_cuts_off_while_it_closes(code, address, tmp_path):
    """It is made again."""
    pem, codes, told = tmp_path / "certificate.pem", [grpc.StatusCode[code]], []
    certificate.prepare(pem)

    def answer(request, context):
        if codes:
            context.abort(codes.pop(), code)
        return messages().GetTrialResponse().SerializeToString()

    handlers = {"GetTrial": grpc.unary_unary_rpc_method_handler(answer)}
    chief = grpc.server(server.futures.ThreadPoolExecutor(1))
    chief.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("keras_tuner.Oracle", handlers)])
    chief.add_secure_port(address, certificate.of_server(certificate.read(pem)))
    chief.start()
    try:
        RemoteOracle(Connection(address, "one", pem, tmp_path / "over", told.append), space_of(STUDY), 1).get_trial("0000")
    finally:
        chief.stop(None)
    assert told == [f"waiting for a chief at {address}: {'UNKNOWN' if code == 'UNKNOWN' else 'no answer'}"]
    assert not codes


def test_the_file_of_the_certificate(monkeypatch, tmp_path):
    pem = tmp_path / "state" / "certificate.pem"
    certificate.prepare(pem)
    first = certificate.read(pem)
    assert pem.stat().st_mode & 0o777 == 0o600
    certificate.prepare(pem)
    assert certificate.read(pem) == first  # workers go on with it

    def mend(words):
        before = pem.read_bytes()
        with pytest.raises(InputError, match=words):
            certificate.read(pem)
        certificate.prepare(pem)
        assert certificate.read(pem) != before
        assert list(pem.parent.iterdir()) == [pem]

    for mode in (0o604, 0o602, 0o777):
        pem.chmod(mode)
        mend(rf"is open to everyone \(mode {mode:o}\): start the chief again")
    key, chain = certificate.parts(certificate.read(pem))
    for content in (b"", b"x" * 1000, first[:300], key, chain, certificate.parts(first)[0] + chain):
        pem.write_bytes(content)
        mend("is damaged, or no longer valid")
    with monkeypatch.context() as patch:
        patch.setattr(certificate, "VALID", timedelta(seconds=-9))
        pem.write_bytes(certificate.new())
    mend("is damaged, or no longer valid")


def test_a_file_system_without_rights_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(certificate, "put_in_place", lambda source, target: (source.chmod(0o666), source.rename(target)))
    with pytest.raises(InputError, match="lets everyone read the certificate: choose another --out"):
        certificate.prepare(tmp_path / "certificate.pem")
    assert not list(tmp_path.iterdir())


def values_message(**values):
    return messages().CreateTrialResponse(trial=trial("0000", "RUNNING", **values))


HOSTILE = [
    *(
        messages().CreateTrialResponse(trial=trial(name, "RUNNING", depth=1))
        for name in (VICTIM, "", "/x", "\u0660\u0660\u0660\u0661", "0001\n", "0" * 99)
    ),
    *(messages().CreateTrialResponse(trial=trial("0000", status, depth=1)) for status in ("COMPLETED", "FAILED", "INVALID", None)),
    *(values_message(depth=value) for value in (0, 7, 10**9, "1", 1.0, True, "../x")),
    *(values_message(kind=value) for value in ("gelu", VICTIM, 0, "")),
    values_message(hidden=1),
    *(values_message(**{"final/trial": value, "final/seed": 0}) for value in (VICTIM, "", 1, "0000-seed0/..")),
    *(values_message(**{"final/trial": "0000", "final/seed": value}) for value in (VICTIM, -1, True, 2**40, 0.5)),
    *(values_message(**{name: value}) for name, value in (("final/trial", "0000"), ("final/seed", 0))),  # one without the other
    *(values_message(**{"tuner/epochs": value}) for value in (0, 2, 10**12, "9")),
    *(values_message(**{"tuner/anything": value}) for value in ("x", -1, 0.5)),
    messages().CreateTrialResponse(),
]


@pytest.mark.parametrize("answer", HOSTILE, ids=range(len(HOSTILE)))
def test_a_trial_of_a_hostile_chief_is_refused(answer):
    oracle = RemoteOracle(lambda method, request: answer, space_of(STUDY), 1)
    with pytest.raises(
        InputError, match=r"the chief sent a trial that does not belong to this study: .*; give both the same study"
    ) as error:
        oracle.create_trial("one")
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 300


def test_rounding_below_zero_is_no_hostility():
    hyperparameters = HyperParameters()
    hyperparameters.Float("shift", -0.3, 0.0, step=0.1)
    check_values({"shift": -0.3 + 3 * 0.1}, hyperparameters, 1)
    with pytest.raises(InputError, match="is not in the space"):
        check_values({"shift": 0.1}, hyperparameters, 1)


@pytest.mark.parametrize("kind", ["path", "bytes", "large", "words"])
def test_a_hostile_chief(kind, address, out, pretended, tmp_path):
    """It has the certificate. The worker ends with one line, and nothing is written."""

    def answer(request, context):
        if kind == "words":
            context.abort(grpc.StatusCode.INTERNAL, "\x1b[2J\nkeras-resnet: all is well")
        return (
            b"\xff" * 999 if kind == "bytes" else messages().CreateTrialResponse(trial=trial(VICTIM, "RUNNING")).SerializeToString()
        )

    pem = pem_of(out)
    pem.parent.mkdir(parents=True)
    (tmp_path / "home" / "victim").mkdir()
    (tmp_path / "home" / "victim" / "app.log").write_text("mine")
    certificate.prepare(pem)
    handler = grpc.unary_unary_rpc_method_handler(answer)
    hostile = grpc.server(server.futures.ThreadPoolExecutor(1))
    hostile.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("keras_tuner.Oracle", {"CreateTrial": handler})])
    hostile.add_secure_port(address, certificate.of_server(certificate.read(pem)))
    hostile.start()
    before = everything(tmp_path)
    with pytest.raises((InputError, WorkerLost)) as error:
        search.run(STUDY, out, worker=address, name="one")
    assert str(error.value).isprintable()
    assert everything(tmp_path) == before
    assert not pretended[1]
    hostile.stop(None)


@pytest.mark.parametrize(
    "address",
    [
        "8000",
        ":8000",
        "here",
        "here:",
        "here:x",
        "here:0",
        "here:65536",
        "here:\u0661",
        "::1:8000",
        "unix:/tmp/x:80",
        "dns:///x:80",
    ],
)
def test_an_address_that_is_none(address):
    for options in ({"chief": address}, {"worker": address}):
        with pytest.raises(InputError, match="is not an address: expected HOST:PORT"):
            search.run(STUDY, "nowhere", **options)
    check_address("[::1]:8000")


def test_a_name_of_a_worker(out):
    for name in (VICTIM, "two words", "-x", "x" * 101, "\u00e4"):
        with pytest.raises(InputError, match="a worker's name is a letter or digit, and up to 99 more of"):
            search.run(STUDY, out, worker="127.0.0.1:1", name=name)


def test_a_pipe_in_the_place_of_the_certificate_is_told(tmp_path):
    os.mkfifo(tmp_path / "certificate.pem")
    with pytest.raises(InputError, match=r"certificate.pem' is a named pipe, not a regular file"):
        certificate.read(tmp_path / "certificate.pem")
