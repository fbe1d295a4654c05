"""A file of weights of another library becomes a run folder, which every command takes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_resnet.atomic import write_json, write_whole
from keras_resnet.errors import InputError
from keras_resnet.fields import to_json
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import name_of, resolve
from keras_resnet.outside import check_class_names
from keras_resnet.runs.run import Run, check_free, is_run
from keras_resnet.weights.download import digest
from keras_resnet.weights.loading import build_from
from keras_resnet.weights.names import find
from keras_resnet.weights.reading import CLASSIFIER, OF_THE_LIBRARY, file_of, read


def convert(
    path: str | Path,
    out: str | Path,
    *,
    layout: str | None = None,
    spec: str | ResNetSpec | None = None,
    prefix: str | None = None,
    class_names: Sequence[str] | None = None,
    overwrite: bool = False,
    **fields: Any,
) -> Run:
    """Write a run folder with the network and the weights of a file.

    Args:
        path: as of `read`.
        out: the folder to write.
        layout: as of `read`.
        spec: as of `read`.
        prefix: as of `read`.
        class_names: in the order of the outputs; None for those that stand beside the file, or else "0", "1", ...
        overwrite: replace a run that is there.
        fields: fields of the spec that the file does not show, such as `input_shape`, `normalize`, or for some `stride_on`.

    Returns: the run. It has no recipe and no images: it was not trained here. `metrics` has the name of the file, its SHA-256 and
    its layout under "source", for weights by name also licence, URL and revision. InputError as of `read`, and for a file without
    a classifier.
    """
    out = check_free(out, overwrite)
    path, about, spec = find(path, spec)
    path = file_of(path)
    found = read(path, layout=layout, spec=spec, prefix=prefix)
    network = found.spec
    if fields:
        asked = resolve(network, **fields)
        found = read(path, layout=found.layout, spec=asked, prefix=prefix)  # refuses what the file contradicts
        network = replace(asked, **{name: getattr(found.spec, name) for name in OF_THE_LIBRARY if name not in fields})
        if network.classes != found.spec.classes:
            raise InputError(f"classes={network.classes} cannot be set: {str(path)!r} has {found.spec.classes}")
    if not any(name.startswith(CLASSIFIER) for name in found.arrays):
        raise InputError(
            f"{str(path)!r} has no classifier, and a run needs one: kr.build(..., weights=, include_top=False) takes it"
        )
    names = labels(class_names or found.class_names, network.classes)
    check_class_names(names, str(path))
    model = build_from(found, network, path=path)
    source = {**about, "file": path.name, "sha256": digest(path, "sha256"), "layout": found.layout}

    def fill(folder: Path) -> None:
        model.save(folder / "model.keras")
        (folder / "spec.json").write_text(to_json(network), encoding="utf-8")
        (folder / "labels.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
        write_json(folder / "data.json", {"source": None})
        write_json(folder / "metrics.json", {"network": name_of(network), "parameters": model.count_params(), "source": source})

    return Run.open(write_whole(out, fill, may_replace=is_run if overwrite else lambda path: False))


def labels(names: Sequence[str] | None, classes: int) -> list[str]:
    """A line for each class: a name that is there twice gets the number of its class. InputError for another number of names."""
    if names is None:
        return [str(number) for number in range(classes)]
    if len(names) != classes:
        raise InputError(f"{len(names)} class names were given, and the network has {classes} classes")
    lines = [" ".join(str(name).split()) or str(number) for number, name in enumerate(names)]
    return [f"{name} ({number})" if lines.count(name) > 1 else name for number, name in enumerate(lines)]
