import pytest

from keras_resnet import InputError, Run
from keras_resnet.runs import CONTENTS, check_free


def test_open_refuses_what_is_not_a_run(tmp_path):
    with pytest.raises(InputError, match="no run folder at"):
        Run.open(tmp_path / "nothing")
    (tmp_path / "spec.json").write_text("{}")
    with pytest.raises(InputError, match=r"not a complete run: it has no recipe.json, .*model.keras"):
        Run.open(tmp_path)


def test_check_free(tmp_path):
    assert check_free(tmp_path / "new") == tmp_path / "new"
    with pytest.raises(InputError, match="exists"):
        check_free(tmp_path)
    with pytest.raises(InputError, match="not a complete run"):
        check_free(tmp_path, overwrite=True)
    for name in CONTENTS:
        (tmp_path / name).touch()
    assert check_free(tmp_path, overwrite=True) == tmp_path
    with pytest.raises(InputError, match="is not a folder that one may write in"):
        check_free(tmp_path / "spec.json" / "run")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(InputError, match="exists"):
        check_free(tmp_path / "dangling")


def test_a_damaged_file_is_named(tmp_path):
    for name in CONTENTS:
        (tmp_path / name).write_text("{")
    run = Run.open(tmp_path)
    for name in ("spec", "recipe", "metrics", "data"):
        with pytest.raises(InputError, match=f"{name}.json' is damaged"):
            getattr(run, name)
