"""Every public name has an entry in docs/api. Modules are parsed, and not imported."""

import ast
import re
from pathlib import Path

import pytest

import keras_resnet

PACKAGE = Path(keras_resnet.__file__).parent
API = Path(__file__).parents[1] / "docs" / "api"
PAGES = "".join(path.read_text() for path in sorted(API.glob("*.md")))
ENTRIES = set(re.findall(r"^::: (\S+)$", PAGES, re.MULTILINE))
WINGS = ("analysis", "data", "export", "recipes", "reproductions", "search", "transfer", "weights")


def file_of(module):
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def homes(module):
    """Where each name of a module is defined, by its import, by a definition of its own, or as another name of either."""
    found, tree = {}, ast.parse(file_of(module).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("keras_resnet"):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = f"{module}.{node.name}"
        for name in names_assigned(node):
            of_another = found.get(getattr(node.value, "id", None))
            found[name] = of_another or f"{module}.{name}"
    return found


def names_assigned(node):
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def public_names(module):
    """`__all__`, or where it is computed the names that the index imports for type checkers."""
    for node in ast.parse(file_of(module).read_text()).body:
        if "__all__" in names_assigned(node) and not any(isinstance(each, ast.Starred) for each in node.value.elts):
            return ast.literal_eval(node.value)
    return [name for name, home in homes(module).items() if home.startswith(f"{module}.") and not name.startswith("_")]


def missing(module, names):
    return {name for name in names if homes(module)[name] not in ENTRIES}


@pytest.mark.parametrize("wing", WINGS)
def test_every_name_of_a_wing_has_an_entry(wing):
    names = public_names(f"keras_resnet.{wing}")
    assert len(names) > 5
    assert not missing(f"keras_resnet.{wing}", names)


def test_every_name_of_the_index_has_an_entry():
    wings = set(keras_resnet._MODULES)
    assert not missing("keras_resnet", set(keras_resnet.__all__) - wings)
    index = (API / "index.md").read_text()
    assert not {name for name in keras_resnet.__all__ if f"`kr.{name}`" not in index}


def test_every_entry_is_there():
    for entry in ENTRIES - {"keras_resnet.applications"}:
        module, _, name = entry.rpartition(".")
        assert homes(module)[name] == entry, entry
