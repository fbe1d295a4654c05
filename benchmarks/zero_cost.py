"""Do scores of untrained networks tell which of them to train? Zero-cost proxies against the finished trials of `tuning/`.

    python benchmarks/zero_cost_trials.py        # once; its table is in this folder
    python benchmarks/zero_cost.py DATA_DIR [OUT.json]

The scores are those of arXiv:2101.08134 and the Zen-score of arXiv:2102.01063, the means of two initialisations with a batch of
32 images each. Multiply-adds, parameters and layers are scores that need no network at all. Higher is better in all of them.

- Rank correlations with the accuracy after training, over networks, with percentile intervals of a bootstrap over networks. `given`
  is the partial rank correlation given the multiply-adds, and `band` the correlation among networks with at least 70 % of the
  multiply-adds of the budget.
- What the best of k random draws by a score gains in accuracy, compared with one random draw and with the one of the k draws that
  has the most multiply-adds: the expected value over all subsets of k networks.

Networks that OUT.json has scores of are not scored again.
"""

import csv
import json
import sys
from ast import literal_eval
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from math import comb
from pathlib import Path
from statistics import mean, median, stdev
from time import perf_counter
from typing import Any

from keras_resnet import startup

startup.prepare()

import keras
import numpy as np
import tensorflow as tf
from scipy.stats import rankdata

import keras_resnet as kr
from keras_resnet.runs.environment import environment

ROOT = Path(__file__).parents[1]
CIFAR10, DIGITS = {"input_shape": (32, 32, 3), "classes": 10}, {"input_shape": (8, 8, 1), "classes": 10}
DRAWN = ROOT / "benchmarks" / "zero_cost_trials.csv"
BAND = 0.7  # of the most multiply-adds
TABLES = {
    "cifar10_mlperf_tiny": (ROOT / "tuning" / "cifar10_mlperf_tiny.csv", "", CIFAR10, 12_501_632, 0),
    "cifar10_depth_width": (ROOT / "tuning" / "cifar10_depth_width.csv", "", CIFAR10, 11_200_000, 0),
    "digits_depth_width": (ROOT / "tuning" / "digits_depth_width.csv", "", DIGITS, None, 0),
    "digits_random": (DRAWN, "random", DIGITS, 2_000_000, 0),
    "digits_band": (DRAWN, "", DIGITS, 2_000_000, BAND),  # these are random networks too, of those within the band
}  # file, how the names of its trials begin, fields of its networks, the most multiply-adds, and the least as a share of that
BASELINES = ("multiply_adds", "parameters")
SCORES = ("zen", "synflow", "grad_norm", "snip", "jacob_cov", *BASELINES, "layers")
BATCH, SEEDS, RESAMPLES, DRAWS = 32, (0, 1), 2_000, (2, 4, 8)
CONVOLUTIONS = {"basic": 2, "bottleneck": 3}  # in a branch
SMALLEST = 8  # number of networks that a correlation is given an interval for


def kernels(model: keras.Model) -> list[Any]:
    """The kernels of convolutions and of the classifier."""
    return [weight for weight in model.trainable_variables if weight.path.endswith("kernel")]


def zen(spec: kr.ResNetSpec, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Algorithm 1 of arXiv:2102.01063: without shortcuts, kernels N(0, 1), inputs N(0, 1) and a perturbation of 0.01 of them. The
    logarithm of the change of the last maps, plus that of the standard deviations that the normalisations divide by."""
    plain = replace(spec, shortcut="none", squeeze=None, stochastic_depth=0.0, normalize=None)
    model = kr.build(plain, include_top=False)
    for kernel in kernels(model):
        kernel.assign(np.random.standard_normal(kernel.shape))
    norms = [layer.input for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    probe = keras.Model(model.input, [model.output, *norms])
    noise, change = np.random.standard_normal((2, *images.shape)).astype("float32")
    (maps, *inputs), (changed, *_) = (probe(batch, training=True) for batch in (noise, noise + 0.01 * change))
    distances = np.sqrt(np.sum(np.square(changed - maps), axis=(1, 2, 3)))
    return {"zen": np.log(distances.mean()) + sum(0.5 * np.log(np.var(each, axis=(0, 1, 2)).mean()) for each in inputs)}


def synflow(spec: kr.ResNetSpec, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """arXiv:2101.08134 section 3.2, after arXiv:2006.05467: without normalisation, absolute values of the weights, an input of
    ones, R the sum of the outputs; the logarithm of the sum of weight times gradient of R. In float64, since R is large."""
    keras.config.set_dtype_policy("float64")
    try:
        model = kr.build(replace(spec, norm=None, stochastic_depth=0.0, normalize=None))
    finally:
        keras.config.set_dtype_policy("float32")
    weights = kernels(model)
    for weight in weights:
        weight.assign(np.abs(weight))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model(np.ones((1, *images.shape[1:])), training=True))
    gradients = tape.gradient(total, [weight.value for weight in weights])
    return {"synflow": np.log(sum(np.sum(weight * gradient) for weight, gradient in zip(weights, gradients, strict=True)))}


def gradient_scores(spec: kr.ResNetSpec, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Of one batch in training mode: grad_norm, the sum over kernels of the Euclidean norm of the gradient of the cross-entropy
    (arXiv:2101.08134 section 3.1); snip, the sum of the absolute values of weight times gradient (arXiv:1810.02340); jacob_cov, how
    little the images' gradients of the summed outputs correlate, from the eigenvalues of the correlations (arXiv:2006.04647v1)."""
    model, pixels = kr.build(replace(spec, stochastic_depth=0.0)), tf.constant(images)
    weights = kernels(model)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(pixels)
        logits = model(pixels, training=True)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
        total = tf.reduce_sum(logits)
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    jacobian = np.asarray(tape.gradient(total, pixels), "float64").reshape(len(images), -1)
    values = np.linalg.eigvalsh(np.corrcoef(jacobian)) + 1e-5
    return {
        "grad_norm": sum(np.linalg.norm(gradient) for gradient in gradients),
        "snip": sum(np.abs(weight * gradient).sum() for weight, gradient in zip(weights, gradients, strict=True)),
        "jacob_cov": -np.sum(np.log(values) + 1 / values),
    }


def score(spec: kr.ResNetSpec, split: Any) -> dict[str, Any]:
    """Every score of one network, the mean over `SEEDS`, and the seconds for one seed."""
    row: dict[str, Any] = {"seconds": {}}
    for function in (zen, synflow, gradient_scores):
        found, start = [], perf_counter()
        for seed in SEEDS:
            keras.utils.set_random_seed(seed)
            chosen = np.random.permutation(len(split))[:BATCH]
            found.append(function(spec, split.take(chosen).astype("float32"), split.labels[chosen]))
            keras.backend.clear_session()
        row |= {name: float(f"{mean(float(each[name]) for each in found):.6g}") for name in found[0]}
        row["seconds"][function.__name__] = round((perf_counter() - start) / len(SEEDS), 2)
    return row


def value_of(text: str) -> Any:
    try:
        return literal_eval(text) if text else None
    except (ValueError, SyntaxError):
        return text


def trials_of(table: str) -> list[dict[str, Any]]:
    """Networks of a table with their accuracy in percent: on validation images, and in the table of this folder the mean over
    validation and test images and seeds."""
    path, prefix, shape, most, share = TABLES[table]
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in csv.DictReader(path.read_text().splitlines()):
        if row["trial"].startswith(prefix) and int(row["multiply_adds"]) >= share * (most or 0):
            found[row["trial"]].append(row)
    trials = []
    for name, rows in found.items():
        fields = {key.removeprefix("spec."): value_of(text) for key, text in rows[0].items() if key.startswith("spec.")}
        seeds = [100 * mean(float(row[key]) for key in ("val_accuracy", "test_accuracy") if key in row) for row in rows]
        spec, costs = kr.ResNetSpec(**fields, **shape), {cost: int(rows[0][cost]) for cost in BASELINES}
        layers = 2 + sum(spec.depths) * CONVOLUTIONS[spec.block]
        trials.append({"trial": name, "spec": spec, "accuracies": seeds, **costs, "layers": layers})
    return trials


def scored(table: str, splits: dict[str, Any], known: dict[tuple[Path, str], dict[str, Any]]) -> list[dict[str, Any]]:
    """The trials of a table with their scores. Those of `known`, by file and name, are taken over, and new ones are added to it."""
    rows = []
    for trial in trials_of(table):
        spec, key = trial.pop("spec"), (TABLES[table][0], trial["trial"])
        if key not in known:
            known[key] = score(spec, splits[table.partition("_")[0]])
        rows.append({**known[key], **trial})
        print(table, rows[-1], file=sys.stderr, flush=True)
    return rows


def spearman(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.corrcoef(rankdata(left), rankdata(right))[0, 1])


def kendall(left: np.ndarray, right: np.ndarray) -> float:
    """Tau-b. That of SciPy gives the same, but takes too long for a bootstrap."""
    first, second = (np.sign(column[:, None] - column) for column in (left, right))
    return float(np.sum(first * second) / np.sqrt(np.sum(first**2) * np.sum(second**2)))


def given(scores: np.ndarray, accuracies: np.ndarray, costs: np.ndarray) -> float:
    """Partial rank correlation of scores and accuracies given the costs."""
    direct, first, second = spearman(scores, accuracies), spearman(scores, costs), spearman(accuracies, costs)
    return (direct - first * second) / np.sqrt((1 - first**2) * (1 - second**2))


def expected_best(scores: np.ndarray, accuracies: np.ndarray, draws: int) -> float:
    """The expected accuracy of the one with the highest score among `draws` networks, over all subsets of them. Of equal scores
    any one is taken."""
    order, count = np.argsort(scores), len(scores)
    chances = np.array([comb(below, draws - 1) for below in range(count)]) / comb(count, draws)
    _, groups = np.unique(scores[order], return_inverse=True)
    shared = np.bincount(groups, chances) / np.bincount(groups)
    return float(np.sum(shared[groups] * accuracies[order]))


def with_interval(function: Callable[..., float], *columns: np.ndarray) -> list[float | None]:
    """The value, and the percentile interval of 95 % of a bootstrap over networks; that of few networks would say nothing."""
    generator, count, values = np.random.default_rng(0), len(columns[0]), []
    with np.errstate(invalid="ignore", divide="ignore"):
        for _ in range(RESAMPLES if count >= SMALLEST else 0):
            chosen = generator.integers(count, size=count)
            values.append(function(*(column[chosen] for column in columns)))
        ends = np.nanpercentile(values, [2.5, 97.5]) if values else [np.nan, np.nan]
        return [round(float(value), 3) if np.isfinite(value) else None for value in (function(*columns), *ends)]


def correlations(rows: list[dict[str, Any]], budget: int | None) -> dict[str, Any]:
    """Rank correlations of every score with the accuracy."""
    accuracies, costs = columns_of(rows, "accuracy", "multiply_adds")
    inside, found = costs >= BAND * (budget or np.inf), {}
    for name in SCORES:
        [values] = columns_of(rows, name)
        found[name] = {
            "spearman": with_interval(spearman, values, accuracies),
            "kendall": with_interval(kendall, values, accuracies),
        }
        if name != "multiply_adds":
            found[name]["given"] = with_interval(given, values, accuracies, costs)
        if inside.sum() >= 3:
            found[name]["band"] = with_interval(spearman, values[inside], accuracies[inside])
    return {"in_band": int(inside.sum()), **found}


def decisions(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Points of accuracy that the best of some random draws by a score gains, over a random draw and over the largest."""
    accuracies, costs = columns_of(rows, "accuracy", "multiply_adds")
    found: dict[str, Any] = {}
    for draws in DRAWS:
        found[str(draws)] = {}
        for name in (*SCORES, "accuracy"):

            def over_random(scores: np.ndarray, accuracies: np.ndarray, costs: np.ndarray, draws: int = draws) -> float:
                return expected_best(scores, accuracies, draws) - float(accuracies.mean())

            def over_largest(scores: np.ndarray, accuracies: np.ndarray, costs: np.ndarray, draws: int = draws) -> float:
                return expected_best(scores, accuracies, draws) - expected_best(costs, accuracies, draws)

            [values] = columns_of(rows, name)
            gains = {"over_random": over_random, "over_largest": over_largest}
            found[str(draws)][name] = {gain: with_interval(function, values, accuracies, costs) for gain, function in gains.items()}
    return found


def columns_of(rows: list[dict[str, Any]], *names: str) -> list[np.ndarray]:
    return [np.array([mean(row["accuracies"]) if name == "accuracy" else row[name] for row in rows], float) for name in names]


def summary(table: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything about the trials of a table."""
    [accuracies], budget = columns_of(rows, "accuracy"), TABLES[table][3]
    result = {"networks": len(rows), "accuracy": {"mean": mean(accuracies), "standard_deviation": stdev(accuracies)}}
    result["correlations"] = correlations(rows, budget)
    if len(rows) > max(DRAWS):
        result["decisions"] = decisions(rows)
    return {**result, "trials": rows}


def main(data_dir: str, out: str | None = None) -> None:
    """Score, then compare."""
    place = Path(out) if out else Path(__file__).with_suffix(".json")
    old = json.loads(place.read_text())["tables"] if place.exists() else {}
    known = {(TABLES[table][0], row["trial"]): row for table, found in old.items() for row in found["trials"]}
    sets = {"digits": kr.data.load("digits"), "cifar10": kr.data.load("cifar10", data_dir=data_dir)}
    splits = {name: data.splits["train"] for name, data in sets.items()}
    trials = {table: scored(table, splits, known) for table in TABLES}
    each = [row["seconds"] for rows in trials.values() for row in rows]
    content = {
        "batch": BATCH,
        "seeds": len(SEEDS),
        "resamples": RESAMPLES,
        "seconds": {name: median(row[name] for row in each) for name in each[0]},
        "tables": {table: summary(table, rows) for table, rows in trials.items() if len(rows) > 2},
        "environment": environment(),
    }
    place.write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
