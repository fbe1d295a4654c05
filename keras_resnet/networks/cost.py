"""The cost of a network, from its spec alone: parameters, multiply-adds, activation memory, receptive field, `.tflite` sizes.

Nothing is built and no framework is loaded. Counts are exact; file sizes are estimates to a few per cent.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from keras_resnet.networks import graph
from keras_resnet.networks.conflicts import NOT_NEGATIVE
from keras_resnet.networks.fusion import FUSED_ACTIVATIONS, is_folded
from keras_resnet.networks.graph import Convolution, Dense, Gain, Node, Norm, Pool, channels, in_order
from keras_resnet.networks.resnet import Pooling, outputs, part_of, parts
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import resolve

FLOAT = 4  # bytes
OPEN_SIZE = 224  # pixels, for the cost of a network that takes any size


class FileFormat(NamedTuple):
    """Bytes of a file: of each weight and output channel of a convolution, and of what describes each operation and the whole."""

    weight: float
    channel: int
    operation: int
    convolution: int
    group_norm: int
    start: int


# Fitted to 30 exported networks of 26 thousand to 34 million parameters, TensorFlow 2.21 and AI Edge Quantizer 0.10
# (benchmarks/tflite_sizes.py).
TFLITE_FLOAT32 = FileFormat(weight=4, channel=4, operation=210, convolution=460, group_norm=2800, start=900)
TFLITE_INT8 = FileFormat(weight=1, channel=28, operation=230, convolution=620, group_norm=3900, start=3300)
TFLITE_INT4 = TFLITE_INT8._replace(weight=0.5)
# Operations in a file that a layer becomes, where it is not one. A ReLU after a convolution or sum is part of that.
OPERATIONS: dict[type[Node] | str, int] = {
    graph.Input: 0,
    graph.Dropout: 0,
    graph.Rescale: 2,
    graph.Reshape: 3,
    **dict.fromkeys(FUSED_ACTIVATIONS, 0),
    "silu": 2,
}
FROM_1D = 7  # more of them around a convolution or pooling of one dimension, which is done in two


class LayerCost(NamedTuple):
    """One layer. `output` has no batch; `receptive_field` is in pixels of the input along one axis."""

    name: str
    part: str
    output: tuple[int, ...]
    trainable: int
    non_trainable: int
    multiply_adds: int
    receptive_field: int


@dataclass(frozen=True)
class Cost:
    """What a network costs. Memory is in bytes of float32 activations for one image, without parameters."""

    layers: tuple[LayerCost, ...] = field(repr=False)
    trainable: int
    non_trainable: int
    multiply_adds: int
    receptive_field: int
    """Pixels along one axis that one number of the last map depends on (squeeze-and-excitation, which sees all, left out)."""
    inference_memory: int
    """Most bytes alive at a time, layer after layer, each tensor given back after its last use."""
    training_memory: int
    """Tensors that the backward pass reads again."""
    remat_memory: int
    """The same with every unit recomputed from its input (`build(..., remat=True)`): the inputs, and the largest unit."""
    tflite_float32: int
    tflite_int8: int
    tflite_int4: int
    """Estimated bytes of the files."""

    @property
    def parts(self) -> list[dict[str, Any]]:
        """Rows for input, stem, each stage and head, and their total: units, output, parameters, multiply-adds, receptive field."""
        rows: dict[str, dict[str, Any]] = {}
        units: set[str] = set()
        for layer in self.layers:
            part = layer.part.partition("_")[0]
            row = rows.setdefault(part, {"part": part, "units": 0, "output": "", "trainable": 0, "multiply_adds": 0})
            row["units"] += "_" in layer.part and layer.part not in units
            units.add(layer.part)
            row["output"] = "x".join(map(str, layer.output))
            row["trainable"] += layer.trainable
            row["multiply_adds"] += layer.multiply_adds
            row["receptive_field"] = layer.receptive_field
        total = {"part": "total", "units": sum(row["units"] for row in rows.values()), "output": row["output"]}
        counts = {"trainable": self.trainable, "multiply_adds": self.multiply_adds, "receptive_field": self.receptive_field}
        return [*rows.values(), {**total, **counts}]

    def training_bytes(self, batch: int, *, remat: bool = False) -> int:
        """Activations of a batch, with parameters, their gradients and one momentum each."""
        return batch * (self.remat_memory if remat else self.training_memory) + FLOAT * (3 * self.trainable + self.non_trainable)

    def training_rows(self, batch: int) -> list[dict[str, Any]]:
        """Rows in MB: training with every activation kept, and with every unit recomputed."""
        kinds = (("everything kept", False, self.training_memory), ("remat=True", True, self.remat_memory))
        return [
            {
                "training": label,
                "batch": batch,
                "activations_MB": round(batch * activations / 1e6),
                "total_MB": round(self.training_bytes(batch, remat=remat) / 1e6),
            }
            for label, remat, activations in kinds
        ]


def cost_of(
    spec: str | ResNetSpec,
    *,
    features: Iterable[int] | None = None,
    include_top: bool = True,
    pooling: Pooling | None = None,
    **fields: Any,
) -> Cost:
    """The cost of the network that `build` makes of the same arguments, in milliseconds.

    InputError if `input_shape` leaves a size open.

    >>> cost_of("resnet50").multiply_adds
    4089184256
    """
    spec = resolve(spec, **fields)
    if features is None and include_top and pooling is None:
        return cost_of_classifier(spec)
    return count_cost(spec, features, include_top, pooling)


@lru_cache(maxsize=1024)
def cost_of_classifier(spec: ResNetSpec) -> Cost:
    """The cost of a whole network; a search asks for those of its trials again and again."""
    return count_cost(spec, None, True, None)


def count_cost(spec: ResNetSpec, features: Iterable[int] | None, include_top: bool, pooling: Pooling | None) -> Cost:
    """`cost_of`, counted anew."""
    spec.require_sizes("the cost")
    _, out = outputs(spec, features=features, include_top=include_top, pooling=pooling)
    ends = list(out.values()) if isinstance(out, dict) else [out]
    nodes = in_order(ends)
    reach = receptive_fields(nodes)
    rows = tuple(
        LayerCost(
            name=str(node.name),
            part=part_of(node),
            output=sizes(node),
            trainable=parameters(node),
            non_trainable=statistics(node),
            multiply_adds=multiply_adds(node),
            receptive_field=reach[node],
        )
        for node in nodes
    )
    return Cost(
        layers=rows,
        trainable=sum(row.trainable for row in rows),
        non_trainable=sum(row.non_trainable for row in rows),
        multiply_adds=sum(row.multiply_adds for row in rows),
        receptive_field=max(reach.values()),
        inference_memory=FLOAT * peak(nodes, ends),
        training_memory=FLOAT * elements(saved(nodes)),
        remat_memory=FLOAT * recomputed(nodes, ends),
        tflite_float32=tflite_bytes(nodes, TFLITE_FLOAT32),
        tflite_int8=tflite_bytes(nodes, TFLITE_INT8 if len(spec.input_shape) < 4 else TFLITE_FLOAT32),
        tflite_int4=tflite_bytes(nodes, TFLITE_INT4 if len(spec.input_shape) < 4 else TFLITE_FLOAT32),
    )


def sizes(node: Node) -> tuple[int, ...]:
    """The shape of a node whose sizes are all known."""
    return tuple(size or 0 for size in node.shape)


def elements(nodes: Iterable[Node]) -> int:
    """Numbers in the outputs of `nodes`."""
    return sum(math.prod(sizes(node)) for node in nodes)


def kernel_size(node: Node) -> int:
    """Weights of a convolution or of the classifier, without bias."""
    if isinstance(node, Gain):
        return channels(node)
    if isinstance(node, Convolution):
        return node.size**node.rank * channels(node.inputs[0]) // node.groups * node.filters
    return channels(node.inputs[0]) * node.units if isinstance(node, Dense) else 0


def parameters(node: Node) -> int:
    """Trainable parameters."""
    if isinstance(node, Norm):
        return 2 * channels(node)
    has_bias = isinstance(node, Dense) or (isinstance(node, Convolution) and node.bias is not None)
    return kernel_size(node) + (channels(node) if has_bias else 0)


def statistics(node: Node) -> int:
    """Moving means and variances of batch normalisation."""
    return 2 * channels(node) if isinstance(node, Norm) and node.kind == "batch" else 0


def weights_of_layers(nodes: Iterable[Node]) -> dict[str, int]:
    """Parameters and statistics of every layer that has any, by its name."""
    counts = {str(node.name): parameters(node) + statistics(node) for node in nodes}
    return {name: count for name, count in counts.items() if count}


def multiply_adds(node: Node) -> int:
    """Multiplications of convolutions and of the classifier, each with its addition: what the field calls FLOPs."""
    return math.prod(sizes(node)[:-1]) * kernel_size(node)


def receptive_fields(nodes: Iterable[Node]) -> dict[Node, int]:
    """Pixels along one axis that a number of each map depends on; global pooling and what follows keep that of the map."""
    reach: dict[Node, tuple[int, int]] = {}  # receptive field, distance of neighbours
    for node in nodes:
        field, step = max((reach[source] for source in node.inputs), default=(1, 1))
        if isinstance(node, Convolution | Pool):
            dilation = node.dilation if isinstance(node, Convolution) else 1
            field, step = field + (node.size - 1) * dilation * step, step * node.stride
        reach[node] = field, 0 if isinstance(node, graph.GlobalPool) else step
    return {node: field for node, (field, _) in reach.items()}


def peak(nodes: list[Node], ends: list[Node]) -> int:
    """Most numbers in memory at a time."""
    last_use = {source: place for place, node in enumerate(nodes) for source in node.inputs}
    last_use.update(dict.fromkeys(ends, len(nodes)))
    alive = most = 0
    for place, node in enumerate(nodes):
        alive += elements([node])
        most = max(most, alive)
        alive -= elements(source for source in dict.fromkeys((*node.inputs, node)) if last_use.get(source, place) == place)
    return most


def saved(nodes: Iterable[Node]) -> set[Node]:
    """Nodes whose outputs the backward pass reads."""
    tensors: set[Node] = set()
    for node in nodes:
        if isinstance(node, Convolution | Gain | Norm | Dense) or (isinstance(node, graph.Merge) and node.kind == "Multiply"):
            tensors.update(node.inputs)
        if isinstance(node, graph.Activate):
            tensors.add(node if node.function in NOT_NEGATIVE else node.inputs[0])
        if isinstance(node, Pool) and node.kind == "Max":
            tensors.update((node, *node.inputs))
        if (isinstance(node, graph.Dropout) and not node.per_example) or (isinstance(node, Convolution) and node.activation):
            tensors.add(node)
    return tensors


def recomputed(nodes: list[Node], ends: list[Node]) -> int:
    """Numbers in memory when every unit is computed again from its inputs: these inputs, and the inside of one unit at a time."""
    network = parts(nodes, ends)
    units = [part for part in network if part.is_unit]
    stored = saved(node for part in network if not part.is_unit for node in part.nodes)
    stored.update(source for unit in units for source in unit.sources)
    return elements(stored) + max((elements(saved(unit.nodes) - stored) for unit in units), default=0)


def tflite_bytes(nodes: Iterable[Node], file: FileFormat) -> int:
    """Estimated size of a `.tflite` file. Normalisation right after a convolution is folded into it.

    TFLite has no pooling of three dimensions, so not every 3-D network can be converted, and none becomes int8.
    """
    size = file.start
    for node in nodes:
        if isinstance(node, Convolution | Gain):
            weight = max(file.weight, 1) if isinstance(node, Gain) else file.weight  # a depthwise convolution, of 8 bits at least
            size += math.ceil(weight * kernel_size(node)) + file.channel * channels(node) + file.convolution
            has_sigmoid = isinstance(node, Convolution) and node.activation == "sigmoid"
            size += file.operation * (1 + has_sigmoid + FROM_1D * (node.rank == 1))
        elif isinstance(node, Dense):
            size += math.ceil(file.weight * kernel_size(node)) + FLOAT * node.units + file.operation
        elif isinstance(node, Norm):
            operations = file.group_norm if node.kind == "group" else 2 * file.operation
            size += 0 if is_folded(node, node.inputs[0]) else FLOAT * parameters(node) + operations
        else:
            key = node.function if isinstance(node, graph.Activate) else type(node)
            size += file.operation * (OPERATIONS.get(key, 1) + FROM_1D * (isinstance(node, Pool) and node.rank == 1))
    return size
