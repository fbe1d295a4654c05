"""A metric of Keras that tells the classes apart: accuracy alone is high where one class has most of the images."""

from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("keras_resnet")
class Recall(keras.metrics.Metric):
    """Balanced accuracy: the mean over classes of their recall, the share of a class's images that are put into it.

    Classes without images do not count. `by_class` has the recall of each.
    """

    def __init__(self, classes: int, name: str = "balanced_accuracy", **settings: Any) -> None:
        super().__init__(name=name, **settings)
        self.classes = classes
        self.hits = self.add_variable((classes,), "zeros", dtype="float32", name="hits")
        self.images = self.add_variable((classes,), "zeros", dtype="float32", name="images")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: integer labels (batch,) or (batch, 1), and outputs (batch, classes)."""
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        is_hit = ops.cast(ops.equal(labels, ops.cast(ops.argmax(y_pred, axis=-1), "int32")), "float32")
        members = ops.one_hot(labels, self.classes, dtype="float32")
        self.images.assign(self.images + ops.sum(members, axis=0))
        self.hits.assign(self.hits + ops.matmul(is_hit, members))

    def result(self) -> Any:
        """The mean recall of the classes that have images."""
        recall = self.hits / ops.maximum(self.images, 1)
        return ops.sum(recall) / ops.maximum(ops.sum(ops.cast(self.images > 0, "float32")), 1)

    def by_class(self) -> list[float | None]:
        """The recall of each class; None for one without images."""
        hits, images = (np.array(ops.convert_to_numpy(variable)) for variable in (self.hits, self.images))
        return [float(hit) / float(count) if count else None for hit, count in zip(hits, images, strict=True)]

    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes."""
        return {**super().get_config(), "classes": self.classes}


def recall_of(model: keras.Model) -> Recall:
    """The `Recall` that a model was compiled with, which holds the counts of its last evaluation."""
    compiled = [metric for group in model.metrics for metric in getattr(group, "metrics", [])]
    return next(metric for metric in compiled if isinstance(metric, Recall))
