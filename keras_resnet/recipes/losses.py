"""The loss of a classifier: cross-entropy over all classes (softmax), or binary cross-entropy of each class."""

from typing import Any

import keras
from keras import ops


def classification_loss(kind: str, *, one_hot: bool, label_smoothing: float, from_logits: bool) -> keras.losses.Loss:
    """The loss for labels (batch, classes) where they are one-hot, else integers (batch,); `kind` is "softmax" or "binary"."""
    if kind == "binary":
        return PresenceCrossentropy(label_smoothing, from_logits=from_logits)
    if one_hot:
        return keras.losses.CategoricalCrossentropy(from_logits=from_logits, label_smoothing=label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


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
