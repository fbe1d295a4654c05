"""Experiments of papers: the tests of claims against scipy's, the networks, and how a study is resumed."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

import keras_resnet as kr
from keras_resnet.cli import app
from keras_resnet.reproductions import REPRODUCTIONS, SCALES, Claim, reproduce
from keras_resnet.reproductions import run as module
from keras_resnet.reproductions.claims import called, decide, exceeds, falls, rises
from keras_resnet.reproductions.results import Results

DEPTHS = (20, 32, 44, 56)
ERRORS = {"plain-56": [0.30, 0.34, 0.29], "residual-56": [0.21, 0.26, 0.22]}


def claim(contrast):
    return Claim("it is so", "test_error", contrast)


def test_difference_is_welchs_test():
    found = decide(claim(exceeds("plain", "residual")), DEPTHS, ERRORS)
    theirs = stats.ttest_ind(*ERRORS.values(), equal_var=False, alternative="greater")
    assert found.p == pytest.approx(theirs.pvalue)
    assert found.verdict == "holds"
    assert found.points == pytest.approx(8.0)
    opposite = decide(claim(exceeds("residual", "plain")), DEPTHS, ERRORS)
    assert opposite.verdict == "does not hold"
    assert opposite.p == pytest.approx(1 - theirs.pvalue)


def test_trend_is_the_slope_of_least_squares():
    generator = np.random.default_rng(0)
    errors = {called("plain", depth): list(0.1 + 0.002 * depth + 0.01 * generator.normal(size=3)) for depth in DEPTHS}
    slope = np.polyfit(np.repeat(DEPTHS, 3), np.concatenate(list(errors.values())), 1)[0]
    found = decide(claim(rises("plain")), DEPTHS, errors)
    assert found.points == pytest.approx(100 * slope * (DEPTHS[-1] - DEPTHS[0]))
    assert found.verdict == "holds"
    assert decide(claim(falls("plain")), DEPTHS, errors).verdict == "does not hold"
    assert decide(claim(falls("plain")), DEPTHS, errors).points == pytest.approx(-found.points)


@pytest.mark.parametrize(
    "errors",
    [
        {"plain-56": [0.9], "residual-56": [0.1]},  # one seed
        {"plain-56": [0.9, 0.9], "residual-56": [0.1, 0.1]},  # no spread
        {"plain-56": [0.3, 0.2], "residual-56": [0.1, 0.35]},
        {"plain-56": [0.3, 0.2]},  # not trained yet
    ],
)
def test_verdict_is_not_forced(errors):
    assert decide(claim(exceeds("plain", "residual")), DEPTHS, errors).verdict == "not decided"


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_networks_are_those_of_the_claims(name):
    reproduction = REPRODUCTIONS[name]
    for scale in SCALES:
        networks = reproduction.networks(scale)
        assert len(set(networks.values())) == len(networks)  # no kind is another one
        for each in reproduction.claims:
            contrast = each.contrast(reproduction.layers[scale])
            assert set(contrast) <= set(networks)
            assert sum(contrast.values()) == pytest.approx(0)
        for network, spec in networks.items():
            assert spec.layers == int(network.rpartition("-")[2])
    assert set(reproduction.published) <= set(reproduction.networks("paper"))


def trained(seen):
    """A training that is none: its error follows from the network and the seed."""

    def train(spec, recipe, data, folder, seed):
        seen.append(folder.name)
        error = spec.layers / 100 + (spec.shortcut == "none") * 0.1 + seed / 1000
        seconds = 1.5 * kr.cost_of(spec).multiply_adds / kr.cost_of("resnet8").multiply_adds
        return {
            "parameters": 5,
            "training_error": error,
            "test_error": error,
            "training_images": 5,
            "test_images": 4,
            "seconds": seconds,
        }

    return train


def test_study_is_resumed_where_it_stopped(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "trained", trained(seen))
    told = []
    whole = reproduce("degradation", out=tmp_path / "whole", tell=told.append)
    assert told[0] == "1 of 4: plain-8, seed 0"
    assert told[1] == "2 of 4: residual-8, seed 0, about 0:00:08 left"
    assert seen == ["plain-8-seed0", "residual-8-seed0", "plain-14-seed0", "residual-14-seed0"]
    table = json.loads((tmp_path / "whole" / "results.json").read_text())
    table["rows"] = table["rows"][:2]
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "results.json").write_text(json.dumps(table))
    seen.clear()
    resumed = reproduce("degradation", out=tmp_path / "cut")
    assert seen == ["plain-14-seed0", "residual-14-seed0"]
    assert resumed.rows == whole.rows
    page = (tmp_path / "cut" / "results.md").read_text()
    assert "| plain-14 | 5 | 1 | 24.00 | 24.00 |  |" in page
    assert "not decided" in page
    assert "the training error of plain networks rises with depth" in (tmp_path / "cut" / "results.html").read_text()
    with pytest.raises(kr.InputError, match="has the results of degradation at scale smoke"):
        reproduce("options", out=tmp_path / "cut")


def test_another_recipe_or_other_images_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "trained", trained([]))
    out = tmp_path / "out"
    reproduce("options", out=out)
    table = json.loads((out / "results.json").read_text())
    cases = {
        "a recipe that differs in epochs": table | {"recipe": table["recipe"] | {"epochs": 2}},
        "trainings on other images": table | {"images": "0" * 16, "rows": table["rows"][:1]},
    }
    for message, changed in cases.items():
        (out / "results.json").write_text(json.dumps(changed))
        with pytest.raises(kr.InputError, match=message):
            reproduce("options", out=out)


def test_files_of_somebody_else_stay(tmp_path):
    (tmp_path / "results.html").write_text("the page of a search")
    with pytest.raises(kr.InputError, match=r"results\.html' exists and is not the result of an experiment"):
        reproduce("options", out=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["results.html"]


def test_kill_between_a_page_and_the_table(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "trained", trained(seen))
    replace_text = module.replace_text

    def killed(path, text):
        if path.name == "results.html" and len(seen) == 3:
            raise KeyboardInterrupt
        replace_text(path, text)

    monkeypatch.setattr(module, "replace_text", killed)
    with pytest.raises(KeyboardInterrupt):
        reproduce("options", out=tmp_path)
    monkeypatch.setattr(module, "replace_text", replace_text)
    reproduce("options", out=tmp_path)
    assert seen == ["A-8-seed0", "B-8-seed0", "C-8-seed0", "C-8-seed0"]
    assert "| C-8 |" in (tmp_path / "results.md").read_text()
    assert "3 of 3" in (tmp_path / "results.html").read_text()


def test_diverged_training_counts_as_a_guess(tmp_path, monkeypatch):
    def fit(*arguments, **options):
        raise kr.Diverged("the loss is NaN")

    monkeypatch.setattr(module, "fit", fit)
    results = reproduce("options", out=tmp_path / "out")
    assert {row["test_error"] for row in results.rows} == {0.9}
    assert all(row["diverged"] for row in results.rows)


def test_study_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "trained", trained([]))
    shown = CliRunner().invoke(app, ["study", "options", "--out", str(tmp_path / "out"), "--json"])
    assert [row["network"] for row in json.loads(shown.stdout)["networks"]] == ["A-8", "B-8", "C-8"]
    usage = CliRunner().invoke(app, ["study", "--help"], env={"COLUMNS": "300"}).stdout
    assert all(name in usage for name in (*REPRODUCTIONS, *SCALES))


@pytest.mark.slow
def test_smallest_study(tmp_path):
    results = reproduce("stochastic-depth", out=tmp_path / "out")
    assert all(0 <= row["training_error"] < 0.6 and row["test_error"] < 0.6 for row in results.rows)
    assert kr.Run.open(tmp_path / "out" / "runs" / "stochastic-8-seed0").recipe.keep == "last"


def test_the_documents_have_the_committed_results():
    """Errors and verdicts of docs/experiments.md are those of benchmarks/degradation.json, by the recipe of the scale."""
    root = Path(__file__).parents[1]
    page, found = (root / "docs" / "experiments.md").read_text(), json.loads((root / "benchmarks" / "degradation.json").read_text())
    text = Results(REPRODUCTIONS["degradation"], "small", found["rows"]).markdown("degradation", SCALES["small"], "a machine")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    for name, _, seeds, training, test, *_ in [row for row in rows if row[0] in REPRODUCTIONS["degradation"].networks("small")]:
        assert seeds == "2"
        assert f"| {name} | {training} | {test} |" in page
    for row in rows[-6:]:
        assert f"| {' | '.join(row)} |" in page
    assert (found["recipe"]["epochs"], found["rows"][0]["training_images"]) == (
        SCALES["small"].recipe.epochs,
        SCALES["small"].images,
    )
