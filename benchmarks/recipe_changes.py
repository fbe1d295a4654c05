"""What changes of the recipe are worth for a small network: each alone, with several seeds.

    python benchmarks/recipe_changes.py DATA_DIR WORK_DIR [--seeds N] [--changes ...]

100 photographs of each class of CIFAR-10 (JPEG copy), others for each seed, as in `distillation.py`. The network is `resnet8` with
random weights, by the automatic recipe for 60 epochs, which averages weights by 0.95. Each row differs from the first in one thing.
All are tested on CIFAR-10's 10,000 test images, which no training saw. Complete runs are not trained again.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from distillation import images_of

import keras_resnet as kr
from keras_resnet.confidence import interval
from keras_resnet.data.dataset import Dataset, Split
from keras_resnet.runs.environment import environment
from keras_resnet.runs.run import Run, is_run

EPOCHS, TEST = 60, 10_000
AS_IT_IS, ALTERNATING = "as it is", "alternating flip (arXiv:2404.00498)"
CHANGES: dict[str, dict[str, Any]] = {
    AS_IT_IS: {},
    "weights not averaged": {"ema": 0.0},
    "weights averaged by 0.99": {"ema": 0.99},
    ALTERNATING: {"flip": False},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "twice the epochs": {"epochs": 2 * EPOCHS},
}
PATH = Path(__file__).with_suffix(".json")


@dataclass(frozen=True, kw_only=True)
class Alternating(Dataset):
    """Images of which each is mirrored every second time that it is trained on; at random the first time."""

    plain: Dataset

    @classmethod
    def of(cls, data: Dataset, seed: int) -> "Alternating":
        train = data.splits["train"]
        images, turn = train.take(np.arange(len(train))), np.random.default_rng(seed).integers(0, 2, len(train))

        def take(places: np.ndarray) -> np.ndarray:
            turn[places] ^= 1
            return np.where(turn[places][:, None, None, None] == 1, images[places][:, :, ::-1], images[places])

        splits = {**data.splits, "train": Split(take, train.labels)}
        return cls(**{**{field.name: getattr(data, field.name) for field in fields(data)}, "splits": splits}, plain=data)

    def sample_batches(self, count: int, split: str = "train") -> Iterator[np.ndarray]:
        """As they are: statistics of averaged weights are computed after each epoch, and that is no training."""
        return self.plain.sample_batches(count, split)

    def sample(self, count: int, split: str = "train", seed: int = 0) -> np.ndarray:
        """As they are."""
        return self.plain.sample(count, split, seed)


def trained(change: str, seed: int, photos: Path, test: Dataset, work: Path) -> float:
    """Accuracy on the test images."""
    data = kr.data.load(photos, image_size=32)
    recipe = kr.recipes.for_images(len(data.splits["train"]), data.image_shape, class_names=data.class_names)
    changes = {"epochs": EPOCHS, **CHANGES[change]}
    if change == ALTERNATING:
        data = Alternating.of(data, seed)
    out = work / f"changes-{list(CHANGES).index(change)}-seed{seed}"
    if not is_run(out):  # one that was cut off starts again: whose turn it is to be mirrored is not in a checkpoint
        kr.fit("resnet8", replace(recipe, **changes), data, out, seed=seed, overwrite=True, verbose=2)
    model = Run.open(out).load()
    answers = np.concatenate([np.asarray(model(images, training=False)).argmax(1) for images, _ in test.test])
    return float(np.mean(answers == test.splits["test"].labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir")
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--changes", nargs="+", choices=CHANGES, default=list(CHANGES))
    options = parser.parse_args()
    test = kr.data.load("cifar10", data_dir=options.data_dir)
    found: dict[str, list[float]] = {change: [] for change in dict.fromkeys((AS_IT_IS, *options.changes))}
    for seed in range(options.seeds):
        (_, photos), _ = images_of("photos", options.data_dir, options.work, seed)
        for change, accuracies in found.items():
            accuracies.append(trained(change, seed, Path(str(photos)), test, options.work))
            print(seed, change, accuracies[-1], flush=True)
        PATH.write_text(json.dumps(result(found), indent=1) + "\n")


def result(found: dict[str, list[float]]) -> dict[str, Any]:
    """The accuracies, their means, and what each change gains, seed by seed."""
    base = found[AS_IT_IS]
    rows = [
        {
            "change": change,
            "accuracies": [round(accuracy, 4) for accuracy in accuracies],
            "mean": round(float(np.mean(accuracies)), 4),
            "interval": interval(float(np.mean(accuracies)), TEST),
            "gains_in_points": [round(100 * (mine - its), 2) for mine, its in zip(accuracies, base, strict=True)],
        }
        for change, accuracies in found.items()
    ]
    return {"test_images": TEST, "epochs": EPOCHS, "rows": rows, "machine": environment()}


if __name__ == "__main__":
    main()
