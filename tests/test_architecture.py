"""The picture of the architecture is that of the code."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
SCRIPT = runpy.run_path(str(DOCS / "architecture.py"))


def test_the_committed_picture_is_up_to_date():
    drawn = SCRIPT["picture"](SCRIPT["wings"]())
    assert (DOCS / "architecture.svg").read_text() == drawn, "python docs/architecture.py draws it anew"


def test_wings_stand_above_what_they_import():
    wings = SCRIPT["wings"]()
    assert len(wings) > 10
    floor_of = {wing: number for number, row in enumerate(SCRIPT["floors"](wings)) for wing in row}
    assert all(floor_of[other] < floor_of[wing] for wing, others in wings.items() for other in others)


def test_the_page_has_every_wing():
    page = (DOCS / "architecture.md").read_text()
    for wing in SCRIPT["wings"]():
        assert f"| `{wing}` |" in page or f"| {wing} |" in page
