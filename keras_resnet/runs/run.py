"""The folder that a training leaves: what is in it, how to open it, and where a new one may be written."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from keras_resnet.atomic import sweep
from keras_resnet.errors import InputError
from keras_resnet.fields import from_json
from keras_resnet.json_files import Content, checked
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.outside import ODD, check_class_names, parse, read_text
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.shipped import by_name, suggestion

if TYPE_CHECKING:
    import keras

SAMPLE = "sample.png"
CONFUSION = "confusion.png"
CONTENTS = {
    "spec.json": "the network (ResNetSpec)",
    "recipe.json": "how it was trained (Recipe)",
    "data.json": "what it was trained on, as arguments of keras_resnet.data.load, and a digest of it",
    "metrics.json": "accuracy, loss, cost and seed",
    "history.csv": "one row an epoch; loss is what was minimised, the teacher's included; val_loss is plain cross-entropy",
    "history.png": "loss and accuracy curves",
    "environment.json": "versions and hardware",
    "labels.txt": "class names, one a line, in the order of the outputs",
    "model.keras": "the trained network; weights of the last or the best epoch, see Recipe.keep",
    "last.weights.h5": "the weights after the last epoch, of quantisation-aware training before they are rounded",
    CONFUSION: "the confusion matrix of the test images",
    SAMPLE: "the first test image, where images are pictures; its class is in metrics.json",
}
LONGEST_NAME = 200  # of a run folder; file systems allow 255, and temporary names are longer
ESSENTIAL = ("spec.json", "labels.txt", "model.keras")


Mistake = TypedDict("Mistake", {"image": str, "class": str, "predicted": str, "probability": float})


class Measured(TypedDict, total=False):
    """A split in `metrics.json`."""

    images: int
    accuracy: float
    accuracy_interval: list[float]
    balanced_accuracy: float | None
    loss: float | None
    recall: dict[str, float | None]
    precision: dict[str, float | None]
    images_by_class: dict[str, int]
    confusion_matrix: list[list[int]]
    mistakes: list[Mistake]


Sample = TypedDict("Sample", {"file": str, "split": str, "class": str}, total=False)


class Metrics(TypedDict, total=False):
    """`metrics.json`."""

    network: str
    parameters: int
    images: dict[str, int]
    seed: int
    init: str | None
    init_name: str
    teachers: list[dict[str, str]]
    epochs: int
    kept_epoch: int
    linear_probe: dict[str, Any]
    images_per_second: float | None
    train_seconds: float | None
    validation: Measured
    test: Measured
    sample: Sample
    diverged: str


class Origin(TypedDict, total=False):
    """`data.json`."""

    source: str | None
    data_dir: str | None
    image_size: int | list[int] | None
    channels: int | None
    digest: str


@dataclass(frozen=True)
class Run:
    """A finished run in the folder `path`. `Run.open` checks that it is one."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """The run in that folder, or a trained network of this project by name, such as "cifar10-resnet20" (in a clone of the
        repository). InputError if the folder is missing or lacks an essential file."""
        return cls.at(by_name(path))

    @classmethod
    def at(cls, path: Path) -> "Run":
        """The run in that folder, whatever names there are. InputError if the folder is missing or lacks an essential file."""
        if not path.is_dir():
            why = "; it is a file, and a run is a folder" if path.is_file() else suggestion(path)
            raise InputError(f"no run folder at {str(path)!r}{why}")
        missing = [name for name in ESSENTIAL if not (path / name).is_file()]
        if missing:
            raise InputError(f"{str(path)!r} is not a run: it has no {', '.join(missing)}")
        return cls(path)

    @cached_property
    def spec(self) -> ResNetSpec:
        """The network."""
        return self._parsed("spec.json", partial(from_json, ResNetSpec))

    @cached_property
    def recipe(self) -> Recipe:
        """How it was trained."""
        return self._parsed("recipe.json", partial(from_json, Recipe))

    @property
    def was_trained(self) -> bool:
        """Whether it came out of a training here, and not of weights of another library."""
        return (self.path / "recipe.json").exists()

    @cached_property
    def metrics(self) -> Content:
        """What it reached and what it cost."""
        return self._content("metrics.json", Metrics)

    @cached_property
    def data(self) -> dict[str, Any]:
        """Arguments of `keras_resnet.data.load`, `source` being None for a run trained on arrays; and a `digest` of the images."""
        return self._content("data.json", Origin)

    @cached_property
    def class_names(self) -> list[str]:
        """Class names in the order of the outputs."""
        names = self._parsed("labels.txt", lambda text: text.removesuffix("\n").split("\n"))
        check_class_names(names, repr(str(self.path / "labels.txt")))
        if len(names) != self.spec.classes:
            raise InputError(f"{str(self.path / 'labels.txt')!r} is damaged: {len(names)} names for {self.spec.classes} classes")
        return names

    @property
    def model_path(self) -> Path:
        """The trained network, a plain Keras file."""
        return self.path / "model.keras"

    def load(self) -> "keras.Model":
        """The trained network. InputError if its file cannot be read, or is not the network of `spec`."""
        from keras_resnet.networks.loading import load, weights_of_layers
        from keras_resnet.networks.match import check_network

        model = load(self.model_path, compile=False, safe_mode=True)
        check_network(self.model_path, weights_of_layers(model), tuple(model.input_shape[1:]), self.spec)
        return model

    @property
    def export_path(self) -> Path:
        """The folder of the run's exported files."""
        return self.path / "export"

    def _parsed(self, name: str, parse_text: Callable[[str], Any]) -> Any:
        try:
            text = read_text(self.path / name)
        except FileNotFoundError:
            raise InputError(f"the run {str(self.path)!r} has no {name}") from None
        try:
            return parse_text(text)
        except (TypeError, ValueError) as error:
            raise InputError(f"{str(self.path / name)!r} is damaged: {error}") from None

    def _content(self, name: str, kind: type) -> Content:
        return self._parsed(name, lambda text: checked(parse(text), kind, repr(str(self.path / name))))


def check_free(out: str | Path, overwrite: bool = False) -> Path:
    """`out` as a path where a run can be written. InputError if it cannot, or if something is there that must stay."""
    out = Path(out)
    if Path.cwd().is_relative_to(os.path.abspath(out)):
        raise InputError(f"{str(out)!r} holds the current folder; choose another")
    if ODD.search(out.name):
        raise InputError(f"the name {out.name!r} has control characters or bytes that are not UTF-8; choose another")
    if len(os.fsencode(out.name)) > LONGEST_NAME:
        raise InputError(f"the name {out.name!r} is longer than {LONGEST_NAME} bytes")
    ancestor = next(path for path in out.absolute().parents if path.exists())
    if not ancestor.is_dir() or not os.access(ancestor, os.W_OK | os.X_OK):
        raise InputError(f"{str(out)!r} cannot be written: {str(ancestor)!r} is not a writable folder")
    if out.is_symlink() and out.exists():
        out = out.resolve()
    sweep(out)
    if out.is_dir() and not any(out.iterdir()):
        return out  # an empty folder may become the run
    if out.exists() or out.is_symlink():
        if not overwrite:
            raise InputError(f"{str(out)!r} exists; choose another folder, or replace the run with overwrite=True (--overwrite)")
        Run.at(out)  # only a run may be replaced: never delete a folder of something else
    return out


def check_outside(out: str | Path, source: object) -> None:
    """InputError for a folder to write that is inside the folder of images `source`: it could be a class of the next training."""
    if not isinstance(source, str | Path) or not Path(source).is_dir():
        return
    if Path(out).resolve().is_relative_to(Path(source).resolve()):
        raise InputError(f"{str(out)!r} is inside the images {str(source)!r}: choose a folder outside of them")


def is_run(path: Path) -> bool:
    """Whether there is a run in that folder."""
    try:
        Run.at(path)
    except InputError:
        return False
    return True


def names_of(runs: Sequence[Run]) -> list[str]:
    """The names of the folders, with those above them where they are the same."""
    paths = [run.path.resolve() for run in runs]
    for depth in range(1, max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            break
    return names
