"""What a person sees in a terminal: tables, and silence from native libraries."""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from keras_resnet.atomic import as_json as to_text
from keras_resnet.errors import InputError


def show_table(rows: Sequence[dict[str, Any]], *, as_json: bool = False) -> None:
    """Print rows that share their keys: aligned columns, numbers to the right; or as JSON."""
    if as_json:
        show_json(list(rows))
        return
    if not rows:
        return
    texts = [{key: cell(value) for key, value in row.items()} for row in rows]
    widths = {key: max(len(key), *(len(text[key]) for text in texts)) for key in rows[0]}
    numeric = {key for key in rows[0] if all(isinstance(row[key], int | float) or row[key] is None for row in rows)}

    def line(texts: dict[str, str]) -> str:
        return "  ".join(
            texts[key].rjust(width) if key in numeric else texts[key].ljust(width) for key, width in widths.items()
        ).rstrip()

    print(line({key: key for key in widths}))
    for text in texts:
        print(line(text))


def show_json(content: Any) -> None:
    """Print `content` as indented JSON."""
    print(to_text(content))


def cell(value: Any) -> str:
    """One value as text for a person: thousands marked; four decimals, or one where there are no more or the value is large."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if value and abs(value) < 1e-3:
            return f"{value:.2e}"
        short = abs(value) >= 10 or (abs(value) > 1 and value == round(value, 1))
        return f"{value:,.1f}" if short else f"{value:.4f}"
    return str(value)


class Diverted:
    """A stream that stands for `now`, and for another once that is put in its place: loggers keep the one they found."""

    def __init__(self, now: Any) -> None:
        self.now = now

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now, name)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what this process, its native libraries included, prints out of sight; show it after all if the block raises."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as captured:
        os.dup2(captured.fileno(), 1)
        os.dup2(captured.fileno(), 2)
        streams = Diverted(captured), Diverted(captured)
        before = sys.stdout, sys.stderr
        try:
            with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
                yield
        except InputError:  # says all by itself
            raise
        except BaseException:
            captured.seek(0)
            os.write(saved[1], captured.read().encode())
            raise
        finally:
            for number, (descriptor, stream, own) in enumerate(zip(saved, streams, before, strict=True), start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)
                stream.now = own
