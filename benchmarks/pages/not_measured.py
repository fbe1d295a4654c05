"""Numbers of pages that look measured and are not, or that another test compares; see `claims`."""

PUBLISHED, SETTING, LEVEL = "published, not measured here", "a setting, or follows from one", "a level, or follows from a count"
LIMIT = "the limit of the test that the page names"
COMPARED, LOST = "compared by tests/test_reproductions.py", "measured, but its JSON was not kept"
NOT_MEASURED = {
    "README.md": {"Licence: [Apache 2.0]": "a version"},
    "docs/experiments.md": {
        "decides at the 5 % level": LEVEL,
        "the error of guessing (90 % for ten classes)": LEVEL,
        "guessing gives 10 %": LEVEL,
        "| 8.75 |": PUBLISHED,
        "| 7.51 |": PUBLISHED,
        "| 7.17 |": PUBLISHED,
        "| 6.97 |": PUBLISHED,
        "arXiv:1712.09913 reports test errors of 7.37 and 5.89 % for 20 and 56 layers, and of 8.18 and 13.31 %": PUBLISHED,
        "| the training error of plain networks rises with depth | holds | +15.17 | 0.002 |": COMPARED,
        "| the test error of plain networks rises with depth | holds | +15.05 | 0.007 |": COMPARED,
        "| the training error of residual networks falls with depth | not decided | -3.33 | 0.936 |": COMPARED,
        "| the test error of residual networks falls with depth | not decided | -3.15 | 0.931 |": COMPARED,
        "| the deepest plain network has a larger training error | holds | +22.41 | 0.006 |": COMPARED,
        "| the deepest plain network has a larger test error | holds | +21.57 | 0.001 |": COMPARED,
        "the gradient grows by a factor of 10⁸": "the order of magnitude of a claimed number of the table",
    },
    "docs/faq.md": {
        '"3.8 billion FLOPs" for ResNet-50': PUBLISHED,
    },
    "docs/how-to/class-imbalance.md": {
        "| `none` | 1 |": SETTING,
        "the accuracy is above 0.65, but the recall of the striped class is below 0.1. With them it is above 0.5": LIMIT,
    },
    "docs/how-to/coming-from.md": {
        "in Keras's sense | 0.9 | 0.99 | 0.9 | 0.9 (PyTorch writes 0.1) |": SETTING,
    },
    "docs/how-to/distillation.md": {
        "The second part has 8 times the weight": SETTING,
        "| `temperature` | 4 |": SETTING,
        "| `label_weight` | 0.1 for": SETTING,
        "| `distill_weight` | 0.9 for": SETTING,
    },
    "docs/how-to/export.md": {
        "by more than 1e-4 of the largest output (float16: 0.01) |": SETTING,
        "the top-1 agreement is at least 98 % (int16: 99 %, int4: 95 %) |": SETTING,
        "on average at most 0.05 of the probability moves": SETTING,
        "over images and over classes, is above 90 % (int16: 91 %, int4: 87 %) |": SETTING,
        "certainly more than 2 points lower (int16: 1, int4: 5)": SETTING,
        "a `--min-agreement` below 0.95 also": SETTING,
        "1e-4 of the largest output (quantised files: 0.02), on 64 images": SETTING,
    },
    "docs/how-to/look-inside.md": {
        "both within 5 % (the plain one": LIMIT,
    },
    "docs/how-to/own-images.md": {
        "Up to 4 GiB are read into memory": SETTING,
        "Up to 4 GiB of pixels are kept in memory": SETTING,
        "Files of more than 256 MiB are skipped": SETTING,
    },
    "docs/how-to/report-of-a-run.md": {
        "up to 32 MiB, and refuses": SETTING,
    },
    "docs/how-to/resume.md": {
        "They take at most 5 % of the time": SETTING,
    },
    "docs/how-to/search.md": {
        "In one of three runs a bad measurement made the largest error 19 %": LOST,
    },
    "docs/how-to/tfrecords.md": {
        "are kept in memory, up to 4 GiB": SETTING,
    },
    "docs/how-to/transfer.md": {
        "deer and horse, tried with one seed only, gained 4 to 6 points": LOST,
        "the last unit at 0.7 of it, the unit before at 0.49": SETTING,
        "the stem trains at 0.7 to the power of 17, which is 0.002 of the rate": SETTING,
    },
    "docs/promises.md": {
        "the published parameters (99 networks) and, within 1 %, the published multiply-adds (81)": LIMIT,
        "Estimated sizes of `.tflite` files are within 5 %": LIMIT,
    },
    "docs/specs.md": {
        "Sizes of `.tflite` files, without labels and metadata, are within 5 %": LIMIT,
    },
}
"""For each page: a piece of its text, and what its numbers are instead."""
