"""A training under way, on the disk: whatever ends the process, no more is lost than the steps since the last checkpoint.

A checkpoint is one file that appears whole, and the one before it stays. What goes into it is said in `checkpoints.py`.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnet import atomic
from keras_resnet.atomic import UNREADABLE, flush

LOG = logging.getLogger("keras_resnet")
KEPT = 2
HISTORY = "history.csv"  # of the epochs so far, to look at


@dataclass(frozen=True)
class Checkpoint:
    """A training after `step` steps: arrays, and facts that JSON can hold."""

    step: int
    arrays: list[np.ndarray]
    facts: dict[str, Any]


def folder_of(out: Path) -> Path:
    """Where the checkpoints of a training are that will leave its run at `out`."""
    return out.absolute().with_name(f".{out.name}.training")


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Keep the checkpoints in `folder` from other processes, see `atomic.occupied`."""
    with atomic.occupied(folder, "training"):
        for leftover in folder.glob("*.partial"):
            leftover.unlink()
        yield


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Add a checkpoint, and remove all but it and the one before it."""
    path = folder / f"step-{checkpoint.step:09}.npz"
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, *checkpoint.arrays, facts=np.array(json.dumps(checkpoint.facts)))
        flush(partial)
        os.replace(partial, path)
    except OSError as error:  # a full disk
        partial.unlink(missing_ok=True)
        where = f"the checkpoint of step {checkpoint.step} cannot be written to {str(folder)!r}"
        raise OSError(error.errno, f"{where} ({error.strerror}); --resume goes on from the one before it") from error
    flush(folder, inside=False)
    for old in files(folder)[:-KEPT]:
        old.unlink()


def newest(folder: Path) -> Checkpoint | None:
    """The last checkpoint that can be read, or None. A damaged one is named, and the one before it taken."""
    for path in reversed(found := files(folder)):
        then = "there is none before it, and the training begins anew" if path == found[0] else "the checkpoint before it is used"
        try:
            with np.load(path, allow_pickle=False) as content:  # reading checks the sums that the file carries
                facts = json.loads(str(content["facts"]))
                arrays = [content[f"arr_{number}"] for number in range(len(content.files) - 1)]
            return Checkpoint(int(path.stem.removeprefix("step-")), arrays, facts)
        except UNREADABLE as error:
            LOG.warning(f"{str(path)!r} is damaged ({error}): {then}")
    return None


def files(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    return sorted(folder.glob("step-*.npz"))


def forget(folder: Path) -> None:
    """Remove a folder of checkpoints, if there is one."""
    if folder.is_dir():
        with occupied(folder):
            clear(folder)


def clear(folder: Path) -> None:
    """Forget a training."""
    for path in [*files(folder), folder / HISTORY]:
        path.unlink(missing_ok=True)
