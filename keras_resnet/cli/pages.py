"""`draw`: a network as a drawing. It loads no framework."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_resnet.atomic import replace_text
from keras_resnet.cli.options import app, check_file
from keras_resnet.errors import InputError
from keras_resnet.fields import from_json
from keras_resnet.networks.drawing import draw as drawing_of
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import SPECS, resolve
from keras_resnet.outside import read_text

WRITTEN = "spec.json"  # of a run


@app.command(epilog="Example: keras-resnet draw resnet50 --out resnet50.svg")
def draw(
    subject: Annotated[str, typer.Argument(metavar="NETWORK", help="Name of a network, a spec.json, or the folder of a run.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="File to write. [default: standard output]")] = None,
) -> None:
    """Draw a network: its stages with sizes and cost, and one unit enlarged. The drawing is SVG."""
    spec, title = described(subject)
    if out:
        check_file("--out", out, "<svg", "drawing")
        replace_text(out, drawing_of(spec, title=title))
    else:
        sys.stdout.write(drawing_of(spec, title=title))


def described(subject: str) -> tuple[ResNetSpec, str | None]:
    """The network of that name, or in a file or folder of that path, and then the name of that."""
    path = Path(subject)
    file = path / WRITTEN if path.is_dir() else path
    if subject in SPECS or not file.is_file():
        return resolve(subject), None
    try:
        spec = from_json(ResNetSpec, read_text(file))
    except (TypeError, ValueError) as error:
        raise InputError(f"{str(file)!r} is no spec of a network: {error}") from None
    return spec, path.resolve().name
