"""The page to try a network: what it answers for a picture, and whom it answers."""

import gzip
import http.client
import io
import json
import os
import re
import shutil
import subprocess
import threading
from base64 import b64decode, b64encode
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import keras_resnet as kr
from keras_resnet.atomic import write_json
from keras_resnet.data.images import decode
from keras_resnet.demo import litert_js
from keras_resnet.demo import server as module
from keras_resnet.demo.answers import Answers, page, strongest
from keras_resnet.demo.server import Server
from keras_resnet.demo.static import one_at_a_time, write_static
from keras_resnet.fields import to_json
from keras_resnet.files.manifest import digests
from keras_resnet.files.model_file import ModelFile
from keras_resnet.files.predictions import best
from keras_resnet.report import templates
from keras_resnet.runs.run import Run


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
        assert "Grad-CAM of the top class" in shown
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


@pytest.fixture
def runtime(tmp_path):
    """A folder with what is read of the npm package, which does nothing."""
    folder = tmp_path / "core"
    (folder / "wasm").mkdir(parents=True), (folder / "dist").mkdir()
    write_json(folder / "package.json", {"name": "@litertjs/core", "version": "2.5.9"})
    (folder / litert_js.LOADER).write_text("var ModuleFactory = 1;")
    (folder / litert_js.BINARY).write_bytes(b"wasm")
    (folder / litert_js.LIBRARY).write_text(
        f"{litert_js.IMPORT}var loadLiteRt = 2;\nexport {{\n  loadLiteRt\n}};\n//# sourceMappingURL=a"
    )
    return folder


def tflite_file(sides):
    """The content of a TFLite file with one tensor of these sides, -1 for an open one, and no operation."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    tensor, graph, model = schema.TensorT(), schema.SubGraphT(), schema.ModelT()
    tensor.shape, tensor.shapeSignature = [max(side, 1) for side in sides], sides
    graph.tensors, model.subgraphs = [tensor], [graph]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.fixture
def exporting(tiny, tmp_path):
    """A run that was not trained, and a function that adds a file to its exports: of these types of pixels and outputs."""
    folder = tmp_path / "a <b> & c"
    folder.mkdir()
    (folder / "model.keras").touch()
    (folder / "spec.json").write_text(to_json(tiny))
    (folder / "labels.txt").write_text("".join(f"<{number}>\n" for number in range(tiny.classes)))
    write_json(folder / "metrics.json", {})
    run = Run.open(folder)
    files = {}

    def add(name, pixels="uint8", values="uint8", batch=None):
        run.export_path.mkdir(exist_ok=True)
        path = run.export_path / name
        path.write_bytes(tflite_file([-1, 8, 8, 1]))
        [inputs], [outputs] = [{"name": "image", "shape": [-1, 8, 8, 1], "type": pixels}], [{"name": "logits", "type": values}]
        files[name] = {"batch": batch, "bytes": 9 + len(files), "inputs": [inputs], "outputs": [outputs], "sha256": digests(path)}
        write_json(run.export_path / "manifest.json", {"files": files})

    add.run = run
    return add


def test_page_without_a_server(exporting, runtime, tmp_path, call):
    exporting("model_int8.tflite"), exporting("model.tflite", "float32", "float32")
    exporting("model_int16.tflite", "int16"), exporting("four.tflite", batch=4)
    code, said, _ = call("demo", exporting.run.path, "--static", tmp_path / "page", "--litert-js", runtime)
    assert code == 0
    assert "index.html" in said
    assert [path.name for path in (tmp_path / "page").iterdir()] == ["index.html"]
    text = (tmp_path / "page" / "index.html").read_text()
    assert "a &lt;b&gt; &amp; c" in text
    assert "<0>" not in text
    assert "four.tflite, which takes 4 pictures together" in text
    assert "model_int16.tflite, whose pixels are int16: LiteRT.js takes uint8 and float32" in text
    facts = json.loads(re.search(r'id="network">(.*?)</script>', text)[1])
    assert facts["classes"] == exporting.run.class_names
    assert [(file["name"], file["scores"]) for file in facts["files"]] == [
        ("model_int8.tflite", "logits"),
        ("model.tflite", "logits"),
    ]
    packed = dict(re.findall(r'<script type="text/plain" id="(\w+)">(.*?)</script>', text))
    contents = {name: gzip.decompress(b64decode(content)) for name, content in packed.items()}
    assert contents == {"wasm": b"wasm", "file0": tflite_file([1, 8, 8, 1]), "file1": tflite_file([1, 8, 8, 1])}
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_scripts_of_the_page_without_a_server(exporting, runtime, tmp_path):
    exporting("model.tflite")
    text = write_static(exporting.run, tmp_path / "page", runtime).read_text()
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)[1]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    allowed = [f"'{templates.digest(script)}'" for script in scripts]
    assert policy.endswith(f"script-src {allowed[1]} {allowed[0]} 'wasm-unsafe-eval'")
    assert "connect-src" not in policy
    assert scripts[0].startswith("var ModuleFactory = 1;\nconst liteRt = (createWasmLib) => {")
    assert "return {\n  loadLiteRt\n};" in scripts[0]
    assert "import" not in scripts[0]
    assert "sourceMappingURL" not in scripts[0]


def test_pages_without_a_server_that_cannot_be_written(exporting, runtime, tmp_path):
    out = tmp_path / "page"
    with pytest.raises(kr.InputError, match=r"no LiteRT.js at .*nowhere.*npm install @litertjs/core@2.5.3"):
        write_static(exporting.run, out, tmp_path / "nowhere")
    with pytest.raises(kr.InputError, match=r"has no .tflite file that a browser runs: keras-resnet export RUN"):
        write_static(exporting.run, out, runtime)
    exporting("model_int8_int8.tflite", "int8")
    with pytest.raises(kr.InputError, match=r"export RUN --format tflite; model_int8_int8.tflite: whose pixels are int8"):
        write_static(exporting.run, out, runtime)
    exporting("model.tflite")
    flat = SimpleNamespace(spec=replace(exporting.run.spec, input_shape=(32, 1)))
    with pytest.raises(kr.InputError, match="the network takes inputs of"):
        write_static(flat, out, runtime)
    (runtime / litert_js.LIBRARY).write_text("export default 1;")
    with pytest.raises(kr.InputError, match=r"has @litertjs/core 2.5.9, which is put together in another way: npm install"):
        write_static(exporting.run, out, runtime)
    assert not out.exists()
    out.mkdir()
    with pytest.raises(kr.InputError, match="exists; name another folder"):
        write_static(exporting.run, out, runtime)


def test_one_picture_at_a_time(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite_file([-1, 8, -1, 3]))
    assert one_at_a_time(path) == tflite_file([1, 8, 1, 3])


def test_the_licence_in_pages_is_that_of_the_package():
    licence = Path(__file__).parents[1] / "LICENSE"
    assert (templates.FOLDER / "apache-2.0.txt").read_text() == licence.read_text()


NPM_PACKAGE = Path(os.environ.get("KERAS_RESNET_LITERT_JS", Path(__file__).parents[1] / litert_js.FOLDER))
TURNED = 0x0112  # EXIF orientation


def image_file(size, kind, mode="RGB", turn=1, **options):
    """An image file of random colours that change slowly."""
    width, height = size
    shape = (max(2, height // 6), max(2, width // 6), len(mode))
    small = np.random.default_rng(width).integers(0, 256, shape).astype("uint8")
    bands = [Image.fromarray(small[..., band]).resize(size, Image.Resampling.BICUBIC) for band in range(len(mode))]
    exif, content = Image.Exif(), io.BytesIO()
    exif[TURNED] = turn
    (Image.merge(mode, bands) if len(bands) > 1 else bands[0]).save(content, kind, exif=exif, **options)
    return content.getvalue()


def image_files(digits):
    """Digits as PNG, and pictures of many shapes and kinds."""
    for pixels in digits.examples("test").take(np.arange(24)):
        content = io.BytesIO()
        Image.fromarray(pixels[..., 0]).save(content, "PNG")
        yield content.getvalue()
    yield from (image_file((61, 40), "JPEG", turn=turn) for turn in range(1, 9))
    yield from (image_file((50, 80), "PNG", mode) for mode in ("L", "LA", "RGB", "RGBA"))
    yield from (image_file(size, "PNG") for size in ((1, 1), (700, 9), (7, 1200), (8, 20), (1500, 1100), (9, 3)))
    yield from (image_file((40, 33), "JPEG", mode, quality=70) for mode in ("L", "RGB"))
    yield from (image_file((40, 70), "WEBP", mode, lossless=True, exact=True) for mode in ("RGB", "RGBA"))


OUTPUTS = """(async (content) => {
  const picture = new Blob([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))])
  const pixels = await pixelsOf(picture, network)
  const colours = await pixelsOf(picture, { ...network, height: 24, width: 40, channels: 3 })
  const { Tensor } = await starting
  const outputs = []
  for (const file of network.files)
    outputs.push([...(await outputsOf(Tensor, await (models[file.id] ??= compiled(file)), file, pixels)).logits])
  return { pixels: [...pixels], colours: [...colours], outputs, best: best(network.files[0], { logits: outputs[0] }) }
})"""


OTHER = """(async () => {
  byId("choice").value = 1
  byId("choice").dispatchEvent(new Event("change"))
  await ask(shown)
  return byId("files").innerText
})()"""


@pytest.fixture(scope="module")
def static_page(small_run, digits, tmp_path_factory):
    """The page of a run with an int8 and a float32 file, and the run."""
    if not (NPM_PACKAGE / litert_js.BINARY).is_file():
        pytest.skip(f"LiteRT.js is not installed: {litert_js.GET}, or set KERAS_RESNET_LITERT_JS to its folder")
    out = tmp_path_factory.mktemp("static")
    run = Run.open(shutil.copytree(small_run.path, out / "<script>"))
    targets = [kr.export.Target("tflite", quantize="int8"), kr.export.Target("tflite")]
    kr.export.export(run, targets=targets, data=digits, accept_undecided=True)
    return write_static(run, out / "page", NPM_PACKAGE), run


@pytest.mark.slow
def test_page_without_a_server_answers_as_python_does(static_page, digits, tmp_path):
    path, run = static_page
    browser = Chromium(path.as_uri(), tmp_path / "profile")
    names = browser.run("network.files.map((file) => file.name)")
    assert names == ["model_int8.tflite", "model_float32.tflite"]
    files = [ModelFile(run.export_path / name, threads=1) for name in names]
    [step] = browser.run("network.files[0].outputs.map((output) => output.scale)")
    try:
        for content in image_files(digits):
            found = browser.run(f"{OUTPUTS}({json.dumps(b64encode(content).decode())})")
            pixels = decode(io.BytesIO(content), (8, 8, 1))
            assert found["pixels"] == pixels.ravel().tolist()
            assert found["colours"] == decode(io.BytesIO(content), (24, 40, 3)).ravel().tolist()
            [int8], [float32] = (file(pixels[None]) for file in files)
            np.testing.assert_allclose(found["outputs"][0], int8, rtol=0, atol=1.01 * step)
            np.testing.assert_allclose(found["outputs"][1], float32, rtol=0, atol=1e-4)
            expected = best(np.array(found["outputs"][0], "float32"), 5, "logits")
            assert [row["class"] for row in found["best"]] == [run.class_names[number] for number, _ in expected]
            assert [row["probability"] for row in found["best"]] == pytest.approx([share for _, share in expected], abs=1e-6)
    finally:
        browser.close()
        for file in files:
            file.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Nothing is said in the output of a test."""


@pytest.fixture
def example_page(small_run, digits, tmp_path):
    """The page of examples/browser with the model that examples/export.sh writes for it, and a server: (address, model file)."""
    if not (NPM_PACKAGE / litert_js.BINARY).is_file() or not (NPM_PACKAGE.parent / "wasm-utils").is_dir():
        pytest.skip(f"LiteRT.js is not installed: {litert_js.GET}, or set KERAS_RESNET_LITERT_JS to its folder")
    run = Run.open(shutil.copytree(small_run.path, tmp_path / "run"))
    [check] = kr.export.export(run, "tflite", "int8", output="softmax", batch=1, data=digits, accept_undecided=True)
    folder = Path(shutil.copytree(Path(__file__).parents[1] / "examples" / "browser", tmp_path / "page"))
    shutil.copy(run.export_path / check.file, folder)
    shutil.copy(run.path / "labels.txt", folder)
    (folder / "node_modules").mkdir()
    (folder / "node_modules" / "@litertjs").symlink_to(NPM_PACKAGE.parent)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", run.export_path / check.file
    server.shutdown()
    server.server_close()


EXAMPLE = """(async (content) => {
  const picture = new Blob([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))])
  const { best, probabilities } = await import("./classify.js")
  return { shares: [...(await probabilities(picture))], best: await best(picture) }
})"""


@pytest.mark.slow
def test_the_example_page_answers_as_python_does(example_page, small_run, digits, tmp_path):
    address, path = example_page
    browser, file = Chromium(address, tmp_path / "profile"), ModelFile(path, threads=1)
    pictures = [*image_files(digits), *(image_file((20 + 9 * index, 50), "PNG") for index in range(4))]
    assert len(pictures) >= 50
    try:
        for content in pictures:
            found = browser.run(f"{EXAMPLE}({json.dumps(b64encode(content).decode())})")
            [expected] = file(decode(io.BytesIO(content), (8, 8, 1))[None])
            np.testing.assert_allclose(found["shares"], expected, rtol=0, atol=1.01 / 256)
            order = np.argsort(-np.array(found["shares"]), kind="stable")[:3]
            assert [row["name"] for row in found["best"]] == [small_run.class_names[number] for number in order]
        serious = [error for error in browser.errors if error.get("entry", {}).get("level") != "warning"]
        assert [error for error in serious if "favicon" not in str(error)] == []
    finally:
        browser.close()
        file.close()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_page_without_a_server_in_a_browser(static_page, tmp_path, width, scheme):
    path, _ = static_page
    browser = Chromium(path.as_uri(), tmp_path / "profile")
    try:
        browser.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        assert browser.run("byId('answer').hidden")
        assert "model_int8.tflite: " in browser.run(SEND)
        other = browser.run(OTHER)
        assert "model_float32.tflite: " in other
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run("byId('image').naturalWidth") == 8
        (tmp_path / f"{scheme}.png").write_bytes(b64decode(browser.ask("Page.captureScreenshot")["data"]))
        refused = browser.run("ask(new Blob(['text'])).then(() => byId('problem').textContent)")
        assert refused.startswith("this is not a readable image")
        assert [error for error in browser.errors if error.get("entry", {}).get("level") != "warning"] == []
    finally:
        browser.close()
