"""Training speed of this package and of other libraries: the same network, batch and images, in turns.

    python benchmarks/train_step.py [--network resnet50] [--batch 16] [--rounds 5] [--json OUT.json]

Every library and precision has a process of its own, which builds the network, traces one step, and then waits. In each round every
process runs a few steps, one process at a time, so that other load on the machine affects all equally. Printed are the median
images per second, the ratio to the first row, and the share of the peak: the fastest convolution of the same precision, measured in
the same rounds. A step counts as three times the multiply-adds of the network. Libraries that are not installed are skipped.
"keras" is our network trained by Keras alone. keras.applications has no ResNet-20: that row is a network in its style, with biased
convolutions and a projection with normalisation at the start of every stage.

bfloat16 is skipped if the processor has no instructions for it. A candidate is stopped if its first two steps take more than a
minute and ten times as long as the first row; a line says so.
"""

import argparse
import json
import os
import platform
import select
import statistics
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

import keras_resnet as kr  # loads no framework: a process should have only that of its library

SHAPES = {"resnet50": ((224, 224, 3), 1000), "resnet20": ((32, 32, 3), 10)}
LIBRARIES = {  # name: (networks, package)
    "keras.applications": (("resnet50", "resnet20"), "keras"),
    "keras": (("resnet20",), "keras"),
    "keras_resnet": (("resnet50", "resnet20"), "keras"),
    "keras_hub": (("resnet50",), "keras-hub"),
    "torch": (("resnet50", "resnet20"), "torch"),
}
PRECISIONS = ("float32", "bfloat16")
PATIENCE, TOO_SLOW = 60, 10  # seconds of the first steps, and times those of the first row
PEAK, PEAK_SIZE, PEAK_CHANNELS = "convolution", 28, 256
PEAK_FLOPS = 2 * 16 * PEAK_SIZE**2 * 9 * PEAK_CHANNELS**2  # of one such convolution


def keras_model(library: str, network: str):
    import keras

    shape, classes = SHAPES[network]
    if library == "keras.applications" and network == "resnet20":
        return resnet20_with_biases()
    if library == "keras.applications":
        return keras.applications.ResNet50(weights=None, input_shape=shape, classes=classes, classifier_activation=None)
    if library == "keras_hub":
        import keras_hub

        backbone = keras_hub.models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[7],
            stackwise_num_filters=[64, 128, 256, 512],
            stackwise_num_blocks=[3, 4, 6, 3],
            stackwise_num_strides=[1, 2, 2, 2],
            block_type="bottleneck_block",
            image_shape=shape,
        )
        return keras_hub.models.ResNetImageClassifier(backbone=backbone, preprocessor=None, num_classes=classes)
    return kr.build(network, dtype=keras.config.dtype_policy().name)


def resnet20_with_biases():
    from keras import Input, Model, layers

    def convolved(x, width: int, size: int = 3, stride: int = 1):
        return layers.BatchNormalization(epsilon=1.001e-5)(layers.Conv2D(width, size, stride, padding="same")(x))

    image = Input(SHAPES["resnet20"][0])
    x = layers.ReLU()(convolved(image, 16))
    for stage, width in enumerate((16, 32, 64)):
        for block in range(3):
            stride = 2 if stage and not block else 1
            branch = convolved(layers.ReLU()(convolved(x, width, stride=stride)), width)
            shortcut = x if block else convolved(x, width, 1, stride)
            x = layers.ReLU()(layers.Add()([shortcut, branch]))
    logits = layers.Dense(SHAPES["resnet20"][1], dtype="float32")(layers.GlobalAveragePooling2D()(x))
    return Model(image, logits)


def keras_steps(library: str, network: str, precision: str, batch: int):
    """A function that trains so many steps."""
    import keras
    import tensorflow as tf

    from keras_resnet.data.pipelines import without_autotune
    from keras_resnet.recipes.fast_kernels import graphs_as_written

    if precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    shape, classes = SHAPES[network]
    model = keras_model(library, network)
    if library == "keras_resnet":
        recipe = kr.Recipe(learning_rate=0.01, schedule="constant", warmup=0, weight_decay=0)
        recipe.compile(model, 1)
        graphs_as_written().__enter__()
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.01, 0.9, nesterov=True), loss, metrics=["accuracy"], jit_compile=False)
    images = tf.random.stateless_uniform((batch, *shape), (0, 0), 0, 255)
    batches = without_autotune(tf.data.Dataset.from_tensors((images, tf.range(batch) % classes)).repeat())
    return lambda steps: model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)


def convolution_steps(precision: str):
    """A function that runs so many convolutions of a kind that processors are best at."""
    import tensorflow as tf

    maps = tf.cast(tf.random.stateless_uniform((16, PEAK_SIZE, PEAK_SIZE, PEAK_CHANNELS), (0, 0)), precision)
    kernel = tf.cast(tf.random.stateless_uniform((3, 3, PEAK_CHANNELS, PEAK_CHANNELS), (0, 1)), precision)
    convolve = tf.function(lambda: tf.nn.conv2d(maps, kernel, 1, "SAME"))

    def run(steps: int) -> None:
        for _ in range(steps):
            convolve()

    return run


def torch_model(network: str):
    from torch import nn

    def unit(channels: int, widths: list[int], sizes: list[int], stride: int) -> nn.Module:
        class Unit(nn.Module):
            def __init__(self):
                super().__init__()
                layers, before = [], channels
                for number, (width, size) in enumerate(zip(widths, sizes, strict=True)):
                    step = stride if number == len(sizes) // 2 - (len(sizes) == 2) else 1
                    layers += [nn.Conv2d(before, width, size, step, size // 2, bias=False), nn.BatchNorm2d(width)]
                    layers += [nn.ReLU(inplace=True)] if number < len(sizes) - 1 else []
                    before = width
                self.branch = nn.Sequential(*layers)
                changes = stride > 1 or channels != before
                projection = nn.Sequential(nn.Conv2d(channels, before, 1, stride, bias=False), nn.BatchNorm2d(before))
                self.shortcut = projection if changes else nn.Identity()
                self.relu = nn.ReLU(inplace=True)

            def forward(self, x):
                return self.relu(self.branch(x) + self.shortcut(x))

        return Unit()

    if network == "resnet50":
        layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
        stages, channels = [(64, 3), (128, 4), (256, 6), (512, 3)], 64
    else:
        layers, stages, channels = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)], [], 16
        stages = [(16, 3), (32, 3), (64, 3)]
    for stage, (width, depth) in enumerate(stages):
        widths, sizes = ([width, width, 4 * width], [1, 3, 1]) if network == "resnet50" else ([width, width], [3, 3])
        for block in range(depth):
            layers.append(unit(channels, widths, sizes, 2 if stage and not block else 1))
            channels = widths[-1]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, SHAPES[network][1]))


def torch_steps(network: str, precision: str, batch: int):
    import torch

    shape, classes = SHAPES[network]
    model = torch_model(network).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9)
    images = torch.rand(batch, 3, *shape[:2]).to(memory_format=torch.channels_last)
    labels = torch.arange(batch) % classes

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                loss = torch.nn.functional.cross_entropy(model(images).float(), labels)
            loss.backward()
            optimizer.step()

    return run


def serve(library: str, network: str, precision: str, batch: int) -> None:
    """Train as many steps as each line of the standard input says, and answer with the seconds."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print must not disturb the answers
    if library == PEAK:
        steps = convolution_steps(precision)
    else:
        steps = torch_steps(network, precision, batch) if library == "torch" else keras_steps(library, network, precision, batch)
    for line in sys.stdin:
        start = perf_counter()
        steps(int(line))
        print(perf_counter() - start, file=answer, flush=True)


def ask(process: subprocess.Popen, steps: int, patience: float | None = None) -> float | None:
    """The seconds of so many steps; None if they take longer than `patience`."""
    process.stdin.write(f"{steps}\n")
    process.stdin.flush()
    ready, _, _ = select.select([process.stdout], [], [], patience)
    return float(process.stdout.readline()) if ready else None


def installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def usable(library: str, network: str) -> bool:
    networks, package = LIBRARIES.get(library, ((network,), "tensorflow"))
    return network in networks and installed(package)


def worker(library: str, precision: str, network: str, batch: int) -> subprocess.Popen:
    command = [sys.executable, __file__, "--serve", library, network, precision, str(batch)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def workers_of(names: list[tuple[str, str]], network: str, batch: int) -> dict[tuple[str, str], subprocess.Popen]:
    """The processes that have traced and compiled their step."""
    ready, patience = {}, None
    for key in names:
        process, start = worker(*key, network, batch), perf_counter()
        if ask(process, 2, patience) is None:
            process.kill()
            print(f"{' '.join(key)}: stopped, its first two steps took more than {patience:.0f} s", flush=True)
            continue
        patience = patience or max(PATIENCE, TOO_SLOW * (perf_counter() - start))
        ready[key] = process
    return ready


def precisions() -> list[str]:
    from keras_resnet.startup import has_bfloat16

    if has_bfloat16() is False:
        print("this processor has no instructions for bfloat16: it is skipped", flush=True)
        return ["float32"]
    return list(PRECISIONS)


def steps_of(library: str, steps: int) -> int:
    return 10 * steps if library == PEAK else steps


def seconds_of_steps(workers: dict, steps: int, rounds: int) -> dict:
    """Seconds of a step by library and precision, one for each round, in which all take turns."""
    seconds = {key: [] for key in workers}
    for _ in range(rounds):
        for key, process in workers.items():
            seconds[key].append(ask(process, steps_of(key[0], steps)) / steps_of(key[0], steps))
    for process in workers.values():
        process.stdin.close()
        process.wait()
    return seconds


def rows_of(seconds: dict, peak: dict[str, float], network: str, batch: int) -> list[dict]:
    """Images per second of each library in each precision, with the ratio to the first one."""
    step_flops = 6 * batch * kr.cost_of(network).multiply_adds
    rows = []
    for (library, precision), taken in seconds.items():
        median = statistics.median(taken)
        row = {
            "library": library,
            "network": network,
            "precision": precision,
            "batch": batch,
            "images_per_second": round(batch / median, 2),
            "slowest": round(batch / max(taken), 2),
            "fastest": round(batch / min(taken), 2),
            "share_of_convolution_peak": round(step_flops / median / peak.get(precision, float("nan")), 3),
        }
        rows.append({**row, "ratio": round(row["images_per_second"] / (rows[0] if rows else row)["images_per_second"], 3)})
    return rows


def main() -> None:
    from keras_resnet.runs.environment import processor

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=SHAPES, default="resnet50")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    batch = options.batch or (16 if options.network == "resnet50" else 128)
    steps = 2 if options.network == "resnet50" else 10
    tried = precisions()
    names = [(library, precision) for library in (*LIBRARIES, PEAK) for precision in tried if usable(library, options.network)]
    seconds = seconds_of_steps(workers_of(names, options.network, batch), steps, options.rounds)
    peak = {key[1]: PEAK_FLOPS / statistics.median(seconds.pop(key)) for key in list(seconds) if key[0] == PEAK}
    rows = rows_of(seconds, peak, options.network, batch)
    for row in rows:
        speed = f"{row['images_per_second']:9.2f} images/s {row['ratio']:6.2f}"
        print(f"{row['library']:20} {row['precision']:9} {speed} {row['share_of_convolution_peak']:6.0%} of the peak", flush=True)
    machine = {"cpu_count": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    packages = ("keras", "tensorflow", "keras-hub", "torch")
    machine |= {"processor": processor(), **{package: version(package) for package in packages if installed(package)}}
    if options.json:
        peaks = {precision: round(flops / 1e9) for precision, flops in peak.items()}
        result = {"machine": machine, "rounds": options.rounds, "convolution_peak_gflops": peaks, "rows": rows}
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        library, network, precision, batch = sys.argv[2:]
        serve(library, network, precision, int(batch))
    else:
        main()
