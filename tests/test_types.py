"""What a type checker and an editor see of the package: the index is lazy, and its names have their types all the same."""

import pytest

import keras_resnet as kr

CONFIGURATION = """
[mypy]
strict = true
ignore_missing_imports = true
[mypy-numpy.*,keras.*,tensorflow.*,PIL.*,rich.*,typer.*,matplotlib.*,scipy.*,sklearn.*,yaml.*,jinja2.*,markupsafe.*,grpc.*]
follow_imports = skip
"""
SCRIPT = """
from pathlib import Path
import pytest

import keras_resnet as kr

data = kr.data.load("digits")
run: kr.Run = kr.fit(kr.ResNetSpec(depths=(1, 1)), kr.Recipe(epochs=2), data, Path("out"), seed=1)
wrong: int = kr.fit("resnet8", "digits", data, "out", sede=1)
kr.bild("resnet8")
kr.Recipe(epochs="many")
"""


@pytest.mark.slow
def test_a_user_sees_the_type_of_every_public_name(tmp_path):
    from mypy import api

    (tmp_path / "mypy.ini").write_text(CONFIGURATION)
    script = SCRIPT + "".join(f"reveal_type(kr.{name})\n" for name in kr.__all__)
    (tmp_path / "user.py").write_text(script)
    options = ["--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path / "cache"), "--hide-error-context"]
    out, err, _ = api.run([*options, str(tmp_path / "user.py")])
    lines = [line.partition("user.py:")[2] for line in out.splitlines()]
    errors = [line for line in lines if " error: " in line]
    assert [line.partition(":")[0] for line in errors] == ["7", "7", "8", "9"], out + err
    for expected in ('Unexpected keyword argument "sede" for "fit"', 'Module has no attribute "bild"', 'expected "int"'):
        assert expected in out, out
    revealed = [line.partition('Revealed type is "')[2] for line in lines if "Revealed type" in line]
    assert len(revealed) == len(kr.__all__), out
    assert "Any" not in revealed, dict(zip(kr.__all__, revealed, strict=True))
