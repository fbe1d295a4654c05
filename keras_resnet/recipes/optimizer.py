"""The optimiser of a recipe, made from Keras's own."""

import keras
from keras.optimizers.schedules import LearningRateSchedule

from keras_resnet.recipes.fast_kernels import fuse_momentum

NO_WEIGHT_DECAY = ["gamma", "beta", "bias"]


def make_optimizer(
    name: str,
    rate: LearningRateSchedule,
    *,
    momentum: float,
    weight_decay: float,
    clip_norm: float | None = None,
    ema: float = 0.0,
    accumulate: int = 1,
) -> keras.optimizers.Optimizer:
    """SGD with Nesterov momentum, AdamW or LAMB; the arguments are fields of `Recipe`."""
    shared = {
        "global_clipnorm": clip_norm,
        "use_ema": ema > 0,
        "ema_momentum": ema ** (1 / accumulate),  # Keras counts every step, also those that only accumulate
        "gradient_accumulation_steps": accumulate if accumulate > 1 else None,
    }
    if name == "sgd":
        # Keras decays weights apart from the gradient. The papers' L2 penalty passes through the momentum, which
        # multiplies it by 1 / (1 - momentum) in the long run.
        decay = weight_decay / (1 - momentum) or None  # 0 would be computed
        optimizer = keras.optimizers.SGD(rate, momentum, nesterov=momentum > 0, weight_decay=decay, **shared)
        fuse_momentum(optimizer)
    else:
        make = {"adamw": keras.optimizers.AdamW, "lamb": keras.optimizers.Lamb}[name]
        optimizer = make(rate, weight_decay=weight_decay, **shared)
    if weight_decay:
        optimizer.exclude_from_weight_decay(var_names=NO_WEIGHT_DECAY)
    return optimizer
