"""The gradient on the paths of each length through a residual network (arXiv:1605.06431)."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis.derivatives import Loss, class_labels, cross_entropy, gradients_of
from keras_resnet.analysis.figures import COLOURS, MARKERS, Figure, add_legend, figure, integers, is_wide, short_numbers, shortened
from keras_resnet.analysis.rows import Rows
from keras_resnet.analysis.units import Chain
from keras_resnet.errors import InputError

MOST_PATHS = 40  # lengths that are measured, evenly spaced if there are more


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
