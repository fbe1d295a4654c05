"""One dial: network, teacher and recipe for a budget of bytes, multiply-adds or milliseconds, each with its reason."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keras_resnet import recipes
from keras_resnet.data import Dataset, can_resize, is_folder, load
from keras_resnet.errors import InputError, shown
from keras_resnet.networks.cost import cost_of
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import SPECS, resolve
from keras_resnet.recipes.distillation import PICTURE
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.runs.run import Run, check_free, is_run
from keras_resnet.search.budget import budget_of, count_fitting
from keras_resnet.search.latency import INTERPRETER, check_measured
from keras_resnet.search.limit import Limit, Tell, silent
from keras_resnet.training import distribute
from keras_resnet.training.choosing import Choice, choose
from keras_resnet.training.distribute import Distribution
from keras_resnet.training.fit import fit
from keras_resnet.training.teachers import check_recipe
from keras_resnet.training.trainable import recipe_for, suited

WIDE = 16  # channels of the first stage, that more units must leave
MOST_UNITS = 3  # in a stage
WIDTHS = (*range(2, 16), *range(16, 32, 2), *range(32, 516, 4))
NARROWEST = 8  # channels of the first stage, below which images are made smaller
HALVED = 64  # pixels along the shorter side, from which the stem halves them
SIZES = (64, 32)  # pixels that photographs may be made smaller to; 48, which the stem does not halve, costs more than 64
LARGER = 2  # times the multiply-adds of a network, that its teacher has at least
PATIENT = 2  # times the usual epochs, with a teacher: patience is what a network that learns from one needs (arXiv:2106.05237)


@dataclass(frozen=True)
class Chosen:
    """The network that was chosen."""

    network: ResNetSpec
    lines: list[str]
    """What was chosen and why, a line each."""


def network_within(
    text: str,
    image_shape: tuple[int, ...],
    classes: int,
    table: Path,
    *,
    may_shrink: bool = False,
    labels: int = 0,
    tell: Tell = silent,
    runtime: str = INTERPRETER,
) -> Chosen:
    """The network within a budget, for images of a shape and so many classes.

    It is of the family of arXiv:1512.03385 section 4.2: three stages, each with twice the channels of the one before. There is one
    unit a stage until the budget allows two with 16 channels in the first stage; likewise three. The rest goes into width. Of the
    searches in `tuning/`, that on the digits found width worth more than depth; on CIFAR-10 little depended on it.

    Args:
        text: see `budget_of`.
        image_shape: of the images, channels last.
        table: a JSON file for latencies of operations; only a budget of time measures any.
        may_shrink: whether the images may be made smaller, where the budget is too small for their size.
        labels: bytes of the names of all classes, which are in an exported file.
        tell: called with a line now and then, while operations are measured.
        runtime: of LiteRT, that times are measured by, see `LatencyTable`.

    InputError if not even the smallest network of the family is within the budget.
    """
    limit = Limit(text, table, labels, tell, runtime)
    shape, width = shape_within(limit, image_shape, classes, may_shrink=may_shrink)
    units = 1
    for more in range(2, MOST_UNITS + 1):
        if (deeper := widest(limit.fits, family(shape, classes, more))) >= WIDE:
            units, width = more, deeper
    network = family(shape, classes, units)(width)
    costs = f"budget {text.strip()}: {limit.words(network)}"
    return Chosen(network, [*why(network, units), costs, *size_of(network, image_shape)])


def shape_within(limit: Limit, image_shape: tuple[int, ...], classes: int, *, may_shrink: bool) -> tuple[tuple[int, ...], int]:
    """The largest shape of the images whose network of one unit a stage is not too narrow, or that of the widest network; and the
    width of that network. InputError if none is within the budget."""
    shapes = [image_shape, *((size, size, image_shape[-1]) for size in SIZES if may_shrink and size < min(image_shape[:2]))]
    widths: dict[tuple[int, ...], int] = {}
    for shape in shapes:
        widths[shape] = widest(limit.fits, family(shape, classes, 1))
        if widths[shape] >= NARROWEST:
            break
    shape = max(widths, key=widths.__getitem__)
    if not widths[shape]:
        least = limit.words(family(shape, classes, 1)(WIDTHS[0]))
        raise InputError(f"budget {shown(limit.text)}: no network is within it; the smallest has {least}")
    return shape, widths[shape]


def family(shape: tuple[int, ...], classes: int, units: int) -> Callable[[int], ResNetSpec]:
    """The networks of so many units in each of three stages, by the width of the first."""
    basis = replace(SPECS["resnet8"], depths=(units,) * 3, input_shape=shape, classes=classes)
    if min(shape[:-1]) >= HALVED:
        basis = replace(basis, stem_pool="max")
    return lambda width: replace(basis, widths=(width, 2 * width, 4 * width), stem_width=width)


def widest(fits: Callable[[ResNetSpec], bool], networks: Callable[[int], ResNetSpec]) -> int:
    """The largest width whose network fits; 0 if none does, of which the smallest tells at once."""
    if not fits(networks(WIDTHS[0])):
        return 0
    fitting = count_fitting(WIDTHS, lambda width: not fits(networks(width)))
    return WIDTHS[fitting - 1]


def why(network: ResNetSpec, units: int) -> list[str]:
    """Depth and width, with the reason for each."""
    width = network.widths[0]
    if units == 1:
        deep = f"one unit a stage: with two, the first stage would have fewer than {WIDE} channels"
    elif units < MOST_UNITS:
        deep = f"{units} units a stage, the most that leave the first stage {WIDE} channels or more"
    else:
        deep = f"{units} units a stage; what is left of the budget goes into width"
    return [
        f"network: {network.layers} layers, widths {', '.join(map(str, network.widths))}",
        f"depth: {deep}",
        f"width: {width}, the largest {'that is tried' if width == WIDTHS[-1] else 'within the budget'}",
    ]


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
    tell: Tell,
    runtime: str | None = None,
    strategy: str | Distribution = "auto",
    **options: Any,
) -> Run:
    """Train the network within a budget. A larger network is trained first, as its teacher, and its run is `out`-teacher.

    Args:
        limit: see `budget_of`.
        source, data_dir, image_size: as of `data.load`.
        out: the run folder to write.
        teacher: as of `fit`; None for the network that is chosen for these images without a budget, if it has at least twice the
            multiply-adds.
        without_teacher: train without a teacher.
        changes: fields of the recipe, in place of those that are chosen.
        tell: called with each line about what was chosen.
        runtime: of LiteRT, that a budget of time is measured by, see `LatencyTable`; None for its Interpreter.
        strategy, options: of `fit`.

    InputError for what cannot be trained, before a teacher is trained.
    """
    teacher = teacher or None
    check_measured(None, runtime or INTERPRETER)
    if runtime and budget_of(limit).latency is None:
        raise InputError(f"runtime={runtime!r} (--runtime) is for a budget of time, such as 2ms")
    if teacher is not None and without_teacher:
        raise InputError("a teacher is given, and without_teacher=True: only one of the two is possible")
    devices = strategy if isinstance(strategy, Distribution) else distribute.choose(strategy)
    options |= {"strategy": devices}
    check_place(out, devices, **options)
    if budget_of(limit).latency is not None:
        if devices.workers > 1:
            raise InputError("a budget of time is measured on one machine, and several would not agree: use bytes or multiply-adds")
        tell("measuring the time of operations on this machine, which takes minutes the first time")
    images, picked = choose(source, data_dir=data_dir, image_size=image_size)
    found = chosen_for(
        limit, images, out, may_shrink=can_resize(source) and image_size is None, tell=tell, runtime=runtime or INTERPRETER
    )
    for line in found.lines:
        tell(line)
    small = at_size_of(found.network, images, source, data_dir)
    first = teacher is None and not without_teacher and is_larger(picked, found.network, images)
    is_taught = first or teacher is not None
    spec, recipe, small = suited(found.network, recipe_of(small, changes, is_taught=is_taught), small, devices, None)
    if is_taught:
        check_recipe(recipe)
    place = out.with_name(f"{out.name}-teacher")
    if first and is_run(place) and not (options.get("resume") or options.get("overwrite")):
        raise InputError(f"the run of a teacher is at {str(place)!r}: use it with --resume, or train another with --overwrite")
    if teacher is None:
        tell(about_teacher(picked, first=first, without=without_teacher))
    if is_taught and "epochs" not in changes:
        tell(f"epochs: {recipe.epochs}, {PATIENT} times the usual number, since there is a teacher")
    if first:
        tell(f"training the teacher, {str(place)!r}")
        teacher = fit(picked.network, None, images, place, init=picked.init, **options)
    tell(f"training the network, {str(out)!r}")
    return fit(spec, recipe, small, out, teacher=teacher, **options)


def check_place(out: Path, devices: Distribution, *, resume: bool = False, overwrite: bool = False, **_: Any) -> None:
    """InputError where no run can be written."""
    if devices.chief and not (resume and is_run(out)):
        check_free(out, overwrite)


def chosen_for(
    limit: str, images: Dataset, out: Path, *, may_shrink: bool, tell: Tell = silent, runtime: str = INTERPRETER
) -> Chosen:
    """The network within a budget for a set of images; latencies are kept beside `out`."""
    shape, names = images.image_shape, images.class_names
    table, labels = out.with_name(f"{out.name}-latency.json"), bytes_of(names)
    may_shrink = may_shrink and len(shape) == PICTURE and shape[0] == shape[1]
    return network_within(limit, shape, len(names), table, may_shrink=may_shrink, labels=labels, tell=tell, runtime=runtime)


def bytes_of(names: Sequence[str]) -> int:
    """Bytes that the names of classes take in an exported file."""
    return sum(len(f"{name}\n".encode()) for name in names)


def recipe_of(images: Dataset, changes: dict[str, Any], *, is_taught: bool) -> Recipe:
    """The automatic recipe of the images with these changes. With a teacher it has more epochs."""
    recipe = recipe_for(None, images)
    if is_taught:
        recipe = replace(recipe, epochs=PATIENT * recipe.epochs)
    return recipes.resolve(recipe, **changes)


def about_teacher(picked: Choice, *, first: bool, without: bool) -> str:
    """Whether a teacher is trained first, and why."""
    if first:
        return f"teacher: {picked.name}, trained first, since it has at least {LARGER} times the multiply-adds; {picked.why}"
    usual = f"{picked.name}, the usual choice for these images, has less than {LARGER} times the multiply-adds"
    return "teacher: none" if without else f"teacher: none, since {usual}"


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
