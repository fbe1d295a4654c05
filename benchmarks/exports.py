"""Exports of a run compared with their targets, and int8 on a network that is hard to quantise.

    python benchmarks/exports.py RUN [--data-dir DIR] [--json OUT.json]

Every file runs on all test images in its own runtime. In the hard network half the channels of one layer are scaled by 100, and
scaled back in the next layer: the outputs are the same, but int8 is 100 times coarser for the other channels.
"""

import argparse
import json
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

from keras_resnet import startup

startup.prepare()

import keras
import numpy as np

import keras_resnet as kr
from keras_resnet.data import of_run
from keras_resnet.export import Target, debug_quantization, export
from keras_resnet.export.equalize import pairs
from keras_resnet.export.targets import TARGETS
from keras_resnet.files.benchmark import compare
from keras_resnet.runs.environment import processor

FACTOR, LAYER = 100, 0  # of the first pair of convolutions
MEASURED = (  # of each file, see `Check`
    *("bytes", "max_difference", "top1_agreement", "accuracy", "accuracy_interval"),
    *("latency_ms", "compiled_latency_ms", "compiled_difference", "compiled_problem", "peak_memory"),
)
PACKAGES = ("keras", "tensorflow", "ai-edge-litert", "onnxruntime", "tf2onnx")


def hardened(model: keras.Model) -> keras.Model:
    """The same function with channels of very different ranges in one layer."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    _, norm, following = pairs(copy)[LAYER]
    gamma, beta, *rest = norm.get_weights()
    kernel, *bias = following.get_weights()
    factors = np.where(np.arange(len(gamma)) % 2, FACTOR, 1)
    norm.set_weights([gamma * factors, beta * factors, *rest])
    following.set_weights([kernel / factors[:, None], *bias])
    return copy


def targets_met(checks: dict, ratios: dict) -> dict[str, bool]:
    """The claims of the README, each with whether it holds."""
    real = ("saved_model", "model_float32.tflite", "model.onnx")
    integer = checks["model_int8.tflite"]
    return {
        "float32 within 1e-4 of the Keras logits": all(checks[name].max_difference < 1e-4 for name in real),
        "float16 agrees on 99.9 %": checks["model_float16.tflite"].top1_agreement >= 0.999,
        "int8 within 0.5 points": integer.accuracy >= integer.keras_accuracy - 0.005,
        "int8 at most 0.30 of the size": integer.bytes <= 0.30 * checks["model_float32.tflite"].bytes,
        "int8 at most 0.40 of the latency": ratios["time_ratio"] <= 0.40,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    run = kr.Run.open(options.run)
    data = of_run(run, data_dir=options.data_dir)
    with tempfile.TemporaryDirectory() as folder:
        wanted = [*TARGETS.values(), Target("tflite", "int16")]
        checks = {check.file: check for check in export(run, targets=wanted, data=data, out=folder)}
        files = [Path(folder, name) for name in ("model_float32.tflite", "model_int8.tflite")]
        _, ratios = compare(files, data.sample(32, "test"), threads=1)
        hard = hardened(kr.load(run.model_path, compile=False))
        found = debug_quantization(hard, data=data, out=Path(folder, "hard"), most=4)
        gate = export(hard, targets=[Target("tflite", "int8")], data=data, out=Path(folder, "hard"))[0]
    files_of_hard = {row["float_layers"]: row["accuracy"] for row in found["files"] if not row["equalize"]}
    (equalized,) = (row["accuracy"] for row in found["files"] if row["equalize"])
    result = {
        "run": run.path.resolve().name,
        "images": len(data.splits["test"]),
        "keras_accuracy": checks["model_int8.tflite"].keras_accuracy,
        "files": {name: {field: getattr(check, field) for field in MEASURED} for name, check in checks.items()},
        "int8_to_float32": {"time_ratio": ratios["time_ratio"], "size_ratio": ratios["size_ratio"]},
        "met": targets_met(checks, ratios),
        "hard": {
            "keras_accuracy": found["keras_accuracy"],
            "int8": files_of_hard[0],
            "refused": gate.problem,
            "worst_layers": [row["layer"] for row in found["layers"][:3]],
            "with_layers_in_float": files_of_hard,
            "equalized": equalized,
            "advice": found["advice"],
        },
        "machine": {"processor": processor(), "cpu_count": os.cpu_count(), "platform": platform.platform()}
        | {package: version(package) for package in PACKAGES},
    }
    print(json.dumps({name: result[name] for name in ("keras_accuracy", "int8_to_float32", "met", "hard")}, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
