"""What is known before a framework starts: the environment variables that TensorFlow needs, and what the machine is."""

import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"  # the variable of TensorFlow
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # x86 has the first two, ARM the third
APPLE_BFLOAT16 = "hw.optional.arm.FEAT_BF16"


def prepare() -> None:
    """Keep native libraries silent; on a CPU, keep the operations of a step in order: a seed then gives the same weights again."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if not Path("/dev/nvidia0").exists():
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")


def prepare_training() -> None:
    """Train with the convolutions of oneDNN on a CPU. TensorFlow uses them by itself only on processors with instructions for
    neural networks, such as VNNI, though they train faster on others too, see `benchmarks/onednn.py`; they only predict slower."""
    os.environ.setdefault(ONEDNN, "1")


def memory() -> int | None:
    """Bytes of memory that this machine, or the container on it, has; None where that cannot be told."""
    limits = []
    with suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in CONTAINER_LIMITS:
        with suppress(OSError, ValueError):  # "max" where there is no limit
            limits.append(int(path.read_text(encoding="utf-8")))
    return min(limits, default=None)


def has_bfloat16() -> bool | None:
    """Whether the processor has instructions for bfloat16; None where that cannot be told.

    Without them every product is emulated: a training step can take minutes.
    """
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        if platform.system() == "Darwin":
            if platform.machine() != "arm64":
                return False  # no Mac with an Intel processor has them
            asked = subprocess.run(["sysctl", "-n", APPLE_BFLOAT16], capture_output=True, text=True, timeout=5, check=True)
            return asked.stdout.strip() == "1"
        for line in CPUINFO.read_text(encoding="utf-8").splitlines():
            name, _, flags = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return bool(BFLOAT16 & set(flags.split()))
    return None
