"""One trial in a process of its own: memory returns, and what crashes is a failed trial with its reason.

This module is also the program of that process. It trains by `train.fit`, so that a trial that was interrupted goes on.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from keras_resnet.recipe import Recipe
from keras_resnet.runs import Run, is_run
from keras_resnet.search.study import SCORE, Study
from keras_resnet.spec import ResNetSpec

PROGRAM = "import sys; from keras_resnet.search.worker import main; main()"
POLL = 0.5  # seconds


class TrialFailed(Exception):
    """A trial came to no score; the message says why."""


def train_in_process(
    study: Study, spec: ResNetSpec, recipe: Recipe, out: Path, seed: int, alive: Callable[[], None] = lambda: None
) -> Run:
    """The run of that network and recipe at `out`, trained in a process of its own.

    `alive` is called about twice a second; what it raises ends the process. `TrialFailed` with the last line of what went wrong.
    """
    order = {
        "spec": asdict(spec),
        "recipe": asdict(recipe),
        "images": {"source": study.data, "data_dir": study.data_dir, "image_size": study.image_size},
        "out": str(out.absolute()),
        "seed": seed,
        "patience": study.patience,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with (out.parent / f"{out.name}.log").open("w+b") as log:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            assert process.stdin
            process.stdin.write(json.dumps(order).encode() + b"\n")  # it stays open: its end tells the process to end
            process.stdin.flush()
            while process.poll() is None:
                alive()
                try:
                    process.wait(POLL)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
            process.wait()
            if process.stdin:
                process.stdin.close()
        log.seek(0)
        lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    if process.returncode == 0 and is_run(out):
        (out.parent / f"{out.name}.log").unlink()
        return Run.open(out)
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        raise TrialFailed(f"killed by {name}" + (", as one without memory is" if name == "SIGKILL" else ""))
    raise TrialFailed(lines[-1] if lines else f"exit code {process.returncode}")


def main() -> None:
    """The program of the process of one trial."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_parent, daemon=True).start()
    from keras.callbacks import EarlyStopping

    from keras_resnet.data import load
    from keras_resnet.errors import InputError
    from keras_resnet.train import fit

    images = order["images"]
    patience = order["patience"]
    watch = [EarlyStopping(SCORE, patience=patience, mode="max")] if patience else []
    try:
        data = load(images.pop("source"), **images)
        out, spec, recipe = Path(order["out"]), ResNetSpec(**order["spec"]), Recipe(**order["recipe"])
        fit(spec, recipe, data, out, seed=order["seed"], resume=True, watch=watch, verbose=2)
    except (InputError, RuntimeError, OSError, MemoryError) as error:
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        sys.exit(1)


def end_with_parent() -> None:
    """End this process when the one that started it is gone."""
    sys.stdin.read()
    os._exit(1)
