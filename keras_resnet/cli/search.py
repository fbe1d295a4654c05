"""`search`: run a study, on one machine or many."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_resnet.cli.options import COUNT, DataDir, Json, app, check_name, load_backend
from keras_resnet.console import show_json, show_table
from keras_resnet.outside import printable

if TYPE_CHECKING:
    from keras_resnet.search import Results


@app.command(epilog="Example: keras-resnet search tuning/digits_depth_width.py --trials 8")
def search(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="A Python file with a line `study = Study(...)`.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write. [default: STUDY without .py]")] = None,
    data_dir: DataDir = None,
    trials: Annotated[int | None, typer.Option(**COUNT, help="Number of trials. [default: the study's]")] = None,
    measure_latency: Annotated[
        bool,
        typer.Option("--measure-latency", help="Measure the latency of whole networks, instead of adding up that of operations."),
    ] = False,
    runtime: Annotated[
        str | None, typer.Option(help="LiteRT's runtime that measures latencies: interpreter or compiled. [default: that of STUDY]")
    ] = None,
    chief: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Run as the chief at this address: only the workers train.")
    ] = None,
    worker: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Run as a worker of the chief at this address.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of this worker. [default: host name and process id]")] = None,
    lease: Annotated[float, typer.Option(min=5, help="Seconds of silence after which another worker resumes a trial.")] = 60,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="For Optuna: sqlite:///FILE, postgresql://..., mysql://... or journal:FILE. [default: a SQLite file in OUT]",
        ),
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write OUT/tensorboard/ too, for the HParams page.")] = False,
    as_json: Json = False,
) -> None:
    """Search for the best network of a study. The same command resumes an interrupted search."""
    from keras_resnet.files.runtimes import LITERT

    check_name("runtime", runtime, LITERT)
    load_backend(trains=True)
    import tensorflow as tf

    from keras_resnet.search import run

    tf.config.set_visible_devices([], "GPU")  # they are for the processes of the trials; this one measures latencies on the CPU
    results = run(
        *(study, out),
        data_dir=data_dir,
        trials=trials,
        measure_latency=measure_latency,
        runtime=runtime,
        chief=chief,
        worker=worker,
        name=name,
        lease=lease,
        storage=storage,
        tensorboard=tensorboard,
        tell=lambda line: print(printable(line), file=sys.stderr, flush=True),
    )
    if not worker:
        show_results(results, as_json)


def show_results(results: "Results", as_json: bool) -> None:
    """Every trial, the finalists, the Pareto front and the winner."""
    if as_json:
        tables = {"trials": results.rows, "front": results.front, "finals": results.final_rows}
        show_json({**tables, "winner": results.chosen, "refused": results.refused})
        return
    print()
    show_table(results.table)
    print(f"\nnetworks refused before training: {printable(results.refusals)}")
    if len(results.finals) > 1:
        print("\nfinalists, trained in full:")
        show_table(results.final_rows)
    print("Pareto front:", ", ".join(row["trial"] for row in results.front))
    row = results.chosen
    values = ", ".join(f"{name}={row[name]}" for name in results.hyperparameters if name in row)
    print(
        f"best: trial {row['trial']}, {printable(values)}: {row['parameters']:,} parameters, {row['multiply_adds']:,} multiply-adds"
    )
    print(f"run: {printable(results.out / 'winner')}\npage: {printable(results.out / 'results.html')}")
