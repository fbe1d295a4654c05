"""The command line: each command is a few lines that call one function of the package, and loads it only then."""

from keras_resnet.cli import networks, search, speed, training, use  # each brings its commands, in the order of `--help`
from keras_resnet.cli.options import app

__all__ = ["app", "networks", "search", "speed", "training", "use"]
