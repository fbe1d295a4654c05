"""The outputs of a model file for labelled images, checked and counted."""

import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.files.predictions import top1
from keras_resnet.runs.evaluation import counted


def confusion(outputs: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Confusion matrix: images of each true class (rows) by predicted class (columns), (classes, classes).

    Args:
        outputs: of `runtimes.Runner`: (images, classes), or (images, k, 2) of a file that gives the best classes.
        labels: (images,).
        classes: those of the labels. InputError, see `check_outputs`.
    """
    check_outputs(outputs, classes)
    return counted(top1(outputs), labels, classes)


def check_outputs(outputs: np.ndarray, classes: int) -> None:
    """InputError for outputs of a file, see `confusion`, that are those of other classes than so many, or no finite numbers."""
    if not np.isfinite(outputs).all():
        raise InputError(
            "the file gives outputs that are not finite numbers: it is damaged, or the training of its network diverged"
        )
    are_of_best = outputs.ndim == 3
    if are_of_best and ((outputs[..., 1] % 1 != 0) | (outputs[..., 1] < 0)).any():
        raise InputError("the file gives numbers of classes that do not exist: it is damaged")
    given = int(outputs[..., 1].max(initial=0)) + 1 if are_of_best else outputs.shape[1]
    if given > classes or (given < classes and not are_of_best):
        least = "at least " * are_of_best
        raise InputError(f"the file gives {least}{given} classes, the run has {classes}: it is not an export of this run")
