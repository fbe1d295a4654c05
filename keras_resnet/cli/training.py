"""`train`: train a network on images."""

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_resnet.cli.budget import recipe_within, train_within
from keras_resnet.cli.options import AS_THEY_ARE, COUNT, IMAGES_HELP, SIZE_HELP, DataDir, Json, Set, app, check_name
from keras_resnet.cli.training_job import Job, carry_out
from keras_resnet.errors import InputError
from keras_resnet.training.strategies import STRATEGIES

RECIPE_HELP = "Name of a recipe, see `keras-resnet list --recipes`. [default: chosen by number, size and kind of the images]"
NETWORK_HELP = "Name of a network, see `keras-resnet list`. [default: that of --init, else chosen by size and number of the images]"
INIT_HELP = (
    "Start from trained weights: a run, a file, tiny-imagenet, imagenet with a network, or owner/name of the Hugging Face Hub. "
    "Without --recipe, a run is trained by its own recipe, on its own images with a hundredth of the learning rate. Other weights "
    "get a recipe for fine-tuning."
)
BUDGET_HELP = (
    "Choose network, teacher and recipe for a budget: bytes of the int8 file (100kB), multiply-adds of an image (5M), or "
    "milliseconds of the int8 file on this machine (2ms)."
)
TEACHER_HELP = (
    "Learn from a trained network of the same classes too (distillation): a run, a file or a name of weights. May be repeated: "
    "the probabilities of several are averaged. --set distill, temperature, label_weight and distill_weight change how. "
    "[default: no teacher. With --budget, a larger network is trained first if that is worth it; --teacher none prevents it]"
)
ImageSize = Annotated[int | None, typer.Option(min=1, max=8192, help=f"{SIZE_HELP} [default: {AS_THEY_ARE}]")]
Named = Annotated[str | None, typer.Option("--recipe", help=RECIPE_HELP)]
AUTO_HELP = "or auto: the fastest as measured. [default: the recipe's]"
Precision = Annotated[str | None, typer.Option(help=f"float32, bfloat16, float16, {AUTO_HELP}")]
Jit = Annotated[str | None, typer.Option(help=f"XLA: off, on, default, {AUTO_HELP}")]


@app.command(epilog="Example: keras-resnet train resnet20 --data cifar10 --set epochs=5 --out runs/cifar10-resnet20")
def train(
    network: Annotated[str | None, typer.Argument(help=NETWORK_HELP, show_default=False)] = None,
    init: Annotated[Path | None, typer.Option(metavar="RUN|FILE|NAME", help=INIT_HELP)] = None,
    budget: Annotated[str | None, typer.Option(metavar="100kB|5M|2ms", help=BUDGET_HELP)] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="With --budget 2ms: LiteRT's runtime that measures, interpreter or compiled. [default: interpreter]"),
    ] = None,
    teacher: Annotated[list[Path] | None, typer.Option(metavar="RUN|FILE|NAME", help=TEACHER_HELP)] = None,
    quantization_aware: Annotated[
        bool,
        typer.Option(
            "--quantization-aware",
            help="Train with the rounding of an int8 file, or with --set weight_bits=4 of an int4 file; needs --init.",
        ),
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(**COUNT, help="Number of epochs, as --set epochs=N. [default: the recipe's]")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(**COUNT, help="Images in a step, as --set batch_size=N. [default: the recipe's]")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(**COUNT, help="Stop after N epochs without a better validation accuracy. [default: never]")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help=f"{IMAGES_HELP} [default: those of --init, else digits]", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=8192,
            help=f"{SIZE_HELP} [default: that of the network of --init; 32 to 64 for photographs without NETWORK; else "
            f"{AS_THEY_ARE}]",
        ),
    ] = None,
    recipe: Named = None,
    set_: Set = None,
    class_weight: Annotated[
        str | None, typer.Option(help="Weights of classes in the loss: none, balanced, or cat=5,dog=1. [default: the recipe's]")
    ] = None,
    precision: Precision = None,
    jit: Jit = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write. [default: runs/DATA-NETWORK; with --init RUN beside RUN, or "
            "runs/NAME-fine-tuned for a network of saved_models]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and augmentation.")] = 0,
    strategy: Annotated[
        str, typer.Option(help="Devices: auto, one, mirrored, multi_worker or tpu; on JAX data_parallel.")
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run at OUT, with --budget also OUT-teacher.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the last checkpoint, or start if there is none.")] = False,
    checkpoint_every: Annotated[
        int | None, typer.Option(**COUNT, help="Steps between checkpoints. [default: checkpoints take at most 5 % of the time]")
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write OUT-tensorboard/ too.")] = False,
    wandb: Annotated[bool, typer.Option("--wandb", help="Log to Weights & Biases too.")] = False,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Log to MLflow too.")] = False,
    export: Annotated[str | None, typer.Option(help="Export afterwards: all, saved_model, tflite, onnx or keras.")] = None,
    as_json: Json = False,
) -> None:
    """Train a network on images and leave a run folder."""
    from keras_resnet.files.runtimes import LITERT
    from keras_resnet.files.targets import select

    check_name("strategy", strategy, STRATEGIES)
    check_name("runtime", runtime, LITERT)
    targets = select(export) if export else []
    fields: dict[str, Any] = {"precision": precision, "jit": jit, "epochs": epochs, "batch_size": batch_size}
    fields |= {"class_weight": class_weight, "quantization_aware": quantization_aware or None}
    source: dict[str, Any] = {"data": data, "data_dir": data_dir, "image_size": image_size}
    followed = {"tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow}
    settings = {"strategy": strategy, "seed": seed, "overwrite": overwrite, "resume": resume}
    settings |= {"checkpoint_every": checkpoint_every, "patience": patience}
    if budget is not None:
        unfit = {"NETWORK": network, "--init": init, "--recipe": recipe, "--quantization-aware": quantization_aware}
        refuse_beside_budget({**unfit, **{f"--{name}": is_on for name, is_on in followed.items()}})
        source["data"] = data or "digits"
        changed, settings["runtime"] = recipe_within(set_, fields), runtime
        train_within(budget, source, out, teacher, changed, settings, targets=targets, as_json=as_json)
        return
    if runtime:
        raise InputError("--runtime is for --budget with a time, such as 2ms")
    job = Job(network=network, init=init, recipe=recipe, set_=set_, fields=fields, teacher=teacher, **source)
    carry_out(job, out, settings, [name for name, is_on in followed.items() if is_on], targets, as_json=as_json)


def refuse_beside_budget(options: dict[str, Any]) -> None:
    """InputError for options that say what --budget decides."""
    if given := [name for name, value in options.items() if value]:
        raise InputError(f"--budget cannot be combined with {' and '.join(given)}")
