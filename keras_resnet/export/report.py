"""What stands beside exported files: `report.json` and `REPORT.md`, the evidence, and `manifest.json`, what each file is."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keras_resnet.atomic import as_json, put_in_place
from keras_resnet.console import cell
from keras_resnet.export.check import Check
from keras_resnet.export.interface import Source
from keras_resnet.export.operations import boundaries
from keras_resnet.export.targets import Target
from keras_resnet.files.model_file import MANIFEST, digests

REPORT, READABLE = "report.json", "REPORT.md"


class Record:
    """The records of a folder of exported files, read again whenever one is entered."""

    def __init__(self, folder: Path, scratch: Path, source: Source) -> None:
        self.folder, self.scratch, self.source = folder, scratch, source

    def enter(self, check: Check, target: Target, made: Path) -> None:
        """Put a file that passed in its place, and enter what is known of it. A failed one stays out, and its check is
        entered unless an older file of that name is in place."""
        place = self.folder / target.file
        if check.passed:
            self.enlist(target.file, None)  # so that no moment has a file beside the digest of another
            entry = {**target.told, "bytes": check.bytes, **boundaries(made), "sha256": digests(made)}
            put_in_place(made, place)
            self.enlist(target.file, entry)
        if check.passed or not place.exists():
            rows = [
                row
                for row in read(self.folder / REPORT, list)
                if isinstance(row, dict) and set(row) == set(asdict(check)) and row["file"] != check.file
            ]
            rows.append(asdict(check))
            self.write(REPORT, as_json(rows) + "\n")
            self.write(READABLE, readable(rows, self.source))

    def enlist(self, file: str, entry: dict[str, Any] | None) -> None:
        """Enter a file into the manifest, or take it out."""
        files = read(self.folder / MANIFEST, dict).get("files", {})
        files = {name: files[name] for name in files if name != file and (self.folder / name).exists()}
        content = {
            "name": self.source.name,
            "image": self.source.image_shape,
            "preprocessing": self.source.preprocessing,
            "classes": self.source.class_names,
            "files": files | ({file: entry} if entry else {}),
        }
        self.write(MANIFEST, as_json(content) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a text file, whole or not at all."""
        (self.scratch / name).write_text(text, encoding="utf-8")
        put_in_place(self.scratch / name, self.folder / name)


def read(path: Path, kind: type) -> Any:
    """The JSON of a file; an empty list or dictionary if there is none of that kind, or a damaged one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return kind()
    return content if isinstance(content, kind) else kind()


def readable(rows: list[dict[str, Any]], source: Source) -> str:
    """The report for a person, in Markdown."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "file": lambda row: f"`{row['file']}`",
        "passed": lambda row: "yes" if row["passed"] else f"**no**: {row['problem']}",
        "bytes": lambda row: cell(row["bytes"]),
        "top-1 agreement": lambda row: f"{row['top1_agreement']:.2%}",
        "accuracy (95 % interval)": lambda row: "{:.2%} ({:.2%} to {:.2%})".format(row["accuracy"], *row["accuracy_interval"]),
        "largest difference": lambda row: cell(row["max_difference"]),
        "mean": lambda row: cell(row["mean_difference"]),
        "ms, 1 thread": lambda row: milliseconds(row["latency_ms"].get("1")),
        "ms, 2 threads": lambda row: milliseconds(row["latency_ms"].get("2")),
        "memory, MB": lambda row: "-" if row["peak_memory"] is None else f"{row['peak_memory'] / 1e6:.1f}",
    }
    table = [columns, ["---"] * len(columns), *([show(row) for show in columns.values()] for row in rows)]
    lines = ["| " + " | ".join(line) + " |" for line in table]
    images = ", ".join(f"{count:,}" for count in sorted({row["images"] for row in rows}))
    kept = sorted({row["keras_accuracy"] for row in rows})
    return "\n".join(
        [
            "# Exported files",
            "",
            f"Each file was run in its own runtime over {images} test images and compared with the Keras model, whose accuracy",
            f"there is {', '.join(f'{share:.2%}' for share in kept)}. Latency is for one image: median, and 95th percentile in",
            "brackets.",
            "",
            *lines,
            "",
            "## Input",
            "",
            f"{source.preprocessing} Classes, in the order of the outputs: {', '.join(source.class_names)}.",
            "",
            "## Operations",
            "",
            *(f"- `{row['file']}`: {listed(row['operations'])}" for row in rows if row["operations"]),
            "",
        ]
    )


def milliseconds(of: dict[str, float] | None) -> str:
    """A latency as text."""
    return f"{of['median']:.3g} ({of['p95']:.3g})" if of else "-"


def listed(operations: dict[str, int]) -> str:
    """Counts as text, the most frequent first."""
    return ", ".join(f"{count} {name}" for name, count in sorted(operations.items(), key=lambda item: (-item[1], item[0])))
