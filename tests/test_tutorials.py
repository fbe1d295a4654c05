"""The tutorials run block by block, and print what they show. Decimals and what follows from random weights may differ."""

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

import pytest

from keras_resnet.__main__ import main

TUTORIALS = Path(__file__).parents[1] / "docs" / "tutorials"
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", re.DOTALL | re.MULTILINE)
VARYING = ("epoch ", "predicted")  # lines that differ from one processor to another
NAMES = ("first-network", "own-photos", "phone", "search")


def blocks(name):
    return BLOCK.findall((TUTORIALS / f"{name}.md").read_text())


def printed(language, code, namespace):
    """What a block prints: Python in the namespace of those before it, shell lines by the program."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        if language == "python":
            exec(code, namespace)
        else:
            for line in code.splitlines():
                sys.argv = shlex.split(line)
                assert sys.argv[0] == "keras-resnet"
                assert main() == 0, line
    return output.getvalue()


def comparable(text, language):
    """Lines without those that vary, and without decimals; of a table that the program prints, its head only."""
    lines = [re.sub(r"\d+\.\d+", "#", line).rstrip() for line in text.strip().splitlines() if not line.startswith(VARYING)]
    return lines[:1] if language == "sh" else lines


@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    namespace = {"__name__": "__main__"}
    for language, code, shown in blocks(name):
        output = printed(language, code, namespace)
        if shown:
            assert comparable(output, language) == comparable(shown, language), code


def test_every_tutorial_is_tested():
    assert set(NAMES) == {path.stem for path in TUTORIALS.glob("*.md")}
    for name in NAMES:
        shows = [shown for language, code, shown in blocks(name) if language == "python" and "print(" in code]
        assert len(shows) > 3
        assert all(shows), name
