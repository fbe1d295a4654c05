"""Random networks of `residual_space` around `resnet8`, trained on the digits: trials for `zero_cost.py`.

    python benchmarks/zero_cost_trials.py [OUT.csv] [--seeds 1]

23 networks are drawn as a search draws them, at random with at most 2 million multiply-adds, and 15 more with at least 70 % of
that. The recipe is `digits` with 10 epochs for all of them. Neither validation nor test images have a part in a training, since
that recipe keeps the last epoch: both measure how accurate a network is. A network that is in OUT.csv is not trained again.
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from keras_resnet import startup

startup.prepare()

import keras
import keras_tuner

import keras_resnet as kr
from keras_resnet.search import residual_space
from keras_resnet.search.budget import costs

BASIS = replace(kr.SPECS["resnet8"], input_shape=(8, 8, 1), classes=10)
RECIPE = kr.recipes.resolve("digits", epochs=10)
MOST = 2_000_000  # multiply-adds
BAND = 0.7  # of MOST
DRAWN = {"random": 23, "band": 15}
FIXED = ("input_shape", "classes")  # the images say these


def draws(seed: int, least: float) -> Iterator[kr.ResNetSpec]:
    """Different networks of the space, at random, with `least` to `MOST` multiply-adds."""
    hyperparameters, generator, seen = keras_tuner.HyperParameters(), Random(seed), set()
    residual_space(hyperparameters, BASIS)
    while True:
        for entry in hyperparameters.space:
            hyperparameters.values[entry.name] = entry.random_sample(generator.randrange(2**31))
        spec, _ = residual_space(hyperparameters, BASIS)
        if spec not in seen and least <= costs(spec)["multiply_adds"] <= MOST:
            seen.add(spec)
            yield spec


def networks() -> list[tuple[str, kr.ResNetSpec]]:
    """Every network by its name. Those of both kinds take turns, so that the first ones are of both too."""
    kinds = zip(DRAWN.items(), (0, BAND * MOST), strict=True)
    named = [
        ((number + 0.5) / count, f"{kind}{number:02d}", spec)
        for seed, ((kind, count), least) in enumerate(kinds)
        for number, spec in enumerate(islice(draws(seed, least), count))
    ]
    return [(name, spec) for _, name, spec in sorted(named, key=lambda entry: entry[:2])]


def train(spec: kr.ResNetSpec, seed: int, data: kr.data.Dataset) -> dict[str, float]:
    """Accuracies and seconds of one training."""
    with TemporaryDirectory() as folder:
        found = kr.fit(spec, RECIPE, data, Path(folder) / "run", seed=seed, verbose=0).metrics
    keras.backend.clear_session()
    accuracies = {"val_accuracy": found["validation"]["accuracy"], "test_accuracy": found["test"]["accuracy"]}
    return {**accuracies, "seconds": found["train_seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    rows = list(csv.DictReader(options.out.read_text().splitlines())) if options.out.exists() else []
    done, data = {(row["trial"], int(row["seed"])) for row in rows}, kr.data.load("digits")
    for seed in range(options.seeds):
        for name, spec in networks():
            if (name, seed) in done:
                continue
            fields = {f"spec.{field}": value for field, value in asdict(spec).items() if field not in FIXED}
            row = {"trial": name, "seed": seed, **train(spec, seed, data), **costs(spec), **fields}
            with options.out.open("a", newline="") as file:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                if not file.tell():
                    writer.writeheader()
                writer.writerow(row)
            print(name, seed, spec.depths, spec.widths, spec.block, *(row[key] for key in list(row)[2:7]), flush=True)


if __name__ == "__main__":
    main()
