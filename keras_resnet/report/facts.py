"""What a run folder records: network, recipe, images, environment, and a command that repeats the training."""

import shlex
from dataclasses import asdict
from typing import Any

from keras_resnet.confidence import interval
from keras_resnet.fields import text
from keras_resnet.json_files import read_json
from keras_resnet.networks.variants import SPECS
from keras_resnet.recipes.named import RECIPES
from keras_resnet.runs.run import Run

OF_IMAGES = ("input_shape", "classes")  # fields of a spec that the images decide
LONGEST = 60  # characters of a value


def network_of(run: Run) -> tuple[str, dict[str, Any]]:
    """The nearest named network, and the fields that differ from it."""
    return nearest(run.spec, SPECS, OF_IMAGES)


def recipe_of(run: Run) -> tuple[str, dict[str, Any]]:
    """The nearest named recipe, and the fields that differ from it."""
    return nearest(run.recipe, RECIPES)


def nearest(subject: Any, table: dict[str, Any], but: tuple[str, ...] = ()) -> tuple[str, dict[str, Any]]:
    """The row of a table that differs in the fewest fields, and the other values of those fields."""
    own = {name: value for name, value in asdict(subject).items() if name not in but}
    found = {}
    for name, row in table.items():
        theirs = asdict(row)
        found[name] = {field: value for field, value in own.items() if value != theirs[field]}
    name = min(found, key=lambda name: len(found[name]))
    return name, found[name]


def with_changes(name: str, changes: dict[str, Any]) -> str:
    """A name with the fields that differ, as text."""
    if not changes:
        return name
    values = ", ".join(f"{field} = {brief(value)}" for field, value in changes.items())
    return f"{name} with {values}"


def brief(value: Any) -> str:
    """A value as text, shortened if it is long."""
    words = text(value)
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"


def source_of(run: Run) -> str | None:
    """What names the images of a run; None for arrays of a script."""
    source = run.data.get("source") if (run.path / "data.json").exists() else None
    return None if source is None else str(source)


def command(run: Run) -> str | None:
    """A command that repeats the training; None if its images or a teacher were objects of a script, or if the source of its
    initial weights is unknown."""
    source = source_of(run)
    if any(teacher["kind"] == "model" for teacher in run.metrics.get("teachers", [])):
        return None
    if source is None or not run.was_trained or (run.metrics.get("init") and not run.metrics.get("init_name")):
        return None
    network, recipe = network_of(run), recipe_of(run)
    words = ["keras-resnet", "train", network[0], "--data", source, "--recipe", recipe[0]]
    for name, value in {**network[1], **recipe[1]}.items():
        words += ["--set", f"{name}={text(value)}"]
    if run.metrics.get("init"):
        words += ["--init", run.metrics["init_name"]]
    for teacher in run.metrics.get("teachers", []):
        words += ["--teacher", teacher["name"]]
    if run.data.get("image_size"):
        size = run.data["image_size"]
        words += ["--image-size", str(max(size) if isinstance(size, list) else size)]
    return shlex.join([*words, "--seed", str(run.metrics.get("seed", 0)), "--out", str(run.path.name)])


def summary(run: Run) -> dict[str, str]:
    """Network, recipe, images, epochs, time and environment, a line each; unknown ones are left out."""
    metrics, found = run.metrics, {}
    found["Network"] = with_changes(*network_of(run))
    if run.was_trained:
        found["Recipe"] = with_changes(*recipe_of(run))
    if source := metrics.get("source"):  # of a run that `convert` has written
        found["Weights"] = ", ".join(f"{name} {value}" for name, value in source.items())
    if "images" in metrics:
        images = ", ".join(f"{count:,} {split}" for split, count in metrics["images"].items())
        found["Images"] = f"{source_of(run) or 'arrays or an iterable of a script'}: {images}, {run.spec.classes:,} classes"
    if "epochs" in metrics:
        kept = f"the weights of epoch {metrics['kept_epoch']} are kept" if metrics.get("kept_epoch") else ""
        found["Epochs"] = ", ".join(filter(None, [f"{metrics['epochs']:,}", kept]))
    if metrics.get("init"):
        found["Initial weights"] = f"{metrics.get('init_name', 'a file')}, SHA-256 {metrics['init']}"
    if teachers := metrics.get("teachers"):
        found["Teacher" + "s" * (len(teachers) > 1)] = "; ".join(f"{one['name']}, SHA-256 {one['digest']}" for one in teachers)
    if metrics.get("train_seconds"):
        found["Time"] = f"{duration(metrics['train_seconds'])}, {metrics['images_per_second'] or 0:,.0f} images per second"
    if "seed" in metrics:
        found["Seed"] = str(metrics["seed"])
    return found | environment(run)


def environment(run: Run) -> dict[str, str]:
    """Hardware and versions."""
    path = run.path / "environment.json"
    if not path.is_file():
        return {}
    found = read_json(path, dict[str, Any])
    packages = {"Python": found.get("python"), **dict(found.get("packages") or {}), "backend": found.get("backend")}
    cores = f"{found['cores']} cores" if found.get("cores") else None
    hardware = [found.get("accelerator"), found.get("processor"), cores, found.get("system")]
    lines = {
        "Date": found.get("date"),
        "Hardware": ", ".join(str(each) for each in hardware if each),
        "Versions": ", ".join(f"{name} {version}" for name, version in packages.items() if version),
    }
    return {name: str(words) for name, words in lines.items() if words}


def duration(seconds: float) -> str:
    """A duration as text.

    >>> duration(4000)
    '1 h 7 min'
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def accuracy(run: Run, split: str) -> dict[str, Any] | None:
    """Accuracy, interval and images of a split; None if the run does not have them."""
    found = run.metrics.get(split)
    if not found or "accuracy" not in found or not found.get("images"):
        return None
    ends = found.get("accuracy_interval") or interval(found["accuracy"], found["images"])
    return {"accuracy": found["accuracy"], "interval": tuple(ends), "images": found["images"], "loss": found.get("loss")}
