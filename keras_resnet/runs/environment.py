"""The versions and the hardware behind a measured number."""

import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras

from keras_resnet.startup import has_bfloat16

PACKAGES = ("keras-residual", "keras", "tensorflow", "jax", "torch", "numpy")


def environment() -> dict[str, Any]:
    """Versions and hardware of this process."""
    versions = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "backend": keras.backend.backend(),
        "packages": versions,
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "devices": devices(),
    }


def devices() -> list[str]:
    """What the backend computes on."""
    if keras.backend.backend() == "torch":  # of the backends, the one that Keras cannot ask
        import torch

        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] or ["cpu:0"]
    return [str(device) for device in keras.distribution.list_devices()]


def emulates_bfloat16() -> bool:
    """Whether the backend computes on processors alone, and they have no instructions for bfloat16."""
    return has_bfloat16() is False and all(name.lower().startswith("cpu") for name in devices())


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
