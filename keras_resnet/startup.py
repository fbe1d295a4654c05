"""The environment variables that must be set before TensorFlow starts."""

import os
from pathlib import Path


def prepare() -> None:
    """Keep native libraries silent; on a CPU, keep the operations of a step in order: a seed then gives the same weights again."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if not Path("/dev/nvidia0").exists():
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
