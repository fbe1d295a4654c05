"""Reproductions of the experiments of papers, with tests of their claims. `keras-resnet study` runs them.

`named` is the table of experiments, `scales` has images and recipes, `claims` tests a claim over the seeds, `run` trains the
networks, `results` makes the tables, and `page` the HTML page.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_resnet.reproductions.claims import Claim as Claim
    from keras_resnet.reproductions.claims import Verdict as Verdict
    from keras_resnet.reproductions.named import REPRODUCTIONS as REPRODUCTIONS
    from keras_resnet.reproductions.named import Reproduction as Reproduction
    from keras_resnet.reproductions.results import Results as Results
    from keras_resnet.reproductions.run import reproduce as reproduce
    from keras_resnet.reproductions.scales import SCALES as SCALES
    from keras_resnet.reproductions.scales import Scale as Scale

_HOMES = {
    "REPRODUCTIONS": "named",
    "SCALES": "scales",
    "Claim": "claims",
    "Reproduction": "named",
    "Results": "results",
    "Scale": "scales",
    "Verdict": "claims",
    "reproduce": "run",
}

__all__ = [*_HOMES]


if not TYPE_CHECKING:  # `keras-resnet study` tells a wrong name before Keras is loaded

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            return getattr(import_module(f"keras_resnet.reproductions.{_HOMES[name]}"), name)
        raise AttributeError(f"module 'keras_resnet.reproductions' has no attribute {name!r}")
