"""Quantised files of the AI Edge Quantizer, which `export` uses, beside those of TensorFlow's converter.

    python benchmarks/quantizers.py RUN [RUN ...] [--data-dir DIR] [--images N] [--json OUT.json]

Both start from the same network and the same calibration images. Each file runs on the first N test images (all by default).
TensorFlow's converter has no weights of 4 bits.
"""

import argparse
import json
import os
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from keras_resnet import startup

startup.prepare()

import numpy as np
import tensorflow as tf

import keras_resnet as kr
from keras_resnet.confidence import interval
from keras_resnet.console import quiet
from keras_resnet.data import of_run
from keras_resnet.export.calibration import calibration_batches
from keras_resnet.export.check import latency
from keras_resnet.export.rescaling import scaled_by_convolution
from keras_resnet.export.signature import with_interface
from keras_resnet.export.supported import Source, open_source
from keras_resnet.export.tflite import float_file
from keras_resnet.files.model_file import ModelFile
from keras_resnet.files.targets import Target
from keras_resnet.runs.environment import processor

OPERATIONS = {"int8": "TFLITE_BUILTINS_INT8", "int16": "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"}
KINDS = ("dynamic", "int8", "int16", "int4")


def by_tensorflow(source: Source, target: Target) -> bytes:
    """The file of TensorFlow's converter, with its own quantisation."""
    with scaled_by_convolution(source.model):
        converter = tf.lite.TFLiteConverter.from_keras_model(with_interface(source, target))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if target.is_integer:
            converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, OPERATIONS[target.quantize])]
            converter.representative_dataset = partial(calibration_batches, source.calibration)
        return bytes(converter.convert())


def by_quantizer(source: Source, target: Target) -> bytes:
    """The file of `export`, from a float file that is made anew."""
    source.float_files.clear()
    return float_file(source, target).quantized(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for path in options.runs:
        run = kr.Run.open(path)
        rows += rows_of(run, of_run(run, data_dir=options.data_dir), options.images)
    packages = ("keras", "tensorflow", "ai-edge-litert", "ai-edge-quantizer")
    machine = {"processor": processor(), "cpu_count": os.cpu_count()} | {package: version(package) for package in packages}
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "machine": machine}, indent=2) + "\n")


def rows_of(run: kr.Run, data: kr.data.Dataset, count: int | None) -> list[dict]:
    """A row for each kind of file and converter, with that of the Keras model first."""
    with TemporaryDirectory() as folder:
        source, data, _ = open_source(run, data, Path(folder, "export"))
        test = data.splits["test"]
        places = np.arange(min(count or len(test), len(test)))
        images, labels = test.take(places), test.labels[places]
        path, rows = Path(folder, "model.tflite"), []

        def add(kind: str, converter: str, content: bytes, seconds: float) -> None:
            path.write_bytes(content)
            with ModelFile(path, threads=1, trust=True) as file:
                answers = np.concatenate([file(images[start : start + 100]) for start in range(0, len(images), 100)]).argmax(1)
                accuracy = float((answers == labels).mean())
                row = {"run": run.path.resolve().name, "quantize": kind, "converter": converter, "images": len(images)}
                row |= {"bytes": len(content), "accuracy": accuracy, "interval": interval(accuracy, len(images))}
                row |= {"seconds": round(seconds, 1), "latency_ms": latency(file, images[:1])["median"]}
            rows.append(row | {"agreement": float((answers == rows[0]["answers"]).mean()) if rows else 1.0, "answers": answers})
            print({name: value for name, value in rows[-1].items() if name != "answers"}, flush=True)

        add("float32", "tensorflow", float_file(source, Target("tflite")).content, 0.0)
        for kind in KINDS:
            for name, make in (("tensorflow", by_tensorflow), ("quantizer", by_quantizer)):
                if (kind, name) != ("int4", "tensorflow"):
                    start = time.perf_counter()
                    with quiet():
                        content = make(source, Target("tflite", kind, pixels="float32"))
                    add(kind, name, content, time.perf_counter() - start)
    return [{name: value for name, value in row.items() if name != "answers"} for row in rows]


if __name__ == "__main__":
    main()
