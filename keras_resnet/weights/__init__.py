"""Weights of other libraries.

`arrays` reads a file of weights into named arrays, and runs nothing that is in it; `pickled` does so for PyTorch's files. `reading`
finds the network that they are of, by the tables of `pytorch`, `transformers` and `keras_applications`, which `layout` applies, and
by `shapes`; `embedded` has the files that come with this package. `loading` gives its arrays to a model, `converting` writes them
as a run.
"""

from keras_resnet.weights.arrays import read_arrays
from keras_resnet.weights.converting import convert
from keras_resnet.weights.loading import build, load
from keras_resnet.weights.reading import LAYOUTS, Weights, read

__all__ = ["LAYOUTS", "Weights", "build", "convert", "load", "read", "read_arrays"]
