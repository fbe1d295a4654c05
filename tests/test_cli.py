import csv
import dataclasses
import json
import os
import shutil
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from keras_resnet import RECIPES, VARIANTS, InputError, Run, build, export, recipes
from keras_resnet.cli import options
from keras_resnet.cli.output import saved_weights, show_classes
from keras_resnet.data import from_folder, to_evaluate
from keras_resnet.files import evaluation, model_file
from keras_resnet.files.predictions import probabilities
from keras_resnet.networks import choice
from keras_resnet.runs.evaluation import report

ONE_UNIT = ("resnet8", "--set", "depths=1", "--set", "widths=4", "--set", "stem_width=4")


def test_list(call):
    code, out, _ = call("list")
    assert code == 0
    assert len(out.splitlines()) == len(VARIANTS) + 1
    code, out, _ = call("list", "--json")
    rows = {row["network"]: row for row in json.loads(out)}
    assert len(rows) >= 80
    for row in rows.values():
        assert row["parameters"] > 0
        assert row["multiply_adds"] > 0
        assert "arXiv:" in row["source"]
    assert rows["resnet50"]["parameters"] == 25_557_032
    assert rows["resnet50"]["published"] == {"parameters": "25,557,032", "multiply_adds": "4.089G"}
    assert rows["resnet50"]["layers"] == 50
    assert set(rows) == set(VARIANTS)


def test_the_list_can_be_narrowed(call):
    rows = json.loads(call("list", "--for", "64x64", "--max-parameters", "1M", "--max-multiply-adds", "200M", "--json")[1])
    assert [row["network"] for row in rows] == ["resnet8", "resnet20", "plain8", "plain20"]
    assert rows[0]["input"] == "64x64x3"
    assert rows[0]["multiply_adds"] > 48_000_000  # at 32x32 it has a quarter
    large, small = ({name for name, row in VARIANTS.items() if choice.suits(row.spec, (side, side))} for side in (224, 32))
    assert "resnet50" in large
    assert not large & small
    for arguments, message in (
        (("--for", "big"), "--for 'big': expected a size such as 64x64"),
        (("--max-parameters", "many"), "'many': expected a number such as 500000, 500k or 2.5M"),
        (("--max-parameters", "1k"), "no named network is within these limits; the smallest have 75,290 parameters"),
    ):
        code, _, err = call("list", *arguments)
        assert code == 2
        assert message in err


@pytest.mark.parametrize(
    ("count", "shape", "network"),
    [
        (26, (24, 24, 3), "resnet8"),
        (45_000, (32, 32, 3), "resnet20"),
        (192, (64, 64, 3), "resnet18"),
        (1_281_167, (224, 224, 3), "resnet50"),
        (500, (4096, 2), "resnet18"),
    ],
)
def test_a_network_is_proposed_by_number_and_size(count, shape, network):
    proposed = choice.for_images(count, shape)
    assert proposed.network == network
    assert f"{count:,} training images" in proposed.why
    assert "x".join(map(str, shape[:-1])) in proposed.why
    assert choice.suits(VARIANTS[network].spec, shape[:-1])


@pytest.mark.usefixtures("eagerly")
def test_a_first_run_on_photos_says_what_it_does(call, photos, tmp_path, monkeypatch, caplog):
    """Without a network and a recipe: both are chosen and told, before the first step; and there is a picture to try it on."""
    monkeypatch.chdir(tmp_path)
    (photos / "dark_above" / "broken.jpg").write_bytes(b"nothing")
    code, out, err = call("train", "--data", photos, *ONE_UNIT[1:], "--batch-size", 4, "--epochs", 9, "--patience", 1)
    assert code == 0, err
    before = out[: out.index("epoch 1/9")]
    for part in (
        "no network was named: using resnet8 (its stem keeps the resolution of small images (24x24)",
        "images: 26 train, 6 validation, 8 test; 24x24 pixels, 3 channels",
        "classes: 2, each with its images for train+validation+test: bright_above 13+3+4, dark_above 13+3+4",
        "left out: 1 file, the first",
        "broken.jpg",
        "parameters, ",
        "multiply-adds an image",
        "recipe: 9 epochs in batches of 4; SGD, learning rate up to",
        "images shifted by up to 3 pixels, mirrored",
        "steps: 63, 7 in each epoch",
    ):
        assert part in before
    assert " left" in out.partition("epoch 1/9")[2].splitlines()[0]  # an estimate within the first epoch
    assert "only 63 steps, too few to train from random weights: stop (Ctrl-C)" in caplog.text
    run = Run.open(tmp_path / "runs" / "photos-resnet8")
    assert run.recipe == dataclasses.replace(
        recipes.for_images(26, (24, 24, 3), class_names=run.class_names), batch_size=4, epochs=9
    )
    assert run.metrics["epochs"] < 9  # by --patience
    sample = run.metrics["sample"]
    assert f"keras-resnet predict {Path('runs/photos-resnet8')} runs/photos-resnet8/sample.png" in out
    assert sample["class"] in run.class_names
    assert Image.open(run.path / sample["file"]).size == (24, 24)


def test_list_recipes(call):
    code, out, _ = call("list", "--recipes")
    assert code == 0
    assert "goyal-2017: arXiv:1706.02677" in out
    assert "learning_rate=0.1, learning_rate_batch=256" in " ".join(out.split())
    code, out, _ = call("list", "--recipes", "--json")
    rows = {row["recipe"]: row for row in json.loads(out)}
    assert set(rows) == set(RECIPES)
    # 90 epochs of 1,281,167 images of 4.089e9 multiply-adds, a step as three passes.
    assert rows["goyal-2017"]["training_flops"] == pytest.approx(2 * 3 * 90 * 1_281_167 * 4.089e9, rel=1e-3)


def test_how_a_step_is_computed(call, tmp_path):
    code, out, _ = call(
        *("train", *ONE_UNIT, "--batch-size", "256", "--set", "epochs=1"),
        *("--precision", "bfloat16", "--jit", "off", "--strategy", "one"),
        *("--tensorboard", "--out", tmp_path / "run"),
    )
    assert code == 0
    assert " images/s  0:0" in out
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert (recipe["precision"], recipe["jit"]) == ("bfloat16", "off")
    assert list((tmp_path / "run-tensorboard").rglob("*tfevents*"))


def test_benchmark(call, monkeypatch):
    monkeypatch.setattr("keras_resnet.training.precision.SECONDS", 0.02)  # of each measurement
    code, out, _ = call("benchmark", "--network", *ONE_UNIT, "--json")
    assert code == 0
    rows = json.loads(out)
    assert [row["what"] for row in rows] == ["pipeline alone", "training step alone", "both"]
    assert all(row["images_per_second"] > 0 for row in rows)


def test_show(call):
    code, out, _ = call("show", "resnet20", "--set", "classes=100", "--set", "widths=16,24,32", "--json")
    assert code == 0
    shown = json.loads(out)
    assert shown["spec"]["widths"] == [16, 24, 32]
    assert shown["stages"][-1]["output"] == "100"
    code, out, _ = call("show", "resnet18", "--set", "input_shape=none,none,3")
    assert code == 0
    assert "the size of the input varies: outputs, multiply-adds and memory are for (224, 224, 3)" in out
    assert "11,689,512" in out
    code, out, _ = call("show", "resnet20", "--train-memory", "--batch", "64")
    assert "remat=True          64" in out
    code, out, _ = call("show", "resnet20")
    assert "269,722" in out
    assert "4x4x64" not in out
    assert "8x8x64" in out


@pytest.mark.parametrize("command", ["list", "show", "train", "evaluate", "predict", "export", "benchmark"])
def test_every_command_has_help_with_an_example(call, command):
    code, out, _ = call(command, "--help")
    assert code == 0
    assert f"Example: keras-resnet {command}" in out


@pytest.mark.slow  # the README's first screen is the same on a larger network
def test_train_evaluate_predict_export(call, tmp_path, digits):
    out = tmp_path / "run"
    settings = ("--set", "epochs=15", "--set", "widths=16", "--set", "stem_width=16", "--set", "norm_momentum=0.8")
    code, text, _ = call("train", *ONE_UNIT, "--data", "digits", *settings, "--seed", 5, "--out", out, "--export", "onnx")
    assert code == 0
    assert "images per second" in text
    assert "model.onnx" in text
    code, text, _ = call("evaluate", out, "--json")
    (row,) = json.loads(text)
    metrics = json.loads((out / "metrics.json").read_text())
    assert row["accuracy"] == pytest.approx(metrics["test"]["accuracy"])
    assert metrics["seed"] == 5
    assert json.loads((out / "spec.json").read_text())["norm_momentum"] == 0.8

    code, text, _ = call("export", out, "--format", "tflite", "--quantize", "int8", "--json")
    assert code == 0
    assert json.loads(text)[0]["top1_agreement"] >= 0.98

    index = int(np.flatnonzero(digits.splits["test"].labels == 3)[0])
    Image.fromarray(digits.splits["test"].take(np.array([index]))[0, :, :, 0]).save(tmp_path / "three.png")
    for model in ((), ("--model", "model_int8.tflite"), ("--model", out / "export" / "model.onnx")):
        code, text, _ = call("predict", out, tmp_path / "three.png", *model, "--json")
        rows = json.loads(text)
        assert code == 0
        assert len(rows) == 3
        assert rows[0]["class"] == "3"
        assert 0.5 < rows[0]["probability"] <= 1
    code, text, _ = call("evaluate", out, "--model", "model_int8.tflite", "--split", "validation", "--json")
    assert json.loads(text)[0]["accuracy"] == pytest.approx(metrics["validation"]["accuracy"], abs=0.02)


def test_an_export_outside_its_tolerance_exits_with_1(call, small_run, tmp_path):
    settings = ("--format", "tflite", "--quantize", "float16", "--max-difference", 1e-12, "--out", tmp_path)
    code, out, err = call("export", small_run.path, *settings)
    assert code == 1
    assert "failed" in out
    assert "folder: " not in out  # nothing was put there
    assert "model_float16.tflite is not written: largest difference" in err
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "REPORT.md"}


def test_an_undecided_file_exits_with_1_unless_it_is_accepted(call, small_run, tmp_path, monkeypatch):
    problem = "too few images to decide"

    def pretended(*arguments, on_check, accept_undecided, **options):
        check = export.Check(file="model_int8.tflite", bytes=1, images=4, images_from={"test": 4}, keras_accuracy=1.0)
        check = dataclasses.replace(check, verdict="undecided", problem=problem, accepted=accept_undecided)
        on_check(check)
        return [check]

    monkeypatch.setattr(export, "export", pretended)
    code, out, err = call("export", small_run.path, "--out", tmp_path)
    assert code == 1
    assert "undecided" in out
    assert f"undecided model_int8.tflite\nkeras-resnet: model_int8.tflite is not written: {problem}" in err
    code, out, err = call("export", small_run.path, "--out", tmp_path, "--accept-undecided")
    assert code == 0
    assert "undecided" in out
    assert problem not in err


def test_files_for_a_phone(call, small_run, tmp_path):
    settings = ("--format", "tflite", "--pixels", "uint8", "--output", "top3", "--batch", 1, "--out", tmp_path)
    code, out, _ = call("export", small_run.path, *settings)
    assert code == 0
    assert out.endswith(f"\nfolder: {tmp_path}\n")
    path = tmp_path / "model_float32_uint8_top3_batch1.tflite"
    code, out, _ = call("benchmark", small_run.model_path, path, "--rounds", 1)
    assert code == 0
    assert "time_ratio" in out
    assert "32 random images" in out
    code, out, _ = call("benchmark", small_run.model_path, path, "--rounds", 1, "--data", "digits", "--json")
    rows = json.loads(out)
    assert [(row["compared_on"], row["top1_agreement"]) for row in rows] == [("256 images", 1), ("256 images", 1)]
    assert [row["time_ratio"] for row in rows] == [1.0, rows[1]["milliseconds"] / rows[0]["milliseconds"]]


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_what_a_file_without_names_puts_out_is_known_from_the_run(call, small_run, digits, tmp_path, monkeypatch, kind):
    """By values alone logits between 0 and 1 that sum to 1 are taken for probabilities."""
    image = digits.splits["test"].take(np.arange(1))
    Image.fromarray(image[0, :, :, 0]).save(tmp_path / "digit.png")
    (tmp_path / "foreign.onnx").touch()
    logits = np.full(10, 0.05)
    logits[3] = 0.55
    shares = probabilities(logits)

    class Pretended:
        scores, layers, image_shape = "", {}, ()

        def __init__(self, path, **_):
            self.outputs = shares if path.name == "foreign.onnx" and kind == "probabilities" else logits

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def __call__(self, images):
            return self.outputs[None]

    monkeypatch.setattr(model_file, "ModelFile", Pretended)
    monkeypatch.setattr("keras_resnet.cli.inference.check_network", lambda *_: None)
    code, out, _ = call("predict", small_run.path, tmp_path / "digit.png", "--model", tmp_path / "foreign.onnx", "--json")
    assert code == 0
    first = json.loads(out)[0]
    assert (first["class"], first["probability"]) == ("3", pytest.approx(shares[3]))


def test_an_unreadable_picture_does_not_hide_the_answers_to_others(call, small_run, photos, tmp_path):
    good, *_ = sorted(photos.rglob("*.jpg"))
    (tmp_path / "bad.png").write_bytes(b"nothing")
    code, out, err = call("predict", small_run.path, tmp_path / "bad.png", good, good, "--top", 1, "--json")
    assert code == 2
    assert [row["image"] for row in json.loads(out)] == [str(good)] * 2  # as often as it is named
    assert "bad.png" in err


def write_digits(digits, folder, classes, count=1, mode="RGB"):
    """The first `count` test digits of each class as pictures of 16x16, in a folder each."""
    split = digits.splits["test"]
    for label in classes:
        (folder / str(label)).mkdir(parents=True)
        for index in np.flatnonzero(split.labels == label)[:count]:
            picture = Image.fromarray(split.take(np.array([index]))[0, :, :, 0]).convert(mode).resize((16, 16), 0)
            picture.save(folder / str(label) / f"{index}.png")
    return folder


def test_other_images_are_measured_as_the_run_takes_them(call, small_run, digits, tmp_path, caplog):
    """In colour, of another size, one picture a class, of two of ten classes, with test/ alone."""
    write_digits(digits, tmp_path / "photos" / "test", (3, 7))
    code, out, err = call("evaluate", small_run.path, "--data", tmp_path / "photos", "--out", tmp_path / "found", "--json")
    assert code == 0, err
    assert "no images of 8 of the run's 10 classes (0, 1, 2, 4, 5, 6, 8, 9): their recall is unknown" in caplog.text
    [found] = json.loads(out)
    assert found["images"] == 2
    rows = {row["class"]: row for row in found["classes"]}
    assert {name for name, row in rows.items() if row["images"]} == {"3", "7"}
    assert rows["3"]["recall_interval"][0] < rows["3"]["recall"] or rows["3"]["recall"] == 0
    assert rows["0"]["recall"] is None
    assert np.sum(found["confusion_matrix"]) == 2
    assert json.loads((tmp_path / "found" / "evaluation.json").read_text()) == found
    with Image.open(tmp_path / "found" / "confusion.png") as picture:
        assert picture.format == "PNG"


def test_a_class_that_the_run_does_not_have_is_refused(small_run, digits, tmp_path):
    folder = write_digits(digits, tmp_path / "photos", (3, 7))
    (folder / "7").rename(folder / "seven")
    with pytest.raises(InputError, match=r"no class of the run named 'seven' .*; rename its folder, or move it out"):
        to_evaluate(small_run, folder)
    with pytest.raises(InputError, match="has 1 pictures but no class folders, so they have no labels"):
        to_evaluate(small_run, folder / "3")


def test_arrays_and_sets_are_measured_too(small_run, digits, tmp_path, caplog):
    images, labels = digits.splits["test"].take(np.arange(3)), np.array([7, 0, 7])
    data = to_evaluate(small_run, (images, labels))
    assert (list(data.splits), len(data.class_names), data.examples("all").labels.tolist()) == (["test"], 10, [7, 0, 7])
    assert to_evaluate(small_run, iter(zip(images, labels, strict=True))).examples("test").labels.size == 3
    assert "no images of 8 of the run's 10 classes" in caplog.text
    assert "training images" not in caplog.text  # nothing is trained
    folder = write_digits(digits, tmp_path / "photos", (3, 7), count=5, mode="L")
    data = to_evaluate(small_run, from_folder(folder, image_size=(8, 8)))
    assert set(data.examples("all").labels) == {3, 7}
    assert data.class_names == list("0123456789")


def test_the_evaluation_is_told_class_by_class(call, small_run):
    code, out, _ = call("evaluate", small_run.path)
    assert code == 0
    for heading in (
        "balanced",
        "precision",
        "recall",
        "95 % interval of recall",
        "confusion matrix: true class (row), predicted class (column)",
    ):
        assert heading in out
    recall = small_run.metrics["test"]["recall"]["3"]
    assert any(line.split()[:1] == ["3"] and f"{recall:.4f}" in line for line in out.splitlines())


def test_a_report_counts_by_hand():
    outputs = np.eye(4)[[0, 0, 1, 1, 1, 1, 2]]
    found = report(evaluation.confusion(outputs, np.array([0, 0, 0, 1, 1, 1, 1]), 4), ["a", "b", "c", "d"])
    assert found["confusion_matrix"] == [[2, 1, 0, 0], [0, 3, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert found["accuracy"] == pytest.approx(5 / 7)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 3 / 4) / 2)
    assert [(row["images"], row["precision"], row["recall"]) for row in found["classes"]] == [
        (3, 1, 2 / 3),
        (4, 3 / 4, 3 / 4),
        (0, 0, None),
        (0, None, None),
    ]
    best_two = np.array([[[0.9, 3], [0.1, 7]]])  # scores and numbers
    for wrong, message in (
        (outputs, "the file gives 4 classes, the run has 5"),
        (best_two, "the file gives at least 8 classes, the run has 5"),
        (np.full((6, 5), np.nan), "not finite numbers"),  # which all would be class 0
    ):
        with pytest.raises(InputError, match=message):
            evaluation.confusion(wrong, np.zeros(len(wrong), int), 5)
    assert evaluation.confusion(best_two, np.zeros(1, int), 8)[0, 3] == 1


def test_predict_takes_a_folder_and_writes_a_table(call, small_run, digits, tmp_path, caplog):
    folder = write_digits(digits, tmp_path / "photos", (3, 7), count=2)
    (folder / "3" / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"nothing")
    code, out, err = call("predict", small_run.path, folder, "--top", 2, "--csv", tmp_path / "rows.csv", "--json")
    assert code == 0, err
    assert "2 of 6 files in" in caplog.text
    assert "not a picture that Pillow reads (.txt): 3/notes.txt" in caplog.text
    rows = json.loads(out)
    assert [row["image"] for row in rows[::2]] == [str(path) for path in sorted(folder.rglob("*.png")) if path.name[0] != "."]
    written = list(csv.DictReader((tmp_path / "rows.csv").open()))
    numbers = [{**row, "probability": float(row["probability"]), "margin": float(row["margin"])} for row in written]
    assert numbers == rows
    assert rows[0]["margin"] == pytest.approx(rows[0]["probability"] - rows[1]["probability"])
    assert rows[1]["margin"] == pytest.approx(-rows[0]["margin"])
    (tmp_path / "empty").mkdir()
    code, _, err = call("predict", small_run.path, tmp_path / "empty")
    assert (code, "no readable image in" in err) == (2, True)


@pytest.mark.slow
def test_where_int8_hurts(call, small_run, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "debug_quantization", partial(export.debug_quantization, most=1))
    code, out, _ = call("export", small_run.path, "--debug-quantization", "--out", tmp_path)
    assert code == 0
    assert "signal_to_noise" in out
    assert "stage1_block1_conv2" in out
    assert f"accuracy in float: {small_run.metrics['test']['accuracy']:.4f}" in out
    assert {path.name for path in tmp_path.iterdir()} == {"quantization.json", "quantization.png"}


def test_a_question_about_int8_takes_no_options_of_files(call, small_run):
    code, _, err = call("export", small_run.path, "--format", "tflite", "--debug-quantization")
    assert code == 2
    assert "leave out --format and the options of files" in err


def test_a_bad_file_ends_in_one_line(call, small_run, tmp_path, photos):
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"TFL3" * 500)
    picture = next(photos.rglob("*.jpg"))
    for arguments in (
        ("benchmark", bad),
        ("evaluate", small_run.path, "--model", bad),
        ("predict", small_run.path, picture, "--model", bad),
    ):
        code, _, err = call(*arguments)
        assert code == 2
        assert "bad.tflite' cannot be opened, it may be damaged" in err
        assert len(err.strip().splitlines()) == 1


def test_a_run_with_the_file_of_another_network_is_told(call, small_run, tmp_path):
    run = Run.open(shutil.copytree(small_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("export")))
    build(run.spec, depths=(2,)).save(run.model_path)
    for arguments in (
        ("predict", run.path, run.path / "sample.png"),
        ("evaluate", run.path),
        ("export", run.path, "--format", "tflite"),
        ("train", "--init", run.path, "--out", tmp_path / "new"),
    ):
        code, _, err = call(*arguments)
        assert code == 2
        assert "model.keras' is not the network of spec.json: it has 2,304 weights in layer 'stage1_block2_conv1', not 0" in err
        assert len(err.splitlines()) == 1
    for other, problem in (
        ({"input_shape": (9, 9, 1)}, r"it takes images of \(9, 9, 1\), not \(8, 8, 1\)"),
        ({"classes": 9}, "it has 153 weights in layer 'logits', not 170"),
        ({"norm": "group", "norm_groups": 4}, "it has 32 weights in layer 'stem_norm', not 64"),
    ):
        build(run.spec, **other).save(run.model_path)
        with pytest.raises(InputError, match=problem):
            run.load()


def test_trust_and_limit_reach_the_file(call, small_run, tmp_path, monkeypatch):
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "saved_model.pb").touch()
    asked = []

    def opened(self, path, **options):
        asked.append(options)
        raise InputError("enough")

    monkeypatch.setattr(model_file.ModelFile, "__init__", opened)
    sample, model = small_run.path / "sample.png", tmp_path / "saved_model"
    for command in (
        ("predict", small_run.path, sample, "--model", model),
        ("evaluate", small_run.path, "--model", model),
        ("benchmark", model),
    ):
        assert call(*command)[0] == call(*command, "--trust", "--limit", 7)[0] == 2
    assert [(options["trust"], options["limit"]) for options in asked] == 3 * [(False, 120), (True, 7)]
    assert "--trust: only for model files" in call("benchmark", "--trust")[2]


def test_named_pipes_are_not_opened(call, small_run, tmp_path):
    run = Run.open(shutil.copytree(small_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("export")))
    os.mkfifo(tmp_path / "pipe.tflite")
    os.mkfifo(tmp_path / "pipe.png")
    run.export_path.mkdir()
    os.mkfifo(run.export_path / "report.json")
    sample = run.path / "sample.png"
    for command, message in (
        (("predict", run.path, sample, "--model", tmp_path / "pipe.tflite"), "pipe.tflite' is a named pipe, not a regular file"),
        (("predict", run.path, tmp_path / "pipe.png"), "no image file at"),
        (("benchmark", tmp_path / "pipe.tflite"), "pipe.tflite' is a named pipe, not a regular file"),
        (("export", run.path), "report.json' was not written by an export: move it away"),
    ):
        code, _, err = call(*command)
        assert (code, message in err, len(err.splitlines())) == (2, True, 1), err
    for name in ("spec.json", "labels.txt", "model.keras"):
        (run.path / name).unlink()
        os.mkfifo(run.path / name)
        assert f"is not a run: it has no {name}" in call("predict", run.path, sample)[2]
        (run.path / name).unlink()
        shutil.copy(small_run.path / name, run.path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "resnet8_x", "--data", "digits"), "no network named 'resnet8_x'; did you mean 'resnet8'?"),
        (("train", "resnet8", "--set", "epoch=3"), "no field named 'epoch'; did you mean 'epochs'?"),
        (("train", "resnet8", "--set", "epochs=three"), "epochs='three': expected a whole number"),
        (("train", "resnet8", "--set", "epochs"), "--set takes FIELD=VALUE, received 'epochs'"),
        (("train", "resnet8", "--set", "classes=3"), "classes cannot be set: the images decide"),
        (("train", "resnet8", "--recipe", "cifar30"), "no recipe named 'cifar30'; did you mean 'cifar-30'?"),
        (("train", "resnet8", "--data", "no/folder"), "no folder 'no/folder' to read images from"),
        (("train", "resnet8", "--data", "digitz"), "no image set or folder named 'digitz'; did you mean 'digits'?"),
        (("train", "resnet8", "--out", ".."), "'..' holds the current folder"),
        (("train", "resnet8", "--export", "tflit"), "no export format named 'tflit'; did you mean 'tflite'?"),
        (("train", "resnet8", "--seed", "-1"), "seed=-1: must be a whole number"),
        (("train", "resnet8", "--image-size", "32"), "image_size is for folders"),
        *(
            ((*command, "--data-dir", "/nowhere"), "is for the names of TensorFlow Datasets, and 'digits' is not one")
            for command in (
                ("train", "resnet8"),
                ("evaluate", "{run}"),
                ("export", "{run}", "--data", "digits"),
                ("benchmark",),
                ("search", Path(__file__).parents[1] / "tuning" / "digits_depth_width.py", "--out", "out"),
            )
        ),
        (("train", "resnet8", "--sede", "1"), "No such option: --sede"),
        (("train", "resnet8", "--strategy", "mirored"), "no strategy named 'mirored'; did you mean 'mirrored'?"),
        (("train", "resnet8", "--precision", "bf16"), "no precision named 'bf16'; did you mean 'bfloat16'?"),
        (("train", "resnet8", "--set", "crop=8"), "crop=8 is too large for images of (8, 8, 1)"),
        (("benchmark", "--jit", "maybe"), "no jit named 'maybe'"),
        (
            ("benchmark", "a.keras", "--network", "nonsense", "--set", "epochs=99"),
            "--network, --set: only for training, which is measured if no files are given",
        ),
        (("benchmark", "a.keras", "--precision", "float99"), "--precision: only for training"),
        (("benchmark", "a.keras", "--image-size", 8), "--image-size: only with --data"),
        (("benchmark", "--rounds", 3), "--rounds: only for model files, and none is given"),
        (("trian",), "No such command 'trian'"),
        (("show", "resnet50", "--set", "epochs=3"), "no field named 'epochs'"),
        (("export", "no/run"), "no run folder at 'no/run'"),
        (("evaluate", "."), "'.' is not a run"),
        (("predict", "{run}", "none.png"), "no image file at 'none.png'"),
        (("predict", "{run}", "none.png", "--model", "model_int9.tflite"), "no model file named 'model_int9.tflite'"),
        (("evaluate", "{run}", "--split", "tset"), "no split named 'tset'; did you mean 'test'?"),
        (("export", "{run}", "--format", "onnx", "--quantize", "int8"), "goes with format 'tflite'"),
        (("export", "{run}", "--out", "{run}/labels.txt"), "cannot be written: there is a file in its place, or above it"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(call, small_run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*(str(argument).format(run=small_run.path) for argument in arguments))
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in out + err
    assert not list(tmp_path.iterdir())  # nothing is left behind


def test_version_and_short_help(call):
    from keras_resnet import __version__

    assert call("--version", "list")[:2] == call("--version")[:2] == (0, f"keras-resnet {__version__}\n")
    assert "Usage" in call("train", "-h")[1]


def test_interruption_and_a_full_disk_are_one_line(call, monkeypatch, tmp_path):
    for error, code, message in (
        (
            KeyboardInterrupt(),
            130,
            "interrupted. To continue, add --resume to the command of a training, or repeat the command of a search",
        ),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
    ):
        monkeypatch.setattr("keras_resnet.training.fit.run_epochs", mock.Mock(side_effect=error))
        result = call("train", "resnet8", "--out", tmp_path / "run")
        assert result[0] == code
        assert message in result[2]
        assert len(result[2].splitlines()) == 1
        assert not list(tmp_path.iterdir())


def test_divergence_is_one_line_and_exit_code_1(call, tmp_path):
    code, _, err = call("train", *ONE_UNIT, "--out", tmp_path / "run", "--set", "learning_rate=1e30", "--set", "warmup=0")
    assert code == 1
    assert "no epoch was complete: try a lower learning_rate" in err
    assert len(err.splitlines()) == 1


@pytest.mark.usefixtures("eagerly")
def test_quantization_aware_training(call, small_run, tmp_path):
    aware = tmp_path / "aware"
    arguments = ("--init", small_run.path, "--quantization-aware", "--epochs", 1, "--batch-size", 256, "--out", aware, "--json")
    code, out, _ = call("train", *arguments)
    assert code == 0
    assert json.loads(out)["epochs"] == 1
    opened = Run.open(aware)
    assert opened.recipe == dataclasses.replace(
        recipes.fine_tuning(small_run.recipe, quantization_aware=True), epochs=1, batch_size=256
    )
    assert opened.spec == small_run.spec
    code, _, err = call("train", "--quantization-aware")
    assert code == 2
    assert "needs a trained network: start from a run, file or name with init (--init)" in err
    code, _, err = call("train", "resnet8", "--quantization-aware", "--out", tmp_path / "none")
    assert code == 2
    assert "needs a trained network: start from a run, file or name with init (--init)" in err


def test_search_refusals(call, tmp_path):
    study = Path(__file__).parents[1] / "tuning" / "digits_depth_width.py"
    for arguments, message in (
        ((tmp_path / "none.py",), "no study at"),
        ((study, "--worker", "nowhere"), "'nowhere' is not an address: expected HOST:PORT, such as 10.0.0.1:8000"),
        ((study, "--chief", "127.0.0.1:1234567"), "'127.0.0.1:1234567' is not an address"),
        ((study, "--chief", "a:1", "--worker", "a:1"), "a process is either the chief or a worker"),
    ):
        code, _, err = call("search", *arguments, *(() if len(arguments) == 1 else ("--out", tmp_path / "out")))
        assert code == 2
        assert message in err
        assert len(err.splitlines()) == 1


def test_classes_of_a_training_are_shown_with_the_confusion_matrix(capsys):
    of_class = {"recall": {"cat": 0.5, "dog": None}, "precision": {"cat": 1.0, "dog": 0.0}, "images_by_class": {"cat": 4, "dog": 0}}
    show_classes({**of_class, "confusion_matrix": [[2, 2], [0, 0]]})
    *_, head, cat, dog = capsys.readouterr().out.splitlines()
    assert [line.split() for line in (head, cat, dog)] == [["cat", "dog"], ["cat", "2", "2"], ["dog", "0", "0"]]


def test_the_fitted_classifier_is_compared_with_the_fine_tuned_network():
    probe = {"linear_probe": {"strength": 1.0, "validation": {"loss": 0.2, "accuracy": 0.9}}}
    assert saved_weights({"kept_epoch": 3, "epochs": 3}) == "epoch 3 of 3"
    assert saved_weights({"kept_epoch": 3, "epochs": 3, **probe}).endswith("classifier alone: validation accuracy 0.9000")
    assert saved_weights({"kept_epoch": 0, "epochs": 3, **probe}).startswith(
        "before fine-tuning, with the fitted classifier: 3 epochs"
    )


TRAINING = {  # command: the module of its own `load_backend`, and whether it trains
    "train resnet8": ("training_job", True),
    "train --budget 100kB": ("budget", True),
    "benchmark": ("benchmark", True),
    "study degradation": ("study", True),
    "search study.py": ("search", True),
    "evaluate {run}": ("inference", False),
    "export {run}": ("export", False),
}


@pytest.mark.parametrize("command", TRAINING)
def test_onednn_is_on_in_commands_that_train(call, small_run, command, tmp_path, monkeypatch):
    """Where TensorFlow leaves it off, a training is slower; and where it is on, one image is predicted slower."""
    module, trains = TRAINING[command]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    Path("study.py").write_text(
        "from keras_resnet.search import Study, residual_space\nstudy = Study(residual_space('resnet8'), 'digits')\n"
    )

    def stop(**given):
        options.load_backend(**given)
        raise InputError("loaded")

    monkeypatch.setattr(f"keras_resnet.cli.{module}.load_backend", stop)
    code, _, err = call(*command.format(run=small_run.path).split())
    assert (code, "loaded" in err) == (2, True), err
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == ("1" if trains else None)
