"""`benchmark`: the speed of model files, or of training."""

from pathlib import Path
from typing import Annotated

import typer

from keras_resnet import recipes
from keras_resnet.cli.options import IMAGES_HELP, DataDir, Json, Set, app, load_backend
from keras_resnet.cli.training import ImageSize, Jit, Named, Precision, plan
from keras_resnet.console import show_table

COLUMNS = ("file", "milliseconds", "p95", "time_ratio", "bytes", "size_ratio", "peak_memory", "max_difference", "top1_agreement")


@app.command(epilog="Example: keras-resnet benchmark saved_models/digits-resnet8/export/*.tflite")
def benchmark(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="SavedModel folders, .tflite, .onnx, .keras files.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="For files: batch size.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="For files: number of threads.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="For files: rounds of five runs of each file.")] = 20,
    data: Annotated[str, typer.Option(help=IMAGES_HELP)] = "digits",
    network: Annotated[str, typer.Option(help="For training: name of a network.")] = "resnet20",
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    recipe: Named = None,
    set_: Set = None,
    precision: Precision = None,
    jit: Jit = None,
    as_json: Json = False,
) -> None:
    """Compare model files on the same random images, in turns. Without files, measure the speed of training: images per second
    of the input pipeline alone, of training steps alone, and of both together."""
    if paths:
        from keras_resnet.files.benchmark import compare

        rows = compare(paths, batch=batch, threads=threads, rounds=rounds)
        show_table(rows if as_json else [{column: row[column] for column in COLUMNS} for row in rows], as_json=as_json)
        return
    spec, training_recipe = plan(network, recipe or recipes.default_for(data), set_, precision=precision, jit=jit)
    load_backend()
    from keras_resnet.data import load
    from keras_resnet.training.precision import throughput

    show_table(throughput(spec, training_recipe, load(data, data_dir=data_dir, image_size=image_size)), as_json=as_json)
