"""The Python of README.md and of docs/ runs as it stands; `test_shell.py` runs the shell lines."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from documentation import ELSEWHERE, ROOT, SCRIPTS, blocks_of, pages

import keras_resnet as kr

TESTS = Path(__file__).parent
README, SECURITY = ((ROOT / name).read_text() for name in ("README.md", "SECURITY.md"))
FIXTURES = {"docs/how-to/search.md": ["pretended"], "docs/how-to/detection.md": ["quick_weights"]}  # that a page needs
ALL_DIGITS = ("docs/runs.md",)  # pages that load the images of a run again


@pytest.mark.parametrize("page", SCRIPTS)
def test_python(page, few, tmp_path, monkeypatch, capfd, request, recwarn):
    """A page is one script. It has few digits, a shorter recipe, and trials without training; the first shell line trains on all.
    Keras does not warn."""
    for name in FIXTURES.get(page, ()):
        request.getfixturevalue(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(kr.RECIPES, "digits", replace(kr.RECIPES["digits"], epochs=2))
    if page not in ALL_DIGITS:
        load = kr.data.load
        monkeypatch.setattr(kr.data, "load", lambda source, **options: few if source == "digits" else load(source, **options))
    names = {"__name__": "__main__"}
    for block in SCRIPTS[page]:
        exec(block, names)
    assert not [warning for warning in recwarn if "shuffle" in str(warning.message)]
    assert "print(" not in "".join(SCRIPTS[page]) or capfd.readouterr().out


def test_pages_that_are_not_run_here_are_run_elsewhere():
    for page, test in ELSEWHERE.items():
        if (ROOT / page).exists():
            assert Path(page).name in (TESTS / test).read_text()


def test_first_screen():
    """Six lines of Python, three of shell, and little enough to read at once. The first page of the site begins with the same."""
    python, shell = ([block for block in blocks_of(ROOT / "README.md") if block.language == name] for name in ("python", "sh"))
    assert len(python[0].text.splitlines()) == 6
    assert len(shell[0].text.splitlines()) == 3
    assert len(README.encode()) <= 8_000
    first = (ROOT / "docs" / "index.md").read_text()
    assert python[0].text in first
    assert shell[0].text in first
    assert "TO BE MEASURED" not in README


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_links_lead_to_files(page):
    for link in re.findall(
        r"\]\((?!http)([^)#]+)[^)]*\)", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    ):
        assert (page.parent / link).exists(), link


def test_the_tests_that_security_names_exist():
    named = re.findall(r"(test_\w+\.py)(?: -k (?:\"([^\"]*)\"|(\w+)))?", SECURITY)
    assert len(named) > 20
    for file, words, word in named:
        text = (TESTS / file).read_text()
        for each in (words or word).split(" or "):
            assert each in text, (file, each)
    text, rows = (TESTS / "test_network.py").read_text(), SECURITY.partition("| promise | `-k` |")[2].split("\n\n")[0]
    for word in re.findall(r"`(\w+)`[ ,]*(?=\||`)", rows):
        assert re.search(rf"def test_\w*{word}", text), word
