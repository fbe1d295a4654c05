"""Imports point one way, and what is light stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import keras_resnet

PACKAGE = Path(keras_resnet.__file__).parent
SAVED = Path(__file__).parents[1] / "saved_models"
# Wings of one line do not import each other; each may import those of the lines above it.
FLOORS = (
    (
        "errors",
        "fields",
        "atomic",
        "confidence",
        "console",
        "hooks",
        "json_files",
        "lazy_tensorflow",
        "plot_files",
        "outside",
        "shipped",
        "startup",
        "svg",
        "timing",
    ),
    ("networks",),
    ("recipes",),
    ("runs",),
    ("weights", "transfer"),
    ("applications", "data"),
    ("training", "files"),
    ("export",),
    ("analysis",),
    ("report",),
    ("demo",),
    ("search", "reproductions"),
    ("cli",),
    ("__init__", "__main__"),
)
GROUND = FLOORS[0]
FLOOR_OF = {wing: number for number, wings in enumerate(FLOORS) for wing in wings}
LIGHT = {  # no more than Python when they are loaded: `list` and `show` need them
    *GROUND,
    "networks",
    *(
        f"networks.{name}"
        for name in ("blocks", "choice", "conflicts", "cost", "drawing", "fusion", "graph", "match", "resnet", "spec")
    ),
    *("networks.unit_drawing", "networks.variants", "networks.words"),
    *(
        "recipes",
        "recipes.automatic",
        "recipes.class_weights",
        "recipes.limits",
        "recipes.named",
        "recipes.recipe",
        "recipes.words",
    ),
    *("runs", "runs.run"),
    *("weights", "weights.download", "weights.hub", "weights.names"),
    *("analysis", "analysis.table", "analysis.rows"),
}
OUTSIDE = {  # what else a wing may import when it is loaded
    "networks": {"keras", "numpy"},
    "recipes": {"keras", "numpy"},
    "runs": {"keras", "numpy"},
    "weights": {"keras", "numpy"},
    "applications": {"keras", "numpy"},
    "transfer": {"keras", "numpy"},
    "data": {"PIL", "numpy"},
    "training": {"PIL", "keras", "numpy"},
    "files": {"numpy"},
    "export": {"PIL", "flatbuffers", "keras", "numpy"},
    "analysis": {"keras", "numpy"},
    "report": {"numpy"},
    "demo": {"numpy"},
    "search": {"grpc", "keras", "keras_tuner", "numpy", "optuna", "sqlalchemy"},
    "reproductions": {"keras", "numpy"},
    "cli": {"typer"},
    "__main__": {"typer"},
}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path for path in PACKAGE.rglob("*.py")
}


def imports(path):
    """Every module of this package, and the top package of every other one, that a file imports anywhere, types included; and
    whether that is when it is loaded."""
    tree = ast.parse(path.read_text())
    at_the_top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in at_the_top
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix("keras_resnet.")
                is_module = node.module.startswith("keras_resnet") and inner in MODULES
                yield f"keras_resnet.{inner}" if is_module else node.module, id(node) in at_the_top


def wing_of(module):
    return module.split(".")[0]


INSIDE = {
    module: {name.removeprefix("keras_resnet.") for name, _ in imports(path) if name.startswith("keras_resnet.")}
    for module, path in MODULES.items()
}  # the index loads what it names by text, and imports nothing


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_one_way(module):
    wing = wing_of(module)
    for other in INSIDE[module]:
        assert other in MODULES, f"{module} imports {other}, which is not there"
        lower = FLOOR_OF[wing_of(other)] < FLOOR_OF[wing]
        assert lower or wing_of(other) == wing or {wing, wing_of(other)} <= set(GROUND), f"{module} must not import {other}"


def test_no_two_modules_import_each_other():
    """Nor do three in a circle: what is left when modules that import nothing are taken away, again and again."""
    waiting = {module: set(others) - {module} for module, others in INSIDE.items()}
    while ready := {module for module, others in waiting.items() if not others & set(waiting)}:
        waiting = {module: others for module, others in waiting.items() if module not in ready}
    assert not waiting, f"these import each other: {', '.join(sorted(waiting))}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_what_is_light_stays_light(module):
    allowed = set() if module in LIGHT else OUTSIDE.get(wing_of(module), set())
    for name, at_the_top in imports(MODULES[module]):
        top = wing_of(name)
        if not at_the_top or top in sys.stdlib_module_names:
            continue
        if top == "keras_resnet":
            assert module not in LIGHT or name.removeprefix("keras_resnet.") in {*LIGHT, "keras_resnet"}, f"{module} imports {name}"
        else:
            assert top in allowed, f"{module} must not import {name} at its top"


LIGHT_COMMANDS = ("", "--help", "list", "list --weights", "show resnet50", "draw resnet8", "train --help")


def test_help_and_list_load_no_framework():
    """One process for all of them: it names the first after which a framework is loaded."""
    script = f"""
import sys
import keras_resnet
from keras_resnet.__main__ import main
for line in (None, *{LIGHT_COMMANDS}):
    if line is not None:
        sys.argv = ["keras-resnet", *line.split()]
        assert main() == 0, line
    loaded = {{"keras", "tensorflow", "numpy", "matplotlib", "PIL"}} & set(sys.modules)
    assert not loaded, (line, loaded)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


WRONG_NAMES = {  # a command with a value that is in no table, and the message
    "export digits-resnet8 --format pdf": "no export format named 'pdf'",
    "export digits-resnet8 --format tflite --quantize int9": "no quantization named 'int9'; did you mean 'int8'?",
    "export digits-resnet8 --format tflite --pixels int3": "no type of pixels for tflite named 'int3'",
    "export digits-resnet8 --format tflite --output top0": "no output named 'top0'",
    "export digits-resnet8 --format onnx --layout NHCW": "no layout named 'NHCW'",
    "export digits-resnet8 --format onnx --opset 99": "opset=99: expected 13 to 18",
    "train resnet8 --export pdf": "no export format named 'pdf'",
    "train resnet8 --strategy many": "no strategy named 'many'",
    "train resnet8 --precision float8": "no precision named 'float8'",
    "train resnet8 --jit maybe": "no jit named 'maybe'",
    "train --init digits-resnet8 --image-size 16": "--image-size needs --data",
    "train --budget 2ms --runtime compile": "no runtime named 'compile'; did you mean 'compiled'?",
    "search study.py --runtime compile": "no runtime named 'compile'; did you mean 'compiled'?",
    "evaluate digits-resnet8 --split tests": "no split named 'tests'; did you mean 'test'?",
    "analyze digits-resnet8 lesion": "no analysis named 'lesion'; did you mean 'lesions'?",
    "analyze digits-resnet8 lesions --split tests": "no split named 'tests'; did you mean 'test'?",
    "convert resnet50.pth --out new --layout torch": "no layout of weights named 'torch'; did you mean 'pytorch'?",
    "study degradations": "no experiment named 'degradations'; did you mean 'degradation'?",
    "study degradation --scale smal": "no scale named 'smal'; did you mean 'small'?",
    "benchmark --network resnet8 --precision float8": "no precision named 'float8'",
}


def test_a_wrong_name_is_told_before_a_framework_is_loaded(tmp_path):
    script = f"""
import sys
from pathlib import Path
from keras_resnet import shipped
from keras_resnet.__main__ import main
shipped.FOLDER = Path({str(SAVED)!r})  # also where an installed package is tested
sys.modules["keras"] = sys.modules["tensorflow"] = None  # to import them is an error
codes = []
for line in {list(WRONG_NAMES)!r}:
    sys.argv = ["keras-resnet", *line.split()]
    codes.append(main())
assert codes == [2] * len(codes), codes
"""
    found = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=tmp_path)
    for told, (line, message) in zip(found.stderr.splitlines(), WRONG_NAMES.items(), strict=True):
        assert told.startswith(f"keras-resnet: {message}"), line
    assert found.returncode == 0
    assert not any(tmp_path.iterdir())


def test_a_prediction_loads_no_framework_beside_its_file():
    """The process of the file does, and only the one that the file needs."""
    modules = "keras_resnet.data, keras_resnet.files.predictions, keras_resnet.files.benchmark, keras_resnet.cli"
    script = f"import sys, {modules}; assert not {{'keras', 'tensorflow'}} & set(sys.modules)"
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
