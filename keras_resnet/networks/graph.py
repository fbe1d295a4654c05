"""The description of a network before it is built: a `Node` is one layer, with its inputs and the shape of its output.

`layers.py` makes Keras layers of nodes and `cost.py` counts them, so the two cannot disagree. Standard library only.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

Shape = tuple[int | None, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Node:
    """One layer. `shape` is that of its output, without the batch: (*space, channels), None where a size varies."""

    inputs: tuple["Node", ...] = field(repr=False)
    name: str | None
    shape: Shape = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", self.output_shape(self.inputs[0].shape if self.inputs else ()))

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for the shape of the first input."""
        return shape

    @property
    def rank(self) -> int:
        """Spatial dimensions of the (first) input."""
        return len((self.inputs[0] if self.inputs else self).shape) - 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Input(Node):
    """Where data comes in."""

    given: Shape

    def output_shape(self, shape: Shape) -> Shape:
        return self.given


@dataclass(frozen=True, eq=False, kw_only=True)
class Rescale(Node):
    """scale * x + offset, one number each or one per channel."""

    scale: tuple[float, ...]
    offset: tuple[float, ...] = (0.0,)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pad(Node):
    """Zeros on both sides of every spatial axis, or the image mirrored at its edge."""

    amount: int
    mirrors: bool = False

    def output_shape(self, shape: Shape) -> Shape:
        return *(size and size + 2 * self.amount for size in shape[:-1]), shape[-1]


@dataclass(frozen=True, eq=False, kw_only=True)
class PadChannels(Node):
    """Zeros after the channels."""

    amount: int

    def output_shape(self, shape: Shape) -> Shape:
        return *shape[:-1], channels(shape) + self.amount


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Node):
    """Kernel `size` along every axis, He-normal at the start or zero. Only one without stride pads itself, to keep the size."""

    filters: int
    size: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    bias: float | None = None
    zero: bool = False
    start: float = 1.0
    """Factor of the kernel at the start."""
    activation: str | None = None

    def output_shape(self, shape: Shape) -> Shape:
        return *strided(shape, self.size, self.stride, same=self.stride == 1), self.filters


@dataclass(frozen=True, eq=False, kw_only=True)
class Gain(Node):
    """A factor for each channel that is learned: a depthwise 1x1 convolution, which Keras has for one and two dimensions."""

    start: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Norm(Node):
    """Batch or group normalisation; `zero` starts gamma at zero."""

    kind: Literal["batch", "group"]
    groups: int
    momentum: float
    epsilon: float
    zero: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Activate(Node):
    """An activation function by its Keras name."""

    function: str
    float32: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool(Node):
    """Largest or mean value of each window. `same` looks past the edge without counting what is there."""

    kind: Literal["Max", "Average"]
    size: int
    stride: int
    same: bool = False

    def output_shape(self, shape: Shape) -> Shape:
        return *strided(shape, self.size, self.stride, same=self.same), shape[-1]


@dataclass(frozen=True, eq=False, kw_only=True)
class GlobalPool(Node):
    """Largest or mean value over space."""

    kind: Literal["Max", "Average"]
    keepdims: bool = False

    def output_shape(self, shape: Shape) -> Shape:
        return *(1 for _ in shape[:-1] if self.keepdims), shape[-1]


@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape(Node):
    """The same numbers in another shape."""

    target: Shape

    def output_shape(self, shape: Shape) -> Shape:
        return self.target


@dataclass(frozen=True, eq=False, kw_only=True)
class Merge(Node):
    """Sum or product of the inputs. The shape is that of the first."""

    kind: Literal["Add", "Multiply"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Dropout(Node):
    """Dropout of single numbers, or of all numbers of an example together."""

    rate: float
    per_example: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Dense(Node):
    """The classifier: a linear map in float32."""

    units: int
    zero: bool = False

    def output_shape(self, shape: Shape) -> Shape:
        return (self.units,)


def channels(node_or_shape: Node | Shape) -> int:
    """The last entry of a shape; it is always known."""
    last = (node_or_shape.shape if isinstance(node_or_shape, Node) else node_or_shape)[-1]
    assert last is not None
    return last


def strided(shape: Shape, size: int, stride: int, *, same: bool) -> Iterable[int | None]:
    """Spatial sizes after windows of `size` at every `stride`."""
    for length in shape[:-1]:
        yield length and (-(-length // stride) if same else (length - size) // stride + 1)


def in_order(outputs: Iterable[Node]) -> list[Node]:
    """Every node that `outputs` need, inputs before what they enter, without recursion."""
    ordered: dict[Node, None] = {}
    waiting = list(outputs)[::-1]
    while waiting:
        node = waiting[-1]
        if missing := [source for source in node.inputs if source not in ordered]:
            waiting += missing[::-1]
        else:
            ordered.setdefault(waiting.pop())
    return list(ordered)


def renamed(ends: Iterable[Node], new_name: Callable[[str], str]) -> list[Node]:
    """Copies of `ends`, and of all nodes that they need, with other names."""
    ends = list(ends)
    copies: dict[Node, Node] = {}
    for node in in_order(ends):
        inputs = tuple(copies[source] for source in node.inputs)
        copies[node] = replace(node, inputs=inputs, name=None if node.name is None else new_name(node.name))
    return [copies[end] for end in ends]
