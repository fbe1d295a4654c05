"""`fit`: train a network on an image set as a recipe says, and leave a run folder.

The images are an argument and the model is plain Keras, so this also runs on Keras's JAX and PyTorch backends.
"""

import logging
import sys
import zipfile
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnet.atomic import sweep, write_json, write_whole
from keras_resnet.confidence import interval
from keras_resnet.data import Dataset, arguments_for, load
from keras_resnet.data.dataset import errors_in_a_line
from keras_resnet.errors import Diverged
from keras_resnet.fields import to_json
from keras_resnet.networks.layers import build
from keras_resnet.networks.settings import fixed_settings
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import name_of
from keras_resnet.recipes.automatic import AUTO
from keras_resnet.recipes.fast_kernels import graphs_as_written
from keras_resnet.recipes.quantization_aware import release
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.recipes.stop_on_nan import StopOnNaN
from keras_resnet.runs.evaluation import counted, mistakes, plot_confusion, probabilities, report
from keras_resnet.runs.history import plot_history, write_history
from keras_resnet.runs.run import CONFUSION, SAMPLE, Run, check_free, check_outside, is_run
from keras_resnet.training import checkpoint_files
from keras_resnet.training.callbacks import Patience, Progress, RisingLoss
from keras_resnet.training.checkpoint_files import Checkpoint
from keras_resnet.training.checkpoints import Checkpoints
from keras_resnet.training.choosing import choose as choose_for
from keras_resnet.training.distribute import Distribution, choose
from keras_resnet.training.first_weights import FirstWeights, origin
from keras_resnet.training.opening import announce
from keras_resnet.training.precision import settle
from keras_resnet.training.recall import recall_of
from keras_resnet.training.resume import check_finished, checkpoint_to_use, plan_of
from keras_resnet.training.session import Training, example, prepare
from keras_resnet.training.teachers import AnyTeacher, teachers_of
from keras_resnet.training.trainable import checked_seed, suited

LOG = logging.getLogger("keras_resnet")
MOST_CLASSES = 100  # up to which the confusion matrix is among the metrics


@fixed_settings()
def fit(
    spec: str | ResNetSpec | None,
    recipe: str | Recipe | None,
    data: Any,
    out: str | Path,
    *,
    init: str | Path | Run | FirstWeights | None = None,
    teacher: AnyTeacher | Sequence[AnyTeacher] | None = None,
    seed: int = 0,
    strategy: str | Distribution = "auto",
    overwrite: bool = False,
    resume: bool = False,
    checkpoint_every: int | None = None,
    patience: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
) -> Run:
    """Train a network and leave a run folder at `out`.

    Args:
        spec: a name in `SPECS` or a `ResNetSpec`; its input shape and classes are replaced by those of the images. None: the
            network of `init`; without that a pretrained one, or one that suits the images, see `training.choosing`.
        recipe: a name in `RECIPES` or a `Recipe`; None or "auto" to choose one by number, size and kind of the images, see
            `recipes.for_images`.
        data: images and labels: what `keras_resnet.data.load` gives or takes, such as a path, arrays or a `tf.data.Dataset`.
            With `init`, the images of a path are read in the size of its network and, those of a folder, with its channels.
        out: the folder to write, see `runs.CONTENTS`. It appears when the training is complete.
        init: what the training starts from: a run or its folder, a file of weights or the name of one (see `weights.read`), such as
            "tiny-imagenet" for the network that comes with this package; None for random weights. Every layer must have the same
            shape there; only the classifier may differ, for other classes. A chosen recipe is then one of fine-tuning.
        teacher: a trained network to learn from, see `Recipe.distill`: a run or its folder, a file of weights or the name of one,
            or any Keras classifier of the same classes, which is frozen. A list for several: their probabilities are averaged.
        seed: of weights, order and augmentation. The same seed gives the same weights bit for bit on one CPU device; with
            TensorFlow on several cores, where TF_NUM_INTEROP_THREADS=1 is set before it starts (the command line sets it).
        strategy: the devices to train on, a name in `distribute.STRATEGIES` or what `distribute.choose` gave.
        overwrite: replace the run at `out` once this one is complete, and discard its interrupted training.
        resume: continue an interrupted training of the same network, recipe, teachers, seed and images; start it if there is none,
            and return the run at once if it is complete. The final weights are those of a training without interruption.
        checkpoint_every: steps between checkpoints, which are written beside `out`; there is one after every epoch too. None: as
            often as 5 % of the time allows; on several machines every 1000 steps.
        patience: epochs without a better validation accuracy after which the training ends, including those before an interruption;
            None to train all epochs.
        callbacks: your own Keras callbacks. `resume` does not restore their state.
        verbose: 0 prints nothing but warnings; "auto" and 1 print the plan, a line for each epoch and, in a terminal, a progress
            line; 2 prints lines within long epochs instead of that.

    Returns: the `Run`. Its `model.keras` has the weights that `recipe.keep` says.
    Keras's global settings, such as a precision policy, have no effect. InputError if `out` exists, or if an image can no longer
    be read; `resume` continues the training once that is mended. `Diverged` if the loss becomes NaN; the last good weights are
    then in a run folder `out`-diverged.
    """
    seed = checked_seed(seed)
    devices = strategy if isinstance(strategy, Distribution) else choose(strategy)
    first = None if init is None else FirstWeights.of(init, spec)
    teachers = teachers_of(teacher)
    picked = None
    if spec is None and first is None:
        data, picked = choose_for(data, pretrained=recipe in (None, AUTO))
        spec, first = picked.network, picked.init
    data = load(data, **arguments_for(first.spec, data) if first else {})
    spec, recipe, data = suited(spec, recipe, data, devices, first)
    check_outside(out, data.origin["source"])
    for each in teachers:
        each.check(data, recipe)
    plan = plan_of(spec, recipe, data, seed, first, teachers)
    if resume and is_run(Path(out)):
        return finished(Run.open(out), plan, devices, shows=bool(verbose))
    out = check_free(out, overwrite) if devices.chief else Path(out)
    folder = checkpoint_files.folder_of(out)
    with checkpoint_files.occupied(folder) if devices.chief else nullcontext():
        checkpoint = checkpoint_to_use(folder, plan, out, resume=resume, overwrite=overwrite, chief=devices.chief)
        if checkpoint:
            if note := data.resume_note():
                LOG.warning(f"resume: {note}")
            recipe = Recipe(**checkpoint.facts["plan"]["recipe"])
        if devices.chief:
            if picked and verbose:
                print("\n".join(picked.lines(data, recipe)), flush=True)
            done = (checkpoint.step if checkpoint else 0) if resume else None
            announce(spec, recipe, data, done, begins_at_random=first is None, shows=bool(verbose), teachers=teachers)
        with graphs_as_written(), errors_in_a_line():
            recipe = settle(spec, recipe, devices)
            training = prepare(spec, recipe, data, seed, devices, first, teachers)
            saver = Checkpoints(training, folder, plan_of(spec, recipe, data, seed, first, teachers), checkpoint_every)
            stopping = [Patience(training.weights, patience)] if patience else []
            try:
                with saver:
                    run_epochs(training, saver, checkpoint, [*callbacks, *stopping], verbose)
            except Diverged as error:
                raise (ended_by(error, training, out) if devices.chief else error) from None
            run = save(training, out, overwrite=overwrite) if devices.chief else Run(out)
        if devices.chief:
            checkpoint_files.clear(folder)
    devices.wait()
    if run.path != out:
        LOG.warning(f"{str(out)!r} was taken in the meantime; the run is in {str(run.path)!r}")
    return run


def finished(run: Run, plan: dict[str, Any], devices: Distribution, *, shows: bool) -> Run:
    """The run of a training that is complete. InputError if it came out of another one than the planned."""
    check_finished(run, plan)
    if devices.chief:
        sweep(run.path)  # it may have been killed when all was done
        checkpoint_files.forget(checkpoint_files.folder_of(run.path))
        if shows:
            print(f"{str(run.path)!r} is complete: nothing is left to train", flush=True)
    return run


def run_epochs(
    training: Training,
    saver: Checkpoints,
    checkpoint: Checkpoint | None,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: int | str,
) -> None:
    """Train the model, from the checkpoint on if there is one. `Diverged` if the loss becomes NaN."""
    recipe, data, devices, each = training.recipe, training.data, training.distribution, training.steps_per_epoch
    saver.restore(checkpoint)
    shows = bool(verbose) and devices.chief
    live = shows and verbose != 2 and sys.stdout.isatty()
    progress = Progress(lambda: saver.step, recipe.epochs * each, recipe.epochs, live=live)
    watching = [RisingLoss(len(data.class_names), recipe.learning_rate)] * devices.chief + [progress] * shows
    devices.prepare(training.model, *example(data, recipe, devices.replicas))
    while saver.step < recipe.epochs * each and not training.model.stop_training:
        # An epoch that was interrupted takes fewer steps, and so a call of its own.
        epoch, done = divmod(saver.step, each)
        batches = devices.batches(partial(data.training_batches, recipe, seed=training.seed, start=saver.step))
        with devices.fitting(), errors_in_a_line(), progress.bar if live else nullcontext():
            training.model.fit(
                batches,
                steps_per_epoch=each - done,
                initial_epoch=epoch,
                epochs=epoch + 1 if done else recipe.epochs,
                callbacks=[StopOnNaN(done), training.throughput, training.weights, saver, *callbacks, *watching],
                shuffle=False,  # the stream is in its own order
                verbose=0,
            )


def save(training: Training, out: Path, *, overwrite: bool = False, **remarks: str) -> Run:
    """Write the run folder, whole or not at all. The metrics are those of the weights that are kept, with `remarks` beside them."""
    may_replace = is_run if overwrite else lambda path: False
    return Run.open(write_whole(out, lambda folder: write_contents(training, folder, remarks), may_replace=may_replace))


def ended_by(error: Diverged, training: Training, out: Path) -> Diverged:
    """The error, with what became of the last good weights: if an epoch gave some, they are in a run folder `out`-diverged."""
    outcome = "no epoch was complete: try a lower learning_rate"
    if training.weights.best_epoch:
        run = save(training, out.with_name(f"{out.name}-diverged"), diverged=str(error))
        outcome = f"the last good weights are in {str(run.path)!r}; try again with a lower learning_rate"
    checkpoint_files.clear(checkpoint_files.folder_of(out))
    return Diverged(f"{error}; {outcome}")


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
