"""Compiles a Keras classifier for a recipe."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_resnet.errors import InputError
from keras_resnet.networks.settings import fixed_settings
from keras_resnet.recipes.distillation import distill, forget_teachers
from keras_resnet.recipes.fast_kernels import fuse, prepare_metrics, synchronize_normalization
from keras_resnet.recipes.optimizer import scale_by_depth
from keras_resnet.recipes.quantization_aware import release, simulate_integers


def compile_for(
    recipe: Any,
    model: keras.Model,
    steps_per_epoch: int,
    *,
    from_logits: bool,
    class_weights: Sequence[float] | None,
    one_hot: bool | None,
    teachers: Sequence[keras.Model],
) -> None:
    """`Recipe.compile`, whose arguments these are."""
    if recipe.class_weight != "none" and class_weights is None:
        raise InputError(
            f"class_weight={recipe.class_weight!r} needs the labels of the images: "
            "pass class_weights=recipe.class_weights(labels, class_names)"
        )
    optimizer = recipe.make_optimizer(recipe.epochs * steps_per_epoch)
    if recipe.layer_decay != 1:
        scale_by_depth(optimizer, model, recipe.layer_decay)
    one_hot = recipe.labels_are_one_hot(one_hot)
    if recipe.sync_norm:
        synchronize_normalization(model)
    release(model, keep_kernels=True)
    forget_teachers(model)
    fuse(model)
    with fixed_settings():
        if teachers:
            distill(model, teachers, recipe, from_logits=from_logits)
        if recipe.quantization_aware:
            simulate_integers(model, recipe.weight_bits)
        model.compile(
            optimizer,
            recipe.make_loss(from_logits=from_logits, class_weights=class_weights, one_hot=one_hot),
            metrics=["accuracy"],
            jit_compile=recipe.jit_compile,
            steps_per_execution=largest_divisor(steps_per_epoch, recipe.steps_per_execution),
        )
        if model.built:
            prepare_metrics(model, one_hot=one_hot)
            model.optimizer.build(model.trainable_variables)


def largest_divisor(steps: int, most: int) -> int:
    """The largest number up to `most` that divides `steps`: with another number of steps per execution, Keras lengthens epochs."""
    return max(count for count in range(1, most + 1) if steps % count == 0)
