"""How much each layer of a quantised file loses: the network is run with this layer in integers, and all others in float."""

import importlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np

from keras_resnet.export.operations import tflite_graph
from keras_resnet.export.quantizer import FloatFile
from keras_resnet.export.rescaling import is_by_channel
from keras_resnet.export.supported import Source
from keras_resnet.files.predictions import scores_alone
from keras_resnet.files.runtimes import tflite_runner
from keras_resnet.files.targets import Target
from keras_resnet.networks.connections import Connections, every_layer

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_3D")  # operations with weights of their own
WEIGHTED_LAYERS = tuple(
    getattr(keras.layers, name)
    for name in ("Dense", *(f"{kind}Conv{rank}D" for rank in (1, 2) for kind in ("", "Depthwise", "Separable")), "Conv3D")
)
FINAL = "StatefulPartitionedCall"  # start of the name of the output tensor of a file
EXAMPLES = 100  # calibration images that the losses are measured on


@dataclass(frozen=True)
class LayerNoise:
    """How much one layer of a quantised file loses."""

    layer: str
    """Name of the Keras layer; that of the tensor where there is none."""
    operation: str
    signal_to_noise: float
    """Decibels: the mean square of the outputs of the network in float, over that of their change when this layer alone is
    quantised. The lower, the worse."""
    tensor: str
    """Its name in the file."""


def layer_noise(file: FloatFile, source: Source, target: Target) -> list[LayerNoise]:
    """Every layer with weights, the normalisation of colours among them, the worst first."""
    images = source.calibration[:EXAMPLES]
    expected, names, rows = outputs(file.content, images), LayerNames(source.model), []
    for operation, tensor in tflite_graph(file.content).operations:
        if operation in WEIGHTED:
            noise = outputs(file.quantized(target, only=tensor), images) - expected
            rows.append(LayerNoise(names.layer_of(tensor), operation, decibels(expected, noise), tensor))
    return sorted(rows, key=lambda row: row.signal_to_noise)


def outputs(content: bytes, images: np.ndarray) -> np.ndarray:
    """The scores that a file gives for images."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        path.write_bytes(content)
        run = tflite_runner(importlib.import_module("ai_edge_litert.interpreter"), path, 1).run
        return scores_alone(run(images))


def decibels(signal: np.ndarray, noise: np.ndarray) -> float:
    """The ratio of the powers of two arrays."""
    power = float(np.mean(np.square(noise)))
    return 10 * math.log10(float(np.mean(np.square(signal))) / power) if power else math.inf


class LayerNames:
    """The Keras layers with weights, or with numbers to scale channels by, of the tensors of a file."""

    def __init__(self, model: keras.Model) -> None:
        layers, connections = list(every_layer(model)), Connections(model)
        self.weighted = [layer.name for layer in layers if isinstance(layer, WEIGHTED_LAYERS)]
        self.scaling = [layer.name for layer in layers if is_by_channel(layer)]
        norms = {norm.name: connections.only_source(norm) for norm in layers if isinstance(norm, keras.layers.BatchNormalization)}
        self.before = {name: source.name for name, source in norms.items() if isinstance(source, WEIGHTED_LAYERS)}

    def layer_of(self, tensor: str) -> str:
        """The layer that computes a tensor; its own name where there is none. A file may name a convolution after the normalisation
        behind it."""
        before = [self.before[name] for name in layer_names(tensor, self.before)]
        last = self.weighted[-1:] if tensor.startswith(FINAL) else []
        return next(iter([*layer_names(tensor, [*self.weighted, *self.scaling]), *before, *last]), tensor)


def layer_names(tensor: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that are in the name of a tensor, in order: the layer with that output, and those that compute it."""
    words = (re.sub(r"_\d+$", "", word) for word in re.split("[/;]", tensor))
    return [word for word in words if word in names]
