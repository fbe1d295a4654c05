"""The examples in docstrings run, and give what stands below them."""

import doctest
import importlib
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_resnet as kr

PACKAGE = Path(kr.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py") if ">>> " in path.read_text())
SLOW = ("analysis", "transfer", "recipes/recipe.py", "recipes/batch_statistics.py")  # which build or train large networks


@pytest.fixture(scope="module")
def names():
    """What examples take for granted: eight images of two classes, a network that is compiled, a recipe."""
    images, labels = np.random.default_rng(0).uniform(0, 255, (20, 32, 32, 3)).astype("float32"), np.arange(20) % 2
    model, recipe = kr.build("resnet8", classes=2), kr.recipes.resolve("cifar-30", epochs=1, batch_size=4)
    recipe.compile(model, 5)
    data = kr.data.from_arrays((images.astype("uint8"), labels), batch_size=4)
    known = {"kr": kr, "keras": keras, "np": np, "replace": replace, "Recipe": kr.Recipe}
    return {**known, "images": images[:8], "labels": labels[:8], "model": model, "recipe": recipe, "data": data}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.slow] * path.relative_to(PACKAGE.name).as_posix().startswith(SLOW), id=str(path))
        for path in MODULES
    ],
)
def test_examples(path, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    assert not doctest.testmod(module, extraglobs=names).failed
