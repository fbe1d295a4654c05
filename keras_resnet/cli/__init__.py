"""The command line: each command is a few lines that call one function of the package, and loads it only then."""

# Each brings its commands, in the order of `--help`.
from keras_resnet.cli import benchmark, networks, search, training, use
from keras_resnet.cli.options import app

__all__ = ["app", "benchmark", "networks", "search", "training", "use"]
