"""`Study`: a search as data, that is the space, the budget, and how each trial is trained. `tuning/` has examples."""

import runpy
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from keras_resnet import recipes
from keras_resnet.data import Dataset
from keras_resnet.errors import InputError, SpaceError, shown, unknown
from keras_resnet.fields import change, documented
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.search.budget import COSTS, LATENCY, Budget
from keras_resnet.search.latency import INTERPRETER, check_measured

ENGINES = {
    "random": "any values, no two trials alike",
    "bayesian": "the values that a Gaussian process of the scores so far rates highest",
    "hyperband": "many short trainings, of which the best third is trained three times as long, and so on (arXiv:1603.06560)",
    "grid": "every combination in turn",
    "optuna": "values that Optuna's tree-structured Parzen estimator rates highest, which learns from refused draws too "
    "(arXiv:2304.11127); any number of processes on one storage",
}
OPTUNA = "optuna"
PRUNERS = {
    "hyperband": "trials that are not in the best third after some epochs, after three times as many, and so on (arXiv:1603.06560)",
    "median": "trials that are worse than the median of those before them at the same epoch, after a fourth of the epochs",
}
SCORE = "val_accuracy"
TRIALS = 20  # where a study does not say

Space = Callable[[Any], "ResNetSpec | tuple[ResNetSpec, dict[str, Any]]"]
"""`keras_tuner.HyperParameters` to a spec, or to a spec and changes to the recipe. It builds nothing."""


@documented
@dataclass(frozen=True, kw_only=True)
class Study:
    """One search. A wrong value raises `InputError` that says what was received and what is allowed."""

    space: Space
    """A function of `keras_tuner.HyperParameters` that returns a `ResNetSpec`, or one and changes to the recipe, such as
    {"learning_rate": hp.Float(...)}. It builds nothing. A spec that is illegal counts as beyond the budget."""
    data: Any = "digits"
    """What `keras_resnet.data.load` takes or gives: "digits", a folder, a TensorFlow Datasets name, arrays, a `tf.data.Dataset`
    that fits into memory. Trials run in processes of their own, so arrays are saved as `images.npz` in the folder of the search."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps its files."""
    image_size: int | None = None
    """Of the images of a folder, in pixels."""
    recipe: str | Recipe | None = None
    """Of every trial. None: the one that follows from number, size and kind of the images, see `recipes.for_images`."""
    teacher: str | Path | tuple[str | Path, ...] = ()
    """What every trial learns from, see `fit`: a run folder, a file of weights or the name of one, or several."""
    budget: Budget = field(default_factory=Budget)
    """What a network may cost. One beyond it is never built."""
    objectives: tuple[str, ...] = (SCORE,)
    """Objectives of the Pareto front: "val_accuracy", and costs by their names in a budget. Engines maximise the accuracy."""
    quantize: str | None = "int8"
    """Quantisation of the file whose latency counts: None for float32, or "int8"."""
    runtime: str = INTERPRETER
    """Which runtime of LiteRT the latency is measured by: "interpreter", or "compiled" for CompiledModel."""
    measure_latency: bool = False
    """Measure the latency of whole networks before they are trained, instead of adding up that of operations."""
    engine: str = "random"
    """"random", "bayesian", "hyperband" or "grid" of KerasTuner, or "optuna", see `ENGINES`."""
    pruner: str | None = None
    """Which trials of "optuna" are stopped: None for none, "hyperband" or "median", see `PRUNERS`. The others go on: nothing is
    trained anew. With several objectives none is stopped."""
    trials: int | None = None
    """The largest number of trials. None: 20, or all of a grid and of Hyperband."""
    patience: int | None = None
    """Early stopping of trials: epochs without a better validation accuracy; None for none."""
    finalists: int = 3
    """How many of the best trials are trained again in full, with `seeds` seeds each, since the best of many scores is partly luck.
    A trial that was already trained in full counts for its seed."""
    seeds: int = 1
    final: dict[str, Any] = field(default_factory=dict)
    """Changes to the recipe for the finalists, such as {"epochs": 90}."""
    seed: int = 0
    """Seed of the engine and of every trial."""
    question: str = ""
    """What the study is to answer; the docstring of its file."""

    def __post_init__(self) -> None:
        if not callable(self.space):
            raise InputError(f"space={self.space!r}: expected a function of hyperparameters that returns a ResNetSpec")
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, ENGINES)
        if self.pruner is not None and self.pruner not in PRUNERS:
            raise unknown("pruner", self.pruner, PRUNERS)
        if self.pruner and self.engine != OPTUNA:
            raise InputError(f"pruner={self.pruner!r} is for engine='optuna', not for {self.engine!r}")
        for name, minimum in (("trials", 1), ("finalists", 1), ("seeds", 1), ("patience", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is None and name in ("trials", "patience"):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
                raise InputError(f"{name}={value!r}: must be a whole number of at least {minimum}")
        for name, kind in (("budget", Budget), ("final", dict), ("objectives", tuple)):
            if not isinstance(getattr(self, name), kind):
                raise InputError(f"{name}={getattr(self, name)!r}: expected a {kind.__name__}")
        for objective in self.objectives:
            if objective not in (SCORE, *COSTS, LATENCY):
                raise unknown("objective", objective, (SCORE, *COSTS, LATENCY))
        if any(not isinstance(teacher, str | Path) for teacher in self.teachers):
            raise InputError(f"teacher={shown(self.teacher)}: expected the path or name of weights, or a tuple of them")
        check_measured(self.quantize, self.runtime)
        self.trained_by({})
        self.trained_by(self.final)

    @property
    def teachers(self) -> tuple[str | Path, ...]:
        """One or several, or none."""
        return self.teacher if isinstance(self.teacher, tuple) else (self.teacher,)

    @property
    def most_trials(self) -> int | None:
        """How many there may be; None for no limit."""
        return self.trials or (None if self.engine in ("grid", "hyperband") else TRIALS)

    @property
    def wants_latency(self) -> bool:
        return self.measure_latency or self.budget.latency is not None or LATENCY in self.objectives

    @property
    def data_name(self) -> str:
        """The images as text: the source that they can be loaded from, or "arrays"."""
        source = self.data.origin["source"] if isinstance(self.data, Dataset) else self.data
        return str(source) if isinstance(source, str | Path) else "arrays"

    def trained_by(self, changes: dict[str, Any]) -> Recipe:
        return change(recipes.resolve(self.recipe or Recipe()), changes)

    def draw(self, hyperparameters: Any) -> tuple[ResNetSpec, Recipe]:
        """The network and the recipe of those hyperparameters. InputError for an illegal spec, SpaceError for anything else."""
        try:
            answer = self.space(hyperparameters)
        except InputError:
            raise
        except (Exception, SystemExit) as error:  # whatever is wrong in somebody's function
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"line {frame.lineno} of {frame.filename}"
            raise SpaceError(f"the space raised {type(error).__name__}: {error} ({place})") from error
        spec, changes = answer if isinstance(answer, tuple) else (answer, {})
        if not isinstance(spec, ResNetSpec) or not isinstance(changes, dict):
            kind = type(answer).__name__
            raise SpaceError(f"the space returned {kind}: expected a ResNetSpec, or one and a dictionary of recipe fields")
        try:
            return spec, self.trained_by(changes)
        except InputError as error:
            raise SpaceError(str(error)) from None


def load_study(path: str | Path) -> Study:
    """The `study` of a Python file. InputError, which names the file, if there is none, or it cannot be run."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no study at {str(path)!r}")
    try:
        with warnings.catch_warnings():  # the file may set filters of its own
            content = runpy.run_path(str(path))
    except InputError as error:
        raise InputError(f"{str(path)!r}: {error}") from None
    except SystemExit as error:
        raise InputError(f"{str(path)!r} calls sys.exit({error.code!r}): a study file only defines `study`") from None
    except Exception as error:  # whatever is wrong in somebody's file
        raise InputError(f"{str(path)!r} cannot be run: {type(error).__name__}: {error}") from error
    study = content.get("study")
    if not isinstance(study, Study):
        raise InputError(f"{str(path)!r} has no study: expected a line `study = Study(...)`")
    return study if study.question else replace(study, question=" ".join((content["__doc__"] or "").split()))
