"""Quantisation-aware training: int8 accuracy of a run, after quantisation-aware fine-tuning, and after plain fine-tuning.

    python benchmarks/quantization_aware.py RUN [--data-dir DIR] [--epochs 2] [--out DIR] [--json OUT.json]

The third row is the control: longer training alone may improve a run. Accuracies are on all test images.
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

import keras_resnet as kr
from keras_resnet.data import of_run
from keras_resnet.fields import change
from keras_resnet.recipes.named import fine_tuning
from keras_resnet.runs.environment import processor

MOST_LOST = 0.002  # of the float accuracy
PACKAGES = ("keras", "tensorflow", "ai-edge-litert")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--out", type=Path, help="Folder for the runs; complete ones are not trained again.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    start = kr.Run.open(options.run)
    data = of_run(start, data_dir=options.data_dir)
    recipe = change(fine_tuning(start.recipe, quantization_aware=True), {"epochs": options.epochs})
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        runs = {"as it was trained": start}
        for name, aware in (("quantisation-aware", True), ("fine-tuned alike, without integers", False)):
            place, changed = out / ("aware" if aware else "plain"), change(recipe, {"quantization_aware": aware})
            runs[name] = kr.fit(start.spec, changed, data, place, init=start, resume=True, verbose=2)
        rows = []
        for name, run in runs.items():
            check = kr.export.tflite(run, "int8", data=data, out=out / f"export-{len(rows)}")
            seconds = run.metrics["train_seconds"] if rows else None
            facts = {"float": check.keras_accuracy, "int8": check.accuracy, "top1_agreement": check.top1_agreement}
            rows.append({"run": name, **facts, "bytes": check.bytes, "seconds": seconds})
            print(rows[-1], flush=True)
    before, aware, _ = rows
    result = {
        "network": start.metrics["network"],
        "parameters": start.metrics["parameters"],
        "epochs": options.epochs,
        "images": check.images_from["test"],
        "rows": rows,
        "met": {
            "int8 at most 0.2 points below float": aware["int8"] >= max(aware["float"], before["float"]) - MOST_LOST,
            "above int8 after training": aware["int8"] > before["int8"],
        },
        "machine": {"processor": processor(), "cpu_count": os.cpu_count(), "platform": platform.platform()}
        | {package: version(package) for package in PACKAGES},
    }
    print(json.dumps(result["met"], indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
