import shutil
from pathlib import Path

import pytest
from PIL import Image

from keras_resnet import InputError, Run
from keras_resnet.runs.history import plot_history
from keras_resnet.runs.run import CONTENTS, check_free


def test_open_refuses_what_is_not_a_run(tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "spec.json").touch()
    (tmp_path / "second").mkdir()  # which is no run
    with pytest.raises(InputError, match=r"no run folder at .*/secnd'$"):
        Run.open(tmp_path / "secnd")
    with pytest.raises(InputError, match=r"no run folder at .*/frst'; did you mean .*/first'"):
        Run.open(tmp_path / "frst")
    (tmp_path / "spec.json").write_text("{}")
    with pytest.raises(InputError, match=r"is not a run: it has no labels.txt, model.keras"):
        Run.open(tmp_path)


def test_check_free(tmp_path):
    assert check_free(tmp_path / "new") == tmp_path / "new"
    assert check_free(tmp_path) == tmp_path  # an empty folder may become the run
    (tmp_path / "thesis").touch()
    with pytest.raises(InputError, match="exists"):
        check_free(tmp_path)
    with pytest.raises(InputError, match="is not a run"):
        check_free(tmp_path, overwrite=True)
    for name in CONTENTS:
        (tmp_path / name).touch()
    assert check_free(tmp_path, overwrite=True) == tmp_path
    with pytest.raises(InputError, match="is not a writable folder"):
        check_free(tmp_path / "spec.json" / "run")
    for out in (".", "..", "/", Path.cwd().parent):
        with pytest.raises(InputError, match="holds the current folder"):
            check_free(out)
    with pytest.raises(InputError, match="longer than 200 bytes"):
        check_free(tmp_path / ("x" * 245))
    (tmp_path / "link").symlink_to(tmp_path)
    assert check_free(tmp_path / "link", overwrite=True) == tmp_path
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(InputError, match="exists"):
        check_free(tmp_path / "dangling")


def test_a_damaged_file_is_named(tmp_path):
    for name in CONTENTS:
        (tmp_path / name).write_text("{")
    run = Run.open(tmp_path)
    (tmp_path / "history.csv").unlink()
    for name in ("spec", "recipe", "metrics", "data"):
        with pytest.raises(InputError, match=f"{name}.json' is damaged"):
            getattr(run, name)


def test_labels_are_as_many_as_classes(small_run, tmp_path):
    copy = Run.open(shutil.copytree(small_run.path, tmp_path / "run"))
    assert copy.class_names == list("0123456789")
    (copy.path / "labels.txt").write_text("\n".join("012345678") + "\n")
    with pytest.raises(InputError, match="9 names for 10 classes"):
        Run.open(copy.path).class_names  # noqa: B018
    (copy.path / "data.json").write_text('["digits"]')
    with pytest.raises(InputError, match=r"data\.json' is damaged: it is \['digits'\]: expected an object"):
        Run.open(copy.path).data  # noqa: B018
    (copy.path / "metrics.json").unlink()
    with pytest.raises(InputError, match=r"has no metrics.json"):
        Run.open(copy.path).metrics  # noqa: B018


@pytest.mark.parametrize(("one_loss", "panels"), [(True, 2), (False, 3)])
def test_two_losses_have_axes_of_their_own(one_loss, panels, tmp_path):
    history = [{"epoch": 1, "loss": 2.0, "val_loss": 1.0, "accuracy": 0.5, "val_accuracy": 0.6}]
    plot_history(history, tmp_path / "history.png", kept_epoch=1, one_loss=one_loss)
    assert Image.open(tmp_path / "history.png").width == panels * 540
