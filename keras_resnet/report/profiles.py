"""Profiles of a trained network over its depth: layer responses and gradient norms."""

from typing import Any

import numpy as np

from keras_resnet.analysis.gradient_norms import gradients
from keras_resnet.analysis.propagation import responses
from keras_resnet.networks.cost import cost_of
from keras_resnet.report.charts import Chart, Series, lines
from keras_resnet.report.measured import Measured

MOST_IMAGES, MOST_BYTES = 64, 2**29  # of a batch, and of its activations


def profiles(measured: Measured) -> tuple[list[Chart], int]:
    """Charts of responses and gradient norms, and the number of images used. InputError if the network is not a chain of units."""
    spec = measured.run.spec
    count = min(MOST_IMAGES, len(measured.examples), max(1, MOST_BYTES // cost_of(spec).training_memory))
    images, labels = measured.examples.take(np.arange(count)), measured.examples.labels[:count]
    by_unit = gradients(measured.model, images, labels, training=False)
    charts = [
        lines(
            "standard deviation of responses", [series(responses(measured.model, images), "deviation", 2)], x_label="convolution"
        ),
        lines("gradient norm of the weights", [series(by_unit, "weights", 0)], x_label="unit", log=True),
        lines("gradient norm of the unit output", [series(by_unit, "output", 1)], x_label="unit", log=True),
    ]
    return [chart._replace(legend=[]) for chart in charts], count


def series(rows: list[dict[str, Any]], column: str, colour: int) -> Series:
    """A column of rows, counted from 1."""
    values = [float("nan") if row[column] is None else row[column] for row in rows]
    return Series(column, range(1, len(rows) + 1), values, colour)
