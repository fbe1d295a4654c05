"""The README's Python runs as it stands; `test_shell.py` runs its shell lines."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import keras_resnet as kr

TESTS = Path(__file__).parent
README, SECURITY = ((TESTS.parent / name).read_text() for name in ("README.md", "SECURITY.md"))


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", blocks("python"), ids=range(len(blocks("python"))))
def test_python(block, few, tmp_path, monkeypatch, capfd, request, recwarn):
    """On few images, by a shorter recipe, and trials without training; the first shell line trains on all. Keras does not warn."""
    if "search.run" in block:
        request.getfixturevalue("pretended")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(kr.RECIPES, "digits", replace(kr.RECIPES["digits"], epochs=2))
    if "export.tflite(run" not in block:  # which loads the images of the run
        monkeypatch.setattr(kr.data, "load", {"digits": few}.__getitem__)
    exec(block, {"__name__": "__main__"})
    assert not [warning for warning in recwarn if "shuffle" in str(warning.message)]
    assert "print(" not in block or capfd.readouterr().out


def test_first_screen():
    """One sentence, a table of evidence, six lines of Python, three of shell."""
    assert len(blocks("python")[0].splitlines()) == 6
    assert len(blocks("sh")[0].splitlines()) == 3
    assert "TO BE MEASURED" not in README


def test_the_tests_that_security_names_exist():
    named = re.findall(r"(test_\w+\.py)(?: -k (?:\"([^\"]*)\"|(\w+)))?", SECURITY)
    assert len(named) > 20
    for file, words, word in named:
        text = (TESTS / file).read_text()
        for each in (words or word).split(" or "):
            assert each in text, (file, each)
    text, rows = (TESTS / "test_network.py").read_text(), SECURITY.partition("| promise | `-k` |")[2].split("\n\n")[0]
    for word in re.findall(r"`(\w+)`[ ,]*(?=\||`)", rows):
        assert re.search(rf"def test_\w*{word}", text), word
