"""The loops of docs/how-to/training-loops.md run on the backends that they are for."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "training-loops.md").read_text()


def loop(section):
    text = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    return re.search(r"```(?:python|py)\n(.*?)```", text, re.DOTALL)[1]


@pytest.mark.slow
@pytest.mark.parametrize(("section", "backend"), [("TensorFlow", "tensorflow"), ("JAX", "jax"), ("PyTorch", "torch")])
def test_a_loop(section, backend):
    pytest.importorskip(backend)
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", loop(section)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    losses = [float(number) for number in re.findall(r"loss of the last batch: (\S+)", done.stdout)]
    assert len(losses) == 2
    assert losses[-1] < 2.2  # chance is 2.3
