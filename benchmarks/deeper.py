"""Of two networks trained by the same recipe, does the deeper one have the lower error on the same test images?

    python benchmarks/deeper.py [SHALLOW DEEP] [--data-dir DIR] [--json OUT.json]

SHALLOW and DEEP are runs, or names of networks in saved_models. Both answer the same images, so only images that exactly one of
them classifies correctly count: McNemar's exact test, one-sided.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keras_resnet import startup

startup.prepare()

import numpy as np

import keras_resnet as kr
from keras_resnet.confidence import interval
from keras_resnet.data import of_run
from keras_resnet.export.verdict import losses
from keras_resnet.networks.cost import cost_of
from keras_resnet.runs.environment import environment

NAMES = ["cifar10-resnet20", "cifar10-resnet56"]


def answers(run: kr.Run, data: kr.data.Dataset) -> np.ndarray:
    """The classes that the model of a run gives to the test images, (images,)."""
    return kr.load(run.model_path).predict(data.test, verbose=0).argmax(1)


def row(run: kr.Run, own: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """What one network is, and its accuracy."""
    correct = float(np.mean(own == labels))
    facts: dict[str, Any] = {name: run.metrics[name] for name in ("network", "epochs", "seed")}
    facts |= {"parameters": cost_of(run.spec).trainable, "recipe": asdict(run.recipe)}
    return {**facts, "accuracy": correct, "interval": interval(correct, len(labels))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", default=NAMES, metavar="RUN")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    shallow, deep = map(kr.Run.open, options.runs)
    data = of_run(deep, data_dir=options.data_dir)
    labels = data.examples("test").labels
    if shallow.recipe != deep.recipe or shallow.data.get("digest") != deep.data.get("digest"):
        sys.exit("the two runs differ in recipe or images: not compared")
    by_shallow, by_deep = (answers(run, data) for run in (shallow, deep))
    compared = losses(by_shallow, by_deep, labels)
    result = {
        "images": len(labels),
        "networks": [row(shallow, by_shallow, labels), row(deep, by_deep, labels)],
        "only_deep_right": compared["lost"],
        "only_shallow_right": compared["gained"],
        "chance": compared["loss_chance"],
        "environment": environment(),
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
