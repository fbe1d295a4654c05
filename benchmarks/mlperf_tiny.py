"""The winner of the search within the budget of MLPerf Tiny's ResNet-8, compared with that network trained by the same recipe.

    keras-resnet search tuning/cifar10_mlperf_tiny.py --out OUT [--data-dir DIR]
    python benchmarks/mlperf_tiny.py OUT [--data-dir DIR] [--json OUT.json]

ResNet-8 is trained with the seeds of the winner; its runs go to OUT/resnet8, and complete ones are not trained again.
Accuracies are those of int8 files on all test images.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from keras_resnet import startup

startup.prepare()

import keras_resnet as kr
from keras_resnet.data import of_run
from keras_resnet.files.benchmark import compare
from keras_resnet.runs.environment import processor
from keras_resnet.runs.run import Run

STUDY = Path(__file__).parents[1] / "tuning" / "cifar10_mlperf_tiny.py"
GAIN = 0.02  # of accuracy
PACKAGES = ("keras", "tensorflow", "ai-edge-litert")


def finals_of(search: Path) -> list[Run]:
    """The winner's runs, one for each seed."""
    chosen = Run.open(search / "winner")
    with (search / "finals.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    runs = [Run.open(search / "finals" / f"{row['trial']}-seed{row['seed']}") for row in rows if not row["reason"]]
    return [run for run in runs if run.spec == chosen.spec]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("search", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    winners = finals_of(options.search)
    data = of_run(winners[0], data_dir=options.data_dir)
    resnet8 = kr.search.load_study(STUDY).budget.latency
    runs = {"winner": winners, "resnet8": []}
    for run in winners:
        seed = run.metrics["seed"]
        place = options.search / "resnet8" / f"seed{seed}"
        runs["resnet8"].append(kr.fit(resnet8, winners[0].recipe, data, place, seed=seed, resume=True, verbose=2))
    with tempfile.TemporaryDirectory() as folder:
        rows, files, images = exported(runs, data, Path(folder))
        _, ratios = compare([files["resnet8"], files["winner"]], data.sample(32, "test"), threads=1)
    networks = {name: summary(found, [row for row in rows if row["network"] == name]) for name, found in runs.items()}
    result = {
        "recipe": asdict(winners[0].recipe),
        "images": images,
        "networks": networks,
        "latency_ratio": ratios["time_ratio"],
        "met": met(networks["winner"], networks["resnet8"], ratios["time_ratio"]),
        "rows": rows,
        "machine": {"processor": processor(), "cpu_count": os.cpu_count(), "platform": platform.platform()}
        | {package: version(package) for package in PACKAGES},
    }
    print(json.dumps({name: result[name] for name in ("latency_ratio", "met")}, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def exported(runs: dict[str, list], data, folder: Path) -> tuple[list[dict], dict[str, Path], int]:
    """A row for the int8 file of each run, the first file of each network, and the number of test images."""
    rows, files = [], {}
    for name, found in runs.items():
        for run in found:
            out = folder / name / str(run.metrics["seed"])
            check = kr.export.tflite(run, "int8", data=data, out=out)
            files.setdefault(name, out / check.file)
            accuracies = {"float": check.keras_accuracy, "int8": check.accuracy}
            rows.append({"network": name, "seed": run.metrics["seed"], **accuracies, "bytes": check.bytes})
            print(rows[-1], flush=True)
    return rows, files, check.images_from["test"]


def summary(found: list, rows: list[dict]) -> dict:
    """A network over its seeds."""
    cost = kr.cost_of(found[0].spec)
    return {
        "int8": statistics.mean(row["int8"] for row in rows),
        "int8_deviation": statistics.stdev(row["int8"] for row in rows),
        "float": statistics.mean(row["float"] for row in rows),
        "bytes": max(row["bytes"] for row in rows),
        "multiply_adds": cost.multiply_adds,
        "parameters": cost.trainable,
        "seconds": statistics.median(run.metrics["train_seconds"] for run in found),
        "spec": asdict(found[0].spec),
    }


def met(winner: dict, baseline: dict, time_ratio: float) -> dict[str, bool]:
    """What was to be shown, and whether it was."""
    return {
        f"at least {100 * GAIN:.0f} points of int8 accuracy more": winner["int8"] >= baseline["int8"] + GAIN,
        "no more multiply-adds": winner["multiply_adds"] <= baseline["multiply_adds"],
        "no more bytes": winner["bytes"] <= baseline["bytes"],
        "no more latency": time_ratio <= 1,
    }


if __name__ == "__main__":
    main()
