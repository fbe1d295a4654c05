"""The analyses of `table` on finished runs: a table of numbers and a plot."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_resnet.analysis.figures import Figure
from keras_resnet.analysis.rows import Rows, as_csv
from keras_resnet.analysis.table import ANALYSES, Analysis
from keras_resnet.atomic import replace_text
from keras_resnet.data import Dataset, to_evaluate
from keras_resnet.errors import InputError, unknown
from keras_resnet.networks.layers import build
from keras_resnet.networks.settings import fixed_settings
from keras_resnet.outside import printable
from keras_resnet.plot_files import save_plot
from keras_resnet.runs.run import Run, names_of


class Result(NamedTuple):
    """The numbers of an analysis, and its plot."""

    rows: Rows
    plot: Callable[[], Figure]
    """Returns a Matplotlib figure."""


@dataclass(frozen=True)
class Subject:
    """A run with some of its images."""

    run: Run
    data: Dataset
    split: str
    count: int

    @cached_property
    def model(self) -> keras.Model:
        """The trained network."""
        return self.run.load()

    @cached_property
    def untrained(self) -> keras.Model:
        """The network with random weights, initialised with the seed of the run."""
        state = random.getstate()  # Keras takes the seeds of initial weights from Python's global generator
        random.seed(int(self.run.metrics.get("seed") or 0) if (self.run.path / "metrics.json").exists() else 0)
        try:
            return build(self.run.spec)
        finally:
            random.setstate(state)

    @cached_property
    def places(self) -> np.ndarray:
        """Indices of the images in the split, chosen at random, the same ones each time."""
        return np.random.default_rng(0).permutation(len(self.data.examples(self.split)))[: self.count]

    @cached_property
    def images(self) -> np.ndarray:
        """(images, *space, channels)."""
        return self.data.examples(self.split).take(self.places).astype("float32")

    @cached_property
    def labels(self) -> np.ndarray:
        """The labels, integers (images,)."""
        return np.asarray(self.data.examples(self.split).labels)[self.places]

    def name(self, number: int) -> str:
        """The file of image `number`, or its index in the split."""
        return self.data.examples(self.split).name(int(self.places[number]))

    def measured(self, row: Analysis, model: keras.Model, **options: Any) -> Any:
        """The result of the function of a row for one of the networks."""
        measure = public(row.measure)
        given = {"model": model, "images": self.images, "labels": self.labels}
        wanted = {name: value for name, value in given.items() if name in signature(measure).parameters}
        return measure(**wanted, **options)


@fixed_settings()
def analyze(
    run: Run | str | Path,
    what: str,
    *,
    images: int | None = None,
    split: str | None = None,
    data: Any = None,
    data_dir: str | Path | None = None,
    other: Run | str | Path | None = None,
) -> Result:
    """One of `ANALYSES` on a finished run.

    Args:
        run: a run or its folder.
        what: a name in `ANALYSES`.
        images: number of images; None takes that of `ANALYSES`.
        split: "train", "validation", "test" or "all"; None takes that of `ANALYSES`.
        data: other images than those of the run, see `keras_resnet.data.load`.
        data_dir: where TensorFlow Datasets keeps its files.
        other: another run for the same kind of images, plotted beside the first one or, for "similarity", compared with it.

    Returns: rows of numbers, and a function that draws the plot. InputError for an unknown name or split, for a run that does not
    suit the analysis, and for `other` where one run is shown.

    >>> analyze("runs/digits-resnet8", "lesions").rows[0]["difference"]  # doctest: +SKIP
    """
    if what not in ANALYSES:
        raise unknown("analysis", what, ANALYSES)
    row = ANALYSES[what]
    if other is not None and row.form not in ("profile", "similarity"):
        raise InputError(f"{what!r} shows one run; leave other= (--other) out")
    run = run if isinstance(run, Run) else Run.open(run)
    others = [] if other is None else [other if isinstance(other, Run) else Run.open(other)]
    found = to_evaluate(run, data, data_dir)
    subjects = [Subject(each, found, split or default_split(found, row), images or row.images) for each in (run, *others)]
    for subject in subjects[1:]:
        if subject.run.spec.input_shape != run.spec.input_shape or subject.run.class_names != run.class_names:
            raise InputError(f"{str(subject.run.path)!r} has another input shape or other classes than {str(run.path)!r}")
    return FORMS[row.form](row, subjects)


def save(result: Result, path: Path) -> None:
    """Write the rows of a result to a `.csv` file, or its plot to a file of another suffix. The folder is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".csv":
        replace_text(
            path,
            as_csv(
                [
                    {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}
                    for row in result.rows
                ]
            ),
        )
    else:
        save_plot(result.plot(), path)


def default_split(data: Dataset, row: Analysis) -> str:
    """The split of a row, or "all" if the images do not have it."""
    return row.split if row.split in data.splits else "all"


def public(name: str) -> Any:
    """A function of `keras_resnet.analysis`, by its name."""
    return getattr(import_module("keras_resnet.analysis"), name)


def profile(row: Analysis, subjects: list[Subject]) -> Result:
    """The rows of the network of each run, with random weights too where the table says so."""
    profiles = {}
    for name, subject in zip(names_of([each.run for each in subjects]), subjects, strict=True):
        if row.untrained is not None:
            untrained = dict(row.options) | dict(row.untrained)
            profiles[f"{name}, untrained" if len(subjects) > 1 else "random weights"] = subject.measured(
                row, subject.untrained, **untrained
            )
        label = name if len(subjects) > 1 or row.untrained is None else "trained"
        profiles[label] = subject.measured(row, subject.model, **row.options)
    named = [{"network": name, **each} for name, rows in profiles.items() for each in rows]
    rows = named if len(profiles) > 1 else next(iter(profiles.values()))
    return Result(rows, lambda: public(row.plot)(profiles))


def compared(row: Analysis, subjects: list[Subject]) -> Result:
    """The similarity of a network with itself or with that of another run."""
    found = subjects[0].measured(row, subjects[0].model, other=subjects[1].model if len(subjects) > 1 else None)
    names = tuple(names_of([subjects[0].run, subjects[-1].run]))
    return Result(found.rows(), lambda: public(row.plot)(found, names=names))


def heatmaps(row: Analysis, subjects: list[Subject]) -> Result:
    """A heatmap for each image, with the position of its highest value in pixels."""
    [subject] = subjects
    subject.run.spec.require_pictures()
    predicted = np.concatenate(
        [subject.model.predict_on_batch(subject.images[i : i + 128]) for i in range(0, len(subject.images), 128)]
    ).argmax(-1)
    heat, names = subject.measured(row, subject.model, classes=predicted), subject.run.class_names
    rows = []
    for number, (label, answer) in enumerate(zip(subject.labels, predicted, strict=True)):
        place = np.unravel_index(heat[number].argmax(), heat[number].shape)
        about = {"image": subject.name(number), "class": names[label], "predicted": names[answer]}
        rows.append({**about, "peak_row": int(place[0]), "peak_column": int(place[1]), "peak": float(heat[number].max())})
    titles = [each["class"] if each["class"] == each["predicted"] else f"{each['class']}\n→ {each['predicted']}" for each in rows]
    return Result(rows, lambda: public(row.plot)(subject.images, heat, titles))


def maps(row: Analysis, subjects: list[Subject]) -> Result:
    """The feature maps of the first image."""
    [subject] = subjects
    subject.run.spec.require_pictures()
    found = subject.measured(row, subject.model)
    rows = [
        {
            "layer": name,
            "size": "x".join(map(str, maps.shape[1:-1])),
            "channels": maps.shape[-1],
            "mean": float(maps.mean()),
            "deviation": float(maps.std()),
            "active": float((maps > 0).mean()),
        }
        for name, maps in found.items()
    ]
    return Result(rows, lambda: public(row.plot)(found, subject.images[0]))


def kernels(row: Analysis, subjects: list[Subject]) -> Result:
    """The filters of the first convolution."""
    [subject] = subjects
    subject.run.spec.require_pictures()
    kernel = subject.measured(row, subject.model)
    flat = kernel.reshape(-1, kernel.shape[-1])
    rows = [
        {"filter": number, "norm": float(np.linalg.norm(weights)), "mean": float(weights.mean())}
        for number, weights in enumerate(flat.T)
    ]
    return Result(rows, lambda: public(row.plot)(kernel))


def points(row: Analysis, subjects: list[Subject]) -> Result:
    """The images as points in a plane."""
    [subject] = subjects
    places, names = subject.measured(row, subject.model, **row.options), subject.run.class_names
    rows = [
        {"image": subject.name(number), "class": names[label], "x": float(x), "y": float(y)}
        for number, (label, (x, y)) in enumerate(zip(subject.labels, places, strict=True))
    ]
    return Result(rows, lambda: public(row.plot)(places, subject.images, subject.labels, names, **row.options))


FORMS: dict[str, Callable[[Analysis, list[Subject]], Result]] = {
    "profile": profile,
    "similarity": compared,
    "heatmaps": heatmaps,
    "features": maps,
    "filters": kernels,
    "embedding": points,
}
