"""README.md: the table of numbers, from the JSON. See `claims`."""

from benchmarks.pages.candidates import RUNS, int8_file, on_cifar10
from benchmarks.pages.files import ROOT, percent, read, table, within
from benchmarks.pages.tables import spread
from keras_resnet.confidence import interval
from keras_resnet.networks.cost import cost_of
from keras_resnet.runs.run import Run

EXPORTS = "python benchmarks/exports.py RUN --aware RUN"


def numbers() -> list[str]:
    """The rows of the table of numbers, and its head."""
    return table([*digits(), *tiny(), *shipped(), *resnet20(), *pretrained()]).splitlines()


def row(network: str, size: tuple[int, int], float32: str, integers: str, command: str, *, file: int = 0, ms: float = 0) -> dict:
    """A row: `size` is the number of parameters and of multiply-adds, `file` of bytes."""
    return {
        "network, test images": network,
        "parameters": f"{size[0]:,}",
        "multiply-adds": f"{size[1] / 1e6:.1f} M",
        "accuracy, float32": float32,
        "accuracy, int8": integers,
        "bytes, int8": f"{file:,}" if file else "",
        "ms, int8": f"{ms:.2f}" if ms else "",
        "command": command,
    }


def one_seed(accuracy: float, images: int, digits: int = 1) -> str:
    """An accuracy with its 95 % interval."""
    return within(accuracy, *interval(accuracy, images), digits)


def digits() -> list[dict]:
    """`resnet8` on the digits."""
    accuracies, cost = read("digits")["last"]["accuracies"], cost_of("resnet8", input_shape=(8, 8, 1), classes=10)
    *_, integer = read("saved_models/digits-resnet8/export/report.json")
    images = read("digits")["images"]["test"]
    return [
        row(
            f"`resnet8`, {images} digits",
            (cost.trainable, cost.multiply_adds),
            f"{spread(accuracies)} ({len(accuracies)} seeds)",
            f"{one_seed(integer['accuracy'], images)}, one seed",
            "`python benchmarks/digits.py`; int8: the shell commands above",
            file=integer["bytes"],
            ms=integer["latency_ms"]["1"]["median"],
        )
    ]


def tiny() -> list[dict]:
    """The network of MLPerf Tiny, and the one that a search found."""
    data = read("mlperf_tiny")
    found = []
    for key, name in (
        ("resnet8", "ResNet-8 of MLPerf Tiny, 10,000 of CIFAR-10 (JPEG copy)"),
        ("winner", "network of `cifar10-search-tiny`, 30 epochs, same images"),
    ):
        accuracies = [own["float"] for own in data["rows"] if own["network"] == key]
        network = data["networks"][key]
        integers = f"{percent(network['int8']).removesuffix(' %')} ± {100 * network['int8_deviation']:.1f} %"
        found.append(
            row(
                name,
                (network["parameters"], network["multiply_adds"]),
                f"{spread(accuracies)} ({len(accuracies)} seeds)",
                integers,
                "`python benchmarks/mlperf_tiny.py OUT`",
                file=network["bytes"],
            )
        )
    return found


def resnet20() -> list[dict]:
    """A longer training of `resnet20`, and a shipped one that was trained on for 4 bits."""
    cost, seeds, earlier, now = cost_of("resnet20"), read("cifar10"), read("exports_vnni"), read("exports")
    size, both = (cost.trainable, cost.multiply_adds), []
    long = f"{seeds['test_accuracy_mean']:.1f} ± {seeds['test_accuracy_deviation']:.1f} % ({len(seeds['rows'])} seeds)"
    for name, data, float32, command, file in (
        ("`resnet20`, 30 epochs, same images", earlier, long, "`python benchmarks/cifar10.py FOLDER RUNS`", "model_int8.tflite"),
        (
            "`cifar10-resnet20` in 4 bits (not int8), 16 epochs, same images",
            now,
            "",
            f"`{EXPORTS}`",
            "model_int4.tflite, quantisation-aware",
        ),
    ):
        own, images = data["files"][file], data["images"]
        integers = f"{one_seed(own['accuracy'], images, 2)}, one seed"
        both.append(row(name, size, float32, integers, command, file=own["bytes"], ms=own["latency_ms"]["1"]["median"]))
    return both


def shipped() -> list[dict]:
    """The networks of CIFAR-10 in saved_models/, the cheapest first."""
    return [of_shipped(run, "same images", 2) for run in on_cifar10()]


def pretrained() -> list[dict]:
    """The networks that were pretrained on Tiny ImageNet."""
    images = "10,000 of Tiny ImageNet", "same images"
    return [of_shipped(Run.open(ROOT / folder), own, 1) for folder, own in zip(RUNS.values(), images, strict=True)]


def of_shipped(run: Run, images: str, digits: int) -> dict:
    """Its row: what its metrics and the report of its exports say."""
    cost, test, folder = cost_of(run.spec), run.metrics["test"], run.path.relative_to(ROOT)
    integer = int8_file(str(folder))
    return row(
        f"`{folder.name}`, {run.metrics['epochs']} epochs, {images}",
        (cost.trainable, cost.multiply_adds),
        *(f"{one_seed(accuracy, test['images'], digits)}, one seed" for accuracy in (test["accuracy"], integer["accuracy"])),
        f"[its card]({folder}/README.md)",
        file=integer["bytes"],
        ms=integer["latency_ms"]["1"]["median"],
    )
