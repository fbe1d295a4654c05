"""`docs/numbers.md` with every measured table, and `benchmarks/README.md`, the list of the scripts."""

from pathlib import Path

from benchmarks.pages.files import ROOT, date, machine, read, table
from benchmarks.pages.measurements import MEASUREMENTS, OTHER_SCRIPTS

NOTE = "<!-- Written by `python -m benchmarks.pages`; do not edit. -->"
INTRODUCTION = """# Measured numbers

After this page you know what was measured of this package, and how to measure it again. Each table has the command that makes
it, the machine and the date. `python -m benchmarks.pages` writes the page from the JSON files in `benchmarks/`, and a test compares
the page with these files. "Not recorded" means that the JSON file does not say it.

An accuracy in percent comes with its 95 % interval for the number of test images, or with the standard deviation over the seeds
after ±. "CIFAR-10 (JPEG copy)" is CIFAR-10 with its images stored as JPEG. Compare accuracies on it only with each other, not
with those on the original images. `DATA_DIR` is a folder of TensorFlow Datasets, `RUN` a run folder, `WORK_DIR`, `OUT` and `RUNS`
folders to write to.
"""
LIST = """# Benchmarks

These scripts measure this package, and some compare it with other libraries. Each script writes the JSON file of its row. Its first
lines say what it does.
`docs/numbers.md` has all tables. After a measurement, `python -m benchmarks.pages` writes that page and this one anew, and
`python -m benchmarks.picture` the picture of the networks, `docs/networks.svg`.
"""


def numbers() -> str:
    """The text of docs/numbers.md."""
    return f"{NOTE}\n\n{INTRODUCTION}\n" + "\n".join(section(name) for name in MEASUREMENTS)


def section(name: str) -> str:
    """One JSON file: question, command, machine, date, and its tables."""
    own, data = MEASUREMENTS[name], read(name)
    lines = [f"## {own.title}", own.question, f"`{own.command}` writes `benchmarks/{name}.json`."]
    lines.append(f"Machine: {machine(data)}. Date: {date(data)}.")
    for caption, rows in own.tables(data).items():
        lines += [*([caption] if caption else []), table(rows)]
    return "\n\n".join(lines) + "\n"


def scripts() -> str:
    """The text of benchmarks/README.md."""
    rows = [
        {
            "script": f"[{script_of(own.command)}]({script_of(own.command)})"
            if "benchmarks/" in own.command
            else "`keras-resnet study`",
            "question": own.question,
            "JSON": f"[{name}.json]({name}.json)",
            "command": f"`{own.command}`",
            "result": own.headline(read(name)),
            "machine": machine(read(name)),
        }
        for name, own in MEASUREMENTS.items()
    ]
    for name, (question, arguments) in OTHER_SCRIPTS.items():
        command = f"`python benchmarks/{name}.py {arguments}".rstrip() + "`"
        rows.append({"script": f"[{name}.py]({name}.py)", "question": question, "JSON": "none here", "command": command})
    return f"{NOTE}\n\n{LIST}\n{table(rows)}\n"


def script_of(command: str) -> str:
    """The file name of the script that a command runs."""
    return Path(next(part for part in command.split() if part.startswith("benchmarks/"))).name


def unlisted() -> set[str]:
    """JSON files and scripts that have no row."""
    there = {path.stem for path in (ROOT / "benchmarks").glob("*.json")} - set(MEASUREMENTS)
    listed = {script_of(own.command) for own in MEASUREMENTS.values() if "benchmarks/" in own.command}
    scripts = {path.name for path in (ROOT / "benchmarks").glob("*.py")} - listed - {f"{name}.py" for name in OTHER_SCRIPTS}
    return there | scripts - {"picture.py"}
