"""The optimiser and the learning rates that a recipe asks for, made of Keras's own."""

import keras

from keras_resnet.recipes import Recipe

NO_WEIGHT_DECAY = ["gamma", "beta", "bias"]


def optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """The optimiser of a recipe for a training of `steps` steps."""
    rate = learning_rate(recipe, steps)
    if recipe.optimizer == "adamw":
        result = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, global_clipnorm=recipe.clip_norm)
    else:
        # Keras decays weights apart from the gradient. The papers' L2 penalty passes through the momentum, which
        # multiplies it by 1 / (1 - momentum) in the long run.
        result = keras.optimizers.SGD(
            rate,
            recipe.momentum,
            nesterov=recipe.momentum > 0,
            weight_decay=recipe.weight_decay / (1 - recipe.momentum),
            global_clipnorm=recipe.clip_norm,
        )
    result.exclude_from_weight_decay(var_names=NO_WEIGHT_DECAY)
    return result


def learning_rate(recipe: Recipe, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The schedule of a recipe for a training of `steps` steps."""
    peak, warmup = recipe.learning_rate, round(recipe.warmup * steps)
    if recipe.schedule == "cosine":
        start, target = (peak / 100, peak) if warmup else (peak, None)
        return keras.optimizers.schedules.CosineDecay(start, max(1, steps - warmup), warmup_target=target, warmup_steps=warmup)
    changes = [round(share * steps) for share in recipe.milestones] if recipe.schedule == "step" else []
    values = [peak / 10**drops for drops in range(len(changes) + 1)]
    if warmup or not changes:
        changes, values = [warmup, *changes], [peak / 10 if warmup else peak, *values]
    last_steps = [change - 1 for change in changes]  # Keras changes after a boundary, and counts steps from 0
    return keras.optimizers.schedules.PiecewiseConstantDecay(last_steps, values)
