"""All measured accuracies that may be a record."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.pages.files import ROOT, read
from keras_resnet.networks.cost import cost_of
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import SPECS
from keras_resnet.runs.run import Run

COPY, SMALL = "CIFAR-10 (JPEG copy)", "tiny-imagenet"
RUNS = {name: f"saved_models/{name}" for name in ("tiny_imagenet_small", "tiny_imagenet_middle")}


def on_cifar10() -> list[Run]:
    """The networks of CIFAR-10 in saved_models/, the cheapest first."""
    runs = (Run.open(file.parent) for file in ROOT.glob("saved_models/cifar10-*/model.keras"))
    return sorted(runs, key=lambda run: cost_of(run.spec).multiply_adds)


def int8_file(folder: str) -> Any:
    """The check of the int8 file of a shipped run."""
    return next(check for check in read(f"{folder}/export/report.json") if check["file"] == "model_int8.tflite")


@dataclass(frozen=True, kw_only=True)
class Result:
    """A mean accuracy over the seeds, 0 to 1."""

    images: str
    network: str
    size: int
    """Bytes of the int8 file."""
    accuracy: float
    test_images: int
    seeds: int
    file: str
    """The JSON that has it."""
    is_estimate: bool = True
    """Whether the size is that of `cost_of`, and not of a file."""
    precision: str = "float32"
    deviation: float | None = None
    interval: tuple[float, float] | None = None
    """As the JSON has it; else Wilson's for the mean."""


def results() -> Iterator[Result]:
    """From all files."""
    yield from of_digits()
    yield from of_dial()
    yield from of_cifar10()
    yield from of_photographs()
    yield from of_students()
    yield from of_runs()


def of_digits() -> Iterator[Result]:
    """`resnet8` on scikit-learn's digits."""
    found = read("digits")
    last = found["last"]
    yield Result(
        images="digits",
        network="`resnet8`",
        size=estimate(SPECS["resnet8"], (8, 8, 1), 10),
        accuracy=last["mean"],
        deviation=last["standard_deviation"],
        test_images=found["images"]["test"],
        seeds=len(last["accuracies"]),
        file="benchmarks/digits.json",
    )


def of_dial() -> Iterator[Result]:
    """Networks within a budget, on the digits."""
    names = {"dial": "`train --budget {}`", "random": "best of 20 trials within {}"}
    for budget, both in read("dial")["digits"].items():
        for kind, name in names.items():
            row = both[kind]
            yield Result(
                images="digits",
                network=f"widths {', '.join(map(str, row['widths']))}; {name.format(budget)}",
                size=row["tflite_int8"],
                accuracy=row["mean"],
                interval=row["interval"],
                test_images=read("digits")["images"]["test"],
                seeds=len(row["test"]),
                file="benchmarks/dial.json",
            )


def of_cifar10() -> Iterator[Result]:
    """On all images of CIFAR-10 (JPEG copy)."""
    found, tiny = read("cifar10"), read("mlperf_tiny")
    yield Result(
        images=COPY,
        network="`resnet20`",
        size=estimate(SPECS["resnet20"], (32, 32, 3), 10),
        accuracy=found["test_accuracy_mean"] / 100,
        deviation=found["test_accuracy_deviation"] / 100,
        test_images=10_000,
        seeds=len(found["rows"]),
        file="benchmarks/cifar10.json",
    )
    names = {"resnet8": "MLPerf Tiny's ResNet-8, trained here", "winner": "winner of `tuning/cifar10_mlperf_tiny.py`"}
    for name, row in tiny["networks"].items():
        yield Result(
            images=COPY,
            network=names[name],
            size=row["bytes"],
            is_estimate=False,
            precision="int8",
            accuracy=row["int8"],
            deviation=row["int8_deviation"],
            test_images=tiny["images"],
            seeds=len({other["seed"] for other in tiny["rows"]}),
            file="benchmarks/mlperf_tiny.json",
        )


def of_photographs() -> Iterator[Result]:
    """The pretrained network on a few photographs of CIFAR-10 (JPEG copy)."""
    for name, found in read("own_photos").items():
        if name != "machine":
            row, classes = (
                found["mean_of_seeds"]["pretrained"],
                " and ".join(name.split("-")) if "ten" not in name else "ten classes",
            )
            yield Result(
                images=f"{found['training_photographs_of_a_class']} photographs each of {classes}, {COPY}",
                network=f"`{SMALL}`, fine-tuned",
                size=size_of_run(RUNS["tiny_imagenet_small"]),
                accuracy=row["accuracy"],
                interval=row["interval"],
                test_images=found["larger_test_images"],
                seeds=len(found["seeds"]),
                file="benchmarks/own_photos.json",
            )


def of_students() -> Iterator[Result]:
    """`resnet8` alone and with a teacher, and the teacher, on a few photographs of CIFAR-10 (JPEG copy)."""
    small, large = estimate(SPECS["resnet8"], (32, 32, 3), 10), size_of_run(RUNS["tiny_imagenet_small"])
    names = {"teacher": f"`{SMALL}`, fine-tuned", "alone": "`resnet8`", "logits": "`resnet8`, `distill=logits`"}
    [found] = read("distillation").values()
    for kind, name in (names | {"decoupled": "`resnet8`, `distill=decoupled`"}).items():
        row = found["summary"][f"{kind} int8"]
        yield Result(
            images=f"80 photographs each of ten classes, {COPY}",
            network=name,
            size=large if kind == "teacher" else small,
            precision="int8",
            accuracy=row["mean"],
            interval=row["interval"],
            test_images=found["test_images"],
            seeds=len(row["gains_in_points"]),
            file="benchmarks/distillation.json",
        )


def of_runs() -> Iterator[Result]:
    """The two networks on Tiny ImageNet."""
    for name, folder in RUNS.items():
        integer = int8_file(folder)
        yield Result(
            images="Tiny ImageNet",
            network=f"`{name}`",
            size=integer["bytes"],
            is_estimate=False,
            precision="int8",
            accuracy=integer["accuracy"],
            test_images=read(f"{folder}/metrics.json")["test"]["images"],
            seeds=1,
            file=f"{folder}/export/report.json",
        )


def estimate(spec: ResNetSpec, shape: tuple[int, ...], classes: int) -> int:
    """The size of the int8 file."""
    return cost_of(replace(spec, input_shape=shape, classes=classes)).tflite_int8


def size_of_run(folder: str) -> int:
    """The same for the network of a run."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in read(f"{folder}/spec.json").items()}
    return cost_of(ResNetSpec(**fields)).tflite_int8
