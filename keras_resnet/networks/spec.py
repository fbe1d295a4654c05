"""`ResNetSpec`: a residual network as data, and the allowed values of its fields.

Nothing is built here: `layers.build` makes a `keras.Model` of a spec. The named networks are in `variants.py`.
"""

import math
from dataclasses import dataclass
from typing import Literal

from keras_resnet.errors import InputError, shown, unknown
from keras_resnet.fields import check_limits, coerce_all, documented
from keras_resnet.networks.conflicts import CONFLICTS
from keras_resnet.networks.words import OWN_BLOCK, WORDS

# Channel means and standard deviations of training pixels, 0..255.
NORMALIZATIONS = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),  # torchvision: 255 times .485 .456 .406, .229 .224 .225
    "cifar10": ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),  # arXiv:1605.07146, published code
    "half": ((127.5,), (127.5,)),  # -1..1, any number of channels
}

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
Order = Literal["original", "norm_after_addition", "relu_before_addition", "relu_preactivation", "full_preactivation"]
Activation = Literal["relu", "relu6", "leaky_relu", "elu", "selu", "silu", "gelu", "hard_silu", "mish", "tanh"]


@documented
@dataclass(frozen=True)
class ResNetSpec:
    """One residual network: equal specs build the same architecture.

    Pixels are raw, 0..255, channels last; the network normalises them itself. Any legal combination of fields builds.
    A wrong value or an illegal combination raises `InputError` (a ValueError) that says what was received and what is allowed.
    """

    WORDS = WORDS  # of other libraries

    depths: tuple[int, ...] = (2, 2, 2, 2)
    """Residual units in each stage."""
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Filters of the 3x3 convolutions in each stage. A bottleneck unit puts out four times as many channels."""
    block: Literal["basic", "bottleneck", "single"] = "basic"
    """Two 3x3 convolutions; 1x1, 3x3, 1x1; or one 3x3 (arXiv:1512.03385 section 3.2)."""
    stride_on: Literal["3x3", "1x1"] = "3x3"
    """Which convolution of a bottleneck takes the stride: the 3x3 (V1.5), or the first 1x1 as in arXiv:1512.03385 (V1)."""
    stride_in: Literal["first", "last"] = "first"
    """Which unit of a stage takes its stride: the first, or the last (keras.applications' V2, TF-Slim)."""
    stage_strides: tuple[int, ...] | None = None
    """Stride of each stage. None: 1 and then 2, 2, ...; with stride_in="last" 2, 2, ... and then 1, so that the same maps are
    halved."""
    activation_order: Order = "original"
    """Order of normalisation and activation: arXiv:1512.03385, or Table 2 of arXiv:1603.05027."""
    activation: Activation = "relu"
    """Name of a Keras activation."""
    groups: int = 1
    """Groups of a bottleneck's 3x3 convolution, the cardinality of ResNeXt (arXiv:1611.05431)."""
    group_width: int = 64
    """Filters in each group if `widths` is 64, otherwise in proportion: 4 in ResNeXt 32x4d, 128 in Wide ResNet-50-2."""
    squeeze: int | None = None
    """Squeeze-and-excitation at the end of every branch: its reduction ratio (arXiv:1709.01507: 16). None for none."""
    squeeze_divisor: int = 1
    """The squeezed channels are rounded to a multiple of this, and are at least so many (timm: 8)."""
    channel_attention: bool = False
    """Efficient channel attention at the end of every branch: a 1-D convolution over the channel averages (arXiv:1910.03151)."""
    shortcut: Literal["projection", "projection_everywhere", "avg_projection", "subsampling", "padding", "none"] = "projection"
    """The shortcut of units that change the shape: 1x1 convolution (option B of arXiv:1512.03385), average pooling in place of the
    stride, then a 1x1 convolution (ResNet-D, arXiv:1812.01187), or strided subsampling and zero-padded channels (option A).
    "projection_everywhere" has the 1x1 convolution in every unit (option C). "subsampling" has it where the channels change, and
    takes every second pixel where only the size does (keras.applications' V2). "none" leaves out every shortcut: a plain
    network."""
    first_projection: bool = False
    """The first unit of every stage has a projection, also where the shape does not change (Caffe's and PaddleClas's 18 and 34)."""
    shortcut_gate: Literal["exclusive", "shortcut_only"] | None = None
    """Gate g(x), a 1x1 convolution and a sigmoid: the shortcut is multiplied by 1 - g and, if exclusive, the branch by g
    (arXiv:1603.05027 section 3.1)."""
    gate_bias: float = -6.0
    """Initial bias of the gates."""
    shortcut_scale: float = 1.0
    """Constant factor of the shortcut (arXiv:1603.05027 section 3.1: 0.5)."""
    branch_scale: float = 1.0
    """Constant factor of the residual branch."""
    branch_gain: float | None = None
    """Factors of every branch that are learned, one for each channel, and begin at this number: 0 as in SkipInit
    (arXiv:2002.10444), 1 as in Fixup; both papers have one factor for all channels. None for no factors."""
    shortcut_dropout: float = 0.0
    """Dropout rate on the shortcut (arXiv:1603.05027 section 3.1)."""
    branch_dropout: float = 0.0
    """Dropout rate before the last convolution of a branch (arXiv:1605.07146)."""
    head_dropout: float = 0.0
    """Dropout rate before the classifier."""
    stochastic_depth: float = 0.0
    """Probability to drop the last branch for a training image; it falls linearly towards the input (arXiv:1603.09382)."""
    antialias: bool | Literal["mirror"] = False
    """Blur (1, 2, 1) before every subsampling after the first convolution (arXiv:1904.11486). Outside the image are zeros, or, with
    "mirror", the mirrored image, as in the paper's code; such maps have at least two pixels a side. Average pooling is not blurred
    again."""
    antialias_shortcut: bool = True
    """Blur before the subsampling of a shortcut too, as the paper's code does and timm does not."""
    output_stride: int | None = None
    """Subsampling of the last map, such as 8 or 16: later stages use dilated 3x3 convolutions instead of a stride
    (arXiv:1706.05587). None for no dilation."""
    stem: Literal["7x7", "deep", "tiered", "3x3"] = "7x7"
    """First convolution: 7x7 with stride 2, three 3x3 instead (ResNet-C, arXiv:1812.01187; "tiered" as timm's 10t to 50t), or 3x3
    with stride 1 for small images."""
    stem_width: int = 64
    """Filters of the stem. The first two convolutions of "deep" have half of them, those of "tiered" 3/8 and half."""
    stem_pool: Literal["max", "zero_padded_max", "convolution"] | None = "max"
    """After the first convolution: 3x3 max-pooling or a 3x3 convolution (arXiv:2103.07579) with stride 2, or nothing. In
    "zero_padded_max" zeros outside the image count, which shows where the stem is not normalised: keras.applications' V2, BiT."""
    stem_norm: bool = True
    """Normalisation and activation after the last convolution of the stem. False leaves both to the first unit, as the published
    weights of V2 networks have it; for orders that begin with them."""
    norm: Literal["batch", "group"] | None = "batch"
    """BatchNormalization, GroupNormalization (arXiv:1803.08494), or none: then convolutions have a bias."""
    conv_bias: bool = False
    """A bias in the convolutions that no normalisation follows in stem, branch or shortcut (keras.applications' V2)."""
    norm_groups: int = 32
    """GroupNormalization: number of groups."""
    norm_momentum: float = 0.9
    """BatchNormalization: momentum of the moving statistics, in Keras's sense."""
    norm_epsilon: float = 1e-5
    """Normalisation: added to the variance."""
    zero_init: bool = False
    """Initialise every residual branch to zero: gamma of its last normalisation (arXiv:1706.02677 section 5.1), or the kernel if a
    convolution is last."""
    fixup: bool = False
    """Initialisation of arXiv:1901.09321 for networks without normalisation, on top of zero_init: the other kernels of a branch
    are divided by units ** (1 / (2m - 2)), with m convolutions in a branch, and the classifier starts at zero."""
    normalize: Statistics | str | None = "imagenet"
    """A name in NORMALIZATIONS, (means, standard deviations) of raw pixels, one each or one per channel, or None for no change.
    "imagenet" and "cifar10" are for grey and colour images: other inputs (signals, volumes, other numbers of channels) are not
    normalised."""
    input_shape: tuple[int | None, ...] = (224, 224, 3)
    """(height, width, channels). (length, channels) builds a 1-D network, (depth, height, width, channels) a 3-D one. None: the
    size varies."""
    classes: int = 1000
    """Outputs of the classifier."""
    classifier_activation: Literal["softmax", "sigmoid"] | None = None
    """None gives logits."""

    def __post_init__(self) -> None:
        if callable(self.block):
            raise InputError(f"block={shown(self.block)}: {OWN_BLOCK}")
        coerce_all(self)
        _check_values(self)
        for conflict in CONFLICTS:
            conflict.check(self)
        _check_normalize(self)

    @property
    def expansion(self) -> int:
        """Output channels of a unit divided by its width."""
        return 4 if self.block == "bottleneck" else 1

    def inner_width(self, width: int) -> int:
        """Filters of the 3x3 convolution of a bottleneck unit of that width."""
        return width * self.group_width // 64 * self.groups

    @property
    def stem_widths(self) -> tuple[int, ...]:
        """Filters of each convolution of the stem."""
        half, width = self.stem_width // 2, self.stem_width
        return {"deep": (half, half, width), "tiered": (3 * width // 8, half, width)}.get(self.stem, (width,))

    @property
    def stem_stride(self) -> int:
        """Subsampling of the map that enters the first stage."""
        return (1 if self.stem == "3x3" else 2) * (2 if self.stem_pool else 1)

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of each stage."""
        halved = (2,) * (len(self.depths) - 1)
        return self.stage_strides or ((*halved, 1) if self.stride_in == "last" else (1, *halved))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the stem and of each stage."""
        return (self.stem_width, *(width * self.expansion for width in self.widths))

    def require_sizes(self, purpose: str) -> tuple[int, ...]:
        """`input_shape` with every size known. InputError for a None in it."""
        if None in self.input_shape:
            raise InputError(f"input_shape={self.input_shape}: {purpose} depends on the size; set every entry")
        return tuple(size or 0 for size in self.input_shape)

    @property
    def is_of_pictures(self) -> bool:
        """Whether the input is a picture in grey or colour."""
        return len(self.input_shape) == 3 and self.input_shape[-1] in (1, 3)

    def require_pictures(self) -> None:
        """InputError if the network does not take what is in an image file: a picture in grey or colour."""
        if not self.is_of_pictures:
            raise InputError(
                f"the network takes inputs of {self.input_shape}, but image files have (height, width, channels) with 1 or 3 "
                "channels: use arrays, in a script or in an .npz file (--data)"
            )

    @property
    def gives_logits(self) -> bool:
        """Whether the network puts out logits, and not probabilities."""
        return self.classifier_activation is None

    @property
    def layers(self) -> int:
        """Weighted layers on the longest path, the number in a name (Wide ResNets for CIFAR count two projections more)."""
        return sum(self.depths) * {"single": 1, "basic": 2, "bottleneck": 3}[self.block] + 2

    @property
    def normalization(self) -> Statistics | None:
        """`normalize` as numbers: means and standard deviations, one each or one per channel."""
        if not isinstance(self.normalize, str):
            return self.normalize
        mean, std = NORMALIZATIONS[self.normalize]
        if len(mean) == 1 or (self.is_of_pictures and len(mean) == self.input_shape[-1]):
            return mean, std
        if self.is_of_pictures:
            return (sum(mean) / len(mean),), (sum(std) / len(std),)  # grey: their average
        return None


RATES = ("shortcut_dropout", "branch_dropout", "head_dropout", "stochastic_depth", "norm_momentum")
WIDEST = 2**16  # channels
LIMITS = {
    "depths": (1, 1000),
    **dict.fromkeys(("widths", "stem_width", "groups", "group_width", "norm_groups", "output_stride"), (1, WIDEST)),
    **dict.fromkeys(("squeeze", "squeeze_divisor"), (1, WIDEST)),
    "stage_strides": (1, 16),
    "input_shape": (1, 2**20),
    "classes": (1, 2**20),
}
MOST_NUMBERS = 2**28  # of an image, signal or volume
MOST_STAGES, MOST_UNITS = 16, 2000  # the longest that is described and built in minutes, not hours


def _check_values(spec: ResNetSpec) -> None:
    """What one field says, whatever the others do."""
    if not spec.depths:
        raise InputError("depths=(): expected one entry for each stage")
    if not 2 <= len(spec.input_shape) <= 4 or spec.input_shape[-1] is None:
        raise InputError(f"input_shape={shown(spec.input_shape)}: expected one to three spatial sizes and then the channels")
    check_limits(spec, LIMITS)
    if (size := math.prod(side or 1 for side in spec.input_shape)) > MOST_NUMBERS:
        raise InputError(f"input_shape={spec.input_shape}: {size:,} numbers, expected at most {MOST_NUMBERS:,}")
    if len(spec.depths) > MOST_STAGES or sum(spec.depths) > MOST_UNITS:
        most = f"at most {MOST_STAGES} stages and {MOST_UNITS:,} units"
        raise InputError(f"depths={shown(spec.depths)}: {len(spec.depths):,} stages of {sum(spec.depths):,} units, expected {most}")
    for name in RATES:
        if not 0 <= getattr(spec, name) < 1:
            raise InputError(f"{name}={getattr(spec, name)}: expected 0 <= {name} < 1")
    if spec.norm_epsilon <= 0:
        raise InputError(f"norm_epsilon={spec.norm_epsilon}: must be above 0")


def _check_normalize(spec: ResNetSpec) -> None:
    if isinstance(spec.normalize, str):
        if spec.normalize not in NORMALIZATIONS:
            raise unknown("normalization", spec.normalize, NORMALIZATIONS)
    elif spec.normalize is not None:
        mean, std = spec.normalize
        if len(mean) != len(std) or len(mean) not in (1, spec.input_shape[-1]) or any(value <= 0 for value in std):
            raise InputError(
                f"normalize={spec.normalize} and input_shape={spec.input_shape} disagree: expected means and positive standard "
                f"deviations, one each or one for each of the {spec.input_shape[-1]} channels"
            )
