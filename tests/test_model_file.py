"""Files in processes of their own: what is damaged, foreign or hostile is told in one line."""

import json
import math
import os
import shutil
import threading
import zipfile
from multiprocessing import Pipe
from types import SimpleNamespace

import ai_edge_litert.interpreter as litert
import keras
import numpy as np
import pytest
from ai_edge_litert import cpu_options
from PIL import Image

import keras_resnet as kr
from keras_resnet import InputError, hooks, timing
from keras_resnet import lazy_tensorflow as tf
from keras_resnet.export import Target
from keras_resnet.export.operations import operations
from keras_resnet.export.pictures import encoded, mosaic
from keras_resnet.files import process, runtimes
from keras_resnet.files.benchmark import are_comparable, compare, random_images
from keras_resnet.files.manifest import digests
from keras_resnet.files.model_file import ModelFile
from keras_resnet.files.predictions import probabilities
from keras_resnet.files.programs import reaching_operations


@pytest.fixture(scope="module")
def files(small_run, tmp_path_factory):
    """One exported file of each kind."""
    out = tmp_path_factory.mktemp("files") / "export"
    targets = [Target("saved_model"), Target("tflite", "int8"), Target("tflite"), Target("onnx")]
    assert all(check.passed for check in kr.export.export(small_run, targets=targets, out=out))
    return out


@pytest.fixture
def loose(files, small_run, tmp_path):
    """The same files without a manifest."""
    for path in files.iterdir():
        if "model" in path.name:
            (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    shutil.copy(small_run.model_path, tmp_path)
    return tmp_path


def test_what_was_changed_since_the_export_is_refused(files, tmp_path):
    copy = shutil.copytree(files, tmp_path / "export")
    for name, changed in (("model_int8.tflite", "model_int8.tflite"), ("saved_model", "saved_model/1/variables/variables.index")):
        content = bytearray((copy / changed).read_bytes())
        ModelFile(copy / name).close()
        content[len(content) // 2] ^= 1
        (copy / changed).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}' is not what manifest.json lists: {changed} has changed since the export"):
            ModelFile(copy / name)
    shutil.copytree(files / "saved_model", copy / "saved_model", dirs_exist_ok=True)
    (copy / "saved_model" / "1" / "more").touch()  # what the export did not write
    with pytest.raises(InputError, match=r"saved_model' is not what manifest.json lists: saved_model/1/more has changed"):
        ModelFile(copy / "saved_model")
    (copy / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest.json' is damaged: .*; move '.*' away and export again"):
        ModelFile(copy / "model.onnx")


def test_the_manifest_says_what_each_file_is(files):
    manifest = json.loads((files / "manifest.json").read_text())
    assert manifest["classes"] == list("0123456789")
    assert manifest["preprocessing"].startswith("Raw pixels, 0 to 255, grey, 8 x 8")
    entry = manifest["files"]["model_int8.tflite"]
    assert (entry["format"], entry["quantize"], entry["pixels"], entry["batch"]) == ("tflite", "int8", "uint8", None)
    assert set(manifest["files"]["saved_model"]["sha256"]) == {
        path.relative_to(files).as_posix() for path in (files / "saved_model").rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("name", ["model_int8.tflite", "model_float32.tflite", "model.onnx", "model.keras", "saved_model"])
def test_truncated_and_foreign_files_are_named(name, loose):
    path = loose / name
    inside = path / "1" / "saved_model.pb" if path.is_dir() else path
    whole = inside.read_bytes()
    for content in (whole[: len(whole) // 3], b"", b"GIF89a" + bytes(100)):
        inside.write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}' cannot be opened, it may be damaged: ."):
            ModelFile(path, trust=True)


def test_random_damage_never_takes_this_process_down(loose):
    generator = np.random.default_rng(0)
    path = loose / "model_float32.tflite"
    whole = path.read_bytes()
    images, refused = np.zeros((1, 8, 8, 1), np.uint8), 0
    for _ in range(12):
        content = bytearray(whole)
        for place in generator.integers(0, 3000, 60):
            content[place] = generator.integers(0, 256)
        path.write_bytes(content)
        try:
            assert ModelFile(path, threads=1)(images).ndim <= 3
        except InputError:
            refused += 1
    assert refused > 0


@pytest.mark.starts_python
def test_a_crash_is_told_with_its_signal(loose):
    file = ModelFile(loose / "model.onnx")
    file.process.kill()
    with pytest.raises(
        InputError, match=r"model.onnx' cannot take images of shape \(1, 8, 8, 1\): its runtime crashed \(SIGKILL\)"
    ):
        file(np.zeros((1, 8, 8, 1)))


@pytest.mark.parametrize(
    "name",
    [
        "model.keras",
        "model.onnx",
        "model_float32.tflite",
        pytest.param("saved_model", marks=[pytest.mark.starts_python, pytest.mark.slow]),
    ],
)
def test_images_of_another_shape_are_refused_and_the_next_ones_answered(name, loose):
    file = ModelFile(loose / name, trust=True)
    assert file.image_shape == (8, 8, 1)
    with pytest.raises(InputError, match=rf"{name}' cannot take images of shape \(1, 9, 9, 2\)"):
        file(np.zeros((1, 9, 9, 2)))
    assert file(np.zeros((2, 8, 8, 1))).shape == (2, 10)


PIXELS = tf.TensorSpec((None, 8, 8, 1), tf.float32, "image")


class Program(tf.Module):
    """A SavedModel that does more than compute."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    @tf.function(input_signature=[PIXELS])
    def call(self, image):
        return {"logits": tf.zeros((len(image), 10)) + self.act(image)}

    def save(self, path):
        tf.saved_model.save(self, str(path), signatures={"serving_default": self.call})


def write_file(path):
    def act(image):
        tf.io.write_file(str(path), "x")
        return 0.0

    return act


def looping(image):
    number = tf.constant(0)
    while number >= 0:
        number = (number + 1) % 1000
    return tf.cast(number, tf.float32)


def test_a_saved_model_that_no_manifest_lists_needs_trust(loose, files):
    images = np.zeros((1, 8, 8, 1))
    with pytest.raises(InputError, match=r"saved_model' is not opened: a SavedModel is a program, and no manifest.json .*--trust"):
        ModelFile(loose / "saved_model")
    with ModelFile(loose / "saved_model", trust=True) as trusted, ModelFile(files / "saved_model") as listed:
        np.testing.assert_array_equal(trusted(images), listed(images))


def graph_with(*, saver="save", called="", implements=False):
    """The message of a SavedModel whose function "write" only its saver calls, or `called` too."""
    content = hooks.saved_model_of(b"")
    meta_graph = content.meta_graphs.add()
    meta_graph.saver_def.save_tensor_name = f"{saver}:0"
    meta_graph.object_graph_def.concrete_functions["other"].SetInParent()
    node = meta_graph.graph_def.node.add(name="save", op="StatefulPartitionedCall")
    node.attr["f"].func.name = "write"
    for name, operation in (("write", "SaveV2"), ("other", "PartitionedCall")):
        function = meta_graph.graph_def.library.function.add()
        function.signature.name = name
        node = function.node_def.add(op=operation)
        if name == "write" and implements:
            function.attr["api_implements"].s = b"it"
    if called == "function":
        node.op = "write"
    elif called == "attribute":
        node.attr["f"].func.attr["inner"].list.func.add(name="write")
    elif called == "object":
        meta_graph.object_graph_def.concrete_functions["write"].SetInParent()
    elif called == "version 1":
        meta_graph.ClearField("object_graph_def")
    return content


def test_only_what_a_saver_alone_calls_is_left_out():
    assert not reaching_operations(graph_with())
    for options in ({"saver": "another"}, {"implements": True}):
        assert reaching_operations(graph_with(**options)) == {"SaveV2"}
    for called in ("function", "attribute", "object", "version 1"):
        assert reaching_operations(graph_with(called=called)) == {"SaveV2"}, called


def test_operations_that_read_a_file_by_an_attribute_are_told():
    content = graph_with()
    for name in ("FixedUnigramCandidateSampler", "Skipgram"):
        content.meta_graphs[0].graph_def.node.add(op=name)
    assert reaching_operations(content) == {"FixedUnigramCandidateSampler", "Skipgram"}


@pytest.mark.parametrize("inside", ["signature", "branch", "table"])
def test_what_a_saved_model_can_do_is_told_before_it_is_run(tmp_path, inside):
    """A manifest, which anyone can write, does not help."""
    target = tmp_path / "written"
    act = write_file(target)
    if inside == "branch":
        act = lambda image: tf.cond(tf.reduce_sum(image) > 0, lambda: write_file(target)(image), lambda: 0.0)  # noqa: E731
    program = Program(act if inside != "table" else lambda image: 0.0)
    if inside == "table":
        target.write_text("a line\n")
        program.table = tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(str(target), tf.string, 0, tf.int64, -1), -1)
    folder = tmp_path / "saved_model"
    program.save(folder)
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {"saved_model": {"sha256": digests(folder)}}}))
    name = "InitializeTableFromTextFileV2" if inside == "table" else "WriteFile"
    with pytest.raises(
        InputError,
        match=f"is not opened: .* can access files, Python or other processes by its operations {name}; open it only if you trust",
    ):
        ModelFile(folder)
    assert target.exists() == (inside == "table")
    with ModelFile(folder, trust=True) as file:
        assert file(np.ones((1, 8, 8, 1))).shape == (1, 10)
    assert target.exists()


def test_a_file_that_does_not_answer_is_ended(tmp_path, monkeypatch):
    Program(looping).save(tmp_path / "saved_model")
    file = ModelFile(tmp_path / "saved_model", trust=True)
    file.limit = 0.5
    process = file.process
    with pytest.raises(InputError, match=r"cannot take images of .*: no answer within 1 s; allow more with limit= \(--limit\)"):
        file(np.zeros((1, 8, 8, 1)))
    assert process.poll() is not None
    monkeypatch.setattr("keras_resnet.files.model_file.START", "import time; time.sleep(60)")
    with pytest.raises(InputError, match=r"cannot be opened, .*: no answer within 0 s"):
        ModelFile(tmp_path / "saved_model", trust=True, limit=0.0)
    for limit in (-1.0, math.inf, math.nan):
        with pytest.raises(InputError, match=f"limit={limit}: expected a number of seconds"):
            ModelFile(tmp_path / "saved_model", limit=limit)


def test_only_files_are_opened(loose, tmp_path):
    """A named pipe would be read for ever, and a device too."""
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe.tflite", tmp_path / "pipe.keras", loose / "saved_model" / "1" / "variables" / "more"):
        os.mkfifo(path)
    for name, what in (("zero.onnx", "a device"), ("pipe.tflite", "a named pipe"), ("saved_model", "a named pipe")):
        with pytest.raises(InputError, match=f"' is {what}, not a regular file"):
            ModelFile(tmp_path / name)
    with pytest.raises(InputError, match=r"pipe.keras' is a named pipe, not a regular file"):
        kr.load(tmp_path / "pipe.keras")
    os.mkfifo(loose / "manifest.json")
    with pytest.raises(InputError, match=r"manifest.json' is a named pipe, not a regular file"):
        ModelFile(loose / "model.onnx")


def test_a_keras_file_with_code_or_a_bomb_inside(tmp_path):
    image = keras.Input((8, 8, 1))
    keras.Model(image, keras.layers.Lambda(lambda pixels: pixels * 2)(image)).save(tmp_path / "lambda.keras")
    for name, member in (("bomb", "config.json"), ("heavy", "model.weights.h5")):
        with zipfile.ZipFile(tmp_path / f"{name}.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(member, bytes(2**26 + 1))
    for name, problem in (
        ("lambda", "it has Python code inside, .* which is never run$"),
        ("bomb", "'config.json' inside would take 67,"),
        ("heavy", "'model.weights.h5' inside would take 67,"),
    ):
        with pytest.raises(InputError, match=problem):
            kr.load(tmp_path / f"{name}.keras")


@pytest.mark.parametrize("outputs", [[["a"]], [[1j]], [1.0], [[[1, 2, 3]]], [[]], [[1.0], [2.0]], 3.0])
def test_outputs_that_are_no_scores_are_refused(outputs, loose, monkeypatch):
    file = ModelFile(loose / "model.onnx")
    monkeypatch.setattr(file, "_ask", lambda *arguments, **options: np.array(outputs))
    with pytest.raises(InputError, match=r"model.onnx' is not a classifier: it gives "):
        file(np.zeros((1, 8, 8, 1)))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "model.txt").touch()
    for path, message in ((tmp_path / "none.tflite", "no model at"), (tmp_path / "model.txt", "is not a"), (tmp_path, "is not a")):
        with pytest.raises(InputError, match=message):
            ModelFile(path)


@pytest.mark.starts_python
def test_modules_in_the_current_folder_are_not_loaded(loose, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "json.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path / "here")
    assert ModelFile(loose / "model.onnx")(np.zeros((1, 8, 8, 1))).shape == (1, 10)


def test_an_interrupted_question_is_not_answered_later(loose, monkeypatch):
    file = ModelFile(loose / "model.onnx")

    def interrupted():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(file.connection, "recv_bytes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            file(np.zeros((1, 8, 8, 1)))
    with pytest.raises(InputError, match="it was closed"):
        file(np.zeros((2, 8, 8, 1)))
    with pytest.raises(InputError, match=r"model.onnx' cannot take images of shape \(1,\)"):
        ModelFile(loose / "model.onnx")(np.array([None]))


@pytest.mark.parametrize("content", ['{"files": []}', '{"files": {"a": {}}}', '{"files": {"a": 3}}', "[]", "{"])
def test_a_damaged_manifest_is_named(content, loose):
    (loose / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest.json' .*damaged"):
        ModelFile(loose / "model.onnx")
    (loose / "manifest.json").write_text('{"short_name": "of a page"}')
    ModelFile(loose / "model.onnx")


def test_versions_and_links_are_checked_too(files, tmp_path):
    copy = shutil.copytree(files, tmp_path / "export")
    (tmp_path / "link.onnx").symlink_to(copy / "model.onnx")
    ModelFile(tmp_path / "link.onnx")
    ModelFile(copy / "saved_model" / "1")
    for changed in (copy / "model.onnx", copy / "saved_model" / "1" / "saved_model.pb"):
        changed.write_bytes(changed.read_bytes() + b" ")
    for path in (tmp_path / "link.onnx", copy / "saved_model" / "1"):
        with pytest.raises(InputError, match=r"is not what manifest\.json lists"):
            ModelFile(path)


def test_a_file_that_is_no_classifier_is_refused(tmp_path):
    image = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(image)
    for name, outputs, message in (
        ("two", [keras.layers.Dense(3)(flat), keras.layers.Dense(3)(flat)], "it has 2 outputs, which are not"),
        ("maps", keras.layers.Conv2D(3, 3)(image), r"is not a classifier: it gives \(1, 6, 6, 3\)"),
    ):
        keras.Model(image, outputs).save(tmp_path / f"{name}.keras")
        with pytest.raises(InputError, match=message):
            ModelFile(tmp_path / f"{name}.keras")(np.zeros((1, 8, 8, 1)))
    other = keras.Input((8, 8, 1))
    keras.Model([image, other], keras.layers.Flatten()(image + other)).save(tmp_path / "inputs.keras")
    with pytest.raises(InputError, match="it has 2 inputs, and a classifier of images has one"):
        ModelFile(tmp_path / "inputs.keras")


@pytest.mark.starts_python
def test_the_process_ends_with_its_object(loose):
    file = ModelFile(loose / "model.onnx")
    process = file.process
    del file
    assert process.poll() is not None


def test_outputs_that_are_no_numbers_are_not_compared(loose, monkeypatch):
    monkeypatch.setattr(ModelFile, "__call__", lambda self, images: np.full((1, 10), np.inf))
    with pytest.raises(InputError, match=r"model.onnx' gives outputs that are not finite numbers: it is damaged"):
        compare([loose / "model.onnx"])


def test_random_images_are_not_larger_than_memory():
    with pytest.raises(
        InputError, match=r"random images of shape \(100000, 100000, 3\) would take 30,000,000,000 bytes; pass images"
    ):
        random_images((100_000, 100_000, 3), 1)


def test_files_are_compared_on_the_same_images(files, small_run):
    paths = [small_run.model_path, files / "model_float32.tflite", files / "model_int8.tflite"]
    keras_file, real, integer = compare(paths, batch=2, rounds=2)
    assert (keras_file["time_ratio"], keras_file["size_ratio"], keras_file["max_difference"]) == (1, 1, 0)
    assert real["max_difference"] < 1e-3 < integer["max_difference"]
    assert real["top1_agreement"] == 1
    assert real["time_ratio"] == pytest.approx(real["milliseconds"] / keras_file["milliseconds"])
    assert real["time_ratio"] < 1
    assert integer["bytes"] == (files / "model_int8.tflite").stat().st_size
    assert integer["size_ratio"] == pytest.approx(integer["bytes"] / keras_file["bytes"])
    assert real["images_per_second"] == pytest.approx(2000 / real["milliseconds"])
    assert 0 < integer["peak_memory"] < 1e9


def test_logits_and_probabilities_are_not_subtracted(small_run, tmp_path):
    kr.export.export(small_run, targets=[Target("tflite", output=output) for output in ("logits", "softmax", "top3")], out=tmp_path)
    paths = [tmp_path / name for name in ("model_float32.tflite", "model_float32_softmax.tflite", "model_float32_top3.tflite")]
    logits, shares, best = compare(paths, rounds=1)
    assert (logits["max_difference"], shares["max_difference"], best["max_difference"]) == (0, None, None)
    assert shares["top1_agreement"] == best["top1_agreement"] == 1
    _, same = compare([paths[1], paths[1]], rounds=1)
    assert same["max_difference"] == 0


def test_files_that_do_not_say_what_they_give_are_of_the_kind_that_they_are_near():
    """Logits too may be between 0 and 1, and sum to 1."""
    logits = np.eye(4)[[0, 1, 2, 3, 0]] * 0.8 + 0.05
    shares = probabilities(logits)
    for one, other, kinds, expected in (
        (logits + 0.01, logits, ("", "logits"), True),
        (shares, logits, ("", "logits"), False),
        (logits, shares, ("", "probabilities"), False),
        (shares, shares, ("", ""), True),
        (logits, shares, ("", ""), False),
        (logits, logits, ("logits", "probabilities"), False),
        (logits[:, :3], logits, ("", ""), False),
    ):
        assert are_comparable(one, other, *kinds) == are_comparable(other, one, *kinds[::-1]) == expected


FACTS = '{"shape": [3], "scores": "", "layers": {}, "compiles": false, "accelerated": null}'


@pytest.mark.parametrize("name", ["model_float32.tflite", "model_int8.tflite"])
def test_both_runtimes_of_litert(name, files, few):
    """Of one image, then of several, and of fewer again."""
    images = few.splits["test"].take(np.arange(5))
    with ModelFile(files / name, threads=1) as file:
        assert file.compiles
        assert 0 < file.accelerated <= sum(operations(files / name).values())
        for count in (1, 5, 2):
            outputs = file(images[:count])
            np.testing.assert_allclose(file(images[:count], compiled=True), outputs, atol=1e-5)
        assert len(np.unique(outputs)) > 1
        assert file.seconds(images[:1], 3, compiled=True).shape == (3,)
        with pytest.raises(InputError, match=r"cannot take images of shape \(1, 3, 3, 3\) by CompiledModel"):
            file(np.zeros((1, 3, 3, 3), "uint8"), compiled=True)
    with ModelFile(files / "model.onnx") as other:
        assert not other.compiles


def test_what_xnnpack_takes_over_is_between_its_inputs_and_outputs():
    rows = [
        ("CONV_2D", [0, 10], [1]),
        ("PAD", [1, 11], [2]),
        ("AVERAGE_POOL_2D", [2], [3]),
        ("CONV_2D", [3, -1], [4]),
        ("ADD", [3, 4], [5]),
        ("DELEGATE", [0, 10], [1]),
        ("DELEGATE", [3], [5]),
    ]
    details = [dict(zip(("op_name", "inputs", "outputs"), row, strict=True)) for row in rows]
    assert runtimes.accelerated(SimpleNamespace(_get_ops_details=lambda: details)) == 3
    assert runtimes.accelerated(SimpleNamespace(_get_ops_details=lambda: details[:5])) == 0
    assert runtimes.accelerated(SimpleNamespace(_get_ops_details=lambda: [int("a tensor without a type")])) is None


@pytest.mark.parametrize("name", ["model_float32.tflite", "model_int8.tflite"])
def test_predict_gives_a_tflite_file_the_pixels_of_the_run(name, files, small_run, few, tmp_path, call):
    """Of a wide JPEG that EXIF turns, and of a PNG with colours and alpha."""
    wide = mosaic(few.splits["test"].take(np.arange(9)), "2:1")[..., 0]
    (tmp_path / "turned.jpg").write_bytes(encoded(Image.fromarray(np.rot90(wide)), "JPEG", 6))
    Image.fromarray(np.dstack([wide, wide[::-1], wide, wide])).save(tmp_path / "alpha.png")
    pictures = tmp_path / "turned.jpg", tmp_path / "alpha.png"
    answers = {}
    for model in (small_run.model_path, files / name):
        code, out, _ = call("predict", small_run.path, *pictures, "--top", 10, "--json", "--model", model)
        assert code == 0
        answers[model] = sorted((row["image"], row["class"], row["probability"]) for row in json.loads(out))
    ours, theirs = answers.values()
    assert [row[:2] for row in ours] == [row[:2] for row in theirs]
    difference = np.abs(np.subtract([row[2] for row in ours], [row[2] for row in theirs])).max()
    assert difference < (1e-4 if "float32" in name else 0.1)


@pytest.mark.parametrize("name", ["model_int8.tflite", "saved_model"])
def test_predict_of_a_model_file_says_where_it_belongs(name, files, small_run, call):
    code, _, errors = call("predict", small_run.path, files / name)
    assert (code, errors) == (2, f"keras-resnet: {str(files / name)!r} is a model file: give it with --model\n")


def test_threads_reach_the_runtime(loose, monkeypatch):
    asked = []

    class Interpreter(litert.Interpreter):
        def __init__(self, **options):
            asked.append(options["num_threads"])
            super().__init__(**options)

    monkeypatch.setattr(litert, "Interpreter", Interpreter)
    file = runtimes.tflite_runner(litert, loose / "model_float32.tflite", 3)
    assert asked == [3]
    monkeypatch.setattr(cpu_options, "CpuOptions", lambda num_threads: asked.append(num_threads))
    file.compiled()
    assert asked == [3, 3]
    orders = []
    monkeypatch.setattr(
        ModelFile,
        "_ask",
        lambda self, problem, order, **options: orders.append(order) or np.array(FACTS),
    )
    ModelFile(loose / "model_float32.tflite", threads=2).close()
    assert orders[0]["threads"] == 2


@pytest.mark.starts_python
def test_memory_is_that_of_the_file_and_not_of_its_runtime(loose):
    with ModelFile(loose / "model_float32.tflite") as file:
        file(np.zeros((1, 8, 8, 1), "uint8"))
        assert file.peak_memory() < 30e6  # its runtime alone takes more


def test_the_first_runs_do_not_count(monkeypatch):
    """A runtime that is slow at first, by a clock of its own."""
    ours, its = Pipe()
    calls, clock = [], [0.0]

    def slow_at_first(images):
        calls.append(images)
        clock[0] += 9 if len(calls) <= process.WARM_UP else len(calls)
        return images

    def ask(*messages):
        for message in messages:
            ours.send_bytes(message if isinstance(message, bytes) else json.dumps(message).encode())
        assert ours.poll(30)
        answer = ours.recv_bytes()
        assert answer[:1] == b"="
        return process.unpacked(answer[1:])

    load = lambda module, path, threads: runtimes.LoadedFile(slow_at_first, (1,), "")  # noqa: E731
    monkeypatch.setitem(runtimes.RUNTIMES, ".tflite", ("json", load))
    monkeypatch.setattr(timing, "perf_counter", lambda: clock[0])
    threading.Thread(target=process.serve, args=(its,), daemon=True).start()
    ask({"path": "x", "kind": ".tflite", "threads": 1})
    seconds = ask({"what": "seconds", "rounds": 5}, process.packed(np.zeros((1, 1))))
    ours.close()
    assert list(seconds) == [process.WARM_UP + number for number in range(1, 6)]


@pytest.mark.parametrize(("activation", "scores"), [("softmax", "probabilities"), (None, "")])
def test_a_foreign_file_of_integers_says_whether_it_gives_probabilities(activation, scores, tmp_path):
    """The names of its outputs say nothing, and rounded probabilities of many classes do not sum to 1."""
    import tensorflow as tf

    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(300, activation=activation)])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    images = np.random.default_rng(0).uniform(0, 1, (20, 4, 4, 1)).astype("float32")
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    (tmp_path / "foreign.tflite").write_bytes(converter.convert())
    with ModelFile(tmp_path / "foreign.tflite") as file:
        assert file.scores == scores
        assert not activation or (abs(file(images).sum(axis=1) - 1) > 0.05).all()
