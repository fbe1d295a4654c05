"""The error of every layer of an int8 file, and int8 files with the worst layers in float.

TensorFlow's QuantizationDebugger computes each layer in float and in int8, from the same inputs.
"""

import csv
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.export.calibration import calibration_batches
from keras_resnet.export.converter import make_converter
from keras_resnet.export.rescaling import is_by_channel
from keras_resnet.export.signature import with_interface
from keras_resnet.export.supported import Source
from keras_resnet.export.targets import Target
from keras_resnet.hooks import count_uses, with_boundary
from keras_resnet.networks.connections import is_fused_activation

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_3D")  # operations with weights of their own
WEIGHTED_LAYERS = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
FINAL, OUTPUT = "StatefulPartitionedCall", "output"  # name of the output tensor of a file, and ours of its values
TINY = 1e-20  # noise that is none
BATCH = 4  # images whose outputs of all layers are in memory at once
EXAMPLES = 100  # calibration images that errors are measured on


@dataclass(frozen=True)
class LayerNoise:
    """How much one layer of an int8 file loses."""

    layer: str
    """Name of the Keras layer; that of the tensor where there is none."""
    operation: str
    signal_to_noise: float | None
    """Decibels: for each channel the mean square of its output in float over that of the difference, and of these ratios the
    geometric mean. The lower, the worse. None where the model has no layer with this output."""
    steps: float
    """Root mean square of the difference, in steps of its integers: about 0.3 where all is well."""
    largest_error: float
    """Of any number in its output."""
    tensor: str
    """Its name in the file."""


class Debugger:
    """The int8 conversion of a network to `target`, layer by layer, with float32 at the boundary."""

    def __init__(self, source: Source, target: Target) -> None:
        if nested := [layer.name for layer in source.model.layers if isinstance(layer, keras.Model)]:
            raise InputError(f"layers of models inside the model cannot be listed: {', '.join(nested)}")
        self.source, self.target = source, target
        examples = partial(calibration_batches, source.calibration, target.batch)
        self.converter = make_converter(with_interface(source, target), "int8", examples)

    def make_debugger(self, **options: Any) -> Any:
        import tensorflow as tf

        return tf.lite.experimental.QuantizationDebugger(
            converter=self.converter,
            debug_dataset=partial(calibration_batches, self.source.calibration[:EXAMPLES], self.target.batch),
            debug_options=tf.lite.experimental.QuantizationDebugOptions(**options),
        )

    def errors(self) -> list[LayerNoise]:
        """Every layer with weights, the normalisation of colours among them, the worst first."""
        noises: list[np.ndarray] = []

        def keep_noise(differences: np.ndarray) -> float:
            noises.append(channel_powers(differences))
            return 0.0

        debugger = self.make_debugger(layer_debug_metrics={"noise": keep_noise})
        debugger.run()
        table = io.StringIO()
        debugger.layer_statistics_dump(table)
        rows, powers, layers = list(csv.DictReader(io.StringIO(table.getvalue()))), self.powers(), []
        for number, row in enumerate(rows):
            if row["op_name"] in WEIGHTED:
                tensor, noise = row["tensor_name"], np.mean(noises[number :: len(rows)], axis=0)
                power = powers.get(next(iter(layer_names(tensor, powers)), OUTPUT if tensor.startswith(FINAL) else ""))
                decibels = None if power is None else ratio_in_decibels(power, noise)
                steps = math.sqrt(float(row["mean_squared_error"])) / float(row["scale"])
                layer = self.layer_of(tensor)
                layers.append(LayerNoise(layer, row["op_name"], decibels, steps, float(row["max_abs_error"]), tensor))
        return sorted(layers, key=lambda error: math.inf if error.signal_to_noise is None else error.signal_to_noise)

    def powers(self) -> dict[str, np.ndarray]:
        """The mean square of the output of each layer of the network in float, by channel."""
        model = self.source.model
        outputs = {layer.name: layer.output for layer in model.layers if count_uses(layer) == 1 and is_output_in_file(layer)}
        if is_output_in_file(model.layers[-1]):
            outputs[OUTPUT] = model.output
        probe = keras.Model(model.inputs, outputs)
        images = self.source.calibration[:EXAMPLES].astype("float32")
        batches = [probe.predict_on_batch(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        sums = [{name: len(values) * channel_powers(values) for name, values in batch.items()} for batch in batches]
        return {name: np.sum([part[name] for part in sums], axis=0) / len(images) for name in outputs}

    def layer_of(self, tensor: str) -> str:
        """The Keras layer with weights, or with numbers to scale channels by, that computes a tensor of the file."""
        weighted = [layer.name for layer in self.source.model.layers if isinstance(layer, WEIGHTED_LAYERS)]
        scaling = [layer.name for layer in self.source.model.layers if is_by_channel(layer)]
        last = weighted[-1:] if tensor.startswith(FINAL) else []
        return next(iter([*layer_names(tensor, [*weighted, *scaling]), *last]), tensor)

    def convert(self, float_tensors: list[str]) -> bytes:
        """The file with the layers of those tensors in float. It gives float32 where the last layer is one of them."""
        import tensorflow as tf

        model = self.make_debugger(denylisted_nodes=float_tensors, fully_quantize=False).get_nondebug_quantized_model()
        boundary = getattr(tf, str(self.target.pixels))
        try:
            return with_boundary(model, boundary, tf.float32 if self.target.best else boundary)
        except ValueError:  # its output is no integer
            return with_boundary(model, boundary, tf.float32)


def layer_names(tensor: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that are in the name of a tensor, in order: the layer with that output, and those that compute it."""
    words = (re.sub(r"_\d+$", "", word) for word in re.split("[/;]", tensor))
    return [word for word in words if word in names]


def channel_powers(values: np.ndarray) -> np.ndarray:
    """The mean square of each channel of values, channels last."""
    return np.square(values).reshape(-1, values.shape[-1]).mean(0)


def ratio_in_decibels(power: np.ndarray, noise: np.ndarray) -> float:
    """The geometric mean over channels of power to noise, without dead channels."""
    is_alive = power > 0
    ratios = power[is_alive] / np.maximum(noise[is_alive], TINY)
    return float(np.mean(10 * np.log10(ratios))) if len(ratios) else math.inf


def is_output_in_file(layer: keras.Layer) -> bool:
    """Whether the file has the output of a layer as a tensor, with no activation behind it that is an operation of its own."""
    return not isinstance(layer, WEIGHTED_LAYERS) or is_fused_activation(layer.activation)
