"""Charts as SVG for a page. Their colours are CSS variables of the page, for light and dark."""

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
STRIP = 150  # width of an interval in a table, in pixels


class Series(NamedTuple):
    """A line of a chart, interrupted at values that are not finite."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    dashed: bool = False


class Chart(NamedTuple):
    """A chart with its title, legend and explanation."""

    title: str
    svg: Any
    legend: list[Series]
    explanation: str = ""


class Axis(NamedTuple):
    """An axis: from numbers, `low` to `high`, to pixels, `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def position(self, value: float) -> float:
        """Pixels from the left or top edge of the picture."""
        low, high, value = (math.log(number) if self.log else number for number in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)


class Bin(NamedTuple):
    """The images whose confidence (highest probability) is in one bin: their number, mean confidence, and accuracy, 0 to 1."""

    images: int
    confidence: float
    accuracy: float


def lines(
    title: str, series: Sequence[Series], *, x_label: str = "epoch", unit: str = "", log: bool = False, mark: float | None = None
) -> Chart:
    """Lines over whole numbers, such as epochs. `mark` is the x value of a vertical line."""
    series = [thinned(each) for each in series]
    values = [y for each in series for y in each.y if usable(y, log)]
    ends = [x for each in series for x in each.x]
    x_axis = Axis(min(ends), max(max(ends), min(ends) + 1), LEFT + 8, RIGHT - 8)
    y_axis = Axis(*limits(values, log), BOTTOM, TOP, log)
    parts = grid(x_axis, y_axis, x_label, f"{title}{f', {unit}' * bool(unit)}")
    if mark is not None and x_axis.low <= mark <= x_axis.high:
        parts.append(line((x_axis.position(mark), TOP), (x_axis.position(mark), BOTTOM), class_="mark"))
    for each in series:
        parts.append(
            element("path", d=path(each, x_axis, y_axis), class_=f"line c{each.colour % COLOURS}{' dashed' * each.dashed}")
        )
    return Chart(title, picture(WIDTH, HEIGHT, parts, f"{title} by {x_label}"), list(series))


def thinned(series: Series) -> Series:
    """The series with at most about `MOST_POINTS` points."""
    step = -(-len(series.x) // MOST_POINTS)
    places = sorted({*range(0, len(series.x), max(step, 1)), len(series.x) - 1})
    return series._replace(x=[series.x[place] for place in places], y=[series.y[place] for place in places])


def usable(value: float, log: bool) -> bool:
    """Whether a value has a place on an axis."""
    return math.isfinite(value) and (value > 0 or not log)


def limits(values: Sequence[float], log: bool) -> tuple[float, float]:
    """The ends of an axis for these values, with a margin."""
    low, high = min(values, default=1.0), max(values, default=1.0)
    if log:
        return low / 1.15, high * 1.15
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def ticks(low: float, high: float, log: bool = False, count: int = 5) -> list[float]:
    """Round numbers between two.

    >>> ticks(0.3, 9.1)
    [2, 4, 6, 8]
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


def grid(x_axis: Axis, y_axis: Axis, x_label: str, y_label: str) -> list[str]:
    """Grid lines, tick labels and titles of both axes."""
    parts = []
    for value in ticks(y_axis.low, y_axis.high, y_axis.log):
        parts.append(line((LEFT, y_axis.position(value)), (RIGHT, y_axis.position(value)), class_="grid"))
        parts.append(text(LEFT - 6, y_axis.position(value) + 4, f"{value:.4g}", class_="end"))
    for value in ticks(x_axis.low, x_axis.high):
        if value == round(value):
            parts.append(text(x_axis.position(value), BOTTOM + 16, f"{value:.0f}", class_="middle"))
    parts.append(text((LEFT + RIGHT) / 2, HEIGHT - 6, x_label, class_="middle soft"))
    parts.append(text(0, 0, y_label, class_="middle soft", transform=f"translate(11 {(TOP + BOTTOM) / 2:g}) rotate(-90)"))
    return parts


def path(series: Series, x_axis: Axis, y_axis: Axis) -> str:
    """A series as the data of a path; a point alone is drawn as a short line."""
    pieces, pen = [], "M"
    for x, y in zip(series.x, series.y, strict=True):
        if not usable(y, y_axis.log):
            pen = "M"
            continue
        pieces.append(f"{pen}{x_axis.position(x):.5g} {y_axis.position(y):.5g}" + "h.1" * (pen == "M"))
        pen = "L"
    return "".join(pieces)


def reliability(bins: Iterable[Bin | None], error: float) -> Chart:
    """Reliability diagram (arXiv:1706.04599): accuracy over confidence with 95 % intervals, and the images of each bin below."""
    bins = list(bins)
    width, most = (RIGHT - LEFT - 60) / len(bins), max(each.images for each in bins if each)
    x_axis, y_axis = Axis(0, 1, LEFT, LEFT + width * len(bins)), Axis(0, 1, TOP + SQUARE, TOP)
    foot = TOP + SQUARE + 46 + COUNTS
    parts = []
    for value in (0, 0.2, 0.4, 0.6, 0.8, 1):
        parts.append(line((LEFT, y_axis.position(value)), (x_axis.end, y_axis.position(value)), class_="grid"))
        parts.append(text(LEFT - 6, y_axis.position(value) + 4, f"{100 * value:g}", class_="end"))
        parts.append(text(x_axis.position(value), TOP + SQUARE + 16, f"{100 * value:g}", class_="middle"))
    for number, each in enumerate(bins):
        if each:
            parts += bar_of(each, x_axis.position(number / len(bins)), width, y_axis)
            height = max(COUNTS * each.images / most, 1)
            parts.append(
                element("rect", x=LEFT + number * width + 1, y=foot - height, width=width - 2, height=height, class_="count")
            )
    parts.append(line((LEFT, y_axis.start), (x_axis.end, TOP), class_="mark ideal"))
    parts.append(text((LEFT + x_axis.end) / 2, TOP + SQUARE + 33, "confidence, %", class_="middle soft"))
    parts.append(text(LEFT - 6, foot - COUNTS + 10, f"{most:,}", class_="end"))
    parts.append(text(LEFT - 6, foot, "images", class_="end soft"))
    turned = f"translate(11 {TOP + SQUARE / 2:g}) rotate(-90)"
    parts.append(text(0, 0, "accuracy, %", class_="middle soft", transform=turned))
    return Chart(
        f"Reliability, expected calibration error {error:.3f}", picture(x_axis.end + 14, foot + 6, parts, "reliability"), []
    )


def bar_of(each: Bin, left: float, width: float, y_axis: Axis) -> list[str]:
    """The bar of a bin: its accuracy with the 95 % interval."""
    top, centre = y_axis.position(each.accuracy), left + width / 2
    low, high = (y_axis.position(end) for end in interval(each.accuracy, each.images))
    bar = element("rect", x=left + 1, y=top, width=width - 2, height=max(y_axis.start - top, 0.5), class_="bar")
    whisker = f"M{centre:.5g} {low:.5g}V{high:.5g}m-3 0h6M{centre - 3:.5g} {low:.5g}h6"
    return [bar, element("path", d=whisker, class_="whisker")]


def whisker(share: float, ends: tuple[float, float], low: float, high: float, colour: int) -> Any:
    """An accuracy with its interval, on an axis from `low` to `high`, for a row of a table."""
    x_axis = Axis(low, high, 4, STRIP - 4)
    parts = [
        line((x_axis.position(ends[0]), 9), (x_axis.position(ends[1]), 9), class_=f"line c{colour % COLOURS}"),
        element("circle", cx=x_axis.position(share), cy=9, r=4, class_=f"dot c{colour % COLOURS}"),
    ]
    return picture(STRIP, 18, parts, "accuracy with its interval")


def picture(width: float, height: float, parts: Iterable[str], described: str) -> Any:
    """An SVG element of a page."""
    view: dict[str, Any] = {"viewBox": f"0 0 {width:g} {height:g}", "width": width, "height": height}
    return drawn(element("svg", "".join(parts), **view, class_="chart", role="img", aria_label=described))
