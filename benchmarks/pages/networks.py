"""`docs/networks.md`: the named networks by family, each family with a drawing in `docs/networks/`."""

import re
from typing import NamedTuple

from benchmarks.pages.files import table
from benchmarks.pages.numbers import NOTE
from keras_resnet.networks.cost import cost_of
from keras_resnet.networks.drawing import draw
from keras_resnet.networks.variants import VARIANTS, Variant
from keras_resnet.weights.names import IMAGENET, KNOWN, Known

INTRODUCTION = """# Named networks

After this page you can choose one of the {count} networks with a name, by family and cost. `kr.build(NAME)` and `keras-resnet
train NAME` take the name. `keras-resnet list` prints the table, `keras-resnet show NAME` prints the stages of a network, and
`keras-resnet draw NAME` draws it. Below each table is the drawing of one network of the family. On the site of the
documentation, each name leads to its own drawing.

Parameters are trainable ones, with the classes of the network's data set (1,000 for ImageNet, 10 for CIFAR-10). Multiply-adds
are those of convolutions and classifier for one image of the size in the column "input". `kr.cost_of` computes both. A test
compares them with published numbers, where there are any. Top-1 is the published accuracy, in percent, of the best weights that
`keras-resnet list --weights` names for the network, on the validation images of ImageNet at the size in brackets. It was not
measured here.
"""


class Family(NamedTuple):
    """Networks of one kind: the names that belong to it, and the one that is drawn."""

    title: str
    names: str
    drawn: str
    about: str


FAMILIES = (
    Family("ResNet", r"resnet\d+", "resnet50", "The stride is on the 3x3 convolution (called V1.5)."),
    Family("ResNet V1", r"resnet\d+v1", "resnet50v1", "The stride is on the first 1x1 convolution, as in the paper."),
    Family("ResNet V2", r"resnet\d+v2", "resnet50v2", "Pre-activation: normalisation and activation come first."),
    Family("ResNet V2 of keras.applications", r"resnet\d+v2_keras", "resnet50v2_keras", "Stride in the last unit of a stage."),
    Family("ResNet-C", r"resnet\d+c", "resnet50c", "The stem has three 3x3 convolutions."),
    Family("ResNet-D", r"resnet\d+(v2)?d", "resnet50d", "The stem of C, and an average pool before the projection of a shortcut."),
    Family("ResNet-S", r"resnet\d+s", "resnet50s", "The stem of C, twice as wide."),
    Family("ResNet-T", r"resnet\d+t", "resnet50t", "A stem whose convolutions widen step by step, and the shortcuts of D."),
    Family("ResNeXt", r"resnext(?!29)\w+", "resnext50_32x4d", "Grouped 3x3 convolutions: `32x4d` are 32 groups of 4 channels."),
    Family("Wide ResNet", r"wide_resnet\w+", "wide_resnet50_2", "The 3x3 convolutions of the units are twice as wide."),
    Family("Squeeze-and-excitation", r"seres\w+", "seresnet50", "Each unit weighs its channels by their means."),
    Family("Efficient channel attention", r"ecares\w+", "ecaresnet50d", "As above, by a convolution over the channels."),
    Family("ResNet-RS", r"resnetrs\d+", "resnetrs50", "D with squeeze-and-excitation and a convolution for the stem's pool."),
    Family("Anti-aliased", r"resnetblur\w+", "resnetblur50", "A blur before subsampling."),
    Family("Group normalisation", r"resnet\d+_gn", "resnet50_gn", "Group normalisation instead of batch normalisation."),
    Family("CIFAR ResNet", r"resnet(8|20|32|44|56|110|1202)", "resnet20", "Three stages for images of 32x32."),
    Family("CIFAR, other units", r"resnet(110v2|164|164v2|1001v2)", "resnet164v2", "Pre-activation or bottleneck units."),
    Family("CIFAR Wide ResNet", r"wrn\w+", "wrn28_10", "`wrn28_10` is 10 times as wide."),
    Family("CIFAR ResNeXt", r"resnext29\w+", "resnext29_32x4d", "ResNeXt for images of 32x32."),
    Family("Plain", r"plain\d+", "plain20", "The same networks without shortcuts, for comparison."),
)  # fmt: skip


def family_of(name: str) -> Family:
    """The last family whose pattern the name has: those of CIFAR come after those of ImageNet."""
    return [family for family in FAMILIES if re.fullmatch(family.names, name)][-1]


def drawings() -> dict[str, str]:
    """Name and text of each SVG file."""
    return {f"{family.drawn}.svg": draw(family.drawn) + "\n" for family in FAMILIES}


def networks() -> str:
    """The text of docs/networks.md."""
    sections = [INTRODUCTION.format(count=len(VARIANTS))]
    for family in FAMILIES:
        rows = [row_of(name, variant) for name, variant in VARIANTS.items() if family_of(name) is family]
        drawing = f"![Drawing of {family.drawn}](networks/{family.drawn}.svg)"
        sections.append(f"## {family.title}\n\n{family.about}\n\n{table(rows)}\n\n{drawing}\n")
    return f"{NOTE}\n\n" + "\n".join(sections)


def row_of(name: str, variant: Variant) -> dict[str, object]:
    """A network of the table."""
    counted = cost_of(variant.spec)
    known = max((row for row in KNOWN if row.network == name), key=lambda row: row.top1, default=None)
    return {
        "network": f"`{name}`",
        "layers": f"{variant.spec.layers:,}",
        "input": "x".join(map(str, variant.spec.input_shape)),
        "parameters": f"{counted.trainable:,}",
        "multiply-adds": f"{counted.multiply_adds:,}",
        "top-1": published(known) if known else "",
        "source": variant.source,
    }


def published(known: Known) -> str:
    """The accuracy of weights with a name."""
    name = f'weights="{IMAGENET}"' if known.weights == IMAGENET else known.weights
    return f"{known.top1} ({known.pixels}; `{name}`)"
