"""Draws docs/architecture.svg, the wings of the package and their imports, as they are in the code: python docs/architecture.py"""

import ast
from pathlib import Path
from xml.sax.saxutils import escape

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "keras_resnet"
WIDTH, HEIGHT, ACROSS, DOWN, MARGIN = 132, 34, 156, 74, 24  # of a box; from one box to the next
GROUND = "ground floor"  # single modules that every wing may use


def wing_of(module):
    """The wing of a module such as keras_resnet.data.folder; single modules are the ground floor."""
    first = module.split(".")[1] if "." in module else "__init__"
    is_alone = not (PACKAGE / first).is_dir()
    return GROUND if is_alone and first not in ("applications", "__init__", "__main__") else first


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from inner if node.module == "keras_resnet" else [node.module]


def wings():
    """Each wing with those that it imports. The index of public names, which loads them by name, and the program are left out."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        wing = wing_of(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        others = {wing_of(name) for name in imports(path) if name.split(".")[0] == "keras_resnet"}
        found[wing] = found.get(wing, set()) | others
    return {wing: others - {wing, "__init__"} for wing, others in found.items() if wing not in ("__init__", "__main__")}


def floors(found):
    """Wings by floor: each stands above all that it imports."""
    floor = {}
    while len(floor) < len(found):
        ready = [wing for wing in found if wing not in floor and found[wing] <= set(floor)]
        assert ready, "wings import each other in a circle"
        floor |= {wing: 1 + max((floor[other] for other in found[wing]), default=-1) for wing in ready}
    return [[wing for wing in sorted(floor) if floor[wing] == number] for number in range(max(floor.values()) + 1)]


def direct(found):
    """Imports that do not follow from others: an arrow to each of them would hide the picture."""
    below = {}
    for row in floors(found):
        below |= {wing: found[wing].union(*(below[other] for other in found[wing])) for wing in row}
    return {wing: {one for one in others if not any(one in below[other] for other in others)} for wing, others in found.items()}


def picture(found):
    rows = floors(found)
    width, height, places = max(map(len, rows)) * ACROSS + 2 * MARGIN, len(rows) * DOWN + 2 * MARGIN, {}
    for number, row in enumerate(rows):
        left = (width - len(row) * ACROSS + ACROSS) / 2
        places |= {wing: (left + place * ACROSS, height - MARGIN - DOWN / 2 - number * DOWN) for place, wing in enumerate(row)}
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="14">'
    marker = '<marker id="head" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto"><path d="M0 0 8 4 0 8z"/></marker>'
    lines = [head, f"<defs>{marker}</defs>", f'<rect width="{width}" height="{height}" fill="white"/>']
    for wing, others in direct(found).items():
        for x, y in (places[other] for other in sorted(others)):
            left, top = places[wing][0], places[wing][1] + HEIGHT / 2
            ends = sorted({top + DOWN - HEIGHT, y - HEIGHT / 2})  # straight down past other floors
            points = " ".join([f"{left:g},{top:g}", *(f"{x:g},{end:g}" for end in ends)])
            lines.append(f'<polyline points="{points}" fill="none" stroke="#555" marker-end="url(#head)"/>')
    for wing, (x, y) in places.items():
        box = f'x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" height="{HEIGHT}" rx="5"'
        lines.append(f'<rect {box} fill="#e8eefc" stroke="#3f51b5"/>')
        lines.append(f'<text x="{x:g}" y="{y + 5:g}" text-anchor="middle">{escape(wing)}</text>')
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    (DOCS / "architecture.svg").write_text(picture(wings()), encoding="utf-8")
