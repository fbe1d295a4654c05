"""Accuracy without a unit, or with two units exchanged (arXiv:1605.06431)."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis.derivatives import accuracy, batches, labelled, to_numpy
from keras_resnet.analysis.figures import COLOURS, Figure, as_written, figure, integers, name_places, shortened
from keras_resnet.analysis.rows import Rows
from keras_resnet.analysis.units import Chain, Unit
from keras_resnet.errors import InputError, unknown


def lesions(model: keras.Model, images: np.ndarray, labels: np.ndarray, *, batch_size: int | None = None) -> Rows:
    """The accuracy of a trained network without each of its units in turn (arXiv:1605.06431 Figure 3).

    In a dropped unit the branch is zero and the shortcut stays, also if it is a projection. A dropped unit of a plain network is
    replaced by the identity.

    Args:
        model: a functional Keras classifier, residual or plain.
        images: (images, *space, channels), as the model takes them.
        labels: integers (images,).
        batch_size: images at a time; None for as many as fit in memory.

    Returns: for each unit a row with the `unit`; `kept`, what is left of it: "identity", "shortcut" (one that is not the identity),
    or None if it cannot be dropped, because it changes the shape and has no shortcut; `accuracy` without it, 0 to 1; and
    `difference`, this minus the accuracy of the whole network. Both are None for a unit that cannot be dropped.

    InputError for a model that is not a chain of units, and for different numbers of images and labels.
    """
    chain = Chain(model)
    droppable = [number for number, unit in enumerate(chain.units) if can_drop(unit)]
    sums, whole = dict.fromkeys(droppable, 0.0), 0.0
    with keras.StatelessScope():
        for batch, part in labelled(images, labels, batch_size):
            inputs = inputs_of(chain, batch)
            whole += hits(chain.outputs_from(inputs[-1], len(chain.units)), part)
            for number in droppable:
                unit, x = chain.units[number], inputs[number]
                y = unit.after(dropped(unit, x))
                sums[number] += hits(chain.outputs_from(y, number + 1), part)
    rows = []
    for number, unit in enumerate(chain.units):
        share = sums[number] / len(images) if number in sums else None
        kept = None if share is None else "shortcut" if unit.shortcut and not unit.is_identity else "identity"
        difference = None if share is None else share - whole / len(images)
        rows.append({"unit": unit.name, "kept": kept, "accuracy": share, "difference": difference})
    return rows


def swaps(model: keras.Model, images: np.ndarray, labels: np.ndarray, *, batch_size: int | None = None) -> Rows:
    """The accuracy of a trained network with two units exchanged, for all pairs that fit (arXiv:1605.06431 section 4.3).

    Two units fit if their inputs and outputs all have the same shape. They are exchanged with branch and shortcut.

    Args: as of `lesions`. Returns: for each pair a row with the units `first` and `second`; `between`, the distance from the first
    to the second in units (1 for neighbours); `accuracy`, 0 to 1; and `difference`, this minus the accuracy of the whole network.

    InputError for a model that is not a chain of units, and without two units that fit.
    """
    chain = Chain(model)
    pairs = [pair for pair in combinations(range(len(chain.units)), 2) if fit_each_other(*(chain.units[place] for place in pair))]
    if not pairs:
        raise InputError(
            f"no two units of {model.name!r} can be exchanged: each must keep the shape of its feature maps, and both the same one"
        )
    sums, whole = dict.fromkeys(pairs, 0.0), 0.0
    with keras.StatelessScope():
        for batch, part in labelled(images, labels, batch_size):
            inputs = inputs_of(chain, batch)
            whole += hits(chain.outputs_from(inputs[-1], len(chain.units)), part)
            for first, second in pairs:
                order = list(range(len(chain.units)))
                order[first], order[second] = second, first
                sums[first, second] += hits(in_order(chain, inputs[first], order, first), part)
    rows = []
    for (first, second), total in sums.items():
        share = total / len(images)
        names = {"first": chain.units[first].name, "second": chain.units[second].name, "between": second - first}
        rows.append({**names, "accuracy": share, "difference": share - whole / len(images)})
    return rows


def with_changes(
    model: keras.Model, images: np.ndarray, *, without: Iterable[str] = (), order: Sequence[str] | None = None
) -> np.ndarray:
    """The outputs (images, classes) of a network without some units, or with its units in another order (arXiv:1605.06431).

    Args:
        model: a functional Keras classifier, residual or plain.
        images: (images, *space, channels), as the model takes them.
        without: names of units to drop, see `lesions`.
        order: names of all units in the order in which they run, or None for their own.

    InputError for an unknown name, for a unit that cannot be dropped, and for an order without all units.
    """
    chain = Chain(model)
    places = {unit.name: number for number, unit in enumerate(chain.units)}
    for name in [*without, *(order or [])]:
        if name not in places:
            raise unknown("unit", name, places)
    gone = {places[name] for name in without}
    if any(not can_drop(chain.units[place]) for place in gone):
        raise InputError("a unit that changes the shape of the feature maps and has no shortcut cannot be dropped")
    if order is not None and sorted(order) != sorted(places):
        raise InputError(f"order has {len(order)} names, but it must have each of the {len(places)} units once")
    chosen = [places[name] for name in order or places]
    with keras.StatelessScope():
        outputs = [to_numpy(in_order(chain, chain.stem(batch), chosen, 0, gone)) for batch in batches(images)]
    return np.concatenate(outputs)


def inputs_of(chain: Chain, batch: Any) -> list[Any]:
    """The input of each unit, and of the head."""
    found = [chain.stem(batch)]
    for unit in chain.units:
        found.append(unit.after(unit(found[-1])))
    return found


def can_drop(unit: Unit) -> bool:
    """Whether a unit has a shortcut or keeps the shape, so that it can be dropped."""
    return unit.shortcut is not None or unit.keeps_shape


def dropped(unit: Unit, x: Any) -> Any:
    """The output of a unit without its branch, for the input `x`."""
    return x if unit.shortcut is None else unit.shortcut(x)


def fit_each_other(one: Unit, other: Unit) -> bool:
    """Whether each of two units may stand in the place of the other."""
    return one.keeps_shape and other.keeps_shape and one.shape == other.shape


def in_order(chain: Chain, x: Any, order: Sequence[int], first: int, without: Iterable[int] = ()) -> Any:
    """The outputs for the input `x` of place `first`, with the units in another order and some of them dropped.

    Layers between two units, such as an activation, stay in their place.
    """
    for place in range(first, len(order)):
        unit = chain.units[order[place]]
        x = chain.units[place].after(dropped(unit, x) if order[place] in without else unit(x))
    return chain.head(x)


def hits(outputs: Any, labels: np.ndarray) -> float:
    """The number of images of a batch that are classified correctly."""
    return accuracy(to_numpy(outputs), labels) * len(labels)


def plot_lesions(profiles: Mapping[str, Rows]) -> Figure:
    """Rows of `lesions`, of one network or several by name: the accuracy without each unit beside that of the whole network, in %.

    Hollow circles mark units whose shortcut is not the identity.
    """
    made, axes = figure(width=5.5)
    for number, (name, rows) in enumerate(profiles.items()):
        colour = COLOURS[number % len(COLOURS)]
        known = [(place, row) for place, row in enumerate(rows, start=1) if row["accuracy"] is not None]
        axes[0, 0].plot([place for place, _ in known], [100 * row["accuracy"] for _, row in known], color=colour, linewidth=1)
        for place, row in known:
            face = "white" if row["kept"] == "shortcut" else colour
            axes[0, 0].plot(place, 100 * row["accuracy"], "o", markersize=4, color=colour, markerfacecolor=face)
        if known:
            whole = 100 * (known[0][1]["accuracy"] - known[0][1]["difference"])
            axes[0, 0].axhline(
                whole, color=colour, linestyle="--", linewidth=1, label=f"{shortened(name)}, all units: {whole:.1f} %"
            )
    axes[0, 0].set(xlabel="dropped unit", ylabel="accuracy, %", ylim=(-3, 103))
    if any(row["kept"] == "shortcut" for rows in profiles.values() for row in rows):
        axes[0, 0].plot([], [], "o", markersize=4, color="grey", markerfacecolor="white", label="shortcut changes the map")
    name_places(axes[0, 0], [row["unit"] for row in max(profiles.values(), key=len)])
    axes[0, 0].grid(alpha=0.3)
    as_written(axes[0, 0].legend(fontsize=8))
    return made


def plot_swaps(profiles: Mapping[str, Rows]) -> Figure:
    """Rows of `swaps`, of one network or several by name: the accuracy with two units exchanged, in %, over their distance."""
    made, axes = figure(width=5.0)
    for number, (name, rows) in enumerate(profiles.items()):
        colour, apart = COLOURS[number % len(COLOURS)], np.array([row["between"] for row in rows])
        moved = apart + 0.15 * number  # so that points of two networks do not hide each other
        axes[0, 0].plot(moved, [100 * row["accuracy"] for row in rows], "o", color=colour, alpha=0.6, markersize=4)
        whole = 100 * (rows[0]["accuracy"] - rows[0]["difference"])
        axes[0, 0].axhline(whole, color=colour, linestyle="--", linewidth=1, label=f"{shortened(name)}, all units: {whole:.1f} %")
    axes[0, 0].set(xlabel="distance of the exchanged units, in units", ylabel="accuracy, %", ylim=(-3, 103))
    axes[0, 0].xaxis.set_major_locator(integers())
    axes[0, 0].grid(alpha=0.3)
    as_written(axes[0, 0].legend(fontsize=8))
    return made
