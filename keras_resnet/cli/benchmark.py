"""`benchmark`: the speed of model files, or of training."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_resnet.cli.options import COUNT, IMAGES_HELP, DataDir, Json, Limit, Set, Trust, app, load_backend
from keras_resnet.cli.training import ImageSize, Jit, Precision
from keras_resnet.cli.training_job import plan
from keras_resnet.console import show_table
from keras_resnet.errors import InputError
from keras_resnet.recipes.automatic import AUTO
from keras_resnet.recipes.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np

COLUMNS = (
    *("file", "milliseconds", "p95", "time_ratio", "bytes", "size_ratio", "peak_memory"),
    *("max_difference", "top1_agreement", "compared_on"),
)
MOST_IMAGES = 256  # of --data, that files are compared on
DATA_HELP = f"{IMAGES_HELP} [default: for files random pixels, for training digits]"


@app.command(epilog="Example: keras-resnet benchmark runs/digits-resnet8/export/*.tflite")
def benchmark(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="SavedModel folders, .tflite, .onnx, .keras files.")
    ] = None,
    batch: Annotated[int | None, typer.Option(**COUNT, help="For files: batch size. [default: 1]")] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="For files: number of threads. [default: 1]")] = None,
    rounds: Annotated[int | None, typer.Option(**COUNT, help="For files: rounds of five runs of each file. [default: 20]")] = None,
    data: Annotated[str | None, typer.Option(help=DATA_HELP, show_default=False)] = None,
    network: Annotated[str | None, typer.Option(help="For training: name of a network. [default: resnet20]")] = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    recipe: Annotated[
        str | None, typer.Option(help="For training: name of a recipe. [default: that of the image set, else cifar-30]")
    ] = None,
    set_: Set = None,
    precision: Precision = None,
    jit: Jit = None,
    trust: Trust = False,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Compare the speed of model files, or measure that of training.

    Files run in turns on the same images: test images of --data, or random pixels. Without files: images per second of the input
    pipeline, of training steps, and of both together.
    """
    of_files = {"batch": batch, "threads": threads, "rounds": rounds, "trust": trust or None, "limit": limit}
    of_training = {"network": network, "recipe": recipe, "set": set_, "precision": precision, "jit": jit}
    if paths:
        refuse(of_training, "only for training, which is measured if no files are given")
        if data is None:
            refuse({"data-dir": data_dir, "image-size": image_size}, "only with --data")
        compare_files(paths, {**of_files, "images": partial(images_of, data, data_dir, image_size) if data else None}, as_json)
        return
    refuse(of_files, "only for model files, and none is given")
    data = data or "digits"
    planned = partial(plan, network or "resnet20", settings=set_, precision=precision, jit=jit)
    planned(Recipe() if recipe in (None, AUTO) else recipe)  # mistakes are told now
    load_backend(trains=True)
    from keras_resnet.data import load
    from keras_resnet.training.precision import throughput
    from keras_resnet.training.trainable import recipe_for

    images = load(data, data_dir=data_dir, image_size=image_size)
    show_table(throughput(*planned(recipe_for(recipe, images)), images), as_json=as_json)


def refuse(options: dict[str, Any], why: str) -> None:
    """InputError for options that do not apply here."""
    if given := [f"--{name}" for name, value in options.items() if value is not None]:
        raise InputError(f"{', '.join(given)}: {why}")


def compare_files(paths: list[Path], options: dict[str, Any], as_json: bool) -> None:
    """Print how model files compare, by those options of `files.benchmark.compare` that were given."""
    from keras_resnet.files.benchmark import compare

    rows = compare(paths, **{name: value for name, value in options.items() if value is not None})
    show_table(rows if as_json else [{column: row[column] for column in COLUMNS} for row in rows], as_json=as_json)


def images_of(source: str, data_dir: Path | None, image_size: int | None, shape: tuple[int | None, ...]) -> "np.ndarray":
    """Test images of a source, of that size, or else of the size that a file takes."""
    from keras_resnet.data import can_resize, load

    size: Any = (
        image_size
        if image_size is not None
        else (shape[:-1] if len(shape) == 3 and None not in shape and can_resize(source) else None)
    )
    load_backend()
    return load(source, data_dir=data_dir, image_size=size).sample(MOST_IMAGES, "test")
