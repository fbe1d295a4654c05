"""What depth costs: seconds and memory to build, save, load and start training networks of 20 to 1202 layers.

    python benchmarks/depth.py [OUT.json]

Every row is measured in a process of its own: `first_step` is the first training step, tracing and compiling included, `step` the
best of three later ones (batch 8, 32x32 pixels), `peak_mb` the largest resident memory. The rows with `remat` recompute their
units. A second table compares measured with predicted memory of a large batch. About 20 minutes on two cores.
"""

import json
import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

DEPTHS = {"resnet20": 20, "resnet56": 56, "resnet110": 110, "resnet218": 218, "resnet434": 434, "resnet1202": 1202}
NETWORKS = [*DEPTHS, "resnet164v2", "resnet1001v2"]
MEMORY = [("resnet56", 256), ("resnet110", 128), ("resnet164v2", 64)]


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds(function, *values, **settings):
    start = perf_counter()
    result = function(*values, **settings)
    return perf_counter() - start, result


def fields_of(name: str) -> dict:
    """Depths for the networks between the named ones."""
    return {"depths": ((DEPTHS[name] - 2) // 6,) * 3} if name in DEPTHS else {}


def measure(name: str, remat: bool, batch: int, file: str) -> dict:
    """One network, in this process. With a `file`, build, save and load are timed too."""
    import keras
    import numpy as np

    import keras_resnet as kr

    keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])  # start the backend before the clock
    base = "resnet20" if name in DEPTHS else name
    build, model = seconds(kr.build, base, remat=remat, **fields_of(name))
    row = {"network": name, "remat": remat, "batch": batch, "layers": len(model.layers), "build": build}
    if file:
        row["save"], _ = seconds(model.save, file)
        row["load"], _ = seconds(kr.load, file)
        row["file_mb"] = os.path.getsize(file) / 2**20
        row["peak_mb"] = peak_mb()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = np.zeros((batch, 32, 32, 3), "float32"), np.zeros(batch)
    before = peak_mb()
    row["first_step"], _ = seconds(model.train_on_batch, images, labels)
    row["step"] = min(seconds(model.train_on_batch, images, labels)[0] for _ in range(3))
    row["training_mb"] = peak_mb() - before
    cost = kr.cost_of(base, **fields_of(name))
    row["predicted_mb"] = cost.training_bytes(batch, remat=remat) / 2**20
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}


def in_a_process(*arguments: object) -> dict:
    done = subprocess.run(
        [sys.executable, __file__, "--row", *map(str, arguments)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def show(rows: list[dict]) -> None:
    print(*(f"{key:>12}" for key in rows[0]))
    for row in rows:
        print(*(f"{row.get(key, ''):>12}" for key in rows[0]), flush=True)


def main(out: str | None) -> None:
    with TemporaryDirectory() as folder:
        depth = []
        for name in NETWORKS:
            for remat in (False, True):
                depth.append(in_a_process(name, remat, 8, "" if remat else f"{folder}/{name}.keras"))
                show(depth[-1:])
        memory = [in_a_process(name, remat, batch, "") for name, batch in MEMORY for remat in (False, True)]
    show(depth)
    show(memory)
    machine = {"cpu_count": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    machine |= {package: version(package) for package in ("keras", "tensorflow")}
    if out:
        Path(out).write_text(json.dumps({"machine": machine, "depth": depth, "memory": memory}, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--row"]:
        name, remat, batch, file = sys.argv[2:]
        print(json.dumps(measure(name, remat == "True", int(batch), file)))
    else:
        main(*sys.argv[1:2] or [None])
