"""Charts as SVG inside a page: their colours are variables of its style, in light and in dark."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from keras_resnet.confidence import interval
from keras_resnet.report.templates import drawn
from keras_resnet.svg import element, line, text

WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 410, 10, 222  # of the area of the data
COLOURS = 8  # that a page has
MOST_POINTS = 400  # of a line
SQUARE, COUNTS = 290, 56  # side of the reliability diagram, and height of the images below it
STRIP = 150  # width of an interval in a table


class Series(NamedTuple):
    """A line of a chart. A value that is no number interrupts it."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    dashed: bool = False


class Chart(NamedTuple):
    """A chart with what belongs beside it."""

    title: str
    svg: Any
    legend: list[Series]
    explanation: str = ""


class Axis(NamedTuple):
    """From numbers to places in a picture."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        low, high, value = (math.log(number) if self.log else number for number in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)


class Bin(NamedTuple):
    """The images whose highest probability is within a range: their number, mean probability, and share of right answers."""

    images: int
    confidence: float
    accuracy: float


def lines(
    title: str, series: Sequence[Series], *, across: str = "epoch", unit: str = "", log: bool = False, mark: float | None = None
) -> Chart:
    """Lines over whole numbers, those of `across`. `mark` is a number that an upright line is drawn at."""
    series = [thinned(each) for each in series]
    values = [y for each in series for y in each.y if usable(y, log)]
    ends = [x for each in series for x in each.x]
    right = Axis(min(ends), max(max(ends), min(ends) + 1), LEFT + 8, RIGHT - 8)
    up = Axis(*around(values, log), BOTTOM, TOP, log)
    parts = grid(right, up, across, f"{title}{f', {unit}' * bool(unit)}")
    if mark is not None and right.low <= mark <= right.high:
        parts.append(line((right.place(mark), TOP), (right.place(mark), BOTTOM), class_="mark"))
    for each in series:
        parts.append(element("path", d=path(each, right, up), class_=f"line c{each.colour % COLOURS}{' dashed' * each.dashed}"))
    return Chart(title, picture(WIDTH, HEIGHT, parts, f"{title} by {across}"), list(series))


def thinned(series: Series) -> Series:
    """The series with so many points as a screen can show."""
    step = -(-len(series.x) // MOST_POINTS)
    places = sorted({*range(0, len(series.x), max(step, 1)), len(series.x) - 1})
    return series._replace(x=[series.x[place] for place in places], y=[series.y[place] for place in places])


def usable(value: float, log: bool) -> bool:
    """Whether a value has a place on an axis."""
    return math.isfinite(value) and (value > 0 or not log)


def around(values: Sequence[float], log: bool) -> tuple[float, float]:
    """The ends of an axis for these values, a little further out than those."""
    low, high = min(values, default=1.0), max(values, default=1.0)
    if log:
        return low / 1.15, high * 1.15
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def ticks(low: float, high: float, log: bool = False, count: int = 5) -> list[float]:
    """Round numbers between two.

    >>> ticks(0.3, 9.1)
    [2.0, 4.0, 6.0, 8.0]
    """
    if log:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            found = [step * 10**decade for decade in decades for step in steps if low <= step * 10**decade <= high]
            if len(found) >= 3:
                return found[:: -(-len(found) // 7)]
    rough = (high - low) / count
    scale = 10 ** math.floor(math.log10(rough))
    step = min((factor * scale for factor in (1, 2, 5, 10) if factor * scale >= rough), default=scale)
    return [round(number * step, 12) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def grid(across: Axis, up: Axis, below: str, title: str) -> list[str]:
    """Lines, numbers and titles of both axes."""
    parts = []
    for value in ticks(up.low, up.high, up.log):
        parts.append(line((LEFT, up.place(value)), (RIGHT, up.place(value)), class_="grid"))
        parts.append(text(LEFT - 6, up.place(value) + 4, f"{value:.4g}", class_="end"))
    for value in ticks(across.low, across.high):
        if value == round(value):
            parts.append(text(across.place(value), BOTTOM + 16, f"{value:.0f}", class_="middle"))
    parts.append(text((LEFT + RIGHT) / 2, HEIGHT - 6, below, class_="middle soft"))
    parts.append(text(0, 0, title, class_="middle soft", transform=f"translate(11 {(TOP + BOTTOM) / 2:g}) rotate(-90)"))
    return parts


def path(series: Series, across: Axis, up: Axis) -> str:
    """A series as the data of a path; a point alone is drawn as a short line."""
    pieces, pen = [], "M"
    for x, y in zip(series.x, series.y, strict=True):
        if not usable(y, up.log):
            pen = "M"
            continue
        pieces.append(f"{pen}{across.place(x):.5g} {up.place(y):.5g}" + "h.1" * (pen == "M"))
        pen = "L"
    return "".join(pieces)


def reliability(bins: Iterable[Bin | None], error: float) -> Chart:
    """Share of right answers over probability, with 95 % intervals, and the images of each bin below (arXiv:1706.04599)."""
    bins = list(bins)
    width, most = (RIGHT - LEFT - 60) / len(bins), max(each.images for each in bins if each)
    across, up = Axis(0, 1, LEFT, LEFT + width * len(bins)), Axis(0, 1, TOP + SQUARE, TOP)
    foot = TOP + SQUARE + 46 + COUNTS
    parts = []
    for value in (0, 0.2, 0.4, 0.6, 0.8, 1):
        parts.append(line((LEFT, up.place(value)), (across.end, up.place(value)), class_="grid"))
        parts.append(text(LEFT - 6, up.place(value) + 4, f"{100 * value:g}", class_="end"))
        parts.append(text(across.place(value), TOP + SQUARE + 16, f"{100 * value:g}", class_="middle"))
    for number, each in enumerate(bins):
        if each:
            parts += bar_of(each, across.place(number / len(bins)), width, up)
            height = max(COUNTS * each.images / most, 1)
            parts.append(
                element("rect", x=LEFT + number * width + 1, y=foot - height, width=width - 2, height=height, class_="count")
            )
    parts.append(line((LEFT, up.start), (across.end, TOP), class_="mark ideal"))
    parts.append(text((LEFT + across.end) / 2, TOP + SQUARE + 33, "highest probability, %", class_="middle soft"))
    parts.append(text(LEFT - 6, foot - COUNTS + 10, f"{most:,}", class_="end"))
    parts.append(text(LEFT - 6, foot, "images", class_="end soft"))
    turned = f"translate(11 {TOP + SQUARE / 2:g}) rotate(-90)"
    parts.append(text(0, 0, "share of right answers, %", class_="middle soft", transform=turned))
    return Chart(
        f"Reliability, expected calibration error {error:.3f}", picture(across.end + 14, foot + 6, parts, "reliability"), []
    )


def bar_of(each: Bin, left: float, width: float, up: Axis) -> list[str]:
    """The bar of a bin up to its share of right answers, with the interval of that."""
    top, centre = up.place(each.accuracy), left + width / 2
    low, high = (up.place(end) for end in interval(each.accuracy, each.images))
    bar = element("rect", x=left + 1, y=top, width=width - 2, height=max(up.start - top, 0.5), class_="bar")
    whisker = f"M{centre:.5g} {low:.5g}V{high:.5g}m-3 0h6M{centre - 3:.5g} {low:.5g}h6"
    return [bar, element("path", d=whisker, class_="whisker")]


def whisker(share: float, ends: tuple[float, float], low: float, high: float, colour: int) -> Any:
    """A share with its interval, on an axis from `low` to `high`, for a row of a table."""
    across = Axis(low, high, 4, STRIP - 4)
    parts = [
        line((across.place(ends[0]), 9), (across.place(ends[1]), 9), class_=f"line c{colour % COLOURS}"),
        element("circle", cx=across.place(share), cy=9, r=4, class_=f"dot c{colour % COLOURS}"),
    ]
    return picture(STRIP, 18, parts, "accuracy with its interval")


def picture(width: float, height: float, parts: Iterable[str], described: str) -> Any:
    """An SVG element of a page."""
    view: dict[str, Any] = {"viewBox": f"0 0 {width:g} {height:g}", "width": width, "height": height}
    return drawn(element("svg", "".join(parts), **view, class_="chart", role="img", aria_label=described))
