"""Accuracy without a unit or with two units exchanged, and the gradient on paths of each length (arXiv:1605.06431)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis.derivatives import (
    Loss,
    accuracy,
    batches,
    class_labels,
    cross_entropy,
    gradients_of,
    labelled,
    to_numpy,
)
from keras_resnet.analysis.figures import (
    COLOURS,
    MARKERS,
    Figure,
    add_legend,
    as_written,
    figure,
    integers,
    is_wide,
    name_places,
    short_numbers,
    shortened,
)
from keras_resnet.analysis.rows import Rows
from keras_resnet.analysis.units import Chain, Unit
from keras_resnet.errors import InputError, unknown

MOST_PATHS = 40  # lengths that are measured, evenly spaced if there are more


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


def path_lengths(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, *, samples: int = 4, loss: Loss | None = None, seed: int = 0
) -> Rows:
    """The share of the gradient that flows through paths of each length (arXiv:1605.06431 section 5 and Figure 6).

    A path of length k goes through the branches of k units and through the shortcuts of the others. Its gradient is that of the
    loss with respect to the images, with backpropagation along this path only. The forward pass is that of the whole network.

    Args:
        model: a functional Keras classifier whose units all have shortcuts.
        images: (images, *space, channels), as the model takes them.
        labels: integers (images,).
        samples: random paths of each length.
        loss: a function of labels and outputs that gives a scalar; None is the mean cross-entropy.
        seed: of the choice of paths.

    Returns: for each length (at most 40 of them) a row with the `length` in units; `norm`, the mean Euclidean norm of the gradient
    of one path; `log10_paths`, the common logarithm of the number of such paths; and `share`, norm times number, divided by its sum
    over the rows.

    InputError for a plain network, and for a model that is not a chain of units.
    """
    chain, labels, loss = Chain(model), class_labels(images, labels, loss), cross_entropy(model, loss)
    count = len(chain.units)
    if not chain.is_residual:
        raise InputError(f"{model.name!r} has no shortcuts: it has only one path, through all units")
    generator = np.random.default_rng(seed)
    lengths = np.unique(np.linspace(0, count, min(count + 1, MOST_PATHS)).round().astype(int))
    found = []
    for length in map(int, lengths):
        norms = []
        for _ in range(samples if 0 < length < count else 1):
            branches = set(generator.permutation(count)[:length].tolist())
            [gradient] = gradients_of(
                lambda x, branches=branches: loss(labels, outputs_on_path(chain, x, branches)), [np.asarray(images, "float32")]
            )
            norms.append(float(np.linalg.norm(gradient)))
        found.append({"length": length, "norm": float(np.mean(norms)), "log10_paths": log_combinations(count, length)})
    logarithms = np.array([math.log10(row["norm"]) + row["log10_paths"] if row["norm"] else -math.inf for row in found])
    shares = 10 ** (logarithms - logarithms.max()) if np.isfinite(logarithms.max()) else np.zeros(len(found))
    return [{**row, "share": float(share)} for row, share in zip(found, shares / max(shares.sum(), 1e-300), strict=True)]


def outputs_on_path(chain: Chain, images: Any, branches: set[int]) -> Any:
    """The outputs (images, classes), with a gradient that flows on one path only.

    The path goes through the branches of the units with these numbers, and through the shortcuts of the others.
    """
    x = chain.stem(images)
    for number, unit in enumerate(chain.units):
        branch, shortcut = unit.branch(x), unit.shortcut(x) if unit.shortcut else x
        if number in branches:
            shortcut = keras.ops.stop_gradient(shortcut)
        else:
            branch = keras.ops.stop_gradient(branch)
        x = unit.after(unit.added(shortcut, branch))
    return chain.head(x)


def log_combinations(count: int, length: int) -> float:
    """The common logarithm of the number of ways to choose `length` of `count` units."""
    return (math.lgamma(count + 1) - math.lgamma(length + 1) - math.lgamma(count - length + 1)) / math.log(10)


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


def plot_path_lengths(profiles: Mapping[str, Rows]) -> Figure:
    """Rows of `path_lengths`, of one network or several by name: number of paths, gradient of one path, share of the gradient."""
    made, axes = figure(1, 3, width=3.3)
    panels = {"log10_paths": "number of paths, log10", "norm": "gradient norm of one path", "share": "share of the gradient"}
    for panel, (column, label) in zip(axes[0], panels.items(), strict=True):
        for number, (name, rows) in enumerate(profiles.items()):
            style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "markersize": 3}
            panel.plot([row["length"] for row in rows], [row[column] for row in rows], label=shortened(name), **style)
        panel.set(xlabel="path length, in units", ylabel=label)
        panel.xaxis.set_major_locator(integers())
        short_numbers(panel)
        panel.grid(alpha=0.3)
    if is_wide([row["norm"] for rows in profiles.values() for row in rows]):
        axes[0, 1].set_yscale("log")
    add_legend(made, axes[0, 0], len(profiles))
    return made
