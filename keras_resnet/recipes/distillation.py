"""Knowledge distillation: a network learns from trained ones, its teachers, beside the labels.

Only the loss of the one model object changes, while it trains: layers, weights and the saved file are those of the plain model.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnet.errors import InputError
from keras_resnet.hooks import replace, restore
from keras_resnet.networks.connections import gives_probabilities, is_functional
from keras_resnet.networks.stages import Stages

TARGET, OTHERS = 1.0, 8.0
"""Weights of the two parts of decoupled distillation, those of CIFAR in arXiv:2203.08679."""
ATTENTION = 1000.0
"""Weight of attention transfer, that of CIFAR in arXiv:1612.03928."""
SIDE = 32  # of the images that a teacher is tried on, where the network takes any size
PICTURE = 3  # axes of an image that can be resized: height, width, channels
SURE = 1e4  # subtracted from the logit of a class to leave it out

Teaching = Callable[[Any, Any, Any, Any], Any]
"""Images, labels, outputs and weights of the images of a batch, or None, to the loss of the teachers, a scalar."""


def distill(model: keras.Model, teachers: Sequence[keras.Model], recipe: Any, *, from_logits: bool = True) -> None:
    """Let `model` train with the weighted sum of two losses: that of the labels, and that of `teachers`. Compile it afterwards.

    Args:
        model: a functional or Sequential classifier, puts out (batch, classes).
        teachers: classifiers of the same classes. They are frozen. Pictures are resized for a teacher of another size.
        recipe: a `Recipe`, of which `distill`, `temperature`, `label_weight` and `distill_weight` count.
        from_logits: whether `model` puts out logits, or probabilities.

    InputError where a teacher takes other images or puts out another shape, and for "features" where a model has no stages.
    """
    for teacher in teachers:
        check_images(teacher, model)
        if teacher is model:
            raise InputError(f"the teacher {teacher.name!r} is the network itself: load it a second time")
    of_labels, of_teachers = recipe.distill_weights
    if recipe.distill == "features":
        taught = by_attention(model, teachers)
    else:
        taught = by_outputs(model, teachers, recipe.distill, recipe.temperature, from_logits=from_logits)
    for teacher in teachers:
        teacher.trainable = False
    plain = model.compute_loss

    def compute_loss(x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True) -> Any:
        loss = plain(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        return of_labels * loss + of_teachers * taught(x, y, y_pred, sample_weight) if training else loss

    replace(model, "compute_loss", compute_loss)


def forget_teachers(model: keras.Model) -> None:
    """Undo `distill`."""
    restore(model, "compute_loss")
    if captured := getattr(model.call, "captures_for", None):
        replace(model, "call", captured)


def by_outputs(
    model: keras.Model, teachers: Sequence[keras.Model], kind: str, temperature: float, *, from_logits: bool
) -> Teaching:
    """The loss between the class probabilities of network and teachers at a temperature."""
    asked = [answering(teacher, model) for teacher in teachers]
    loss = {"logits": Divergence, "decoupled": DecoupledDivergence}[kind](temperature)

    def taught(images: Any, labels: Any, outputs: Any, weights: Any) -> Any:
        answers = mean_of([softened(ask(images), temperature, gives_logits) for ask, gives_logits in asked])
        target = labels if len(labels.shape) == len(outputs.shape) and labels.shape[-1] != 1 else None
        classes = ops.reshape(labels, (-1,)) if target is None else ops.argmax(target, axis=-1)
        asked_for = ops.stop_gradient(answers), ops.one_hot(classes, outputs.shape[-1])
        return loss(asked_for, softened(outputs, temperature, from_logits), sample_weight=weights)

    return taught


def check_images(teacher: keras.Model, student: keras.Model) -> None:
    """InputError where a teacher cannot take the images of a network. A model that does not say its shape is not checked."""
    given, taken = shape_of(student), shape_of(teacher)
    if not given:
        raise InputError(f"{student.name!r} does not say which images it takes: a teacher needs a functional or Sequential model")
    if not taken:
        return
    if len(taken) != len(given) or taken[-1] not in (given[-1], None):
        raise InputError(f"the teacher {teacher.name!r} takes images of {taken}, and the network of {given}")
    if len(taken) != PICTURE and any(size not in (None, own) for size, own in zip(taken, given, strict=True)):
        raise InputError(
            f"the teacher {teacher.name!r} takes images of {taken}, and the network of {given}: only pictures are resized"
        )


def answering(teacher: keras.Model, student: keras.Model) -> tuple[Callable[[Any], Any], bool]:
    """What gives a teacher's outputs (batch, classes) for images, and whether they are logits. InputError where they do not fit."""
    *sides, channels = shape_of(student)
    shape = [2, *(side or SIDE for side in sides), channels or 1]
    noise = np.random.default_rng(0).integers(0, 256, shape).astype("float32")

    def ask(images: Any) -> Any:
        return keras.tree.flatten(teacher(at_size_of(teacher, images), training=False))[0]

    tried = ops.convert_to_numpy(ops.cast(ask(ops.convert_to_tensor(noise)), "float32"))
    if tried.shape != (2, student.output_shape[-1]):
        raise InputError(
            f"the teacher {teacher.name!r} returns {tried.shape[1:]}, and not {student.output_shape[1:]} as the network"
        )
    sums_to_1 = np.allclose(tried.sum(axis=-1), 1, atol=0.01) and tried.min() >= 0
    if gives_probabilities(teacher) and not sums_to_1:
        raise InputError(f"the probabilities of the teacher {teacher.name!r} do not add up to 1: it needs a softmax, or logits")
    return ask, not sums_to_1


def at_size_of(teacher: keras.Model, images: Any) -> Any:
    """Images in the size of a teacher that takes one size only."""
    size = shape_of(teacher)[:-1]
    if None in size or tuple(images.shape[1:-1]) == size or not size:
        return images
    return ops.image.resize(ops.cast(images, "float32"), size, antialias=True, data_format="channels_last")


def shape_of(model: keras.Model) -> tuple[int | None, ...]:
    """Of the images that a model takes, None where it takes any size; () where it does not say."""
    shape = getattr(model, "input_shape", None) if getattr(model, "inputs", None) else None
    return tuple(shape[1:]) if isinstance(shape, tuple) else ()


def softened(outputs: Any, temperature: float, from_logits: bool) -> Any:
    """Logarithms of the class probabilities (batch, classes) at a temperature."""
    outputs = ops.cast(outputs, "float32")
    logits = outputs if from_logits else ops.log(ops.maximum(outputs, keras.config.epsilon()))
    return ops.log_softmax(logits / temperature, axis=-1)


def mean_of(logarithms: list[Any]) -> Any:
    """The logarithms of the means of probabilities."""
    if len(logarithms) == 1:
        return logarithms[0]
    return ops.logsumexp(ops.stack(logarithms), axis=0) - np.log(len(logarithms)).astype("float32")


def divergence(teacher: Any, student: Any) -> Any:
    """Kullback-Leibler divergence (batch,) of probabilities (batch, classes), given their logarithms."""
    return ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)


class Divergence(keras.losses.Loss):
    """Divergence of the class probabilities at a temperature, times its square (arXiv:1503.02531 section 2)."""

    def __init__(self, temperature: float) -> None:
        super().__init__(name="distillation")
        self.temperature = temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(logarithms of the teacher's probabilities, one-hot labels) and those of the network, (batch, classes) each, to losses
        (batch,)."""
        return divergence(y_true[0], y_pred) * self.temperature**2


class DecoupledDivergence(Divergence):
    """The divergence of two parts, weighed apart (arXiv:2203.08679): whether it is the target class, and which of the others."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """As `Divergence.call`."""
        teacher, target = y_true
        parts = [self.parts(logarithms, target) for logarithms in (teacher, y_pred)]
        is_target, others = (divergence(*both) for both in zip(*parts, strict=True))
        return (TARGET * is_target + OTHERS * others) * self.temperature**2

    def parts(self, logarithms: Any, target: Any) -> tuple[Any, Any]:
        """Logarithms of the probabilities of target and not target (batch, 2), and of each class if it is not the target (batch,
        classes)."""
        without = logarithms - SURE * target
        both = [ops.sum(logarithms * target, axis=-1), ops.logsumexp(without, axis=-1)]
        return ops.stack(both, axis=-1), ops.log_softmax(without, axis=-1)


def by_attention(model: keras.Model, teachers: Sequence[keras.Model]) -> Teaching:
    """The loss between attention maps of network and teachers, stage by stage from the last one on; the mean of the teachers."""
    if None in model.input_shape[1:]:
        raise InputError("distill='features' compares maps of one size: it needs images of one size, without progressive resizing")
    ends, ends_of_teachers = ends_of_stages(model), [ends_of_stages(teacher) for teacher in teachers]
    for teacher, others in zip(teachers, ends_of_teachers, strict=True):
        for map_, own in zip(reversed(others), reversed(ends), strict=False):
            if map_.shape[1:-1] != own.shape[1:-1] and len(own.shape) != 1 + PICTURE:
                raise InputError(
                    f"distill='features' compares maps of {map_.shape[1:-1]} of the teacher {teacher.name!r} with maps of "
                    f"{own.shape[1:-1]}: only those of pictures are resized; use 'logits'"
                )
    mine, loss = capture(model, ends), AttentionDistance()
    theirs = [keras.Model(teacher.inputs, each) for teacher, each in zip(teachers, ends_of_teachers, strict=True)]

    def taught(images: Any, labels: Any, outputs: Any, weights: Any) -> Any:
        student, losses = mine(), []
        for teacher in theirs:
            maps = keras.tree.flatten(teacher(at_size_of(teacher, images), training=False))
            pairs = zip(reversed(maps), reversed(student), strict=False)
            losses += [loss(ops.stop_gradient(map_), own, sample_weight=weights) for map_, own in pairs]
        return sum(losses[1:], losses[0]) / len(teachers)

    return taught


class AttentionDistance(keras.losses.Loss):
    """Squared distance of attention maps, the mean of the positions (arXiv:1612.03928 equation 2)."""

    def __init__(self) -> None:
        super().__init__(name="attention")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Maps (batch, ..., channels) of a teacher and of the network to losses (batch,). Those of the teacher are resized."""
        if y_true.shape[1:-1] != y_pred.shape[1:-1]:
            size = y_pred.shape[1:-1]
            y_true = ops.image.resize(ops.cast(y_true, "float32"), size, antialias=True, data_format="channels_last")
        return ATTENTION * ops.mean(ops.square(attention(y_true) - attention(y_pred)), axis=-1)


def attention(maps: Any) -> Any:
    """The mean square of all channels of maps (batch, ..., channels), of length 1: (batch, positions)."""
    squares = ops.mean(ops.square(ops.cast(maps, "float32")), axis=-1)
    flat = ops.reshape(squares, (ops.shape(squares)[0], -1))
    # Not `ops.norm`, which has no gradient where all values are zero.
    return flat * ops.rsqrt(ops.maximum(ops.sum(ops.square(flat), axis=-1, keepdims=True), keras.config.epsilon() ** 2))


def ends_of_stages(model: keras.Model) -> list[Any]:
    """The output of the last layer of each stage. InputError for a model whose stages cannot be told."""
    stages = Stages(model)
    if not stages.units:
        raise InputError(f"distill='features' compares stages, and no residual units are found in {model.name!r}: use 'logits'")
    if not is_functional(model) or not set(stages.layers) <= {*model.layers, model}:
        raise InputError(f"distill='features' takes models whose layers are a graph, and {model.name!r} is not one: use 'logits'")
    last = {unit[0]: layers[-1] for unit, layers in stages.units.items()}
    return [layer.output for layer in last.values()]


def capture(model: keras.Model, ends: list[Any]) -> Callable[[], list[Any]]:
    """Let `model` set aside these of its tensors whenever it is called to train; what gives those of the last call.

    InputError for a model that recomputes its units, whose inner tensors are gone when the loss is computed.
    """
    plain, kept = model.call, threading.local()  # each device of a strategy traces in a thread of its own
    if getattr(plain, "recomputes", False):
        raise InputError("distill='features' needs remat=false: with remat=true the maps are not kept in memory")
    wide = keras.Model(model.inputs, [*ends, *keras.tree.flatten(model.outputs)])

    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training:
            return plain(inputs, training=training, mask=mask)
        *kept.maps, output = keras.tree.flatten(wide(inputs, training=training))
        return output

    call.captures_for = plain  # type: ignore[attr-defined]
    replace(model, "call", call)
    return lambda: list(kept.maps)
