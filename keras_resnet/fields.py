"""Dataclass fields from text and JSON: `--set` on the command line, `spec.json` and `recipe.json` are all read here.

The annotation of a field is its schema. Whether a value makes sense (a depth above zero, a known block) the dataclass checks.
"""

import ast
import dataclasses
import inspect
import itertools
import json
import numbers
import re
import sys
import textwrap
import types
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from keras_resnet.errors import InputError, shown, unknown
from keras_resnet.outside import parse

LARGEST: dict[type, Any] = {
    int: 2**53,
    float: sys.float_info.max,
}  # of numbers; arithmetic with a larger whole one would not be exact
PLAIN = (str, int, float, bool, types.NoneType)  # of which equal ones are the same, if their types are
Fields = TypeVar("Fields")


def names(subject: Any) -> list[str]:
    """The field names of a dataclass or of an instance of one."""
    return [field.name for field in dataclasses.fields(subject)]


def change(instance: Fields, values: dict[str, Any]) -> Fields:
    """A copy of `instance` with `values` in place, each a Python value, a JSON value or the text of one.

    >>> change(Recipe(), {"epochs": "5"}).epochs
    5
    """
    _check_names(type(instance), values)
    return dataclasses.replace(instance, **values)  # type: ignore[type-var]


def look_up(subject: str | Fields, table: dict[str, Fields], noun: str) -> Fields:
    """The entry of that name, or `subject` itself if it is of the table's type. InputError with the nearest name otherwise."""
    if isinstance(subject, str):
        if subject not in table:
            raise unknown(noun, subject, table)
        return table[subject]
    kind = type(next(iter(table.values())))
    if not isinstance(subject, kind):
        raise InputError(f"expected the name of a {noun} or a {kind.__name__}, received {shown(subject)}")
    return subject


def to_json(instance: Any) -> str:
    """A dataclass as indented JSON."""
    return json.dumps(dataclasses.asdict(instance), indent=2) + "\n"


def from_json(kind: type[Fields], text: str) -> Fields:
    """The dataclass `kind` that `to_json` wrote. InputError for a field that it does not have."""
    values = parse(text)
    if not isinstance(values, dict):
        raise InputError(f"it is {shown(values)}: expected an object")
    _check_names(kind, values)
    return kind(**values)


def completed(values: dict[str, Any], kind: type) -> dict[str, Any]:
    """JSON values of the dataclass `kind`, with the defaults of fields that are missing: an earlier version did not have them."""
    defaults = {field.name: field.default for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING}
    return {**json.loads(json.dumps(defaults)), **values}


types_of_fields = cache(get_type_hints)


def coerce_all(instance: Any) -> None:
    """Turn every field of a frozen dataclass into its annotated type, in place; for use in `__post_init__`."""
    for name, annotation in types_of_fields(type(instance)).items():  # type: ignore[arg-type]
        value = getattr(instance, name)
        try:
            object.__setattr__(instance, name, (_coerced if type(value) in PLAIN else coerce)(value, annotation))
        except (TypeError, ValueError, OverflowError):
            if get_origin(annotation) is Literal:
                raise unknown(name, value, get_args(annotation)) from None
            raise InputError(f"{name}={shown(value)}: expected {describe(annotation)}") from None


def check_limits(instance: Any, limits: Mapping[str, tuple[float, float]]) -> None:
    """InputError for a field below the least or above the largest number of `limits`; of a list for every entry. None is legal."""
    for name, (least, most) in limits.items():
        value = getattr(instance, name)
        entries, each = (value, "every entry ") if isinstance(value, tuple) else ((value,), "")
        given = [entry for entry in entries if entry is not None]
        if any(entry < least for entry in given):
            raise InputError(f"{name}={shown(value)}: {each}must be at least {least:,}")
        if any(entry > most for entry in given):
            raise InputError(f"{name}={shown(value)}: {each}must be at most {most:,}")


def coerce(value: Any, annotation: Any) -> Any:
    """`value` as the annotated type: number, boolean, text, `Literal`, tuple or a union of those. ValueError if it is not."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return _first_that_fits(value, get_args(annotation))
    if origin is tuple:
        return _tuple(value, get_args(annotation))
    if origin is Literal:
        if value not in get_args(annotation):
            raise ValueError(value)
        return value
    if annotation is str and isinstance(value, str):
        return value
    return _number(_decoded(value), annotation)


_coerced = lru_cache(4096, typed=True)(coerce)  # a search makes thousands of specs


def describe(annotation: Any) -> str:
    """An annotation in words, for an error message."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe, arguments))
    if origin is tuple:
        inner = arguments[:1] if arguments[-1] is ... else arguments
        return f"a list, each entry {' and '.join(dict.fromkeys(map(describe, inner)))}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "none"}
    return words.get(annotation, str(annotation))


def text(value: Any) -> str:
    """A value as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def documented(kind: type[Fields]) -> type[Fields]:
    """The dataclass with a list of its fields at the end of its docstring: the text that stands below each in the source."""
    try:
        [body] = ast.parse(inspect.getsource(kind)).body
    except (OSError, TypeError):  # no source at hand
        return kind
    lines = []
    for field, below in itertools.pairwise(body.body):  # type: ignore[attr-defined]
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            entry = f"{ast.unparse(field)}: {inspect.cleandoc(str(below.value.value))}"
            lines += textwrap.wrap(entry, 120, subsequent_indent="    ")
    kind.__doc__ = "\n".join([inspect.cleandoc(kind.__doc__ or ""), "", "Fields:", "", *lines])
    return kind


def _check_names(kind: type, values: dict[str, Any]) -> None:
    for name in values:
        if name not in names(kind):
            raise unknown_field(name, kind, called=f"{kind.__name__} field")


def unknown_field(name: str, *kinds: type, called: str = "field", also: Iterable[str] = ()) -> InputError:
    """The error for a field that none of the dataclasses has: what to do here where other libraries have that word (`WORDS` of a
    dataclass), or the nearest name, of the fields and of those in `also`."""
    hints: dict[str, str] = {key: hint for kind in kinds for key, hint in getattr(kind, "WORDS", {}).items()}
    if name in hints:
        return InputError(f"no field named {name!r}: {hints[name]}")
    return unknown(called, name, [*also, *(field for each in kinds for field in names(each))])


def _decoded(value: Any) -> Any:
    """Text as the JSON value that it spells; everything else as it is."""
    if not isinstance(value, str):
        return value
    text = {"none": "null", "True": "true", "False": "false", "None": "null"}.get(value, value)
    return parse(re.sub(r"^([+-]?)\.", r"\g<1>0.", text))  # ".5" is no JSON


def _number(value: Any, annotation: type) -> Any:
    """`value` as a number, or if another type is annotated exactly of that one."""
    kind = {int: numbers.Integral, float: numbers.Real}.get(annotation)  # NumPy's numbers are registered as these
    if kind and isinstance(value, kind) and not isinstance(value, bool) and abs(number := annotation(value)) <= LARGEST[annotation]:
        return number
    if kind or type(value) is not annotation:
        raise TypeError(value)
    return value


def _tuple(value: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    if isinstance(value, str):  # "32,64" and "[32, 64]" alike
        value = parse(re.sub(r"\bnone\b", "null", value if value.startswith("[") else f"[{value}]", flags=re.IGNORECASE))
    items = tuple(value)
    annotations = arguments[:1] * len(items) if arguments[-1] is ... else arguments
    return tuple(coerce(item, annotation) for item, annotation in zip(items, annotations, strict=True))  # ValueError by `strict`


def _first_that_fits(value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in sorted(choices, key=lambda choice: choice is str):  # text fits everything, so it is tried last
        try:
            return coerce(value, choice)
        except (TypeError, ValueError, OverflowError):
            continue
    raise ValueError(value)
