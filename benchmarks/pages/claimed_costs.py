"""The numbers of speed, memory, files and reliability in the text of the pages, as the JSON gives them; see `claimed`."""

from itertools import product
from math import ceil
from typing import Any

from benchmarks.pages.files import percent, read
from benchmarks.pages.headlines import total
from benchmarks.pages.tables import with_compiled

NONE = "\N{EN DASH}"  # what a table has where nothing was measured
DEPTHS = {"resnet434": "`resnet20` with `depths=(72, 72, 72)`"}  # what depth.json calls by another name
LIBRARIES = {
    "keras_resnet": "this package",
    "keras.applications": "keras.applications (ResNet-20: built in its style)",
    "keras_hub": "KerasHub",
    "keras": "our network, trained by Keras alone",
    "torch": "PyTorch, channels last",
}
ENGINES = {
    "KerasTuner, chief": "KerasTuner's chief",
    "Optuna, SQLite": "Optuna, SQLite file",
    "Optuna, journal": "Optuna, journal",
    "Optuna, PostgreSQL": "Optuna, PostgreSQL",
}
TRAININGS = {
    "as it was trained": "as trained, 30 epochs",
    "quantisation-aware": "two more epochs, quantisation-aware",
    "fine-tuned alike, without integers": "two more epochs, not quantisation-aware",
}


def exported() -> list[str]:
    """docs/how-to/export.md: the files of a run; a column more if CompiledModel ran them too."""
    data = read("exports")
    rows = [file_row(*name.partition(","), row, with_compiled(data)) for name, row in data["files"].items()]
    return [*rows, f"The Keras model has an accuracy of {percent(data['keras_accuracy'], 2)}", f"{data['images']:,} test images"]


def export_latencies() -> list[str]:
    """docs/how-to/export.md: what depends on the processor and the runtime."""
    here, with_vnni = (read(name)["int8_to_float32"]["time_ratio"] for name in ("exports", "exports_vnni"))
    small = read("exports")["files"]["model_int4.tflite, quantisation-aware"]
    both = small["latency_ms"]["2"]["median"], small["compiled_model"]["latency_ms"]["2"]["median"]
    return [
        f"the int8 file takes {here:.2f} of the time of float32. On one with them (VNNI) it took {with_vnni:.2f}",
        f"the int4 file takes {both[0]:.1f} ms with two threads by the Interpreter, and {both[1]:.1f} ms by CompiledModel",
    ]


def file_row(file: str, comma: str, kind: str, row: dict[str, Any], compiled: bool) -> str:
    """A row of the table of files."""
    cells = [
        f"`{file}`{comma}{kind}",
        f"{row['bytes']:,}",
        f"{row['max_difference']:.2g}",
        percent(row["top1_agreement"], 2),
        percent(row["accuracy"], 2) + (", refused" if row.get("verdict") == "failed" else ""),
        f"{row['latency_ms']['1']['median']:.2f}",
    ]
    if compiled:
        cells.append(f"{row['compiled_model']['latency_ms']['1']['median']:.2f}" if row.get("compiled_model") else NONE)
    return f"| {' | '.join(cells)} |"


def int8_beside_float() -> list[str]:
    """docs/faq.md: what int8 costs."""
    data = read("exports")
    both = percent(data["keras_accuracy"], 2), percent(data["files"]["model_int8.tflite"]["accuracy"], 2)
    return [f"`resnet20` on CIFAR-10 (JPEG copy) has an accuracy of {both[0]}, its int8 file of {both[1]} ({data['images']:,} test"]


def hard_network() -> list[str]:
    """docs/how-to/quantize.md: a network that is hard to quantise."""
    hard = read("exports")["hard"]
    return [
        f"| float32 | {percent(hard['keras_accuracy'], 2)} |",
        f"| plain int8 | {percent(hard['int8'], 2)}{', refused' if hard['refused'] else ''} |",
        f"| int8, the two worst layers in float | {percent(hard['with_layers_in_float']['2'], 2)} |",
        f"| int8 after equalisation | {percent(hard['equalized'], 2)} |",
    ]


def aware() -> list[str]:
    """docs/how-to/quantize.md: quantisation-aware training."""
    data = read("quantization_aware")
    rows = [
        f"| {TRAININGS[row['run']]} | {percent(row['float'], 2)} | {percent(row['int8'], 2)} |"
        f" {100 * (row['float'] - row['int8']):.2f} |"
        for row in data["rows"]
    ]
    return [*rows, f"This is one seed, on {data['images']:,} test images"]


def depths() -> list[str]:
    """docs/how-to/deep-networks.md: memory and times."""
    data, rows = read("depth"), []
    for plain, remat in zip(data["memory"][::2], data["memory"][1::2], strict=True):
        both = [f"{row['training_mb'] / 1000:.2f} GB" for row in (plain, remat)]
        rows.append(f"| `{plain['network']}` | {plain['batch']} | {' | '.join(both)} |")
    own = {row["network"]: row for row in data["depth"] if not row["remat"]}
    for name in ("resnet20", "resnet110", "resnet434", "resnet1202", "resnet1001v2"):
        row = own[name]
        times = [f"{row[step]:.1f} s" for step in ("build", "save", "load")]
        cells = [*times, f"{row['first_step']:.0f} s", f"{row['step']:.2f} s", f"{row['peak_mb'] / 1000:.1f} GB"]
        rows.append(f"| {DEPTHS.get(name, f'`{name}`')} | {' | '.join(cells)} |")
    return [*rows, f"batches of {data['depth'][0]['batch']} images"]


def train_steps() -> list[str]:
    """docs/recipes.md: images per second of each library."""
    both = {"resnet50": 1, "resnet20": 0}  # digits after the point
    found = {
        (row["library"], name, row["precision"]): f"{row['images_per_second']:,.{digits}f}"
        f" ({100 * row['share_of_convolution_peak']:.0f}%)"
        for name, digits in both.items()
        for row in read(f"train_step_{name}")["rows"]
    }
    columns = list(product(both, ("float32", "bfloat16")))
    return [
        f"| {shown} | {' | '.join(found.get((library, *column), NONE) for column in columns)} |"
        for library, shown in LIBRARIES.items()
    ]


def engines() -> list[str]:
    """docs/how-to/many-machines.md: searches whose processes are killed."""
    data = read("engines")
    own, wrong = data["settings"], total(data, "lost") + total(data, "twice")
    outcome = f"{wrong} were lost or counted twice" if wrong else "none was lost and none counted twice"
    return [
        *(f"| {ENGINES[name]} | {row['seconds']:.0f} |" for name, row in data["engines"].items()),
        f"Of {own['trials']} trials of {own['seconds']:g} seconds {outcome}",
        f"with leases of {own['lease']:g} seconds, one run each",
    ]


def kills() -> list[str]:
    """docs/how-to/resume.md and docs/promises.md: kills of a training."""
    data = read("kills")
    return [f"kills a training {data['kills']} times"] if data["all_equal"] else ["other weights after a kill"]


def peak_memory() -> list[str]:
    """docs/how-to/own-images.md: the largest memory of two trainings."""
    data = read("peak_memory")
    many, large = "train, 20,100 pictures in 300 classes", "train, 40 pictures, a PNG and a JPEG of 169 million pixels"
    return [
        f"20,100 small pictures in 300 classes takes {data[many]['above_tensorflow']} MB more than TensorFlow alone",
        f"One with a JPEG of 169 million pixels takes {data[large]['above_tensorflow']} MB more",
    ]


def estimates() -> list[str]:
    """docs/how-to/search.md: sizes and latencies that are not measured for each network."""
    sizes, times = read("tflite_sizes"), read("latency")
    largest = max(abs(row["estimate"] / row["bytes"] - 1) for row in sizes)
    return [
        f"File sizes are estimates within {ceil(100 * largest)} %",
        f"For {len(times['rows'])} random networks in {times['quantize']} the prediction was within"
        f" {percent(times['largest_error'])} of the measured latency, and {percent(times['mean_error'])} away on average",
    ]


def strided() -> list[str]:
    """docs/how-to/phone.md: convolutions that versions of LiteRT computed wrongly."""
    data = read("strided_convolutions")
    wrong = {version: row["wrong"] for version, row in data.items() if row["wrong"]}
    right = [version for version, row in data.items() if not row["wrong"]]
    [number], [convolutions] = set(wrong.values()), {row["convolutions"] for row in data.values()}
    *first, last = wrong
    return [
        f"Of {convolutions} convolutions with strides, the versions {', '.join(first)} and {last} computed {number} as zeros;"
        f" {' and '.join(right)} computed all of them right"
    ]
