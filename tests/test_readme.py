"""The README's code runs as it stands."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

README = (Path(__file__).parents[1] / "README.md").read_text()
INSTALL = re.compile(r"pip install \S+ && ")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python(number, tmp_path):
    subprocess.run([sys.executable, "-c", blocks("python")[number]], cwd=tmp_path, check=True, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, digits):
    """Where the shell lines run one after the other; it has the picture that one of them names."""
    folder = tmp_path_factory.mktemp("readme")
    index = np.flatnonzero(digits.splits["test"].labels == 7)[:1]
    Image.fromarray(digits.splits["test"].take(index)[0, :, :, 0]).save(folder / "seven.png")
    (folder / "tuning").symlink_to(Path(__file__).parents[1] / "tuning")
    return folder


COMMANDS = [INSTALL.sub("", line) for block in blocks("sh") for line in block.splitlines()]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "pytest"])
def test_shell(command, folder):
    program, *arguments = shlex.split(command)
    assert program == "keras-resnet"
    script = "import sys; from keras_resnet.__main__ import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", script, *arguments], cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if "predict" in command:
        assert done.stdout.splitlines()[1].split()[1] == "7"
    if "--export all" in command:
        assert done.stdout.count("yes") == 6
        accuracy = re.search(r"^test .* (0\.\d+) ", done.stdout, re.MULTILINE)
        assert float(accuracy[1]) >= 0.97


def test_first_screen():
    """One sentence, a table of evidence, six lines of Python, three of shell."""
    assert len(blocks("python")[0].splitlines()) == 6
    assert len(blocks("sh")[0].splitlines()) == 3
    assert "TO BE MEASURED" not in README
