"""The trained networks that the project ships: whole, small, opened by name, and what their cards say is what their files say."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.confidence import interval
from keras_resnet.files.manifest import verify
from keras_resnet.runs.run import is_run
from keras_resnet.shipped import by_name, shipped
from keras_resnet.training.first_weights import FirstWeights

FOLDER = Path(__file__).parents[1] / "saved_models"
SHIP = runpy.run_path(str(FOLDER / "ship.py"))
NAMES = sorted(file.parent.name for file in FOLDER.glob("*/model.keras"))
PRETRAINED = [name for name in NAMES if name.startswith("tiny_imagenet_")]
TRAINED = [name for name in NAMES if name not in PRETRAINED]
each = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def clone(monkeypatch):
    """Also where the tests are of an installed package."""
    monkeypatch.setattr("keras_resnet.shipped.FOLDER", FOLDER)


def test_there_are_some_and_they_are_small():
    assert list(shipped()) == NAMES
    cifar10 = {f"cifar10-{name}" for name in ("resnet8", "resnet20", "resnet56", "search-tiny", "search-depth")}
    assert {"digits-resnet8", "tiny_imagenet_small", "tiny_imagenet_middle"} | cifar10 <= set(NAMES)
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < 60e6


@pytest.mark.parametrize("name", TRAINED)
def test_a_card_says_what_the_files_say(name):
    run = kr.Run.open(name)
    text = (run.path / "README.md").read_text()
    [command] = re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL)
    assert text == SHIP["card"](run, name, command)
    assert command.startswith("keras-resnet train ")


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_card_of_a_pretrained_network_says_what_its_files_say(name):
    run = kr.Run.open(name)
    text, test, cost = (run.path / "README.md").read_text(), run.metrics["test"], kr.cost_of(run.spec)
    [integer] = json.loads((run.path / "export" / "report.json").read_text())
    assert f"value: {test['accuracy']:.4f}" in text
    assert f"**{SHIP['percent'](test['accuracy'], test['images']).partition(';')[0]})**" in text
    assert f"| {cost.trainable:,}, {cost.multiply_adds / 1e6:.0f} million |" in text
    assert f"| {(run.path / 'model.keras').stat().st_size:,} bytes |" in text
    assert f"| {integer['bytes']:,} bytes, {SHIP['percent'](integer['accuracy'], test['images'])} |" in text
    metrics, validation, recall = run.metrics, run.metrics["validation"], sorted(test["recall"].values())
    low, high = (100 * bound for bound in interval(test["top5_accuracy"], test["images"]))
    assert f"| {100 * test['top5_accuracy']:.1f} % ({low:.1f} to {high:.1f}) |" in text
    assert f"| {SHIP['percent'](validation['accuracy'], validation['images']).partition(';')[0]}) |" in text
    images, seconds = metrics["images_per_second"], metrics["train_seconds"]
    assert f"| {metrics['epochs']} epochs in {seconds:.0f} s, {images:,} images a second, " in text
    words = " ".join(text.split())
    others = integer["images"] - integer["agreed"]
    assert f"another class than the Keras model for {others:,} of the {integer['images']:,} test images" in words
    assert f"it agrees on {integer['agreed']:,} images" in words
    [limit] = set(re.findall(r"--min-agreement ([\d.]+)", words))
    assert float(limit) <= integer["top1_agreement"] < 0.98
    assert f"One image takes it {integer['latency_ms']['1']['median']:.1f} ms on one thread" in words
    assert f"corrects {integer['gained']} errors of the Keras model and makes {integer['lost']} new ones" in words
    assert f"goes from {100 * recall[0]:.0f} to {100 * recall[-1]:.0f} %" in words


@each
def test_nothing_of_the_machine_is_shipped(name):
    for file in by_name(name).rglob("*.*"):
        if file.suffix in (".json", ".html", ".md", ".csv"):
            assert not re.search(r'"data_dir": "|/(tmp|home|work|root)/', file.read_text()), file


@each
def test_files_for_phones_are_whole(name):
    files = list((by_name(name) / "export").glob("*.tflite"))
    own = set() if name in PRETRAINED else {"model_float16.tflite"}  # the weights of the others are float16 already
    assert {file.name for file in files} == {"model_int8.tflite"} | own
    for file in files:
        assert verify(file)  # against the digest of the manifest
    rows = json.loads((by_name(name) / "export" / "report.json").read_text())
    assert all(row["verdict"] == "passed" for row in rows)


def test_the_weights_in_the_package_are_those_of_a_run():
    one, other = kr.build(weights="tiny-imagenet"), kr.load("tiny_imagenet_small")
    for name, weights, others in zip(one.weights, one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, others, err_msg=name.path)
    assert kr.Run.open("tiny_imagenet_small").class_names[0] == "goldfish"
    named = kr.build(weights="tiny_imagenet_small")
    for weights, others in zip(named.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, others)
    with pytest.raises(InputError, match="did you mean 'tiny_imagenet_small'"):
        kr.build(weights="tiny_imagenet_smal")


def test_by_name(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = kr.Run.open("digits-resnet8")
    model = kr.load("digits-resnet8")
    image = np.asarray(Image.open(run.path / "sample.png"), "float32").reshape(1, *run.spec.input_shape)
    assert run.class_names[model.predict(image, verbose=0).argmax()] == run.metrics["sample"]["class"]
    code, out, _ = call("predict", "digits-resnet8", str(run.path / "sample.png"), "--json")
    assert code == 0
    assert json.loads(out)[0]["class"] == run.metrics["sample"]["class"]
    assert FirstWeights.of("digits-resnet8").path == run.model_path  # of train --init
    Path("digits-resnet-9").mkdir()  # which is no run
    with pytest.raises(InputError, match=r"no model at 'digits-resnet9'; did you mean 'digits-resnet8'\?$"):
        kr.load("digits-resnet9")
    code, _, err = call("evaluate", "photos")
    assert (code, err.count("\n")) == (2, 1)
    assert "no run folder at 'photos'; by name there are cifar10-resnet20, " in err
    Path("digits-resnet8").mkdir()  # what is here goes first
    with pytest.raises(InputError, match="no model at"):
        kr.load("digits-resnet8")


@pytest.mark.parametrize(
    ("command", "patched", "written"),
    [
        ("export {}", "keras_resnet.export.export", "digits-resnet8-export"),
        ("export {} --debug-quantization", "keras_resnet.export.debug_quantization", "digits-resnet8-export"),
        ("export {} --out mine", "keras_resnet.export.export", "mine"),
        ("report {}", "keras_resnet.cli.pages.replace_text", "digits-resnet8-report.html"),
        ("analyze {} signals", "keras_resnet.analysis.of_run.save", "digits-resnet8-analysis/signals.png"),
        ("train --init {} --set epochs=1", "keras_resnet.training.fit.fit", "runs/digits-resnet8-fine-tuned"),
    ],
)
@pytest.mark.parametrize("run", ["digits-resnet8", str(FOLDER / "digits-resnet8")])
def test_commands_write_nothing_into_what_is_shipped(call, tmp_path, monkeypatch, command, patched, written, run):
    class Stop(Exception):
        pass

    def stop(*arguments, **options):
        raise Stop([*arguments, *options.values()])

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(patched, stop)
    monkeypatch.setattr("keras_resnet.report.run_page.run_page", lambda *arguments: "")
    monkeypatch.setattr("keras_resnet.analysis.of_run.analyze", lambda *arguments, **options: None)
    with pytest.raises(Stop) as stopped:
        call(*command.format(run).split())
    assert Path(written) in stopped.value.args[0]


@pytest.mark.parametrize("option", ["--debug-quantization", "--format=all"])
def test_an_export_of_what_is_shipped_says_where_it_is(call, tmp_path, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("keras_resnet.export.export", lambda *arguments, **options: [])
    found = {"layers": [], "files": [], "keras_accuracy": 1, "advice": ""}
    monkeypatch.setattr("keras_resnet.export.debug_quantization", lambda *arguments, **options: found)
    assert call("export", "digits-resnet8", option)[1].endswith("written to digits-resnet8-export: saved_models is not changed\n")
    _, output, errors = call("export", "digits-resnet8", option, "--json")
    assert "written to" not in output
    assert "written to digits-resnet8-export" in errors


def test_a_place_to_write_is_no_name(tiny, few, tmp_path, monkeypatch, eagerly):
    """A training whose folder is called like a trained network of this project begins there."""
    monkeypatch.chdir(tmp_path)
    assert not is_run(Path("digits-resnet8"))
    run = kr.fit(tiny, kr.recipes.resolve("digits", epochs=1), few, "digits-resnet8", resume=True, verbose=0)
    assert (run.path.resolve(), run.spec.widths) == (tmp_path / "digits-resnet8", tiny.widths)


def test_an_installed_package_finds_those_of_the_clone_that_it_is_called_in(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_resnet.shipped.FOLDER", tmp_path / "site-packages" / "saved_models")
    monkeypatch.chdir(FOLDER.parent)
    assert by_name("digits-resnet8") == Path("saved_models/digits-resnet8")
    monkeypatch.chdir(tmp_path)
    assert by_name("digits-resnet8") == Path("digits-resnet8")
    with pytest.raises(
        InputError, match="no run folder at 'digits-resnet8'; by name, networks of saved_models are opened in the root"
    ):
        kr.Run.open("digits-resnet8")


def test_the_table_is_that_of_the_folders():
    page = (FOLDER / "README.md").read_text()
    assert page == SHIP["with_table"](page)
