"""`study`: reproduce an experiment of a paper."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from keras_resnet.cli.options import DataDir, Json, app, check_name, load_backend
from keras_resnet.console import show_json, show_table
from keras_resnet.outside import printable


@app.command(epilog="Example: keras-resnet study degradation --scale small --data-dir ~/tensorflow_datasets")
def study(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="degradation, shortcuts, orders, options, normalisation or stochastic-depth.", show_default=False
        ),
    ],
    scale: Annotated[
        str, typer.Option(help="smoke: digits, a minute. small: CIFAR-10, hours. paper: the paper's schedule, days.")
    ] = "smoke",
    out: Annotated[Path | None, typer.Option(help="Folder to write. [default: studies/NAME-SCALE]")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Reproduce an experiment of a paper, and test its claims. The same command resumes an interrupted experiment.

    For searches of hyperparameters see `keras-resnet search`.
    """
    from keras_resnet.reproductions.named import find
    from keras_resnet.reproductions.scales import SCALES

    find(name)
    check_name("scale", scale, SCALES)
    load_backend(trains=True)
    from keras_resnet.reproductions import reproduce
    from keras_resnet.reproductions.results import verdict_row
    from keras_resnet.reproductions.run import PAGE, default_out

    results = reproduce(name, scale, out, data_dir=data_dir, tell=lambda line: print(printable(line), file=sys.stderr, flush=True))
    if as_json:
        show_json({"networks": results.table, "verdicts": [asdict(verdict) for verdict in results.verdicts], "rows": results.rows})
        return
    show_table(results.table)
    print()
    show_table([verdict_row(verdict) for verdict in results.verdicts])
    print(f"page: {printable((out or default_out(name, scale)) / PAGE)}")
