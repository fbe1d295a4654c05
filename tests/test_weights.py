"""Files of weights become named arrays; nothing in them is run, and no damage is silent."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.weights import read_arrays

GENERATOR = np.random.default_rng(0)
ARRAYS = {
    "conv1.weight": GENERATOR.normal(size=(4, 3, 3, 3)).astype("float32"),
    "bn1.bias": GENERATOR.normal(size=4).astype("float16"),
    "bn1.num_batches_tracked": np.array(7),
    "fc.weight": GENERATOR.normal(size=(2, 4)).astype(ml_dtypes.bfloat16),
}


class Storage:
    """Pickled as PyTorch does: by its key, and its class by name."""

    def __init__(self, key, array):
        self.key, self.array = key, array


KINDS = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage", "bfloat16": "BFloat16Storage"}


class Global:
    def __init__(self, module, name):
        self.module, self.name = module, name


class Pickler(pickle._Pickler):  # the one in Python, whose globals can be written without importing them
    def persistent_id(self, value):
        if isinstance(value, Storage):
            return "storage", Global("torch", KINDS[str(value.array.dtype)]), value.key, "cpu", value.array.size
        return None

    def save_global_by_name(self, value):
        self.write(b"c" + f"{value.module}\n{value.name}\n".encode())


class Call:
    """Pickled as a call of a function, by its name, with arguments."""

    def __init__(self, module, name, *arguments):
        self.function, self.arguments = Global(module, name), arguments


Pickler.dispatch = {**pickle._Pickler.dispatch, Global: Pickler.save_global_by_name}


def save_call(pickler, value):
    pickler.save(value.function)
    pickler.save(value.arguments)
    pickler.write(pickle.REDUCE)


Pickler.dispatch[Call] = save_call


def pytorch_tensor(key, array, **changes):
    strides = tuple(stride // array.itemsize for stride in array.strides)
    fields = {"offset": 0, "shape": array.shape, "strides": strides, **changes}
    return Call("torch._utils", "_rebuild_tensor_v2", Storage(key, array), *fields.values(), False, OrderedDict())


def pickled(content):
    stream = io.BytesIO()
    Pickler(stream, 2).dump(content)
    return stream.getvalue()


def write_pytorch(path, arrays=ARRAYS, content=None, compression=zipfile.ZIP_STORED):
    state = {name: pytorch_tensor(str(number), array) for number, (name, array) in enumerate(arrays.items())}
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled(state if content is None else content))
        for number, array in enumerate(arrays.values()):
            archive.writestr(f"archive/data/{number}", array.tobytes())
    return path


def assert_same(arrays, expected=ARRAYS):
    assert list(arrays) == list(expected)
    for name, array in expected.items():
        assert arrays[name].dtype == array.dtype, name
        np.testing.assert_array_equal(arrays[name], array)


def test_pytorch_without_pytorch(tmp_path):
    assert_same(read_arrays(write_pytorch(tmp_path / "w.pth")))
    nested = {"epoch": 3, "state_dict": {"a": pytorch_tensor("0", ARRAYS["conv1.weight"])}, "name": "x"}
    arrays = read_arrays(write_pytorch(tmp_path / "nested.bin", {"x": ARRAYS["conv1.weight"]}, nested))
    assert list(arrays) == ["state_dict.a"]
    turned = ARRAYS["conv1.weight"].transpose(2, 3, 1, 0)
    changes = {"shape": turned.shape, "strides": tuple(stride // 4 for stride in turned.strides)}
    content = {"turned": pytorch_tensor("0", ARRAYS["conv1.weight"], **changes)}
    np.testing.assert_array_equal(
        read_arrays(write_pytorch(tmp_path / "turned.pt", {"x": ARRAYS["conv1.weight"]}, content))["turned"], turned
    )


def test_pytorch_writes_what_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2).half())
    model[0].weight.data = model[0].weight.data.permute(0, 1, 3, 2)  # strides that are not in order
    shared = {"one": model[0].weight[1:], "state": {**model.state_dict(), "bf16": torch.ones(3).bfloat16()}, "step": 5}
    for legacy in (False, True):
        for number, content in enumerate((model.state_dict(), shared)):
            path = tmp_path / f"{legacy}-{number}.pth"
            torch.save(content, path, _use_new_zipfile_serialization=not legacy)
            arrays = read_arrays(path)
            state = {f"state.{name}": value for name, value in shared["state"].items()}
            expected = model.state_dict() if content is not shared else {"one": shared["one"], **state}
            assert list(arrays) == list(expected)
            for name, value in expected.items():
                np.testing.assert_array_equal(arrays[name].astype("float32"), value.detach().float().numpy())


def test_what_is_pickled_is_not_run(tmp_path):
    """Whatever it is called, wherever it stands, in both formats."""
    mark = tmp_path / "ran"
    for where in ("os", "posix", "builtins", "numpy.core.multiarray", "torch"):
        name = {"builtins": "eval", "numpy.core.multiarray": "_reconstruct", "torch": "load"}.get(where, "system")
        argument = f"open({str(mark)!r}, 'w')" if where == "builtins" else f"touch {mark}"
        content = {"weight": pytorch_tensor("0", ARRAYS["conv1.weight"]), "more": Call(where, name, argument)}
        path = write_pytorch(tmp_path / "w.pth", {"x": ARRAYS["conv1.weight"]}, content)
        with pytest.raises(InputError, match=rf"w.pth' is refused: its pickle asks for {where}.{name}, and a pickle can run"):
            read_arrays(path)
        path.write_bytes(pickled(Call(where, name, argument)))
        with pytest.raises(InputError, match=rf"asks for {where}.{name}"):
            read_arrays(path)
    assert not mark.exists()
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(InputError, match="is a pickle, and not one of PyTorch's"):
        read_arrays(tmp_path / "list.pkl")


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (5, 3, 3, 3)},
        {"offset": 1},
        {"offset": -1},
        {"strides": (-1, 9, 3, 1)},
        {"strides": (10**12, 9, 3, 1)},
        {"shape": (10**6, 10**6, 1, 1), "strides": (0, 0, 0, 0)},
        {"shape": (4, 3), "strides": (1,)},
        {"shape": ("a", 3, 3, 3)},
    ],
    ids=str,
)
def test_a_tensor_lies_within_its_storage(changes, tmp_path):
    content = {"weight": pytorch_tensor("0", ARRAYS["conv1.weight"], **changes)}
    path = write_pytorch(tmp_path / "w.pth", {"x": ARRAYS["conv1.weight"]}, content)
    with pytest.raises(InputError, match=r"is refused: tensor 'weight'"):
        read_arrays(path)


@pytest.mark.parametrize("again", ["tensors", "dictionaries"])
def test_what_is_used_again_and_again_is_a_bomb(again, tmp_path):
    tensor = pytorch_tensor("0", ARRAYS["conv1.weight"])
    content = {str(number): tensor for number in range(9)}
    if again == "dictionaries":
        content = {}
        for _ in range(8):
            content = {str(number): content for number in range(10)}
    path = write_pytorch(tmp_path / "w.pth", {"x": ARRAYS["conv1.weight"]}, content)
    with pytest.raises(InputError, match=r"w.pth' is refused: its (tensors are the same|dictionaries have more than) .* a bomb$"):
        read_arrays(path)


def write_safetensors(path):
    path.write_bytes(safetensors.numpy.save(ARRAYS))
    return path


def test_safetensors(tmp_path):
    arrays = read_arrays(write_safetensors(tmp_path / "w.safetensors"))
    assert_same({name: arrays[name] for name in ARRAYS})


def test_the_length_of_a_header_is_no_kind_of_file(tmp_path):
    """A safetensors file begins with it, and one in 32 as a pickle does."""
    for length in (0x80, 0x4B50):
        header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(length)
        (tmp_path / "w.safetensors").write_bytes(length.to_bytes(8, "little") + header + bytes(4))
        assert_same(read_arrays(tmp_path / "w.safetensors"), {"a": np.zeros(1, "float32")})


def test_files_of_keras_and_numpy(tmp_path, tiny):
    model = kr.build(tiny, classes=3)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    of_model, of_weights = read_arrays(tmp_path / "model.keras"), read_arrays(tmp_path / "model.weights.h5")
    assert_same(of_model, of_weights)
    expected = sorted(tuple(weight.shape) for weight in model.weights)
    assert sorted(array.shape for array in of_weights.values()) == expected
    np.savez(tmp_path / "bit.npz", **{"resnet/root_block/conv/kernel": ARRAYS["conv1.weight"]})
    assert_same(read_arrays(tmp_path / "bit.npz"), {"resnet/root_block/conv/kernel": ARRAYS["conv1.weight"]})


def test_files_that_lead_elsewhere_or_explode_are_refused(tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(range(200)))
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("a", (50,), "float32", external=[(str(secret), 0, 200)])
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["a"] = h5py.ExternalLink("external.h5", "/a")
    with h5py.File(tmp_path / "paths.h5", "w") as file:
        group = file
        for _ in range(30):  # 2**30 paths
            inner = group.create_group("one")
            group["two"] = inner
            group = inner
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("a", (2**30,), "float32", chunks=(2**20,))  # 4 GB, none of it written
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as entry:
        for _ in range(64):
            entry.write(bytes(2**20))
    with (
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("archive/data.pkl", "w") as entry,
    ):
        for _ in range(64):
            entry.write(bytes(2**20))
    np.savez(tmp_path / "pickle.npz", np.array([{}], object))
    os.mkfifo(tmp_path / "fifo.pth")
    (tmp_path / "text.pth").write_text("weights")
    for name, reason in {
        "external.h5": "its array 'a' lies in another file",
        "link.h5": "/a is a link",
        "paths.h5": "its group .* is there under two names",
        "bomb.h5": "would become 4,294,967,296 in memory, a decompression bomb",
        "bomb.npz": "a decompression bomb",
        "bomb.pth": "a decompression bomb",
        "pickle.npz": "cannot be read, it may be damaged: Object arrays cannot be loaded",
        "fifo.pth": "is a named pipe, not a regular file",
        "text.pth": "is none of the files of weights that are read",
    }.items():
        with pytest.raises(InputError, match=f"{name}' .*{reason}"):
            read_arrays(tmp_path / name)
    with pytest.raises(InputError, match="no weights at"):
        read_arrays(tmp_path / "none.pth")


def is_refused_in_a_line(path):
    try:
        read_arrays(path)
    except InputError as error:
        return "\n" not in str(error)
    return False


@pytest.mark.parametrize("kind", ["pth", "safetensors", "npz", "h5"])
def test_damage_is_one_line(kind, tmp_path):
    """Cut, or with a byte changed: the same arrays, other numbers where the format has no sums, or one line."""
    path = tmp_path / f"w.{kind}"
    if kind == "npz":
        np.savez(path, **{name: array for name, array in ARRAYS.items() if "fc" not in name})
    elif kind == "h5":
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(tmp_path / "w.weights.h5")
        path = tmp_path / "w.weights.h5"
    else:
        {"pth": write_pytorch, "safetensors": write_safetensors}[kind](path)
    content = path.read_bytes()
    shapes = {name: array.shape for name, array in read_arrays(path).items()}
    assert shapes
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        place = int(GENERATOR.integers(len(content)))
        if GENERATOR.random() < 0.5:
            damaged[place] ^= int(GENERATOR.integers(1, 256))
        else:
            del damaged[place:]
        path.write_bytes(damaged)
        refused += is_refused_in_a_line(path)
    assert refused > 20


def test_weights_that_come_with_the_package(tmp_path, monkeypatch):
    """Whole, without the classifier, as features, and as a run; wherever the user stands."""
    monkeypatch.chdir(tmp_path)
    model = kr.build(weights="tiny-imagenet")
    assert (model.output_shape, model.count_params()) == ((None, 200), 1_987_704)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3))
    logits = model(images)
    _, arrays, names = kr.weights.read("tiny-imagenet")
    assert "goldfish" in ", ".join(names)
    np.testing.assert_array_equal(model.get_layer("logits").kernel, arrays["logits/kernel"])
    trunk = kr.build(weights="tiny-imagenet", classes=7, classifier=False)
    assert trunk.output_shape == (None, 7)
    pooled = kr.build(weights="tiny-imagenet", include_top=False, pooling="avg")(images)
    np.testing.assert_allclose(pooled @ arrays["logits/kernel"] + arrays["logits/bias"], logits, rtol=1e-4, atol=1e-4)
    run = kr.weights.convert("tiny-imagenet", "run")
    np.testing.assert_array_equal(run.load()(images), logits)
    assert run.class_names == names


def test_a_run_and_its_files(small_run, tmp_path):
    """Keras numbers the layers in them; `spec.json` is beside them."""
    folder = shutil.copytree(small_run.path, tmp_path / "run")
    trained = [weight.numpy() for weight in small_run.load().weights]
    for path in (folder, folder / "model.keras", folder / "last.weights.h5"):  # which holds the last epoch, that is kept
        for mine, theirs in zip(kr.build(weights=path).weights, trained, strict=True):
            np.testing.assert_array_equal(mine.numpy(), theirs)
    again = kr.weights.convert(folder, tmp_path / "again")
    assert (again.class_names, again.metrics["source"]["file"]) == (small_run.class_names, "model.keras")
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps({**spec, "depths": [2]}))
    with pytest.raises(InputError, match=r"model.keras' is not of the network of its spec.json: ") as error:
        kr.build(weights=folder)
    assert "\n" not in str(error.value)


@pytest.mark.slow  # 70,000 files are unpacked
def test_weights_that_come_with_the_package_know_photographs(tiny_imagenet_dir):
    photos = kr.data.load("tiny_imagenet", data_dir=tiny_imagenet_dir).splits["test"]
    logits = kr.build(weights="tiny-imagenet").predict_on_batch(photos.take(np.arange(300)).astype("float32"))
    assert np.mean(logits.argmax(1) == photos.labels[:300]) > 0.42  # 55.3 % of all 10,000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"weights": "tiny-imagnet"},
            "no file, folder or known weights named 'tiny-imagnet'; did you mean 'tiny-imagenet'",
        ),
        ({}, "nothing to build: give a network"),
        (
            {"weights": "tiny-imagenet", "classes": 7},
            "'tiny-imagenet' does not fit the model: .*classifier=False leaves the classifier",
        ),
        ({"weights": "tiny-imagenet", "activation": "silu"}, "is of a network with activation='relu'"),
        ({"spec": "resnet18", "weights": "tiny-imagenet"}, r"widths=\(32, 64, 128, 192\) .*and not widths=\(64, 128, 256, 512\)"),
    ],
    ids=str,
)
def test_what_the_weights_of_the_package_do_not_fit(arguments, message):
    with pytest.raises(InputError, match=message):
        kr.build(**arguments)


@pytest.mark.slow
def test_a_wheel_has_what_is_read_from_it(tmp_path):
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, root]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 6e6
    files = zipfile.ZipFile(wheel).namelist()
    weights = [f"weights/tiny_imagenet/{name}" for name in ("model.safetensors", "spec.json", "labels.txt", "README.md")]
    for name in ("py.typed", "report/templates/run.html.jinja", *weights):
        assert f"keras_resnet/{name}" in files
