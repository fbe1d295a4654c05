"""A training that is killed at random moments and resumed each time: are the final weights those of an uninterrupted one?

    python benchmarks/kills.py [KILLS] [OUT.json]

Trains `resnet8` on the digits once without interruption, then again with `--resume` and a checkpoint every second step, and sends
SIGKILL at random moments, KILLS times in all (50 by default); if a run is complete before that, another one starts.
The weights of every run must equal those of the first bit for bit, and its folder must always be a complete run, or absent.
"""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np

import keras_resnet as kr
from keras_resnet.training import checkpoint_files

SCRIPT = "import sys; from keras_resnet.__main__ import main; sys.exit(main())"
TRAIN = ["train", "resnet8", "--data", "digits", "--set", "epochs=6", "--seed", "3", "--checkpoint-every", "2", "--resume"]


def start(out: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", SCRIPT, *TRAIN, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def step_of(out: Path) -> int:
    files = checkpoint_files.files(checkpoint_files.folder_of(out))
    return int(files[-1].stem.removeprefix("step-")) if files else 0


def weights_of(out: Path) -> list[np.ndarray]:
    run = kr.Run.open(out)  # a folder that is not a whole run raises
    last = kr.build(run.spec)
    last.load_weights(run.path / "last.weights.h5")
    return [*keras.saving.load_model(run.model_path).get_weights(), *last.get_weights()]


def main(kills: int, report: str | None) -> None:
    generator, killed, lost, rows = random.Random(0), 0, [], []
    with TemporaryDirectory() as folder:
        whole = Path(folder, "whole")
        assert start(whole).wait() == 0
        expected = weights_of(whole)
        while killed < kills:
            out = Path(folder, f"run{len(rows)}")
            before = killed
            while True:
                training, step = start(out), step_of(out)
                # Half of the kills fall into start and loading, half among steps and checkpoints.
                patience = time.monotonic() + generator.uniform(1, 4)
                while training.poll() is None and step_of(out) == step and time.monotonic() < patience + 20 * (killed % 2):
                    time.sleep(0.005)
                time.sleep(generator.uniform(0, 0.4))
                if training.poll() is None and killed < kills:
                    reached = step_of(out)
                    training.send_signal(signal.SIGKILL)
                    training.wait()
                    killed += 1
                    lost.append(max(0, reached - step_of(out)))
                    assert not out.exists() or kr.Run.open(out)
                    continue
                _, errors = training.communicate()
                assert training.returncode == 0, errors
                break
            same = all(np.array_equal(one, other) for one, other in zip(weights_of(out), expected, strict=True))
            rows.append({"kills": killed - before, "same_weights": same})
            print(f"run {len(rows)}: killed {killed - before} times, weights {'equal' if same else 'DIFFER'}", flush=True)
    result = {"kills": killed, "runs": rows, "checkpoints_lost": sum(lost), "all_equal": all(row["same_weights"] for row in rows)}
    print(json.dumps(result))
    if report:
        Path(report).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50, sys.argv[2] if len(sys.argv) > 2 else None)
