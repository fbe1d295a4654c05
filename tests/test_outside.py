"""Names, text and JSON that this program did not write."""

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any, TypedDict

import pytest

import keras_resnet as kr
from keras_resnet import InputError, Recipe, ResNetSpec
from keras_resnet.json_files import checked, read_json
from keras_resnet.outside import check_class_names, parse, printable, read_text

OWN_TEXT = {"outside", "fields", "leases", "resume", "results", "process", "worker"}  # what this program has just written itself
HOSTILE = (
    "two\nlines",
    "return\r",
    "red\x1b[31m",
    "bell\x07",
    "c1\x9b31m",
    "left\u202egnp.exe",
    "para\u2029",
    "byte\udcff",
    "nul\0",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_a_terminal_would_act_on_is_escaped_and_no_class(name):
    assert printable(name).isprintable()
    printable(name).encode("utf-8")
    with pytest.raises(InputError, match="is not a class name: it must be one line of text") as error:
        check_class_names(["cat", name], "photos")
    assert str(error.value).isprintable()


def test_names_of_every_language_are_classes():
    names = ["cat", "Größe", "猫", "قط", "👩‍🔬", "a b", "<script>", "$x^$", "a\xa0b", "-", "x" * 1000]
    check_class_names(names, "photos")
    assert list(map(printable, names)) == names
    for wrong in (["cat", "cat"], [""], [1], ["x" * 1001]):
        with pytest.raises(InputError):
            check_class_names(wrong, "photos")


NO_JSON = {
    "[" * 100_000: "it is nested too deeply",
    '{"a": ' * 100_000: "it is nested too deeply",
    "9" * 400: "a whole number of 400 digits: at most 18 are read",
    "-" + "9" * 5000: "a whole number of 5,001 digits",
    "1e999": "'1e999' is not a finite number",
    "NaN": "'NaN' is not a finite number",
    "-Infinity": "'-Infinity' is not a finite number",
    '{"a": 1, "b": 2, "a": 3}': "the key 'a' appears twice",
    "[1 2]": "Expecting",
}


@pytest.mark.parametrize("text", NO_JSON, ids=lambda text: text[:8])
def test_json_has_limits(text, tmp_path):
    with pytest.raises(ValueError, match=NO_JSON[text]):
        parse(text)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=f"a.json' is damaged: .*{NO_JSON[text]}"):
        read_json(tmp_path / "a.json", Any)
    for field in ("epochs", "learning_rate", "milestones", "class_weight"):
        with pytest.raises(InputError, match=f"{field}=") as error:
            Recipe(**{field: text})
        assert len(str(error.value)) < 400


class Facts(TypedDict, total=False):
    images: dict[str, int]
    accuracy: float | None
    names: list[str]
    path: str


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], r"it is \[1\]: expected an object"),
        ({"images": 3}, "'images' is 3: expected an object"),
        ({"images": {"train": "3"}}, "'images'.train is '3': expected a whole number"),
        ({"images": {"train": True}}, "'images'.train is True: expected a whole number"),
        ({"accuracy": "high"}, "'accuracy' is 'high': expected a number"),
        ({"accuracy": False}, "'accuracy' is False: expected a number"),
        ({"names": ["a", 1]}, r"'names'\[1\] is 1: expected text"),
        ({"names": "a"}, "'names' is 'a': expected a list"),
        ({"path": None}, "'path' is None: expected text"),
    ],
)
def test_values_in_json_have_the_type_of_the_schema(content, message, tmp_path):
    (tmp_path / "facts.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"facts.json' is damaged: {message}"):
        read_json(tmp_path / "facts.json", Facts)


def test_a_missing_key_names_the_file(tmp_path):
    content = {"images": {"train": 3}, "accuracy": 1, "later": {"deep": [1]}}
    (tmp_path / "facts.json").write_text(json.dumps(content))
    facts = read_json(tmp_path / "facts.json", Facts)
    assert facts == content
    for wrong in (lambda: facts["names"], lambda: facts["images"]["test"], lambda: facts["later"]["x"]):
        with pytest.raises(InputError, match=r"facts\.json' has no '"):
            wrong()


def test_only_regular_files_of_text_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin").write_bytes("Größe".encode("latin-1"))
    (tmp_path / "marked").write_bytes(b"\xef\xbb\xbf{}\r\n")
    for name, message in (
        ("pipe", "is a named pipe, not a regular file"),
        ("folder", "is a folder, not a regular file"),
        ("latin", "byte 2 is not UTF-8"),
    ):
        with pytest.raises(InputError, match=message):
            read_text(tmp_path / name)
    with pytest.raises(InputError, match="has 7 bytes: at most 6 are read"):
        read_text(tmp_path / "marked", most=6)
    assert read_text(tmp_path / "marked") == "{}\n"
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (ResNetSpec, {"depths": (1001, 1, 1, 1)}, "depths=(1001, 1, 1, 1): every entry must be at most 1,000"),
        (
            ResNetSpec,
            {"depths": (1000, 1000, 1, 1)},
            "4 stages of 2,002 units, expected at most 16 stages and 2,000 units",
        ),
        (ResNetSpec, {"widths": (1, 1, 1, 65537)}, "every entry must be at most 65,536"),
        (ResNetSpec, {"classes": 10**7}, "classes=10000000: must be at most 1,048,576"),
        (ResNetSpec, {"classes": 10**400}, "(401 characters): expected a whole number"),
        (ResNetSpec, {"classes": 10**5000}, "expected a whole number"),
        (ResNetSpec, {"input_shape": (65536, 65536, 3)}, "12,884,901,888 numbers, expected at most 268,435,456"),
        (ResNetSpec, {"norm_epsilon": 10**400}, "expected a number"),
        (Recipe, {"epochs": 10**7}, "epochs=10000000: must be at most 1,000,000"),
        (Recipe, {"randaugment_layers": 10**6}, "randaugment_layers=1000000: must be at most 100"),
        (Recipe, {"class_weight": {"cat": 10**400}}, "class_weight={'cat': 1000"),
    ],
)
def test_fields_have_a_largest_value(kind, fields, message):
    with pytest.raises(InputError) as error:
        kind(**fields)
    assert message in str(error.value)
    assert len(str(error.value)) < 400


def test_odd_names_of_files_end_nothing_and_reach_no_terminal(call, small_run, photos, tmp_path, caplog):
    names = ["red\x1b[31m.png", "two\nlines.png", os.fsdecode(b"byte\xff.png")]
    for name in names:
        shutil.copy(small_run.path / "sample.png", photos / "dark_above" / name)
        (photos / "bright_above" / name).write_text("no picture")
    data = kr.data.load(photos, image_size=8)
    assert len(data.examples("all")) == 43
    assert len(data.skipped) == 3
    for line in (*data.skipped, *caplog.text.splitlines()):
        assert line.isprintable()
    assert r"byte\udcff.png, red\x1b[31m.png, two\nlines.png" in caplog.text.replace("bright_above/", "")
    files = [photos / "dark_above" / name for name in names]
    code, out, err = call("predict", small_run.path, *files, "--top", 1, "--csv", tmp_path / "rows.csv")
    assert code == 0, err
    assert all(line.isprintable() for line in out.splitlines())
    assert len(out.splitlines()) == 4
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        rows = [row["image"] for row in csv.DictReader(file)]
    assert rows == list(map(printable, files))
    assert [row["image"] for row in json.loads(call("predict", small_run.path, *files, "--top", 1, "--json")[1])] == list(
        map(str, files)
    )


def test_the_values_of_a_dataclass_are_checked():
    from keras_resnet.export.verdict import ClassCount

    count = {"name": "2", "agreed": 1, "images": 2}
    assert checked(count, ClassCount | None, "") == count
    assert checked(None, ClassCount | None, "") is None
    with pytest.raises(ValueError, match=r"agreed.* is 'one': expected a whole number"):
        checked({**count, "agreed": "one"}, ClassCount | None, "")


def test_nothing_else_reads_json():
    modules = {path.stem for path in Path(kr.__file__).parent.rglob("*.py") if "json.load" in path.read_text()}
    assert modules == OWN_TEXT


def test_a_folder_with_an_odd_name_reaches_no_terminal(small_run, tmp_path, capsys):
    from keras_resnet.cli.output import show_run

    folder = shutil.copytree(small_run.path, tmp_path / "red\x1b[31m" / "run")
    show_run(kr.Run.open(folder), [], as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isprintable() for line in lines)
    assert any(r"run: " in line and r"red\x1b[31m/run" in line for line in lines)
