"""Training speed of this package beside its peers: the same network, batch, precision and images, in turns.

    python benchmarks/train_step.py [--network resnet50] [--batch 16] [--rounds 5] [--json OUT.json]

Every library and precision has a process of its own, which builds the network, traces one step, and then waits. Round after round
each is asked for a few steps, one process at a time, so that what else the machine does meets all alike. Printed are the
median images per second and the ratio to the first row. Libraries that are not installed are left out.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

SHAPES = {"resnet50": ((224, 224, 3), 1000), "resnet20": ((32, 32, 3), 10)}
LIBRARIES = {  # name: (networks, package)
    "keras.applications": (("resnet50",), "keras"),
    "keras": (("resnet50", "resnet20"), "keras"),  # our network, trained as Keras does by itself
    "keras_resnet": (("resnet50", "resnet20"), "keras"),
    "keras_hub": (("resnet50",), "keras-hub"),
    "torch": (("resnet50", "resnet20"), "torch"),
}
PRECISIONS = ("float32", "bfloat16")


def keras_model(library: str, network: str):
    import keras

    shape, classes = SHAPES[network]
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
    import keras_resnet as kr
    from keras_resnet.fused import fuse_normalization

    model = kr.build(network)
    if library == "keras_resnet":
        fuse_normalization(model)
    return model


def keras_steps(library: str, network: str, precision: str, batch: int):
    """A function that trains so many steps."""
    import keras
    import tensorflow as tf

    if precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    shape, classes = SHAPES[network]
    model = keras_model(library, network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, 0.9), loss, jit_compile=False)
    images = tf.random.stateless_uniform((batch, *shape), (0, 0), 0, 255)
    batches = tf.data.Dataset.from_tensors((images, tf.range(batch) % classes)).repeat()
    return lambda steps: model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)


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
    steps = torch_steps(network, precision, batch) if library == "torch" else keras_steps(library, network, precision, batch)
    for line in sys.stdin:
        start = perf_counter()
        steps(int(line))
        print(perf_counter() - start, file=answer, flush=True)


def ask(process: subprocess.Popen, steps: int) -> float:
    process.stdin.write(f"{steps}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=SHAPES, default="resnet50")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    batch = options.batch or (16 if options.network == "resnet50" else 128)
    steps = 2 if options.network == "resnet50" else 10
    workers = {}
    for library, (networks, package) in LIBRARIES.items():
        if options.network in networks and installed(package):
            for precision in PRECISIONS:
                command = [sys.executable, __file__, "--serve", library, options.network, precision, str(batch)]
                worker = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
                )
                ask(worker, 2)  # traces and compiles
                workers[library, precision] = worker
    seconds = {key: [] for key in workers}
    for _ in range(options.rounds):
        for key, worker in workers.items():
            seconds[key].append(ask(worker, steps))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    rows = [
        {
            "library": library,
            "network": options.network,
            "precision": precision,
            "batch": batch,
            "images_per_second": round(batch * steps / statistics.median(taken), 2),
            "slowest": round(batch * steps / max(taken), 2),
            "fastest": round(batch * steps / min(taken), 2),
        }
        for (library, precision), taken in seconds.items()
    ]
    for row in rows:
        ratio = row["images_per_second"] / rows[0]["images_per_second"]
        print(f"{row['library']:20} {row['precision']:9} {row['images_per_second']:9.2f} images/s {ratio:6.2f}", flush=True)
    machine = {"cpu_count": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    machine |= {package: version(package) for package in ("keras", "tensorflow", "torch") if installed(package)}
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        library, network, precision, batch = sys.argv[2:]
        serve(library, network, precision, int(batch))
    else:
        main()
