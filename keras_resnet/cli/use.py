"""`evaluate`, `predict` and `export`: what is done with a finished run."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_resnet.cli.options import Data, DataDir, Json, Model, RunFolder, app, load_backend
from keras_resnet.cli.output import bars, fail_unless_passed, progress, show_checks, show_quantization
from keras_resnet.console import show_json, show_table
from keras_resnet.errors import InputError, unknown
from keras_resnet.runs.run import Run


@app.command(epilog="Example: keras-resnet evaluate saved_models/digits-resnet8 --model model_int8.tflite")
def evaluate(
    folder: RunFolder,
    model: Model = None,
    split: Annotated[str | None, typer.Option(help="train, validation, test or all. [default: test; all of other DATA]")] = None,
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
    show_table([{"model": str(path), "split": split, "images": count, "accuracy": score}], as_json=as_json)


@app.command(epilog="Example: keras-resnet predict saved_models/digits-resnet8 seven.png --model model_int8.tflite")
def predict(
    folder: RunFolder,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    model: Model = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to show for each image.")] = 3,
    as_json: Json = False,
) -> None:
    """Name the most likely classes of image files."""
    run = Run.open(folder)
    path = model_file(run, model)
    from keras_resnet.data import read_image
    from keras_resnet.files.model_file import ModelFile
    from keras_resnet.files.predictions import best

    shape, pixels, problems = run.spec.require_sizes("what a picture is brought to"), {}, []
    for image in images:
        try:
            pixels[image] = read_image(image, shape)
        except InputError as error:
            problems.append(str(error))
    runner, names = ModelFile(path), run.class_names
    outputs = {image: runner(array[None])[0] for image, array in pixels.items()}
    if any(len(output) != len(names) for output in outputs.values() if output.ndim == 1):
        raise InputError(f"{str(path)!r} gives other classes than the {len(names)} of {str(folder)!r}")
    rows = [
        {"image": str(image), "class": names[number], "probability": probability}
        for image, output in outputs.items()
        for number, probability in best(output, top, runner.scores)
    ]
    show_table(rows, as_json=as_json)
    if problems:
        raise InputError("; ".join(problems))


AGREEMENT_HELP = "Lowest top-1 agreement to accept. [default: 0.999; float16 and int16 0.99; int8 and dynamic 0.98]"
DIFFERENCE_HELP = (
    "Largest absolute difference of an output to accept. [default: 1e-4 of the largest output; none for quantised files]"
)


@app.command(epilog="Example: keras-resnet export saved_models/digits-resnet8 --format tflite --quantize int8")
def export(
    folder: RunFolder,
    format: Annotated[str, typer.Option(help="all, saved_model, tflite, onnx or keras.")] = "all",
    quantize: Annotated[str | None, typer.Option(help="For tflite: float16, dynamic, int8 or int16.")] = None,
    pixels: Annotated[str | None, typer.Option(help="Type of the pixels: float32, uint8, int8 or int16, as the file can.")] = None,
    output: Annotated[
        str | None, typer.Option(help="logits, softmax, or the best classes: top1, top3, top5. [default: logits]")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images at once. [default: any number]")] = None,
    layout: Annotated[str | None, typer.Option(help="For onnx: NHWC or NCHW. [default: NHWC]")] = None,
    opset: Annotated[int | None, typer.Option(min=1, help="For onnx: version of the operations.")] = None,
    equalize: Annotated[bool, typer.Option("--equalize", help="For int8: make the ranges of channels alike first.")] = False,
    float_layers: Annotated[int | None, typer.Option(min=0, help="For int8: layers to keep in float, the worst first.")] = None,
    debug_quantization: Annotated[
        bool,
        typer.Option("--debug-quantization", help="List the layers by what int8 costs them, and try remedies; write no int8 file."),
    ] = False,
    min_agreement: Annotated[float | None, typer.Option(min=0, max=1, help=AGREEMENT_HELP)] = None,
    max_difference: Annotated[float | None, typer.Option(min=0, help=DIFFERENCE_HELP)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write. [default: RUN/export]")] = None,
    data: Data = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Export a run, and prove each file against the Keras model on the test images."""
    run = Run.open(folder)
    load_backend()
    from keras_resnet.data import of_run
    from keras_resnet.export import debug_quantization as debug
    from keras_resnet.export import export as export_run
    from keras_resnet.export import select

    fields = {"pixels": pixels, "output": output, "batch": batch, "layout": layout, "opset": opset, "float_layers": float_layers}
    targets = select(format, quantize, **fields, equalize=equalize or None)
    images = of_run(run, data, data_dir)
    if debug_quantization:
        if len(targets) == 1:
            raise InputError("--debug-quantization tries int8 files of its own: no format and no option of a file goes with it")
        show_quantization(debug(run, data=images, out=out, on_check=progress), as_json)
        return
    with bars(len(images.splits["test"])) as on_images:
        tolerances: dict[str, Any] = {"min_agreement": min_agreement, "max_difference": max_difference}
        checks = export_run(run, targets=targets, data=images, out=out, on_check=progress, on_images=on_images, **tolerances)
    if as_json:
        show_json([asdict(check) for check in checks])
    else:
        show_checks(checks)
    fail_unless_passed(checks)


def model_file(run: Run, model: Path | None) -> Path:
    """The file of `--model`: a path, or a name in the run or its `export/`; model.keras by default."""
    if model is None:
        return run.model_path
    for path in (model, run.export_path / model, run.path / model):
        if path.exists():
            return path
    names = sorted(path.name for path in run.export_path.glob("*model*"))
    raise unknown("model file", str(model), names or ["none is exported yet"])
