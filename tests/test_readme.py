"""The README's Python runs as it stands; `test_shell.py` runs its shell lines."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import keras_resnet as kr

README = (Path(__file__).parents[1] / "README.md").read_text()
INSTALL = re.compile(r"pip install \S+ && ")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", blocks("python"), ids=range(len(blocks("python"))))
def test_python(block, tmp_path, monkeypatch, capfd, request, recwarn):
    """With a shorter recipe, and trials without training: the first shell line trains in full. Keras warns of nothing."""
    if "search.run" in block:
        request.getfixturevalue("pretended")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(kr.RECIPES, "digits", replace(kr.RECIPES["digits"], epochs=2))
    exec(block, {"__name__": "__main__"})
    assert not [warning for warning in recwarn if "shuffle" in str(warning.message)]
    assert "print(" not in block or capfd.readouterr().out


def test_first_screen():
    """One sentence, a table of evidence, six lines of Python, three of shell."""
    assert len(blocks("python")[0].splitlines()) == 6
    assert len(blocks("sh")[0].splitlines()) == 3
    assert "TO BE MEASURED" not in README
