"""One dial: network, teacher and recipe that suit a budget of bytes, multiply-adds or milliseconds, each with its reason."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keras_resnet import recipes
from keras_resnet.data import Dataset, can_resize, is_folder, load
from keras_resnet.errors import InputError, shown
from keras_resnet.networks.cost import cost_of
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import SPECS, resolve
from keras_resnet.runs.run import Run
from keras_resnet.search.budget import Budget, budget_of, costs
from keras_resnet.search.latency import LatencyTable
from keras_resnet.training.choosing import Choice, choose
from keras_resnet.training.fit import fit
from keras_resnet.training.trainable import recipe_for

OF_A_FILE = 1.03, 5_000  # what an exported file has beyond its estimate: rounding, labels and metadata
WIDE = 16  # channels of the first stage, from which more units are worth more than more channels
MOST_UNITS = 3  # in a stage
WIDTHS = (*range(2, 16), *range(16, 32, 2), *range(32, 516, 4))
NARROWEST = 8  # channels of the first stage, below which images are made smaller
HALVED = 64  # pixels along the shorter side, from which the stem halves them
SIZES = (64, 48, 32)  # pixels that photographs may be made smaller to


LARGER = 2  # times the multiply-adds of a network, that its teacher has at least
PATIENT = 2  # times the usual epochs, with a teacher: patience is what a network that learns from one needs (arXiv:2106.05237)


@dataclass(frozen=True)
class Fit:
    """The network that was chosen."""

    network: ResNetSpec
    lines: list[str]
    """What was chosen and why, a line each."""


def network_within(text: str, image_shape: tuple[int, ...], classes: int, table: Path, *, may_shrink: bool = False) -> Fit:
    """The network for images of a shape and so many classes that suits a budget.

    It is of the family of arXiv:1512.03385 section 4.2: three stages, each with twice the channels of the one before. With more
    budget it gets wider up to 16 channels in its first stage, then deeper up to three units a stage, then wider again. That is what
    the searches in `tuning/` found: below 16 channels width is worth more than depth, and beyond a little depth is best.

    Args:
        text: see `budget_of`.
        image_shape: (height, width, channels).
        table: a JSON file for latencies of operations; only a budget of time measures any.
        may_shrink: whether the images may be made smaller, where the budget is too small for their size.

    InputError if not even the smallest network of the family is within the budget.
    """
    budget = budget_of(text)
    fits = fitting(budget, LatencyTable(table, "int8"))
    shapes = [image_shape, *((size, size, image_shape[-1]) for size in SIZES if may_shrink and size < min(image_shape[:2]))]
    found = [(shape, widest(fits, family(shape, classes, 1))) for shape in shapes]
    shape, width = next((pair for pair in found if pair[1] >= NARROWEST), found[-1])
    if not width:
        least = costs(family(shape, classes, 1)(WIDTHS[0]))
        amounts = f"about {least['tflite_int8'] + OF_A_FILE[1]:,} bytes and {least['multiply_adds']:,} multiply-adds"
        raise InputError(f"budget {shown(text)}: no network is within it; the smallest needs {amounts}")
    units = 1
    for more in range(2, MOST_UNITS + 1):
        if (deeper := widest(fits, family(shape, classes, more))) >= WIDE:
            units, width = more, deeper
    network = family(shape, classes, units)(width)
    return Fit(network, [*why(network, units), costs_of(network, budget, text), *size_of(network, image_shape)])


def family(shape: tuple[int, ...], classes: int, units: int) -> Callable[[int], ResNetSpec]:
    """The networks of so many units in each of three stages, by the width of the first."""
    basis = replace(SPECS["resnet8"], depths=(units,) * 3, input_shape=shape, classes=classes)
    if min(shape[:-1]) >= HALVED:
        basis = replace(basis, stem_pool="max")
    return lambda width: replace(basis, widths=(width, 2 * width, 4 * width), stem_width=width)


def fitting(budget: Budget, table: LatencyTable) -> Callable[[ResNetSpec], bool]:
    """Whether a network is within a budget, its exported file too."""

    def fits(spec: ResNetSpec) -> bool:
        if budget.latency is not None:
            return table.predict(spec) <= budget.latency  # type: ignore[operator]
        amounts = costs(spec)
        share, more = OF_A_FILE
        return not budget.excess({**amounts, "tflite_int8": round(amounts["tflite_int8"] * share) + more})

    return fits


def widest(fits: Callable[[ResNetSpec], bool], networks: Callable[[int], ResNetSpec]) -> int:
    """The largest width whose network fits; 0 if none does."""
    place = bisect_right(WIDTHS, False, key=lambda width: not fits(networks(width)))
    return WIDTHS[place - 1] if place else 0


def why(network: ResNetSpec, units: int) -> list[str]:
    """Depth and width, with the reason for the depth."""
    width = network.widths[0]
    if units == 1:
        deep = f"one unit a stage: with two, the first stage would have fewer than {WIDE} channels, and width is worth more there"
    elif units < MOST_UNITS:
        deep = f"{units} units a stage, the most that leave the first stage {WIDE} channels or more"
    else:
        deep = f"{units} units a stage; what is left of the budget goes into width"
    return [
        f"network: {network.layers} layers, widths {', '.join(map(str, network.widths))}",
        f"depth: {deep}",
        f"width: {width}, the largest within the budget",
    ]


def costs_of(network: ResNetSpec, budget: Budget, text: str) -> str:
    """What it costs."""
    cost = cost_of(network)
    share, more = OF_A_FILE
    size = round(cost.tflite_int8 * share) + more
    return f"budget {text.strip()}: an int8 file of at most {size:,} bytes, {cost.multiply_adds:,} multiply-adds an image"


def size_of(network: ResNetSpec, image_shape: tuple[int, ...]) -> list[str]:
    """Why images are made smaller, if they are."""
    side, given = network.input_shape[0], image_shape[0]
    if side == given:
        return []
    return [f"images: {side} pixels a side, since at {given} fewer than {NARROWEST} channels would fit"]


def train(
    limit: str,
    source: Any,
    out: Path,
    *,
    data_dir: str | Path | None = None,
    image_size: int | None = None,
    teacher: Any = None,
    without_teacher: bool = False,
    changes: dict[str, Any],
    tell: Callable[[str], None],
    **options: Any,
) -> Run:
    """Train the network that suits a budget, and first, unless one is given, its teacher, whose run is `out`-teacher.

    Args:
        limit: see `budget_of`.
        source, data_dir, image_size: as of `data.load`.
        out: the run folder to write.
        teacher: as of `fit`; None for the network that would be chosen for these images without a budget, where it is larger.
        without_teacher: have none.
        changes: fields of the recipe, in place of those that are chosen.
        tell: called with each line about what was chosen.
        options: of `fit`.
    """
    images, picked = choose(source, data_dir=data_dir, image_size=image_size)
    may_shrink = can_resize(source) and image_size is None and images.image_shape[0] == images.image_shape[1]
    table = out.with_name(f"{out.name}-latency.json")
    found = network_within(limit, images.image_shape, len(images.class_names), table, may_shrink=may_shrink)
    small = at_size_of(found.network, images, source, data_dir)
    for line in found.lines:
        tell(line)
    is_worth = is_larger(picked, found.network, images)
    if teacher is None and not without_teacher and is_worth:
        tell(f"teacher: {picked.name}, trained first, since it has at least {LARGER} times the multiply-adds; {picked.why}")
        teacher = fit(picked.network, None, images, out.with_name(f"{out.name}-teacher"), init=picked.init, **options)
    elif teacher is None:
        tell(
            "teacher: none"
            + ("" if without_teacher else f", since {picked.name}, the usual choice for these images, is hardly larger")
        )
    recipe = recipe_for(None, small)
    if teacher is not None:
        recipe = replace(recipe, epochs=PATIENT * recipe.epochs)
        tell(f"epochs: {recipe.epochs}, {PATIENT} times the usual number, since there is a teacher")
    return fit(found.network, recipes.resolve(recipe, **changes), small, out, teacher=teacher, **options)


def at_size_of(network: ResNetSpec, images: Dataset, source: Any, data_dir: str | Path | None) -> Dataset:
    """The images in the size of the network."""
    if network.input_shape == images.image_shape:
        return images
    side, _, channels = network.input_shape  # only square ones are made smaller
    return load(source, data_dir=data_dir, image_size=side, channels=channels if is_folder(source) else None)


def is_larger(picked: Choice, network: ResNetSpec, images: Dataset) -> bool:
    """Whether the usual choice for the images can teach the network."""
    usual = resolve(picked.network, input_shape=images.image_shape, classes=len(images.class_names))
    return cost_of(usual).multiply_adds >= LARGER * cost_of(network).multiply_adds
