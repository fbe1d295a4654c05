"""What an example of each class counts in the loss of training: `Recipe.class_weight` as numbers, in the order of the classes.

A class with few images is else learned last, or never, since it hardly moves the loss. Accuracy, and the loss of validation and
test, stay unweighted.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_resnet.errors import InputError, shown, unknown
from keras_resnet.outside import parse


def as_setting(value: Any) -> Any:
    """What `Recipe.class_weight` holds for what a caller gives: "none", "balanced", or pairs of the name of a class and its weight.

    A dictionary may come as text too, `{"cat": 5}` or `cat=5,dog=1`, and a list has the weights in the order of the classes.
    InputError for anything else.
    """
    if value is None or (isinstance(value, str) and value in ("none", "balanced")):
        return value or "none"
    try:
        pairs = tuple((str(name).strip(), float(weight)) for name, weight in _pairs(value))
    except (TypeError, ValueError, OverflowError):
        pairs = ()
    if not pairs or not all(0 <= weight < math.inf for _, weight in pairs) or not any(weight for _, weight in pairs):
        raise InputError(
            f"class_weight={shown(value)}: expected none, balanced, or weights of at least 0 by class such as "
            '{"cat": 5, "dog": 1} (on the command line cat=5,dog=1)'
        )
    return pairs


def _pairs(value: Any) -> Iterable[tuple[Any, ...]]:
    """(class, weight) of each class in a dictionary, its text, a list of weights, or pairs already."""
    if isinstance(value, str):
        value = parse(value) if value.lstrip().startswith(("{", "[")) else dict(each.rsplit("=", 1) for each in value.split(","))
    if isinstance(value, Mapping):
        return value.items()
    return [tuple(item) if isinstance(item, tuple | list) else (number, item) for number, item in enumerate(value)]


def weights_of(setting: str | tuple[tuple[str, float], ...], labels: Any, class_names: Sequence[str]) -> list[float] | None:
    """The weight of each class, or None where all count alike.

    Args:
        setting: of `Recipe.class_weight`.
        labels: of the training images, an array (images,), for "balanced": n / (classes * n_c), as scikit-learn has it, where n_c
            of all n images are of the class. The mean weight of all images is then 1.
        class_names: in the order of the labels.

    InputError for a class that is not there, or is named twice.
    """
    if setting == "none":
        return None
    if setting == "balanced":
        import numpy as np

        counts = np.bincount(labels, minlength=len(class_names))
        return [float(weight) for weight in len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))]
    weights = [1.0] * len(class_names)
    given: dict[int, str] = {}
    pairs: Any = setting
    for name, weight in pairs:
        number = _number(name, class_names)
        if number in given:
            raise InputError(f"class_weight names class {class_names[number]!r} twice: as {given[number]!r} and as {name!r}")
        given[number], weights[number] = name, float(weight)
    return weights


def _number(name: str, class_names: Sequence[str]) -> int:
    """The place of a class that is given by its name, or by its number where no class has that name."""
    if name in class_names:
        return list(class_names).index(name)
    if name.isdecimal() and int(name) < len(class_names):
        return int(name)
    raise unknown("class of the images for class_weight", name, class_names)
