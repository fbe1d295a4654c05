"""The page to try a network: what it answers for a picture, and whom it answers."""

import http.client
import io
import json
import os
import shutil
import subprocess
import threading
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

import keras_resnet as kr
from keras_resnet.demo import server as module
from keras_resnet.demo.answers import Answers, page, strongest
from keras_resnet.demo.server import Server


@pytest.fixture
def served():
    """A server whose answer is the number of bytes of a picture, and a function that asks it: (status, body)."""

    def answer(content):
        if content == b"no picture":
            raise kr.InputError("this is not a readable image: it is text")
        return {"bytes": len(content)}

    server = Server("<p>the page</p>", answer, port=0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def ask(method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.putrequest(method, path, skip_host=True)
        given = {"Host": f"127.0.0.1:{server.server_port}", **headers}
        if body is not None:
            given.setdefault("Content-Length", str(len(body)))
        for name, value in given.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.read().decode()

    ask.server, ask.url, ask.origin = server, server.url, server.url.removesuffix("/")
    yield ask
    server.shutdown()
    server.server_close()
    thread.join()


def test_page_and_pictures(served):
    assert served("GET", "/") == (200, "<p>the page</p>")
    assert served("POST", "/picture", b"12345", Origin=served.origin) == (200, '{"bytes": 5}')
    status, body = served("POST", "/picture", b"no picture", Origin=served.origin)
    assert (status, json.loads(body)) == (400, {"error": "this is not a readable image: it is text"})
    assert served("GET", "/etc/passwd")[0] == 404
    assert served("POST", "/", b"1", Origin=served.origin)[0] == 404


def test_other_sites_are_refused(served):
    port = served.origin.rpartition(":")[2]
    assert served("GET", "/", Host=f"evil.example:{port}")[0] == 403  # a name that leads here
    assert served("GET", "/", Host=f"localhost:{port}")[0] == 200
    assert served("POST", "/picture", b"1", Origin="http://evil.example")[0] == 403
    assert served("POST", "/picture", b"1")[0] == 403
    assert served("POST", "/picture", b"1", Host=f"evil.example:{port}", Origin=f"http://evil.example:{port}")[0] == 403


def test_the_name_that_it_listens_at_is_served(served):
    served.server.host = "Desk.example"
    port = served.origin.rpartition(":")[2]
    for host in (f"desk.example:{port}", f"Desk.example:{port}"):
        assert served("GET", "/", Host=host)[0] == 200
        assert served("POST", "/picture", b"1", Host=host, Origin=f"http://{host}")[0] == 200


def test_requests_that_are_too_large_or_of_no_length(served, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 4)
    assert served("POST", "/picture", b"12345", Origin=served.origin)[0] == 413
    assert served("POST", "/picture", Origin=served.origin, **{"Content-Length": "9" * 5000})[0] == 413
    assert served("POST", "/picture", Origin=served.origin)[0] == 411
    assert served("POST", "/picture", Origin=served.origin, **{"Content-Length": "-1"})[0] == 411


def test_what_to_open_elsewhere(monkeypatch):
    monkeypatch.setattr(module, "own_address", lambda: "192.168.1.7")
    with Server("", dict, host="0.0.0.0", port=0) as server:
        assert server.url == f"http://192.168.1.7:{server.server_port}/"


def test_a_file_that_gives_no_answer_does_not_hide_the_others(small_run):
    answers = Answers(small_run)
    answers.files[0].close()
    [row] = (answers.row(file, np.zeros((1, 8, 8, 1), "uint8")) for file in answers.files)
    answers.close()
    assert "it was closed" in row["problem"]


def test_a_taken_port_is_told(served):
    with pytest.raises(kr.InputError, match=r"cannot listen on 127.0.0.1:.*choose another --port"):
        Server("", dict, port=int(served.origin.rpartition(":")[2]))


def test_strongest_channel_is_a_grey_picture():
    maps = np.stack([np.zeros((2, 2)), [[-3.0, 1.0], [0.0, 1.0]]], -1)
    assert strongest(maps).tolist() == [[[0.0], [255.0]], [[191.25], [255.0]]]
    assert strongest(np.zeros((2, 2, 3))).shape == (2, 2, 1)


def test_answers_of_a_run(small_run):
    answers = Answers(small_run)
    try:
        content = io.BytesIO()
        Image.open(small_run.path / "sample.png").convert("RGB").resize((40, 30)).save(content, "JPEG")
        found = answers.for_picture(content.getvalue())
        [row] = found["files"]
        assert row["file"] == "model.keras"
        assert len(row["classes"]) == 5
        assert row["milliseconds"] > 0
        assert sum(each["probability"] for each in row["classes"]) <= 1 + 1e-6
        assert found["heat"].startswith("data:image/")
        assert [stage["name"] for stage in found["stages"]] == ["stage1_block1_out"]
        with pytest.raises(kr.InputError, match="this is not a readable image"):
            answers.for_picture(b"text")
    finally:
        answers.close()


class Chromium:
    """A page in a headless browser, driven over a pipe: `ask` sends a command of its debugging protocol."""

    def __init__(self, url, profile):
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if not program:
            pytest.skip("Chromium is not installed")
        (theirs, self.to), (self.back, mine) = os.pipe(), os.pipe()
        start = (
            f'exec "$0" --headless --no-sandbox --disable-gpu --remote-debugging-pipe --user-data-dir="$1" 3<&{theirs} 4>&{mine}'
        )
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(["bash", "-c", start, program, profile], pass_fds=[theirs, mine], **quiet)
        os.close(theirs), os.close(mine)
        self.answers, self.session, self.number, self.errors = os.fdopen(self.back, "rb"), None, 0, []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self.ask(f"{domain}.enable")
        self.ask("Page.navigate", url=url)
        self.run("new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', () => done()))")

    def ask(self, method, **parameters):
        self.number += 1
        session = {"sessionId": self.session} if self.session else {}
        os.write(self.to, json.dumps({"id": self.number, "method": method, "params": parameters, **session}).encode() + b"\0")
        while True:
            message = b""
            while not message.endswith(b"\0"):
                message += self.answers.read(1)
            found = json.loads(message[:-1])
            if found.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.errors.append(found["params"])
            if found.get("id") == self.number:
                return found["result"]

    def run(self, script):
        return self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)["result"].get("value")

    def close(self):
        self.process.kill()
        self.process.wait()


SEND = """(async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 30, height: 20 })
  canvas.getContext("2d").fillRect(9, 3, 6, 14)
  await ask(await new Promise((done) => canvas.toBlob(done)))
  return document.getElementById("answer").innerText
})()"""


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_page_in_a_browser(small_run, tmp_path, width, scheme):
    answers = Answers(small_run)
    server = Server(page(small_run), answers.for_picture, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = Chromium(server.url, tmp_path / "profile")
    try:
        browser.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        shown = browser.run(SEND)
        assert "model.keras" in shown
        assert "Grad-CAM of the best class" in shown
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run("document.querySelectorAll('#stages img')[0].naturalWidth") > 0
        assert browser.run("ask(new Blob(['text'])).then(() => document.getElementById('problem').textContent)").startswith(
            "this is not"
        )
        assert [error for error in browser.errors if "favicon" not in str(error) and "400" not in str(error)] == []
        browser.run(SEND)
        (tmp_path / f"{scheme}.png").write_bytes(b64decode(browser.ask("Page.captureScreenshot")["data"]))
    finally:
        browser.close()
        server.shutdown()
        server.server_close()
        answers.close()
