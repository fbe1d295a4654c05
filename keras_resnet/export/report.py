"""The files beside exported ones.

`report.json` and `REPORT.md` have the results of the checks, `manifest.json` what each file takes and its digest.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keras_resnet.atomic import as_json, put_in_place
from keras_resnet.console import cell, markdown_table
from keras_resnet.export.check import COMPILED, Check
from keras_resnet.export.operations import boundaries
from keras_resnet.export.replaceable import READABLE, REPORT, TITLE, identity, read
from keras_resnet.export.supported import Source
from keras_resnet.export.verdict import TAIL
from keras_resnet.fields import types_of_fields
from keras_resnet.files.manifest import MANIFEST, digests, entries
from keras_resnet.files.targets import Target
from keras_resnet.json_files import checked
from keras_resnet.outside import in_markdown

LEGEND = f"""- Accuracies are for the test images only, agreement and differences for all images.
- Worst class, such as `cat: 39 of 41`: of the 41 images that the Keras model puts into the class `cat`, the file puts 39 there too.
  It is the class whose agreement is the least likely to be chance.
- Moved probability: the share of the probability that the file gives to other classes than the Keras model, mean over all images.
- Lost, gained: test images that only the Keras model, and only the file, classifies correctly.
- Latency (ms): one image, median (95th percentile).
- TFLite files are run by LiteRT's Interpreter, and by its CompiledModel too, both on the processor. The last difference is the
  largest between the outputs of the two, on the first {COMPILED} images. CompiledModel does not tell how many operations XNNPACK
  runs: the numbers below are the Interpreter's.
"""


class Report:
    """The three files of a folder of exports, read again whenever a check is added."""

    def __init__(self, folder: Path, scratch: Path, source: Source) -> None:
        self.folder, self.scratch, self.source = folder, scratch, source

    def add(self, check: Check, target: Target, path: Path) -> None:
        """Put the file at `path` in its place if it is accepted, and add its check; that of another only if there is no older file
        of that name."""
        final_path = self.folder / target.file
        if check.accepted:
            facts = {**target.relevant_fields, "bytes": check.bytes, **boundaries(path)}
            entry = {**facts, "weights": self.source.weights_digest, "sha256": digests(path)}
            names = {**entry["sha256"], **(digests(final_path) if final_path.exists() else {})}
            # No moment has a file beside the digest of another, nor one that is not listed.
            self.update_manifest(target.file, {**facts, "sha256": dict.fromkeys(names)})
            put_in_place(path, final_path)
            self.update_manifest(target.file, entry)
        if check.accepted or not final_path.exists():
            row = asdict(check)
            rows = [entry for entry in read(self.folder / REPORT, list[dict[str, Any]]) if is_check(entry)]
            rows = [*(entry for entry in rows if entry["file"] != check.file), row]
            self.write(REPORT, as_json(rows) + "\n")
            self.write(READABLE, as_markdown(rows, self.source))

    def update_manifest(self, file: str, entry: dict[str, Any]) -> None:
        """Set the entry of a file."""
        files = entries(self.folder) or {}
        files = {name: files[name] for name in files if (self.folder / name).exists()}
        self.write(MANIFEST, as_json({**identity(self.source), "files": {**files, file: entry}}) + "\n")

    def write(self, name: str, text: str) -> None:
        (self.scratch / name).write_text(text, encoding="utf-8")
        put_in_place(self.scratch / name, self.folder / name)


def is_check(entry: dict[str, Any]) -> bool:
    """Whether it is a `Check` as JSON, and not one of another version."""
    kinds = types_of_fields(Check)
    try:
        return entry.keys() == kinds.keys() and bool([checked(entry[name], kind, "") for name, kind in kinds.items()])
    except ValueError:
        return False


def as_markdown(rows: list[dict[str, Any]], source: Source) -> str:
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "file": lambda row: f"`{row['file']}`",
        "verdict": verdict,
        "bytes": lambda row: cell(row["bytes"]),
        "top-1 agreement (95 % interval)": agreement,
        "worst class": worst_class,
        "moved probability": lambda row: cell(row["moved_probability"]),
        "accuracy (95 % interval)": lambda row: "{:.2%} ({:.2%} to {:.2%})".format(row["accuracy"], *row["accuracy_interval"]),
        "test images lost, gained": accuracy_change,
        "largest difference": lambda row: cell(row["max_difference"]),
        "mean": lambda row: cell(row["mean_difference"]),
        "ms, 1 thread": lambda row: milliseconds(row["latency_ms"].get("1")),
        "ms, 2 threads": lambda row: milliseconds(row["latency_ms"].get("2")),
        "CompiledModel: ms, 1 thread": lambda row: milliseconds(row["compiled_latency_ms"].get("1")),
        "2 threads": lambda row: milliseconds(row["compiled_latency_ms"].get("2")),
        "difference": lambda row: in_markdown(row["compiled_problem"]) or cell(row["compiled_difference"]),
        "memory, MB": lambda row: "-" if row["peak_memory"] is None else f"{row['peak_memory'] / 1e6:.1f}",
    }
    lines = markdown_table(columns, ([show(row) for show in columns.values()] for row in rows))
    images = " or ".join(sorted({image_counts(row) for row in rows}))
    accuracies = ", ".join(f"{accuracy:.2%}" for accuracy in sorted({row["keras_accuracy"] for row in rows}))
    operations = "".join(f"- `{row['file']}`: {operation_counts(row)}\n" for row in rows if row["operations"])
    return f"""{TITLE}

Each file was run in its own runtime on {images} and compared with the Keras model, whose accuracy on
the test images is {accuracies}.

{LEGEND}
{lines}

## Input

{source.preprocessing} Classes in the order of the outputs: {", ".join(map(in_markdown, source.class_names))}.

## Operations

{operations}"""


def verdict(row: dict[str, Any]) -> str:
    """A verdict with its reason; bold where the file is not there."""
    name = row["verdict"] if row["accepted"] else f"**{row['verdict']}**"
    return f"{name}: {in_markdown(row['problem'])}" if row["problem"] else name


def agreement(row: dict[str, Any]) -> str:
    low, high = row["agreement_interval"]
    return f"{row['agreed']:,} of {row['images']:,}: {row['top1_agreement']:.2%} ({low:.2%} to {high:.2%})"


def accuracy_change(row: dict[str, Any]) -> str:
    """How many test images only one of both has right, and whether that is more than chance, at 2.5 %."""
    is_certain = row["loss_chance"] < TAIL
    return f"{row['lost']:,}, {row['gained']:,}{': certainly less accurate' if is_certain else ''}"


def worst_class(row: dict[str, Any]) -> str:
    worst = row["worst_class"]
    return f"{in_markdown(worst['name'])}: {worst['agreed']:,} of {worst['images']:,}" if worst else "-"


def image_counts(row: dict[str, Any]) -> str:
    """How many images of which splits."""
    return " and ".join(f"{count:,} {split} images" for split, count in row["images_from"].items())


def milliseconds(latency: dict[str, float] | None) -> str:
    return f"{latency['median']:.3g} ({latency['p95']:.3g})" if latency else "-"


def operation_counts(row: dict[str, Any]) -> str:
    """How many operations of each kind a file has, and how many XNNPACK runs."""
    operations, taken = row["operations"], row["accelerated_operations"]
    counts = ", ".join(f"{count} {name}" for name, count in sorted(operations.items(), key=lambda item: (-item[1], item[0])))
    return counts if taken is None else f"{counts}; {taken} of {sum(operations.values())} operations by XNNPACK"
