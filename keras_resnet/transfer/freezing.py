"""Layers that do not train: `freeze`, `unfreeze`, and a callback that unfreezes stage by stage."""

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import keras

from keras_resnet.errors import InputError
from keras_resnet.hooks import forget_traces, rebuild_optimizer
from keras_resnet.networks.connections import every_model
from keras_resnet.networks.stages import Stages


def freeze(model: keras.Model, up_to: str | int = "stage3") -> keras.Model:
    """Freeze all layers up to and including a stage, and return the model.

    Every BatchNormalization among them normalises by its moving statistics, as in inference, and these stay as they are, bit for
    bit: Keras does so where `trainable` is False. This is part of the model, so it also holds after `compile`, and after saving and
    loading. Frozen dropout layers still drop. Setting `model.trainable = True` later, on this model or on one around it, trains all
    layers again, statistics included: Keras then sets each of them (on TensorFlow only if the model was not trainable before). Call
    `freeze` again after it.

    Args:
        model: any Keras ResNet, or a model that holds one. Its layers change, also for other models that have them. A compiled one
            may go on with `fit`; if another model around it is compiled, compile that one again.
        up_to: "stem", a stage such as "stage3" (counted from 1; "conv4" of keras.applications is the same), a unit such as
            "stage3_block2", "head" for all, or the name of a layer: each with all layers that feed it. A whole number freezes so
            many layers, in the order of `model.layers`, a model inside it counting as its layers.

    InputError if the model does not have `up_to`; it names what there is.

    >>> frozen = freeze(keras.applications.ResNet50(weights=None), up_to="conv4_block6_out")
    """
    stages = Stages(model)
    frozen = stages.first(up_to) if isinstance(up_to, int) else stages.before(stages.find(up_to))
    return _set_trainable(model, dict.fromkeys(frozen, False))


def unfreeze(model: keras.Model, down_to: str | int = "stem", *, batch_norm: bool = True) -> keras.Model:
    """Let the layers from a stage to the output train again, and return the model. Those before stay as they are.

    Args:
        model: as in `freeze`.
        down_to: the first stage, unit or layer that trains, as in `freeze`; a whole number is the first layer that does.
        batch_norm: False leaves each BatchNormalization as it is, so that frozen statistics stay: the usual choice where batches
            are small.

    InputError if the model does not have `down_to`.
    """
    stages = Stages(model)
    frozen = stages.first(down_to) if isinstance(down_to, int) else stages.before(first := stages.find(down_to)) - first
    chosen = [layer for layer in stages.layers if layer not in frozen]
    if not batch_norm:
        chosen = [layer for layer in chosen if not isinstance(layer, keras.layers.BatchNormalization)]
    return _set_trainable(model, dict.fromkeys(chosen, True))


def _set_trainable(model: keras.Model, flags: Mapping[Any, bool]) -> keras.Model:
    """Set `trainable` of single layers. Models around one that trains are trainable, or Keras would leave it out."""
    before = {layer: layer.trainable for layer in Stages(model).layers}
    after = before | dict(flags)
    for part in every_model(model):
        if not part.trainable and any(after[layer] for layer in Stages(part).layers):
            part.trainable = True  # which sets all its layers
    for layer, flag in after.items():
        if layer.trainable != flag:
            layer.trainable = flag
    if before != after:
        _renew(model)
    return model


def _renew(model: keras.Model) -> None:
    """Let a compiled model train its present weights in the next step."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and optimizer.built:
        rebuild_optimizer(optimizer, model.trainable_variables)
    forget_traces(model)


class StagedUnfreezing(keras.callbacks.Callback):
    """Unfreezes more and more of a model while `fit` runs (arXiv:1801.06146 section 3.3).

    At the start of an epoch, the layers from its stage to the output begin to train. The callback freezes nothing: call `freeze`
    before. The optimizer keeps its step and the momentum of the weights that trained already; the momentum of newly unfrozen
    weights starts at zero. The learning rate follows its schedule, the same for all weights: use a constant schedule or late
    milestones if newly unfrozen layers should train at the full rate. After each change the training step is compiled again. With
    `initial_epoch`, all stages of earlier epochs are unfrozen at once.

    Args:
        stages: what `unfreeze` takes as `down_to`, by epoch. Epochs are counted from 0, as those of Keras's callbacks.
        batch_norm: False leaves each BatchNormalization frozen.

    InputError for an epoch that is not a whole number of at least 0, and at the start of `fit` for a stage that is not there.

    >>> unfreezing = StagedUnfreezing({3: "stage3", 6: "stem"})
    >>> history = model.fit(images, labels, epochs=9, callbacks=[unfreezing], verbose=0)
    """

    def __init__(self, stages: Mapping[int, str | int], *, batch_norm: bool = True) -> None:
        super().__init__()
        for epoch in stages:
            if not isinstance(epoch, Integral) or epoch < 0:
                raise InputError(f"epoch {epoch!r}: expected a whole number of at least 0")
        self.stages, self.batch_norm = dict(sorted(stages.items())), batch_norm
        self.done: set[int] = set()

    def on_train_begin(self, logs: Any = None) -> None:
        self.done = set()
        known = Stages(self.model)
        for place in self.stages.values():
            known.first(place) if isinstance(place, int) else known.find(place)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._unfreeze(due for due in self.stages if due <= epoch and due not in self.done)

    def _unfreeze(self, epochs: Iterable[int]) -> None:
        for epoch in epochs:
            unfreeze(self.model, self.stages[epoch], batch_norm=self.batch_norm)
            self.done.add(epoch)
        if self.model.train_function is None:
            self.model.make_train_function()
