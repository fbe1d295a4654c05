"""Trains the networks of an experiment one after the other, and resumes an interrupted experiment."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict

import keras
import numpy as np

from keras_resnet.atomic import as_json, occupied, replace_text
from keras_resnet.data import Dataset
from keras_resnet.errors import Diverged, InputError
from keras_resnet.fields import look_up
from keras_resnet.json_files import read_json
from keras_resnet.networks.cost import cost_of
from keras_resnet.networks.loading import load
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.outside import parse
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.reproductions.named import find
from keras_resnet.reproductions.page import page
from keras_resnet.reproductions.results import Results
from keras_resnet.reproductions.scales import SCALES
from keras_resnet.runs.environment import environment
from keras_resnet.runs.run import Run
from keras_resnet.training.fit import fit

TABLE, TEXT, PAGE, RUNS, STATE = "results.json", "results.md", "results.html", "runs", ".state"
MEASURED_ON = 10_000  # training images at most, for the training error


class Row(TypedDict, total=False):
    """A training in `results.json`. Errors are from 0 to 1."""

    network: str
    seed: int
    training_error: float
    test_error: float
    diverged: bool
    parameters: int
    training_images: int
    test_images: int
    seconds: float | None


class Table(TypedDict):
    """`results.json`."""

    experiment: str
    scale: str
    recipe: dict[str, Any]
    images: str
    """Their digest, see `Dataset.digest`."""
    rows: list[Row]
    environment: dict[str, Any]


def reproduce(
    name: str,
    scale: str = "smoke",
    out: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Results:
    """Run an experiment, or resume it, and write its results.

    Args:
        name: in `REPRODUCTIONS`.
        scale: in `SCALES`.
        out: the folder to write: `results.json`, `results.md` and `results.html`, written anew after every training, and
            `runs/`. None for `studies/NAME-SCALE`.
        data_dir: where TensorFlow Datasets keeps its files.
        tell: called with each line of progress.

    Returns: the `Results`. InputError for an unknown name or scale, if another process uses `out`, and if it has the results of
    another experiment, recipe or image set, or other files of these names.
    """
    reproduction, size = find(name), look_up(scale, SCALES, "scale")
    out = Path(out or default_out(name, scale))
    check_out(out)
    networks = reproduction.networks(scale)
    wanted = [(network, seed) for seed in size.seeds for network in networks]
    with occupied(out / STATE, "training"):
        rows = rows_in(out, name, scale, networks)
        done = {(row["network"], row["seed"]) for row in rows}
        missing = [each for each in wanted if each not in done]
        if not missing:
            return Results(reproduction, scale, rows)
        data = size.load(data_dir)
        check_images(out, data)
        write(Results(reproduction, scale, rows), out, name, data)  # what cannot be written is noticed before hours of training
        for network, seed in missing:
            tell(f"{len(rows) + 1} of {len(wanted)}: {network}, seed {seed}{time_left(rows, wanted, networks)}")
            folder = out / RUNS / f"{network}-seed{seed}"
            rows.append({"network": network, "seed": seed, **trained(networks[network], size.recipe, data, folder, seed)})
            write(Results(reproduction, scale, rows), out, name, data)
    return Results(reproduction, scale, rows)


def default_out(name: str, scale: str) -> Path:
    """The default folder of an experiment."""
    return Path("studies") / f"{name}-{scale}"


def check_out(out: Path) -> None:
    """InputError for a folder with other files that the results would replace. A killed experiment leaves its lock there."""
    if (out / TABLE).exists() or (out / STATE).exists():
        return
    for file in (out / TEXT, out / PAGE):
        if file.exists() or file.is_symlink():
            raise InputError(f"{str(file)!r} exists and is not the result of an experiment: give another folder")


def write(results: Results, out: Path, name: str, data: Dataset) -> None:
    """Write the results so far. The JSON comes last: if killed before, the experiment measures its last training again."""
    here = environment()
    replace_text(out / TEXT, results.markdown(name, SCALES[results.scale], here["processor"]))
    replace_text(out / PAGE, page(results, out / RUNS))
    of = {"experiment": name, "scale": results.scale, "recipe": asdict(SCALES[results.scale].recipe), "images": data.digest}
    replace_text(out / TABLE, as_json({**of, "rows": results.rows, "environment": here}) + "\n")


def rows_in(out: Path, name: str, scale: str, networks: dict[str, ResNetSpec]) -> list[Any]:
    """The rows of an interrupted experiment in its folder. InputError if they are of another one."""
    if not (out / TABLE).exists():
        return []
    found = read_json(out / TABLE, Table)
    if (found["experiment"], found["scale"]) != (name, scale):
        raise InputError(f"{str(out)!r} has the results of {found['experiment']} at scale {found['scale']}: give another folder")
    recipe = parse(as_json(asdict(SCALES[scale].recipe)))
    changed = [field for field, value in found.get("recipe", recipe).items() if recipe.get(field) != value]
    if changed:
        raise InputError(f"{str(out)!r} has trainings with a recipe that differs in {', '.join(changed)}: give another folder")
    seeds = SCALES[scale].seeds
    return [row for row in found["rows"] if row["network"] in networks and row["seed"] in seeds]


def check_images(out: Path, data: Dataset) -> None:
    """InputError if the trainings in a folder had other images."""
    if (out / TABLE).exists() and read_json(out / TABLE, Table).get("images", data.digest) != data.digest:
        raise InputError(f"{str(out)!r} has trainings on other images: give another folder")


def time_left(rows: list[Row], wanted: list[tuple[str, int]], networks: dict[str, ResNetSpec]) -> str:
    """The time left, if the other trainings take as long per multiply-add as those before."""
    amounts = {name: cost_of(spec).multiply_adds for name, spec in networks.items()}
    timed = [row for row in rows if row.get("seconds")]
    if not timed:
        return ""
    pace = sum(row["seconds"] or 0 for row in timed) / sum(amounts[row["network"]] for row in timed)
    missing = sum(amounts[network] for network, _ in wanted) - sum(amounts[row["network"]] for row in rows)
    return f", about {timedelta(seconds=round(pace * missing))} left"


@contextmanager
def without_advice() -> Iterator[None]:
    """Hide the warnings of a training about its settings: those of an experiment are intended."""
    log = logging.getLogger("keras_resnet")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def trained(spec: ResNetSpec, recipe: Recipe, data: Dataset, folder: Path, seed: int) -> dict[str, Any]:
    """Train a network into a run folder, and measure its last weights."""
    sized = replace(spec, input_shape=data.image_shape, classes=len(data.class_names))
    same = {"parameters": cost_of(sized).trainable, "training_images": len(data.splits["train"])}
    same |= {"test_images": len(data.splits["test"])}
    try:
        with without_advice():
            run = fit(spec, replace(recipe, keep="last"), data, folder, seed=seed, resume=True, verbose=0)
    except Diverged:
        guess = 1 - 1 / len(data.class_names)
        return {"training_error": guess, "test_error": guess, "diverged": True, **same, "seconds": None}
    return {
        "training_error": training_error(run, data),
        "test_error": 1 - run.metrics["test"]["accuracy"],
        "diverged": False,
        **same,
        "seconds": run.metrics["train_seconds"],
    }


def training_error(run: Run, data: Dataset) -> float:
    """The error (0 to 1) on the first training images without augmentation, with the moving statistics of normalisation."""
    first = data.splits["train"].part(np.arange(min(MEASURED_ON, len(data.splits["train"]))))
    model = load(run.path / "model.keras")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"])
    measured = model.evaluate(replace(data, splits={"train": first}).batches("train"), verbose=0, return_dict=True)
    keras.backend.clear_session()
    return 1 - float(measured["accuracy"])
