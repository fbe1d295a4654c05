import logging
import os
import sys

import pytest

from keras_resnet.console import cell, quiet, show_table


def test_table_aligns_numbers_right_and_text_left(capsys):
    show_table([{"name": "a", "count": 1234, "share": 0.5}, {"name": "longer", "count": 5, "share": None}])
    assert capsys.readouterr().out.splitlines() == [
        "name    count   share",
        "a       1,234  0.5000",
        "longer      5       -",
    ]
    show_table([])
    assert capsys.readouterr().out == ""


WIDE = [
    {"file [/b]": "[red]a[/red].tflite", "number": 123_456_789, "why": "word " * 30 + "end", **{f"value{n}": n for n in range(20)}}
]


@pytest.mark.parametrize("terminal", ["dumb", "xterm"])
def test_table_in_a_pipe_is_whole_and_plain(capsys, monkeypatch, terminal):
    """Neither the width of a terminal nor what asks for colours changes it; nothing in a value is a style."""
    for name, value in {"COLUMNS": "40", "FORCE_COLOR": "1", "TERM": terminal}.items():
        monkeypatch.setenv(name, value)
    show_table(WIDE)
    names, row = capsys.readouterr().out.splitlines()
    assert names.split() == " ".join(WIDE[0]).split()
    assert row.split() == " ".join(map(cell, WIDE[0].values())).split()


def test_table_in_a_terminal_fits(capsys, monkeypatch):
    """What is too wide comes in parts, each with the first column; text folds, numbers do not."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show_table(WIDE)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 60
    parts = [part.split("\n") for part in out.split("\n\n")]
    assert len(parts) > 2
    for names, row, *_ in parts:
        assert names.startswith("file [/b]")
        assert row.startswith("[red]a[/red].tflite")
    assert sorted(" ".join(part[0].removeprefix("file [/b]") for part in parts).split()) == sorted(list(WIDE[0])[1:])
    assert "123,456,789" in out
    assert out.split().count("word") == 30


def test_cell():
    texts = {True: "yes", False: "NO", "x": "x", None: "-", 1234: "1,234"}
    texts |= {1e-5: "1.00e-05", 0.25: "0.2500", 6.5: "6.5", 2.54: "2.5400", 1234.56: "1,234.6"}
    assert [cell(value) for value in texts] == list(texts.values())


def speak():
    print("python")
    print("python error", file=sys.stderr)
    os.write(1, b"native\n")
    os.write(2, b"native error\n")


def test_quiet_hides_python_and_native_output(capfd):
    with quiet():
        speak()
    print("after")
    assert capfd.readouterr() == ("after\n", "")


def test_quiet_shows_what_it_hid_where_the_block_fails(capfd):
    with pytest.raises(ZeroDivisionError), quiet():
        speak()
        raise ZeroDivisionError
    out, err = capfd.readouterr()
    assert out == ""
    assert {"python", "python error", "native", "native error"} <= set(err.splitlines())


def test_a_logger_that_begins_in_quiet_speaks_afterwards(capfd):
    logger = logging.getLogger("of quiet")
    with quiet():
        handler = logging.StreamHandler()
        logger.addHandler(handler)
        logger.warning("hidden")
    logger.warning("shown")
    logger.removeHandler(handler)
    assert capfd.readouterr().err == "shown\n"
