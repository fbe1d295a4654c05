"""The HTML page of an experiment: claims, errors beside the paper's, learning curves of the first seed."""

from pathlib import Path

from keras_resnet.report.comparison import TRAINING, curves
from keras_resnet.report.templates import render
from keras_resnet.reproductions.results import Results, verdict_row
from keras_resnet.reproductions.scales import SCALES


def page(results: Results, runs: Path) -> str:
    """The text of one self-contained HTML file. `runs` is the folder of the run folders."""
    scale, networks = SCALES[results.scale], results.reproduction.networks(results.scale)
    facts = {
        "Experiment": results.reproduction.source,
        "Scale": f"{results.scale}: {scale.words(results.images)}",
        "Trainings": f"{len(results.rows)} of {len(scale.seeds) * len(networks)}",
    }
    if results.reproduction.left_out:
        facts["Different here"] = results.reproduction.left_out
    return render(
        "study",
        title=results.reproduction.question,
        facts=facts,
        claims=[verdict_row(verdict) for verdict in results.verdicts],
        networks=results.table,
        curves=curves({name: runs / f"{name}-seed{scale.seeds[0]}" for name in networks}, TRAINING),
    )
