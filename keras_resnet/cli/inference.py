"""`evaluate` and `predict`: the model of a finished run, applied to images."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_resnet.atomic import replace_text, write_json
from keras_resnet.cli.options import (
    COUNT,
    Data,
    DataDir,
    Json,
    Limit,
    Model,
    RunFolder,
    Trust,
    app,
    check_file,
    check_name,
    load_backend,
)
from keras_resnet.cli.output import show_evaluation
from keras_resnet.console import show_json, show_table
from keras_resnet.errors import InputError, unknown
from keras_resnet.networks.match import check_network
from keras_resnet.outside import printable
from keras_resnet.runs.run import Run, check_outside

if TYPE_CHECKING:
    from keras_resnet.files.model_file import ModelFile

COLUMNS = ("image", "class", "probability", "margin")  # of a table of predictions
COMPARED = 16  # images for `scores_beside`


@app.command(epilog="Example: keras-resnet evaluate runs/digits-resnet8 --model model_int8.tflite")
def evaluate(
    folder: RunFolder,
    model: Model = None,
    split: Annotated[str | None, typer.Option(help="train, validation, test or all. [default: test, or all with --data]")] = None,
    data: Data = None,
    data_dir: DataDir = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write evaluation.json and confusion.png into.")] = None,
    trust: Trust = False,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Measure the accuracy of a run or of an exported file.

    Prints recall and precision of each class, and the confusion matrix. Images of --data are resized to the size and the channels
    of the run, and may lack classes of the run.
    """
    from keras_resnet.data import SPLITS

    check_name("split", split, (*SPLITS, "all"))
    run = Run.open(folder)
    path = model_file(run, model)
    if out and out.exists() and not out.is_dir():
        raise InputError(f"--out {str(out)!r} is a file; name a folder")
    if out:
        check_outside(out, run.data.get("source") if data is None else data)
    load_backend()
    from keras_resnet.data import to_evaluate
    from keras_resnet.files.evaluation import confusion
    from keras_resnet.files.predictions import confidences, outputs_of, scores_by_value, top1
    from keras_resnet.runs.evaluation import mistakes, plot_confusion, report

    images = to_evaluate(run, data, data_dir)
    split = split or ("all" if data else "test")
    examples, file = images.examples(split), opened(run, path, trust, limit)
    outputs = outputs_of(file, images, split)
    counts = confusion(outputs, examples.labels, len(run.class_names))
    found = {"model": str(path), "split": split, **report(counts, run.class_names)}
    sure = confidences(outputs, file.scores or scores_by_value(outputs))
    files = [examples.name(place) for place in range(len(examples))]
    found["mistakes"] = mistakes(top1(outputs), sure, examples.labels, run.class_names, files)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "evaluation.json", found)
        plot_confusion(counts, run.class_names, out / "confusion.png")
    if as_json:
        show_json([found])
    else:
        show_evaluation(found)


@app.command(epilog="Example: keras-resnet predict runs/digits-resnet8 seven.png --model model_int8.tflite")
def predict(
    folder: RunFolder,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files, or folders with images at any depth.")],
    model: Model = None,
    top: Annotated[int, typer.Option(**COUNT, help="How many classes to show for each image.")] = 3,
    table: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the rows to a CSV file.")] = None,
    trust: Trust = False,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Print the most likely classes of image files.

    `margin` is the probability of the class minus that of the most likely other class.
    """
    run = Run.open(folder)
    path = model_file(run, model)
    if table:
        check_file("--csv", table, ",".join(COLUMNS), "table of predictions")
    from keras_resnet.files.predictions import best

    run.spec.require_pictures()
    names, problems = run.class_names, list[str]()
    pixels = pictures(images, run.spec.require_sizes("resizing an image"), problems)
    answers, scores = answers_of(run, opened(run, path, trust, limit), pixels)
    rows = [
        {"image": str(image), "class": names[number], "probability": probability, "margin": margin}
        for image, output in answers
        for number, probability, margin in with_margins(best(output, max(2, top), scores))[:top]
    ]
    if table and rows:
        write_csv(table, rows)
    show_table(rows, as_json=as_json)
    if problems:
        raise InputError("; ".join(problems))


def pictures(paths: list[Path], shape: tuple[int, ...], problems: list[str]) -> Iterator[tuple[Path, Any]]:
    """Every image of `paths`, which are files and folders, with its pixels of `shape`.

    Files that cannot be read, and folders without images, are added to `problems`. A warning lists what is left out of a folder.
    """
    from keras_resnet.data import read_image
    from keras_resnet.data.scan import LeftOut, pictures_in, tell
    from keras_resnet.files.runtimes import kind_of

    for path in paths:
        if path.exists() and kind_of(path):
            problems.append(f"{str(path)!r} is a model file: give it with --model")
            continue
        left_out: LeftOut = {}
        files, found = pictures_in(path, left_out) if path.is_dir() else [path], 0
        for file in files:
            try:
                yield file, read_image(file, shape)
                found += 1
            except InputError as error:
                left_out[file] = "cannot be read"
                if not path.is_dir():
                    problems.append(str(error))
        if path.is_dir():
            tell(left_out, found, path)
            if not found:
                problems.append(f"no readable image in {str(path)!r}")


def answers_of(run: Run, file: "ModelFile", pixels: Iterable[tuple[Path, Any]]) -> tuple[list[tuple[Path, Any]], str]:
    """What a file puts out for each picture, and which of `runtimes.SCORES` that is."""
    from keras_resnet.files.evaluation import check_outputs

    answers: list[tuple[Path, Any]] = []
    some: list[Any] = []
    for picture, array in pixels:
        outputs = file(array[None])
        check_outputs(outputs, len(run.class_names))
        answers.append((picture, outputs[0]))
        some += [array] * (len(some) < COMPARED)
    return answers, file.scores or scores_beside(run, some, [output for _, output in answers[:COMPARED]])


def with_margins(classes: list[tuple[int, float]]) -> list[tuple[int, float, float]]:
    """The best classes of an image, at least two where it has them, each with its probability and by how much that is above the
    highest of another class."""
    highest, second = (classes[0][1], classes[1][1]) if len(classes) > 1 else (classes[0][1], 0.0)
    return [(number, share, share - (highest if place else second)) for place, (number, share) in enumerate(classes)]


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """A header, and one line for each image and class."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "image": printable(row["image"])} for row in rows)
    replace_text(path, text.getvalue())


def scores_beside(run: Run, pixels: list[Any], outputs: list[Any]) -> str:
    """Whether a file without that information gives probabilities or logits: whichever is closer to those of the run."""
    import numpy as np

    from keras_resnet.files.predictions import nearest_kind

    if run.spec.classifier_activation or not outputs:
        return "probabilities"
    with opened(run, run.model_path) as network:
        logits = np.concatenate([network(array[None]) for array in pixels])
    given = np.stack(outputs)
    return nearest_kind(given, logits) if given.ndim == 2 else "scores"


def opened(run: Run, path: Path, trust: bool = False, limit: float | None = None) -> "ModelFile":
    """The file at `path`, opened. InputError if it should be the network of the run and is another."""
    from keras_resnet.files.model_file import LIMIT, ModelFile

    file = ModelFile(path, trust=trust, limit=LIMIT if limit is None else limit)
    if path == run.model_path:
        check_network(path, file.layers, file.image_shape, run.spec)
    return file


def model_file(run: Run, model: Path | None) -> Path:
    """The file of `--model`: a path, or a name in the run or its `export/`; model.keras by default."""
    if model is None:
        return run.model_path
    for path in (model, run.export_path / model, run.path / model):
        if path.exists():
            return path
    names = sorted(path.name for path in run.export_path.glob("*model*"))
    raise unknown("model file", str(model), names or ["none is exported yet"])
