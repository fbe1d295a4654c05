"""Which images of a source are for training, validation and test: what it holds out itself, and what is set aside."""

import logging

import numpy as np

from keras_resnet.data.dataset import SPLITS, Split
from keras_resnet.errors import InputError

LOG = logging.getLogger("keras_resnet")
HELD_OUT, HELD_OUT_OF_FEW = 0.1, 0.2  # share of the training images set aside for validation, and for test, where there are none
FEW = 2000  # training images below which more of them are set aside, since accuracies on a hundred images tell little


def split_by_class(labels: np.ndarray, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Indices (rest, part): the part has that share of each class, and at least one image of a class that has two."""
    parts = []
    for label in np.unique(labels):
        members = np.random.default_rng((seed, int(label))).permutation(np.flatnonzero(labels == label))
        parts.append(members[: max(round(len(members) * share), int(len(members) >= 2))])
    part = np.sort(np.concatenate(parts))
    return np.setdiff1d(np.arange(len(labels)), part), part


def held_out(labels: dict[str, np.ndarray]) -> dict[str, str]:
    """Our splits to the parts of a source, given the labels of each part: the rule of every source.

    Test is the test set of the source, or its validation set if the test set is missing or has no labels (all below 0, as in
    ImageNet). Validation images are then taken from the training images, see `complete`.
    """
    known = [name for name, each in labels.items() if name == "train" or not len(each) or each.max() >= 0]
    if "test" not in known and "validation" in known:
        return {"train": "train", "test": "validation"}
    return {name: name for name in known}


def complete(splits: dict[str, Split], source: str) -> dict[str, Split]:
    """The three splits of a source, as `held_out` has them: a part that is missing is set aside from the training images.

    InputError if one is empty.
    """
    parts = held_out({name: split.labels for name, split in splits.items()})
    if parts.get("test") == "validation":
        LOG.warning(
            f"{source} has no labelled test images: its validation images are used for test, part of "
            "the training images for validation"
        )
    splits = {ours: splits[theirs] for ours, theirs in parts.items()}
    few = len(splits["train"]) < FEW
    for seed, name in enumerate(("test", "validation")):
        if name not in splits:
            labels = splits["train"].labels
            rest, part = split_by_class(labels, HELD_OUT_OF_FEW if few else HELD_OUT, seed)
            splits[name], splits["train"] = splits["train"].part(part), splits["train"].part(rest)
    for name in SPLITS:
        if not len(splits[name]):
            raise InputError(f"{source}: no images for {name}: to take them from the training images, a class needs at least three")
    return {name: splits[name] for name in SPLITS}
