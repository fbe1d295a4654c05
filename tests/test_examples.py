"""Scripts and notebooks of examples/ run, the launch files with stand-ins for the cluster."""

import json
import os
import runpy
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
ARGUMENTS = ["resnet50", "--out", "runs/a folder"]


@pytest.fixture
def programs(tmp_path):
    """A folder of stand-ins: `keras-resnet` writes down what it is given, and ends with the next of `codes`, if there are some."""
    folder = tmp_path / "bin"
    folder.mkdir()
    contents = {
        "keras-resnet": f"""
            told="{tmp_path}/told-${{SLURM_PROCID:-$JOB_COMPLETION_INDEX}}"
            printf "%s\\n" "$TF_CONFIG" "$@" > "$told"
            if [ -s "{tmp_path}/codes" ]; then CODE=$(sed 1q "{tmp_path}/codes"); sed -i 1d "{tmp_path}/codes"; fi
            exit "${{CODE:-0}}"
        """,
        "scontrol": f'if [ "$1" = requeue ]; then echo "$2" >> "{tmp_path}/requeued"; else printf "node-a\\nnode-b\\n"; fi',
        "srun": 'shift; for index in 0 1; do SLURM_PROCID=$index "$@" || exit $?; done',
    }
    for name, content in contents.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{content}\n")
        (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def told(tmp_path, index):
    config, *arguments = (tmp_path / f"told-{index}").read_text().splitlines()
    return json.loads(config), arguments


def test_slurm(programs, tmp_path):
    environment = {**programs, "SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "node-[a-b]"}
    script = str(EXAMPLES / "slurm" / "train.sbatch")
    subprocess.run(["bash", script, *ARGUMENTS], env=environment, check=True)
    for index in range(2):
        config, arguments = told(tmp_path, index)
        assert config == {
            "cluster": {"worker": ["node-a:23456", "node-b:23456"]},
            "task": {"type": "worker", "index": index},
        }
        assert arguments == ["train", *ARGUMENTS, "--strategy", "multi_worker", "--resume"]
    assert not (tmp_path / "requeued").exists()
    for code, restarts, again in ((1, "0", True), (2, "0", False), (1, "20", False)):
        failing = {**environment, "CODE": str(code), "SLURM_RESTART_COUNT": restarts}
        run = subprocess.run(["bash", script, *ARGUMENTS], env=failing, check=False)
        assert run.returncode == code
        assert (tmp_path / "requeued").exists() == again
        (tmp_path / "requeued").unlink(missing_ok=True)


def test_kubernetes(programs, tmp_path):
    yaml = pytest.importorskip("yaml")
    service, job = yaml.safe_load_all((EXAMPLES / "kubernetes" / "train.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    assert int(variables["WORKERS"]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    for index in range(4):
        subprocess.run(container["command"], env={**programs, **variables, "JOB_COMPLETION_INDEX": str(index)}, check=True)
        config, arguments = told(tmp_path, index)
        # The name of a pod of an indexed job, and the service that makes it known.
        hosts = [f"{job['metadata']['name']}-{worker}.{pod['subdomain']}:2222" for worker in range(4)]
        assert config == {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        assert arguments[:2] == ["train", "resnet50"]
        assert arguments[-3:] == ["--strategy", "multi_worker", "--resume"]


def test_a_search_under_slurm(programs, tmp_path):
    environment = {**programs, "SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "node-[a-b]"}
    script = str(EXAMPLES / "slurm" / "search.sbatch")
    subprocess.run(["bash", script, "study.py", "--out", "a folder"], env=environment, check=True)
    whole = ["search", "study.py", "--out", "a folder"]
    assert (tmp_path / "told-0").read_text().splitlines()[1:] == [*whole, "--chief", "node-a:23456"]
    assert (tmp_path / "told-1").read_text().splitlines()[1:] == [*whole, "--worker", "node-a:23456", "--name", "worker-1"]
    for codes, left, again in ((["0", "137", "137", "0"], [], False), (["0", "1", "0"], ["0"], True), (["2", "0"], ["0"], False)):
        (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
        run = subprocess.run(["bash", script, "study.py"], env={**environment, "PAUSE": "0"}, check=False)
        assert str(run.returncode) == codes[-1 - len(left)]
        assert (tmp_path / "codes").read_text().split() == left  # a worker that was killed is started again, no other one
        assert (tmp_path / "requeued").exists() == again
        (tmp_path / "requeued").unlink(missing_ok=True)


def test_a_search_under_kubernetes(programs, tmp_path):
    yaml = pytest.importorskip("yaml")
    service, job = yaml.safe_load_all((EXAMPLES / "kubernetes" / "search.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert variables["CHIEF"] == f"{job['metadata']['name']}-0.{service['metadata']['name']}:2222"
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    for index in range(2):
        subprocess.run(container["command"], env={**programs, **variables, "JOB_COMPLETION_INDEX": str(index)}, check=True)
    whole = ["search", "/studies/depth_width.py", "--out", "/runs/depth-width"]
    assert (tmp_path / "told-0").read_text().splitlines()[1:] == [*whole, "--chief", "0.0.0.0:2222"]
    assert (tmp_path / "told-1").read_text().splitlines()[1:] == [*whole, "--worker", variables["CHIEF"], "--name", "worker-1"]


SLOW = {"01_first_network", "02_own_photos", "04_transfer", "05_phone", "06_search", "07_look_inside"}
SCRIPTS = sorted(EXAMPLES.glob("0*.py"))


@pytest.mark.parametrize(
    "script", [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in SLOW), id=path.stem) for path in SCRIPTS]
)
def test_a_script_reaches_what_it_promises(script, tmp_path, monkeypatch, capsys):
    """Each ends with assertions of its own."""
    assert len(script.read_text().splitlines()) < 60
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out
    assert not list(tmp_path.iterdir())


SMALLER = {
    "own_photos": {
        "COUNT = 60": "COUNT = 12",
        "kr.fit(None, None, PHOTOS,": "kr.fit(None, kr.recipes.resolve('digits', epochs=1), PHOTOS, init='tiny-imagenet',",
    },
    "search_and_ship": {"TRIALS, EPOCHS = 4, 4": "TRIALS, EPOCHS = 2, 1"},
}


@pytest.mark.parametrize("smaller", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("notebook", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(notebook, smaller, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cells = ["".join(cell["source"]) for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    for text, other in SMALLER[notebook.stem].items() if smaller else ():
        assert any(text in cell for cell in cells), text
        cells = [cell.replace(text, other) for cell in cells]
    names = {"__name__": "__main__"}
    for cell in cells:
        exec(compile(cell, notebook.name, "exec"), names)
    assert "bytes" in capsys.readouterr().out
