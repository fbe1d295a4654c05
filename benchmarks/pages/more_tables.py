"""The tables of `docs/numbers.md` about speed, memory, files and everything that is not an accuracy."""

from typing import Any

from benchmarks.pages.files import percent, within
from benchmarks.pages.tables import Tables


def depth(data: Any) -> Tables:
    rows = [
        {
            "network": row["network"],
            "`remat`": "yes" if row["remat"] else "no",
            **{f"{step.replace('_', ' ')}, s": f"{row[step]:.2f}" if step in row else "" for step in ("build", "save", "load")},
            "first training step, s": f"{row['first_step']:.1f}",
            "each further step, s": f"{row['step']:.2f}",
            "peak memory, MB": f"{row['peak_mb']:,.0f}" if "peak_mb" in row else "",
        }
        for row in data["depth"]
    ]
    memory = [
        {
            "network": row["network"],
            "`remat`": "yes" if row["remat"] else "no",
            "batch": row["batch"],
            "memory of training, MB": f"{row['training_mb']:,.0f}",
            "estimate of `cost_of`, MB": f"{row['predicted_mb']:,.0f}",
            "each step, s": f"{row['step']:.2f}",
        }
        for row in data["memory"]
    ]
    return {
        "Batches of 8 images of 32x32. `resnet218` and `resnet434` are `resnet20` with more units.": rows,
        "Larger batches:": memory,
    }


def train_step(data: Any) -> Tables:
    rows = [
        {
            "library": row["library"],
            "precision": row["precision"],
            "images per second": f"{row['images_per_second']:,.1f}",
            "slowest and fastest round": f"{row['slowest']:,.1f} to {row['fastest']:,.1f}",
            "share of the convolution peak": percent(row["share_of_convolution_peak"]),
            "ratio": f"{row['ratio']:.2f}",
        }
        for row in data["rows"]
    ]
    first = data["rows"][0]
    return {f"`{first['network']}`, batch {first['batch']}, median of {data['rounds']} rounds. Ratio: to the first row.": rows}


def onednn(data: Any) -> Tables:
    rows = [
        {
            "network": row["network"],
            "pixels": f"{row['size']}x{row['size']}",
            "batch": row["batch"],
            "images per second, without": f"{row['images_per_second']['without']:,.1f}",
            "with": f"{row['images_per_second']['with']:,.1f}",
            "ratio": f"{row['images_per_second']['ratio']:.2f}",
            "ms for one image, without": f"{row['one_image_ms']['without']:.2f}",
            "with oneDNN": f"{row['one_image_ms']['with']:.2f}",
        }
        for row in data["rows"]
    ]
    return {f"Training in batches, and the prediction of one image; medians of {data['rounds']} rounds.": rows}


def latency(data: Any) -> Tables:
    errors = [abs(row["error"]) for row in data["rows"]]
    rows = [
        {
            "networks": len(errors),
            "files": data["quantize"] or "float32",
            "runtime": data.get("runtime", "interpreter"),
            "mean error": percent(data["mean_error"]),
            "largest error": percent(data["largest_error"]),
            "measured, ms": "{:.2f} to {:.2f}".format(*extremes([row["measured_ms"] for row in data["rows"]])),
        }
    ]
    return {"Error of the predicted latency, of the measured one; the JSON has each network.": rows}


def extremes(values: list[float]) -> tuple[float, float]:
    """The smallest and the largest."""
    return min(values), max(values)


def tflite_sizes(data: Any) -> Tables:
    kinds = dict.fromkeys(row["kind"] for row in data)
    errors = {kind: [row["estimate"] / row["bytes"] - 1 for row in data if row["kind"] == kind] for kind in kinds}
    rows = [
        {
            "file": kind,
            "networks": len(found),
            "lowest estimate": f"{100 * min(found):+.1f} %",
            "highest estimate": f"{100 * max(found):+.1f} %",
            "mean error": percent(sum(map(abs, found)) / len(found)),
        }
        for kind, found in errors.items()
    ]
    return {"Estimate over the size of the file, without labels and metadata.": rows}


def weights(data: Any) -> Tables:
    libraries = dict.fromkeys(row["library"] for row in data["rows"])
    rows = []
    for library in libraries:
        own = [row for row in data["rows"] if row["library"] == library]
        read = [row["difference"] for row in own if "difference" in row]
        rows.append(
            {"library": library, "networks": len(read), "largest difference": f"{max(read):.1e}", "refused": len(own) - len(read)}
        )
    versions = ", ".join(f"{name} {number}" for name, number in data["versions"].items())
    return {f"Difference of logits, relative to the largest logit, at {data['size']}x{data['size']} pixels. {versions}.": rows}


def peak_memory(data: Any) -> Tables:
    rows = [
        {"command": name, "MB": row["MB"], "more than TensorFlow alone, MB": row["above_tensorflow"]} for name, row in data.items()
    ]
    return {"Largest resident memory.": rows}


def kills(data: Any) -> Tables:
    same = all(run["same_weights"] for run in data["runs"])
    row = {
        "kills": data["kills"],
        "trainings": len(data["runs"]),
        "the same weights, bit for bit": "yes" if same and data["all_equal"] else "no",
        "checkpoints lost": data["checkpoints_lost"],
    }
    return {"": [row]}


def engines(data: Any) -> Tables:
    rows = [
        {
            "engine": name,
            "trials": row["trials"],
            "lost": row["lost"],
            "counted twice": row["twice"],
            "processes killed": row["killed"],
            "seconds": row["seconds"],
        }
        for name, row in data["engines"].items()
    ]
    own = data["settings"]
    return {f"{own['workers']} workers, {own['trials']} trials of {own['seconds']:g} s, leases of {own['lease']:g} s.": rows}


def strided_convolutions(data: Any) -> Tables:
    rows = [
        {"LiteRT": version, "convolutions": row["convolutions"], "wrong": row["wrong"], "only zeros": row["only_zeros"]}
        for version, row in data.items()
        if isinstance(row, dict) and "convolutions" in row
    ]
    return {"": rows}


def gradient_profiles(data: Any) -> Tables:
    rows = [
        {
            "layers": row["layers"],
            "network": row["kind"],
            "normalisation": row["norm"],
            "ratio at the outputs of units": f"{row['output_first_to_last']:,.3g}",
            "ratio at the weights": f"{row['weights_first_to_last']:,.3g}",
        }
        for row in data["rows"]
    ]
    return {f"Gradient norm of the first unit over that of the last, {data['images']} images, {data['seeds']} seeds.": rows}


def zero_cost(data: Any) -> Tables:
    scores = [name for name in data["tables"]["digits_random"]["correlations"] if name != "in_band"]
    rows = [
        {"score": name, **{f"{table} ({found['networks']} networks)": rho(found, name) for table, found in data["tables"].items()}}
        for name in scores
    ]
    return {"Rank correlation of the score with the accuracy after training. In brackets: 95 % interval of a bootstrap.": rows}


def rho(found: Any, score: str) -> str:
    """A rank correlation with its interval; few networks have no interval."""
    middle, low, high = found["correlations"][score]["spearman"]
    return f"{middle:.2f}" + (f" ({low:.2f} to {high:.2f})" if low is not None else "")


CONVERTERS = {"tensorflow": "TensorFlow's converter", "quantizer": "the AI Edge Quantizer"}


def quantizers(data: Any) -> Tables:
    rows = [
        {
            "quantisation": row["quantize"],
            "by": CONVERTERS[row["converter"]],
            "bytes": f"{row['bytes']:,}",
            "accuracy": within(row["accuracy"], *row["interval"]),
            "top-1 agreement with float32": percent(row["agreement"]),
            "ms, 1 thread": f"{row['latency_ms']:.2f}",
        }
        for row in data["rows"]
    ]
    return {f"{data['rows'][0]['run']}, {data['rows'][0]['images']:,} test images, int4 without training for it.": rows}
