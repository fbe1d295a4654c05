"""Experiments of the papers, redone: what is compared, with which claims, and what became of them.

`named` is the table of experiments, `scales` says on how much data and how long, `claims` tests a claim on the seeds, `run` trains
whatever is missing, and `results` writes the tables.
"""

from keras_resnet.reproductions.claims import Claim, Verdict
from keras_resnet.reproductions.named import REPRODUCTIONS, Reproduction
from keras_resnet.reproductions.results import Results
from keras_resnet.reproductions.run import reproduce
from keras_resnet.reproductions.scales import SCALES, Scale

__all__ = ["REPRODUCTIONS", "SCALES", "Claim", "Reproduction", "Results", "Scale", "Verdict", "reproduce"]
