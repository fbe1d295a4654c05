"""Whether the numbers in the text of a page are those of the JSON: `python -m benchmarks.pages.claims` lists what is not.

`claimed` has the claims. Each is a piece of the page as the JSON gives it, so a page with another digit does not have it. Every
number of a page that looks measured must be inside a claim, or inside a piece of `NOT_MEASURED`, which says what it is instead. A
claim is a piece long enough that its numbers can be no others: a row of a table, or most of a sentence.
"""

import re
from typing import NamedTuple

from benchmarks.pages.claimed import CLAIMS
from benchmarks.pages.files import ROOT
from benchmarks.pages.not_measured import NOT_MEASURED

WRITTEN = {"docs/numbers.md", "docs/records.md", "docs/networks.md"}  # from the JSON itself
UNIT = r"\d\s?(?:%|ms|µs|s|seconds?|minutes?|hours?|[kMG]i?B|points?|times)(?!\w)"
DECIMAL = r"(?<![\w.:-])\d[\d,]*\.\d+(?!\.?\w)"
CELL = r"(?<=\| )[+-]?\d[\d,.]*(?= \|)"
LOOKS_MEASURED = re.compile(rf"{UNIT}|± \d|factor of \d|{DECIMAL}|{CELL}")
NEVER_MEASURED = re.compile(
    r"95 % interval|sections? \d+\.\d+|(?:Python|Keras|TensorFlow|LiteRT|PyTorch|JAX) \d+\.\d+(?: to \d+\.\d+)?"
)
CODE = re.compile(r"(?ms)^```.*?^```|<!--.*?-->")


class Problem(NamedTuple):
    """A piece of text that a page lacks, or a number of a page that no claim covers."""

    page: str
    kind: str
    text: str


def pages() -> list[str]:
    """The pages whose numbers must be claimed."""
    found = {"README.md", *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))}
    return sorted(found - WRITTEN)


def claimed(page: str) -> list[str]:
    """The pieces of a page that come from the JSON."""
    return [piece for function in CLAIMS.get(page, ()) for piece in function()]


def problems(page: str, text: str | None = None) -> list[Problem]:
    """What is wrong with a page, or with another text for it."""
    words = " ".join(CODE.sub(" ", text if text is not None else (ROOT / page).read_text(encoding="utf-8")).split())
    pieces = [" ".join(piece.split()) for piece in (*claimed(page), *NOT_MEASURED.get(page, {}))]
    missing = [Problem(page, "is not there", piece) for piece in pieces if piece not in words]
    covered = [found.span() for piece in pieces for found in re.finditer(re.escape(piece), words)]
    covered += [found.span() for found in NEVER_MEASURED.finditer(words)]
    plain = re.sub(r"`[^`]*`", lambda code: "`" * len(code[0]), words)
    return missing + [
        Problem(page, "is not claimed", f"{words[max(0, found.start() - 50) : found.end() + 20]}")
        for found in LOOKS_MEASURED.finditer(plain)
        if not any(start <= found.start() and found.end() <= end for start, end in covered)
    ]


if __name__ == "__main__":
    for name in pages():
        for problem in problems(name):
            print(f"{problem.page}: {problem.kind}: {problem.text}")
