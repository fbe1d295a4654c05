"""The README's first command over several seeds: `resnet8` on the digits, with keep="last" and keep="best" (see `Recipe.keep`).

    python benchmarks/digits.py [OUT.json] [--seeds 10]

Each seed is trained twice, once for each rule, the same otherwise. Reported is the accuracy on the 359 test images: mean, standard
deviation over the seeds, and the worst. Two minutes on two cores; ONEDNN_MAX_CPU_ISA=AVX2 or TF_ENABLE_ONEDNN_OPTS=0 simulate
another processor.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from keras_resnet import startup

startup.prepare()

import numpy as np

import keras_resnet as kr

RULES = ("last", "best")
STAND_INS = ("ONEDNN_MAX_CPU_ISA", "TF_ENABLE_ONEDNN_OPTS")


def summary(accuracies: list[float]) -> dict:
    return {
        "mean": float(np.mean(accuracies)),
        "standard_deviation": float(np.std(accuracies, ddof=1)),
        "worst": min(accuracies),
        "accuracies": accuracies,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--seeds", type=int, default=10)
    settings = parser.parse_args()
    data, accuracies, seconds = kr.data.load("digits"), {rule: [] for rule in RULES}, []
    with TemporaryDirectory() as folder:
        for seed in range(settings.seeds):
            for rule in RULES:
                recipe = kr.recipes.resolve("digits", keep=rule)
                run = kr.fit("resnet8", recipe, data, Path(folder) / f"{rule}-{seed}", seed=seed, verbose=0)
                accuracies[rule].append(run.metrics["test"]["accuracy"])
                seconds.append(run.metrics["train_seconds"])
            print(seed, *(f"{rule} {accuracies[rule][-1]:.4f}" for rule in RULES), file=sys.stderr, flush=True)
        environment = json.loads((run.path / "environment.json").read_text())
    result = {
        "images": {name: len(split) for name, split in data.splits.items()},
        "seconds": float(np.median(seconds)),
        **{rule: summary(accuracies[rule]) for rule in RULES},
        "settings": {name: os.environ[name] for name in STAND_INS if name in os.environ},
        "environment": environment,
    }
    settings.out.write_text(json.dumps(result, indent=2) + "\n")
    for rule in RULES:
        print(f"{rule}: {result[rule]['mean']:.4f} +- {result[rule]['standard_deviation']:.4f}, worst {result[rule]['worst']:.4f}")


if __name__ == "__main__":
    main()
