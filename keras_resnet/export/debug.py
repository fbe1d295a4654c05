"""Where integers hurt: the error of every layer of an int8 file, and what keeping the worst in float gives back.

TensorFlow's QuantizationDebugger computes each layer both ways from the same inputs.
"""

import csv
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import keras
import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.export.calibration import examples
from keras_resnet.export.converter import make_converter
from keras_resnet.export.interface import Source, offered
from keras_resnet.export.rescaling import is_by_channel
from keras_resnet.export.targets import Target
from keras_resnet.hooks import count_uses
from keras_resnet.networks.connections import is_fused_activation

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_3D")  # operations with weights of their own
WEIGHTED_LAYERS = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
FINAL, OUTPUT = "StatefulPartitionedCall", "output"  # name of the tensor that a file puts out, and ours of its values
TINY, TOGETHER = 1e-20, 4  # noise that is none, and images whose outputs of all layers are held at once
EXAMPLES = 100  # calibration images that errors are measured on


@dataclass(frozen=True)
class LayerNoise:
    """How much one layer of an int8 file loses."""

    layer: str
    """Name of the Keras layer; that of the tensor where there is none."""
    operation: str
    signal_to_noise: float | None
    """Decibels: for each channel the mean square of its output in float over that of the difference, and of these ratios the
    geometric mean. The lower, the worse. None where the model has no layer that puts this out."""
    steps: float
    """Root mean square of the difference, in steps of its integers: about 0.3 where all is well."""
    largest_error: float
    """Of any number that it puts out."""
    tensor: str
    """Its name in the file."""


class Debugger:
    """The int8 conversion of a network, taken apart. What it converts is that of `target` with float32 at the boundary."""

    def __init__(self, source: Source, target: Target) -> None:
        if nested := [layer.name for layer in source.model.layers if isinstance(layer, keras.Model)]:
            raise InputError(f"layers inside other models cannot be told apart: {', '.join(nested)}")
        self.source, self.target = source, target
        self.converter = make_converter(offered(source.model, target), "int8", lambda: examples(source.calibration, target.batch))

    def made(self, **options: Any) -> Any:
        """TensorFlow's debugger with those options."""
        import tensorflow as tf

        debugging, batch = tf.lite.experimental, self.target.batch
        return debugging.QuantizationDebugger(
            converter=self.converter,
            debug_dataset=lambda: islice(examples(self.source.calibration, batch), EXAMPLES),
            debug_options=debugging.QuantizationDebugOptions(**options),
        )

    def errors(self) -> list[LayerNoise]:
        """Every layer with weights, the normalisation of colours among them, the worst first."""
        noises: list[np.ndarray] = []

        def keep_noise(differences: np.ndarray) -> float:
            noises.append(by_channel(differences))
            return 0.0

        debugger = self.made(layer_debug_metrics={"noise": keep_noise})
        debugger.run()
        table = io.StringIO()
        debugger.layer_statistics_dump(table)
        rows, powers, found = list(csv.DictReader(io.StringIO(table.getvalue()))), self.powers(), []
        for number, row in enumerate(rows):
            if row["op_name"] in WEIGHTED:
                tensor, noise = row["tensor_name"], np.mean(noises[number :: len(rows)], axis=0)
                power = powers.get(next(iter(self.words(tensor, powers)), OUTPUT if tensor.startswith(FINAL) else ""))
                decibels = None if power is None else ratio_in_decibels(power, noise)
                steps = math.sqrt(float(row["mean_squared_error"])) / float(row["scale"])
                found.append(
                    LayerNoise(self.layer_of(tensor), row["op_name"], decibels, steps, float(row["max_abs_error"]), tensor)
                )
        return sorted(found, key=lambda error: math.inf if error.signal_to_noise is None else error.signal_to_noise)

    def powers(self) -> dict[str, np.ndarray]:
        """The mean square of what each layer of the network puts out in float, by channel."""
        model = self.source.model
        outputs = {layer.name: layer.output for layer in model.layers if count_uses(layer) == 1 and is_bare(layer)}
        if is_bare(model.layers[-1]):
            outputs[OUTPUT] = model.output
        every = keras.Model(model.inputs, outputs)
        images = self.source.calibration[:EXAMPLES].astype("float32")
        parts = [every.predict_on_batch(images[start : start + TOGETHER]) for start in range(0, len(images), TOGETHER)]
        squares = [{name: len(values) * by_channel(values) for name, values in part.items()} for part in parts]
        return {name: np.sum([part[name] for part in squares], axis=0) / len(images) for name in outputs}

    def words(self, tensor: str, names: Iterable[str]) -> list[str]:
        """Those of the names of layers that are in the name of a tensor, in order: what comes out of it, and what it is made by."""
        found = (re.sub(r"_\d+$", "", word) for word in re.split("[/;]", tensor))
        return [word for word in found if word in names]

    def layer_of(self, tensor: str) -> str:
        """The Keras layer with weights, or with numbers to scale channels by, that a tensor of the file is made by."""
        weighted = [layer.name for layer in self.source.model.layers if isinstance(layer, WEIGHTED_LAYERS)]
        scaling = [layer.name for layer in self.source.model.layers if is_by_channel(layer)]
        last = weighted[-1:] if tensor.startswith(FINAL) else []
        return next(iter([*self.words(tensor, [*weighted, *scaling]), *last]), tensor)

    def without(self, tensors: list[str]) -> bytes:
        """The file with the layers of those tensors in float. It gives float32 where the last layer is one of them."""
        import tensorflow as tf
        from tensorflow.lite.python.util import modify_model_io_type

        model = self.made(denylisted_nodes=tensors, fully_quantize=False).get_nondebug_quantized_model()
        boundary = getattr(tf, str(self.target.pixels))
        try:
            return bytes(modify_model_io_type(model, boundary, tf.float32 if self.target.best else boundary))
        except ValueError:  # nothing made of integers comes out
            return bytes(modify_model_io_type(model, boundary, tf.float32))


def by_channel(values: np.ndarray) -> np.ndarray:
    """The mean square of each channel of values, channels last."""
    return np.square(values).reshape(-1, values.shape[-1]).mean(0)


def ratio_in_decibels(power: np.ndarray, noise: np.ndarray) -> float:
    """The geometric mean over channels of power to noise; channels without power are dead, and left out."""
    alive = power > 0
    ratios = power[alive] / np.maximum(noise[alive], TINY)
    return float(np.mean(10 * np.log10(ratios))) if len(ratios) else math.inf


def is_bare(layer: keras.Layer) -> bool:
    """Whether what a layer puts out is what the file rounds: no function behind it that TFLite has an operation of its own for."""
    return not isinstance(layer, WEIGHTED_LAYERS) or is_fused_activation(layer.activation)
