"""`evaluate` and `predict`: the model of a finished run, applied to images."""

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_resnet.cli.options import Data, DataDir, Json, Model, RunFolder, app, load_backend
from keras_resnet.cli.output import accuracy_row
from keras_resnet.confidence import interval
from keras_resnet.console import show_json, show_table
from keras_resnet.errors import InputError, unknown
from keras_resnet.runs.run import Run


@app.command(epilog="Example: keras-resnet evaluate saved_models/digits-resnet8 --model model_int8.tflite")
def evaluate(
    folder: RunFolder,
    model: Model = None,
    split: Annotated[str | None, typer.Option(help="train, validation, test or all. [default: test, or all with --data]")] = None,
    data: Data = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Measure the accuracy of a run, or of one of its exported files."""
    run = Run.open(folder)
    path = model_file(run, model)
    load_backend()
    from keras_resnet.data import of_run
    from keras_resnet.files.model_file import ModelFile
    from keras_resnet.files.predictions import accuracy

    images = of_run(run, data, data_dir)
    split = split or ("all" if data else "test")
    count = len(images.examples(split))
    score = accuracy(ModelFile(path), images, split)
    if as_json:
        row = {"images": count, "accuracy": score, "accuracy_interval": interval(score, count)}
        show_json([{"model": str(path), "split": split, **row}])
        return
    show_table([{"model": str(path), "split": split, **accuracy_row(images=count, accuracy=score)}])


@app.command(epilog="Example: keras-resnet predict saved_models/digits-resnet8 seven.png --model model_int8.tflite")
def predict(
    folder: RunFolder,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    model: Model = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to show for each image.")] = 3,
    as_json: Json = False,
) -> None:
    """Print the most likely classes of image files."""
    run = Run.open(folder)
    path = model_file(run, model)
    from keras_resnet.data import read_image
    from keras_resnet.files.model_file import ModelFile
    from keras_resnet.files.predictions import best

    shape, pixels, problems = run.spec.require_sizes("resizing a picture"), {}, []
    for image in images:
        try:
            pixels[image] = read_image(image, shape)
        except InputError as error:
            problems.append(str(error))
    runner, names = ModelFile(path), run.class_names
    outputs = {image: runner(array[None])[0] for image, array in pixels.items()}
    if any(len(output) != len(names) for output in outputs.values() if output.ndim == 1):
        raise InputError(f"{str(path)!r} does not have the {len(names)} classes of {str(folder)!r}")
    scores = runner.scores or scores_beside(run, pixels, outputs)
    rows = [
        {"image": str(image), "class": names[number], "probability": probability}
        for image, output in outputs.items()
        for number, probability in best(output, top, scores)
    ]
    show_table(rows, as_json=as_json)
    if problems:
        raise InputError("; ".join(problems))


def scores_beside(run: Run, pixels: dict[Path, Any], outputs: dict[Path, Any]) -> str:
    """What a file that does not say it puts out for these images, by picture: that which the network of the run is nearer to."""
    import numpy as np

    from keras_resnet.files.model_file import ModelFile
    from keras_resnet.files.predictions import probabilities

    if run.spec.classifier_activation or not outputs:
        return "probabilities"
    with ModelFile(run.model_path) as network:
        logits = np.concatenate([network(array[None]) for array in pixels.values()])
    given = np.stack(list(outputs.values()))
    is_nearer = given.ndim == 2 and np.abs(given - probabilities(logits)).mean() < np.abs(given - logits).mean()
    return "probabilities" if is_nearer else "logits"


def model_file(run: Run, model: Path | None) -> Path:
    """The file of `--model`: a path, or a name in the run or its `export/`; model.keras by default."""
    if model is None:
        return run.model_path
    for path in (model, run.export_path / model, run.path / model):
        if path.exists():
            return path
    names = sorted(path.name for path in run.export_path.glob("*model*"))
    raise unknown("model file", str(model), names or ["none is exported yet"])
