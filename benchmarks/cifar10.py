"""`resnet20` trained on CIFAR-10 by the recipe `cifar-30`: accuracy and time, as the mean over several seeds.

    python benchmarks/cifar10.py DATA_DIR RUNS [SEEDS] [OUT.json]

DATA_DIR is a TensorFlow Datasets folder with CIFAR-10, RUNS the folder for the runs. Complete runs are not trained again, and
interrupted ones are resumed.
"""

import json
import statistics
import sys
from pathlib import Path

from keras_resnet import startup

startup.prepare()

import keras_resnet as kr

NETWORK, RECIPE = "resnet20", kr.recipes.resolve("cifar-30", precision="auto")


def main(data_dir: str, runs: str, seeds: int, report: str | None) -> None:
    data = kr.data.load("cifar10", data_dir=data_dir)
    rows, environment = [], {}
    for seed in range(seeds):
        run = kr.fit(NETWORK, RECIPE, data, Path(runs, f"seed{seed}"), seed=seed, resume=True, verbose=2)
        environment = json.loads((run.path / "environment.json").read_text())
        rows.append(
            {"seed": seed, **{name: run.metrics[name] for name in ("test", "validation", "train_seconds", "images_per_second")}}
        )
        print(rows[-1], flush=True)
    accuracies = [100 * row["test"]["accuracy"] for row in rows]
    result = {
        "network": NETWORK,
        "recipe": "cifar-30",
        "precision": run.recipe.precision,
        "training_images": len(data.splits["train"]),
        "test_accuracy_mean": round(statistics.mean(accuracies), 2),
        "test_accuracy_deviation": round(statistics.stdev(accuracies), 2) if seeds > 1 else None,
        "seconds_median": statistics.median(row["train_seconds"] for row in rows),
        "rows": rows,
        "environment": environment,
    }
    print(json.dumps({name: value for name, value in result.items() if name not in ("rows", "environment")}))
    if report:
        Path(report).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    data_dir, runs, *more = sys.argv[1:]
    main(data_dir, runs, int(more[0]) if more else 3, more[1] if len(more) > 1 else None)
