from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from keras_resnet.errors import InputError, unknown
from keras_resnet.fields import change, coerce_all


@dataclass(frozen=True)
class Example:
    count: int = 1
    rate: float = 0.5
    flag: bool = False
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[int, float] = (1, 2.0)
    open: tuple[int | None, ...] = ()
    kind: Literal["left", "right"] | None = None
    label: str | tuple[int, ...] | None = "a"

    def __post_init__(self):
        coerce_all(self)


@pytest.mark.parametrize(
    ("field", "received", "value"),
    [
        ("count", "3", 3),
        ("count", np.int64(3), 3),
        ("rate", "1e-3", 1e-3),
        ("rate", 2, 2.0),
        ("rate", np.float32(0.5), 0.5),
        ("flag", "true", True),
        ("sizes", "3,4", (3, 4)),
        ("sizes", "[3, 4]", (3, 4)),
        ("sizes", [3, 4], (3, 4)),
        ("sizes", "3", (3,)),
        ("open", "none,None, 3", (None, None, 3)),
        ("open", "[null, 3]", (None, 3)),
        ("pair", [2, 3], (2, 3.0)),
        ("kind", "right", "right"),
        ("kind", "none", None),
        ("label", "b", "b"),
        ("label", "1,2", (1, 2)),
        ("label", "null", None),
    ],
)
def test_text_and_json_become_the_annotated_type(field, received, value):
    result = getattr(change(Example(), {field: received}), field)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("field", "received"),
    [
        ("count", "1.5"),
        ("count", True),
        ("rate", "fast"),
        ("flag", "1"),
        ("sizes", "3,x"),
        ("sizes", 3),
        ("pair", "1"),
        ("kind", "up"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_field_and_the_value(field, received):
    with pytest.raises(InputError, match=f"{field}.*{received}"):
        change(Example(), {field: received})


def test_a_long_list_of_names_is_cut():
    message = str(unknown("thing", "name7x", [f"name{number}" for number in range(100)]))
    assert message.startswith("no thing named 'name7x'; did you mean 'name7'? (allowed: name7, ")
    assert message.endswith(", and 95 more)")
    assert len(message) < 200
    assert str(unknown("thing", "x", ["a"])) == "no thing named 'x' (allowed: a)"


def test_equal_numbers_of_different_types_are_not_taken_for_each_other():
    """Numbers that were read once are not read again."""
    assert Example(count=1).count == 1
    with pytest.raises(InputError, match="count=True: expected a whole number"):
        Example(count=True)
    assert type(Example(rate=1).rate) is float
    with pytest.raises(InputError, match="flag=1"):
        Example(flag=1)
