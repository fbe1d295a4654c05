"""The run folder that a training leaves: its weights, its metrics, and what a person wants to know of the test images."""

import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnet.atomic import write_json, write_whole
from keras_resnet.confidence import interval
from keras_resnet.data import Dataset
from keras_resnet.fields import to_json
from keras_resnet.networks.layers import build
from keras_resnet.networks.variants import name_of
from keras_resnet.recipes.quantization_aware import release
from keras_resnet.runs.evaluation import counted, mistakes, plot_confusion, probabilities, report
from keras_resnet.runs.history import plot_history, write_history
from keras_resnet.runs.run import CONFUSION, SAMPLE, Run, is_run
from keras_resnet.training.first_weights import origin
from keras_resnet.training.recall import recall_of
from keras_resnet.training.session import Training

MOST_CLASSES = 100  # up to which the confusion matrix is among the metrics


def save(training: Training, out: Path, *, overwrite: bool = False, **remarks: str) -> Run:
    """Write the run folder, whole or not at all. The metrics are those of the weights that are kept, with `remarks` beside them."""
    may_replace = is_run if overwrite else lambda path: False
    return Run.open(write_whole(out, lambda folder: write_contents(training, folder, remarks), may_replace=may_replace))


def write_contents(training: Training, folder: Path, remarks: dict[str, str]) -> None:
    """Write the files of a run, see `runs.CONTENTS`, into `folder`."""
    spec, weights = training.spec, training.weights
    plain = build(spec)  # never compiled, so its files hold no optimiser and open anywhere
    plain.set_weights(weights.last)
    save_weights(plain, folder / "last.weights.h5")
    training.give_kept_weights(plain)
    plain.save(folder / "model.keras")
    (folder / "spec.json").write_text(to_json(spec), encoding="utf-8")
    (folder / "recipe.json").write_text(to_json(training.recipe), encoding="utf-8")
    (folder / "labels.txt").write_text("\n".join(training.data.class_names) + "\n", encoding="utf-8")
    write_json(folder / "data.json", {**training.data.origin, "digest": training.data.digest})
    found = metrics(training)
    found["test"] |= examined(training, folder)
    write_json(folder / "metrics.json", {**found, **write_sample(training.data, folder), **remarks})
    write_json(folder / "environment.json", training.environment)
    write_history(weights.history, folder / "history.csv")
    one_loss = training.recipe.is_cross_entropy and not training.teachers
    plot_history(weights.history, folder / "history.png", kept_epoch=training.kept_epoch, one_loss=one_loss)


def save_weights(model: keras.Model, path: Path) -> None:
    """As `model.save_weights`, in which HDF5 ends the process where the disk is full: a `.keras` file has the same file inside, and
    Python writes it."""
    archive = path.with_suffix(".keras")
    model.save(archive)
    with zipfile.ZipFile(archive) as files:
        path.write_bytes(files.read("model.weights.h5"))
    archive.unlink()


def write_sample(data: Dataset, folder: Path) -> dict[str, Any]:
    """Write the first test image, if it is a picture, for `predict` to be tried on; what the metrics say of it."""
    if len(data.image_shape) != 3 or data.image_shape[-1] not in (1, 3):
        return {}
    from PIL import Image

    split = data.splits["test"]
    pixels = np.clip(np.rint(split.take(np.arange(1))[0]), 0, 255).astype("uint8")
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(folder / SAMPLE)
    return {"sample": {"file": SAMPLE, "split": "test", "class": data.class_names[int(split.labels[0])]}}


def metrics(training: Training) -> dict[str, Any]:
    """What the training cost, and accuracy and loss of the weights that are kept on the validation and the test images."""
    model, data = training.weights.plain, training.data
    release(model, keep_kernels=True)
    training.give_kept_weights(model)
    return {
        "network": name_of(training.spec),
        "parameters": model.count_params(),
        "images": {split: len(examples) for split, examples in data.splits.items()},
        "seed": training.seed,
        **origin(training.init),
        **({"init_name": training.init.name} if training.init else {}),
        **({"teachers": [each.facts for each in training.teachers]} if training.teachers else {}),
        "epochs": len(training.weights.history),
        "kept_epoch": training.kept_epoch,
        **({"linear_probe": {"strength": probe.strength, "validation": probe.validation}} if (probe := training.probe) else {}),
        **training.throughput.facts(),
        **{split: measured(model, data, split) for split in ("validation", "test")},
    }


def measured(model: keras.Model, data: Dataset, split: str) -> dict[str, Any]:
    """Of the `plain` model of a training on a split: accuracy with its 95 % interval and the number of images, loss, balanced
    accuracy, and recall by class, None for a class without images."""
    results, images = model.evaluate(data.batches(split), verbose=0, return_dict=True), len(data.splits[split])
    return {
        **results,
        "accuracy_interval": interval(results["accuracy"], images),
        "images": images,
        "recall": dict(zip(data.class_names, recall_of(model).by_class(), strict=True)),
    }


def examined(training: Training, folder: Path) -> dict[str, Any]:
    """What a person wants to know of the test images: precision by class, the most confident mistakes, and, where the classes are
    not too many, the confusion matrix, of which there is a picture too."""
    data, names = training.data, list(training.data.class_names)
    model, split = training.weights.plain, data.splits["test"]
    # Not `predict`, which traces the network once more: that takes longer than a few hundred images.
    outputs = np.concatenate([keras.ops.convert_to_numpy(model(images, training=False)) for images, _ in data.test])
    shares = probabilities(outputs) if training.spec.gives_logits else outputs
    answers = shares.argmax(1)
    counts = counted(answers, split.labels, len(names))
    plot_confusion(counts, names, folder / CONFUSION)
    classes = report(counts, names)["classes"]
    files = [split.name(place) for place in range(len(split))]
    return {
        "precision": {row["class"]: row["precision"] for row in classes},
        "images_by_class": {row["class"]: row["images"] for row in classes},
        **({"confusion_matrix": counts.tolist()} if len(names) <= MOST_CLASSES else {}),
        "mistakes": mistakes(answers, shares.max(1), split.labels, names, files),
    }
