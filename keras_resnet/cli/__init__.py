"""The command line. Each command calls one function of the package, and imports it only when it runs."""

# isort: off
from keras_resnet.cli.options import app

# Each brings its commands, in the order of `--help`.
from keras_resnet.cli import networks, pages, training, weights, inference, analyze, export, benchmark, search

__all__ = ["analyze", "app", "benchmark", "export", "inference", "networks", "pages", "search", "training", "weights"]
