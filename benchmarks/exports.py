"""Exports of a run compared with their targets, and int8 on a network that is hard to quantise.

    python benchmarks/exports.py RUN [--aware RUN] [--data-dir DIR] [--json OUT.json]

Every file runs on all test images in its own runtime, a TFLite file in both of LiteRT's. `--aware` is the same run after
quantisation-aware training with 4-bit weights: its int4 file is a row too. In the hard network half the channels of one layer are
scaled by 100, and scaled back in the next layer: the outputs are the same, but int8 is 100 times coarser for the other channels.
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
from keras_resnet.confidence import interval
from keras_resnet.data import of_run
from keras_resnet.export import Check, Target, debug_quantization, export
from keras_resnet.export.equalize import pairs
from keras_resnet.files.benchmark import compare
from keras_resnet.files.model_file import ModelFile
from keras_resnet.files.predictions import top1_accuracy
from keras_resnet.files.targets import TARGETS
from keras_resnet.runs.environment import processor

FACTOR, LAYER = 100, 0  # of the first pair of convolutions
MEASURED = ("bytes", "max_difference", "top1_agreement", "accuracy", "accuracy_interval", "latency_ms", "peak_memory")  # of `Check`
AWARE = "model_int4.tflite, quantisation-aware"
BATCH = 100
PACKAGES = ("keras", "tensorflow", "ai-edge-litert", "ai-edge-quantizer", "onnxruntime", "tf2onnx")


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


def by_compiled_model(path: Path, check: Check, data: kr.data.Dataset) -> dict:
    """What LiteRT's CompiledModel gives for a TFLite file, beside its Interpreter, on all test images."""
    test = data.splits["test"]
    batches = [test.take(np.arange(start, min(start + BATCH, len(test)))) for start in range(0, len(test), BATCH)]
    with ModelFile(path, threads=2) as file:
        by_interpreter = np.concatenate([file(images) for images in batches])
        outputs = np.concatenate([file(images, compiled=True) for images in batches])
    accuracy = top1_accuracy(outputs, test.labels)
    return {
        "accuracy": accuracy,
        "accuracy_interval": interval(accuracy, len(test)),
        "latency_ms": check.compiled_latency_ms,
        "agreement_with_interpreter": float(np.mean(outputs.argmax(1) == by_interpreter.argmax(1))),
        "relative_difference_from_interpreter": float(np.max(np.abs(outputs - by_interpreter)) / np.max(np.abs(by_interpreter))),
    }


def measured(run: kr.Run, targets: list[Target], data: kr.data.Dataset, folder: Path) -> dict[str, dict]:
    """A row for each file that `export` writes into the folder, and what the second runtime gives for it."""
    rows = {}
    for check in export(run, targets=targets, data=data, out=folder, accept_undecided=True):
        rows[check.file] = {field: getattr(check, field) for field in (*MEASURED, "keras_accuracy", "verdict", "problem")}
        if check.compiled_latency_ms and check.accepted:
            rows[check.file]["compiled_model"] = by_compiled_model(folder / check.file, check, data)
    return rows


def targets_met(files: dict[str, dict], ratios: dict) -> dict[str, bool]:
    """The claims of the README, each with whether it holds."""
    real = ("saved_model", "model_float32.tflite", "model.onnx")
    single, integer, small = (files[f"model_{kind}.tflite"] for kind in ("float32", "int8", "int4"))
    aware = files.get(AWARE, small)
    return {
        "float32 within 1e-4 of the Keras logits": all(files[name]["max_difference"] < 1e-4 for name in real),
        "float32 of both runtimes of LiteRT within 1e-5": single["compiled_model"]["relative_difference_from_interpreter"] < 1e-5,
        "float16 agrees on 99.9 %": files["model_float16.tflite"]["top1_agreement"] >= 0.999,
        "int8 within 0.5 points": integer["accuracy"] >= integer["keras_accuracy"] - 0.005,
        "int8 at most 0.30 of the size": integer["bytes"] <= 0.30 * single["bytes"],
        "int8 at most 0.40 of the latency": ratios["time_ratio"] <= 0.40,
        "int4 at most 0.62 of int8": small["bytes"] <= 0.62 * integer["bytes"],
        "int4 within 0.5 points": aware["accuracy"] >= small["keras_accuracy"] - 0.005,
    }


def hard_network(run: kr.Run, data: kr.data.Dataset, folder: Path) -> dict:
    """How int8 and its mends do on the hard network."""
    hard = hardened(kr.load(run.model_path, compile=False))
    found = debug_quantization(hard, data=data, out=folder, most=4)
    [gate] = export(hard, targets=[Target("tflite", "int8")], data=data, out=folder)
    files = {row["float_layers"]: row["accuracy"] for row in found["files"] if not row["equalize"]}
    [equalized] = (row["accuracy"] for row in found["files"] if row["equalize"])
    return {
        "keras_accuracy": found["keras_accuracy"],
        "int8": files[0],
        "refused": gate.problem,
        "worst_layers": [row["layer"] for row in found["layers"][:3]],
        "with_layers_in_float": files,
        "equalized": equalized,
        "advice": found["advice"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--aware", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    run = kr.Run.open(options.run)
    data = of_run(run, data_dir=options.data_dir)
    with tempfile.TemporaryDirectory() as name:
        folder, small = Path(name), Target("tflite", "int4")
        files = measured(run, [*TARGETS.values(), Target("tflite", "int16"), small], data, folder / "run")
        if options.aware:
            files[AWARE] = measured(kr.Run.open(options.aware), [small], data, folder / "aware")[small.file]
        _, ratios = compare(
            [folder / "run" / f"model_{kind}.tflite" for kind in ("float32", "int8")], data.sample(32, "test"), threads=1
        )
        result = {
            "run": run.path.resolve().name,
            "images": len(data.splits["test"]),
            "keras_accuracy": files["model_int8.tflite"]["keras_accuracy"],
            "files": files,
            "int8_to_float32": {"time_ratio": ratios["time_ratio"], "size_ratio": ratios["size_ratio"]},
            "met": targets_met(files, ratios),
            "hard": hard_network(run, data, folder / "hard"),
            "machine": {"processor": processor(), "cpu_count": os.cpu_count(), "platform": platform.platform()}
            | {package: version(package) for package in PACKAGES},
        }
    print(json.dumps({name: result[name] for name in ("keras_accuracy", "int8_to_float32", "met", "hard")}, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
