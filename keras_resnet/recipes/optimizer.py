"""The optimiser of a recipe: Keras's own SGD and AdamW, and the LAMB of this package."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import keras
from keras.optimizers.schedules import LearningRateSchedule

from keras_resnet import lazy_tensorflow as tf
from keras_resnet.hooks import clipping_of, replace, updating_of, weight_of
from keras_resnet.networks.stages import Stages
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


def scale_by_depth(optimizer: keras.optimizers.Optimizer, model: keras.Model, share: float) -> None:
    """Let an optimizer change each unit of a residual network at `share` of the rate of the unit behind it (arXiv:2106.08254).

    Groups and rates are those of timm: the classifier has the whole rate, the last unit `share` of it, the stem that of the first
    unit times `share`. Weight decay follows the rate. Only this object changes: what is saved of it has the same rate for all.
    InputError where the names of the layers tell no units.
    """
    depths = Stages(model).depths()
    update, decay = updating_of(optimizer)
    whole = optimizer.weight_decay  # of several devices, each is in `scaled_decay` while another has changed it

    def groups(variables: Sequence[Any]) -> dict[float, list[int]]:
        """The places of variables by the share of the rate that they have."""
        shares = {id(weight): share**depth for layer, depth in depths.items() for weight in layer.weights}
        places = defaultdict(list)
        for place, variable in enumerate(variables):
            places[shares.get(id(weight_of(optimizer, variable)), 1.0)].append(place)
        return places

    def scaled_update(gradients: Sequence[Any], variables: Sequence[Any], rate: Any) -> None:
        for scale, places in groups(variables).items():
            update([gradients[place] for place in places], [variables[place] for place in places], rate * scale)

    def scaled_decay(variables: Sequence[Any]) -> None:
        if not whole:
            return
        for scale, places in groups(variables).items():
            optimizer.weight_decay = whole * scale
            decay([variables[place] for place in places])
        optimizer.weight_decay = whole

    replace(optimizer, "_backend_update_step", scaled_update)
    replace(optimizer, "_apply_weight_decay", scaled_decay)
