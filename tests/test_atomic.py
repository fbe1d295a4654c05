import json
import math
import os
import signal
import subprocess
import sys
from unittest import mock

import pytest

from keras_resnet import atomic
from keras_resnet.atomic import as_json, lock, occupied, put_in_place, replace_text, scratch, sweep, write_whole


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / "deep" / "run"

    def interrupted(folder):
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    def whole(folder):
        (folder / "whole").write_text("whole")
        assert not out.exists()

    with pytest.raises(KeyboardInterrupt):
        write_whole(out, interrupted)
    assert not list(out.parent.iterdir())
    assert write_whole(out, whole) == out
    assert [path.name for path in out.parent.iterdir()] == ["run"]
    assert (out / "whole").read_text() == "whole"


def test_leftovers_of_dead_processes_are_swept_and_those_of_live_ones_stay(tmp_path):
    for name in (".run.partial-dead", ".other.partial-dead", ".run.mine"):
        (tmp_path / name).mkdir()
    with scratch(tmp_path / "run") as live:
        sweep(tmp_path / "run")
        assert {path.name for path in tmp_path.iterdir()} == {live.name, ".other.partial-dead", ".run.mine"}


def test_what_a_dead_process_had_moved_aside_comes_back(tmp_path):
    (tmp_path / ".run.partial-dead" / "replaced-run").mkdir(parents=True)
    (tmp_path / ".run.partial-dead" / "replaced-run" / "file").write_text("the run before")
    sweep(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "file").read_text() == "the run before"


def test_everything_in_a_folder_is_swept_at_once(tmp_path):
    for name in (".run.partial-dead", ".a[1].partial-dead", "run", ".mine"):
        (tmp_path / name).mkdir()
    sweep(tmp_path / "*")
    assert {path.name for path in tmp_path.iterdir()} == {"run", ".mine"}


def test_a_folder_comes_back_where_its_replacement_fails(tmp_path, monkeypatch):
    (tmp_path / "export" / "model").mkdir(parents=True)
    (tmp_path / "export" / "model" / "weights").write_text("the model before")
    monkeypatch.setattr("keras_resnet.atomic._exchange", lambda one, other: False)
    monkeypatch.setattr(os, "replace", mock.Mock(side_effect=OSError("no space")))
    with pytest.raises(OSError, match="no space"), scratch(tmp_path / "export") as folder:
        (folder / "model").mkdir()
        put_in_place(folder / "model", tmp_path / "export" / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert (tmp_path / "export" / "model" / "weights").read_text() == "the model before"


@pytest.mark.skipif(sys.platform != "linux", reason="a system call of Linux")
def test_on_linux_there_is_no_moment_without_the_folder(tmp_path, monkeypatch):
    (tmp_path / "export" / "model" / "old").mkdir(parents=True)
    monkeypatch.setattr(os, "rename", mock.Mock(side_effect=OSError("it was moved away")))
    monkeypatch.setattr(os, "replace", os.rename)
    with scratch(tmp_path / "export") as folder:
        (folder / "model" / "new").mkdir(parents=True)
        put_in_place(folder / "model", tmp_path / "export" / "model")
        assert not list(folder.iterdir())
    assert [path.name for path in (tmp_path / "export" / "model").iterdir()] == ["new"]


def test_a_name_that_was_taken_meanwhile_is_not_replaced(tmp_path):
    def fill(folder):
        (folder / "new").touch()
        for name in ("run", "run-2"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "thesis").write_text("years of work")

    assert write_whole(tmp_path / "run", fill) == tmp_path / "run-3"
    assert (tmp_path / "run" / "thesis").read_text() == "years of work"
    assert (tmp_path / "run-3" / "new").exists()


def test_what_had_been_moved_out_of_a_missing_folder_comes_back(tmp_path):
    (tmp_path / ".export.partial-dead" / "replaced-export%2Fsaved_model").mkdir(parents=True)
    with scratch(tmp_path / "export"):
        assert (tmp_path / "export" / "saved_model").is_dir()


def test_a_sweep_in_the_wrong_moment_costs_a_new_folder_only(tmp_path, monkeypatch):
    def sweep_first(folder):
        monkeypatch.undo()
        sweep(tmp_path / "run")
        return lock(folder)

    monkeypatch.setattr("keras_resnet.atomic.lock", sweep_first)
    with scratch(tmp_path / "run") as folder:
        assert folder.is_dir()
        assert len(list(tmp_path.iterdir())) == 1


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


def test_sigkill_leaves_no_run_and_the_next_one_cleans_up(tmp_path):
    script = f"""
import time
from pathlib import Path
from keras_resnet.atomic import write_whole
def fill(folder):
    (folder / "half").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
write_whole(Path({str(tmp_path / "run")!r}), fill)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    (leftover,) = tmp_path.iterdir()
    assert leftover.name.startswith(".run.partial-")
    write_whole(tmp_path / "run", lambda folder: (folder / "whole").touch())
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_file_that_several_write_at_once(tmp_path, monkeypatch):
    """The other one comes between writing and renaming."""
    path, writing = tmp_path / "page.html", []

    def flush_late(source, *, inside=True):
        if not writing:
            writing.append("second")
            replace_text(path, "second")
            writing.append("done")
        flush(source, inside=inside)

    flush = atomic.flush
    monkeypatch.setattr(atomic, "flush", flush_late)
    replace_text(path, "first")
    assert writing == ["second", "done"]
    assert path.read_text() == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]


def test_a_text_does_not_replace_a_folder(tmp_path):
    (tmp_path / "page.html").mkdir()
    (tmp_path / "page.html" / "mine").touch()
    with pytest.raises(IsADirectoryError):
        replace_text(tmp_path / "page.html", "text")
    assert [path.name for path in tmp_path.rglob("*")] == ["page.html", "mine"]


def test_json_has_no_numbers_that_are_none():
    content = {"a": [1.5, math.inf, math.nan], "b": (-math.inf, "inf"), "c": 3}
    assert json.loads(as_json(content)) == {"a": [1.5, None, None], "b": [None, "inf"], "c": 3}


def test_a_text_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "text"
    replace_text(path, "first")
    monkeypatch.setattr("os.replace", mock.Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        replace_text(path, "second")
    assert path.read_text() == "first"
    assert [entry.name for entry in path.parent.iterdir()] == ["text"]


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    from keras_resnet import atomic

    steps = []
    rename = atomic.os.replace
    monkeypatch.setattr(atomic, "flush", lambda path, inside=True: steps.append(path.name))
    monkeypatch.setattr(atomic.os, "replace", lambda source, target: steps.append("rename") or rename(source, target))
    with atomic.scratch(tmp_path / "file") as folder:
        (folder / "new").write_text("content")
        atomic.put_in_place(folder / "new", tmp_path / "file")
    assert steps == ["new", "rename", tmp_path.name]


def test_a_folder_that_nothing_was_written_into_is_removed_with_those_made_for_it(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(KeyError), occupied(tmp_path / "there" / "saved_models" / ".run.training", "training"):
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert not any((tmp_path / "there").iterdir())
    with occupied(tmp_path / "new" / "folder", "training"):
        (tmp_path / "new" / "other").touch()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["other"]
