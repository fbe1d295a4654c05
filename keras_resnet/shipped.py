"""The trained networks of this project by name: they are runs in `saved_models/` of a clone of the repository. An installed package
finds them from the clone's folder."""

from pathlib import Path

from keras_resnet.outside import nearest_folder

LIMITED = "; by name, networks of saved_models are opened in the root folder of a clone only, or after pip install -e"
FOLDER = Path(__file__).parents[1] / "saved_models"


def shipped() -> dict[str, Path]:
    """The run folder of each name."""
    folders = (FOLDER, Path(FOLDER.name))  # of the clone that this module is in, and of the current one
    return {file.parent.name: file.parent for folder in folders for file in sorted(folder.glob("*/model.keras"))}


def by_name(path: str | Path) -> Path:
    """The run folder of the trained network of that name. Any other path, and one that exists, is returned as it is."""
    found = shipped().get(str(path))
    return Path(path) if found is None or Path(path).exists() else found


def is_shipped(run: Path) -> bool:
    """Whether that folder is one of them: with its model card."""
    return (run / "README.md").is_file() and any(run.samefile(folder) for folder in shipped().values())


def place_in(run: Path, name: str) -> Path:
    """Where a command writes the file or folder of that name without --out: into the run. Of a trained network of this project
    nothing is changed: NAME-`name` in the current folder."""
    return Path(f"{run.resolve().name}-{name}") if is_shipped(run) else run / name


def suggestion(path: Path) -> str:
    """The end of a message that no run is at `path`: the nearest run beside it or by name; or else what names there are,
    where it could have been one."""
    names = shipped() if path.parent == Path() else ()
    nearest = nearest_folder(path, lambda folder: (folder / "spec.json").is_file(), names)
    if nearest or path.parent != Path():
        return nearest
    return f"; by name there are {', '.join(names)}" if names else LIMITED
