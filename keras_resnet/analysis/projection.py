"""PCA or t-SNE of the features that enter the classifier."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_resnet.analysis.derivatives import applied
from keras_resnet.analysis.figures import Figure, as_picture, figure, shortened
from keras_resnet.analysis.steps import Network
from keras_resnet.errors import InputError, unknown

METHODS = ("pca", "tsne")
PERPLEXITY = 30.0  # of t-SNE, at most; a third of the number of images if that is less
APART = 0.03  # smallest distance of pictures, as a share of the plot's side
NAMED = 20  # classes up to which a plot has their names
CLASS_COLOURS = ("#332288", "#88CCEE", "#117733", "#DDCC77", "#CC6677", "#AA4499", "#44AA99", "#882255", "#999933", "#000000")
"""The muted colours of Paul Tol, safe for the colour-blind (https://personal.sron.nl/~pault/), and black."""


def embedding(model: keras.Model, images: np.ndarray, *, method: str = "pca", seed: int = 0) -> np.ndarray:
    """The images as points in a plane: PCA (doi:10.1080/14786440109462720) or t-SNE of their pooled features.

    Args:
        model: a functional Keras classifier.
        images: (images, *space, channels), at least three, as the model takes them.
        method: "pca", the first two principal components, or "tsne" of scikit-learn (extra `data`).
        seed: of t-SNE.

    Returns: (images, 2). InputError for another method, for fewer than three images, and for a model without features.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    points = pooled_features(model, images)
    if len(points) < 3:
        raise InputError(f"{len(points)} images: an embedding needs at least three")
    if not np.isfinite(points).all():
        raise InputError(f"{model.name!r} gives features that are not finite numbers: there is no embedding of them")
    if method == "pca":
        return principal_components(points)
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # several threads wait for each other longer than they compute
        return np.asarray(TSNE(perplexity=min(PERPLEXITY, len(points) / 3), init="pca", random_state=seed).fit_transform(points))


def pooled_features(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The input of the last dense layer, or else the last feature map averaged over space: (images, features)."""
    network = Network(model)
    dense = [step for step in network.steps if isinstance(step.operation, keras.layers.Dense)]
    value = dense[-1].sources[0] if dense else network.last_map()
    found = applied(network.between(network.start, value), images)
    return found.mean(tuple(range(1, found.ndim - 1))) if found.ndim > 2 else found


def principal_components(points: np.ndarray) -> np.ndarray:
    """Points (images, features) along the first two principal components: (images, 2). The largest loading of each is positive."""
    centred = points.astype("float64") - points.mean(0, dtype="float64")
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    found = np.zeros((len(points), 2))
    for axis, direction in enumerate(directions[:2]):
        found[:, axis] = centred @ direction * np.sign(direction[np.abs(direction).argmax()])
    return found


def plot_embedding(
    points: np.ndarray, images: np.ndarray, labels: np.ndarray, class_names: Sequence[str], *, method: str = "pca"
) -> Figure:
    """A scatter plot of the points with some of the pictures, framed in the colour of their class; signals and volumes are dots.

    Args:
        points: (images, 2).
        images: (images, *space, channels).
        labels: integers (images,).
        class_names: in the order of the classes.
        method: the method of the points.
    """
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage
    from matplotlib.patheffects import withStroke

    made, axes = figure(width=6.5, height=5.6)
    panel, present = axes[0, 0], np.unique(labels)
    colours = dict(zip(present.tolist(), class_colours(len(present)), strict=True))
    for label in present:
        panel.plot(*points[labels == label].T, "o", markersize=3, alpha=0.7, color=colours[label])
    for place in apart(points) if images.ndim == 4 else []:
        small = OffsetImage(as_picture(images[place]), zoom=14 / max(images.shape[1:3]), cmap="gray", interpolation="nearest")
        frame = {"edgecolor": colours[labels[place]], "linewidth": 1.5, "facecolor": "none"}
        panel.add_artist(AnnotationBbox(small, points[place], pad=0.05, bboxprops=frame))
    for label in present if len(present) <= NAMED else []:
        text = {"fontsize": 11, "fontweight": "bold", "ha": "center", "color": colours[label], "parse_math": False, "zorder": 10}
        outline = [withStroke(linewidth=3, foreground="white")]
        panel.text(*np.median(points[labels == label], 0), shortened(class_names[label]), path_effects=outline, **text)
    names = {
        "pca": ("first principal component", "second principal component"),
        "tsne": ("t-SNE, first axis", "t-SNE, second axis"),
    }
    panel.set(xlabel=names[method][0], ylabel=names[method][1])
    panel.margins(0.06)
    return made


def apart(points: np.ndarray) -> list[int]:
    """Indices of random points that are far enough apart for pictures on them."""
    inside = (points - points.min(0)) / np.maximum(np.ptp(points, 0), 1e-12)
    found: list[int] = []
    for place in np.random.default_rng(0).permutation(len(points)).tolist():
        if not found or np.abs(inside[found] - inside[place]).max(-1).min() >= APART:
            found.append(place)
    return found


def class_colours(count: int) -> list[object]:
    """Colours for classes: those safe for the colour-blind or, for more than ten classes, from a colour map."""
    from matplotlib import colormaps

    return (
        [*CLASS_COLOURS[:count]] if count <= len(CLASS_COLOURS) else [colormaps["turbo"]((n + 0.5) / count) for n in range(count)]
    )
