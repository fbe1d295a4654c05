"""The loss of a classifier: cross-entropy over all classes (softmax), or binary cross-entropy of each class."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


def classification_loss(
    kind: str, *, one_hot: bool, label_smoothing: float, from_logits: bool, class_weights: Sequence[float] | None = None
) -> keras.losses.Loss:
    """The loss for labels (batch, classes) where they are one-hot, else integers (batch,); `kind` is "softmax" or "binary".

    With `class_weights` each example counts as much as its class does, and one with shares of several as much as they do together.
    """
    if class_weights is not None:
        plain = classification_loss(kind, one_hot=one_hot, label_smoothing=label_smoothing, from_logits=from_logits)
        return ClassWeighted(plain, class_weights)
    if kind == "binary":
        return PresenceCrossentropy(label_smoothing, from_logits=from_logits)
    if one_hot:
        return keras.losses.CategoricalCrossentropy(from_logits=from_logits, label_smoothing=label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


@keras.saving.register_keras_serializable("keras_resnet")
class ClassWeighted(keras.losses.Loss):
    """Another loss, that of each example times the weight of its class; the mean is over the number of examples."""

    def __init__(self, plain: keras.losses.Loss, weights: Sequence[float], name: str = "class_weighted", **settings: Any) -> None:
        super().__init__(name=name, **settings)
        self.plain, self.weights = plain, [float(weight) for weight in weights]

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Labels (batch,) or (batch, classes), and outputs (batch, classes), to losses (batch,)."""
        losses = self.plain.call(y_true, y_pred)
        weights = ops.convert_to_tensor(self.weights, losses.dtype)
        if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == len(self.weights):
            return losses * ops.matmul(ops.cast(y_true, losses.dtype), weights)
        return losses * ops.take(weights, ops.reshape(ops.cast(y_true, "int32"), ops.shape(losses)))

    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes."""
        plain = keras.saving.serialize_keras_object(self.plain)
        return {**super().get_config(), "plain": plain, "weights": self.weights}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ClassWeighted":
        """A loss of that configuration."""
        return cls(**{**config, "plain": keras.saving.deserialize_keras_object(config["plain"])})


@keras.saving.register_keras_serializable("keras_resnet")
class PresenceCrossentropy(keras.losses.Loss):
    """Binary cross-entropy of each class by itself, where every class with a share of the image is present (arXiv:2110.00476)."""

    def __init__(self, label_smoothing: float = 0.0, from_logits: bool = True, name: str = "presence", **settings: Any) -> None:
        super().__init__(name=name, **settings)
        self.label_smoothing, self.from_logits = label_smoothing, from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Labels and outputs (batch, classes) to losses (batch,)."""
        present = ops.cast(y_true > 0, y_pred.dtype)
        target = present * (1 - self.label_smoothing) + self.label_smoothing / y_pred.shape[-1]
        return ops.mean(ops.binary_crossentropy(target, y_pred, from_logits=self.from_logits), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing, "from_logits": self.from_logits}
