"""`docs/records.md`: the best measured result for each data set and size of the int8 file.

A result is committed before its commit has a name. So the names are in `commits.json` beside this file, with the digest of the
JSON that each is for: `python -m benchmarks.pages --commits` enters them by `git log`. Until then the page says "next commit".
"""

import hashlib
import json
import subprocess
from pathlib import Path

from benchmarks.pages.candidates import Result, results
from benchmarks.pages.files import ROOT, date, read, table, within
from benchmarks.pages.numbers import NOTE
from keras_resnet.confidence import interval

COMMITS = Path(__file__).with_name("commits.json")
CLASSES = (25_000, 50_000, 100_000, 500_000, 5_000_000, 50_000_000)  # bytes of the int8 file, at most
INTRODUCTION = """# Records

After this page you know the best accuracy that was measured for each data set and size of the int8 file. `python -m
benchmarks.pages` writes the page from the JSON files of the last column.

- An accuracy is the mean over the seeds. In brackets: its 95 % interval for the number of test images. After ±: the standard
  deviation over the seeds, where the JSON has it.
- A result of one seed counts only if there is none of several seeds. A difference within the intervals may be chance.
- The accuracy is that of the float32 network or of the int8 file, as the table says. The size is that of the int8 file; "about"
  means the estimate of `cost_of`.
- The date is that of the measurement, if the JSON has it, or of the training of a run. The commit is the one that added the file as
  it is now.
"""


def best() -> list[Result]:
    """The best result of each data set and size class, in the order of `results`."""
    found: dict[tuple[str, int], Result] = {}
    for result in results():
        place = (result.images, next(limit for limit in CLASSES if result.size <= limit))
        if place not in found or rank(result) > rank(found[place]):
            found[place] = result
    order = list(dict.fromkeys(images for images, _ in found))
    return [found[place] for place in sorted(found, key=lambda place: (order.index(place[0]), place[1]))]


def rank(result: Result) -> tuple[bool, float]:
    """What makes one result better than another."""
    return result.seeds > 1, result.accuracy


def records() -> str:
    """The text of docs/records.md."""
    return f"{NOTE}\n\n{INTRODUCTION}\n{table(map(row_of, best()))}\n"


def row_of(result: Result) -> dict[str, object]:
    """A line of the table."""
    limit = next(limit for limit in CLASSES if result.size <= limit)
    deviation = f" ± {100 * result.deviation:.1f}" if result.deviation is not None else ""
    accuracy = within(result.accuracy, *(result.interval or interval(result.accuracy, result.test_images)))
    return {
        "images": result.images,
        "int8 file, at most": f"{limit / 1000:,.0f} kB",
        "network": result.network,
        "its int8 file": "about " * result.is_estimate + f"{result.size / 1000:,.0f} kB",
        "test accuracy": f"{accuracy.replace(' %', deviation + ' %')}, {result.precision}",
        "test images": f"{result.test_images:,}",
        "seeds": result.seeds,
        "date": measured_on(result.file),
        "commit": commit_of(result.file),
        "from": f"`{result.file}`",
    }


def measured_on(file: str) -> str:
    """The day of the measurement; of a run, that of its training."""
    run = file.removesuffix("metrics.json").removesuffix("export/report.json")
    return date({"environment": read(f"{run}environment.json")} if run != file else read(file))


def digest(file: str) -> str:
    """SHA-256 of a file of the repository."""
    return hashlib.sha256((ROOT / file).read_bytes()).hexdigest()


def commit_of(file: str) -> str:
    """The commit that added the file as it is now, if it is known."""
    known = json.loads(COMMITS.read_text()).get(file, {})
    return f"`{known['commit']}`" if known.get("sha256") == digest(file) else "next commit"


def enter_commits() -> None:
    """Write the commits of all files into `commits.json`, but of those that are changed and not yet committed."""
    found = {}
    for file in sorted({result.file for result in results()}):
        if not git("status", "--porcelain", "--", file):
            found[file] = {"commit": git("log", "-1", "--format=%h", "--abbrev=10", "--", file), "sha256": digest(file)}
    COMMITS.write_text(json.dumps(found, indent=2) + "\n")


def git(*arguments: str) -> str:
    """What a command of git prints."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
