"""Scores of untrained networks: what tuning/README.md says of benchmarks/zero_cost.json, and that file against its own trials. And
what it says of benchmarks/recipe_changes.json."""

import csv
import itertools
import json
from pathlib import Path
from statistics import mean

import pytest
from scipy.stats import kendalltau, spearmanr

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "tuning" / "README.md").read_text()
FOUND = json.loads((ROOT / "benchmarks" / "zero_cost.json").read_text())["tables"]
COLUMNS = ("cifar10_mlperf_tiny", "digits_random", "digits_band")
BASELINES = {"multiply_adds": "most multiply-adds", "parameters": "most parameters", "layers": "most layers"}
GIVEN = {("cifar10_mlperf_tiny", "zen"), ("cifar10_mlperf_tiny", "synflow")}  # correlate given the multiply-adds
SCORES = ("zen", "synflow", "grad_norm", "snip", "jacob_cov", *BASELINES)


def with_interval(numbers):
    value, least, most = (f"{number:.2f}" for number in numbers)
    return f"{value} ({least} to {most})"


def cells(score):
    """A row of the table in the document: a correlation, and two gains of the best of four draws, for each set of trials."""
    for column in COLUMNS[:2]:
        gains = FOUND[column]["decisions"]["4"][score]
        yield with_interval(FOUND[column]["correlations"][score]["spearman"])
        yield with_interval(gains["over_random"])
        yield "-" if score == "multiply_adds" else with_interval(gains["over_largest"])


def test_the_document_has_the_committed_results():
    for score in SCORES:
        assert f"| {BASELINES.get(score, score)} | {' | '.join(cells(score))} |" in PAGE
    assert all(f"{FOUND[column]['networks']} " in PAGE for column in COLUMNS)


def test_no_score_helps_on_both_sets_of_images():
    """As the document says: the gain over the largest draw is above chance nowhere."""
    for column, draws, score in itertools.product(COLUMNS, ("2", "4", "8"), SCORES):
        assert FOUND[column]["decisions"][draws][score]["over_largest"][1] <= 0
        given = FOUND[column]["correlations"][score].get("given")
        assert not given or given[1] <= 0 <= given[2] or (column, score) in GIVEN
    helpful = {(column, score) for column in COLUMNS for score in SCORES if gain(column, score)[1] > 0}
    assert helpful == {("cifar10_mlperf_tiny", score) for score in ("zen", "synflow", "layers")}


def gain(column, score):
    return FOUND[column]["decisions"]["4"][score]["over_random"]


def test_other_numbers_of_the_document():
    assert f"+{gain('digits_depth_width', 'multiply_adds')[0]:.1f} points" in PAGE
    assert f"({gain('digits_depth_width', 'multiply_adds')[1]:.1f} to {gain('digits_depth_width', 'multiply_adds')[2]:.1f})" in PAGE
    best = [f"{gain(column, 'accuracy')[0]:.1f}" for column in COLUMNS]
    assert f"+{best[0]}, +{best[1]} and +{best[2]} points" in PAGE
    rows = list(csv.DictReader((ROOT / "benchmarks" / "zero_cost_trials.csv").read_text().splitlines()))
    agreement = spearmanr(*([float(row[f"{split}_accuracy"]) for row in rows] for split in ("val", "test"))).statistic
    assert f"of the {len(rows)} networks correlate by {agreement:.2f}" in PAGE


@pytest.mark.parametrize("name", COLUMNS)
def test_the_committed_results_are_those_of_the_trials(name):
    """Correlations by scipy, and gains by going through all pairs of draws."""
    table = FOUND[name]
    accuracies = [mean(trial["accuracies"]) for trial in table["trials"]]
    for score in SCORES:
        values = [trial[score] for trial in table["trials"]]
        for statistic, function in (("spearman", spearmanr), ("kendall", kendalltau)):
            expected = function(values, accuracies).statistic
            assert table["correlations"][score][statistic][0] == pytest.approx(expected, abs=6e-4)
        best = mean(best_of(pair) for pair in itertools.combinations(zip(values, accuracies, strict=True), 2))
        assert table["decisions"]["2"][score]["over_random"][0] == pytest.approx(best - mean(accuracies), abs=6e-4)


def best_of(pair):
    """The accuracy of the one with the higher score; of equal ones either is taken."""
    highest = max(score for score, _ in pair)
    return mean(accuracy for score, accuracy in pair if score == highest)


def test_the_document_has_the_changes_of_the_recipe():
    rows = json.loads((ROOT / "benchmarks" / "recipe_changes.json").read_text())["rows"]
    assert len(rows) == 4
    for row in rows:
        mean_, low, high = (f"{100 * number:.1f}" for number in (row["mean"], *row["interval"]))
        gains = " ".join(f"{gain:+.1f}" for gain in row["gains_in_points"])
        assert f"| {row['change']} | {mean_} % ({low} to {high}) | {gains} |" in PAGE
