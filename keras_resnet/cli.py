"""The command line: each command is a few lines that call one function of the package, and loads it only then."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_resnet import __version__, fields, recipes, runs
from keras_resnet.console import quiet, show_json, show_table
from keras_resnet.cost import cost_of
from keras_resnet.errors import InputError, unknown
from keras_resnet.recipe import Recipe
from keras_resnet.recipes import PROTOCOLS
from keras_resnet.runs import Run
from keras_resnet.spec import ResNetSpec
from keras_resnet.variants import VARIANTS, resolve

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

SIZE_HELP = "Height and width to bring images to. [default: theirs, if all have one of at most 256; else 224]"
OPEN_SIZE = 224  # pixels, where `show` is asked for a network of any size
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the network or the recipe; may be repeated."),
]
Data = Annotated[
    str | None, typer.Option(help="Images: digits, a folder, or a TensorFlow Datasets name. [default: those of the run]")
]
DataDir = Annotated[Path | None, typer.Option(help="Where TensorFlow Datasets keeps its files.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
Model = Annotated[
    Path | None, typer.Option(help="A file to use instead of model.keras: a path, also one inside RUN or RUN/export.")
]


@app.callback(invoke_without_command=True)
def program(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    """Residual networks for Keras 3: train, evaluate, predict, export."""
    if version:
        print(f"keras-resnet {__version__}")
        raise typer.Exit


@app.command("list", epilog="Example: keras-resnet list --json")
def list_(
    show_recipes: Annotated[bool, typer.Option("--recipes", help="List the recipes instead of the networks.")] = False,
    as_json: Json = False,
) -> None:
    """List the named networks, or the recipes, with their sources."""
    if show_recipes:
        rows = [
            {"recipe": name, **asdict(row.recipe), "source": row.source, "evidence": row.evidence}
            for name, row in PROTOCOLS.items()
        ]
        columns = ("recipe", "epochs", "batch_size", "learning_rate", "schedule", "evidence")
        show_table(rows if as_json else [{column: row[column] for column in columns} for row in rows], as_json=as_json)
        return
    rows = [
        {
            "network": name,
            "layers": row.spec.layers,
            "input": "x".join(map(str, row.spec.input_shape)),
            "parameters": counted.trainable,
            "multiply_adds": counted.multiply_adds,
            **(
                {"published": {"parameters": row.parameters or None, "multiply_adds": row.multiply_adds or None}} if as_json else {}
            ),
            "source": row.source,
        }
        for name, row in VARIANTS.items()
        for counted in [cost_of(row.spec)]
    ]
    show_table(rows, as_json=as_json)


@app.command(epilog="Example: keras-resnet show resnet50 --set classes=10 --set input_shape=64,64,3 --train-memory")
def show(
    network: Annotated[str, typer.Argument(help="Name of a network.")],
    set_: Set = None,
    train_memory: Annotated[bool, typer.Option("--train-memory", help="Memory of training, and what remat=True saves.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Images in a batch, for --train-memory.")] = 32,
    as_json: Json = False,
) -> None:
    """Show a network: its fields, and the output, parameters, multiply-adds and receptive field of each stage."""
    spec = resolve(network, **changes(set_, ResNetSpec)[ResNetSpec])
    sizes = tuple(size or OPEN_SIZE for size in spec.input_shape)
    counted = cost_of(spec, input_shape=sizes)
    memory = counted.training_rows(batch) if train_memory else []
    if as_json:
        totals = {name: value for name, value in asdict(counted).items() if name != "layers"}
        shown = {"network": network, "spec": asdict(spec), "counted_for": sizes, "stages": counted.parts, "cost": totals}
        show_json({**shown, "train_memory": memory} if memory else shown)
        return
    usual = asdict(ResNetSpec())
    chosen = [{"field": name, "value": fields.text(value)} for name, value in asdict(spec).items() if value != usual[name]]
    show_table([*chosen, {"field": "all others", "value": "as in ResNetSpec(), see `show --json`"}])
    print()
    if sizes != spec.input_shape:
        print(f"input_shape has open sizes: outputs, multiply-adds and memory are those of {sizes}\n")
    show_table(counted.parts)
    print()
    memories = {
        "activations alive at a time, inference, one image": counted.inference_memory,
        "activations kept, training, one image": counted.training_memory,
        "float32 .tflite file (estimate)": counted.tflite_float32,
        "int8 .tflite file (estimate)": counted.tflite_int8,
    }
    show_table([{"size": label, "kB": round(size / 1e3)} for label, size in memories.items()])
    if memory:
        print()
        show_table(memory)


@app.command(epilog="Example: keras-resnet train resnet20 --data cifar10 --set epochs=5 --out saved_models/cifar10-resnet20")
def train(
    network: Annotated[str, typer.Argument(help="Name of a network, see `keras-resnet list`.")],
    data: Annotated[str, typer.Option(help="Images: digits, a folder, or a TensorFlow Datasets name.")] = "digits",
    data_dir: DataDir = None,
    image_size: Annotated[int | None, typer.Option(help=SIZE_HELP)] = None,
    recipe: Annotated[str | None, typer.Option(help="Name of a recipe. [default: digits for digits, else cifar-30]")] = None,
    set_: Set = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write. [default: saved_models/DATA-NETWORK]")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run at OUT.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where this training was interrupted, or begin it.")] = False,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps from checkpoint to checkpoint.")] = 1000,
    export: Annotated[str | None, typer.Option(help="Then export: all, saved_model, tflite or onnx.")] = None,
    as_json: Json = False,
) -> None:
    """Train a network on images and leave a run folder."""
    changed = changes(set_, ResNetSpec, Recipe)
    if taken := [name for name in ("input_shape", "classes") if name in changed[ResNetSpec]]:
        raise InputError(f"{' and '.join(taken)} cannot be set: the images decide (--image-size changes their size)")
    spec = resolve(network, **changed[ResNetSpec])
    chosen = recipes.resolve(recipe or recipes.default_for(data), **changed[Recipe])
    out = out or Path("saved_models") / f"{Path(data).name}-{network}"
    if not (resume and runs.is_run(out)):
        out = runs.check_free(out, overwrite)
    load_backend()
    from keras_resnet.data import load
    from keras_resnet.export import export as export_run
    from keras_resnet.export import select
    from keras_resnet.train import fit

    targets = select(export) if export else []
    images = load(data, data_dir=data_dir, image_size=image_size)
    verbose = 0 if as_json else 1 if sys.stdout.isatty() else 2
    run = fit(
        spec,
        chosen,
        images,
        out,
        seed=seed,
        overwrite=overwrite,
        resume=resume,
        checkpoint_every=checkpoint_every,
        verbose=verbose,
    )
    checks = export_run(run, targets, data=images, on_check=progress) if targets else []
    show_run(run, checks, as_json)
    fail_unless_passed(checks)


@app.command(epilog="Example: keras-resnet evaluate saved_models/digits-resnet8 --model model_int8.tflite")
def evaluate(
    run: RunFolder,
    model: Model = None,
    split: Annotated[str | None, typer.Option(help="train, validation, test or all. [default: test; all of other DATA]")] = None,
    data: Data = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Measure the accuracy of a run, or of one of its exported files."""
    opened = Run.open(run)
    path = model_file(opened, model)
    load_backend()
    from keras_resnet.data import of_run
    from keras_resnet.export import accuracy, open_artefact

    images = of_run(opened, data, data_dir)
    split = split or ("all" if data else "test")
    count = len(images.examples(split))
    with quiet():
        score = accuracy(open_artefact(path), images, split)
    show_table([{"model": str(path), "split": split, "images": count, "accuracy": score}], as_json=as_json)


@app.command(epilog="Example: keras-resnet predict saved_models/digits-resnet8 seven.png --model model_int8.tflite")
def predict(
    run: RunFolder,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    model: Model = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to show for each image.")] = 3,
    as_json: Json = False,
) -> None:
    """Name the most likely classes of image files."""
    opened = Run.open(run)
    path = model_file(opened, model)
    load_backend()
    from keras_resnet.data import read_image
    from keras_resnet.export import open_artefact, probabilities

    pixels = [read_image(image, opened.spec.require_sizes("what a picture is brought to")) for image in images]
    with quiet():
        runner = open_artefact(path)
        shares = [probabilities(runner(image[None]), opened.spec)[0] for image in pixels]
    rows = [
        {"image": str(image), "class": opened.class_names[index], "probability": float(share[index])}
        for image, share in zip(images, shares, strict=True)
        for index in share.argsort()[::-1][:top]
    ]
    show_table(rows, as_json=as_json)


@app.command(epilog="Example: keras-resnet export saved_models/digits-resnet8 --format tflite --quantize int8")
def export(
    run: RunFolder,
    format: Annotated[str, typer.Option(help="all, saved_model, tflite or onnx.")] = "all",
    quantize: Annotated[str | None, typer.Option(help="For tflite: float16, dynamic or int8.")] = None,
    min_agreement: Annotated[float | None, typer.Option(min=0, max=1, help="Lowest top-1 agreement to accept.")] = None,
    data: Data = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Export a run, and prove each file against the Keras model on the test images."""
    opened = Run.open(run)
    load_backend()
    from keras_resnet.data import of_run
    from keras_resnet.export import export as export_run
    from keras_resnet.export import select

    targets = select(format, quantize)
    images = of_run(opened, data, data_dir)
    checks = export_run(opened, targets, data=images, min_agreement=min_agreement, on_check=progress)
    if as_json:
        show_json([asdict(check) for check in checks])
    else:
        show_checks(checks)
    fail_unless_passed(checks)


def changes(settings: list[str] | None, *kinds: type) -> dict[type, dict[str, Any]]:
    """`FIELD=VALUE` texts as changes to each of the dataclasses. InputError for a field that none of them has."""
    found: dict[type, dict[str, Any]] = {kind: {} for kind in kinds}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"--set takes FIELD=VALUE, received {setting!r}")
        kind = next((kind for kind in kinds if name in fields.names(kind)), None)
        if kind is None:
            raise unknown("field", name, [field for kind in kinds for field in fields.names(kind)])
        found[kind][name] = value
    return found


def model_file(run: Run, model: Path | None) -> Path:
    """The file that `--model` means: a path, or a name in the run's `export/`; model.keras if none is given."""
    if model is None:
        return run.model_path
    for path in (model, run.export_path / model, run.path / model):
        if path.exists():
            return path
    exported = sorted(path.name for path in run.export_path.glob("*model*"))
    raise unknown("model file", str(model), exported or ["none is exported yet"])


def load_backend() -> None:
    """Import the backend without the lines that its native code prints."""
    with quiet():
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()


def show_run(run: Run, checks: list[Any], as_json: bool) -> None:
    """What a training reached, and its exports."""
    if as_json:
        show_json({"run": str(run.path), **run.metrics, "exports": [asdict(check) for check in checks]})
        return
    print()
    show_table([{"split": split, "images": run.metrics["images"][split], **run.metrics[split]} for split in ("validation", "test")])
    print(f"\n{run.metrics['images_per_second']:,} images per second in training, {run.metrics['train_seconds']:g} s in all")
    print(f"run: {run.path}")
    show_checks(checks)


def progress(check: Any) -> None:
    """One line on standard error for each exported file as it is done."""
    print(f"{'checked' if check.passed else 'REFUSED'} {check.file}", file=sys.stderr)


def show_checks(checks: list[Any]) -> None:
    """The table of an export."""
    if checks:
        print()
    columns = ("file", "bytes", "max_difference", "top1_agreement", "accuracy", "keras_accuracy", "passed")
    show_table([{column: getattr(check, column) for column in columns} for check in checks])


def fail_unless_passed(checks: list[Any]) -> None:
    """Exit with 1 where an exported file is outside its tolerance, saying by how much."""
    failed = [check for check in checks if not check.passed]
    for check in failed:
        print(f"keras-resnet: {check.file} is not put in place: {check.problem}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)
