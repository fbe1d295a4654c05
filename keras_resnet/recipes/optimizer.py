"""The optimiser of a recipe: Keras's own SGD and AdamW, and the LAMB of this package."""

from typing import Any

import keras
from keras.optimizers.schedules import LearningRateSchedule

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.hooks import clipping_of, replace
from keras_resnet.recipes.fast_kernels import fuse_momentum
from keras_resnet.recipes.lamb import Lamb

UNDECAYED = {"kernels": ("gamma", "beta", "bias"), "all": ()}
LAMB_CLIP_NORM = 1.0  # of Apex and timm, whose LAMB arXiv:2110.00476 trained with


def make_optimizer(
    name: str,
    rate: LearningRateSchedule,
    *,
    momentum: float,
    weight_decay: float,
    nesterov: bool = True,
    decay: str = "kernels",
    clip_norm: float | None = None,
    ema: float = 0.0,
    accumulate: int = 1,
) -> keras.optimizers.Optimizer:
    """SGD with momentum, AdamW or LAMB; the arguments are fields of `Recipe`."""
    shared = {
        "global_clipnorm": clip_norm,
        "use_ema": ema > 0,
        "ema_momentum": ema ** (1 / accumulate),  # Keras counts every step, also those that only accumulate
        "gradient_accumulation_steps": accumulate if accumulate > 1 else None,
    }
    if name == "lamb":
        shared["global_clipnorm"] = clip_norm or LAMB_CLIP_NORM
        optimizer = Lamb(rate, weight_decay=weight_decay, **shared)
    elif name == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=weight_decay, **shared)
    else:
        # Keras decays weights apart from the gradient. The papers' L2 penalty passes through the momentum, which
        # multiplies it by 1 / (1 - momentum) in the long run.
        share = weight_decay / (1 - momentum) or None  # 0 would be computed
        optimizer = keras.optimizers.SGD(rate, momentum, nesterov=nesterov and momentum > 0, weight_decay=share, **shared)
        fuse_momentum(optimizer)
    if weight_decay and UNDECAYED[decay]:
        optimizer.exclude_from_weight_decay(var_names=UNDECAYED[decay])
    clip_over_devices(optimizer)
    return optimizer


def clip_over_devices(optimizer: keras.optimizers.Optimizer) -> None:
    """Let an optimizer on several TensorFlow devices clip the gradient of all of them together, where Keras's clips that of each.

    It is summed once more for that. On one device, and on the other backends, clipping is Keras's.
    """
    limit, alone = optimizer.global_clipnorm, clipping_of(optimizer)
    if limit is None or keras.backend.backend() != "tensorflow":
        return

    def clip(gradients: list[Any]) -> list[Any]:
        device = tf.distribute.get_replica_context()  # None where they are summed already
        if device is None or device.num_replicas_in_sync == 1:
            return alone(gradients)
        norm = tf.linalg.global_norm(device.all_reduce("SUM", gradients))
        return [gradient * tf.cast(limit / tf.maximum(norm, limit), gradient.dtype) for gradient in gradients]

    replace(optimizer, "_clip_gradients", clip)
