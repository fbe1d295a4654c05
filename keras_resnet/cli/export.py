"""`export`: files of a finished run for other runtimes."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_resnet.cli.options import COUNT, Data, DataDir, Json, RunFolder, app, load_backend
from keras_resnet.cli.output import bars, fail_unless_accepted, progress, show_checks, show_quantization
from keras_resnet.console import show_json
from keras_resnet.errors import InputError
from keras_resnet.outside import printable
from keras_resnet.runs.run import Run, check_outside
from keras_resnet.shipped import is_shipped, place_in

AGREEMENT_HELP = "Lowest top-1 agreement to accept. [default: int8 and dynamic 0.98; int16 0.99; int4 0.95; none for others]"
DIFFERENCE_HELP = (
    "Largest absolute difference of an output to accept. [default: 1e-4 of the largest output; float16 0.01 of it; none for others]"
)
UNDECIDED_HELP = "Write undecided files too (too few images to decide)."


@app.command(epilog="Example: keras-resnet export runs/digits-resnet8 --format tflite --quantize int8")
def export(
    folder: RunFolder,
    format: Annotated[str, typer.Option(help="all, saved_model, tflite, onnx or keras.")] = "all",
    quantize: Annotated[str | None, typer.Option(help="For tflite: float16, dynamic, int8, int16 or int4.")] = None,
    pixels: Annotated[
        str | None, typer.Option(help="Type of the input pixels: float32, uint8, int8 or int16; the format limits the choice.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="logits, softmax, or the best classes: top1, top3, top5. [default: logits]")
    ] = None,
    batch: Annotated[int | None, typer.Option(**COUNT, help="Fixed batch size. [default: any]")] = None,
    layout: Annotated[str | None, typer.Option(help="For onnx: NHWC or NCHW. [default: NHWC]")] = None,
    opset: Annotated[int | None, typer.Option(min=1, max=1000, help="For onnx: opset version.")] = None,
    equalize: Annotated[bool, typer.Option("--equalize", help="For int8 and int4: apply cross-layer equalisation first.")] = False,
    float_layers: Annotated[
        int | None, typer.Option(min=0, max=10**6, help="For int8 and int4: number of layers to keep in float, the worst first.")
    ] = None,
    debug_quantization: Annotated[
        bool,
        typer.Option(
            "--debug-quantization", help="List the layers by what each alone costs in int8, and try remedies; write no int8 file."
        ),
    ] = False,
    min_agreement: Annotated[float | None, typer.Option(min=0, max=1, help=AGREEMENT_HELP)] = None,
    max_difference: Annotated[float | None, typer.Option(min=0, help=DIFFERENCE_HELP)] = None,
    accept_undecided: Annotated[bool, typer.Option("--accept-undecided", help=UNDECIDED_HELP)] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write. [default: RUN/export, or NAME-export for a network of saved_models]")
    ] = None,
    data: Data = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Export a run, and check each file against the Keras model.

    The check uses the test images; if there are fewer than 1,000, validation and training images are added.
    """
    run = Run.open(folder)
    note, told = "", sys.stderr if as_json else sys.stdout
    if out is None and is_shipped(folder):
        out = place_in(folder, "export")
        note = f"written to {printable(out)}: saved_models is not changed\n"
    if out:
        check_outside(out, run.data.get("source") if data is None else data)
    from keras_resnet.files.targets import select

    fields = {"pixels": pixels, "output": output, "batch": batch, "layout": layout, "opset": opset, "float_layers": float_layers}
    targets = select(format, quantize, **fields, equalize=equalize or None)
    if debug_quantization and len(targets) == 1:
        raise InputError("--debug-quantization chooses its own int8 files: leave out --format and the options of files")
    load_backend()
    from keras_resnet.data import of_run
    from keras_resnet.export import debug_quantization as debug
    from keras_resnet.export import export as export_run
    from keras_resnet.export.comparison_images import count

    images = of_run(run, data, data_dir)
    if debug_quantization:
        show_quantization(debug(run, data=images, out=out, on_check=progress), as_json)
        told.write(note)
        return
    with bars(count(images)) as on_images:
        chosen: dict[str, Any] = {"min_agreement": min_agreement, "max_difference": max_difference}
        chosen["accept_undecided"] = accept_undecided
        checks = export_run(run, targets=targets, data=images, out=out, on_check=progress, on_images=on_images, **chosen)
    if as_json:
        show_json([asdict(check) for check in checks])
    else:
        show_checks(checks)
        if not note and any(check.accepted for check in checks):
            note = f"folder: {printable(out or run.export_path)}\n"
    told.write(note)
    fail_unless_accepted(checks)
