"""The README's code runs as it stands."""

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_resnet as kr
from keras_resnet.training import precision

README = (Path(__file__).parents[1] / "README.md").read_text()
INSTALL = re.compile(r"pip install \S+ && ")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", blocks("python"), ids=range(len(blocks("python"))))
def test_python(block, tmp_path, monkeypatch, capfd, request):
    """With a shorter recipe, and trials without training: the first shell line trains in full."""
    if "search.run" in block:
        request.getfixturevalue("pretended")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(kr.RECIPES, "digits", replace(kr.RECIPES["digits"], epochs=2))
    exec(block, {"__name__": "__main__"})
    assert "print(" not in block or capfd.readouterr().out


@pytest.fixture(scope="module")
def folder(tmp_path_factory, digits):
    """Where the shell lines run one after the other; it has the picture and the studies that they name."""
    folder = tmp_path_factory.mktemp("readme")
    index = np.flatnonzero(digits.splits["test"].labels == 7)[:1]
    Image.fromarray(digits.splits["test"].take(index)[0, :, :, 0]).save(folder / "seven.png")
    shutil.copytree(Path(__file__).parents[1] / "tuning", folder / "tuning")
    return folder


COMMANDS = [INSTALL.sub("", line) for block in blocks("sh") for line in block.splitlines()]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "pytest"])
def test_shell(command, folder, call, monkeypatch, request):
    program, *arguments = shlex.split(command)
    assert program == "keras-resnet"
    if arguments[0] == "search":
        request.getfixturevalue("pretended")
    monkeypatch.setattr(precision, "SECONDS", 0.02)  # of each measurement of `benchmark`
    monkeypatch.chdir(folder)
    code, out, err = call(*arguments)
    assert code == 0, err
    if "predict" in command:
        assert out.splitlines()[1].split()[1] == "7"
    if "--export all" in command:
        accuracy = kr.Run.open(folder / "saved_models" / "digits-resnet8").metrics["test"]["accuracy"]
        assert accuracy > 0.95  # 98.8 +- 0.5 % over seeds
        assert f"{accuracy:.4f}" in out
        assert out.count("yes") == 6


def test_first_screen():
    """One sentence, a table of evidence, six lines of Python, three of shell."""
    assert len(blocks("python")[0].splitlines()) == 6
    assert len(blocks("sh")[0].splitlines()) == 3
    assert "TO BE MEASURED" not in README
