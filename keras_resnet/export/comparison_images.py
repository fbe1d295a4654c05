"""The images that exported files are compared with the Keras model on: those of test, and others where they are few."""

from dataclasses import replace

import numpy as np

from keras_resnet.data import Dataset
from keras_resnet.data.dataset import Split

COMPARED = "compared"  # name of the split
ENOUGH = 1000  # images; of 1,000 that agree on 98 %, the 95 % interval is 1 % wide to both sides
OTHERS = ("validation", "train")  # agreement needs no labels, nor images that the network has not seen


def with_comparison_images(data: Dataset) -> Dataset:
    """`data` with one more split, "compared": all test images, and after them others up to `ENOUGH` in all, those of the rarest
    classes first."""
    tests, others = data.splits["test"], [data.splits[name] for name in OTHERS if name in data.splits]
    labels = np.concatenate([np.zeros(0, int), *(split.labels for split in others)])
    chosen = rarest_first(labels, tests.labels)[: max(0, ENOUGH - len(tests))]
    parts, start = [tests], 0
    for split in others:
        places = np.sort(chosen[(chosen >= start) & (chosen < start + len(split))]) - start
        parts, start = [*parts, *([split.part(places)] if len(places) else [])], start + len(split)
    compared = tests if len(parts) == 1 else Split.joined(parts)
    return replace(data, splits={**data.splits, COMPARED: compared})


def count(data: Dataset) -> int:
    """How many images a file is compared on."""
    return max(len(data.splits["test"]), min(ENOUGH, sum(map(len, data.splits.values()))))


def rarest_first(labels: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The places of `labels` (images,) in an order that, appended to the labels `there`, keeps classes as even as it can; at random
    within each, always the same."""
    order = np.random.default_rng(0).permutation(len(labels))
    ranks = np.empty(len(labels), int)
    for label in np.unique(labels):
        own = order[labels[order] == label]
        ranks[own] = np.sum(there == label) + np.arange(len(own))
    return order[np.argsort(ranks[order], kind="stable")]


def sources(data: Dataset) -> dict[str, int]:
    """How many of the images to compare are of test, and of the other splits."""
    tests, compared = len(data.splits["test"]), len(data.splits[COMPARED])
    return {"test": tests, **({"validation and training": compared - tests} if compared > tests else {})}
