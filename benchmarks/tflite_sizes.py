"""Sizes of `.tflite` files estimated by `cost_of`, compared with converted files.

    python benchmarks/tflite_sizes.py [OUT.json]

Converts networks of many kinds with random weights to float32, int8 and int4 and prints the estimate beside each size.
"""

import json
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np

import keras_resnet as kr
from keras_resnet.export import WRITERS, Target
from keras_resnet.export.supported import Source

SMALL = {"input_shape": (64, 64, 3), "classes": 10}
NETWORKS = [
    *[(name, {}) for name in ("resnet8", "resnet20", "resnet56", "plain20", "resnet110v2", "wrn16_8")],
    *[
        (name, SMALL)
        for name in (
            "resnet18",
            "resnet50",
            "resnet50v2",
            "resnet50d",
            "resnext50_32x4d",
            "seresnet50",
            "ecaresnet50t",
            "resnetrs50",
        )
    ],
    *[
        ("resnet8", fields)
        for fields in (
            {"activation_order": "full_preactivation"},
            {"activation_order": "relu_before_addition"},
            {"activation_order": "norm_after_addition"},
            {"shortcut": "projection"},
            {"shortcut_gate": "exclusive"},
            {"squeeze": 4},
            {"channel_attention": True},
            {"antialias": True},
            {"activation": "silu"},
            {"activation": "gelu"},
            {"norm": "group", "norm_groups": 8},
            {"norm": None},
            {"norm": None, "branch_gain": 1.0},
            {"input_shape": (128, 3)},
            {"input_shape": (128, 3), "stem": "7x7", "stem_pool": "max", "shortcut": "avg_projection"},
            {"input_shape": (16, 16, 16, 1), "shortcut": "projection"},
        )
    ],
]


def measured(name: str, fields: dict, folder: Path) -> dict[str, int]:
    """Bytes of the float32, int8 and int4 file of a network with random weights."""
    model = kr.build(name, **fields)
    generator = np.random.default_rng(0)
    for weight in model.weights:  # as after training: equal numbers would be stored once, zeros not at all
        if len(weight.shape) == 1:
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
    images = generator.uniform(0, 255, (3, *model.input_shape[1:]))
    names = [f"class {number}" for number in range(model.output_shape[-1])]
    source, sizes = Source(model=model, name=name, class_names=names, calibration=images), {}
    for kind, quantize in (("float32", None), ("int8", "int8"), ("int4", "int4")):
        path = folder / "model.tflite"
        with redirect_stdout(StringIO()):
            WRITERS["tflite"](source, path, Target("tflite", quantize))
        sizes[kind] = path.stat().st_size
    keras.backend.clear_session()
    return sizes


def main() -> None:
    """Print a row for each network and kind; write them all to the file that is named."""
    rows = []
    with TemporaryDirectory() as folder:
        for name, fields in NETWORKS:
            cost = kr.cost_of(name, **fields)
            for kind, size in measured(name, fields, Path(folder)).items():
                estimate = getattr(cost, f"tflite_{kind}")
                rows.append({"network": name, "changed": fields, "kind": kind, "bytes": size, "estimate": estimate})
                print(f"{estimate / size - 1:+8.2%} {size:12,} {kind:8} {name} {fields or ''}", flush=True)
    print(f"largest difference {max(abs(row['estimate'] / row['bytes'] - 1) for row in rows):.2%}")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
