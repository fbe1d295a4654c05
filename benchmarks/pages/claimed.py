"""The numbers in the text of each page, as the JSON gives them; see `claims`. `not_measured` has the others that look measured.

Here are the accuracies, and the table of all; `claimed_costs` has the rest.
"""

import csv
from collections.abc import Callable
from statistics import mean

from benchmarks.pages import claimed_costs as costs
from benchmarks.pages import claimed_readme
from benchmarks.pages.candidates import RUNS
from benchmarks.pages.files import ROOT, read, within
from benchmarks.pages.tables import error, spread
from keras_resnet.networks.cost import cost_of
from keras_resnet.runs.run import Run


def degradation() -> list[str]:
    """docs/experiments.md: errors and time of the experiment; its verdicts are compared by tests/test_reproductions.py."""
    rows = read("degradation")["rows"]
    errors = {
        name: [[row[f"{kind}_error"] for row in rows if row["network"] == name] for kind in ("training", "test")]
        for name in dict.fromkeys(row["network"] for row in rows)
    }
    table = [f"| {name} | {' | '.join(spread(own, 2).removesuffix(' %') for own in both)} |" for name, both in errors.items()]
    more = 100 * (mean(errors["residual-56"][1]) - mean(errors["residual-20"][1]))
    hours = sum(row["seconds"] for row in rows) / 3600
    return [*table, f"their errors are {more:.0f} points higher at 56 layers than at 20", f"{hours:.1f} hours of training in all"]


def deeper() -> list[str]:
    """docs/experiments.md: the shipped networks of 20 and 56 layers."""
    found = read("deeper")
    rows = [f"| `cifar10-{row['network']}` | {row['parameters']:,} | {error(row)} |" for row in found["networks"]]
    shallow, deep = (row["accuracy"] for row in found["networks"])
    return [
        *rows,
        f"{100 * (deep - shallow):.1f} points lower",
        f"only ResNet-56 is right on {found['only_deep_right']} images, and only ResNet-20 on {found['only_shallow_right']}",
        f"in {1e7 * found['chance']:.0f} of ten million samples",
    ]


def lesions() -> list[str]:
    """docs/experiments.md: one unit less."""
    residual, plain = (read("lesions")["rows"][name] for name in ("residual-56", "plain-56"))
    left = [row["accuracy"] for row in plain if row["accuracy"] is not None]
    first, second, third = (-100 * row["difference"] for row in residual[:3])
    most = max(abs(100 * row["difference"]) for row in residual[3:])
    whole, whole_plain = (100 * (rows[0]["accuracy"] - rows[0]["difference"]) for rows in (residual, plain))
    return [
        f"the units 4 to {len(residual)} the accuracy of {whole:.1f} % changes by at most {most:.1f} points",
        f"The first three units matter: {first:.0f}, {second:.0f} and {third:.0f} points",
        f"Plain: {whole_plain:.1f} % with all units. Without any one of {len(left)} units it is {100 * min(left):.1f} to"
        f" {100 * max(left):.1f} %",
    ]


def gradients() -> list[str]:
    """docs/experiments.md: gradients at the start."""
    ratios = {(row["kind"], row["norm"], row["layers"]): row["output_first_to_last"] for row in read("gradient_profiles")["rows"]}
    table = [
        f"| {kind}, {norm} | " + " | ".join(two_digits(ratios[kind, norm, layers]) for layers in (20, 56, 110)) + " |"
        for kind in ("plain", "residual")
        for norm in ("batch normalisation", "no normalisation")
    ]
    return [
        *table,
        f"keeps the ratio within a factor of {1 / ratios['plain', 'no normalisation', 110]:.0f} in a plain network of 110",
    ]


def two_digits(number: float) -> str:
    """A number with two significant digits."""
    return f"{float(f'{number:.2g}'):,.0f}" if number >= 10 else f"{number:.2g}"


def photographs() -> list[str]:
    """docs/how-to/transfer.md: pretrained and random weights."""
    found, rows, seconds = read("own_photos"), [], []
    for name, classes in (("airplane-ship", "airplane, ship"), ("ten-classes", "all ten")):
        own = found[name]
        both = [own["mean_of_seeds"][kind] for kind in ("pretrained", "scratch")]
        cells = " | ".join(within(row["accuracy"], *row["interval"]) for row in both)
        rows.append(f"| {classes} | {own['training_photographs_of_a_class']} | {cells} | {own['gain_points']:.1f} points |")
        times = [seed["pretrained"]["seconds"] for seed in own["seeds"]]
        seconds.append(f"{min(times)} to {max(times)} s with {'two classes' if 'ship' in name else 'ten'}")
    return [*rows, f"A command took {' and '.join(seconds)}"]


def students() -> list[str]:
    """docs/how-to/distillation.md: what a teacher is worth."""
    [found] = read("distillation").values()
    summary, rows = found["summary"], []
    for kind in ("teacher", "alone", "logits", "decoupled"):
        both = [summary[f"{kind} {precision}"] for precision in ("float32", "int8")]
        gains = " ".join(f"{gain:+.1f}" for gain in both[1]["gains_in_points"]) if kind in ("logits", "decoupled") else ""
        name = f"`{kind}`" if gains else kind
        rows.append(f"| {name} | {' | '.join(within(row['mean'], *row['interval']) for row in both)} | {gains}")
    low, high = sorted(mean(summary[f"{kind} int8"]["gains_in_points"]) for kind in ("logits", "decoupled"))
    return [*rows, f"Both gain {low:.1f} to {high:.1f} points on average"]


def budgets() -> list[str]:
    """docs/how-to/budget.md: the dial beside random trials."""
    rows = []
    for budget, found in read("dial")["digits"].items():
        cells = [
            f"{within(row['mean'], *row['interval'])}; {', '.join(map(str, row['widths']))}"
            for row in (found["dial"], found["random"])
        ]
        cost = found["dial"]["training_multiply_adds"] / found["random"]["training_multiply_adds"]
        rows.append(f"| `{budget}` | {' | '.join(cells)} | {cost:.2f} |")
    table = (ROOT / "tuning" / "cifar10_depth_width_finals.csv").read_text().splitlines()
    finals = [100 * float(row["test_accuracy"]) for row in csv.DictReader(table)]
    return [
        *rows,
        f"one, two and three units a stage differed by {max(finals) - min(finals):.1f} points at most",
        f"one image is {100 / read('digits')['images']['test']:.1f} points",
    ]


def weights() -> list[str]:
    """docs/how-to/pretrained-weights.md: the two networks that are pretrained on Tiny ImageNet."""
    trainable = [cost_of(Run.open(ROOT / folder).spec).trainable for folder in RUNS.values()]
    return [f"a ResNet-18-D of {count / 1e6:.1f} million parameters" for count in trainable]


def few_photographs() -> list[str]:
    """docs/faq.md: the ten classes of `photographs`."""
    found = read("own_photos")["ten-classes"]
    both = [
        within(row["accuracy"], *row["interval"]) for row in (found["mean_of_seeds"][kind] for kind in ("pretrained", "scratch"))
    ]
    return [
        f"With {found['training_photographs_of_a_class']} photographs of each of ten classes, the pretrained `tiny-imagenet` was"
        f" {found['gain_points']:.1f} points more accurate than random weights: {' against '.join(both)}, CIFAR-10 (JPEG copy),"
        f" {found['larger_test_images']:,} test images"
    ]


def digits_run() -> list[str]:
    """docs/index.md: the run whose files the page shows, and ten seeds."""
    test = read("saved_models/digits-resnet8/metrics.json")["test"]
    low, high = test["accuracy_interval"]
    return [
        f"The 95 % interval of {test['accuracy']:.4f} is {low:.3f} to {high:.3f}",
        f"One seed; ten seeds give {spread(read('digits')['last']['accuracies'])}",
    ]


def all_epochs() -> list[str]:
    """docs/tutorials/first-network.md: what the whole recipe gives."""
    data = read("digits")
    accuracies = data["last"]["accuracies"]
    return [f"reaches {spread(accuracies)} on the {data['images']['test']} test digits ({len(accuracies)} seeds"]


CLAIMS: dict[str, tuple[Callable[[], list[str]], ...]] = {
    "README.md": (claimed_readme.numbers,),
    "docs/experiments.md": (degradation, deeper, lesions, gradients),
    "docs/faq.md": (few_photographs, costs.int8_beside_float),
    "docs/how-to/budget.md": (budgets,),
    "docs/how-to/deep-networks.md": (costs.depths,),
    "docs/how-to/distillation.md": (students,),
    "docs/how-to/export.md": (costs.exported, costs.export_latencies),
    "docs/how-to/many-machines.md": (costs.engines,),
    "docs/how-to/own-images.md": (costs.peak_memory,),
    "docs/how-to/phone.md": (costs.strided,),
    "docs/how-to/pretrained-weights.md": (weights,),
    "docs/how-to/quantize.md": (costs.hard_network, costs.aware),
    "docs/how-to/resume.md": (costs.kills,),
    "docs/how-to/search.md": (costs.estimates,),
    "docs/how-to/transfer.md": (photographs,),
    "docs/index.md": (digits_run,),
    "docs/promises.md": (costs.kills,),
    "docs/recipes.md": (costs.train_steps,),
    "docs/tutorials/first-network.md": (all_epochs,),
}
"""For each page the functions that give its pieces."""
