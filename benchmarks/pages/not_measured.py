"""Numbers of pages that look measured and are not, or that another test compares; see `claims`."""

PUBLISHED, SETTING, LEVEL = "published, not measured here", "a setting, or follows from one", "a level, or follows from a count"
COMPARED, LOST = "compared by tests/test_reproductions.py", "measured, but its JSON was not kept"
NOT_MEASURED = {
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
    "docs/how-to/distillation.md": {
        "The second part has 8 times the weight": SETTING,
        "| `temperature` | 4 |": SETTING,
        "| `label_weight` | 0.1 for": SETTING,
        "| `distill_weight` | 0.9 for": SETTING,
    },
    "docs/how-to/transfer.md": {
        "deer and horse, tried with one seed only, gained 4 to 6 points": LOST,
        "the last unit at 0.7 of it, the unit before at 0.49": SETTING,
        "the stem trains at 0.7 to the power of 17, which is 0.002 of the rate": SETTING,
    },
}
"""For each page: a piece of its text, and what its numbers are instead."""
