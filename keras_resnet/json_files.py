"""JSON files of a folder, which may be damaged or somebody else's: each value is checked for its type when a file is read.

The annotation is the schema, as for fields: `dict[str, float]`, a `TypedDict`, a dataclass, a union. Keys that those do not name
are kept as they are: another version may have written them.
"""

import types
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from keras_resnet.errors import InputError, shown
from keras_resnet.fields import describe
from keras_resnet.outside import parse, read_text

SIMPLE: dict[Any, Any] = {int: int, float: (int, float), str: str, bool: bool, types.NoneType: types.NoneType}


class Content(dict):
    """An object in a JSON file. Where a key is missing, the InputError names the file."""

    def __init__(self, values: dict[str, Any], place: str) -> None:
        super().__init__(values)
        self.place = place

    def __missing__(self, key: str) -> Any:
        raise InputError(f"{self.place} has no {key!r}: it is damaged, or of another version")


def read_json(path: Path, kind: Any) -> Any:
    """What is in a JSON file, of the type `kind`. FileNotFoundError if there is none.

    InputError, which names the file, the key, what is there and what is expected, if it is something else.
    """
    text = read_text(path)
    try:
        return checked(parse(text), kind, repr(str(path)))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{str(path)!r} is damaged: {error}") from None


def checked(value: Any, kind: Any, file: str, key: str = "") -> Any:
    """`value` out of parsed JSON, if it is of the type `kind`. ValueError, which names the key, if not."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or (origin is Literal and value in arguments):
        return Content(value, file) if isinstance(value, dict) else value
    if origin in (Union, types.UnionType) and (fitting := [each for each in arguments if _is_like(value, each)]):
        return checked(value, fitting[0], file, key)
    if _is_record(kind) and isinstance(value, dict):
        hints = get_type_hints(kind)
        return Content({name: checked(each, hints.get(name, Any), file, _below(key, name)) for name, each in value.items()}, file)
    if origin is dict and isinstance(value, dict):
        return Content({name: checked(each, arguments[1], file, _below(key, name)) for name, each in value.items()}, file)
    if origin in (list, tuple) and isinstance(value, list):
        return [checked(each, arguments[0], file, f"{key}[{number}]") for number, each in enumerate(value)]
    if origin is None and kind in SIMPLE and isinstance(value, SIMPLE[kind]) and (kind is bool or not isinstance(value, bool)):
        return value
    raise ValueError(f"{key or 'it'} is {shown(value)}: expected {in_words(kind)}")


def in_words(kind: Any) -> str:
    """A type of JSON for an error message."""
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(map(in_words, get_args(kind)))
    if _is_record(kind) or get_origin(kind) is dict:
        return "an object"
    return "a list" if get_origin(kind) in (list, tuple) else describe(kind)


def _is_record(kind: Any) -> bool:
    return is_typeddict(kind) or is_dataclass(kind)


def _is_like(value: Any, kind: Any) -> bool:
    """Whether `value` is of that type, as far as its outermost part tells."""
    outermost: Any = dict if _is_record(kind) else get_origin(kind) or kind
    return isinstance(value, SIMPLE.get(outermost, list if outermost is tuple else outermost)) and (
        outermost is bool or not isinstance(value, bool)
    )


def _below(key: str, name: str) -> str:
    return f"{key}.{name}" if key else shown(name)
