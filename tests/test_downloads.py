"""Weights by name: downloaded once, whole and with their hash, from a server on this machine; nothing goes to another."""

import hashlib
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.networks.variants import SPECS
from keras_resnet.weights import names
from keras_resnet.weights.names import KNOWN, find

FILE = "resnet50_weights_tf_dim_ordering_tf_kernels.h5"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(BaseHTTPRequestHandler):
    """Gives `server.files` by their paths; a number is a status, 0 no answer at all, and a file in `server.cut` ends after its
    first half."""

    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path.partition("?")[0], 404)
        if isinstance(content, int):
            if content:
                self.send_error(content)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[: len(content) // 2] if self.path in self.server.cut else content)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A file server; cache and addresses are set for it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.cut, server.asked, server.cache = {}, set(), [], tmp_path / "cache"
        address = f"http://127.0.0.1:{server.server_port}"
        here = {"KERAS_RESNET_WEIGHTS_URL": f"{address}/", "HF_ENDPOINT": address, "KERAS_RESNET_CACHE": str(server.cache)}
        for name, value in {**here, "KERAS_HOME": str(tmp_path / "keras"), "no_proxy": "*"}.items():
            monkeypatch.setenv(name, value)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def offer(server, monkeypatch):
    """Put a file on the server in place of keras.applications' ResNet50, with its hash."""

    def offer(content=b"weights", notop=b"trunk"):
        server.files = {f"/{FILE}": content, f"/{FILE.replace('.h5', '_notop.h5')}": notop}
        monkeypatch.setitem(names.HASHES, "resnet50", tuple(hashlib.md5(each).hexdigest() for each in (content, notop)))
        return server

    return offer


def left(server):
    return sorted(path.name for path in server.cache.rglob("*")) if server.cache.exists() else []


def test_a_name_is_downloaded_once(offer, capsys):
    server = offer()
    found = find("imagenet", "resnet50")
    assert found.path.read_bytes() == b"weights"
    assert (found.about["licence"], found.spec) == ("MIT", None)
    assert capsys.readouterr().err.endswith(f"/{FILE}; licence: MIT\n")
    assert find("imagenet", "resnet50v1") == found
    assert find("imagenet", "resnet50", classifier=False).path.read_bytes() == b"trunk"
    assert len(server.asked) == 2
    found.path.write_bytes(b"damaged")
    assert find("imagenet", "resnet50").path.read_bytes() == b"weights"
    server.shutdown()
    assert find("imagenet", "resnet50") == found
    assert left(server) == [FILE.replace(".h5", "_notop.h5"), FILE][::-1]


def test_a_file_of_keras_itself_is_taken(offer, tmp_path):
    server = offer()
    (tmp_path / "keras/models").mkdir(parents=True)
    (tmp_path / "keras/models" / FILE).write_bytes(b"weights")
    assert find("imagenet", "resnet50").path.parent.name == "models"
    assert not server.asked


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("hash", "is not the published file: its MD5 is .*, not .*; nothing was kept"),
        ("missing", "cannot be downloaded: the server answers 404 Not Found$"),
        ("cut", "cannot be downloaded: the connection ended after 3 of 7 bytes; try again"),
        ("silent", "cannot be downloaded: Remote end closed connection without response. Without a connection, copy"),
        ("address", "^http://a b/.* cannot be downloaded: URL can't contain control characters"),
        ("offline", f"cannot be downloaded: .*Connection refused.*copy the file to '.*cache/{FILE}'$"),
    ],
)
def test_what_cannot_be_downloaded_is_one_line_and_leaves_nothing(case, message, offer, call, tmp_path, monkeypatch):
    server = offer()
    if case == "hash":
        server.files[f"/{FILE}"] = b"another"
    elif case == "missing":
        del server.files[f"/{FILE}"]
    elif case == "cut":
        server.cut.add(f"/{FILE}")
    elif case == "silent":
        server.files[f"/{FILE}"] = 0
    elif case == "address":
        monkeypatch.setenv("KERAS_RESNET_WEIGHTS_URL", "http://a b/")
    else:
        server.shutdown()
        server.socket.close()
    with pytest.raises(InputError, match=message) as error:
        kr.weights.read("imagenet", spec="resnet50")
    assert "\n" not in str(error.value)
    assert left(server) == []
    code, _, shown = call("convert", "imagenet", "--network", "resnet50", "--out", tmp_path / "run")
    assert code == 2
    assert shown.splitlines()[-1].startswith("keras-resnet: http")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def of_library():
    """A ResNet of keras.applications with few channels."""
    from keras.src.applications import resnet

    def stack(x):
        return resnet.stack_residual_blocks_v1(x, 4, 1, stride1=1, name="conv2")

    shape = {"input_shape": (32, 40, 3), "classes": 5, "weights": None, "classifier_activation": None}
    return resnet.ResNet(stack, False, True, "narrow", **shape)


def test_networks_of_imagenet(offer, of_library, tmp_path):
    """The network is that of the file; part of it takes the file without a classifier."""
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(tmp_path / "top.h5", "w") as file:
        save_weights_to_hdf5_group(file, of_library)
    content = (tmp_path / "top.h5").read_bytes()
    server = offer(content, content)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 40, 3)).astype("float32")
    expected = np.asarray(of_library(keras.applications.resnet50.preprocess_input(images.copy()), training=False))
    model = kr.build("resnet50", weights="imagenet", input_shape=(32, 40, 3))
    np.testing.assert_allclose(model(images), expected, atol=1e-4 * np.abs(expected).max())
    assert model.output_shape == (None, 5)
    pooled = kr.build("resnet50", weights="imagenet", include_top=False, pooling="avg")
    assert server.asked == [f"/{FILE}", f"/{FILE.replace('.h5', '_notop.h5')}"]
    np.testing.assert_array_equal(pooled.get_layer("stem_conv").kernel, model.get_layer("stem_conv").kernel)
    own = keras.layers.Dense(3, use_bias=False, kernel_initializer="identity")(keras.Input((32, 40, 3)))
    after = kr.build("resnet50", weights="imagenet", input_tensor=own)
    np.testing.assert_allclose(after(images), expected, atol=1e-4 * np.abs(expected).max())
    assert kr.build("resnet50", weights="imagenet", classes=7, classifier=False).output_shape == (None, 7)
    run = kr.weights.convert("imagenet", tmp_path / "run", spec="resnet50")
    source = {"name": "imagenet", "network": "resnet50", "licence": "MIT", "sha256": hashlib.sha256(content).hexdigest()}
    assert run.metrics["source"].items() >= source.items()
    with pytest.raises(InputError, match=r"network with stride_on='1x1' \(keras_applications\), and not stride_on='3x3'"):
        kr.build(SPECS["resnet50"], weights="imagenet")


def test_a_bar_in_a_terminal(offer, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for name, value in {"TERM": "xterm", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    offer()
    find("imagenet", "resnet50")
    assert f"{FILE} " in terminal.getvalue()
    assert "7/7 bytes" in terminal.getvalue()


def test_v2_is_its_own_file(server, monkeypatch):
    file = FILE.replace("resnet50", "resnet50v2")
    server.files[f"/{file}"] = b"second"
    monkeypatch.setitem(names.HASHES, "resnet50v2", (hashlib.md5(b"second").hexdigest(), ""))
    for network in ("resnet50v2", "resnet50v2_keras"):
        path, about, spec = find("imagenet", network)
        assert (path.name, about["network"], spec) == (file, "resnet50v2", None)


@pytest.mark.parametrize("network", [None, "resnet50d", SPECS["resnet20"]])
def test_imagenet_is_there_for_some_networks(network):
    with pytest.raises(InputError, match=r"needs one of these networks.*: resnet18, resnet34, resnet50"):
        find("imagenet", network)


def test_known_weights_are_listed(call):
    assert {row.network.partition(",")[0] for row in KNOWN} <= set(SPECS)
    code, out, _ = call("list", "--weights", "--json")
    rows = json.loads(out)
    assert code == 0
    assert {"weights", "network", "parameters", "top1", "pixels", "licence", "source"} == set(rows[0])
    assert [row["network"] for row in rows if row["weights"] == "imagenet"] == [*names.ON_THE_HUB, *names.HASHES]


def small_resnet():
    """A state dict of torchvision: one unit of four channels."""
    shapes = {"conv1": (4, 3, 7, 7), "layer1.0.conv1": (4, 4, 3, 3), "layer1.0.conv2": (4, 4, 3, 3)}
    state = {f"{name}.weight": np.ones(shape, "float32") for name, shape in shapes.items()}
    for norm in ("bn1", "layer1.0.bn1", "layer1.0.bn2"):
        state |= {f"{norm}.{key}": np.ones(4, "float32") for key in ("weight", "bias", "running_mean", "running_var")}
    return {**state, "fc.weight": np.ones((5, 4), "float32"), "fc.bias": np.ones(5, "float32")}


def publish(server, name="timm/resnet8.of_a_test", **changes):
    """Put a repository on the server, as the hub has one."""
    weights = safetensors.numpy.save(small_resnet())
    lfs = {"sha256": hashlib.sha256(weights).hexdigest(), "size": len(weights), "pointerSize": 1, **changes}
    files = [{"rfilename": "model.safetensors", "size": len(weights), "lfs": lfs}, {"rfilename": "labels.txt"}, {"rfilename": "x"}]
    info = {"id": name, "sha": COMMIT, "siblings": files, "cardData": {"license": "apache-2.0"}}
    for revision in ("", "/revision/main", "/revision/v1", f"/revision/{COMMIT}"):
        server.files[f"/api/models/{name}{revision}"] = json.dumps(info).encode()
    server.files[f"/{name}/resolve/{COMMIT}/model.safetensors"] = weights
    server.files[f"/{name}/resolve/{COMMIT}/labels.txt"] = b"a\nb\nc\nd\ne\n"
    return name


def test_a_repository_of_the_hub(server, tmp_path, capsys, monkeypatch):
    """Its commit and its hash are recorded; afterwards it needs no connection."""
    pytest.importorskip("huggingface_hub")
    name = publish(server)
    path, about, _ = find(name)
    assert (about["revision"], about["licence"]) == (COMMIT, "apache-2.0")
    assert about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"downloading timm/resnet8.of_a_test@{COMMIT} from the Hugging Face Hub; licence" in capsys.readouterr().err
    assert find(f"{name}@v1").about["revision"] == COMMIT
    run = kr.weights.convert(name, tmp_path / "run")
    assert run.metrics["source"]["revision"] == COMMIT
    assert run.class_names == list("abcde")
    server.shutdown()
    server.socket.close()
    assert find(name).path == path
    assert kr.build(weights=name).output_shape == (None, 5)
    path.resolve().write_bytes(path.read_bytes()[:-4] + b"wxyz")
    with pytest.raises(InputError, match="is damaged or has changed: its SHA-256 is not"):
        find(name)
    assert not path.exists()


def test_a_repository_that_cannot_be_had(server, monkeypatch):
    pytest.importorskip("huggingface_hub")
    name = publish(server, sha256="0" * 64)
    with monkeypatch.context() as patch:
        patch.setattr("keras_resnet.weights.hub.LARGEST", 1000)
        with pytest.raises(InputError, match=r"has [\d,]+ bytes of weights: at most 1,000 are downloaded"):
            find(name)
    with pytest.raises(InputError, match="is damaged or has changed"):
        find(name)
    server.files[f"/api/models/{name}"] = json.dumps({"id": name, "sha": COMMIT, "siblings": []}).encode()
    with pytest.raises(InputError, match=r"has no model\.safetensors, pytorch_model.bin or model.weights.h5"):
        find(name)
    with pytest.raises(InputError, match=r"'nobody/nothing' cannot be downloaded from the Hugging Face Hub: .*404") as error:
        find("nobody/nothing")
    assert "\n" not in str(error.value)
    server.shutdown()
    server.socket.close()
    with pytest.raises(
        InputError, match=r"cannot be downloaded from the Hugging Face Hub: .*without a connection, give the path of"
    ):
        find(name)


@pytest.mark.parametrize("name", ["timm/resnet50.a1_in1k", "owner/name@refs/pr/1"])
def test_the_hub_needs_its_package(name, server, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=rf"'{name}' is no file here.*pip install 'keras-residual\[hub\]'"):
        kr.build(weights=name)


@pytest.mark.parametrize("weights", ["", True, 3])
def test_weights_that_are_no_text(weights):
    with pytest.raises(InputError, match=f"^weights={weights!r}: expected a file or a name"):
        find(weights)


@pytest.mark.parametrize("address", ["https://example.org/resnet50.pth", "hf-hub:timm/resnet50.a1_in1k"])
def test_an_address_is_no_name(server, address):
    with pytest.raises(InputError, match=f"^'{address}' is an address: download the file"):
        find(address)
    assert not server.asked


def test_a_path_is_no_name(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "imagenet").mkdir()  # a folder of images is no file of weights
    for path in ("runs/resnet50", "timm/resnet50.pth", "a/b/c", "/timm/resnet50", "../resnet50"):
        with pytest.raises(InputError, match="no weights at"):
            kr.weights.read(path)
    with pytest.raises(InputError, match="weights='imagenet' needs one of these networks: resnet18"):
        kr.weights.read("imagenet")
    assert not server.asked
