"""`python -m benchmarks.pages` writes the pages; with `--commits` it enters the commits of the records first."""

import sys

from benchmarks.pages.files import ROOT
from benchmarks.pages.networks import drawings, networks
from benchmarks.pages.numbers import numbers, scripts
from benchmarks.pages.records import enter_commits, records


def pages() -> dict[str, str]:
    """The text of each generated file, by its path in the repository."""
    texts = {
        "docs/numbers.md": numbers(),
        "benchmarks/README.md": scripts(),
        "docs/records.md": records(),
        "docs/networks.md": networks(),
    }
    return texts | {f"docs/networks/{name}": text for name, text in drawings().items()}


def main() -> None:
    if "--commits" in sys.argv[1:]:
        enter_commits()
    for name, text in pages().items():
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
