"""`train --budget` beside the best of 20 random trials within the same budget.

    python benchmarks/dial.py WORK_DIR digits|cifar10|tiny_imagenet [--data-dir DIR] [--budgets ...] [--seeds N]

The trials are those of `keras-resnet search` with the engine "random": one to four units in each of three stages, widths and their
growth, basic and bottleneck blocks, shortcut, activation order, squeeze, learning rate and decay. Each is trained by the automatic
recipe of the images. The one with the best validation accuracy is trained again with other seeds. The dial trains a teacher and the
network with each seed. Accuracies are of the test images, which neither choice has used. The JSON has the multiply-adds of all
trials, and of the dial's first network and teacher, so that their cost can be compared. Complete runs are not trained again.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import keras_resnet as kr
from keras_resnet.confidence import are_told_apart, interval
from keras_resnet.networks.cost import cost_of
from keras_resnet.runs.environment import environment
from keras_resnet.runs.run import Run, is_run
from keras_resnet.search import Budget, Study, dial
from keras_resnet.search.budget import budget_of
from keras_resnet.search.limit import OF_A_FILE

BUDGETS = {
    "digits": ("25kB", "40kB", "200k"),
    "cifar10": ("50kB", "100kB", "5M"),
    "tiny_imagenet": ("100kB", "250kB", "10M"),
}
TRIALS = 20
WIDTHS = [3, 4, 6, 8, 12, 16, 20, 24, 32, 48]  # of the first stage
PATH = Path(__file__).with_suffix(".json")


def effort(runs: list[Run]) -> int:
    """Multiply-adds of the training steps of all runs: three passes through each network, and one through its teachers."""
    total = 0
    for run in runs:
        passes = run.metrics["images"]["train"] * run.metrics["epochs"]
        total += 3 * passes * cost_of(run.spec).multiply_adds
        for teacher in run.metrics.get("teachers", []):
            total += passes * cost_of(Run.open(teacher["name"]).spec).multiply_adds
    return total


def measured(runs: list[Run], cost: list[Run]) -> dict[str, Any]:
    """The accuracy of the runs of all seeds, and what was trained for them."""
    accuracies = [run.metrics["test"]["accuracy"] for run in runs]
    mean, images = float(np.mean(accuracies)), runs[0].metrics["images"]["test"]
    amounts = cost_of(runs[0].spec)
    return {
        "test": [round(accuracy, 4) for accuracy in accuracies],
        "mean": round(mean, 4),
        "interval": interval(mean, images),
        "depths": runs[0].spec.depths,
        "widths": runs[0].spec.widths,
        "multiply_adds": amounts.multiply_adds,
        "tflite_int8": amounts.tflite_int8,
        "training_multiply_adds": effort(cost),
        "seconds": round(sum(run.metrics["train_seconds"] for run in cost)),
    }


def space(hp: Any) -> tuple[kr.ResNetSpec, dict[str, Any]]:
    """What a user would let a search choose from."""
    width, growth = hp.Choice("width", WIDTHS), hp.Choice("growth", [1.0, 1.5, 2.0])
    spec = replace(
        kr.SPECS["resnet8"],
        depths=tuple(hp.Int(f"depth{stage}", 1, 4) for stage in (1, 2, 3)),
        widths=tuple(max(1, round(width * growth**stage)) for stage in range(3)),
        stem_width=width,
        block=hp.Choice("block", ["basic", "bottleneck"]),
        shortcut=hp.Choice("shortcut", ["projection", "avg_projection"]),
        activation_order=hp.Choice("activation_order", ["original", "full_preactivation"]),
        squeeze=hp.Choice("squeeze", [0, 4]) or None,
    )
    rates = {"learning_rate": hp.Float("learning_rate", 0.02, 0.5, sampling="log")}
    return spec, rates | {"weight_decay": hp.Float("weight_decay", 5e-5, 2e-3, sampling="log")}


def of_trials(budget: str, names: list[str]) -> Budget:
    """The same budget for the trials: their bytes are without names of classes, metadata and rounding, which those of the dial are
    with."""
    limit, (share, more) = budget_of(budget), OF_A_FILE
    return (
        limit if limit.tflite_int8 is None else Budget(tflite_int8=int((limit.tflite_int8 - more - dial.bytes_of(names)) / share))
    )


def compared(data: Any, source: str, data_dir: str | None, budget: str, seeds: int, work: Path) -> dict[str, Any]:
    """Both, for one budget."""
    kind = {"engine": "random", "trials": TRIALS, "finalists": 1, "seeds": seeds}
    study = Study(space=space, budget=of_trials(budget, data.class_names), data=source, data_dir=data_dir, **kind)
    out = work / f"search-{budget}"
    kr.search.run(study, out, tell=lambda line: print(line, flush=True))
    trials, finals = (
        [Run.open(path) for path in sorted((out / folder).iterdir()) if is_run(path) and not path.name.endswith("-diverged")]
        for folder in ("trials", "finals")
    )
    winner = Run.open(out / "winner")
    best = [run for run in trials if run.spec == winner.spec and run.recipe == winner.recipe][:1] + finals
    mine, taught_by = [], []
    for seed in range(seeds):
        place = work / f"dial-{budget}-seed{seed}"
        options: dict[str, Any] = {"data_dir": data_dir, "seed": seed, "resume": True, "verbose": 2}
        mine.append(dial.train(budget, source, place, changes={}, tell=lambda line: print(line, flush=True), **options))
        taught_by += [Run.open(teacher["name"]) for teacher in mine[-1].metrics.get("teachers", [])]
    rows = {"dial": measured(mine, mine[:1] + taught_by[:1]), "random": measured(best, trials)}
    images = len(data.splits["test"])
    # By the images alone: how much other seeds would differ is not in it.
    rows["told_apart"] = are_told_apart(rows["dial"]["mean"], rows["random"]["mean"], images)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("set", choices=BUDGETS)
    parser.add_argument("--data-dir")
    parser.add_argument("--budgets", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    data = kr.data.load(options.set, data_dir=options.data_dir)
    found = json.loads(PATH.read_text()) if PATH.exists() else {}
    for budget in options.budgets or BUDGETS[options.set]:
        row = compared(data, options.set, options.data_dir, budget, options.seeds, options.work / options.set)
        found.setdefault(options.set, {})[budget] = row
        found["machine"] = environment()
        PATH.write_text(json.dumps(found, indent=1) + "\n")
        print(budget, json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
