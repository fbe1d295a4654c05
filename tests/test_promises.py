"""The tests that the documentation names are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = {path: path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))}


def test_named_tests_are_there():
    named = {name for text in PAGES.values() for name in re.findall(r"tests/(test_\w+\.py)::(test_\w+)", text)}
    assert len(named) > 30
    missing = [(file, name) for file, name in sorted(named) if f"def {name}(" not in (ROOT / "tests" / file).read_text()]
    assert not missing


def test_every_promise_has_a_test():
    text = PAGES[ROOT / "docs" / "promises.md"].partition("## Not promised")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| promise |")]
    assert len(rows) > 20
    assert all("::test_" in row.split("|")[2] for row in rows)
