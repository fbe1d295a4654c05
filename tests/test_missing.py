"""A package that is not installed is named, with the extra that brings it; no file is called damaged for that."""

import re
from pathlib import Path

import pytest

import keras_resnet as kr
from keras_resnet.errors import EXTRAS, not_installed

NOTHING = "raise ModuleNotFoundError(f'No module named {__name__!r}', name=__name__)\n"


@pytest.fixture
def hidden(tmp_path, monkeypatch):
    """Modules of these names are not there for processes that start now."""

    def hide(*names):
        for name in names:
            (tmp_path / "hidden").mkdir(exist_ok=True)
            (tmp_path / "hidden" / f"{name}.py").write_text(NOTHING)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hidden"))

    return hide


@pytest.mark.starts_python
@pytest.mark.parametrize(("suffix", "module"), [(".tflite", "ai_edge_litert"), (".onnx", "onnxruntime")])
def test_a_runtime(suffix, module, hidden, tmp_path):
    hidden(module)
    (tmp_path / f"model{suffix}").write_bytes(b"any")
    why = f"'{re.escape(str(tmp_path))}/model{suffix}' cannot be opened here: this needs {module}, which is not installed: "
    with pytest.raises(kr.InputError, match=why + r"pip install 'keras-residual\[export\]'"):
        kr.export.ModelFile(tmp_path / f"model{suffix}")


@pytest.mark.starts_python
def test_prediction_by_the_package_alone(hidden, small_run, photos, call):
    hidden("tensorflow", "jax", "torch", "onnxruntime", "ai_edge_litert")
    code, out, err = call("predict", small_run.path, next(photos.rglob("*.jpg")))
    assert (code, out) == (2, "")
    assert "this needs tensorflow, which is not installed: pip install 'keras-residual[tensorflow]'" in err
    assert "damaged" not in err


def test_every_extra_is_one_of_setup():
    setup = Path(__file__).parents[1].joinpath("setup.py").read_text()
    for extra in EXTRAS.values():
        assert f'"{extra}": [' in setup
    [line] = re.findall(r'"export": \[(.*)\]', setup)
    for package in re.findall(r'"([\w-]+)', line):
        assert EXTRAS[package.replace("-", "_")] == "export"
    assert not_installed("tf2onnx.convert").endswith("pip install 'keras-residual[export]'")
    assert not_installed("something").endswith("not installed: pip install something")
