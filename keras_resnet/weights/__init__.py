"""Weights of other libraries.

`arrays` reads a file of weights into named arrays, and runs nothing that is in it; `pickled` does so for PyTorch's files.
"""

from keras_resnet.weights.arrays import read_arrays

__all__ = ["read_arrays"]
