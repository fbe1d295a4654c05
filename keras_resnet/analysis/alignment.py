"""Similarity of the layers of one network or of two: linear centred kernel alignment (arXiv:1905.00414)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_resnet.analysis.derivatives import batches, to_numpy
from keras_resnet.analysis.figures import Figure, figure, shortened
from keras_resnet.analysis.rows import Rows
from keras_resnet.analysis.steps import Network, values_at
from keras_resnet.analysis.units import Chain
from keras_resnet.errors import InputError

NAMED = 30  # layers up to which an axis of the plot has names


class Similarity(NamedTuple):
    """The similarity of every layer of one network to every layer of another network, or of itself."""

    values: np.ndarray
    """(layers of the first, layers of the second), 0 to 1; NaN for a layer whose output is the same for all images."""
    first: list[str]
    second: list[str]

    def rows(self) -> Rows:
        """A row for each pair of layers."""
        return [
            {"first": one, "second": other, "similarity": float(self.values[row, column])}
            for row, one in enumerate(self.first)
            for column, other in enumerate(self.second)
        ]


def similarity(
    model: keras.Model, images: np.ndarray, other: keras.Model | None = None, *, layers: Sequence[str] | None = None
) -> Similarity:
    """Linear centred kernel alignment of the layers of a network with those of another one, or with each other (arXiv:1905.00414
    eq. 1 to 3), computed on all images at once, not by minibatches.

    Args:
        model: a functional Keras model.
        images: (images, *space, channels), as the models take them, at least three. Memory grows with the square of their number.
        other: another network for the same images, such as one of another seed; None compares `model` with itself.
        layers: names of layers; None takes the output of each unit.

    Returns: a `Similarity`. InputError for fewer than three images, for an unknown layer, and for a model that is not a chain of
    units if no layers are given.
    """
    if len(images) < 3:
        raise InputError(f"{len(images)} images: an alignment needs at least three")
    first, one = grams(model, images, layers)
    second, two = (first, one) if other is None else grams(other, images, layers)
    products = one @ two.T
    with np.errstate(invalid="ignore", divide="ignore"):
        values = products / np.linalg.norm(one, axis=1)[:, None] / np.linalg.norm(two, axis=1)[None]
    return Similarity(values, first, second)


def grams(model: keras.Model, images: np.ndarray, layers: Sequence[str] | None) -> tuple[list[str], np.ndarray]:
    """Names of layers, and their centred Gram matrices, flattened: (layers, images * images)."""
    network = Network(model) if layers else (chain := Chain(model)).network
    ends = {name: network.value_of(name) for name in layers} if layers else {unit.name: found for unit, found in unit_ends(chain)}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ends}
    with keras.StatelessScope():
        for batch in batches(images):
            values = values_at(set(ends.values()), network.steps, {network.start: batch})
            for name, value in ends.items():
                x = to_numpy(values[value])
                parts[name].append(x.reshape(len(x), -1))
    return list(ends), np.stack([centred_gram(np.concatenate(found)).ravel() for found in parts.values()])


def unit_ends(chain: Chain) -> list[tuple[Any, int]]:
    """Each unit with the number of its output tensor."""
    return [(unit, unit.after.start) for unit in chain.units]


def centred_gram(features: np.ndarray) -> np.ndarray:
    """The Gram matrix (images, images) of features (images, any number) whose mean over the images is subtracted."""
    centred = features.astype("float64") - features.mean(0, dtype="float64")
    return centred @ centred.T


def plot_similarity(found: Similarity, *, names: tuple[str, str] = ("layer", "layer")) -> Figure:
    """A similarity as a heatmap, with the early layers at the bottom left. `names` label the axes, the first network across."""
    made, axes = figure(width=5.0, height=4.4)
    picture = axes[0, 0].imshow(
        found.values.T, origin="lower", cmap="magma", vmin=0, vmax=1, interpolation="nearest", aspect="auto"
    )
    axes[0, 0].set_xlabel(names[0], parse_math=False)
    axes[0, 0].set_ylabel(names[1], parse_math=False)
    if max(len(found.first), len(found.second)) <= NAMED:
        small = 7 if len(found.first) <= 18 else 5
        axes[0, 0].set_xticks(
            range(len(found.first)), [shortened(name) for name in found.first], rotation=90, fontsize=small, parse_math=False
        )
        axes[0, 0].set_yticks(
            range(len(found.second)), [shortened(name) for name in found.second], fontsize=small, parse_math=False
        )
    made.colorbar(picture, ax=axes[0, 0], label="linear centred kernel alignment")
    return made
