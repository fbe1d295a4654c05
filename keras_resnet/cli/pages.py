"""`draw`: a network as a drawing, without loading Keras; `report`: runs as a page."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_resnet.atomic import replace_text
from keras_resnet.cli.options import Data, DataDir, app, check_file, load_backend
from keras_resnet.errors import InputError
from keras_resnet.fields import from_json
from keras_resnet.networks.drawing import draw as drawing_of
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import SPECS, resolve
from keras_resnet.outside import printable, read_text
from keras_resnet.report.facts import source_of
from keras_resnet.runs.run import Run, check_outside
from keras_resnet.shipped import by_name, place_in

WRITTEN = "spec.json"  # of a run
DRAWING, PAGE = 'class="resnet"', 'content="keras-resnet"'  # what only our own files have near their beginning


@app.command(epilog="Example: keras-resnet draw resnet50 --out resnet50.svg")
def draw(
    subject: Annotated[str, typer.Argument(metavar="NETWORK", help="Name of a network, a spec.json, or the folder of a run.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="File to write. [default: standard output]")] = None,
) -> None:
    """Draw a network as SVG: its stages with sizes and cost, and two units enlarged."""
    spec, title = described(subject)
    if out:
        check_file("--out", out, DRAWING, "drawing of a network", ".svg")
        replace_text(out, drawing_of(spec, title=title))
    else:
        sys.stdout.write(drawing_of(spec, title=title))


def described(subject: str) -> tuple[ResNetSpec, str | None]:
    """The network of that name, without a title; or that of a spec.json or run folder, with its name as the title."""
    path = Path(subject)
    file = path / WRITTEN if path.is_dir() else path
    if subject in SPECS or not file.is_file():
        return resolve(subject), None
    try:
        spec = from_json(ResNetSpec, read_text(file))
    except (TypeError, ValueError) as error:
        raise InputError(f"{str(file)!r} is not the spec of a network: {error}") from None
    return spec, path.resolve().name


@app.command(epilog="Example: keras-resnet report runs/digits-resnet8")
def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folder of a finished run; several are compared.", parser=by_name)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="File to write. [default: report.html in RUN, or in the current folder for several runs; "
            "NAME-report.html for a network of saved_models]",
        ),
    ] = None,
    data: Data = None,
    data_dir: DataDir = None,
) -> None:
    """Write a page about a run, or about several side by side, as one self-contained HTML file.

    For calibration and mistakes the network of a single run is tested again, on its test images or those of --data.
    """
    runs = [Run.open(folder) for folder in folders]
    out = out or (place_in(runs[0].path, "report.html") if len(runs) == 1 else Path("report.html"))
    check_file("--out", out, PAGE, "page about runs", ".html")
    if len(runs) > 1:
        if data or data_dir:
            raise InputError(
                "--data and --data-dir are for the page of one run: several runs are compared by the results in their folders"
            )
        from keras_resnet.report.comparison import comparison_page

        replace_text(out, comparison_page(runs))
    else:
        check_outside(out, source_of(runs[0]) if data is None else data)
        load_backend()
        from keras_resnet.report.run_page import run_page

        replace_text(out, run_page(runs[0], data, data_dir))
    print(f"page: {printable(out)}")
