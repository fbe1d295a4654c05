"""Whether a training can be resumed: only with the same network, recipe, seed, first weights and images."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from keras_resnet.data import Dataset
from keras_resnet.errors import InputError
from keras_resnet.fields import completed
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.runs.run import Run
from keras_resnet.training import checkpoint_files
from keras_resnet.training.checkpoint_files import Checkpoint
from keras_resnet.training.first_weights import FirstWeights, origin
from keras_resnet.training.teachers import Teachers

ADDED: dict[str, Any] = {"teachers": {"teachers": []}}  # parts that trainings of earlier versions do not have
KINDS = {"network": ResNetSpec, "recipe": Recipe}  # parts of an identity that are dataclasses


def plan_of(
    spec: ResNetSpec, recipe: Recipe, data: Dataset, seed: int, init: FirstWeights | None, teachers: Teachers = ()
) -> dict[str, Any]:
    """The identity of the training that `fit` was called for."""
    counts = {split: len(examples) for split, examples in data.splits.items()}
    images, taught_by = {**data.origin, "digest": data.digest, **counts}, [teacher.digest for teacher in teachers]
    return identity(spec, recipe, seed, origin(init), images, taught_by)


def identity(
    spec: ResNetSpec,
    recipe: Recipe,
    seed: int,
    first_weights: dict[str, Any],
    images: dict[str, Any],
    teachers: list[str],
) -> dict[str, Any]:
    """What must be equal for a training to go on, as JSON gives it back. `teachers` are digests."""
    parts = {
        "network": asdict(spec),
        "recipe": asdict(recipe),
        "seed": {"seed": seed},
        "first weights": first_weights,
        "images": images,
        "teachers": {"teachers": teachers},
    }
    return json.loads(json.dumps(parts))


def check_finished(run: Run, plan: dict[str, Any]) -> None:
    """InputError if `run` came out of another training than the planned one."""
    first_weights, images = {"init": run.metrics.get("init")}, {**run.data, **run.metrics["images"]}
    teachers = [teacher["digest"] for teacher in run.metrics.get("teachers", [])]
    trained = identity(run.spec, run.recipe, run.metrics["seed"], first_weights, images, teachers)
    check_same(trained, plan, f"the run at {str(run.path)!r}")


def checkpoint_to_use(
    folder: Path, plan: dict[str, Any], out: Path, *, resume: bool, overwrite: bool, chief: bool = True
) -> Checkpoint | None:
    """The checkpoint to go on from, or None. InputError if it would be lost, or is of another training than the planned one."""
    if resume:
        checkpoint = checkpoint_files.newest(folder)
        if checkpoint:
            check_same(checkpoint.facts["plan"], plan, f"the interrupted training of {str(out)!r}")
            if (before := checkpoint.facts["backend"]) != (backend := keras.backend.backend()):
                raise InputError(f"the interrupted training of {str(out)!r} ran on {before}, not on {backend}")
        return checkpoint
    if overwrite and chief:
        checkpoint_files.clear(folder)
    if checkpoint_files.files(folder) and not overwrite:
        raise InputError(
            f"a training of {str(out)!r} was interrupted: continue with resume=True (--resume), or discard it with overwrite=True "
            "(--overwrite)"
        )
    return None


def check_same(trained: dict[str, Any], plan: dict[str, Any], what: str) -> None:
    """InputError that names the first difference between two trainings; "auto" in the plan agrees with everything.

    An earlier version may have written `trained`: a field that it does not have was at its default, and what has no default is not
    compared.
    """
    for part, values in plan.items():
        there = ADDED if part in ADDED and part not in trained else trained
        old = completed(there[part], KINDS[part]) if part in KINDS else there[part]
        for name in [name for name in values if name in old]:
            before, now = old[name], values[name]
            if before != now and name == "digest":
                raise InputError(
                    f"{what} used other images: the same number, but other labels, pixels or files; use the original "
                    "images, or start again with overwrite=True (--overwrite)"
                )
            if before != now and name == "teachers":
                raise InputError(f"{what} {other_teachers(before, now)}; it can only be resumed unchanged")
            if before != now and now != "auto":
                raise InputError(f"{what} has another {part}: {name}={before!r}, not {now!r}; it can only be resumed unchanged")


def other_teachers(before: list[str], now: list[str]) -> str:
    """How the teachers of a training differ from those that are given now, each by its digest."""
    had, has = ({0: "no teacher", 1: "one teacher"}.get(len(each), f"{len(each)} teachers") for each in (before, now))
    if had == has:
        return "had another teacher, or other weights of it"
    return f"had {had}, and {'none is' if not now else f'{has} are' if len(now) > 1 else f'{has} is'} given now"
