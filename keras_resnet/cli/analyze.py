"""`analyze`: what goes on inside the network of a run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_resnet.analysis.table import ANALYSES
from keras_resnet.cli.options import COUNT, Data, DataDir, Json, RunFolder, app, check_name, load_backend
from keras_resnet.console import show_json, show_table
from keras_resnet.errors import InputError, unknown
from keras_resnet.outside import printable
from keras_resnet.runs.run import Run, check_outside
from keras_resnet.shipped import place_in

SHOWN = 60  # rows of a table in a terminal
PLOTS = (".png", ".svg", ".pdf")
WHAT_HELP = f"Analysis: {', '.join(ANALYSES)}."


@app.command(epilog="Example: keras-resnet analyze runs/digits-resnet8 lesions")
def analyze(
    folder: RunFolder,
    what: Annotated[str, typer.Argument(metavar="WHAT", help=WHAT_HELP)] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            help="A .png, .svg or .pdf file for the plot, or a .csv file. [default: both, in RUN/analysis, or in NAME-analysis for "
            "a network of saved_models]"
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, validation, test or all. [default: as suits WHAT]")] = None,
    images: Annotated[int | None, typer.Option(**COUNT, help="How many images, drawn at random. [default: as suits WHAT]")] = None,
    other: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Another run, or the name of one in saved_models: drawn beside RUN or compared with it."),
    ] = None,
    data: Data = None,
    data_dir: DataDir = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file at --out.")] = False,
    as_json: Json = False,
) -> None:
    """Analyse the network of a run: signals, gradients, lesions, loss landscape, heatmaps, features.

    Prints a table, and writes the table and a plot to RUN/analysis.
    """
    if not what:
        raise InputError(f"name an analysis: {', '.join(ANALYSES)}")
    if what not in ANALYSES:
        raise unknown("analysis", what, ANALYSES)
    from keras_resnet.data import SPLITS

    check_name("split", split, (*SPLITS, "all"))
    run = Run.open(folder)
    others = Run.open(other) if other else None
    files = [place_in(folder, "analysis") / f"{what}{suffix}" for suffix in (".png", ".csv")] if out is None else [out]
    check_files(files, overwrite or out is None, run.data.get("source") if data is None else data)
    load_backend()
    from keras_resnet.analysis.of_run import analyze as carry_out
    from keras_resnet.analysis.of_run import save

    found = carry_out(run, what, images=images, split=split, data=data, data_dir=data_dir, other=others)
    for file in files:
        save(found, file)
    if as_json:
        show_json(found.rows)
        return
    print(f"{ANALYSES[what].shows} ({ANALYSES[what].source})\n")
    show_table(found.rows[:SHOWN])
    if len(found.rows) > SHOWN:
        print(f"... and {len(found.rows) - SHOWN:,} more rows; the .csv file has all")
    print("\n" + "\n".join(f"written: {printable(file)}" for file in files))


def check_files(files: list[Path], may_replace: bool, source: Any) -> None:
    """InputError for a file that cannot be written, must not be replaced, or lies among the images."""
    for file in files:
        if file.suffix.lower() not in (*PLOTS, ".csv"):
            raise InputError(f"--out {str(file)!r}: expected a file that ends with {', '.join(PLOTS)} or .csv")
        if not may_replace and not file.absolute().parent.is_dir():
            parent = str(file.parent)
            problem = f"{parent!r} is not a folder" if file.parent.exists() else f"there is no folder {parent!r}"
            raise InputError(f"--out {str(file)!r} cannot be written: {problem}")
        if file.is_dir() or (file.exists() and not may_replace):
            raise InputError(f"--out {str(file)!r} exists; choose another name, or replace it with --overwrite")
        check_outside(file, source)
