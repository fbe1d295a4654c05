"""Peak memory of commands on many pictures, many classes, many predictions, and on pictures that are far too large.

    python benchmarks/peak_memory.py

Each command runs in a new process. Figures are the largest resident memory of it or of a process that it starts, in MB, and how
much more that is than TensorFlow alone takes. Writes peak_memory.json into the current folder. About seven minutes on two cores.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

TINY = ("resnet8", "--set", "depths=1", "--set", "widths=8", "--set", "stem_width=8", "--epochs", "1")
ALONE = ("-c", "import tensorflow, keras; keras.ops.ones(1)")
BOMB_SIDE, LARGE_SIDE = 13_000, 8_192  # Pillow takes up to 13,377; 8,192 is the largest that is decoded


def pictures(folder, classes, each, side=32):
    """A folder of JPEGs of noise."""
    generator = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class{label:04}").mkdir(parents=True)
        for number in range(each):
            pixels = generator.integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"class{label:04}" / f"{number}.jpg")
    return folder


def with_large(folder, side, count, **kinds):
    """The folder, and as many pictures of so many pixels along a side in each of those formats."""
    image = Image.new("RGB", (side, side), "grey")
    for suffix, options in kinds.items():
        for number in range(count):
            image.save(folder / "class0000" / f"large{number}.{suffix}", **options)
    return folder


def peak(*command):
    """MB of resident memory at most."""
    process = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(errors)
    return round(usage.ru_maxrss / 1024)


def make(place):
    """The pictures. By another process than the one that measures: what a process has when it starts a command counts for that."""
    pictures(place / "few", 2, 20)
    pictures(place / "many", 300, 67)
    pictures(place / "classes", 1000, 4)
    with_large(pictures(place / "bombs", 2, 20), BOMB_SIDE, 1, png={}, jpg={"progressive": True})
    with_large(pictures(place / "large", 2, 20), LARGE_SIDE, 6, png={}, jpg={})


def measure(place):
    program = ("-m", "keras_resnet")
    yield "TensorFlow alone", peak(*ALONE)
    for name, folder in (
        ("train, 40 pictures", "few"),
        ("train, 20,100 pictures in 300 classes", "many"),
        ("train, 4,000 pictures in 1,000 classes", "classes"),
        ("train, 40 pictures, a PNG and a JPEG of 169 million pixels", "bombs"),
        ("train, 40 pictures, 6 PNG and 6 JPEG of 67 million pixels", "large"),
    ):
        out = place / "runs" / folder
        yield name, peak(*program, "train", *TINY, "--data", place / folder, "--image-size", 32, "--out", out)
    yield "predict, 2,010 pictures", peak(*program, "predict", place / "runs" / "many", *sorted((place / "many").iterdir())[:30])
    bomb = place / "bombs" / "class0000" / "large0.jpg"
    yield "predict, a JPEG of 169 million pixels", peak(*program, "predict", place / "runs" / "few", bomb)


def main():
    if len(sys.argv) > 1:
        make(Path(sys.argv[1]))
        return
    figures = {}
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, __file__, place], check=True)
        for name, megabytes in measure(Path(place)):
            above = megabytes - figures.get("TensorFlow alone", {"MB": megabytes})["MB"]
            figures[name] = {"MB": megabytes, "above_tensorflow": above}
            print(f"{megabytes:6,} MB, {above:6,} above TensorFlow: {name}", flush=True)
    Path("peak_memory.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
