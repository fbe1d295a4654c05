import os
import signal
import subprocess
import sys

import pytest

from keras_resnet import InputError, Run
from keras_resnet.runs import CONTENTS, check_free, put_in_place, scratch, sweep, write_json, writing

DEAD = 2**22 + 1  # above the largest process number


def test_open_refuses_what_is_not_a_run(tmp_path):
    with pytest.raises(InputError, match="no run folder at"):
        Run.open(tmp_path / "nothing")
    (tmp_path / "spec.json").write_text("{}")
    with pytest.raises(InputError, match=r"not a complete run: it has no recipe.json, .*model.keras"):
        Run.open(tmp_path)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / "deep" / "run"
    with pytest.raises(KeyboardInterrupt), writing(out) as folder:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt
    assert not list(out.parent.iterdir())
    with writing(out) as folder:
        (folder / "whole").write_text("whole")
        assert not out.exists()
    assert [path.name for path in out.parent.iterdir()] == ["run"]
    assert (out / "whole").read_text() == "whole"


def test_leftovers_of_killed_processes_are_swept(tmp_path):
    for name in (
        f".run.partial-{DEAD}",
        f".run.replaced-{DEAD}",
        f".run.partial-{os.getppid()}",
        f".other.partial-{DEAD}",
        ".run.mine-1",
    ):
        (tmp_path / name).mkdir()
    (tmp_path / f".run.replaced-{DEAD}" / "old").write_text("the run before")
    sweep(tmp_path / "run")  # one died after it had moved the old run aside: it comes back
    assert (tmp_path / "run" / "old").read_text() == "the run before"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"run", f".run.partial-{os.getppid()}", f".other.partial-{DEAD}", ".run.mine-1"}


def test_put_in_place_replaces_files_and_folders(tmp_path):
    for kind in ("old", "new"):
        with scratch(tmp_path / "target") as folder:
            (folder / "model").mkdir()
            (folder / "model" / "weights").write_text(kind)
            (folder / "file").write_text(kind)
            put_in_place(folder / "model", tmp_path / "model")
            put_in_place(folder / "file", tmp_path / "file")
        assert (tmp_path / "model" / "weights").read_text() == (tmp_path / "file").read_text() == kind
    assert {path.name for path in tmp_path.iterdir()} == {"model", "file"}


def test_write_json_leaves_no_trace(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 1\n}\n'
    assert len(list(tmp_path.iterdir())) == 1


def test_check_free(tmp_path):
    assert check_free(tmp_path / "new") == tmp_path / "new"
    with pytest.raises(InputError, match="exists"):
        check_free(tmp_path)
    with pytest.raises(InputError, match="not a complete run"):
        check_free(tmp_path, overwrite=True)
    for name in CONTENTS:
        (tmp_path / name).touch()
    assert check_free(tmp_path, overwrite=True) == tmp_path


def test_sigkill_leaves_no_run_and_the_next_one_cleans_up(tmp_path):
    script = f"""
from pathlib import Path
from keras_resnet.runs import writing
with writing(Path({str(tmp_path / "run")!r})) as folder:
    (folder / "half").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert [path.name for path in tmp_path.iterdir()] == [f".run.partial-{process.pid}"]
    with writing(tmp_path / "run") as folder:
        (folder / "whole").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
