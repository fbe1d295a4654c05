"""Latencies predicted from measured operations, compared with the measured latencies of whole networks.

    python benchmarks/latency.py [SPECS] [--quantize int8] [--runtime compiled] [--json OUT.json]

The specs are drawn at random: depths, widths, blocks, shortcuts, order of activation, squeeze-and-excitation, resolution.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from keras_resnet import startup

startup.prepare()

import numpy as np

import keras_resnet as kr
from keras_resnet.runs.environment import processor
from keras_resnet.search.latency import INTERPRETER, RUNTIMES, LatencyTable

WITHIN = 0.15
PACKAGES = ("keras", "tensorflow", "ai-edge-litert")


def drawn(generator: np.random.Generator) -> kr.ResNetSpec:
    """A network at random."""

    def one(values: list) -> object:
        return values[int(generator.integers(len(values)))]

    width, side = one([8, 16, 24, 32]), one([32, 48, 64])
    return replace(
        kr.SPECS["resnet20"],
        depths=tuple(int(depth) for depth in generator.integers(1, 6, 3)),
        widths=(width, 2 * width, 4 * width),
        stem_width=width,
        block=one(["basic", "bottleneck"]),
        shortcut=one(["projection", "avg_projection", "padding"]),
        activation_order=one(["original", "full_preactivation"]),
        squeeze=one([None, None, 4]),
        input_shape=(side, side, 3),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", type=int, nargs="?", default=20)
    parser.add_argument("--quantize", choices=["int8"])
    parser.add_argument("--runtime", choices=RUNTIMES, default=INTERPRETER)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    generator, rows = np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as folder:
        table = LatencyTable(Path(folder, "latency.json"), options.quantize, runtime=options.runtime)
        while len(rows) < options.specs:
            try:
                spec = drawn(generator)
            except kr.InputError:
                continue
            predicted, measured = table.predict(spec), table.measure(spec)
            named = ("depths", "widths", "block", "shortcut", "activation_order", "squeeze", "input_shape")
            rows.append(
                {name: getattr(spec, name) for name in named}
                | {"predicted_ms": predicted, "measured_ms": measured, "error": predicted / measured - 1}
            )
            print(rows[-1], flush=True)
    errors = [abs(row["error"]) for row in rows]
    result = {
        "quantize": options.quantize,
        "runtime": options.runtime,
        "largest_error": max(errors),
        "mean_error": statistics.mean(errors),
        "met": {f"within {WITHIN:.0%}": max(errors) <= WITHIN},
        "rows": rows,
        "machine": {"processor": processor(), "cpu_count": os.cpu_count(), "platform": platform.platform()}
        | {package: version(package) for package in PACKAGES},
    }
    print(json.dumps({name: result[name] for name in ("largest_error", "mean_error", "met")}, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
