"""The numbers of the documentation are those of the JSON in benchmarks/, as `python -m benchmarks.pages` writes them."""

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from benchmarks import picture
from benchmarks.pages import claims
from benchmarks.pages.__main__ import pages
from benchmarks.pages.claimed import CLAIMS
from benchmarks.pages.numbers import unlisted

BUDGET = "docs/how-to/budget.md"


def test_pages_are_those_that_the_script_writes():
    """`python -m benchmarks.pages` writes them anew."""
    texts = pages()
    assert [name for name, text in texts.items() if (ROOT / name).read_text(encoding="utf-8") != text] == []
    drawings = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "networks").iterdir()}
    assert drawings == {name for name in texts if name.endswith(".svg")}
    assert sum((ROOT / name).stat().st_size for name in drawings) < 400_000


def test_every_script_and_json_file_is_listed():
    """A row of `MEASUREMENTS` in benchmarks/pages/measurements.py, or of `OTHER_SCRIPTS`, for each."""
    assert unlisted() == set()


def test_no_framework_is_loaded():
    code = "import sys; from benchmarks.pages.__main__ import pages; pages(); print({'keras', 'tensorflow'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.strip() == "set()", found.stderr


@pytest.mark.parametrize("page", claims.pages())
def test_numbers_in_the_text(page):
    """`python -m benchmarks.pages.claims` lists what a page lacks, and its numbers that no claim covers."""
    assert claims.problems(page) == []


@pytest.mark.parametrize("page", CLAIMS)
def test_another_digit_is_noticed(page, monkeypatch):
    """Of every claim: each of its digits."""
    text, pieces = (ROOT / page).read_text(encoding="utf-8"), claims.claimed(page)
    monkeypatch.setattr(claims, "claimed", lambda page: pieces)  # the JSON is read once
    for piece in pieces:
        written = re.search(r"\s+".join(map(re.escape, piece.split())), text)
        assert written, piece
        for digit in re.finditer(r"\d", written[0]):
            place = written.start() + digit.start()
            changed = text[:place] + str((int(digit[0]) + 1) % 10) + text[place + 1 :]
            assert claims.problems(page, changed), piece


def test_a_number_without_a_claim_is_noticed():
    text = (ROOT / BUDGET).read_text(encoding="utf-8")
    for number in ("5.1 points", "94 %", "0.36 of the size", "12 kB", "3 ms", "84.0 ± 0.4", "2 times"):
        assert claims.problems(BUDGET, f"{text}\n\nThis gives {number}.\n"), number
    assert claims.problems(BUDGET, f"{text}\n\n| a | 6,600 |\n")
    for other in ("`0.36`", "arXiv:1512.03385", "Keras 3.15", "Keras 3.15.1", "the 95 % interval", "32x32"):
        assert claims.problems(BUDGET, f"{text}\n\nThis is {other}.\n") == [], other


def test_picture(tmp_path):
    """`python -m benchmarks.picture` draws it anew. Another version of Matplotlib writes other paths, so the words are compared."""
    picture.draw(tmp_path / "again.svg")
    again, there = (path.read_text(encoding="utf-8") for path in (tmp_path / "again.svg", picture.OUT))
    words = [
        re.findall(r"<text[^>]*>(.*?)</text>|<dc:description>(.*?)</dc:description>", text, re.DOTALL) for text in (again, there)
    ]
    assert words[0] == words[1]
    description = html.unescape(re.search(r"<dc:description>(.*?)</dc:description>", there, re.DOTALL)[1])
    assert description.splitlines() == [str(point) for point in picture.points()]
