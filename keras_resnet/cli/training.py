"""`train`: train a network on images."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_resnet import recipes
from keras_resnet.cli.budget import named_teachers, recipe_within, train_within
from keras_resnet.cli.options import (
    AS_THEY_ARE,
    COUNT,
    IMAGES_HELP,
    SIZE_HELP,
    DataDir,
    Json,
    Set,
    app,
    changes,
    check_taught,
    load_backend,
)
from keras_resnet.cli.output import fail_unless_accepted, progress, show_run
from keras_resnet.errors import InputError
from keras_resnet.networks import choice
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import resolve
from keras_resnet.recipes.automatic import AUTO
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.runs.run import Run, check_free, check_outside, is_run
from keras_resnet.training.first_weights import FirstWeights

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
    out: Annotated[Path | None, typer.Option(help="Folder to write. [default: runs/DATA-NETWORK; beside RUN with --init]")] = None,
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
    fields: dict[str, Any] = {"precision": precision, "jit": jit, "epochs": epochs, "batch_size": batch_size}
    fields |= {"class_weight": class_weight, "quantization_aware": quantization_aware or None}
    if budget is not None:
        unfit = {"NETWORK": network, "--init": init, "--recipe": recipe, "--quantization-aware": quantization_aware}
        unfit |= {"--tensorboard": tensorboard, "--wandb": wandb, "--mlflow": mlflow}
        if given := [name for name, value in unfit.items() if value]:
            raise InputError(f"--budget cannot be combined with {' and '.join(given)}")
        source: dict[str, Any] = {"data": data or "digits", "data_dir": data_dir, "image_size": image_size}
        settings = {"strategy": strategy, "seed": seed, "overwrite": overwrite, "resume": resume}
        settings |= {"checkpoint_every": checkpoint_every, "patience": patience, "runtime": runtime}
        recipe_changes = recipe_within(set_, fields)
        train_within(budget, source, out, teacher, recipe_changes, settings, export=export, as_json=as_json)
        return
    if runtime:
        raise InputError("--runtime is for --budget with a time, such as 2ms")
    first = FirstWeights.of(init, network) if init else None
    start = first.run if first else None
    if data is None and first and not start:
        raise InputError(f"--init {init} has no images of its own: give some with --data")
    if data is None and not first:
        data = "digits"
    basis = basis_of(recipe, start, is_on_own_images=data is None, quantization_aware=quantization_aware)
    teachers = named_teachers(teacher)
    to_train: str | ResNetSpec = first.to_train(network) if first else network or ResNetSpec()
    planned = plan(to_train, basis or Recipe(), set_, **fields)  # mistakes are told now
    check_taught(changes(set_, ResNetSpec, Recipe)[Recipe], has_teacher=bool(teachers))
    is_open = not network and not first and not changes(set_, ResNetSpec, Recipe)[ResNetSpec]
    if planned[1].quantization_aware and not first:
        raise InputError("quantization_aware=true needs a trained network: start from a run, file or name with init (--init)")
    if out is None and (network or first):
        out = default_out(network or str(init), data, start, quantization_aware)
    if out:
        check_outside(out, data if data is not None or start is None else start.data.get("source"))
    load_backend()
    from keras_resnet.training import distribute
    from keras_resnet.training.trainable import check_memory

    devices = distribute.choose(strategy)
    if image_size is not None and (network or first):  # mistakes are told now, and not when all images were resized
        check_memory(choice.at_size(planned[0], (image_size, image_size)), replace(planned[1], batch_size=1), devices)
    if out and devices.chief and not (resume and is_run(out)):
        out = check_free(out, overwrite)
    from keras_resnet.data import arguments_for, load, of_run
    from keras_resnet.export import export as export_run
    from keras_resnet.export import select
    from keras_resnet.training.choosing import choose
    from keras_resnet.training.fit import fit
    from keras_resnet.training.trackers import trackers
    from keras_resnet.training.trainable import recipe_for

    picked = None
    targets = select(export) if export and devices.chief else []
    if start and data is None:
        if image_size is not None:
            raise InputError("--image-size needs --data: the images of the run have their size already")
        images = of_run(start, data_dir=data_dir)
    elif network or first:
        taken = arguments_for(first.spec, data) if first else {}
        images = load(data, data_dir=data_dir, **taken | ({} if image_size is None else {"image_size": image_size}))
    else:
        images, picked = choose(data, data_dir=data_dir, image_size=image_size, pretrained=is_open and basis is None)
        to_train, first = picked.network, picked.init
    out = out or default_out(picked.name if picked else str(init), data, start, quantization_aware)
    chosen = basis or recipe_for(None, images, pretrained=first is not None)
    spec, training_recipe = plan(to_train, chosen, set_, **fields)
    if picked and not as_json:
        print("\n".join(picked.lines(images, training_recipe)), flush=True)
    names = [name for name, is_on in {"tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow}.items() if is_on]
    callbacks = trackers(names, out=out, recipe=training_recipe, data=images, seed=seed) if devices.chief else []
    verbose = 0 if as_json else 1 if sys.stdout.isatty() else 2
    run = fit(
        *(spec, training_recipe, images, out),
        init=first,
        teacher=teachers,
        seed=seed,
        strategy=devices,
        overwrite=overwrite,
        resume=resume,
        checkpoint_every=checkpoint_every,
        patience=patience,
        callbacks=callbacks,
        verbose=verbose,
    )
    if not devices.chief:
        return
    checks = export_run(run, targets=targets, data=images, on_check=progress) if targets else []
    show_run(run, checks, as_json)
    fail_unless_accepted(checks)


def basis_of(recipe: str | None, start: Run | None, *, is_on_own_images: bool, quantization_aware: bool) -> str | Recipe | None:
    """The recipe that options change: the one that was named or that of --init; None for the one that suits the images, also where
    --init has none."""
    if recipe or not start or not start.was_trained:
        return None if recipe == AUTO else recipe
    if is_on_own_images or quantization_aware:
        return recipes.fine_tuning(start.recipe, quantization_aware=quantization_aware)
    return start.recipe


def default_out(network: str, data: str | None, start: Run | None, quantization_aware: bool) -> Path:
    """The run folder without --out, for a network of that name or path: beside the run of --init, if there is one."""
    if start is None:
        return Path("runs") / f"{Path(str(data)).name}-{Path(network).stem}"
    path = start.path.resolve()
    return path.with_name(f"{path.name}-{'quantization-aware' if quantization_aware else 'fine-tuned'}")


def plan(network: str | ResNetSpec, recipe: str | Recipe, settings: list[str] | None, **options: Any) -> tuple[ResNetSpec, Recipe]:
    """The network and the recipe that the options ask for; `options` are fields of the recipe, None where not given."""
    changed = changes(settings, ResNetSpec, Recipe)
    if names := [name for name in ("input_shape", "classes") if name in changed[ResNetSpec]]:
        raise InputError(f"{' and '.join(names)} cannot be set: the images decide (--image-size changes their size)")
    changed[Recipe] |= {name: value for name, value in options.items() if value is not None}
    return resolve(network, **changed[ResNetSpec]), recipes.resolve(recipe, **changed[Recipe])
