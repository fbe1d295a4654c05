"""`list` and `show`: the named networks and recipes. They load no framework."""

import math
import shutil
import textwrap
from dataclasses import asdict
from typing import Annotated, Any

import typer

from keras_resnet import fields
from keras_resnet.cli.options import COUNT, Json, Set, app, changes
from keras_resnet.console import show_json, show_table
from keras_resnet.errors import InputError, shown
from keras_resnet.networks import choice
from keras_resnet.networks.cost import OPEN_SIZE, cost_of
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import VARIANTS, Variant, resolve
from keras_resnet.recipes.named import PROTOCOLS, Protocol
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.weights.names import KNOWN

ALWAYS = ("epochs", "batch_size", "optimizer", "learning_rate", "schedule")  # fields that are shown of every recipe
AMOUNT_HELP = "such as 500000, 500k or 2.5M."
FACTORS = {"k": 1e3, "M": 1e6, "G": 1e9}
MOST_DIGITS = 9


@app.command("list", epilog="Example: keras-resnet list --for 64x64 --max-parameters 1M")
def list_(
    show_recipes: Annotated[bool, typer.Option("--recipes", help="List the recipes instead of the networks.")] = False,
    show_weights: Annotated[
        bool, typer.Option("--weights", help="List pretrained weights by name, with top-1 accuracy in percent.")
    ] = False,
    max_parameters: Annotated[
        str | None, typer.Option(metavar="N", help=f"Only networks with at most N parameters, {AMOUNT_HELP}")
    ] = None,
    max_multiply_adds: Annotated[
        str | None, typer.Option(metavar="N", help=f"Only networks with at most N multiply-adds an image, {AMOUNT_HELP}")
    ] = None,
    for_: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="SIZE",
            help="Only networks whose stem suits images of this size, such as 64x64; costs are for this size.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the named networks, the recipes, or the pretrained weights, with their sources."""
    if show_weights:
        show_table([asdict(row) for row in KNOWN], as_json=as_json)
        return
    if show_recipes:
        if as_json:
            show_json([{"recipe": name, **asdict(row.recipe), **described(row)} for name, row in PROTOCOLS.items()])
        else:
            print("\n\n".join(text_of(name, row) for name, row in PROTOCOLS.items()))
        return
    size = size_of(for_) if for_ else None
    limits = {"parameters": amount(max_parameters), "multiply_adds": amount(max_multiply_adds)}
    rows = [row_of(name, row, size, as_json) for name, row in VARIANTS.items() if not size or choice.suits(row.spec, size)]
    within = [row for row in rows if all(row[name] <= limit for name, limit in limits.items())]
    if not within:
        least = ", ".join(f"{min(row[name] for row in rows):,} {name.replace('_', '-')}" for name in limits)
        raise InputError(f"no named network is within these limits; the smallest have {least}")
    show_table(within, as_json=as_json)


def row_of(name: str, variant: Variant, size: tuple[int, int] | None, as_json: bool) -> dict[str, Any]:
    """A named network, for images of its own size or of (height, width)."""
    spec = choice.at_size(variant.spec, size) if size else variant.spec
    counted = cost_of(spec)
    published = {"parameters": variant.parameters or None, "multiply_adds": variant.multiply_adds or None}
    return {
        "network": name,
        "layers": spec.layers,
        "input": "x".join(map(str, spec.input_shape)),
        "parameters": counted.trainable,
        "multiply_adds": counted.multiply_adds,
        **({"published": published} if as_json else {}),
        "source": variant.source,
    }


def size_of(text: str) -> tuple[int, int]:
    """Height and width from "64x64" or "64". InputError for anything else."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and len(side) < MOST_DIGITS and int(side) for side in sides):
        raise InputError(f"--for {shown(text)}: expected a size such as 64x64, or 64 for both sides")
    return int(sides[0]), int(sides[-1])


def amount(text: str | None) -> float:
    """A number that may end with k, M or G, such as "2.5M"; infinity for None. InputError for anything else."""
    if text is None:
        return math.inf
    digits, factor = (text[:-1], FACTORS[text[-1]]) if text[-1:] in FACTORS else (text, 1)
    try:
        number = float(digits) * factor
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{shown(text)}: expected a number such as 500000, 500k or 2.5M")
    return number


@app.command(epilog="Example: keras-resnet show resnet50 --set classes=10 --set input_shape=64,64,3 --train-memory")
def show(
    network: Annotated[str, typer.Argument(help="Name of a network.")],
    set_: Set = None,
    train_memory: Annotated[
        bool, typer.Option("--train-memory", help="Estimate the memory of training, without and with remat=True.")
    ] = False,
    batch: Annotated[int, typer.Option(**COUNT, help="For --train-memory: batch size.")] = 32,
    as_json: Json = False,
) -> None:
    """Show the fields and the cost of a network. Each stage has its output, parameters, multiply-adds and receptive field."""
    spec = resolve(network, **changes(set_, ResNetSpec)[ResNetSpec])
    sizes = tuple(size or OPEN_SIZE for size in spec.input_shape)
    counted = cost_of(spec, input_shape=sizes)
    memory = counted.training_rows(batch) if train_memory else []
    if as_json:
        totals = {name: value for name, value in asdict(counted).items() if name != "layers"}
        shown = {"network": network, "spec": asdict(spec), "counted_for": sizes, "stages": counted.parts, "cost": totals}
        show_json({**shown, "train_memory": memory} if memory else shown)
        return
    usual = asdict(ResNetSpec())
    chosen = [{"field": name, "value": fields.text(value)} for name, value in asdict(spec).items() if value != usual[name]]
    show_table([*chosen, {"field": "all others", "value": "default; `show --json` has them"}])
    print()
    if sizes != spec.input_shape:
        print(f"the size of the input varies: outputs, multiply-adds and memory are for {sizes}\n")
    show_table(counted.parts)
    print()
    memories = {
        "peak memory of activations, inference, one image": counted.inference_memory,
        "activations kept for the backward pass, one image": counted.training_memory,
        "float32 .tflite file (estimate)": counted.tflite_float32,
        "int8 .tflite file (estimate)": counted.tflite_int8,
        "int4 .tflite file (estimate)": counted.tflite_int4,
    }
    show_table([{"size": label, "kB": round(size / 1e3)} for label, size in memories.items()])
    if memory:
        print()
        show_table(memory)


def described(row: Protocol) -> dict[str, Any]:
    """Source, cost and results of a recipe."""
    about = {"source": row.source, "network": row.network, "training_flops": row.flops}
    return {**about, "differs": row.differs, "published": row.published, "evidence": row.evidence}


def text_of(name: str, row: Protocol) -> str:
    """A recipe in a few lines: fields that differ from the defaults, source, cost and results."""
    usual, own = asdict(Recipe()), asdict(row.recipe)
    shown = {field: value for field, value in own.items() if value != usual[field] or field in ALWAYS}
    lines = [f"{name}: {row.source}", ", ".join(f"{field}={short(value)}" for field, value in shown.items())]
    lines += [f"training cost with {row.network}: {row.flops:.1e} floating-point operations"]
    lines += [f"differs from the source: {row.differs}"] if row.differs else []
    lines += [f"published: {row.published}"] if row.published else []
    text, width = "\n    ".join([*lines, f"measured: {row.evidence}"]), shutil.get_terminal_size((116, 24)).columns
    return "\n".join(textwrap.fill(line, width, subsequent_indent="    ", break_on_hyphens=False) for line in text.splitlines())


def short(value: Any) -> str:
    """A value as text, numbers with four digits."""
    if isinstance(value, tuple):
        return ",".join(map(short, value))
    return f"{value:.4g}" if isinstance(value, float) else fields.text(value)
