"""A disk that is full or fails at any change, and a kill before any change: nothing complete is lost, and the same goes on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Stands between every program that loads it and the disk."""
    if not (compiler := shutil.which("cc")) or sys.platform != "linux":
        pytest.skip("there is no C compiler, or this is not Linux")
    path = tmp_path_factory.mktemp("library") / "failing_disk.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-w", "-o", path, HERE / "failing_disk.c", "-ldl"], check=True)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("case", ["training", "overwriting", "export", "search"])
def test_at_every_change(case, library, tmp_path):
    command = [sys.executable, HERE / "failing_disk.py", case, tmp_path, os.environ.get("FAILING_DISK_STRIDE", "1")]
    process = subprocess.run(command, env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]
    *problems, last = process.stdout.splitlines()
    assert json.loads(last)["changes"] > 20
    assert not problems
