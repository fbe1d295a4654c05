"""The one way to make a page: a template of this folder, with every name and value escaped."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_resnet.console import cell

FOLDER = Path(__file__).parent / "templates"
SCRIPT = FOLDER / "sort.js"


def render(name: str, *, scripts: Sequence[Path] = (SCRIPT,), **content: Any) -> str:
    """The page of a template with `content`. Browsers run only `scripts`, put together, and what the template itself allows. They
    load nothing else.

    Text is escaped; SVG that our own functions made comes as `markupsafe.Markup`, see `drawn`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    how: dict[str, Any] = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    templates = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, **how)
    program = "\n".join(script.read_text(encoding="utf-8") for script in scripts)
    templates.filters.update(cell=cell, percent=percent)
    templates.globals.update(script=drawn(program), script_digest=digest(program))
    return templates.get_template(f"{name}.html.jinja").render(**content)


def drawn(markup: str) -> Any:
    """Markup for a page that is not escaped again: its makers have escaped what came from outside."""
    from markupsafe import Markup

    return Markup(markup)


def digest(script: str) -> str:
    """The hash by which a Content-Security-Policy names a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def percent(share: float | None) -> str:
    """A share, 0 to 1, in percent.

    >>> percent(0.98333)
    '98.3 %'
    """
    return "-" if share is None else f"{100 * share:.1f} %"
