"""The command line: each command is a few lines that call one function of the package, and loads it only then."""

# isort: off
from keras_resnet.cli.options import app

# Each brings its commands, in the order of `--help`.
from keras_resnet.cli import networks, training, inference, export, benchmark, search

__all__ = ["app", "benchmark", "export", "inference", "networks", "search", "training"]
