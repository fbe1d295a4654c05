"""Two networks pretrained on Tiny ImageNet in minutes on one GPU: a middle one, and a small one that learns from it too.

    python benchmarks/pretrain_tiny_imagenet.py pack DATA_DIR PACKED              # the JPEG files, in two parts
    python benchmarks/pretrain_tiny_imagenet.py train PACKED OUT MINUTES MINUTES  # minutes of each network, compilation included
    python benchmarks/pretrain_tiny_imagenet.py finish DATA_DIR OUT/NETWORK RUN   # write the run, and measure it on the test images

The first and the last need TensorFlow and TensorFlow Datasets; the training is on JAX, and needs neither.

Keras's `fit` feeds a GPU one batch at a time. Here all images lie on the GPU, and an epoch, augmentation included, is one compiled
call. Network, learning rate, optimiser and the meaning of every field of a recipe are those of the package, with these differences:
the moving average is of the statistics of normalisation too, instead of computing them again, and crops are not rounded to whole
pixels. 15 images of each class are held out for validation; nothing is chosen by the test images. The average after the last epoch
is kept. `saved_models/tiny_imagenet_middle` and `tiny_imagenet_small` are what 4 and 5 minutes on one NVIDIA H100 gave.
`model.safetensors`, `spec.json` and `labels.txt` in `keras_resnet/weights/tiny_imagenet` are copies of those in OUT/small.
"""

import csv
import io
import json
import math
import os
import shutil
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

if sys.argv[1:2] == ["train"]:
    os.environ["KERAS_BACKEND"] = "jax"

from keras_resnet import startup

startup.prepare()

import keras
import numpy as np
from PIL import Image

import keras_resnet as kr
from keras_resnet.atomic import write_json
from keras_resnet.confidence import as_text, interval
from keras_resnet.fields import from_json, to_json
from keras_resnet.recipes.optimizer import make_optimizer
from keras_resnet.runs.environment import environment
from keras_resnet.runs.history import plot_history, write_history

SEED, SIZE, CLASSES = 0, 64, 200
HELD_OUT = 20  # one image in so many
MIDDLE = replace(kr.SPECS["resnet18d"], stem_pool=None, zero_init=True, input_shape=(SIZE, SIZE, 3), classes=CLASSES)
SMALL = replace(MIDDLE, widths=(32, 64, 128, 192), stem_width=32)  # below 4 MB in float16
# No label smoothing: it makes features worse for transfer (arXiv:2010.16402), and a network worse as a teacher (arXiv:1906.02629).
RECIPE = kr.Recipe(
    batch_size=512,
    learning_rate=0.8,
    warmup=0.08,
    crop=0,
    resized_crop=0.3,
    mixup=0.2,
    cutmix=1.0,
    ema=0.999,
    precision="bfloat16",
)
NETWORKS = {"middle": (MIDDLE, RECIPE), "small": (SMALL, replace(RECIPE, weight_decay=2e-4))}
TEACHER_SHARE = 0.75  # of the target of the small network: the probabilities that the middle one gives the same changed image


def pack(data_dir: str, packed: str, count: int = 60_000) -> None:
    """Write the first training images as they are stored, their labels and the class names, into two files."""
    import tensorflow_datasets as tfds

    builder = tfds.builder("tiny_imagenet", data_dir=data_dir)
    stored = builder.as_dataset("train", decoders={"image": tfds.decode.SkipDecoding()}).take(count)
    examples = [(example["image"], example["label"]) for example in tfds.as_numpy(stored)]
    Path(packed).mkdir(parents=True, exist_ok=True)
    for part in (0, 1):
        contents, labels = zip(*examples[part * count // 2 : (part + 1) * count // 2], strict=True)
        arrays = {"bytes": np.frombuffer(b"".join(contents), "uint8"), "ends": np.cumsum([len(content) for content in contents])}
        np.savez_compressed(f"{packed}/part{part}.npz", labels=labels, names=builder.info.features["label"].names, **arrays)


def unpack(packed: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Images (count, 64, 64, 3), labels (count,) and class names."""
    images, labels, names = [], [], []
    for part in (0, 1):
        with np.load(f"{packed}/part{part}.npz") as file:
            contents = [content.tobytes() for content in np.split(file["bytes"], file["ends"][:-1])]
            labels.append(file["labels"])
            names = file["names"].tolist()
        with ThreadPoolExecutor() as pool:
            images += pool.map(lambda content: np.asarray(Image.open(io.BytesIO(content)).convert("RGB")), contents)
    return np.stack(images), np.concatenate(labels).astype("int32"), names


def held_out(labels: np.ndarray) -> np.ndarray:
    """Whether an image is for validation: the first of each class."""
    rank = np.empty(len(labels), int)
    for label in range(CLASSES):
        (places,) = np.nonzero(labels == label)
        rank[places] = np.arange(len(places))
    return rank < max(1, len(labels) // CLASSES // HELD_OUT)


def write_weights(path: Path, model: keras.Model, spec: kr.ResNetSpec) -> None:
    """The weights as float16 in the format of safetensors, by their paths; the spec is in its metadata."""
    header, contents = {"__metadata__": {"format": "keras", "spec": json.dumps(json.loads(to_json(spec)))}}, b""
    for weight in model.weights:
        content = np.asarray(weight).astype("<f2").tobytes()
        place = [len(contents), len(contents) + len(content)]
        header[weight.path] = {"dtype": "F16", "shape": list(weight.shape), "data_offsets": place}
        contents += content
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + contents)


def read_weights(path: Path, model: keras.Model) -> None:
    """Give `model` the weights of the file; every one must be there, in its shape, and no other."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    if {*header} - {"__metadata__"} != {weight.path for weight in model.weights}:
        raise ValueError(f"{path} is of another network")
    for weight in model.weights:
        first, last = header[weight.path]["data_offsets"]
        weight.assign(np.frombuffer(content[start + first : start + last], "<f2").reshape(header[weight.path]["shape"]))


class State(NamedTuple):
    """What a step changes."""

    trainable: list
    fixed: list
    optimizer: list
    average: tuple[list, list]


def crop(key, images, recipe):
    """A random part of each image, mirrored in half of them, at the size of the image: `resized_crop` of the package."""
    import jax
    import jax.numpy as jnp

    area, position, down, right, coin = jax.random.uniform(key, (5, len(images), 1))
    area = recipe.resized_crop + (1 - recipe.resized_crop) * area
    first, last = jnp.maximum(area, 3 / 4), jnp.minimum(1 / area, 4 / 3)
    ratio = first * (last / first) ** position
    height, width = jnp.sqrt(area / ratio), jnp.sqrt(area * ratio)

    def shares_of_pixels(start, length):
        """(batch, new, old): linear interpolation along an axis."""
        places = (start + length * (jnp.arange(SIZE) + 0.5) / SIZE) * SIZE - 0.5
        return jax.nn.relu(1 - jnp.abs(places.clip(0, SIZE - 1)[:, :, None] - jnp.arange(SIZE)))

    rows, columns = shares_of_pixels(down * (1 - height), height), shares_of_pixels(right * (1 - width), width)
    columns = jnp.where((coin < 0.5)[:, :, None], columns[:, ::-1], columns)
    return jnp.einsum("bri,bijc,bsj->brsc", rows, images.astype("float32"), columns)


def mix(key, images, targets, recipe):
    """MixUp or CutMix of every image with another one of the batch; a coin decides for the step."""
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(key, 4)
    side = jnp.sqrt(1 - jax.random.beta(keys[0], recipe.cutmix, recipe.cutmix))
    middle = jax.random.uniform(keys[1], (2, 1))
    pixels = (jnp.arange(SIZE) + 0.5) / SIZE
    inside = (pixels >= middle - side / 2) & (pixels < middle + side / 2)
    pasted = (inside[0][:, None] & inside[1]).astype("float32")
    blended = jnp.full_like(pasted, jax.random.beta(keys[2], recipe.mixup, recipe.mixup))
    share = jnp.where(jax.random.bernoulli(keys[3]), pasted, blended)
    images += share[:, :, None] * (images[::-1] - images)
    return images, targets + share.mean() * (targets[::-1] - targets)


def epoch_of(model, optimizer, recipe, teacher):
    """The function that trains an epoch; `teacher` is a model, whose weights are an argument, or None."""
    import jax
    import jax.numpy as jnp

    def loss_of(trainable, fixed, images, targets, learned):
        logits, fixed = model.stateless_call(trainable, fixed, images, training=True)
        return -(learned * jax.nn.log_softmax(logits)).sum(-1).mean(), (fixed, (logits.argmax(-1) == targets.argmax(-1)).mean())

    def step(state, batch, images, labels, knowledge):
        chosen, rate, decay, key = batch
        one, other = jax.random.split(key)
        targets = jax.nn.one_hot(labels[chosen], CLASSES)
        pictures, targets = mix(other, crop(one, images[chosen], recipe), targets, recipe)
        learned = targets
        if teacher is not None:
            answers, _ = teacher.stateless_call(*knowledge, pictures, training=False)
            learned += TEACHER_SHARE * (jax.nn.softmax(answers) - targets)
        differentiated = jax.value_and_grad(loss_of, has_aux=True)
        (loss, (fixed, hits)), gradients = differentiated(state.trainable, state.fixed, pictures, targets, learned)
        settings = [*state.optimizer[:1], rate, *state.optimizer[2:]]  # Keras keeps the learning rate after the number of steps
        trainable, settings = optimizer.stateless_apply(settings, gradients, state.trainable)
        average = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, state.average, (trainable, fixed))
        return State(trainable, fixed, settings, average), (loss, hits)

    @jax.jit(donate_argnums=0)
    def epoch(state, batches, images, labels, knowledge):
        state, curves = jax.lax.scan(lambda state, batch: step(state, batch, images, labels, knowledge), state, batches)
        return state, jax.tree.map(jnp.mean, curves)

    return epoch


def evaluation_of(model):
    """The function that gives loss, top-1 and top-5 accuracy of weights on images."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def evaluate(weights, images, labels):
        batches = images.reshape(-1, math.gcd(len(images), 500), *images.shape[1:])
        logits = jax.lax.map(lambda batch: model.stateless_call(*weights, batch)[0], batches).reshape(-1, CLASSES)
        right = jnp.take_along_axis(logits, labels[:, None], 1)
        rank = (logits > right).sum(-1)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean(), (rank < 1).mean(), (rank < 5).mean()

    return evaluate


def batches_of(epoch: int, epochs: int, recipe: kr.Recipe, count: int) -> tuple:
    """Of every step of an epoch: the images, the learning rate, the share of the old moving average, and a random key."""
    import jax

    steps = count // recipe.batch_size
    order = np.random.default_rng([SEED, epoch]).permutation(count)[: steps * recipe.batch_size].reshape(steps, -1)
    done = epoch * steps + np.arange(steps)
    rates = jax.vmap(recipe.make_schedule(epochs * steps))(done)
    decay = np.minimum(recipe.ema, (1 + done) / (10 + done)).astype("float32")
    return order, rates, decay, jax.random.split(jax.random.key(SEED * 100_000 + epoch), steps)


def train(name, training, validation, teacher, minutes, folder):
    """Train the network within so many minutes, compilation included. Returns its model and averaged weights, for a student."""
    import jax

    begin, (spec, recipe) = time.perf_counter(), NETWORKS[name]
    recipe = recipe.fitting(len(training[1]))
    keras.utils.set_random_seed(SEED)
    model = kr.build(spec, dtype=f"mixed_{recipe.precision}")
    optimizer = make_optimizer(recipe.optimizer, 1.0, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    optimizer.build(model.trainable_variables)
    model_of_teacher, knowledge = teacher or (None, None)
    run_epoch, evaluate = epoch_of(model, optimizer, recipe, model_of_teacher), evaluation_of(model)

    def fresh() -> State:
        lists = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
        trainable, fixed, settings = ([jax.numpy.copy(variable.value) for variable in variables] for variables in lists)
        return State(trainable, fixed, settings, jax.tree.map(jax.numpy.copy, (trainable, fixed)))

    def pass_through(state: State, epoch: int, epochs: int) -> tuple[State, dict]:
        batches = batches_of(epoch, epochs, recipe, len(training[1]))
        state, (loss, hits) = run_epoch(state, batches, *training, knowledge)
        val_loss, top1, top5 = evaluate(state.average, *validation)
        values = {"loss": loss, "accuracy": hits, "val_loss": val_loss, "val_accuracy": top1, "val_top5": top5}
        row = {"epoch": epoch + 1, "learning_rate": batches[1][-1], **values}
        return state, {key: round(float(value), 5) if key != "epoch" else value for key, value in row.items()}

    state, _ = pass_through(fresh(), 0, 100)  # compiles
    timed = time.perf_counter()
    pass_through(state, 1, 100)
    seconds = time.perf_counter() - timed
    epochs = max(1, int((60 * minutes - (time.perf_counter() - begin)) / seconds * 0.97))
    print(f"{name}: {timed - begin:.1f} s to compile, {seconds:.2f} s an epoch, {epochs} epochs", flush=True)
    state, history, start = fresh(), [], time.perf_counter()
    for epoch in range(epochs):
        state, row = pass_through(state, epoch, epochs)
        history.append({**row, "seconds": round(time.perf_counter() - start, 2)})
        if (epoch + 1) % max(1, epochs // 12) == 0 or epoch + 1 == epochs:
            print(name, history[-1], flush=True)
    for variables, values in zip((model.trainable_variables, model.non_trainable_variables), state.average, strict=True):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    save(folder, model, spec, replace(recipe, epochs=epochs), history, len(training[1]), len(validation[1]))
    return model, state.average


def save(folder: Path, model, spec, recipe, history, count: int, validation: int) -> None:
    """Write what is known of the run where no TensorFlow is."""
    import jax

    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / "model.safetensors", model, spec)
    (folder / "spec.json").write_text(to_json(spec))
    write_history(history, folder / "history.csv")
    last, seconds = history[-1], history[-1]["seconds"]
    accuracy = last["val_accuracy"]
    metrics = {
        "network": folder.name,
        "parameters": model.count_params(),
        "multiply_adds": kr.cost_of(spec).multiply_adds,
        "images": {"train": count, "validation": validation},
        "seed": SEED,
        "epochs": recipe.epochs,
        "train_seconds": seconds,
        "images_per_second": round(recipe.epochs * (count // recipe.batch_size) * recipe.batch_size / seconds),
        "validation": {"accuracy": accuracy, "accuracy_interval": interval(accuracy, validation), "top5_accuracy": last["val_top5"]}
        | {"loss": last["val_loss"], "images": validation},
    }
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "environment.json", {**environment(), "accelerator": jax.devices()[0].device_kind})
    print(json.dumps(metrics), flush=True)


def train_all(packed: str, out: str, *minutes: str) -> None:
    """Train the middle network, and the small one with its help."""
    import jax

    start = time.perf_counter()
    images, labels, names = unpack(packed)
    left_out, teacher = held_out(labels), None
    training = jax.device_put((images[~left_out], labels[~left_out]))
    validation = jax.device_put((images[left_out], labels[left_out]))
    print(f"{len(training[1])} images to train on, {time.perf_counter() - start:.1f} s; {jax.devices()}", flush=True)
    for name, time_given in zip(NETWORKS, minutes, strict=True):
        folder = Path(out, name)
        teacher = train(name, training, validation, teacher, float(time_given), folder)
        (folder / "labels.txt").write_text("\n".join(names) + "\n")


def compress(path: Path) -> None:
    """Compress a Keras file, whose weights are rounded to float16: half of each float32 is zeros."""
    with zipfile.ZipFile(path) as file:
        members = [(zipfile.ZipInfo(name), file.read(name)) for name in file.namelist()]
    with zipfile.ZipFile(path, "w") as file:
        for member, content in members:
            file.writestr(member, content, zipfile.ZIP_DEFLATED, compresslevel=9)


def finish(data_dir: str, trained: str, run: str) -> None:
    """Write the run, with the float16 weights, and measure it on the test images, on TensorFlow."""
    import tensorflow_datasets as tfds

    folder = Path(shutil.copytree(trained, run, ignore=shutil.ignore_patterns("*.safetensors")))
    model = kr.build(from_json(kr.ResNetSpec, (folder / "spec.json").read_text()))
    read_weights(Path(trained, "model.safetensors"), model)
    model.save(folder / "model.keras")
    compress(folder / "model.keras")
    write_json(folder / "data.json", {"source": None})  # no source: `data.load` would split the images differently
    images, labels = tfds.as_numpy(tfds.load("tiny_imagenet", split="test", data_dir=data_dir, batch_size=-1, as_supervised=True))
    logits = model.predict(images, batch_size=100, verbose=0).astype("float64")
    right = logits[np.arange(len(labels)), labels]
    rank = (logits > right[:, None]).sum(1)
    accuracy, top5 = (rank < 1).mean(), (rank < 5).mean()
    measured = {"accuracy": accuracy, "accuracy_interval": interval(accuracy, len(labels)), "top5_accuracy": top5}
    measured |= {"top5_interval": interval(top5, len(labels)), "loss": (np.logaddexp.reduce(logits, 1) - right).mean()}
    names = (folder / "labels.txt").read_text().splitlines()
    recall = {name: round(float((rank[labels == label] < 1).mean()), 4) for label, name in enumerate(names)}
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["images"]["test"] = len(labels)
    write_json(folder / "metrics.json", {**metrics, "test": {**measured, "images": len(labels), "recall": recall}})
    with (folder / "history.csv").open(encoding="utf-8") as file:
        history = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    plot_history(history, folder / "history.png", kept_epoch=len(history), one_loss=False)
    print(f"top-1 {as_text(accuracy, len(labels))}\ntop-5 {as_text(top5, len(labels))}")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "pack" and len(arguments) == 3:
        arguments[2] = int(arguments[2])
    {"pack": pack, "train": train_all, "finish": finish}[command](*arguments)
