"""The loss around the weights of a trained network, along random directions with filter normalisation (arXiv:1712.09913)."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis.derivatives import Loss, accuracy, cross_entropy, labelled, to_numpy, with_weights
from keras_resnet.analysis.figures import COLOURS, MARKERS, Figure, add_legend, figure
from keras_resnet.analysis.rows import Rows
from keras_resnet.analysis.steps import Network
from keras_resnet.errors import InputError
from keras_resnet.networks.connections import DEPTHWISE


def directions(model: keras.Model, *, count: int = 1, seed: int = 0) -> list[list[np.ndarray]]:
    """Random directions with filter normalisation (arXiv:1712.09913 section 4).

    Each filter of a direction, and each column of a dense layer's kernel (one output), has the norm of the same filter of the
    network. The direction of weights with one axis (biases, batch normalisation) is zero.

    Args:
        model: a functional Keras model.
        count: number of independent directions.
        seed: of the random numbers.

    Returns: for each direction an array for each of `model.trainable_weights`, in the same order and of the same shape. Frozen
    weights do not move; InputError if all are frozen.
    """
    if not any(len(weight.shape) > 1 for weight in model.trainable_weights):
        raise InputError(f"{model.name!r} has no weights to move: all of its layers are frozen, or it has no kernels")
    generator, by_channel = np.random.default_rng(seed), depthwise_kernels(model)
    found = []
    for _ in range(count):
        found.append([filter_normalised(generator, weight, id(weight) in by_channel) for weight in model.trainable_weights])
    return found


def depthwise_kernels(model: keras.Model) -> set[int]:
    """The ids of depthwise kernels (*size, channels, multiplier), which have a filter for each channel."""
    operations = [step.operation for step in Network(model).steps]
    kernels = [getattr(each, "kernel" if isinstance(each, DEPTHWISE) else "depthwise_kernel", None) for each in operations]
    return {id(kernel) for kernel in kernels if kernel is not None}


def filter_normalised(generator: np.random.Generator, weight: Any, is_depthwise: bool) -> np.ndarray:
    """A random direction for one weight, an array of its shape."""
    values = to_numpy(weight.value).astype("float64")
    if values.ndim < 2:
        return np.zeros(values.shape, "float32")
    random = generator.normal(size=values.shape)
    axes = tuple(range(values.ndim - 2 if is_depthwise else values.ndim - 1))
    norms = np.sqrt(np.square(random).sum(axes, keepdims=True))
    return (random * np.sqrt(np.square(values).sum(axes, keepdims=True)) / np.where(norms, norms, 1)).astype("float32")


def landscape(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    dimensions: int = 1,
    points: int = 21,
    span: float = 1.0,
    loss: Loss | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Rows:
    """The loss and the accuracy on a line or a plane through the weights of a network (arXiv:1712.09913).

    The directions are those of `directions(model, count=dimensions, seed=seed)`. Batch normalisation uses its moving statistics, as
    in the paper. The model does not change.

    Args:
        model: a functional Keras classifier, with trained weights.
        images: (images, *space, channels), as the model takes them.
        labels: integers (images,).
        dimensions: 1 or 2.
        points: number along each direction, odd so that the network itself is one of them.
        span: largest distance on both sides, as a multiple of the direction, whose filters have the norms of the network's.
        loss: a function of labels and outputs that gives a scalar mean; None is the mean cross-entropy.
        batch_size: images at a time; None for as many as fit in memory.
        seed: of the directions.

    Returns: for each point a row with its coordinate `x`, in a plane also `y`, the `loss`, and the `accuracy`, 0 to 1. InputError
    for other dimensions, points or span, and if all weights are frozen.
    """
    if dimensions not in (1, 2) or points < 3 or points % 2 == 0 or span <= 0:
        raise InputError(
            f"dimensions={dimensions}, points={points}, span={span}: expected 1 or 2, an odd number from 3, a positive number"
        )
    loss, network = cross_entropy(model, loss), Network(model)
    forward = network.between(network.start, network.end)
    variables, ways = model.trainable_weights, directions(model, count=dimensions, seed=seed)
    start = [to_numpy(variable.value) for variable in variables]
    line = np.linspace(-span, span, points)
    rows = []
    for place in np.stack(np.meshgrid(*[line] * dimensions, indexing="ij"), -1).reshape(-1, dimensions):
        values = [
            weight + sum(step * way for step, way in zip(place, each, strict=True))
            for weight, *each in zip(start, *ways, strict=True)
        ]
        measured = with_weights(lambda: measure(forward, images, labels, loss, batch_size), variables, tensors(values))
        rows.append(dict(zip(("x", "y"), map(float, place), strict=False)) | measured)
    return rows


def tensors(values: Sequence[np.ndarray]) -> list[Any]:
    """Float32 tensors of the backend."""
    return [keras.ops.convert_to_tensor(value.astype("float32")) for value in values]


def measure(forward: Any, images: np.ndarray, labels: np.ndarray, loss: Loss, batch_size: int | None) -> dict[str, float]:
    """Mean loss and accuracy of a network."""
    total, hits = 0.0, 0.0
    for batch, part in labelled(images, labels, batch_size):
        outputs = forward(batch)
        total += float(to_numpy(loss(part, outputs))) * len(part)
        hits += accuracy(to_numpy(outputs), part) * len(part)
    return {"loss": total / len(images), "accuracy": hits / len(images)}


def plot_landscape(profiles: Mapping[str, Rows]) -> Figure:
    """Rows of `landscape`: on a line, curves of one network or several by name; on a plane, contours of the first network."""
    name, rows = next(iter(profiles.items()))
    if "y" in rows[0]:
        return contours(name, rows)
    made, axes = figure(1, 2, width=3.8)
    for number, (name, rows) in enumerate(profiles.items()):
        style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "markersize": 3, "label": name}
        axes[0, 0].plot([row["x"] for row in rows], [row["loss"] for row in rows], **style)
        axes[0, 1].plot([row["x"] for row in rows], [100 * row["accuracy"] for row in rows], **style)
    for panel, label in zip(axes[0], ("loss", "accuracy, %"), strict=True):
        panel.set(xlabel="distance along a random direction", ylabel=label)
        panel.axvline(0, color="grey", linestyle=":", linewidth=1)
        panel.grid(alpha=0.3)
    axes[0, 0].set_yscale("log")
    add_legend(made, axes[0, 0], len(profiles))
    return made


def contours(name: str, rows: Rows) -> Figure:
    """The loss on a plane as contours at geometrically spaced levels."""
    from matplotlib.colors import LogNorm

    made, axes = figure(width=4.8, height=4.0)
    xs, ys = (sorted({row[axis] for row in rows}) for axis in ("x", "y"))
    losses = np.maximum(np.array([row["loss"] for row in rows]).reshape(len(xs), len(ys)).T, 1e-6)
    known = losses[np.isfinite(losses)]
    if not len(known):
        raise InputError("the loss is nowhere finite: there is nothing to plot")
    levels = np.geomspace(known.min(), max(known.max(), known.min() * 1.01), 16)
    filled = axes[0, 0].contourf(xs, ys, losses, levels=levels, norm=LogNorm(levels[0], levels[-1]), cmap="viridis")
    axes[0, 0].contour(xs, ys, losses, levels=levels, colors="white", linewidths=0.4)
    axes[0, 0].plot(0, 0, "+", color="white", markersize=9, markeredgewidth=2)
    axes[0, 0].set(xlabel="first random direction", ylabel="second random direction", aspect="equal")
    bar = made.colorbar(filled, ax=axes[0, 0], label="loss", ticks=levels[::3])
    bar.ax.set_yticklabels([f"{level:.3g}" for level in levels[::3]])
    bar.ax.minorticks_off()
    return made
