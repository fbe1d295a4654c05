"""Plots with names in any script: Matplotlib's own font has no Chinese, Japanese or Korean characters."""

import logging
import re
import warnings
from pathlib import Path
from typing import Any

LOG = logging.getLogger("keras_resnet")
MISSING = re.compile(r"Glyph (\d+) ")
SHOWN = 10  # characters of a warning
BOXES = "Last Resort"  # a font that comes with Matplotlib and has a box for every character


def save_plot(figure: Any, path: Path, **settings: Any) -> None:
    """Write a Matplotlib figure. What its font lacks is written in other installed fonts; a warning says what none has."""
    missing = written(figure, path, settings)
    if missing and (fonts := fonts_with(missing)):
        from matplotlib.text import Text

        for text in figure.findobj(Text):
            text.set_fontfamily([*text.get_fontfamily(), *fonts])
        missing = written(figure, path, settings)
    if missing:
        some = " ".join(map(chr, sorted(missing)[:SHOWN]))
        LOG.warning("%s: no installed font has %s; install one, such as Noto Sans CJK", path.name, some)


def written(figure: Any, path: Path, settings: dict[str, Any]) -> set[int]:
    """Write a figure, and give the characters that became boxes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(path, **settings)
    found = {int(match[1]) for each in caught if (match := MISSING.match(str(each.message)))}
    for each in caught:
        if not MISSING.match(str(each.message)):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return found


def fonts_with(characters: set[int]) -> list[str]:
    """Names of installed fonts that together have as many of some characters as any have."""
    from matplotlib import font_manager

    left, found = set(characters), []
    for entry in font_manager.fontManager.ttflist:
        if entry.name.startswith(BOXES):
            continue
        try:
            has = left & font_manager.get_font(entry.fname).get_charmap().keys()
        except (OSError, RuntimeError):  # a file that is gone or that Matplotlib cannot read
            continue
        if has:
            left -= has
            found.append(entry.name)
        if not left:
            break
    return found
