"""Reproductions of the experiments of papers, with tests of their claims. `keras-resnet study` runs them.

`named` is the table of experiments, `scales` has images and recipes, `claims` tests a claim over the seeds, `run` trains the
networks, `results` makes the tables, and `page` the HTML page.
"""

from keras_resnet.reproductions.claims import Claim, Verdict
from keras_resnet.reproductions.named import REPRODUCTIONS, Reproduction
from keras_resnet.reproductions.results import Results
from keras_resnet.reproductions.run import reproduce
from keras_resnet.reproductions.scales import SCALES, Scale

__all__ = ["REPRODUCTIONS", "SCALES", "Claim", "Reproduction", "Results", "Scale", "Verdict", "reproduce"]
