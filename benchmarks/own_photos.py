"""A few own photographs: `keras-resnet train --data photos/` beside the same network from random weights.

    python benchmarks/own_photos.py DATA_DIR WORK_DIR [SET ...]

The photographs are of CIFAR-10 (JPEG copy), 32x32 PNG files, and the pretraining saw none of them. Airplane, ship, deer and horse
have no class in Tiny ImageNet; nearest to a ship are gondola and lifeboat, to a deer gazelle. The other six classes have related
ones. Each set has a training and a test
folder, of which the test folder is also small; a larger one, of CIFAR-10's own test images, tells the networks apart. The recipe of
random weights is the automatic one or that with three times the epochs, whichever is better on the validation images of the first
seed. Each training is a process of its own.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import keras_resnet as kr
from keras_resnet.confidence import interval
from keras_resnet.runs.environment import environment

SEEDS = (0, 1, 2)
SETS: dict[str, tuple[tuple[str, ...], int, int]] = {  # classes (all for none), training and test photographs of each
    "airplane-ship": (("airplane", "ship"), 80, 40),
    "ten-classes": ((), 50, 20),
    "deer-horse": (("deer", "horse"), 80, 40),
}
MORE = 1000  # test images, to compare by
SCRATCH = ("resnet18d", "--image-size", "48", "--set", "widths=32,64,128,192", "--set", "stem_width=32", "--set", "stem_pool=none")


def write(folder: Path, data: Any, split: str, names: tuple[str, ...], count: int, seed: int) -> None:
    """Photographs of a split, so many of each class drawn at random, as PNG files."""
    examples = data.splits[split]
    for name in names:
        places = np.flatnonzero(examples.labels == data.class_names.index(name))
        (folder / name).mkdir(parents=True)
        for number in np.random.default_rng((seed, data.class_names.index(name))).permutation(places)[:count]:
            Image.fromarray(examples.take(np.array([number]))[0]).save(folder / name / f"{number}.png")


def command(*arguments: object) -> tuple[Any, float]:
    """The JSON of a command, and its seconds from start to end."""
    start = time.perf_counter()
    run = ["keras-resnet", *map(str, arguments), "--json"]
    out = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    return json.loads(out), time.perf_counter() - start


def measure(photos: Path, more: Path, out: Path, seed: int, *options: object) -> dict[str, Any]:
    """One training: what it reached on the photographs and on the larger test set."""
    found, seconds = command("train", *options, "--data", photos, "--out", out, "--seed", seed, "--overwrite")
    (large,), _ = command("evaluate", out, "--data", more)
    return {
        "seconds": round(seconds),
        "epochs": found["epochs"],
        "kept_epoch": found["kept_epoch"],
        "validation": found["validation"]["accuracy"],
        "test": found["test"]["accuracy"],
        "test_interval": found["test"]["accuracy_interval"],
        "larger_test": large["accuracy"],
    }


def of_set(name: str, data: Any, work: Path) -> dict[str, Any]:
    """All trainings of a set."""
    names, training, test = SETS[name]
    names = names or tuple(data.class_names)
    more, rows, longer = work / name / "more", [], ()
    write(more, data, "test", names, MORE // len(names), 0)
    for seed in SEEDS:
        photos = work / name / f"photos{seed}"
        write(photos / "train", data, "train", names, training, seed)
        write(photos / "test", data, "validation", names, test, seed)
        row = {"seed": seed, "pretrained": measure(photos, more, work / "pretrained", seed)}
        row["scratch"] = measure(photos, more, work / "scratch", seed, *SCRATCH, *longer)
        if seed == SEEDS[0]:
            row["scratch_longer"] = measure(
                photos, more, work / "scratch", seed, *SCRATCH, "--epochs", 3 * row["scratch"]["epochs"]
            )
            if row["scratch_longer"]["validation"] > row["scratch"]["validation"]:
                longer = ("--epochs", row["scratch_longer"]["epochs"])
        rows.append(row)
        print(name, json.dumps(row), flush=True)
    best = [row["scratch_longer"] if longer and "scratch_longer" in row else row["scratch"] for row in rows]
    means = {
        "pretrained": float(np.mean([row["pretrained"]["larger_test"] for row in rows])),
        "scratch": float(np.mean([row["larger_test"] for row in best])),
    }
    images = MORE // len(names) * len(names)
    return {
        "classes": list(names),
        "training_photographs_of_a_class": training,
        "larger_test_images": images,
        "mean_of_seeds": {kind: {"accuracy": round(mean, 4), "interval": interval(mean, images)} for kind, mean in means.items()},
        "gain_points": round(100 * (means["pretrained"] - means["scratch"]), 1),
        "seeds": rows,
    }


def main(data_dir: str, work: str, *chosen: str) -> None:
    """Measure the sets of that name, or all, and write them beside this file."""
    data = kr.data.load("cifar10", data_dir=data_dir)
    path = Path(__file__).with_suffix(".json")
    found = json.loads(path.read_text()) if path.exists() else {}
    for name in chosen or SETS:
        found[name] = of_set(name, data, Path(work))
        found["machine"] = environment()
        path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
