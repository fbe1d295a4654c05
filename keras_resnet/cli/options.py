"""The program `app`, to which the commands are added, and the options that several of them share."""

import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_resnet import __version__, fields, startup
from keras_resnet.console import quiet
from keras_resnet.errors import InputError, shown, unknown
from keras_resnet.outside import read_text
from keras_resnet.shipped import by_name

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

SIZE_HELP = "Height and width to resize images to."
AS_THEY_ARE = "no change, if all have the same size of at most 256; else 224"
IMAGES_HELP = "Images: digits, a folder, or a TensorFlow Datasets name."
BEGINNING = 1000  # characters of a file that show whose it is
OF_TEACHERS = ("distill", "temperature", "label_weight", "distill_weight")  # fields of a recipe
COUNT: dict[str, Any] = {"min": 1, "max": 10**6}  # of an option that counts
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the network or of the recipe; may be repeated."),
]
Data = Annotated[str | None, typer.Option(help=f"{IMAGES_HELP} [default: those of the run]")]
DataDir = Annotated[Path | None, typer.Option(help="Where TensorFlow Datasets keeps its files.")]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a finished run, or the name of one in saved_models.", parser=by_name)
]
Model = Annotated[
    Path | None, typer.Option(help="Model file to use instead of model.keras: a path, or a name inside RUN or RUN/export.")
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Open a SavedModel that no manifest.json lists, or that accesses files or Python: it runs with your rights."
    ),
]
Limit = Annotated[
    float | None,
    typer.Option(
        min=1,
        metavar="SECONDS",
        help="Seconds that a model file may take to open, and to answer; large files and many images get more. [default: 120]",
    ),
]


@app.callback(invoke_without_command=True)
def program(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    """Residual networks for Keras 3: train, evaluate, predict, export, search."""
    if version:
        print(f"keras-resnet {__version__}")
        raise typer.Exit


def changes(settings: list[str] | None, *kinds: type) -> dict[type, dict[str, Any]]:
    """`FIELD=VALUE` texts as changes to each of the dataclasses. InputError for a field that none of them has."""
    changes_of: dict[type, dict[str, Any]] = {kind: {} for kind in kinds}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"--set takes FIELD=VALUE, received {shown(setting)}")
        kind = next((kind for kind in kinds if name in fields.names(kind)), None)
        if kind is None:
            raise fields.unknown_field(name, *kinds)
        changes_of[kind][name] = value
    return changes_of


def check_taught(changed: dict[str, Any], *, has_teacher: bool) -> None:
    """InputError for fields of the recipe that mean nothing without a teacher."""
    if not has_teacher and (given := [name for name in OF_TEACHERS if name in changed]):
        raise InputError(f"{' and '.join(given)} can only be set with a teacher: name one with --teacher")


def check_name(kind: str, name: str | None, allowed: Iterable[str]) -> None:
    """InputError for an option whose value is none of those allowed: told before a framework is loaded, which takes seconds."""
    allowed = list(allowed)
    if name is not None and name not in allowed:
        raise unknown(kind, name, allowed)


def load_backend(*, trains: bool = False) -> None:
    """Import the backend, for a training or not, without the lines that its native code prints."""
    if trains:
        startup.prepare_training()
    with quiet():
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # its messages would go to the stream that was silenced
    root = logging.getLogger()
    if logging.lastResort and not root.handlers:  # or a library makes one, and "WARNING:keras_resnet:" is before our lines
        root.addHandler(logging.lastResort)


def check_file(option: str, path: Path, mark: str, what: str, suffix: str = "") -> None:
    """InputError for a file that cannot be written, that has another suffix, or that is there and has not `mark` near its
    beginning, as ours have."""
    if suffix and path.suffix.lower() != suffix:
        raise InputError(f"{option} {str(path)!r}: expected a file that ends with {suffix}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(f"{option} {str(path)!r} cannot be written: name a file in an existing folder")
    is_own = False
    with suppress(InputError, FileNotFoundError):
        is_own = mark in read_text(path)[:BEGINNING]
    if (path.exists() or path.is_symlink()) and not is_own:
        raise InputError(f"{option} {str(path)!r} is there already, and is no {what}: name another file")
