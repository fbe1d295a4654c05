"""Trains one trial in a process of its own: its memory is freed, and a crash is only a failed trial with its reason.

This module is also the program of that process. It calls `training.fit`, so an interrupted trial is resumed.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile

from keras_resnet import startup
from keras_resnet.atomic import replace_text
from keras_resnet.errors import Diverged, InputError, Occupied
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.runs.run import Run, is_run
from keras_resnet.search.study import Study

PROGRAM = "import sys; sys.path.append(sys.argv[1]); from keras_resnet.search.worker import main; main()"
POLL = 0.5  # seconds
BUSY = 75  # exit code where another process trains in the folder: a worker that was taken for lost, and is not
OUT_OF_MEMORY = ("out of memory", "OOM when")  # in the line of an error that says most


class TrialFailed(Exception):
    """A trial has no score; the message says why."""


def train_in_process(
    study: Study, spec: ResNetSpec, recipe: Recipe, out: Path, seed: int, renew_lease: Callable[[], None] = lambda: None
) -> Run:
    """The run of that network and recipe at `out`, trained in a process of its own.

    `renew_lease` is called about twice a second; an error in it ends the process. `TrialFailed` with the last line of the output.
    """
    order = {
        "spec": asdict(spec),
        "recipe": asdict(recipe),
        "images": {"source": study.data, "data_dir": study.data_dir, "image_size": study.image_size},
        "out": str(out.absolute()),
        "seed": seed,
        "patience": study.patience,
        "teacher": [str(teacher) for teacher in study.teachers],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    while (result := run_process(json.dumps(order), renew_lease))[0] == BUSY:
        time.sleep(POLL)
    code, output = result
    log = out.parent / f"{out.name}.log"
    log.unlink(missing_ok=True)
    if code == 0 and is_run(out):
        return Run.open(out)
    replace_text(log, output)
    if code < 0:
        name = signal.Signals(-code).name
        raise TrialFailed(f"killed by {name}" + (", perhaps out of memory" if name == "SIGKILL" else ""))
    lines = [line for line in output.splitlines() if line.strip()]
    raise TrialFailed(lines[-1] if lines else f"exit code {code}")


def run_process(order: str, renew_lease: Callable[[], None]) -> tuple[int, str]:
    """The exit code and the output of a process that trains as ordered."""
    with TemporaryFile() as stream:
        # -P: or a file h5py.py in the current folder would be taken for the library
        command = [sys.executable, "-P", "-c", PROGRAM, str(Path(__file__).parents[2])]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stream, stderr=stream)
        try:
            assert process.stdin
            process.stdin.write(order.encode() + b"\n")  # it stays open: its end tells the process to end
            process.stdin.flush()
            while process.poll() is None:
                renew_lease()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL)
        finally:
            process.kill()
            process.wait()
            if process.stdin:
                process.stdin.close()
        stream.seek(0)
        return process.returncode, stream.read().decode(errors="replace")


def main() -> None:
    startup.prepare()
    startup.prepare_training()
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_parent, daemon=True).start()
    from keras_resnet.data import load
    from keras_resnet.training.fit import fit

    images = order["images"]
    try:
        data = load(images.pop("source"), **images)
        out, spec, recipe = Path(order["out"]), ResNetSpec(**order["spec"]), Recipe(**order["recipe"])
        options = {name: order[name] for name in ("seed", "patience", "teacher")}
        fit(spec, recipe, data, out, resume=True, verbose=2, **options)
    except Occupied:
        sys.exit(BUSY)
    except Exception as error:  # the last line is the reason of a failed trial
        traceback.print_exc()
        print(f"\n{one_line(error)}", file=sys.stderr)
        sys.exit(1)


def one_line(error: Exception) -> str:
    """The message of an error in one line: that about memory, or else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    memory_lines = [line for line in lines if any(words in line for words in OUT_OF_MEMORY)]
    message = (memory_lines or lines or [""])[0]
    return message if isinstance(error, InputError | Diverged) else f"{type(error).__name__}: {message}".rstrip(": ")


def end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
