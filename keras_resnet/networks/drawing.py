"""A network as an SVG drawing: stem, stages and head with sizes and cost, and two units enlarged. Nothing is built."""

from dataclasses import replace
from typing import Any

from keras_resnet.networks.cost import OPEN_SIZE, Cost, cost_of
from keras_resnet.networks.graph import Convolution, Dense, GlobalPool, Node, Norm, Pool, in_order
from keras_resnet.networks.resnet import Part, outputs, parts
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.unit_drawing import arrow_head, box_of, details, kernel, paths, unit_picture
from keras_resnet.networks.variants import name_of, resolve
from keras_resnet.svg import Picture, element, line, text

WIDTH, CARD = 480, 282  # pixels: width of the network's picture, and of the frames in it
BARS = ((300, "parameters", "trainable"), (396, "multiply-adds", "multiply_adds"))  # left edge, title, column of `Cost.parts`
BAR_WIDTH, MARGIN, HEADING = 78, 14, 92
CELL, SPACE, GAP, MOST_CELLS = 16, 7, 104, 11  # pixels of the squares of units; many units are abbreviated
LONGEST = 34  # characters of a title
ORDERS = {
    "original": "normalisation and activation after each convolution",
    "norm_after_addition": "normalisation after the addition",
    "relu_before_addition": "activation before the addition",
    "relu_preactivation": "activation before each convolution",
    "full_preactivation": "pre-activation: normalisation and activation first",
}
COLOURS = {  # class: (property, in light, in dark)
    ".paper": ("fill", "#ffffff", "#16181d"),
    "text": ("fill", "#1c2128", "#e3e6ea"),
    ".soft": ("fill", "#5b6570", "#a3acb6"),
    ".frame": ("fill", "#f4f6f8", "#21252c"),
    ".frame,.sum": ("stroke", "#c3cad2", "#4a525d"),
    ".sum": ("fill", "#ffffff", "#16181d"),
    ".wire": ("stroke", "#5b6570", "#a3acb6"),
    ".tip": ("fill", "#5b6570", "#a3acb6"),
    ".shortcut": ("stroke", "#c2410c", "#fb923c"),
    ".shortcut-tip": ("fill", "#c2410c", "#fb923c"),
    ".convolution,.cell": ("fill", "#cfe0f5", "#274a73"),
    ".first": ("fill", "#8fb8ea", "#3f74b3"),
    ".norm": ("fill", "#f7e6b5", "#5d4a17"),
    ".activation": ("fill", "#cfe9d2", "#265233"),
    ".attention": ("fill", "#e6d5f2", "#503468"),
    ".other": ("fill", "#e3e7eb", "#3a414b"),
    ".bar": ("fill", "#4a86c8", "#5b9be0"),
}
SHAPES = {
    "text": "font:13px system-ui,sans-serif",
    ".head": "font-weight:600;font-size:14px",
    ".title": "font-weight:600;font-size:20px",
    ".small,.soft": "font-size:11.5px",
    ".on-box,.middle": "text-anchor:middle",
    ".end": "text-anchor:end",
    ".wire": "fill:none;stroke-width:1.5",
}


def draw(spec: str | ResNetSpec, *, title: str | None = None) -> str:
    """The drawing of a network as the text of an SVG file, which follows the light or dark colour scheme of its viewer.

    Args:
        spec: a network or its name; InputError for an unknown name.
        title: instead of the name of the network.

    >>> draw("resnet50")[:4]
    '<svg'
    """
    network, *units = pictures(resolve(spec), title)
    content, left = network.content, network.width + MARGIN
    for unit in units:
        content += element("g", unit.content, transform=f"translate({left:g} 0)")
        left += unit.width
    height = max(picture.height for picture in (network, *units))
    return image(Picture(left, height, content))


def image(picture: Picture, *, described: str = "") -> str:
    """A picture as an image of its own, with its style."""
    width, height, content = picture
    background = element("rect", width=width, height=height, rx=8, class_="paper")
    view: dict[str, Any] = {"viewBox": f"0 0 {width:g} {height:g}", "width": width, "height": height, "class_": "resnet"}
    label: dict[str, Any] = {"role": "img", "aria_label": described or "drawing of a residual network"}
    return element("svg", element("style", style()) + background + content, xmlns="http://www.w3.org/2000/svg", **view, **label)


def style() -> str:
    """The style sheet, with colours for light and dark. Its rules apply inside drawings only, which may be part of a page."""
    light, dark = ({name: f"{row[0]}:{row[scheme]}" for name, row in COLOURS.items()} for scheme in (1, 2))
    return f"{rules(SHAPES)}{rules(light)}@media(prefers-color-scheme:dark){{{rules(dark)}}}"


def rules(declarations: dict[str, str]) -> str:
    """Rules of a style sheet for what is inside a drawing."""
    names = {selector: ",".join(f".resnet {name}" for name in selector.split(",")) for selector in declarations}
    return "".join(f"{names[selector]}{{{declaration}}}" for selector, declaration in declarations.items())


def pictures(spec: ResNetSpec, title: str | None = None) -> list[Picture]:
    """The network, one unit that changes the shape of the feature map, and one that does not."""
    sized = with_sizes(spec)
    _, end = outputs(sized)
    assert isinstance(end, Node)
    network = parts(in_order([end]), [end])
    units = [unit for unit in network if unit.is_unit]
    heading = title or name_of(spec).replace("custom", "custom network")
    return [
        network_picture(network, sized, heading, spec),
        *(unit_picture(unit, sized, place(unit, spec)) for unit in chosen(units)),
    ]


def with_sizes(spec: ResNetSpec) -> ResNetSpec:
    """The network with a side of 224 pixels wherever it takes any size."""
    return replace(spec, input_shape=tuple(size or OPEN_SIZE for size in spec.input_shape))


def chosen(units: list[Part]) -> list[Part]:
    """The first unit that halves the feature map, or else changes its shape; and one that keeps it, preferably in one stage."""
    spatial = [unit for unit in units if unit.nodes[-1].shape[:-1] != unit.sources[0].shape[:-1]]
    changing = [unit for unit in units if unit.nodes[-1].shape != unit.sources[0].shape]
    first = (spatial or changing or units)[0]
    staying = [unit for unit in units if unit not in changing and unit is not first]
    of_same_stage = [unit for unit in staying if stage_of(unit) == stage_of(first)]
    return [first, *(of_same_stage or staying)[:1]]


def stage_of(unit: Part) -> str:
    """The stage of a unit, such as "stage1"."""
    return unit.name.partition("_")[0]


def place(unit: Part, spec: ResNetSpec) -> str:
    """The position of a unit, in words."""
    stage, number = (int(part.removeprefix("stage").removeprefix("block")) for part in unit.name.split("_"))
    return f"unit {number} of {spec.depths[stage - 1]} in stage {stage}"


def network_picture(network: list[Part], spec: ResNetSpec, title: str, asked: ResNetSpec) -> Picture:
    """The whole network from top to bottom, with the cost of each part beside it."""
    cost = cost_of(spec)
    rows = {row["part"]: row for row in cost.parts}
    content, top = heading(spec, cost, title, asked), float(HEADING)
    for name in ("stem", *(f"stage{number}" for number in range(1, len(spec.depths) + 1)), "head"):
        own = [part for part in network if part.name.partition("_")[0] == name]
        inner = strip(own) if name.startswith("stage") else lines_of(own)
        content += line((MARGIN + CARD / 2, top - 12), (MARGIN + CARD / 2, top - 6), class_="wire") + arrow_head(
            MARGIN + CARD / 2, top
        )
        content += card(name, rows[name], inner, top) + bars(rows[name], rows.values(), top)
        top += inner.height + 32 + 14
    return Picture(WIDTH, top, content)


def heading(spec: ResNetSpec, cost: Cost, title: str, asked: ResNetSpec) -> str:
    """The name of the network, two lines of description, and the titles of the columns."""
    kind = f"{spec.block} units" + " without shortcuts" * (spec.shortcut == "none")
    total = f"{spec.layers:,} layers · {kind} · {short(cost.trainable)} parameters · {short(cost.multiply_adds)} multiply-adds"
    size = "×".join(map(str, spec.input_shape)) + " (any size)" * (None in asked.input_shape)
    return "".join(
        [
            text(MARGIN, 28, title if len(title) <= LONGEST else f"{title[: LONGEST - 1]}…", class_="title"),
            text(MARGIN, 47, total, class_="soft"),
            text(MARGIN, 64, f"input {size} · {ORDERS[spec.activation_order]}", class_="soft"),
            *(text(left, HEADING - 8, name, class_="soft") for left, name, _ in BARS),
        ]
    )


def card(name: str, row: dict[str, Any], inner: Picture, top: float) -> str:
    """The frame of a part: its name, its output size, and its content."""
    size = row["output"].rpartition("x")
    output = f"{size[0].replace('x', '×')}, {int(size[2]):,} channels" if size[0] else f"{int(size[2]):,} classes"
    frame = element("rect", x=MARGIN, y=top, width=CARD, height=inner.height + 32, rx=6, class_="frame")
    words = text(MARGIN + 12, top + 20, name.replace("stage", "stage "), class_="head")
    words += text(MARGIN + CARD - 12, top + 20, output, class_="soft end")
    return frame + words + element("g", inner.content, transform=f"translate({MARGIN + 12} {top + 28:g})")


def bars(row: dict[str, Any], rows: Any, top: float) -> str:
    """Parameters and multiply-adds of a part as numbers and bars, relative to the largest part."""
    content = ""
    for left, _, column in BARS:
        most = max(other[column] for other in rows if other["part"] != "total") or 1
        length = BAR_WIDTH * row[column] / most
        content += text(left, top + 20, short(row[column]))
        content += element("rect", x=left, y=top + 27, width=max(length, 0.5), height=7, rx=1.5, class_="bar")
    return content


def strip(units: list[Part]) -> Picture:
    """The units of a stage as a row of squares with arcs for shortcuts, and the convolutions of its last unit in words."""
    content, left, top = "", 0.0, 14
    for unit, gap in shown(units):
        if gap:
            content += text(left + GAP / 2 - SPACE / 2, top + 12.5, f"… {gap:,} more …", class_="soft middle")
            left += GAP
        kind = "cell first" if unit.nodes[-1].shape != unit.sources[0].shape else "cell"
        content += element("rect", x=left, y=top, width=CELL, height=CELL, rx=3, class_=kind)
        content += line((left - SPACE, top + CELL / 2), (left, top + CELL / 2), class_="wire") if left else ""
        if paths(unit).has_addition:
            arc = f"M{left - 3:g} {top + CELL / 2 - 1:g}v-9q0 -5 5 -5h{CELL - 4}q5 0 5 5v9"
            content += element("path", d=arc, class_="wire shortcut")
        left += CELL + SPACE
    counted = f"{len(units):,} unit{'s' * (len(units) > 1)}"
    return Picture(CARD - 24, 52, content + text(0, top + CELL + 19, f"{counted}: {branch_of(units[-1])}", class_="soft"))


def shown(units: list[Part]) -> list[tuple[Part, int]]:
    """The units of a stage that are drawn, each with the number of units left out before it."""
    if len(units) <= MOST_CELLS:
        return [(unit, 0) for unit in units]
    return [*((unit, 0) for unit in units[:4]), (units[-2], len(units) - 6), (units[-1], 0)]


def branch_of(unit: Part) -> str:
    """The convolutions of a branch, such as "1×1, 64 → 3×3, 64 → 1×1, 256"."""
    convolutions = [node for node in paths(unit).branch if isinstance(node, Convolution)]
    return " → ".join(f"{kernel(node.size, node.rank)}, {node.filters}" for node in convolutions)


def lines_of(own: list[Part]) -> Picture:
    """The layers of stem or head in words, a line for each convolution, pooling and classifier with what follows it."""
    lines: list[str] = []
    for node in (node for part in own for node in part.nodes):
        words, follows = in_words(node)
        if follows and lines:
            lines[-1] += f" → {words}"
        elif words:
            lines.append(words)
    content = "".join(text(0, 13 + 17 * number, words, class_="soft") for number, words in enumerate(lines))
    return Picture(CARD - 24, 17 * len(lines) + 2, content)


def in_words(node: Node) -> tuple[str, bool]:
    """A layer of stem or head in words, and whether it continues the line; no words for a layer that is not drawn."""
    if isinstance(node, Convolution):
        return f"{kernel(node.size, node.rank)}, {details(node).replace(' filters', '')}", False
    if isinstance(node, Norm):
        return "norm", True
    if isinstance(node, GlobalPool):
        return f"global {'average' if node.kind == 'Average' else 'max'} pool", False
    if isinstance(node, Dense):
        return f"classifier, {node.units:,}", True
    box = box_of(node)
    if isinstance(node, Pool) and box and node.size > 1 and "pool" in box.title:
        return f"{box.title}, stride {node.stride}", False
    return (box.title, True) if box else ("", False)


def short(number: float) -> str:
    """A large number in three digits.

    >>> short(25557032)
    '25.6 M'
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            digits = f"{number / size:.3g}"
            return f"{digits if 'e' not in digits else f'{number / size:.0f}'} {unit}"
    return f"{number:,}"
