"""Weights that come with this package, by name: they need no download."""

from pathlib import Path

from keras_resnet.errors import unknown

EMBEDDED = {"tiny-imagenet": Path(__file__).parent / "tiny_imagenet" / "model.safetensors"}


def file_of(weights: str | Path) -> Path:
    """The file of weights that come with this package, or the path as it is. InputError for a word that is neither."""
    path = Path(weights)
    if len(path.parts) != 1 or path.suffix or path.exists():
        return path
    if path.name not in EMBEDDED:
        raise unknown("file, and no weights of this package,", path.name, EMBEDDED)
    return EMBEDDED[path.name]
