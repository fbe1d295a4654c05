"""The classifier of a pretrained network fitted to its features, before the other weights are trained: "linear probe, then
fine-tune" (arXiv:2202.10054)."""

import warnings
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_resnet.confidence import are_told_apart
from keras_resnet.data import Dataset
from keras_resnet.errors import InputError
from keras_resnet.training.first_weights import classifier_of

STRENGTHS = tuple(10.0**exponent for exponent in (-4, -3.5, -3, -2.5, -2, -1.5, -1, -0.5, 0))
"""Inverse strengths of the L2 penalty that are tried, for standardised features."""
WITHOUT_CHOICE = 0.01  # the one that is taken where a class has a single image
FOLDS = 5
ABSENT = -10.0  # bias of a class without training images


@dataclass(frozen=True)
class LinearProbe:
    """A network with its fitted classifier."""

    strength: float
    """Inverse strength of the L2 penalty."""
    weights: list[np.ndarray]
    """Of the whole network."""
    validation: dict[str, float]
    """Loss and accuracy on the validation images."""

    def is_better_than(self, row: dict[str, float], images: int) -> bool:
        """Whether it is more accurate on so many validation images than an epoch of the history, beyond chance."""
        mine, other = self.validation["accuracy"], row["val_accuracy"]
        return mine > other and are_told_apart(mine, other, images)


def fit(model: keras.Model, data: Dataset, class_weights: list[float] | None = None) -> LinearProbe:
    """Fit the classifier of a compiled model to the features of the training images, in place.

    The images are not augmented. The strength of the L2 penalty is that of the least cross-validated loss. `class_weights` has the
    weight of each class in the loss. InputError for a stream, whose training labels are not known beforehand.
    """
    if not data.knows_all_labels:
        raise InputError("linear_probe=true needs images whose labels are known beforehand: not those of an iterable")
    head = classifier_of(model)
    trunk = keras.Model(model.input, head.input)
    batches = (trunk(images, training=False) for images, _ in data.batches("train"))
    features = np.concatenate([keras.ops.convert_to_numpy(batch) for batch in batches]).astype("float64")
    strength, kernel, bias = logistic_regression(features, data.splits["train"].labels, len(data.class_names), class_weights)
    head.set_weights([kernel, bias])
    measured = model.evaluate(data.validation, verbose=0, return_dict=True)
    return LinearProbe(strength, model.get_weights(), {name: float(measured[name]) for name in ("loss", "accuracy")})


def logistic_regression(
    features: np.ndarray, labels: np.ndarray, classes: int, class_weights: list[float] | None = None
) -> tuple[float, np.ndarray, np.ndarray]:
    """Multinomial logistic regression of features (images, width) with an L2 penalty chosen by cross-validation.

    Returns: inverse strength of the penalty, kernel (width, classes) and bias (classes,) for the features as they are.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    mean, deviation = features.mean(0), features.std(0) + 1e-6
    scaled = (features - mean) / deviation
    present, counts = np.unique(labels, return_counts=True)
    weights = {int(label): class_weights[label] for label in present} if class_weights else None
    regression = LogisticRegression(C=WITHOUT_CHOICE, class_weight=weights, max_iter=500)
    with warnings.catch_warnings(action="ignore"):  # of weak penalties that have not converged: they are not chosen
        folds = min(FOLDS, int(counts.min()))
        if folds > 1:
            search: Any = GridSearchCV(regression, {"C": STRENGTHS}, cv=folds, scoring="neg_log_loss").fit(scaled, labels)
            regression = search.best_estimator_
        else:
            regression.fit(scaled, labels)
    slopes, intercepts = regression.coef_, regression.intercept_
    if len(present) == 2:  # one logit, of the second class
        slopes, intercepts = np.concatenate([-slopes, slopes]) / 2, np.concatenate([-intercepts, intercepts]) / 2
    kernel, bias = np.zeros((features.shape[1], classes), "float32"), np.full(classes, ABSENT, "float32")
    kernel[:, present] = (slopes / deviation).T
    bias[present] = intercepts - slopes @ (mean / deviation)
    return regression.C, kernel, bias
