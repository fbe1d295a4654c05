"""Checkpoints on disk: whatever ends the process, only the steps since the last checkpoint are lost.

A checkpoint is one file, written whole or not at all, and the one before it is kept. `checkpoints.py` says what is inside.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from keras_resnet import atomic
from keras_resnet.atomic import UNREADABLE, flush
from keras_resnet.json_files import checked
from keras_resnet.outside import parse

LOG = logging.getLogger("keras_resnet")
CHECKPOINTS = 2  # that stay on the disk
HISTORY = "history.csv"  # of the epochs so far, to look at


class Facts(TypedDict, total=False):
    """What a checkpoint holds beside arrays."""

    plan: dict[str, dict[str, Any]]
    images: int
    seconds: float
    whole: float
    history: list[dict[str, float]]
    best_epoch: int
    best_arrays: int
    backend: str


@dataclass(frozen=True)
class Checkpoint:
    """A training after `step` steps: arrays, and facts that JSON can hold."""

    step: int
    arrays: list[np.ndarray]
    facts: dict[str, Any]


def folder_of(out: Path) -> Path:
    """The folder for checkpoints of a training whose run will be at `out`."""
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
        raise OSError(error.errno, f"{where} ({error.strerror}); --resume continues from the one before it") from error
    flush(folder, inside=False)
    for old in files(folder)[:-CHECKPOINTS]:
        old.unlink()


def newest(folder: Path) -> Checkpoint | None:
    """The last checkpoint that can be read, or None. A warning names a damaged one."""
    for path in reversed(paths := files(folder)):
        next_step = (
            "there is none before it, so the training starts again" if path == paths[0] else "the checkpoint before it is used"
        )
        try:
            with np.load(path, allow_pickle=False) as content:  # reading checks the sums that the file carries
                facts = checked(parse(str(content["facts"]), infinite=True), Facts, repr(str(path)))
                arrays = [content[f"arr_{number}"] for number in range(len(content.files) - 1)]
            return Checkpoint(int(path.stem.removeprefix("step-")), arrays, facts)
        except UNREADABLE as error:
            LOG.warning(f"{str(path)!r} is damaged ({error}): {next_step}")
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
    """Remove the checkpoints in a folder."""
    for path in [*files(folder), folder / HISTORY]:
        path.unlink(missing_ok=True)
