"""`Recipe`: how a network is trained, as data. The named ones are in `named.py`.

Nothing is trained here: `training.fit` does that. Lengths in a schedule are fractions of the training, so it scales with `epochs`;
a learning rate may be given for another batch size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from keras_resnet.errors import InputError
from keras_resnet.fields import coerce_all, documented
from keras_resnet.recipes.class_weights import as_setting, weights_of
from keras_resnet.recipes.limits import check

if TYPE_CHECKING:
    import keras


@documented
@dataclass(frozen=True)
class Recipe:
    """How to train a network. A wrong value raises `InputError` (a ValueError) that says what was received and what is allowed."""

    epochs: int = 30
    """Passes over the training images."""
    batch_size: int = 128
    """Images in a step, on all devices together."""
    accumulate: int = 1
    """Steps whose gradients are averaged before the weights are updated."""
    optimizer: Literal["sgd", "adamw", "lamb"] = "sgd"
    """SGD with momentum, AdamW (arXiv:1711.05101) or LAMB (arXiv:1904.00962). LAMB is the variant of arXiv:2110.00476: decay inside
    the trust ratio, no ratio for weights without decay, gradient clipped to norm 1 unless `clip_norm` is set."""
    learning_rate: float = 0.1
    """The highest learning rate of the schedule."""
    learning_rate_batch: int | None = None
    """Batch size that `learning_rate` is for: the rate scales in proportion to batch_size * accumulate (arXiv:1706.02677).
    None: no scaling."""
    momentum: float = 0.9
    """Of SGD."""
    nesterov: bool = True
    """Nesterov momentum for SGD; false for the plain momentum of Caffe and the first papers."""
    weight_decay: float = 5e-4
    """For SGD the L2 penalty of the papers (applied apart from the momentum, equivalent in the long run); for AdamW decoupled; for
    LAMB part of the update."""
    decay: Literal["kernels", "all"] = "kernels"
    """Which weights decay: kernels of convolutions and the classifier only, or all, including biases and the scales and shifts of
    normalisation, as frameworks do by default."""
    layer_decay: float = 1.0
    """Layer-wise decay of the learning rate for fine-tuning (arXiv:2106.08254): each residual unit trains at this share of the rate
    of the unit after it. The classifier has the whole rate, the last unit `layer_decay` of it, and the stem `layer_decay` to the
    power of the number of units plus one. Weight decay, which is in proportion to the rate, falls with it. Above 0 and at most
    1."""
    schedule: Literal["cosine", "linear", "step", "constant"] = "cosine"
    """Learning rate after the warm-up: cosine or linear decay to zero, division by ten at each milestone, or constant. "linear"
    with a long warm-up is "one-cycle" (arXiv:1708.07120)."""
    warmup: float = 0.2
    """Fraction of all steps that is warm-up."""
    warmup_start: float = 0.01
    """Learning rate at the start of the warm-up, as a fraction of learning_rate."""
    warmup_shape: Literal["linear", "constant"] = "linear"
    """Linear rise to learning_rate, or constant until the warm-up is over."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """Fractions of all steps after which a step schedule divides the learning rate by ten."""
    loss: Literal["softmax", "binary"] = "softmax"
    """Softmax cross-entropy over the classes, or binary cross-entropy of each class (arXiv:2110.00476)."""
    class_weight: Literal["none", "balanced"] | tuple[tuple[str, float], ...] = "none"
    """Weight of an image in the loss, by its class: all equal; "balanced", inversely proportional to the number of training images
    of the class; or a dictionary of weights by name or number of the class, 1 for missing ones."""
    label_smoothing: float = 0.0
    """Share of the target that is spread evenly over all classes (arXiv:1512.00567)."""
    distill: Literal["logits", "decoupled", "features"] = "logits"
    """What is learned from a teacher, if there is one (`fit(teacher=)`, `--teacher`). "logits": its class probabilities
    (arXiv:1503.02531). "decoupled": the same, the target class apart from the others (arXiv:2203.08679). "features": where each
    stage has its largest values (attention transfer, arXiv:1612.03928). Teacher and network see the same augmented images
    (arXiv:2106.05237)."""
    temperature: float = 4.0
    """Divides the logits of network and teacher before their probabilities are compared. Not used by "features"."""
    label_weight: float | None = None
    """Weight of the loss of the labels, if there is a teacher. None: 0.1 for "logits", else 1."""
    distill_weight: float | None = None
    """Weight of the loss of the teacher. None: 0.9 for "logits", else 1."""
    crop: int = 4
    """Shift each training image at random by up to this many pixels in each direction; 0 for none."""
    crop_edges: Literal["mirror", "zero"] = "mirror"
    """Fill the edges of a shifted image by mirroring, or with 0 (black)."""
    resized_crop: float | None = None
    """Random resized crop of at least this share of the area, aspect 3:4 to 4:3 (arXiv:1409.4842). If a long photo has no such
    crop, the largest one of such an aspect is used."""
    flip: bool = True
    """Mirror half of the training images left to right."""
    augment: Literal["none", "randaugment", "trivialaugment"] = "none"
    """Random geometric and colour operations (arXiv:1909.13719, arXiv:2103.10158)."""
    randaugment_layers: int = 2
    """Operations that RandAugment applies to an image."""
    magnitude: float = 9.0
    """Strength of RandAugment, up to 10."""
    erase: float = 0.0
    """Probability to fill a random rectangle with noise (arXiv:1708.04896)."""
    mixup: float = 0.0
    """MixUp: blend pairs of images, share drawn from Beta(mixup, mixup) (arXiv:1710.09412); 0 for none."""
    cutmix: float = 0.0
    """CutMix: paste a rectangle of one image into another, size drawn from Beta(cutmix, cutmix) (arXiv:1905.04899); 0 for none.
    With `mixup`, each step does one or the other."""
    repeats: int = 1
    """Repeated augmentation: each image comes this many times with different augmentation, so fewer images an epoch
    (arXiv:1901.09335)."""
    progressive: tuple[float, ...] = ()
    """Progressive resizing: fractions of the image size, each for an equal part of the training (arXiv:2104.00298); () for full
    size."""
    ema: float = 0.0
    """Validate and save an exponential moving average of the weights with this decay; 0 for the weights themselves. The statistics
    of batch normalisation are recomputed for the average. In a `fit` of your own, Keras sets the weights to the average at the end:
    then call `batch_statistics.recompute_statistics(model, batches)`."""
    keep: Literal["auto", "last", "best"] = "auto"
    """Which weights a run keeps: those of the last or of the best epoch. "best" is the latest epoch whose validation accuracy is
    within one standard error of the highest. "auto" is "last" if the schedule ends at zero and all epochs were trained, else
    "best". With `linear_probe`, the fitted classifier alone is kept where it is better than these."""
    clip_norm: float | None = None
    """Clip the gradient of all weights together to this norm. None for no limit (LAMB: 1)."""
    sync_norm: bool = False
    """On several devices, normalise over the images of all of them together (on JAX this is always so)."""
    precision: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    """Precision of the computation; weights stay float32. "auto" measures whether float32 or bfloat16 is faster here; it tries
    bfloat16 only if the device has instructions for it."""
    jit: Literal["default", "off", "on", "auto"] = "default"
    """Compile a step by XLA, on TensorFlow. "default" is Keras's own choice, on for a GPU; "auto" measures which is faster here."""
    steps_per_execution: int = 1
    """Steps between callbacks, as in Keras: more is faster if steps are short. It is lowered to a divisor of the steps in an
    epoch."""
    remat: bool = False
    """Gradient checkpointing: recompute every unit for the backward pass; less memory, more time."""
    linear_probe: bool = False
    """Fit the classifier of a pretrained network to its features before fine-tuning (arXiv:2202.10054). The run keeps the network
    as it is then if fine-tuning makes it less accurate on the validation images, beyond chance. Needs trained weights (`init`)."""
    quantization_aware: bool = False
    """Quantisation-aware training of a trained network, see `quantization.simulate_integers`; batch normalisation is frozen. In a
    `fit` of your own, call `quantization.release(model)` before you export the model."""
    weight_bits: int = 8
    """Bits of the weights in quantisation-aware training: 8 for int8 files, 4 for int4 files."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weight", as_setting(self.class_weight))
        coerce_all(self)
        check(self)

    @property
    def peak_learning_rate(self) -> float:
        """The highest learning rate, scaled to the batch."""
        if self.learning_rate_batch is None:
            return self.learning_rate
        return self.learning_rate / self.learning_rate_batch * self.batch_size * self.accumulate

    @property
    def ends_at_zero(self) -> bool:
        """Whether the learning rate falls to zero over all epochs."""
        return self.schedule in ("cosine", "linear")

    @property
    def one_hot(self) -> bool:
        """Whether the loss takes labels (batch, classes), one-hot or shares of classes, instead of integers (batch,)."""
        return bool(self.mixes or self.label_smoothing or self.loss == "binary")

    @property
    def is_cross_entropy(self) -> bool:
        """Whether the loss is plain cross-entropy, as that of validation always is."""
        return not self.one_hot and self.class_weight == "none"

    @property
    def mixes(self) -> bool:
        """Whether labels become shares of classes."""
        return bool(self.mixup or self.cutmix)

    @property
    def distill_weights(self) -> tuple[float, float]:
        """Weights of the loss of the labels and of that of the teachers."""
        of_labels, of_teachers = (0.1, 0.9) if self.distill == "logits" else (1.0, 1.0)
        return (
            of_labels if self.label_weight is None else self.label_weight,
            of_teachers if self.distill_weight is None else self.distill_weight,
        )

    def fitting(self, examples: int) -> "Recipe":
        """The recipe for a set of `examples` training images: its batch is not larger."""
        return replace(self, batch_size=min(self.batch_size, examples))

    def class_weights(self, labels: Any, class_names: Sequence[str]) -> list[float] | None:
        """The weight of each of `class_names`, given the training labels (images,); None if all are equal."""
        return weights_of(self.class_weight, labels, class_names)

    def compile(
        self,
        model: "keras.Model",
        steps_per_epoch: int,
        *,
        from_logits: bool = True,
        class_weights: Sequence[float] | None = None,
        one_hot: bool | None = None,
        teachers: Sequence["keras.Model"] = (),
    ) -> None:
        """Compile any Keras classifier for this recipe.

        Args:
            model: puts out (batch, classes).
            steps_per_epoch: batches in an epoch; the schedule has `epochs` times as many steps.
            from_logits: whether it returns logits, or probabilities.
            class_weights: what `recipe.class_weights` returns, if `class_weight` is not "none".
            one_hot: whether labels are (batch, classes), one-hot or shares of classes, and not integers (batch,). None:
                `recipe.one_hot`, which such a recipe needs.
            teachers: trained classifiers of the same classes to learn from, see `distill`. They put out logits or probabilities,
                and are frozen here (`trainable = False`). The probabilities of several are averaged. `model` must then be
                functional or Sequential.

        The precision is that of the model, `jit="auto"` is Keras's choice, and
        augmentation is left to the caller. To load a saved model, import this package first or use `compile=False`, unless it has
        a cosine schedule, the softmax loss and no LAMB: those are Keras's own. Keras does not save which weights SGD and AdamW do
        not decay: a loaded one decays all. LAMB saves them. Nor does it save `layer_decay`: a loaded one has the same rate for all.

        InputError for a `layer_decay` where the names of the layers tell no residual units.

        >>> recipe.compile(model, steps_per_epoch=len(data.train))
        >>> history = model.fit(data.train, epochs=recipe.epochs, callbacks=recipe.callbacks(), verbose=0)
        """
        from keras_resnet.recipes.compiling import compile_for

        compile_for(
            self,
            model,
            steps_per_epoch,
            from_logits=from_logits,
            class_weights=class_weights,
            one_hot=one_hot,
            teachers=teachers,
        )

    def make_optimizer(self, steps: int) -> "keras.optimizers.Optimizer":
        """The optimiser for a training of `steps` steps. `layer_decay` needs a model, and is left to `compile`."""
        from keras_resnet.recipes.optimizer import make_optimizer

        names = ("momentum", "nesterov", "weight_decay", "decay", "clip_norm", "ema", "accumulate")
        settings = {name: getattr(self, name) for name in names}
        return make_optimizer(self.optimizer, self.make_schedule(steps), **settings)

    def make_schedule(self, steps: int) -> "keras.optimizers.schedules.LearningRateSchedule":
        """The learning rate at each step of a training of `steps` steps."""
        from keras_resnet.recipes.learning_rate import learning_rate

        return learning_rate(
            self.schedule,
            peak=self.peak_learning_rate,
            steps=steps,
            warmup=round(self.warmup * steps),
            start=self.peak_learning_rate * self.warmup_start,
            warmup_shape=self.warmup_shape,
            milestones=self.milestones,
        )

    def labels_are_one_hot(self, given: bool | None) -> bool:
        """Whether the loss takes one-hot labels: `given`, or what the recipe needs. InputError where it needs others than given."""
        if given is False and self.one_hot:
            raise InputError(
                "this recipe mixes or smooths labels, and needs them one-hot: keras.utils.to_categorical(labels, classes)"
            )
        return self.one_hot if given is None else given

    def make_loss(
        self, *, from_logits: bool = True, class_weights: Sequence[float] | None = None, one_hot: bool | None = None
    ) -> "keras.losses.Loss":
        """The loss, for labels that are one-hot where `one_hot` says so; None is what the recipe needs."""
        from keras_resnet.recipes.losses import classification_loss

        kind: dict[str, Any] = {
            "one_hot": self.labels_are_one_hot(one_hot),
            "label_smoothing": self.label_smoothing,
            "class_weights": class_weights,
        }
        return classification_loss(self.loss, from_logits=from_logits, **kind)

    @property
    def jit_compile(self) -> bool | str:
        """`jit` in Keras's terms."""
        import keras

        return {"on": True, "off": False}.get(self.jit, "auto") if keras.backend.backend() == "tensorflow" else "auto"

    def callbacks(self) -> list["keras.callbacks.Callback"]:
        """For `model.fit`: raise `Diverged` at a step whose loss is not finite, switch off TensorFlow's graph optimiser, which
        takes longer than it saves, and warn if a network that normalises its pixels gets scaled ones."""
        from keras_resnet.recipes.fast_kernels import GraphsAsWritten
        from keras_resnet.recipes.stop_on_nan import StopOnNaN
        from keras_resnet.recipes.watch_pixels import WatchPixels

        return [StopOnNaN(), GraphsAsWritten(), WatchPixels()]
