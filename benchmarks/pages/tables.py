"""The tables of `docs/numbers.md` about accuracy: for each JSON file a function from its content to tables with captions."""

from collections.abc import Callable
from statistics import mean, stdev
from typing import Any

from benchmarks.pages.files import percent, within
from keras_resnet.confidence import interval

Tables = dict[str, list[dict[str, object]]]  # caption: rows
Function = Callable[[Any], Tables]


def spread(values: list[float], digits: int = 1) -> str:
    """Mean and standard deviation of shares, as percent."""
    return f"{100 * mean(values):.{digits}f} ± {100 * stdev(values):.{digits}f} %"


def digits(data: Any) -> Tables:
    rows = [
        {
            "weights of": f"{name} epoch",
            "test accuracy": f"{100 * row['mean']:.1f} ± {100 * row['standard_deviation']:.1f} %",
            "worst seed": percent(row["worst"]),
            "seeds": len(row["accuracies"]),
            "test images": data["images"]["test"],
        }
        for name, row in (("the last", data["last"]), ("the best", data["best"]))
    ]
    return {"Mean and standard deviation over the seeds.": rows}


def cifar10(data: Any) -> Tables:
    rows = [
        {
            "seed": row["seed"],
            "test accuracy": within(row["test"]["accuracy"], *interval(row["test"]["accuracy"], 10_000)),
            "validation accuracy": percent(row["validation"]["accuracy"]),
            "seconds": f"{row['train_seconds']:,.0f}",
            "images per second": f"{row['images_per_second']:,}",
        }
        for row in data["rows"]
    ]
    caption = (
        f"Test accuracy {data['test_accuracy_mean']:.1f} ± {data['test_accuracy_deviation']:.1f} % over the seeds, 10,000 images."
    )
    return {f"{caption} In brackets: 95 % interval.": rows}


def exports(data: Any) -> Tables:
    rows = [
        {
            "file": name,
            "kB": f"{row['bytes'] / 1e3:,.0f}",
            "accuracy": within(row["accuracy"], *interval(row["accuracy"], data["images"]))
            if row.get("accuracy") is not None
            else "-",
            "top-1 agreement": percent(row["top1_agreement"], 2) if row.get("top1_agreement") is not None else "-",
            "largest difference": f"{row['max_difference']:.2g}" if row.get("max_difference") is not None else "-",
            "ms, 1 thread": latency(row, "1"),
            "ms, 2 threads": latency(row, "2"),
            **({"ms by CompiledModel, 1 thread": latency(row.get("compiled_model") or {}, "1")} if with_compiled(data) else {}),
        }
        for name, row in data["files"].items()
    ]
    hard = data["hard"]
    layers = {f"int8, {number} layers in float": found for number, found in hard["with_layers_in_float"].items() if number != "0"}
    shown = {"Keras": hard["keras_accuracy"], "int8": hard["int8"], **layers, "int8, equalised": hard["equalized"]}
    ratios = data["int8_to_float32"]
    times = (
        f"int8 over float32, measured in turns: {ratios['time_ratio']:.2f} of the latency, {ratios['size_ratio']:.2f} of the size."
    )
    return {
        f"`resnet20`, {data['images']:,} test images, Keras {percent(data['keras_accuracy'], 2)}. {times}": rows,
        "A network that is hard to quantise:": [{"file": name, "accuracy": percent(value, 2)} for name, value in shown.items()],
    }


def with_compiled(data: Any) -> bool:
    """Whether any file was run by LiteRT's CompiledModel too."""
    return any("compiled_model" in row for row in data["files"].values())


def latency(row: Any, threads: str) -> str:
    """The median, if it was measured."""
    found = (row.get("latency_ms") or {}).get(threads)
    return f"{found['median']:.3f}" if found else "-"


def quantization_aware(data: Any) -> Tables:
    rows = [
        {
            "training": row["run"],
            "float": percent(row["float"], 2),
            "int8": percent(row["int8"], 2),
            "difference, points": f"{100 * (row['float'] - row['int8']):.2f}",
            "top-1 agreement": percent(row["top1_agreement"], 2),
            "bytes": f"{row['bytes']:,}",
        }
        for row in data["rows"]
    ]
    return {f"{data['images']:,} test images, {data['epochs']} more epochs, one seed.": rows}


def mlperf_tiny(data: Any) -> Tables:
    names = {"winner": "winner of the search", "resnet8": "MLPerf Tiny's ResNet-8, trained by the same recipe"}
    rows = [
        {
            "network": names[name],
            "int8": f"{100 * row['int8']:.1f} ± {100 * row['int8_deviation']:.1f} %",
            "float": percent(row["float"]),
            "bytes": f"{row['bytes']:,}",
            "multiply-adds": f"{row['multiply_adds']:,}",
            "parameters": f"{row['parameters']:,}",
        }
        for name, row in data["networks"].items()
    ]
    seeds = len({row["seed"] for row in data["rows"]})
    return {
        f"{data['images']:,} test images, {seeds} seeds, {data['recipe']['epochs']} epochs. Latency of the winner:"
        f" {data['latency_ratio']:.2f} of ResNet-8's.": rows
    }


def own_photos(data: Any) -> Tables:
    rows = [
        {
            "photographs": f"{found['training_photographs_of_a_class']} each of {name}",
            **{
                kind: within(row["accuracy"], *row["interval"])
                for kind, row in (
                    ("pretrained", found["mean_of_seeds"]["pretrained"]),
                    ("random weights", found["mean_of_seeds"]["scratch"]),
                )
            },
            "gain, points": found["gain_points"],
            "seeds": len(found["seeds"]),
            "test images": f"{found['larger_test_images']:,}",
        }
        for name, found in data.items()
        if name != "machine"
    ]
    return {"In brackets: 95 % interval of the mean for the number of images.": rows}


def distillation(data: Any) -> Tables:
    return {
        f"{name}, {found['test_images']:,} test images. In brackets: 95 % interval.": [
            {
                "network": kind,
                "accuracy": within(row["mean"], *row["interval"]),
                "gains over the network alone by seed, points": " ".join(f"{gain:+.2f}" for gain in row["gains_in_points"]),
            }
            for kind, row in found["summary"].items()
        ]
        for name, found in data.items()
    }


def recipe_changes(data: Any) -> Tables:
    rows = [
        {
            "change": row["change"],
            "accuracy": within(row["mean"], *row["interval"]),
            "gains by seed, points": " ".join(f"{gain:+.2f}" for gain in row["gains_in_points"]),
        }
        for row in data["rows"]
    ]
    return {f"{data['epochs']} epochs, {data['test_images']:,} test images. In brackets: 95 % interval.": rows}


def dial(data: Any) -> Tables:
    return {
        f"{images}, mean of the seeds, in brackets the 95 % interval for the test images.": [
            {
                "budget": budget,
                "network": kind,
                "accuracy": within(row["mean"], *row["interval"]),
                "widths": ", ".join(map(str, row["widths"])),
                "int8 file, bytes": f"{row['tflite_int8']:,}",
                "multiply-adds": f"{row['multiply_adds']:,}",
                "multiply-adds of all training": f"{row['training_multiply_adds']:.2g}",
                "seconds": row["seconds"],
            }
            for budget, found in budgets.items()
            for kind, row in (("dial", found["dial"]), ("best of 20 trials", found["random"]))
        ]
        for images, budgets in data.items()
        if images != "machine"
    }


def degradation(data: Any) -> Tables:
    names = dict.fromkeys(row["network"] for row in data["rows"])
    kept = {name: [row for row in data["rows"] if row["network"] == name] for name in sorted(names, key=by_depth)}
    rows = [
        {
            "network": name,
            **{
                f"{kind} error": spread([row[f"{kind}_error"] for row in own], 2)
                if len(own) > 1
                else percent(own[0][f"{kind}_error"], 2)
                for kind in ("training", "test")
            },
            "seeds": len(own),
        }
        for name, own in kept.items()
    ]
    first, epochs = data["rows"][0], data["recipe"]["epochs"]
    return {f"{epochs} epochs, {first['training_images']:,} training and {first['test_images']:,} test images at 16x16.": rows}


def error(row: Any) -> str:
    """The test error of a network of `deeper.json`, with its interval."""
    low, high = row["interval"]
    return within(1 - row["accuracy"], 1 - high, 1 - low, 2)


def deeper(data: Any) -> Tables:
    rows = [
        {
            "network": row["network"],
            "parameters": f"{row['parameters']:,}",
            "epochs": row["epochs"],
            "test error": error(row),
        }
        for row in data["networks"]
    ]
    caption = (
        f"One seed each, the same {data['images']:,} test images. Only the deeper network is right on {data['only_deep_right']} of"
        f" them, only the other one on {data['only_shallow_right']}. If both were equally accurate, so large a lead would occur in"
        f" {1e7 * data['chance']:.0f} of ten million samples of test images (McNemar's exact test, one-sided). This says nothing"
        " about other seeds."
    )
    return {caption: rows}


def by_depth(name: str) -> tuple[str, int]:
    """Kind and depth of a network such as "plain-20"."""
    kind, _, depth = name.partition("-")
    return kind, int(depth)


def lesions(data: Any) -> Tables:
    left = {name: [row for row in units if row["accuracy"] is not None] for name, units in data["rows"].items()}
    rows = [
        {
            "network": name,
            "all units": percent(units[0]["accuracy"] - units[0]["difference"]),
            "units left out, one at a time": len(units),
            "lowest accuracy": percent(min(row["accuracy"] for row in units)),
            "highest accuracy": percent(max(row["accuracy"] for row in units)),
        }
        for name, units in left.items()
    ]
    return {f"{data['images']:,} test images, seed 0; the JSON has each unit.": rows}
