"""Training speed on a CPU with and without the convolutions of oneDNN.

    python benchmarks/onednn.py [--rounds 3] [--json OUT.json]

TensorFlow uses them by itself only on processors with instructions for neural networks, such as AVX512_VNNI. Each round starts one
process without them and one with them. A process trains and predicts each network for a few steps. Printed are the medians over the
rounds of the median step.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from keras_resnet import startup

NETWORKS = {  # name, height and width: batch size, steps
    ("resnet8", 32): (128, 12),
    ("resnet20", 32): (128, 12),
    ("resnet56", 32): (128, 8),
    ("resnet18", 64): (32, 8),
    ("resnet50", 224): (8, 5),
}
WARM_UP = 2  # steps


def seconds(step: Callable[..., Any], *arguments: Any, steps: int) -> float:
    """The median time of a step."""
    found = []
    for _ in range(WARM_UP + steps):
        start = perf_counter()
        step(*arguments)
        found.append(perf_counter() - start)
    return statistics.median(found[WARM_UP:])


def measure() -> dict[str, Any]:
    """In a process of its own: images per second in training, and milliseconds for one image alone."""
    startup.prepare()
    import keras
    import numpy as np

    import keras_resnet as kr
    from keras_resnet.runs.environment import environment

    random, rows = np.random.default_rng(0), []
    for (name, size), (batch, steps) in NETWORKS.items():
        model = kr.build(name, input_shape=(size, size, 3), classes=10)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, jit_compile=False)
        images = random.uniform(0, 255, (batch, size, size, 3)).astype("float32")
        labels = random.integers(10, size=batch)
        train = seconds(model.train_on_batch, images, labels, steps=steps)
        one = seconds(model.predict_on_batch, images[:1], steps=4 * steps)
        rows.append({"images_per_second": batch / train, "one_image_ms": 1000 * one})
    return {"rows": rows, "environment": environment()}


def in_process(setting: str) -> dict[str, Any]:
    """What `measure` finds with the switch at 0 or 1."""
    command = [sys.executable, __file__, "--measure"]
    found = subprocess.run(command, env={**os.environ, startup.ONEDNN: setting}, capture_output=True, text=True, check=True)
    return json.loads(found.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure()))
        return
    rounds = [(in_process("0"), in_process("1")) for _ in range(options.rounds)]
    rows = []
    for number, ((name, size), (batch, _)) in enumerate(NETWORKS.items()):
        row: dict[str, Any] = {"network": name, "size": size, "batch": batch}
        for key in ("images_per_second", "one_image_ms"):
            without, with_ = (statistics.median(pair[side]["rows"][number][key] for pair in rounds) for side in (0, 1))
            row[key] = {"without": round(without, 2), "with": round(with_, 2), "ratio": round(with_ / without, 2)}
        rows.append(row)
        print(json.dumps(row))
    if options.json:
        result = {"rounds": options.rounds, "rows": rows, "environment": rounds[0][0]["environment"]}
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
