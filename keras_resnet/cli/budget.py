"""`train --budget`: the network within a budget, its teacher and its recipe are chosen."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnet import recipes
from keras_resnet.cli.options import changes, check_taught, load_backend
from keras_resnet.cli.output import show_trained, verbosity
from keras_resnet.errors import InputError
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.runs.run import check_outside
from keras_resnet.training.first_weights import FirstWeights

if TYPE_CHECKING:
    from keras_resnet.files.targets import Target

NO_TEACHER = [Path("none")]


def named_teachers(given: list[Path] | None) -> list[FirstWeights]:
    """What --teacher names: nothing where it is not given, or "none"."""
    return [] if given is None or given == NO_TEACHER else [FirstWeights.of(each) for each in given]


def recipe_within(set_: list[str] | None, fields: dict[str, Any]) -> dict[str, Any]:
    """What --set and the options, None where not given, change in the recipe. InputError for what cannot be set."""
    changed = changes(set_, ResNetSpec, Recipe)
    if changed[ResNetSpec]:
        raise InputError(f"--budget chooses the network: {' and '.join(changed[ResNetSpec])} cannot be set")
    found = changed[Recipe] | {name: value for name, value in fields.items() if value is not None}
    recipes.resolve(Recipe(), **found)  # mistakes are told now
    return found


def train_within(
    budget: str,
    source: dict[str, Any],
    out: Path | None,
    teacher: list[Path] | None,
    recipe_changes: dict[str, Any],
    settings: dict[str, Any],
    *,
    targets: "list[Target]",
    as_json: bool,
) -> None:
    """Train within a budget, show the run, and export it.

    Args:
        source: `data`, `data_dir` and `image_size` of `data.load`.
        recipe_changes: see `recipe_within`.
        settings: of `fit`, and the `runtime` of `dial.train`.
        targets: what to export.
    """
    load_backend(trains=True)  # before the modules that import it, or its native code prints lines
    from keras_resnet.search import dial
    from keras_resnet.search.budget import budget_of
    from keras_resnet.training import distribute

    budget_of(budget)  # mistakes are told now
    check_taught(recipe_changes, has_teacher=teacher != NO_TEACHER)
    teachers = named_teachers(teacher) or None
    out = out or Path("runs") / f"{Path(source['data']).name}-{budget.replace(' ', '')}"
    check_outside(out, source["data"])
    devices = distribute.choose(settings["strategy"])
    choices: list[str] = []

    def tell(line: str) -> None:
        choices.append(line)
        if devices.chief and not as_json:
            print(line, flush=True)

    settings = {**settings, "strategy": devices, "changes": recipe_changes, "tell": tell, "verbose": verbosity(as_json)}
    where = {"data_dir": source["data_dir"], "image_size": source["image_size"]}
    without = teacher == NO_TEACHER
    run = dial.train(budget, source["data"], out, **where, teacher=teachers, without_teacher=without, **settings)
    if devices.chief:
        show_trained(run, targets, as_json, budget=budget, choices=choices)
