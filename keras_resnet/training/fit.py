"""`fit`: train a network on an image set as a recipe says, and leave a run folder.

The images are an argument and the model is plain Keras, so this also runs on Keras's JAX and PyTorch backends.
"""

import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_resnet.atomic import sweep
from keras_resnet.data import Dataset, arguments_for, load
from keras_resnet.data.pipelines import errors_in_a_line
from keras_resnet.errors import Diverged
from keras_resnet.networks.settings import fixed_settings
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.recipes.automatic import AUTO
from keras_resnet.recipes.fast_kernels import graphs_as_written
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.recipes.stop_on_nan import StopOnNaN
from keras_resnet.runs.run import Run, check_free, check_outside, is_run
from keras_resnet.training import checkpoint_files
from keras_resnet.training.callbacks import Patience, Progress, RisingLoss
from keras_resnet.training.checkpoint_files import Checkpoint
from keras_resnet.training.checkpoints import Checkpoints
from keras_resnet.training.choosing import Choice
from keras_resnet.training.choosing import choose as choose_for
from keras_resnet.training.distribute import Distribution, choose
from keras_resnet.training.first_weights import FirstWeights
from keras_resnet.training.opening import announce
from keras_resnet.training.precision import settle
from keras_resnet.training.resume import check_finished, checkpoint_to_use, plan_of
from keras_resnet.training.saving import save
from keras_resnet.training.session import Training, example, prepare
from keras_resnet.training.teachers import AnyTeacher, Teachers, teachers_of
from keras_resnet.training.trainable import checked_seed, suited

LOG = logging.getLogger("keras_resnet")


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
    plan, picked = planned(spec, recipe, data, seed, devices, init, teacher)
    check_outside(out, plan.data.origin["source"])
    identity = plan.identity  # reads all images
    if resume and is_run(Path(out)):
        return finished(Run.at(Path(out)), identity, devices, shows=bool(verbose))
    out = check_free(out, overwrite) if devices.chief else Path(out)
    folder = checkpoint_files.folder_of(out)
    with checkpoint_files.occupied(folder) if devices.chief else nullcontext():
        checkpoint = checkpoint_to_use(folder, identity, out, resume=resume, overwrite=overwrite, chief=devices.chief)
        plan = resumed(plan, checkpoint)
        if devices.chief:
            done = (checkpoint.step if checkpoint else 0) if resume else None
            tell(plan, picked, done, shows=bool(verbose))
        with graphs_as_written(), errors_in_a_line():
            training = prepare(*plan._replace(recipe=settle(plan.spec, plan.recipe, devices)))
            saver = Checkpoints(training, folder, plan._replace(recipe=training.recipe).identity, checkpoint_every)
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


class Plan(NamedTuple):
    """What is to be trained: the arguments of `session.prepare`."""

    spec: ResNetSpec
    recipe: Recipe
    data: Dataset
    seed: int
    devices: Distribution
    first: FirstWeights | None
    teachers: Teachers

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for the training to be resumed."""
        return plan_of(self.spec, self.recipe, self.data, self.seed, self.first, self.teachers)


def planned(
    spec: str | ResNetSpec | None,
    recipe: str | Recipe | None,
    data: Any,
    seed: int,
    devices: Distribution,
    init: str | Path | Run | FirstWeights | None,
    teacher: AnyTeacher | Sequence[AnyTeacher] | None,
) -> tuple[Plan, Choice | None]:
    """The arguments of `fit` as the network, recipe, images and teachers that they stand for, and what was chosen where neither a
    network nor first weights were given. InputError for what cannot be trained."""
    first, picked = None if init is None else FirstWeights.of(init, spec), None
    teachers = teachers_of(teacher)
    if spec is None and first is None:
        data, picked = choose_for(data, pretrained=recipe in (None, AUTO))
        spec, first = picked.network, picked.init
    data = load(data, **arguments_for(first.spec, data) if first else {})
    spec, recipe, data = suited(spec, recipe, data, devices, first)
    for each in teachers:
        each.check(data, recipe)
    return Plan(spec, recipe, data, seed, devices, first, teachers), picked


def resumed(plan: Plan, checkpoint: Checkpoint | None) -> Plan:
    """The plan with the recipe of the checkpoint, if there is one, in which nothing is "auto" any more."""
    if checkpoint is None:
        return plan
    if note := plan.data.resume_note():
        LOG.warning(f"resume: {note}")
    return plan._replace(recipe=Recipe(**checkpoint.facts["plan"]["recipe"]))


def tell(plan: Plan, picked: Choice | None, done: int | None, *, shows: bool) -> None:
    """Print what was chosen and what is trained, see `opening.announce`."""
    if picked and shows:
        print("\n".join(picked.lines(plan.data, plan.recipe)), flush=True)
    at_random = plan.first is None
    announce(plan.spec, plan.recipe, plan.data, done, begins_at_random=at_random, shows=shows, teachers=plan.teachers)


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


def ended_by(error: Diverged, training: Training, out: Path) -> Diverged:
    """The error, with what became of the last good weights: if an epoch gave some, they are in a run folder `out`-diverged."""
    outcome = "no epoch was complete: try a lower learning_rate"
    if training.weights.best_epoch:
        run = save(training, out.with_name(f"{out.name}-diverged"), diverged=str(error))
        outcome = f"the last good weights are in {str(run.path)!r}; try again with a lower learning_rate"
    checkpoint_files.clear(checkpoint_files.folder_of(out))
    return Diverged(f"{error}; {outcome}")
