"""One residual unit enlarged: the layers of its branch from top to bottom, the shortcut beside them, and the addition."""

from typing import NamedTuple

from keras_resnet.networks import graph
from keras_resnet.networks.graph import Convolution, Merge, Node, Pool, channels
from keras_resnet.networks.resnet import Part
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.svg import Picture, element, line, text

WIDTH, TOP = 346, 72  # pixels: width of a picture; height of its titles
BRANCH, BYPASS = (14, 158), (192, 142)  # left edges and widths of the boxes
TALL, LOW, GAP = 36, 21, 9  # heights of boxes with two lines and one, and the gap between them
SHORTCUTS = {
    "projection": "projection (option B)",
    "projection_everywhere": "projection (option C)",
    "avg_projection": "average pool, projection (ResNet-D)",
    "subsampling": "subsampling",
    "padding": "subsampling, zero channels (option A)",
}


class Box(NamedTuple):
    """A layer, or a few that belong together: text in one or two lines, and the CSS class of its colour."""

    kind: str
    title: str
    detail: str = ""

    @property
    def height(self) -> int:
        return TALL if self.detail else LOW


class Paths(NamedTuple):
    """The nodes of a unit, each list in order: the branch, the shortcut, and what follows the addition."""

    branch: list[Node]
    bypass: list[Node]
    behind: list[Node]
    start: Node
    """Where the shortcut starts: the input of the unit, or a node of the branch."""
    has_addition: bool


def paths(unit: Part) -> Paths:
    """The paths through a unit, traced back from its output."""
    inside = set(unit.nodes)
    behind = back_from(unit.nodes[-1], inside, stops_at_sum=True)
    total = behind[0].inputs[0] if behind else unit.nodes[-1]
    if not is_sum(total) or total not in inside:
        return Paths(back_from(unit.nodes[-1], inside), [], [], unit.sources[0], has_addition=False)
    branch = back_from(total.inputs[1], inside)
    bypass = back_from(total.inputs[0], inside - set(branch))
    start = bypass[0].inputs[0] if bypass else total.inputs[0]
    return Paths(branch, bypass, behind, start, has_addition=True)


def back_from(node: Node, inside: set[Node], *, stops_at_sum: bool = False) -> list[Node]:
    """The nodes from the first one inside to `node`, along the first input of each."""
    found = []
    while node in inside and not (stops_at_sum and is_sum(node)):
        found.append(node)
        node = node.inputs[0]
    return found[::-1]


def is_sum(node: Node) -> bool:
    """Whether a node adds branch and shortcut."""
    return isinstance(node, Merge) and node.kind == "Add"


def shortcut_in_words(found: Paths, spec: ResNetSpec) -> str:
    """The kind of a unit's shortcut."""
    if not found.has_addition:
        return "no shortcut"
    is_gated = any(isinstance(node, Merge) for node in found.bypass)
    moves = [node for node in found.bypass if isinstance(node, Convolution | Pool | graph.PadChannels)]
    projects = any(isinstance(node, Convolution) for node in moves)
    kind = "projection" if projects and spec.shortcut == "subsampling" else spec.shortcut
    return f"shortcut: {'gated ' * is_gated}{SHORTCUTS[kind] if moves else 'identity'}"


def box_of(node: Node) -> Box | None:
    """The box of a node; None for a node that is not drawn, such as padding."""
    name = str(node.name)
    if isinstance(node, Convolution):
        return Box("convolution", f"{kernel(node.size, node.rank)} convolution", details(node))
    if isinstance(node, graph.Norm):
        return Box("norm", f"{node.kind} normalisation")
    if isinstance(node, graph.Activate):
        return Box("activation", function_name(node.function))
    if isinstance(node, Pool):
        return pool_box(node, name)
    if isinstance(node, graph.PadChannels):
        return Box("other", f"+ {node.amount:,} zero channels")
    if isinstance(node, graph.Dropout):
        return Box("other", f"{'stochastic depth' if node.per_example else 'dropout'}, rate {node.rate:.2g}")
    if isinstance(node, graph.Gain):
        return Box("other", f"× learned, from {node.start:g}")
    if isinstance(node, graph.Rescale):
        return Box("other", f"× {node.scale[0]:g}")
    return weighing(node, name) if isinstance(node, Merge) else None


def pool_box(node: Pool, name: str) -> Box | None:
    """A pooling, or the blur that two of them make."""
    if name.endswith("blur_half"):
        return None
    if name.endswith("_blur"):
        return Box("other", "blur" + f", stride {node.stride}" * (node.stride > 1))
    if node.size == 1:
        return Box("other", f"every {'2nd' if node.stride == 2 else f'{node.stride}th'} pixel")
    return Box("other", f"{node.kind.lower()} pool {kernel(node.size, node.rank)}")


def weighing(node: Node, name: str) -> Box:
    """A product: by the weights of channels, or by a gate."""
    if name.endswith("_gated"):
        return Box("attention", "× gate g" if "branch" in name else "× (1 - g)", "g: 1×1 conv., sigmoid")
    weight = node.inputs[1]
    if isinstance(weight, Convolution):
        widths = f"{channels(node):,} → {channels(weight.inputs[0]):,} → {channels(node):,}"
        return Box("attention", "squeeze-and-excitation", widths)
    size = weight.inputs[0].size if isinstance(weight.inputs[0], Convolution) else 0
    return Box("attention", "channel attention", f"over {size} channels")


def kernel(size: int, rank: int) -> str:
    """The size of a kernel along every axis."""
    return "×".join([str(size)] * rank) if rank > 1 else f"size {size}"


def details(node: Convolution) -> str:
    """Filters of a convolution, and stride, groups and dilation above 1."""
    unusual = {"stride {}": node.stride, "{} groups": node.groups, "dilation {}": node.dilation}
    remarks = [words.format(number) for words, number in unusual.items() if number > 1]
    return ", ".join([f"{node.filters:,}{' filters' * (len(remarks) < 2)}", *remarks])


def function_name(function: str) -> str:
    """An activation function as papers write it."""
    known = {"relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "leaky ReLU", "silu": "SiLU", "hard_silu": "hard SiLU"}
    return known.get(function, function.upper() if function in ("elu", "selu", "gelu") else function)


def map_size(shape: graph.Shape) -> str:
    """Size of a map and its channels.

    >>> map_size((56, 56, 256))
    '56×56, 256 channels'
    """
    *space, count = (size or 0 for size in shape)
    return ", ".join(filter(None, ["×".join(map(str, space)), f"{count:,} channels"]))


def unit_picture(unit: Part, spec: ResNetSpec, title: str) -> Picture:
    """The picture of a unit, with the kind of its shortcut above."""
    found = paths(unit)
    centre = BRANCH[0] + BRANCH[1] / 2
    places, end = stacked(found.branch, TOP + 18)
    bypass = [box for node in found.bypass if (box := box_of(node))]
    leaves = next((bottom + GAP / 2 for node, _, bottom in places if node is found.start), TOP + 7)
    sum_at = max(end, leaves + sum(box.height + GAP for box in bypass) + 2 * GAP) + 13 if found.has_addition else end - GAP
    below, end = stacked(found.behind, sum_at + 13 + GAP) if found.has_addition else ([], end)
    arrow_end = end + 10
    parts = [
        text(BRANCH[0], 20, title, class_="head"),
        text(BRANCH[0], 38, shortcut_in_words(found, spec), class_="soft"),
        text(centre, TOP - 12, map_size(unit.sources[0].shape), class_="soft", text_anchor="middle"),
        line((centre, TOP - 6), (centre, arrow_end - 6), class_="wire"),
        arrow_head(centre, arrow_end),
        *(box_at(BRANCH, top, box) for _, top, bottom in [*places, *below] if (box := box_of(_))),
        *(bypass_elements(bypass, leaves, sum_at) if found.has_addition else []),
        text(centre, arrow_end + 16, map_size(unit.nodes[-1].shape), class_="soft", text_anchor="middle"),
    ]
    return Picture(WIDTH, arrow_end + 28, "".join(parts))


def stacked(nodes: list[Node], top: float) -> tuple[list[tuple[Node, float, float]], float]:
    """Top and bottom of the box of each node, stacked from `top` on, and the top of the next box. Nodes
    without a box take no space."""
    places = []
    for node in nodes:
        box = box_of(node)
        bottom = top + box.height if box else top - GAP
        places.append((node, top, bottom))
        top = bottom + GAP
    return places, top


def bypass_elements(boxes: list[Box], leaves: float, sum_at: float) -> list[str]:
    """The line of the shortcut from `leaves`, where it starts, to the addition, with its boxes in the middle."""
    centre, side = BRANCH[0] + BRANCH[1] / 2, BYPASS[0] + BYPASS[1] / 2
    top = (leaves + sum_at - sum(box.height + GAP for box in boxes) + GAP) / 2
    parts = [
        line((centre, leaves), (side, leaves), (side, sum_at), (centre + 20, sum_at), class_="wire shortcut"),
        element("path", d=f"M{centre + 13:g} {sum_at:g}l9 -4.5v9z", class_="tip shortcut-tip"),
        element("circle", cx=centre, cy=leaves, r=2.5, class_="tip shortcut-tip"),
        element("circle", cx=centre, cy=sum_at, r=12, class_="sum"),
        element("path", d=f"M{centre - 6:g} {sum_at:g}h12m-6 -6v12", class_="wire"),
    ]
    for box in boxes:
        parts.append(box_at(BYPASS, top, box))
        top += box.height + GAP
    return parts


def box_at(column: tuple[int, int], top: float, box: Box) -> str:
    """A box with centred text."""
    left, width = column
    words = [text(left + width / 2, top + (15 if box.detail else 14.5), box.title, class_="on-box")]
    if box.detail:
        words.append(text(left + width / 2, top + 29, box.detail, class_="on-box small"))
    return element("rect", x=left, y=top, width=width, height=box.height, rx=4, class_=f"box {box.kind}") + "".join(words)


def arrow_head(x: float, y: float) -> str:
    """An arrow head that points down to (x, y)."""
    return element("path", d=f"M{x:g} {y:g}l-4.5 -9h9z", class_="tip")
