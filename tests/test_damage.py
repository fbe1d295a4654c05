"""Random damage to every file that a command opens: never a traceback, never a hang, and with a checksum never another answer.

`pytest -m slow -s tests/test_damage.py` prints how many damages were told, harmless or silent. Without the mark there are two each.
"""

import hashlib
import json
import shutil
import signal
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.console import quiet
from keras_resnet.export.check import Reference
from keras_resnet.export.report import Report
from keras_resnet.export.supported import open_source
from keras_resnet.files.manifest import digests
from keras_resnet.runs.run import Run
from keras_resnet.training import checkpoint_files

FEW, MANY = 2, 40
LONGEST = 120  # seconds of one command
MODELS = ("model_float32.tflite", "model_int8.tflite", "model.onnx", "saved_model")
STUDY = Path(__file__).parents[1] / "tuning" / "digits_depth_width.py"
SMALL = ("resnet8", "--set", "depths=1", "--set", "widths=16", "--set", "stem_width=16", "--recipe", "digits", "--epochs", 15)


def damaged(content, generator):
    """A few flipped bits, a cut, a run of zeros, or nothing at all."""
    kind, changed = generator.choice(["bits", "cut", "zeros", "empty"], p=[0.5, 0.25, 0.2, 0.05]), bytearray(content)
    if kind == "bits":
        for place in generator.integers(0, len(content), generator.choice([1, 2, 8])):
            changed[place] ^= 1 << generator.integers(8)
    if kind == "zeros":
        start = generator.integers(len(content))
        length = min(int(generator.integers(1, min(4097, 2 + len(content) // 8))), len(content) - start)
        changed[start : start + length] = bytes(length)
    return {"cut": bytes(content[: generator.integers(len(content))]), "empty": b""}.get(kind, bytes(changed))


@contextmanager
def within(seconds):
    """TimeoutError for a block that takes longer."""

    def late(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Harness:
    """Runs commands on damaged files, and counts what became of each."""

    def __init__(self, call, caplog):
        self.call, self.caplog, self.counts = call, caplog, {}

    def outcome(self, command):
        """What a command answers, with its warnings; or what it said, in one line, and None."""
        self.caplog.clear()
        with within(LONGEST):
            code, out, err = self.call(*command)
        warnings = {record.getMessage() for record in self.caplog.records}
        if err.startswith("keras-resnet: ANSWER"):
            return err, warnings
        if code:
            assert len(err.splitlines()) == 1, err
            return err, None
        return answer_of(command, out), warnings

    def judge(self, command, expected):
        """told, harmless (the same answer), or silent (another answer, without a word)."""
        answer, warnings = self.outcome(command)
        if warnings is None or warnings - expected[1]:
            return "told"
        return "harmless" if answer == expected[0] else "silent"

    def damage(self, path, commands, count, *, allows_silent=False, after=lambda: None, seed=0):
        """Damage the file at `path` so often, one of those in it where it is a folder, and run each of the commands on each."""
        generator = np.random.default_rng([seed, *path.name.encode()])
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size) if path.is_dir() else [path]
        if count == FEW:  # the first command, which runs what is opened, and the last, which goes on from it
            commands = {name: commands[name] for name in (next(iter(commands)), next(reversed(commands)))}
        expected = {}
        for name, command in commands.items():
            expected[name] = self.outcome(command)
            assert expected[name][1] is not None, expected[name]
            after()
        for _ in range(count):
            file = files[generator.integers(len(files))]
            whole = file.read_bytes()
            content = damaged(whole, generator)
            for name, command in commands.items():
                file.write_bytes(content)
                row = self.counts.setdefault((path.name, name), Counter())
                try:
                    row[self.judge(command, expected[name])] += 1
                except Exception as error:
                    error.add_note(f"{name}: {file.name} with {content[:300]!r}")
                    raise
                file.write_bytes(whole)
                after()
        silent = {name: row["silent"] for name, row in self.counts.items() if row["silent"]}
        print(*(f"{' '.join(name)}: {dict(row)}" for name, row in self.counts.items()), sep="\n", flush=True)
        assert allows_silent or not silent


def answer_of(command, out):
    """What a command answers, without what is measured anew each time."""
    if command[0] == "search":
        return (Path(command[command.index("--out") + 1]) / "results.csv").read_text()
    content = json.loads(out)
    if command[0] == "benchmark":
        return [[row["max_difference"], row["top1_agreement"]] for row in content]
    if command[0] == "export":
        return [[row["file"], row["verdict"]] for row in content]
    return content


@pytest.fixture
def harness(call, caplog):
    return Harness(call, caplog)


def weights_written(source, path, target):
    """In place of a file that takes seconds to convert: what it would be made of."""
    raise InputError(f"ANSWER {source.weights_digest}, {source.name}, {source.class_names}")


def weights_trained(training, saver, checkpoint, *_):
    """In place of a training: what it would start from."""
    saver.restore(checkpoint)
    digest = hashlib.sha256()
    for variable in (*training.model.variables, *training.model.optimizer.variables):
        digest.update(np.asarray(variable).tobytes())
    raise InputError(f"ANSWER {digest.hexdigest()} at step {saver.step}")


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr("keras_resnet.training.fit.run_epochs", weights_trained)


@pytest.fixture
def no_conversion(monkeypatch):
    """An export ends where the first file would be converted; nor is the Keras model run."""
    monkeypatch.setitem(kr.export.WRITERS, "tflite", weights_written)
    monkeypatch.setattr(Reference, "of", lambda source, data: None)


@pytest.fixture
def run(small_run, tmp_path):
    return Run.open(shutil.copytree(small_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("export")))


def commands_of(run):
    """Every command that opens a run."""
    return {
        "predict": ("predict", run.path, run.path / "sample.png", "--json"),
        "evaluate": ("evaluate", run.path, "--json"),
        "export": ("export", run.path, "--format", "tflite", "--json"),
        "train --init": ("train", "--init", run.path, "--epochs", 1, "--out", run.path.with_name("further"), "--json"),
    }


def commands_with(run, model, *options):
    """Every command that opens a model file; its answers are compared with those of the network of the run."""
    return {
        "predict": ("predict", run.path, run.path / "sample.png", "--model", model, *options, "--json"),
        "evaluate": ("evaluate", run.path, "--model", model, *options, "--json"),
        "benchmark": ("benchmark", model, run.model_path, "--rounds", 1, *options, "--json"),
    }


few_or_many = pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])


@few_or_many
@pytest.mark.usefixtures("no_training", "no_conversion")
def test_the_network_of_a_run(harness, run, count):
    copy = shutil.copy(run.model_path, run.path / "whole.keras")
    benchmark = {"benchmark": ("benchmark", run.model_path, copy, "--rounds", 1, "--json")} if count == MANY else {}
    harness.damage(run.model_path, {**commands_of(run), **benchmark}, count)


@few_or_many
@pytest.mark.usefixtures("no_training", "no_conversion")
@pytest.mark.parametrize("name", ["spec.json", "metrics.json"])
def test_the_records_of_a_run(harness, run, count, name):
    """They have no checksum, but an answer is that of the network, whose layers are compared with the spec."""
    harness.damage(run.path / name, {**commands_of(run), "train --resume": resuming(run.path)}, count, allows_silent=True)


def resuming(out):
    """The command that resumes the training of `small_run`, or gives it back."""
    return ("train", *SMALL, "--data", "digits", "--out", out, "--resume", "--json")


class Interrupted(keras.callbacks.Callback):
    """Ctrl-C in a step."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 7:
            raise KeyboardInterrupt


@few_or_many
@pytest.mark.usefixtures("eagerly")
def test_checkpoints(harness, small_run, digits, tmp_path, monkeypatch, count):
    """Of a damaged one the one before it is used, or the training begins again: both are told."""
    out = tmp_path / "resumed"
    with pytest.raises(KeyboardInterrupt):
        kr.fit(small_run.spec, small_run.recipe, digits, out, verbose=0, checkpoint_every=3, callbacks=[Interrupted()])
    monkeypatch.setattr("keras_resnet.training.fit.run_epochs", weights_trained)
    folder = checkpoint_files.folder_of(out)
    *_, newest = checkpoint_files.files(folder)
    harness.damage(newest, {"train --resume": resuming(out)}, count)


@pytest.mark.slow  # no command reads it
def test_the_table_of_a_search(harness, pretended, tmp_path):
    """It is written anew from the runs of the trials."""
    out = tmp_path / "study"
    command = ("search", STUDY, "--trials", 3, "--out", out, "--json")
    harness.call(*command)
    harness.damage(out / "results.csv", {"search": command}, MANY)


@pytest.fixture(scope="module")
def exported(small_run, tmp_path_factory):
    """Exports a file once."""
    out = tmp_path_factory.mktemp("files") / "export"
    out.mkdir()
    source, *_ = open_source(small_run, None, None)
    writers = dict(kr.export.WRITERS)  # before a test replaces one

    def export(name):
        if not (out / name).exists():
            target = kr.export.TARGETS[name]
            with quiet():
                writers[target.format](source, out / name, target)
            Report(out, out.parent, source).update_manifest(name, {"sha256": digests(out / name)})
        return out

    return export


@few_or_many
@pytest.mark.parametrize("name", [MODELS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in MODELS[1:])])
def test_exported_files(harness, run, exported, count, name):
    """Their digests are in the manifest beside them."""
    shutil.copytree(exported(name), run.export_path)
    harness.damage(run.export_path / name, commands_with(run, run.export_path / name), count)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_files_without_a_manifest(harness, run, exported, name):
    """Nothing tells the damage but the format itself."""
    (shutil.copytree if name == "saved_model" else shutil.copy)(exported(name) / name, run.path / name)
    harness.damage(run.path / name, commands_with(run, run.path / name, "--trust"), MANY, allows_silent=True)


@few_or_many
@pytest.mark.usefixtures("no_conversion")
def test_manifests(harness, run, exported, count):
    """Where one does not list a file any more, that is a file without a manifest: the same answer, or for a SavedModel none."""
    shutil.copytree(exported(MODELS[0]), run.export_path)
    commands = commands_with(run, run.export_path / MODELS[0])
    harness.damage(run.export_path / "manifest.json", {**commands, "export": commands_of(run)["export"]}, count)


def test_an_array_whose_header_cannot_be_parsed(tmp_path):
    """NumPy then raises an error of Python's tokenizer, before the checksum of a large array is compared."""
    path = tmp_path / "images.npz"
    np.savez(path, x_train=np.zeros((4, 256, 256, 1), "uint8"), y_train=np.arange(4))
    content = path.read_bytes()
    assert b", }     " in content
    path.write_bytes(content.replace(b", }     ", b", }  (  "))
    with pytest.raises(InputError, match=r"images\.npz' cannot be read, it may be damaged"):
        kr.data.load(path)
