"""Imports point one way, and what is light stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import keras_resnet

PACKAGE = Path(keras_resnet.__file__).parent
LIGHT = {
    "atomic",
    "blocks",
    "conflicts",
    "console",
    "cost",
    "errors",
    "fields",
    "graph",
    "recipe",
    "recipes",
    "resnet",
    "runs",
    "spec",
    "variants",
}  # no more than Python
KERAS = {
    "callbacks",
    "checkpoints",
    "distribute",
    "environment",
    "fused",
    "initial",
    "layers",
    "loading",
    "optimization",
    "quantization",
    "remat",
    "resume",
    "train",
    "trial",
    "watching",
    "wiring",
}
IMAGES = {"answers", "artefact", "benchmark", "data", "report", "runtimes"}  # no framework at the top
MAY_IMPORT = {
    **dict.fromkeys(LIGHT, LIGHT),
    **dict.fromkeys(KERAS, LIGHT | KERAS | {"report"}),
    **dict.fromkeys(IMAGES, LIGHT | IMAGES),
    "export": LIGHT | {"answers", "artefact", "data", "export", "fused", "loading", "quantization", "report", "runtimes", "wiring"},
    "search": LIGHT | {"data", "environment", "fused", "layers", "search"},
    "cli": LIGHT | {"__version__", "cli"},
    "__init__": set(),
    "__main__": {"cli", "errors"},
}
OUTSIDE = {
    **dict.fromkeys(LIGHT, set()),
    **dict.fromkeys(KERAS, {"keras", "numpy"}),
    **dict.fromkeys(IMAGES, {"numpy", "PIL"}),
    "export": {"PIL", "flatbuffers", "keras", "numpy"},
    "search": {"grpc", "keras", "keras_tuner", "numpy"},
    "cli": {"typer"},
    "__main__": {"typer"},
    "__init__": set(),
}


def imports_at_the_top(path):
    """Modules that a file imports when it is loaded; those for type checking alone left out."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names if node.module == "keras_resnet" else [node.module]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in imports_at_the_top(path):
        top, *rest = module.split(".")
        if top == "keras_resnet":
            assert rest[0] in MAY_IMPORT[room], f"{room} must not import {module}"
        elif top not in sys.stdlib_module_names:
            assert top in OUTSIDE[room], f"{room} must not import {module} at its top"


@pytest.mark.parametrize(
    "action",
    ["import keras_resnet", "main()", "main('--help')", "main('list')", "main('show', 'resnet50')", "main('train', '--help')"],
)
def test_help_and_list_load_no_framework(action):
    script = f"""
import sys
def main(*arguments):
    from keras_resnet.__main__ import main
    sys.argv = ["keras-resnet", *arguments]
    assert main() == 0
{action}
loaded = {{"keras", "tensorflow", "numpy", "matplotlib", "PIL"}} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_every_public_name_is_there():
    for name in keras_resnet.__all__:
        assert getattr(keras_resnet, name) is not None
    assert set(keras_resnet.__all__) <= set(dir(keras_resnet))
    with pytest.raises(AttributeError, match="has no attribute 'bild'"):
        keras_resnet.bild  # noqa: B018


def test_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert keras_resnet.__version__ == version("keras-residual")
