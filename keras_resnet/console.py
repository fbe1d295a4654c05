"""Output in a terminal: tables and JSON; and `quiet`, which hides what native libraries print."""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from typing import Any

from keras_resnet.atomic import as_json as to_text
from keras_resnet.errors import InputError
from keras_resnet.outside import printable

WIDEST, SHORT = 10_000, 24  # characters of a line in a pipe, and of a text that stays on one line


def show_table(rows: Sequence[dict[str, Any]], *, as_json: bool = False) -> None:
    """Print rows that share their keys as a table, or as JSON. In a pipe every row is one line, without colours."""
    if as_json:
        show_json(list(rows))
        return
    if not rows:
        return
    from rich.console import Console

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDEST
    console = Console(width=WIDEST, height=WIDEST, color_system="auto" if sys.stdout.isatty() else None)
    first, *others = rows[0]
    parts = [[first]]
    for name in others:  # what is too wide for the terminal comes in several tables, each with the first column
        if len(parts[-1]) > 1 and console.measure(table(rows, [*parts[-1], name])).minimum > width:
            parts.append([first])
        parts[-1].append(name)
    console.width = width
    for number, names in enumerate(parts):
        with console.capture() as lines:
            console.print(table(rows, names))
        print(*[""] * bool(number), *map(str.rstrip, lines.get().splitlines()), sep="\n")


def table(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> Any:
    """These columns of rows, numbers to the right. Only long texts may fold."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, padding=(0, 2, 0, 0))
    for name in names:
        numeric = all(isinstance(row[name], int | float) or row[name] is None for row in rows)
        widest = max(len(name), *(len(cell(row[name])) for row in rows))
        how: dict[str, Any] = {"no_wrap": True, "min_width": widest} if numeric or widest <= SHORT else {"overflow": "fold"}
        shown.add_column(Text(printable(name)), justify="right" if numeric else "left", **how)
    for row in rows:
        shown.add_row(*(Text(cell(row[name])) for name in names))
    return shown


def markdown_table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    names = list(names)
    return "\n".join(f"| {' | '.join(line)} |" for line in (names, ["---"] * len(names), *rows))


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
    return printable(value)


@contextmanager
def byte_bar(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal, that fills as bytes come."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False, transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.update(task, advance=count)


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


@cache
def end_quietly() -> None:
    """Hide what native libraries print on standard error after Python's own end: LiteRT tells which accelerators it takes down."""
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))
