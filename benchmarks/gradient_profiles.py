"""Do gradients vanish in deep plain networks? The gradient norm of each unit at the start of a training.

    python benchmarks/gradient_profiles.py DATA_DIR [OUT]

Plain and residual networks for CIFAR of 20, 56 and 110 layers (arXiv:1512.03385 section 4.2), with batch normalisation and without
any, He-normal weights of three seeds, at 64 training images of CIFAR-10 (JPEG copy) in training mode. arXiv:1512.03385 section 4.1
holds that vanishing gradients are not what makes deep plain networks worse, because batch normalisation keeps them healthy.
Writes OUT.json and OUT.png; if OUT is not given, the first is beside this file, and the other in docs/.
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_resnet as kr
from keras_resnet.networks.variants import cifar
from keras_resnet.runs.environment import environment

LAYERS, SEEDS, IMAGES = (20, 56, 110), (0, 1, 2), 64
KINDS = {"plain": {"shortcut": "none"}, "residual": {}}
NORMS = {"batch normalisation": "batch", "no normalisation": None}


def profile(layers: int, fields: dict[str, Any], images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Norms by unit, the geometric mean over the seeds, and the ratio of the first unit's to the last one's."""
    found = []
    for seed in SEEDS:
        keras.utils.set_random_seed(seed)
        model = kr.build(cifar((layers - 2) // 6, fields))
        found.append(kr.analysis.gradients(model, images, labels))
        keras.backend.clear_session()
    units = [row["unit"] for row in found[0]]
    row: dict[str, Any] = {"units": units}
    for column in ("weights", "output"):
        logs = np.log10([[max(unit[column], 1e-38) for unit in rows] for rows in found])
        row[column] = [float(f"{10**value:.4g}") for value in logs.mean(0)]
        row[f"{column}_spread_of_seeds_log10"] = round(float(logs.std(0, ddof=1).mean()), 3)
        row[f"{column}_first_to_last"] = float(f"{10 ** float((logs[:, 0] - logs[:, -1]).mean()):.4g}")
    return row


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """A panel for each kind and normalisation, a line for each number of layers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained", dpi=150)
    panels = figure.subplots(len(NORMS), len(KINDS), squeeze=False, sharey="row")
    for row in rows:
        axes = panels[list(NORMS).index(row["norm"]), list(KINDS).index(row["kind"])]
        places = np.linspace(0, 1, len(row["output"]))
        axes.semilogy(places, row["output"], label=f"{row['layers']} layers", color=COLOURS[LAYERS.index(row["layers"])])
        axes.set(title=f"{row['kind']}, {row['norm']}", xlabel="depth of the unit, from input to output")
        axes.grid(alpha=0.3)
    for axes in panels[:, 0]:
        axes.set_ylabel("gradient norm of the output")
    panels[0, 0].legend(fontsize=8)
    figure.savefig(path)


COLOURS = ("#0072B2", "#D55E00", "#009E73")


def main(data_dir: str, out: str | None = None) -> None:
    """Measure all networks."""
    place = Path(out) if out else Path(__file__).with_suffix("")
    examples = kr.data.load("cifar10", data_dir=data_dir).splits["train"]
    images, labels = examples.take(np.arange(IMAGES)).astype("float32"), examples.labels[:IMAGES]
    rows = []
    for layers in LAYERS:
        for kind, fields in KINDS.items():
            for norm, value in NORMS.items():
                row = profile(layers, {**fields, "norm": value}, images, labels)
                rows.append({"layers": layers, "kind": kind, "norm": norm, **row})
                print(layers, kind, norm, {name: number for name, number in row.items() if "first" in name}, flush=True)
    content = {"images": IMAGES, "seeds": len(SEEDS), "rows": rows, "environment": environment()}
    place.with_suffix(".json").write_text(json.dumps(content) + "\n")
    pictures = Path(__file__).parents[1] / "docs"
    plot(rows, place.with_suffix(".png") if out else pictures / f"{place.stem}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
