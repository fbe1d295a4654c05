"""A search for depth and width within a budget of bytes: networks over the budget are never built.

Expected: three trials, all below 60 kB in int8, and a winner trained in full. Takes about two minutes.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import keras_resnet as kr

LIMIT = 60_000


def space(hp):
    """From hyperparameters of KerasTuner to a spec; nothing is built here."""
    width = hp.Choice("width", [4, 8, 12, 16, 32])
    depth = hp.Int("depth", 1, 2)
    return replace(kr.SPECS["resnet8"], depths=(depth,) * 3, widths=(width, 2 * width, 4 * width), stem_width=width)


study = kr.search.Study(
    space=space,
    data="digits",
    trials=3,
    recipe=replace(kr.RECIPES["digits"], epochs=4),
    budget=kr.search.Budget(tflite_int8=LIMIT),
    finalists=1,
)
if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        found = kr.search.run(study, Path(folder, "search"), tell=print)
        for row in found.best:
            print(row["trial"], row["width"], row["depth"], f"{row['val_accuracy']:.3f}", row["tflite_int8"])
        winner = kr.Run.open(Path(folder, "search", "winner"))
        assert all(row["tflite_int8"] <= LIMIT for row in found.best)
        assert winner.metrics["test"]["accuracy"] > 0.7
