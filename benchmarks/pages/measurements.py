"""The table of measurements: what each JSON file of benchmarks/ answers, the command that makes it, and how it is shown."""

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.pages import more_tables, tables
from benchmarks.pages.files import percent
from benchmarks.pages.headlines import fastest, int8_of, lesion, mean_test_errors, total
from benchmarks.pages.tables import Function


class Measurement(NamedTuple):
    """One JSON file."""

    title: str
    question: str
    command: str
    tables: Function
    headline: Callable[[Any], str]


COPY = "CIFAR-10 (JPEG copy)"
MEASUREMENTS = {
    "digits": Measurement(
        "Digits",
        "How accurate is `resnet8` on scikit-learn's digits?",
        "python benchmarks/digits.py",
        tables.digits,
        lambda data: f"{tables.spread(data['last']['accuracies'])}, {len(data['last']['accuracies'])} seeds",
    ),
    "cifar10": Measurement(
        "CIFAR-10",
        f"How accurate is `resnet20` on {COPY} by the recipe `cifar-30`?",
        "python benchmarks/cifar10.py DATA_DIR RUNS",
        tables.cifar10,
        lambda data: f"{data['test_accuracy_mean']:.1f} ± {data['test_accuracy_deviation']:.1f} %, {len(data['rows'])} seeds",
    ),
    "own_photos": Measurement(
        "Pretrained weights on a few photographs",
        f"What are pretrained weights worth on a few photographs of {COPY}?",
        "python benchmarks/own_photos.py DATA_DIR WORK_DIR airplane-ship ten-classes",
        tables.own_photos,
        lambda data: ", ".join(f"{name} +{row['gain_points']} points" for name, row in data.items() if name != "machine"),
    ),
    "dial": Measurement(
        "Training within a budget",
        "How good is `train --budget` beside the best of 20 random trials?",
        "python benchmarks/dial.py WORK_DIR digits",
        tables.dial,
        lambda data: ", ".join(
            f"{budget}: {percent(row['dial']['mean'])} (trials {percent(row['random']['mean'])})"
            for budget, row in data["digits"].items()
        ),
    ),
    "mlperf_tiny": Measurement(
        "Networks of the size of MLPerf Tiny's ResNet-8",
        f"Is there a better network on {COPY} within the budget of MLPerf Tiny's ResNet-8?",
        "python benchmarks/mlperf_tiny.py OUT",
        tables.mlperf_tiny,
        lambda data: ", ".join(f"{name} {percent(row['int8'])}" for name, row in data["networks"].items()),
    ),
    "distillation": Measurement(
        "Distillation",
        f"What is a teacher worth to `resnet8` on a few photographs of {COPY}?",
        "python benchmarks/distillation.py DATA_DIR WORK_DIR photos --epochs 60 --kinds logits decoupled",
        tables.distillation,
        lambda data: "; ".join(
            f"int8: alone {int8_of(row, 'alone')}, with a teacher {int8_of(row, 'logits')}" for row in data.values()
        ),
    ),
    "recipe_changes": Measurement(
        "Changes of the recipe",
        f"Does a change of the recipe help `resnet8` on a few photographs of {COPY}?",
        "python benchmarks/recipe_changes.py DATA_DIR WORK_DIR",
        tables.recipe_changes,
        lambda data: ", ".join(f"{row['change']} {percent(row['mean'])}" for row in data["rows"]),
    ),
    "degradation": Measurement(
        "Degradation",
        f"Do deeper plain networks get worse on their own training images? On {COPY}.",
        "keras-resnet study degradation --scale small --data-dir DATA_DIR",
        tables.degradation,
        lambda data: "test error: " + ", ".join(f"{name} {percent(error)}" for name, error in mean_test_errors(data).items()),
    ),
    "deeper": Measurement(
        "ResNet-56 beside ResNet-20",
        f"Of two residual networks trained by the same recipe, does the deeper one have the lower test error? On {COPY}.",
        "python benchmarks/deeper.py --data-dir DATA_DIR --json benchmarks/deeper.json",
        tables.deeper,
        lambda data: "test error: " + ", ".join(f"{row['network']} {percent(1 - row['accuracy'], 2)}" for row in data["networks"]),
    ),
    "lesions": Measurement(
        "Accuracy without one unit",
        f"What does a trained network do without one of its units? On {COPY}.",
        "python benchmarks/lesions.py STUDY DATA_DIR",
        tables.lesions,
        lambda data: f"accuracy without one unit: {', '.join(lesion(name, units) for name, units in data['rows'].items())}",
    ),
    "gradient_profiles": Measurement(
        "Gradients at the start",
        f"Do gradients vanish in deep plain networks? On {COPY}.",
        "python benchmarks/gradient_profiles.py DATA_DIR",
        more_tables.gradient_profiles,
        lambda data: ", ".join(
            f"{row['kind']} {row['layers']} layers {row['output_first_to_last']:,.2g}"
            for row in data["rows"]
            if row["layers"] == 110 and row["norm"] == "batch normalisation"
        ),
    ),
    "exports": Measurement(
        "Exported files",
        f"Do exported files of `resnet20` answer as the Keras model does, and how fast? On {COPY}.",
        "python benchmarks/exports.py RUN --aware RUN --data-dir DATA_DIR --json benchmarks/exports.json",
        tables.exports,
        lambda data: (
            f"int8: {percent(data['files']['model_int8.tflite']['accuracy'], 2)} (Keras {percent(data['keras_accuracy'], 2)}),"
            f" {data['int8_to_float32']['size_ratio']:.2f} of the size, {data['int8_to_float32']['time_ratio']:.2f} of the latency"
        ),
    ),
    "exports_vnni": Measurement(
        "Exported files on a processor with instructions for int8",
        f"The same by an earlier version, whose int8 files TensorFlow's converter made, of another training. On {COPY}.",
        "python benchmarks/exports.py RUN --data-dir DATA_DIR --json benchmarks/exports_vnni.json",
        tables.exports,
        lambda data: (
            f"int8: {percent(data['files']['model_int8.tflite']['accuracy'], 2)} (Keras {percent(data['keras_accuracy'], 2)}),"
            f" {data['int8_to_float32']['time_ratio']:.2f} of the latency"
        ),
    ),
    "quantizers": Measurement(
        "Two quantisers",
        f"How do files of the AI Edge Quantizer compare with those of TensorFlow's converter? On {COPY}.",
        "python benchmarks/quantizers.py saved_models/cifar10-resnet20 --images 1000 --data-dir DATA_DIR --json FILE",
        more_tables.quantizers,
        lambda data: ", ".join(
            f"{row['quantize']} by {more_tables.CONVERTERS[row['converter']]} {percent(row['accuracy'])}"
            for row in data["rows"]
            if row["quantize"] == "int8"
        ),
    ),
    "quantization_aware": Measurement(
        "Quantisation-aware training",
        f"Does it make the int8 file of `resnet8` more accurate? On {COPY}.",
        "python benchmarks/quantization_aware.py RUN --data-dir DATA_DIR --json benchmarks/quantization_aware.json",
        tables.quantization_aware,
        lambda data: ", ".join(f"{row['run']} {percent(row['int8'], 2)}" for row in data["rows"]),
    ),
    "train_step_resnet50": Measurement(
        "Training speed, ResNet-50",
        "How many images per second does each library train?",
        "python benchmarks/train_step.py --network resnet50 --json benchmarks/train_step_resnet50.json",
        more_tables.train_step,
        fastest,
    ),
    "train_step_resnet20": Measurement(
        "Training speed, ResNet-20",
        "How many images per second does each library train?",
        "python benchmarks/train_step.py --network resnet20 --batch 128 --rounds 7 --json benchmarks/train_step_resnet20.json",
        more_tables.train_step,
        fastest,
    ),
    "depth": Measurement(
        "Time and memory of deep networks",
        "What do networks of up to 1,202 layers cost to build, save, load and train?",
        "python benchmarks/depth.py benchmarks/depth.json",
        more_tables.depth,
        lambda data: "build in seconds: " + ", ".join(f"{r['network']} {r['build']:.1f}" for r in data["depth"] if not r["remat"]),
    ),
    "peak_memory": Measurement(
        "Peak memory",
        "How much memory do commands take on many or very large pictures?",
        "python benchmarks/peak_memory.py",
        more_tables.peak_memory,
        lambda data: f"at most {max(row['above_tensorflow'] for row in data.values())} MB more than TensorFlow alone",
    ),
    "latency": Measurement(
        "Predicted latency",
        "How near is the latency that a search predicts to the measured one?",
        "python benchmarks/latency.py --quantize int8 --json benchmarks/latency.json",
        more_tables.latency,
        lambda data: f"within {percent(data['largest_error'])}, {percent(data['mean_error'])} on average",
    ),
    "tflite_sizes": Measurement(
        "Predicted file sizes",
        "How near are the sizes that `cost_of` estimates to those of converted files?",
        "python benchmarks/tflite_sizes.py benchmarks/tflite_sizes.json",
        more_tables.tflite_sizes,
        lambda data: f"largest error {percent(max(abs(row['estimate'] / row['bytes'] - 1) for row in data))}",
    ),
    "weights": Measurement(
        "Weights of other libraries",
        "Are the logits those of the library that the weights are from?",
        "python benchmarks/weights.py --json benchmarks/weights.json",
        more_tables.weights,
        lambda data: (
            f"largest difference {max(row['difference'] for row in data['rows'] if 'difference' in row):.1e} of the largest logit"
        ),
    ),
    "kills": Measurement(
        "Killed trainings",
        "Are the weights of a training that was killed and resumed those of one that was not?",
        "python benchmarks/kills.py",
        more_tables.kills,
        lambda data: f"{data['kills']} kills: " + ("the same weights, bit for bit" if data["all_equal"] else "other weights"),
    ),
    "engines": Measurement(
        "Searches with many workers",
        "Is a trial lost or counted twice if workers are killed?",
        "python benchmarks/engines.py --workers 20 --trials 60 --seconds 5",
        more_tables.engines,
        lambda data: f"{total(data, 'lost')} trials lost, {total(data, 'twice')} counted twice",
    ),
    "onednn": Measurement(
        "oneDNN on a CPU without VNNI",
        "Does TensorFlow train faster with the convolutions of oneDNN where it leaves them off?",
        "python benchmarks/onednn.py --rounds 2",
        more_tables.onednn,
        lambda data: (
            "training speed: " + ", ".join(f"{row['network']} x{row['images_per_second']['ratio']:.2f}" for row in data["rows"])
        ),
    ),
    "zero_cost": Measurement(
        "Scores of untrained networks",
        "Do they tell which network to train?",
        "python benchmarks/zero_cost.py DATA_DIR",
        more_tables.zero_cost,
        lambda data: (
            "rank correlation of the Zen-score: "
            + ", ".join(f"{name} {row['correlations']['zen']['spearman'][0]:.2f}" for name, row in data["tables"].items())
        ),
    ),
    "strided_convolutions": Measurement(
        "Strided convolutions in LiteRT",
        "Does LiteRT compute convolutions with strides as Keras does?",
        "python benchmarks/strided_convolutions.py",
        more_tables.strided_convolutions,
        lambda data: ", ".join(f"{version}: {row['wrong']} of {row['convolutions']} wrong" for version, row in data.items()),
    ),
}
OTHER_SCRIPTS = {
    "zero_cost_trials": ("Trains the networks on the digits that `zero_cost.py` scores; writes `zero_cost_trials.csv`.", ""),
    "pretrain_tiny_imagenet": (
        "Pretrains the two networks for Tiny ImageNet; their runs have the results.",
        "train PACKED OUT 4 5",
    ),
}
"""Scripts without a JSON file here: question and arguments."""
