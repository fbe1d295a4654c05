"""Channels with next to no weights but a bias, as batch normalisation leaves them, keep their bias in integers.

A bias is stored in 32 bits, as multiples of the scale of its inputs times that of the weights of its channel. Where the weights are
close to 0, these multiples would be too large, and the AI Edge Quantizer cuts them off.
"""

from typing import Any

import numpy as np

from keras_resnet.export.operations import kind_of_operation

CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}  # of the weights
MOST = 2**30  # multiples that a bias may be
LARGEST = 127  # integer of a weight


def with_room_for_biases(content: bytes, ranges: dict[str, Any], steps: int) -> bytes:
    """A float32 file in which one weight of such channels is enlarged, by so little that an output moves by less than 1 % of its
    bias. `ranges` has the "min" and "max" of tensors by name; that of an input is divided into so many `steps`."""
    from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray, read_model_from_bytearray

    model = read_model_from_bytearray(content)
    changes = [widen(model, graph, operator, ranges, steps) for graph in model.subgraphs for operator in graph.operators]
    return bytes(convert_object_to_bytearray(model)) if any(changes) else content


def widen(model: Any, graph: Any, operator: Any, ranges: dict[str, Any], steps: int) -> bool:
    """Enlarge a weight of each channel of an operation that has no room for its bias; returns whether there was any."""
    axis = CHANNEL_AXIS.get(kind_of_operation(model, operator))
    if axis is None or len(operator.inputs) < 3 or operator.inputs[2] < 0:
        return False
    image, kernel, bias = (graph.tensors[number] for number in operator.inputs)
    limits, content = ranges.get(image.name.decode()), [model.buffers[tensor.buffer].data for tensor in (kernel, bias)]
    if limits is None or any(data is None for data in content):
        return False
    weights, biases = (np.frombuffer(bytes(data), "float32").copy() for data in content)
    rows = np.moveaxis(weights.reshape(kernel.shape), axis, 0)  # a view
    scale = max(np.max(limits["max"]), 0) - min(np.min(limits["min"]), 0)
    least = np.abs(biases) * LARGEST * steps / (max(scale, 1e-9) * MOST)
    small = np.flatnonzero(np.abs(rows).reshape(len(rows), -1).max(1) < least)
    for channel in small:
        rows[channel].flat[0] = least[channel]
    if len(small):
        model.buffers[kernel.buffer].data = np.frombuffer(weights.tobytes(), np.uint8)
    return bool(len(small))
