"""Elements of an SVG picture as text. Whatever is written into one is escaped here."""

import re
from html import escape
from typing import NamedTuple

from keras_resnet.outside import printable

NO_XML = re.compile("[\ufffe\uffff]")  # what no XML file may hold, beside the characters that `printable` escapes


def element(tag: str, content: str = "", /, **attributes: str | float) -> str:
    """One element around `content`, which is SVG already. `class_` is written as class, `text_anchor` as text-anchor.

    >>> element("rect", x=1.0, width=20, class_="box")
    '<rect x="1" width="20" class="box"/>'
    """
    names = {name: name.rstrip("_").replace("_", "-") for name in attributes}
    given = "".join(f' {names[name]}="{_value(value)}"' for name, value in attributes.items())
    return f"<{tag}{given}>{content}</{tag}>" if content else f"<{tag}{given}/>"


def text(x: float, y: float, words: object, **attributes: str | float) -> str:
    """Any words at a place."""
    return element("text", escaped(words), x=x, y=y, **attributes)


def escaped(words: object) -> str:
    """Any words as the content of an element or the value of an attribute."""
    return escape(NO_XML.sub("\ufffd", printable(words)))


def line(*points: tuple[float, float], **attributes: str | float) -> str:
    """A line through points."""
    return element("path", d="M" + "L".join(f"{x:.5g} {y:.5g}" for x, y in points), **attributes)


def _value(value: str | float) -> str:
    return escaped(value) if isinstance(value, str) else f"{value:.5g}"


class Picture(NamedTuple):
    """A drawing that is not yet an image: its size in pixels and its elements."""

    width: float
    height: float
    content: str
