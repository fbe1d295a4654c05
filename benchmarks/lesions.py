"""What a trained network does without one of its units: residual and plain, 56 layers.

    python benchmarks/lesions.py STUDY DATA_DIR

arXiv:1605.06431 removes one unit at a time: a residual network hardly notices, a plain one is ruined. STUDY is the folder of
`keras-resnet study degradation --scale small`, whose runs of 56 layers and seed 0 are taken; the images are its test images.
Writes lesions.json beside this file and docs/lesions.png.
"""

import json
import sys
from pathlib import Path

import numpy as np

import keras_resnet as kr
from keras_resnet.reproductions import SCALES
from keras_resnet.runs.environment import environment

NETWORKS, IMAGES = ("residual-56", "plain-56"), 2000


def main(study: str, data_dir: str) -> None:
    """Measure both networks."""
    test = SCALES["small"].load(data_dir).splits["test"]
    images, labels = test.take(np.arange(IMAGES)).astype("float32"), test.labels[:IMAGES]
    found = {}
    for name in NETWORKS:
        model = kr.Run.open(Path(study) / "runs" / f"{name}-seed0").load()
        found[name] = kr.analysis.lesions(model, images, labels)
        changes = [row["difference"] for row in found[name] if row["difference"] is not None]
        print(name, "median change of accuracy without a unit", float(np.median(changes)), "largest", min(changes), flush=True)
    place = Path(__file__)
    content = {"images": IMAGES, "rows": found, "environment": environment()}
    place.with_suffix(".json").write_text(json.dumps(content) + "\n")
    kr.analysis.plot_lesions(found).savefig(place.parents[1] / "docs" / f"{place.stem}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
