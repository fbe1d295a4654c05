"""What a residual network is, as data: `ResNetSpec`, and the table of the named ones with their sources.

Nothing here builds anything: `resnet.build` turns a spec into a `keras.Model`. A new network is a new row of `VARIANTS`,
written as a difference from one that is there.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from keras_resnet.errors import InputError, unknown
from keras_resnet.fields import change, coerce_all, look_up

# Channel means and standard deviations of training pixels, 0..255.
NORMALIZATIONS = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),  # torchvision: 255 times .485 .456 .406, .229 .224 .225
    "cifar10": ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),  # arXiv:1605.07146, published code
    "half": ((127.5,), (127.5,)),  # -1..1, any number of channels
}

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class ResNetSpec:
    """One residual network, complete: two equal specs build the same architecture.

    Pixels are raw, 0..255, channels last; the network normalises them itself. Any legal combination of fields builds.
    A wrong value raises `InputError` (a ValueError) that says what was received and what is allowed.
    """

    depths: tuple[int, ...] = (2, 2, 2, 2)
    """Residual units in each stage."""
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Filters of the 3x3 convolutions in each stage. A bottleneck unit puts out four times as many channels."""
    block: Literal["basic", "bottleneck"] = "basic"
    """Two 3x3 convolutions, or 1x1, 3x3, 1x1 with the stride on the 3x3."""
    activation_order: Literal["original", "full_preactivation"] = "original"
    """ReLU after the addition (arXiv:1512.03385), or BatchNormalization and ReLU before each convolution (arXiv:1603.05027)."""
    groups: int = 1
    """Groups of a bottleneck's 3x3 convolution, the cardinality of ResNeXt (arXiv:1611.05431)."""
    group_width: int = 64
    """Filters in each group where `widths` is 64, and in proportion elsewhere: 4 in ResNeXt 32x4d, 128 in Wide ResNet-50-2."""
    squeeze: int | None = None
    """Squeeze-and-excitation at the end of every branch, its channels divided by so much (arXiv:1709.01507: 16). None for none."""
    shortcut: Literal["projection", "avg_projection", "padding", "none"] = "projection"
    """Where a unit changes the shape: 1x1 convolution (option B of arXiv:1512.03385), the same after average pooling in place of
    its stride (ResNet-D, arXiv:1812.01187), or strided subsampling and zero-padded channels (option A). "none" leaves out every
    shortcut: a plain network."""
    stem: Literal["7x7", "deep", "3x3"] = "7x7"
    """First convolution: 7x7 with stride 2, three of 3x3 in its place (ResNet-C, arXiv:1812.01187), or 3x3 with stride 1 for small
    images."""
    stem_width: int = 64
    """Filters of the stem; the first two convolutions of a deep one have half."""
    stem_pool: bool = True
    """3x3 max-pooling with stride 2 after the first convolution."""
    zero_init: bool = False
    """Start every residual branch at zero: gamma of its last BatchNormalization (arXiv:1706.02677 section 5.1), or, where a
    convolution comes last (pre-activation), its kernel."""
    norm_momentum: float = 0.9
    """BatchNormalization: share of the old moving statistics kept at each step."""
    norm_epsilon: float = 1e-5
    """BatchNormalization: added to the variance."""
    normalize: Statistics | str | None = "imagenet"
    """A name in NORMALIZATIONS, (means, standard deviations) of raw pixels, one each or one per channel, or None for no change."""
    input_shape: tuple[int, ...] = (224, 224, 3)
    """(height, width, channels). (length, channels) builds 1-D, (depth, height, width, channels) 3-D."""
    classes: int = 1000
    """Outputs of the classifier."""
    classifier_activation: Literal["softmax", "sigmoid"] | None = None
    """None gives logits."""

    def __post_init__(self) -> None:
        coerce_all(self)
        _check(self)

    @property
    def expansion(self) -> int:
        """Output channels of a unit divided by its width."""
        return 4 if self.block == "bottleneck" else 1

    def inner_width(self, width: int) -> int:
        """Filters of the 3x3 convolution of a bottleneck unit of that width."""
        return width * self.group_width // 64 * self.groups

    @property
    def layers(self) -> int:
        """Weighted layers on the longest path, the number in a name (Wide ResNets for CIFAR count two projections more)."""
        return sum(self.depths) * (3 if self.block == "bottleneck" else 2) + 2

    @property
    def normalization(self) -> Statistics | None:
        """`normalize` as numbers: means and standard deviations, one each or one per channel."""
        if not isinstance(self.normalize, str):
            return self.normalize
        mean, std = NORMALIZATIONS[self.normalize]
        if len(mean) in (1, self.input_shape[-1]):
            return mean, std
        return (sum(mean) / len(mean),), (sum(std) / len(std),)  # named statistics, other channels: their average for all


def _check(spec: ResNetSpec) -> None:
    if not spec.depths or len(spec.depths) != len(spec.widths):
        raise InputError(f"depths={spec.depths} and widths={spec.widths} must have one entry for each stage")
    for name in ("depths", "widths", "input_shape"):
        if any(number < 1 for number in getattr(spec, name)):
            raise InputError(f"{name}={getattr(spec, name)}: every entry must be at least 1")
    for name in ("stem_width", "classes", "groups", "group_width", "squeeze"):
        if getattr(spec, name) is not None and getattr(spec, name) < 1:
            raise InputError(f"{name}={getattr(spec, name)}: must be at least 1")
    if not 2 <= len(spec.input_shape) <= 4:
        raise InputError(f"input_shape={spec.input_shape}: expected one to three spatial sizes and then the channels")
    if not 0 <= spec.norm_momentum < 1 or spec.norm_epsilon <= 0:
        raise InputError(
            f"norm_momentum={spec.norm_momentum}, norm_epsilon={spec.norm_epsilon}: expected 0 <= momentum < 1 and epsilon > 0"
        )
    if spec.block == "basic" and (spec.groups, spec.group_width) != (1, 64):
        raise InputError(f"groups={spec.groups}, group_width={spec.group_width}: only block='bottleneck' has groups")
    if any(spec.inner_width(width) < 1 for width in spec.widths):
        raise InputError(f"group_width={spec.group_width} leaves no filters where widths={spec.widths} is smallest")
    if spec.stem == "deep" and spec.stem_width < 2:
        raise InputError(f"stem_width={spec.stem_width}: stem='deep' needs at least 2")
    channels = (spec.stem_width, *(width * spec.expansion for width in spec.widths))
    if spec.shortcut == "padding" and any(after < before for before, after in pairwise(channels)):
        raise InputError(f"shortcut='padding' cannot shrink channels, but stem_width and widths give {channels}; use 'projection'")
    _check_normalize(spec)


def _check_normalize(spec: ResNetSpec) -> None:
    if isinstance(spec.normalize, str):
        if spec.normalize not in NORMALIZATIONS:
            raise unknown("normalization", spec.normalize, NORMALIZATIONS)
    elif spec.normalize is not None:
        mean, std = spec.normalize
        if len(mean) != len(std) or len(mean) not in (1, spec.input_shape[-1]) or any(value <= 0 for value in std):
            raise InputError(
                f"normalize={spec.normalize}: expected means and positive standard deviations, one each or one for each of the "
                f"{spec.input_shape[-1]} channels of input_shape"
            )


class Variant(NamedTuple):
    """One row of the table: a spec, its trainable parameters as published ("" where nobody has) and where both stand."""

    spec: ResNetSpec
    parameters: str
    source: str


RESNET18 = ResNetSpec()
RESNET34 = replace(RESNET18, depths=(3, 4, 6, 3))
RESNET50 = replace(RESNET34, block="bottleneck")
RESNET101 = replace(RESNET50, depths=(3, 4, 23, 3))
RESNET152 = replace(RESNET50, depths=(3, 8, 36, 3))
V2: dict[str, Any] = {"activation_order": "full_preactivation"}
C: dict[str, Any] = {"stem": "deep"}
D: dict[str, Any] = {"stem": "deep", "shortcut": "avg_projection"}
PLAIN: dict[str, Any] = {"shortcut": "none"}

RESNET20 = ResNetSpec(
    depths=(3, 3, 3),
    widths=(16, 32, 64),
    shortcut="padding",
    stem="3x3",
    stem_width=16,
    stem_pool=False,
    normalize="cifar10",
    input_shape=(32, 32, 3),
    classes=10,
)

RESNET110 = replace(RESNET20, depths=(18, 18, 18))
RESNET164V2 = replace(RESNET110, block="bottleneck", shortcut="projection", **V2)
WRN = replace(RESNET20, depths=(4, 4, 4), widths=(160, 320, 640), shortcut="projection", **V2)  # 6n + 4 layers, projections counted

HE2015 = "arXiv:1512.03385 Table 1, stride on the 3x3; count: torchvision"
HE2016 = "arXiv:1603.05027 section 5; count: timm"
BAG = "arXiv:1812.01187; count: timm"
RESNEXT = "arXiv:1611.05431; count: torchvision"
WIDE = "arXiv:1605.07146; count: torchvision"
CIFAR = "arXiv:1512.03385 section 4.2, option A; count: Table 6, where it is rounded"

VARIANTS = {
    "resnet18": Variant(RESNET18, "11,689,512", HE2015),
    "resnet34": Variant(RESNET34, "21,797,672", HE2015),
    "resnet50": Variant(RESNET50, "25,557,032", HE2015),
    "resnet101": Variant(RESNET101, "44,549,160", HE2015),
    "resnet152": Variant(RESNET152, "60,192,808", HE2015),
    "resnet26": Variant(
        replace(RESNET50, depths=(2, 2, 2, 2)), "16.00M", "bottleneck ResNet of 26 layers after arXiv:1512.03385; count: timm"
    ),
    "resnet200": Variant(replace(RESNET50, depths=(3, 24, 36, 3)), "64.67M", "arXiv:1603.05027 section 5; count: timm"),
    "resnet50c": Variant(replace(RESNET50, **C), "25.58M", BAG),
    "resnet101c": Variant(replace(RESNET101, **C), "44.57M", BAG),
    "resnet18d": Variant(replace(RESNET18, **D), "11.71M", BAG),
    "resnet34d": Variant(replace(RESNET34, **D), "21.82M", BAG),
    "resnet26d": Variant(replace(RESNET50, depths=(2, 2, 2, 2), **D), "16.01M", BAG),
    "resnet50d": Variant(replace(RESNET50, **D), "25,576,264", BAG),
    "resnet101d": Variant(replace(RESNET101, **D), "44,568,392", BAG),
    "resnet152d": Variant(replace(RESNET152, **D), "60.21M", BAG),
    "resnext50_32x4d": Variant(replace(RESNET50, groups=32, group_width=4), "25,028,904", RESNEXT),
    "resnext101_32x8d": Variant(replace(RESNET101, groups=32, group_width=8), "88,791,336", RESNEXT),
    "resnext101_64x4d": Variant(replace(RESNET101, groups=64, group_width=4), "83.46M", RESNEXT),
    "wide_resnet50_2": Variant(replace(RESNET50, group_width=128), "68,883,240", WIDE),
    "wide_resnet101_2": Variant(replace(RESNET101, group_width=128), "126,886,696", WIDE),
    "seresnet50": Variant(replace(RESNET50, squeeze=16), "28,088,024", "arXiv:1709.01507; count: timm"),
    "seresnet101": Variant(replace(RESNET101, squeeze=16), "49.33M", "arXiv:1709.01507; count: timm"),
    "seresnet152": Variant(replace(RESNET152, squeeze=16), "66.82M", "arXiv:1709.01507; count: timm"),
    "resnet18v2": Variant(replace(RESNET18, **V2), "11.69M", HE2016),
    "resnet34v2": Variant(replace(RESNET34, **V2), "21.80M", HE2016),
    "resnet50v2": Variant(replace(RESNET50, **V2), "25,549,352", HE2016),
    "resnet101v2": Variant(replace(RESNET101, **V2), "44.54M", HE2016),
    "resnet152v2": Variant(replace(RESNET152, **V2), "60.19M", HE2016),
    "plain18": Variant(replace(RESNET18, **PLAIN), "", "arXiv:1512.03385 Table 2"),
    "plain34": Variant(replace(RESNET34, **PLAIN), "", "arXiv:1512.03385 Table 2"),
    "resnet8": Variant(replace(RESNET20, depths=(1, 1, 1)), "", "the family of arXiv:1512.03385 section 4.2 with n = 1"),
    "resnet20": Variant(RESNET20, "269,722", CIFAR),
    "resnet32": Variant(replace(RESNET20, depths=(5, 5, 5)), "0.46M", CIFAR),
    "resnet44": Variant(replace(RESNET20, depths=(7, 7, 7)), "0.66M", CIFAR),
    "resnet56": Variant(replace(RESNET20, depths=(9, 9, 9)), "0.85M", CIFAR),
    "resnet110": Variant(RESNET110, "1,727,962", CIFAR),
    "resnet110v2": Variant(replace(RESNET110, **V2), "1.7M", "arXiv:1603.05027"),
    "resnet164v2": Variant(RESNET164V2, "1.7M", "arXiv:1603.05027"),
    "wrn16_8": Variant(replace(WRN, depths=(2, 2, 2), widths=(128, 256, 512)), "11.0M", "arXiv:1605.07146"),
    "wrn28_10": Variant(WRN, "36.5M", "arXiv:1605.07146"),
    "wrn40_4": Variant(replace(WRN, depths=(6, 6, 6), widths=(64, 128, 256)), "8.9M", "arXiv:1605.07146"),
}
for _name in ("resnet8", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110"):
    _twin = VARIANTS[_name]  # option A has no weights: the plain twin has as many
    VARIANTS[_name.replace("resnet", "plain")] = _twin._replace(spec=replace(_twin.spec, **PLAIN))

SPECS = {name: variant.spec for name, variant in VARIANTS.items()}


def resolve(spec: str | ResNetSpec, **fields: Any) -> ResNetSpec:
    """The spec of that name, or the spec itself, with `fields` changed.

    >>> resolve("resnet20", classes=100).classes
    100
    """
    return change(look_up(spec, SPECS, "network"), fields)


def name_of(spec: ResNetSpec) -> str:
    """The name of the row that `spec` equals but for input shape and classes, or "custom".

    >>> name_of(resolve("resnet20", classes=100))
    'resnet20'
    """
    for name, row in SPECS.items():
        if replace(row, input_shape=spec.input_shape, classes=spec.classes) == spec:
            return name
    return "custom"
