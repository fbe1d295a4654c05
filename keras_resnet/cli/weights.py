"""`convert`: weights of another library become a run."""

from pathlib import Path
from typing import Annotated

import typer

from keras_resnet.cli.options import Json, Set, app, changes, check_name, load_backend
from keras_resnet.console import show_json, show_table
from keras_resnet.errors import InputError
from keras_resnet.fields import text
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import name_of, resolve
from keras_resnet.outside import read_text
from keras_resnet.runs.run import check_free

FILE_HELP = (
    "Weights of a ResNet: .safetensors, .pth, .pt, .bin, .h5, .weights.h5, .keras or .npz. Nothing in the file is run. Or a "
    "name: tiny-imagenet, imagenet with --network, or owner/name of the Hugging Face Hub; see `keras-resnet list --weights`."
)
NETWORK_HELP = "Name of the network, if the file does not show all of it. [default: the library's usual one]"


@app.command(epilog="Example: keras-resnet convert resnet50.pth --out runs/resnet50 --labels imagenet.txt")
def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=FILE_HELP)],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    network: Annotated[str | None, typer.Option(help=NETWORK_HELP)] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="Library of the file: pytorch (torchvision, timm), timm_v2, transformers, keras_applications, keras_hub, bit or "
            "keras_resnet. "
            "[default: as found]"
        ),
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="Prefix of the names to read, if the file has several networks.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Text file with a class name in each line. [default: those beside FILE, or numbers]")
    ] = None,
    set_: Set = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run at OUT.")] = False,
    as_json: Json = False,
) -> None:
    """Read the weights of another library, and leave a run folder.

    The commands predict, evaluate, export and train --init take this run.
    """
    fields = changes(set_, ResNetSpec)[ResNetSpec]
    if network:
        resolve(network)  # a wrong name is told before anything is loaded
    check_free(out, overwrite)
    names = lines_of(labels) if labels else None
    from keras_resnet.weights.reading import LAYOUTS

    check_name("layout of weights", layout, LAYOUTS)
    load_backend()
    from keras_resnet.weights import convert as convert_file

    run = convert_file(file, out, layout=layout, spec=network, prefix=prefix, class_names=names, overwrite=overwrite, **fields)
    if as_json:
        show_json({"run": str(run.path), **run.metrics})
        return
    shown = ("depths", "widths", "block", "stride_on", "shortcut", "stem", "normalize", "norm_epsilon", "input_shape", "classes")
    rows = [{"field": "network", "value": name_of(run.spec)}, {"field": "layout", "value": run.metrics["source"]["layout"]}]
    show_table([*rows, *({"field": name, "value": text(getattr(run.spec, name))} for name in shown)])
    print(f"run: {run.path}")


def lines_of(path: Path) -> list[str]:
    """The lines of a text file. InputError if it cannot be read."""
    try:
        return read_text(path).removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
        raise InputError(f"--labels {str(path)!r} cannot be read: {error}") from None
