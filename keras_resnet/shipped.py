"""The trained networks of this project by name: a clone of the repository has them in `saved_models/`, an installed package has
none."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "saved_models"


def shipped() -> dict[str, Path]:
    """The run folder of each name."""
    return {file.parent.name: file.parent for file in sorted(FOLDER.glob("*/model.keras"))}


def by_name(path: str | Path) -> Path:
    """The run folder of the trained network of that name; any other path as it is, and one of the same name that exists."""
    found = shipped().get(str(path))
    return Path(path) if found is None or Path(path).exists() else found
