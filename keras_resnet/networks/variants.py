"""The named networks: `VARIANTS`, each a spec with its published numbers and its source, and `SPECS`, the specs alone.

A new network is a new row.
"""

from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from keras_resnet.errors import InputError
from keras_resnet.fields import change, look_up
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.words import CHANNELS


class Variant(NamedTuple):
    """One row: a spec, its trainable parameters and multiply-adds as published ("" where nobody has), and where they stand.

    torchvision counts the multiply-adds of convolutions and classifier, as `cost` does; timm and imgclsmob those of all layers,
    which is 3 % more in networks of few channels: those figures are left out.
    """

    spec: ResNetSpec
    parameters: str
    multiply_adds: str
    source: str


Part = dict[str, Any]

# Depths of ImageNet networks.
R10: Part = {"depths": (1, 1, 1, 1)}
R18: Part = {"depths": (2, 2, 2, 2)}
R34: Part = {"depths": (3, 4, 6, 3)}
R14: Part = {**R10, "block": "bottleneck"}
R26: Part = {**R18, "block": "bottleneck"}
R50: Part = {**R34, "block": "bottleneck"}
R101: Part = {**R50, "depths": (3, 4, 23, 3)}
R152: Part = {**R50, "depths": (3, 8, 36, 3)}
R200: Part = {**R50, "depths": (3, 24, 36, 3)}
R269: Part = {**R50, "depths": (3, 30, 48, 8)}

# What the letters of a name mean.
V1: Part = {"stride_on": "1x1"}
V2: Part = {"activation_order": "full_preactivation"}
V2_KERAS: Part = {
    **V2,
    **{"stride_in": "last", "shortcut": "subsampling", "stem_pool": "zero_padded_max", "stem_norm": False, "conv_bias": True},
    **{"norm_epsilon": 1.001e-5, "normalize": "half"},
}
C: Part = {"stem": "deep"}
D: Part = {"stem": "deep", "shortcut": "avg_projection"}
S: Part = {"stem": "deep", "stem_width": 128}
T: Part = {"stem": "tiered", "shortcut": "avg_projection"}
SE: Part = {"squeeze": 16}
SE8: Part = {**SE, "squeeze_divisor": 8}
ECA: Part = {"channel_attention": True}
RS: Part = {**D, "squeeze": 4, "stem_pool": "convolution", "head_dropout": 0.25}
PLAIN: Part = {"shortcut": "none"}
BLUR: Part = {"antialias": "mirror", "antialias_shortcut": False}
X32X4D: Part = {"groups": 32, "group_width": 4}
X32X8D: Part = {"groups": 32, "group_width": 8}
X32X16D: Part = {"groups": 32, "group_width": 16}
X64X4D: Part = {"groups": 64, "group_width": 4}

# CIFAR networks: option A, or the projections of bottleneck and wide ones.
CIFAR: Part = {
    "widths": (16, 32, 64),
    "shortcut": "padding",
    "stem": "3x3",
    "stem_width": 16,
    "stem_pool": None,
    "normalize": "cifar10",
    "input_shape": (32, 32, 3),
    "classes": 10,
}
CIFAR_BOTTLENECK: Part = {**CIFAR, "block": "bottleneck", "shortcut": "projection"}

HE2015, HE2016 = "arXiv:1512.03385", "arXiv:1603.05027"
BAG, NEXT, ZAGORUYKO = "arXiv:1812.01187", "arXiv:1611.05431", "arXiv:1605.07146"
HU, WANG, BELLO, ZHANG = "arXiv:1709.01507", "arXiv:1910.03151", "arXiv:2103.07579", "arXiv:1904.11486"


def imagenet(*parts: Part, size: int = 224, **fields: Any) -> ResNetSpec:
    """The network of these parts for square images of `size` pixels."""
    return _joined(*parts, fields, {"input_shape": (size, size, 3)})


def cifar(units: int, *parts: Part, **fields: Any) -> ResNetSpec:
    """The CIFAR network of these parts with so many units in each of its three stages."""
    return _joined(CIFAR, *parts, fields, {"depths": (units,) * 3})


def wide(units: int, factor: int) -> ResNetSpec:
    """A Wide ResNet of 6 * units + 4 layers, the projections counted."""
    return cifar(units, V2, shortcut="projection", widths=tuple(width * factor for width in (16, 32, 64)))


def rs(depths: tuple[int, ...], size: int, **fields: Any) -> ResNetSpec:
    """A ResNet-RS."""
    return imagenet(R50, RS, size=size, depths=depths, **fields)


def _joined(*parts: Part) -> ResNetSpec:
    return ResNetSpec(**{key: value for part in parts for key, value in part.items()})


VARIANTS = {
    "resnet18": Variant(imagenet(R18), "11,689,512", "1.814G", f"{HE2015} Table 1; torchvision"),
    "resnet34": Variant(imagenet(R34), "21,797,672", "3.664G", f"{HE2015} Table 1; torchvision"),
    # V1.5: stride on the 3x3.
    "resnet26": Variant(imagenet(R26), "15,995,176", "2.36G", f"{HE2015}, bottleneck; imgclsmob"),
    "resnet50": Variant(imagenet(R50), "25,557,032", "4.089G", f"{HE2015} Table 1; torchvision"),
    "resnet101": Variant(imagenet(R101), "44,549,160", "7.801G", f"{HE2015} Table 1; torchvision"),
    "resnet152": Variant(imagenet(R152), "60,192,808", "11.514G", f"{HE2015} Table 1; torchvision"),
    "resnet200": Variant(imagenet(R200), "64.67M", "15.07G", f"{HE2016} section 5, post-activation; timm"),
    # V1: stride on the first 1x1, as in the paper.
    "resnet50v1": Variant(imagenet(R50, V1), "25,557,032", "3.88G", f"{HE2015} Table 1; imgclsmob"),
    "resnet101v1": Variant(imagenet(R101, V1), "44,549,160", "7.60G", f"{HE2015} Table 1; imgclsmob"),
    "resnet152v1": Variant(imagenet(R152, V1), "60,192,808", "11.32G", f"{HE2015} Table 1; imgclsmob"),
    "resnet200v1": Variant(imagenet(R200, V1), "64.67M", "", f"{HE2016} section 5, post-activation; timm, stride on the 3x3"),
    "resnet18v2": Variant(imagenet(R18, V2), "11.69M", "1.82G", f"{HE2016}; imgclsmob"),
    "resnet34v2": Variant(imagenet(R34, V2), "21.80M", "3.67G", f"{HE2016}; imgclsmob"),
    "resnet50v2": Variant(imagenet(R50, V2), "25,549,352", "4.11G", f"{HE2016}; timm"),
    "resnet101v2": Variant(imagenet(R101, V2), "44.54M", "7.83G", f"{HE2016}; timm"),
    "resnet152v2": Variant(imagenet(R152, V2), "60.19M", "11.55G", f"{HE2016}; timm"),
    "resnet200v2": Variant(imagenet(R200, V2), "64.67M", "15.07G", f"{HE2016} section 5; imgclsmob"),
    # Stride in the last unit of a stage, biases, and a stem without normalisation.
    "resnet50v2_keras": Variant(imagenet(R50, V2_KERAS), "25,568,360", "", f"{HE2016}; keras.applications"),
    "resnet101v2_keras": Variant(imagenet(R101, V2_KERAS), "44,577,896", "", f"{HE2016}; keras.applications"),
    "resnet152v2_keras": Variant(imagenet(R152, V2_KERAS), "60,236,904", "", f"{HE2016}; keras.applications"),
    "resnet18c": Variant(imagenet(R18, C), "", "", BAG),
    "resnet34c": Variant(imagenet(R34, C), "", "", BAG),
    "resnet50c": Variant(imagenet(R50, C), "25.58M", "4.35G", f"{BAG}; timm"),
    "resnet101c": Variant(imagenet(R101, C), "44.57M", "8.08G", f"{BAG}; timm"),
    "resnet152c": Variant(imagenet(R152, C), "60.21M", "11.80G", f"{BAG}; timm"),
    "resnet200c": Variant(imagenet(R200, C), "", "", BAG),
    "resnet18d": Variant(imagenet(R18, D), "11,708,744", "2.06G", f"{BAG}; imgclsmob"),
    "resnet26d": Variant(imagenet(R26, D), "16.01M", "2.60G", f"{BAG}; timm"),
    "resnet34d": Variant(imagenet(R34, D), "21.82M", "3.91G", f"{BAG}; timm"),
    "resnet50d": Variant(imagenet(R50, D), "25,576,264", "4.35G", f"{BAG}; timm"),
    "resnet101d": Variant(imagenet(R101, D), "44,568,392", "8.08G", f"{BAG}; timm"),
    "resnet152d": Variant(imagenet(R152, D), "60,212,040", "11.80G", f"{BAG}; imgclsmob"),
    "resnet200d": Variant(imagenet(R200, D, size=256), "64.69M", "20.00G", f"{BAG}; timm"),
    "resnet50v2d": Variant(imagenet(R50, V2, D), "25.57M", "4.35G", f"{HE2016}, {BAG}; timm"),
    "resnet101v2d": Variant(imagenet(R101, V2, D), "44.56M", "8.07G", f"{HE2016}, {BAG}; timm"),
    "resnet152v2d": Variant(imagenet(R152, V2, D), "60.20M", "11.80G", f"{HE2016}, {BAG}; timm"),
    "resnet50s": Variant(imagenet(R50, S), "25.68M", "5.47G", f"{BAG}, wider stem; timm"),
    "resnet101s": Variant(imagenet(R101, S), "44.67M", "9.19G", f"{BAG}, wider stem; timm"),
    "resnet152s": Variant(imagenet(R152, S), "60.32M", "12.92G", f"{BAG}, wider stem; timm"),
    "resnet10t": Variant(imagenet(R10, T), "5.44M", "1.10G", f"{BAG}, tiered stem; timm"),
    "resnet14t": Variant(imagenet(R14, T), "10.08M", "1.69G", f"{BAG}, tiered stem; timm"),
    "resnet26t": Variant(imagenet(R26, T, size=256), "16.01M", "3.35G", f"{BAG}, tiered stem; timm"),
    "resnet50t": Variant(imagenet(R50, T), "25.57M", "4.32G", f"{BAG}, tiered stem; timm"),
    "resnext26_32x4d": Variant(imagenet(R26, X32X4D), "15,389,480", "2.49G", f"{NEXT}; imgclsmob"),
    "resnext50_32x4d": Variant(imagenet(R50, X32X4D), "25,028,904", "4.23G", f"{NEXT}; torchvision"),
    "resnext50d_32x4d": Variant(imagenet(R50, X32X4D, D), "25.05M", "4.50G", f"{NEXT}, {BAG}; timm"),
    "resnext50_32x8d": Variant(imagenet(R50, X32X8D), "", "", NEXT),
    "resnext50_64x4d": Variant(imagenet(R50, X64X4D), "", "", NEXT),
    "resnext101_32x4d": Variant(imagenet(R101, X32X4D), "44,177,704", "8.003G", f"{NEXT}; imgclsmob"),
    "resnext101_32x8d": Variant(imagenet(R101, X32X8D), "88,791,336", "16.414G", f"{NEXT}; torchvision"),
    "resnext101_32x16d": Variant(imagenet(R101, X32X16D), "194.03M", "36.27G", f"{NEXT}, arXiv:1805.00932; timm"),
    "resnext101_64x4d": Variant(imagenet(R101, X64X4D), "83,455,272", "15.46G", f"{NEXT}; torchvision"),
    "wide_resnet50_2": Variant(imagenet(R50, group_width=128), "68,883,240", "11.398G", f"{ZAGORUYKO}; torchvision"),
    "wide_resnet101_2": Variant(imagenet(R101, group_width=128), "126,886,696", "22.753G", f"{ZAGORUYKO}; torchvision"),
    "seresnet18": Variant(imagenet(R18, SE), "11,778,592", "1.82G", f"{HU}; imgclsmob"),
    "seresnet34": Variant(imagenet(R34, SE8), "21,960,416", "3.67G", f"{HU}; timm, squeezed channels a multiple of 8"),
    "seresnet50": Variant(imagenet(R50, SE), "28,088,024", "4.11G", f"{HU}; timm"),
    "seresnet101": Variant(imagenet(R101, SE), "49,326,872", "7.84G", f"{HU}; imgclsmob"),
    "seresnet152": Variant(imagenet(R152, SE), "66,821,848", "11.57G", f"{HU}; imgclsmob"),
    "seresnet50t": Variant(imagenet(R50, SE, T), "28.10M", "4.32G", f"{HU}, {BAG}; timm"),
    "seresnet152d": Variant(imagenet(R152, SE, D, size=256), "66.84M", "15.42G", f"{HU}, {BAG}; timm"),
    "seresnext26d_32x4d": Variant(imagenet(R26, SE, X32X4D, D), "16.81M", "2.73G", f"{HU}, {NEXT}, {BAG}; timm"),
    "seresnext26t_32x4d": Variant(imagenet(R26, SE, X32X4D, T), "16.81M", "2.70G", f"{HU}, {NEXT}, {BAG}; timm"),
    "seresnext50_32x4d": Variant(imagenet(R50, SE, X32X4D), "27,559,896", "4.26G", f"{HU}, {NEXT}; imgclsmob"),
    "seresnext101_32x4d": Variant(imagenet(R101, SE, X32X4D), "48,955,416", "8.01G", f"{HU}, {NEXT}; imgclsmob"),
    "seresnext101_32x8d": Variant(imagenet(R101, SE, X32X8D), "93.57M", "16.48G", f"{HU}, {NEXT}; timm"),
    "seresnext101_64x4d": Variant(imagenet(R101, SE, X64X4D), "88,232,984", "15.51G", f"{HU}, {NEXT}; imgclsmob"),
    "ecaresnetlight": Variant(
        imagenet(R50, ECA, depths=(1, 1, 11, 3), shortcut="avg_projection"), "30.16M", "4.11G", f"{WANG}, {BAG}; timm"
    ),
    "ecaresnet26t": Variant(imagenet(R26, ECA, T, size=256), "16.01M", "3.35G", f"{WANG}, {BAG}; timm"),
    "ecaresnet50d": Variant(imagenet(R50, ECA, D), "25.58M", "4.35G", f"{WANG}, {BAG}; timm"),
    "ecaresnet50t": Variant(imagenet(R50, ECA, T), "25.57M", "4.32G", f"{WANG}, {BAG}; timm"),
    "ecaresnet101d": Variant(imagenet(R101, ECA, D), "44.57M", "8.08G", f"{WANG}, {BAG}; timm"),
    "ecaresnet200d": Variant(imagenet(R200, ECA, D, size=256), "64.69M", "20.00G", f"{WANG}, {BAG}; timm"),
    "ecaresnet269d": Variant(imagenet(R269, ECA, D, size=320), "102.09M", "41.53G", f"{WANG}, {BAG}; timm"),
    "ecaresnext26t_32x4d": Variant(imagenet(R26, ECA, X32X4D, T), "15.41M", "2.70G", f"{WANG}, {NEXT}, {BAG}; timm"),
    "resnetrs50": Variant(rs((3, 4, 6, 3), 160), "35.69M", "2.29G", f"{BELLO}; timm"),
    "resnetrs101": Variant(rs((3, 4, 23, 3), 192), "63.62M", "6.04G", f"{BELLO}; timm"),
    "resnetrs152": Variant(rs((3, 8, 36, 3), 256), "86.62M", "15.59G", f"{BELLO}; timm"),
    "resnetrs200": Variant(rs((3, 24, 36, 3), 256, stochastic_depth=0.1), "93.21M", "20.18G", f"{BELLO}; timm"),
    "resnetrs270": Variant(rs((4, 29, 53, 4), 256, stochastic_depth=0.1), "129.86M", "27.06G", f"{BELLO}; timm"),
    "resnetrs350": Variant(rs((4, 36, 72, 4), 288, stochastic_depth=0.1, head_dropout=0.4), "163.96M", "43.67G", f"{BELLO}; timm"),
    "resnetrs420": Variant(rs((4, 44, 87, 4), 320, stochastic_depth=0.1, head_dropout=0.4), "191.89M", "64.20G", f"{BELLO}; timm"),
    "resnetblur18": Variant(imagenet(R18, BLUR), "11.69M", "2.34G", f"{ZHANG}; timm"),
    "resnetblur50": Variant(imagenet(R50, BLUR), "25.56M", "5.16G", f"{ZHANG}; timm"),
    "resnetblur50d": Variant(imagenet(R50, BLUR, D), "25.58M", "5.40G", f"{ZHANG}, {BAG}; timm"),
    "resnetblur101d": Variant(imagenet(R101, BLUR, D), "44,568,392", "", f"{ZHANG}, {BAG}; timm"),
    "resnet50_gn": Variant(imagenet(R50, norm="group"), "25.56M", "", "arXiv:1803.08494; timm"),
    "plain18": Variant(imagenet(R18, PLAIN), "", "", f"{HE2015} Table 2"),
    "plain34": Variant(imagenet(R34, PLAIN), "", "", f"{HE2015} Table 2"),
    "resnet8": Variant(cifar(1), "", "", f"{HE2015} section 4.2 with n = 1; the shape of MLPerf Tiny's image classification"),
    "resnet20": Variant(cifar(3), "269,722", "", f"{HE2015} section 4.2, rounded in Table 6"),
    "resnet32": Variant(cifar(5), "0.46M", "", f"{HE2015} Table 6"),
    "resnet44": Variant(cifar(7), "0.66M", "", f"{HE2015} Table 6"),
    "resnet56": Variant(cifar(9), "0.85M", "", f"{HE2015} Table 6"),
    "resnet110": Variant(cifar(18), "1,727,962", "", f"{HE2015} section 4.2, rounded in Table 6"),
    "resnet1202": Variant(cifar(200), "19,421,274", "", f"{HE2015} section 4.2, rounded in Table 6"),
    "resnet110v2": Variant(cifar(18, V2), "1.7M", "", f"{HE2016} Table 2"),
    "resnet164": Variant(cifar(18, CIFAR_BOTTLENECK), "1,704,154", "", f"{HE2016} Table 2; imgclsmob"),
    "resnet164v2": Variant(cifar(18, CIFAR_BOTTLENECK, V2), "1,703,258", "", f"{HE2016} Table 2; imgclsmob"),
    "resnet1001v2": Variant(cifar(111, CIFAR_BOTTLENECK, V2), "10,327,706", "", f"{HE2016} Table 4; imgclsmob"),
    "wrn16_8": Variant(wide(2, 8), "11.0M", "", f"{ZAGORUYKO} Table 4"),
    "wrn16_10": Variant(wide(2, 10), "17,116,634", "2414.04M", f"{ZAGORUYKO}; imgclsmob"),
    "wrn28_10": Variant(wide(4, 10), "36,479,194", "5246.98M", f"{ZAGORUYKO} Table 4; imgclsmob"),
    "wrn40_4": Variant(wide(6, 4), "8.9M", "", f"{ZAGORUYKO} Table 4"),
    "wrn40_8": Variant(wide(6, 8), "35,748,314", "5176.90M", f"{ZAGORUYKO}; imgclsmob"),
    "resnext29_32x4d": Variant(
        cifar(3, CIFAR_BOTTLENECK, X32X4D, widths=(64, 128, 256), stem_width=64), "4,775,754", "780.55M", f"{NEXT}; imgclsmob"
    ),
    "resnext29_16x64d": Variant(
        cifar(3, CIFAR_BOTTLENECK, groups=16, widths=(64, 128, 256), stem_width=64), "68,155,210", "10709.34M", f"{NEXT}; imgclsmob"
    ),
}
for _name in ("resnet8", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110"):
    _plain = replace(VARIANTS[_name].spec, **PLAIN)
    VARIANTS[_name.replace("resnet", "plain")] = Variant(_plain, "", "", f"{_name} without shortcuts, as in {HE2015} section 4.2")

SPECS = {name: variant.spec for name, variant in VARIANTS.items()}


def resolve(spec: str | ResNetSpec, **fields: Any) -> ResNetSpec:
    """The spec of that name, or the spec itself, with `fields` changed.

    >>> resolve("resnet20", classes=100).classes
    100
    """
    changed = change(look_up(spec, SPECS, "network"), fields)
    if isinstance(fields.get("normalize"), str) and changed.normalization is None:
        raise InputError(
            f"normalize={changed.normalize!r} is for grey and colour images, not for input_shape={changed.input_shape}: give "
            "(means, standard deviations), 'half' or none"
        )
    if "input_shape" in fields and is_channels_first(changed.input_shape):
        raise InputError(f"input_shape={changed.input_shape} looks like (channels, height, width): {CHANNELS}")
    return changed


def is_channels_first(shape: tuple[int | None, ...]) -> bool:
    """Whether an image has one or three rows, and as many columns as channels: nobody has such images."""
    return len(shape) == 3 and shape[0] in (1, 3) and shape[1] == shape[2] and (shape[1] or 0) >= 16


def name_of(spec: ResNetSpec) -> str:
    """The name of the row that `spec` equals but for input shape and classes, or "custom".

    >>> name_of(resolve("resnet20", classes=100))
    'resnet20'
    """
    return _names(spec.input_shape, spec.classes).get(spec, "custom")


def described(spec: ResNetSpec) -> str:
    """The name of a network, or the stem and the stages of one that has none.

    >>> described(resolve("resnet20", widths=(16, 24, 32)))
    'residual network of 3 stages (stem: 16; units: 3, 3, 3; channels: 16, 24, 32)'
    """
    count, name = len(spec.depths), name_of(spec)
    units, channels = (", ".join(map(str, numbers)) for numbers in (spec.depths, spec.widths))
    stages = f"{count} stage{'s' * (count > 1)} (stem: {spec.stem_width}; units: {units}; channels: {channels})"
    return f"residual network of {stages}" if name == "custom" else name


@lru_cache
def _names(input_shape: tuple[int | None, ...], classes: int) -> dict[ResNetSpec, str]:
    """The first name of each row, for such images and classes."""
    named = {}
    for name, row in reversed(SPECS.items()):
        with suppress(InputError):  # the images are too small for a network that mirrors them
            named[replace(row, input_shape=input_shape, classes=classes)] = name
    return named
