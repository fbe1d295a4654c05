"""Gradients by unit: their norms on a batch and during a training, and their correlation between images (arXiv:1702.08591)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis.derivatives import Loss, class_labels, cross_entropy, gradients_of, to_numpy, weight_gradients
from keras_resnet.analysis.figures import COLOURS, Figure, figure, lines, name_places, profile
from keras_resnet.analysis.rows import Rows, as_csv
from keras_resnet.analysis.steps import Segment
from keras_resnet.analysis.units import Chain
from keras_resnet.atomic import replace_text
from keras_resnet.errors import InputError

LABELS = {
    "weights": "gradient norm of the weights",
    "mean_weight": "mean absolute gradient of the weights",
    "output": "gradient norm of the unit output",
}


def gradients(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, *, training: bool = True, loss: Loss | None = None
) -> Rows:
    """The norm of the gradient of the loss by unit, on one batch.

    arXiv:1512.03385 section 4.1 says that batch normalisation keeps the norms healthy in plain networks too.

    Args:
        model: a functional Keras classifier, residual or plain.
        images: (images, *space, channels), as the model takes them.
        labels: integers (images,).
        training: whether batch normalisation uses batch statistics and dropout is active, as in a training step. The moving
            statistics of the model do not change.
        loss: a function of labels and outputs that gives a scalar; None is the mean cross-entropy.

    Returns: for each unit a row with the `unit`; `weights`, the Euclidean norm of the gradient with respect to all its trainable
    weights; `mean_weight`, the mean absolute value of that gradient; and `output`, the norm of the gradient with respect to the
    unit's output.

    InputError for a model that is not a chain of units, or whose last layer does not show whether it gives logits or
    probabilities.
    """
    chain = Chain(model)
    return norms(chain, images, class_labels(images, labels, loss), training, cross_entropy(model, loss))


def norms(chain: Chain, images: np.ndarray, labels: np.ndarray, training: bool, loss: Loss) -> Rows:
    """The rows of `gradients`."""
    batch, targets = keras.ops.convert_to_tensor(np.asarray(images, "float32")), np.asarray(labels)
    weights = [weights_of(unit.branch, *([unit.shortcut] if unit.shortcut else [])) for unit in chain.units]
    shapes = output_shapes(chain, images)

    def value(*probes: Any) -> Any:
        return loss(targets, probed(chain, chain.stem(batch, training), list(probes), training))

    flat = list({id(weight): weight for unit in weights for weight in unit}.values())
    by_weight = dict(zip(map(id, flat), weight_gradients(lambda: value(), flat), strict=True))
    by_output = gradients_of(value, [np.zeros(shape, "float32") for shape in shapes])
    return [
        {"unit": unit.name, **size_of([by_weight[id(weight)] for weight in own]), "output": float(np.linalg.norm(output))}
        for unit, own, output in zip(chain.units, weights, by_output, strict=True)
    ]


def size_of(arrays: list[np.ndarray]) -> dict[str, float | None]:
    """The norm and the mean absolute value of several gradients together; None if there are none."""
    if not arrays:
        return {"weights": None, "mean_weight": None}
    whole = np.concatenate([array.ravel() for array in arrays]).astype("float64")
    return {"weights": float(np.linalg.norm(whole)), "mean_weight": float(np.abs(whole).mean())}


def weights_of(*segments: Segment) -> list[Any]:
    """The trainable weights of the layers of some segments."""
    layers = {id(step.operation): step.operation for segment in segments for step in segment.steps}
    return [weight for layer in layers.values() for weight in getattr(layer, "trainable_weights", [])]


def output_shapes(chain: Chain, images: np.ndarray) -> list[tuple[int, ...]]:
    """The shapes of the outputs of the units, for a batch of images."""
    found = []
    with keras.StatelessScope():
        x = chain.stem(keras.ops.convert_to_tensor(np.asarray(images, "float32")))
        for unit in chain.units:
            y = unit(x)
            found.append(tuple(y.shape))
            x = unit.after(y)
    return found


def probed(chain: Chain, x: Any, probes: list[Any], training: bool) -> Any:
    """The outputs of a network, with a probe (a tensor of zeros) added to the output of each unit, or without probes.

    The gradient with respect to a probe is the gradient with respect to the output of its unit.
    """
    for number, unit in enumerate(chain.units):
        y = unit(x, training)
        x = unit.after(y + keras.ops.cast(probes[number], y.dtype) if probes else y, training)
    return chain.head(x, training)


class GradientNorms(keras.callbacks.Callback):
    """A callback that records gradient norms by unit during a training, as `gradients` does, on the same batch each time.

    Args:
        images: of the batch, as in `gradients`.
        labels: of the batch.
        path: a CSV file to write after each measurement, or None. An existing file is replaced.
        every: epochs between measurements; InputError below 1. The first measurement is before the training, as epoch 0.

    `rows` has a row for each epoch and unit: `epoch`, `unit`, `weights`, `mean_weight` and `output`.

    >>> norms = GradientNorms(images, labels, "norms.csv")
    >>> history = model.fit(images, labels, callbacks=[norms], verbose=0)
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, path: str | Path | None = None, *, every: int = 1) -> None:
        super().__init__()
        if every < 1:
            raise InputError(f"every={every}: expected at least 1 epoch")
        self.images, self.labels, self.every = images, class_labels(images, labels), every
        self.path = None if path is None else Path(path)
        self.rows: Rows = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.chain, self.loss = Chain(self.model), cross_entropy(self.model)
        self.rows = []
        self._measure(0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % self.every == 0:
            self._measure(epoch + 1)

    def _measure(self, epoch: int) -> None:
        self.rows += [{"epoch": epoch, **row} for row in norms(self.chain, self.images, self.labels, True, self.loss)]
        if self.path:
            replace_text(self.path, as_csv(self.rows))


def gradient_correlation(model: keras.Model, images: np.ndarray, *, training: bool = False, seed: int = 0) -> Rows:
    """The correlation between the gradients of two images, by unit (arXiv:1702.08591).

    In deep plain networks the gradients resemble white noise.
    The gradient is that of a random direction of the logits, the same for all images.

    Args:
        model: a functional Keras classifier, residual or plain.
        images: (images, *space, channels), at least two, as the model takes them.
        training: whether batch normalisation uses batch statistics, as it must in an untrained network.
        seed: of the direction.

    Returns: for each unit a row with the `unit`; `correlation`, the mean over all pairs of images of the correlation of the
    gradients with respect to the output of the unit; and `absolute`, the mean of its absolute value. Images whose gradient is
    constant are left out; None if fewer than two are left. InputError for fewer than two images.
    """
    if len(images) < 2:
        raise InputError(f"{len(images)} images: a correlation needs at least two")
    chain = Chain(model)
    batch = keras.ops.convert_to_tensor(np.asarray(images, "float32"))
    head = chain.network.logits_from(chain.head.start)
    with keras.StatelessScope():
        classes = to_numpy(chain(batch)).shape[-1]
    direction = keras.ops.convert_to_tensor(np.asarray(np.random.default_rng(seed).normal(size=classes), "float32"))

    def value(*probes: Any) -> Any:
        x = chain.stem(batch, training)
        for unit, probe in zip(chain.units, probes, strict=True):
            y = unit(x, training)
            x = unit.after(y + keras.ops.cast(probe, y.dtype), training)
        return keras.ops.sum(head(x, training) * direction)

    found = gradients_of(value, [np.zeros(shape, "float32") for shape in output_shapes(chain, images)])
    return [{"unit": unit.name, **correlations(gradient)} for unit, gradient in zip(chain.units, found, strict=True)]


def correlations(gradient: np.ndarray) -> dict[str, float | None]:
    """The mean correlation and mean absolute correlation over all pairs of images, of gradients (images, ...)."""
    flat = gradient.reshape(len(gradient), -1).astype("float64")
    flat = flat[flat.std(-1) > 0]
    if len(flat) < 2:
        return {"correlation": None, "absolute": None}
    pairs = np.corrcoef(flat)[np.triu_indices(len(flat), 1)]
    return {"correlation": float(pairs.mean()), "absolute": float(np.abs(pairs).mean())}


def plot_gradients(profiles: Mapping[str, Rows]) -> Figure:
    """Rows of `gradients` over the units, of one network or several by name."""
    return profile(profiles, {column: LABELS[column] for column in ("weights", "output")}, x="unit", log=True)


def plot_gradient_norms(rows: Rows, *, column: str = "weights") -> Figure:
    """Rows of `GradientNorms`: a line over the units for each of at most six epochs, from dark to light.

    `column` is "weights", "mean_weight" or "output", see `gradients`.
    """
    from matplotlib import colormaps

    made, axes = figure(width=5.5)
    epochs = sorted({row["epoch"] for row in rows})
    shown = [epochs[place] for place in np.unique(np.linspace(0, len(epochs) - 1, 6).round().astype(int))]
    for number, epoch in enumerate(shown):
        values = [row[column] for row in rows if row["epoch"] == epoch]
        colour = colormaps["viridis"](0.9 * number / max(1, len(shown) - 1)) if len(shown) > 1 else COLOURS[0]
        axes[0, 0].plot(range(1, len(values) + 1), values, marker="o", markersize=3, color=colour, label=f"epoch {epoch}")
    axes[0, 0].set(xlabel="unit", ylabel=LABELS[column], yscale="log")
    name_places(axes[0, 0], [row["unit"] for row in rows if row["epoch"] == shown[0]])
    axes[0, 0].grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    return made


def plot_gradient_correlation(profiles: Mapping[str, Rows]) -> Figure:
    """Rows of `gradient_correlation` over the units, of one network or several by name."""
    return lines(profiles, x="unit", y="correlation", labels=("unit", "gradient correlation"))
