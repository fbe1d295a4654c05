"""`train`: a network trained on images."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_resnet import recipes, runs
from keras_resnet.cli.options import SIZE_HELP, DataDir, Json, Set, app, changes, load_backend
from keras_resnet.cli.results import fail_unless_passed, progress, show_run
from keras_resnet.errors import InputError
from keras_resnet.recipe import Recipe
from keras_resnet.spec import ResNetSpec
from keras_resnet.variants import resolve

RECIPE_HELP = "Name of a recipe. [default: digits for digits, else cifar-30]"
Network = Annotated[str, typer.Argument(help="Name of a network, see `keras-resnet list`.")]
Images = Annotated[str, typer.Option("--data", help="Images: digits, a folder, or a TensorFlow Datasets name.")]
ImageSize = Annotated[int | None, typer.Option(help=SIZE_HELP)]
Named = Annotated[str | None, typer.Option("--recipe", help=RECIPE_HELP)]
Precision = Annotated[
    str | None, typer.Option(help="float32, bfloat16, float16, or auto: by a short trial. [default: the recipe's]")
]
Jit = Annotated[str | None, typer.Option(help="XLA: off, on, default, or auto: by a short trial. [default: the recipe's]")]


@app.command(epilog="Example: keras-resnet train resnet20 --data cifar10 --set epochs=5 --out saved_models/cifar10-resnet20")
def train(
    network: Network,
    data: Images = "digits",
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    recipe: Named = None,
    set_: Set = None,
    precision: Precision = None,
    jit: Jit = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write. [default: saved_models/DATA-NETWORK]")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    strategy: Annotated[
        str, typer.Option(help="Devices: auto, one, mirrored, multi_worker or tpu; on JAX data_parallel.")
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run at OUT.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where this training was interrupted, or begin it.")] = False,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps from checkpoint to checkpoint.")] = 1000,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write OUT-tensorboard/ too.")] = False,
    wandb: Annotated[bool, typer.Option("--wandb", help="Log to Weights & Biases too.")] = False,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Log to MLflow too.")] = False,
    export: Annotated[str | None, typer.Option(help="Then export: all, saved_model, tflite, onnx or keras.")] = None,
    as_json: Json = False,
) -> None:
    """Train a network on images and leave a run folder."""
    spec, chosen = plan(network, recipe or recipes.default_for(data), set_, precision, jit)
    out = out or Path("saved_models") / f"{Path(data).name}-{network}"
    load_backend()
    from keras_resnet.distribute import choose

    devices = choose(strategy)
    if devices.chief and not (resume and runs.is_run(out)):
        out = runs.check_free(out, overwrite)
    from keras_resnet.data import load
    from keras_resnet.export import export as export_run
    from keras_resnet.export import select
    from keras_resnet.train import fit
    from keras_resnet.watching import watch

    targets = select(export) if export and devices.chief else []
    images = load(data, data_dir=data_dir, image_size=image_size)
    places = [name for name, wanted in {"tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow}.items() if wanted]
    watching = watch(places, out=out, recipe=chosen, data=images, seed=seed) if devices.chief else []
    verbose = 0 if as_json else 1 if sys.stdout.isatty() else 2
    run = fit(
        spec,
        chosen,
        images,
        out,
        seed=seed,
        strategy=devices,
        overwrite=overwrite,
        resume=resume,
        checkpoint_every=checkpoint_every,
        watch=watching,
        verbose=verbose,
    )
    if not devices.chief:
        return
    checks = export_run(run, targets=targets, data=images, on_check=progress) if targets else []
    show_run(run, checks, as_json)
    fail_unless_passed(checks)


def plan(
    network: str, recipe: str, settings: list[str] | None, precision: str | None, jit: str | None
) -> tuple[ResNetSpec, Recipe]:
    """The network and the recipe that the options ask for."""
    changed = changes(settings, ResNetSpec, Recipe)
    if taken := [name for name in ("input_shape", "classes") if name in changed[ResNetSpec]]:
        raise InputError(f"{' and '.join(taken)} cannot be set: the images decide (--image-size changes their size)")
    chosen = {"precision": precision, "jit": jit}
    changed[Recipe] |= {name: value for name, value in chosen.items() if value is not None}
    return resolve(network, **changed[ResNetSpec]), recipes.resolve(recipe, **changed[Recipe])
