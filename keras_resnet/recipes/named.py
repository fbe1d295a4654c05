"""The named recipes, each with its source, its cost and its accuracy.

`evidence` is what this package measured. `published` is what the source reports on the original images: top-1 accuracy on the
validation images of ImageNet, or test error on CIFAR-10. `differs` lists the differences from the source. One more difference of
all rows with SGD: weight decay is decoupled from the momentum, which is equivalent in the long run. Published schedules are for
the number of images of their source.
"""

from dataclasses import replace
from typing import Any, NamedTuple

from keras_resnet.fields import change, look_up
from keras_resnet.networks.cost import cost_of
from keras_resnet.networks.variants import SPECS
from keras_resnet.recipes.recipe import Recipe


class Protocol(NamedTuple):
    """One row of the table."""

    recipe: Recipe
    source: str
    network: str
    """The one that `published` and `flops` are for."""
    images: int
    """In its training set."""
    differs: str
    """From the source, in one sentence; "" where nothing does."""
    published: str = ""
    evidence: str = "not run here"
    size: int | None = None
    """Of the training images, if it is not that of the network."""

    @property
    def flops(self) -> float:
        """Floating-point operations of the whole training: two for a multiply-add, and a step as three passes forward."""
        shape = SPECS[self.network].input_shape
        sizes = (*((self.size or side) for side in shape[:-1]), shape[-1])
        return 6.0 * cost_of(self.network, input_shape=sizes).multiply_adds * self.images * self.recipe.epochs


HE_2015 = Recipe(  # 64,000 steps of 128 on 45,000 images, a tenth after 32,000 and 48,000; in Caffe, which decays all weights
    epochs=182,
    batch_size=128,
    learning_rate=0.1,
    nesterov=False,
    weight_decay=1e-4,
    decay="all",
    schedule="step",
    milestones=(0.5, 0.75),
    warmup=0,
    crop_edges="zero",
)
IMAGENET = Recipe(
    crop=0, resized_crop=0.08, batch_size=256, learning_rate=0.1, learning_rate_batch=256, weight_decay=1e-4, warmup_start=0
)
STRIKES_BACK = replace(
    IMAGENET,
    epochs=300,
    batch_size=2048,
    optimizer="lamb",
    learning_rate=5e-3,
    learning_rate_batch=2048,
    weight_decay=0.02,
    warmup=5 / 300,
    loss="binary",
    augment="randaugment",
    magnitude=7,
    mixup=0.1,
    cutmix=1.0,
    repeats=3,
)
HYPERRULE = Recipe(  # 500 steps of 512 images: rising for 100, a tenth after 200, 300 and 400
    epochs=26,
    batch_size=512,
    learning_rate=3e-3,
    learning_rate_batch=512,
    nesterov=False,
    weight_decay=0,
    schedule="step",
    milestones=(0.4, 0.6, 0.8),
    warmup=0.2,
    warmup_start=0,
)

CIFAR, IMAGES_OF_IMAGENET = 45_000, 1_281_167
HE_DIFFERS = (
    "images are normalised by channel, not by the mean of each pixel, and after the padding, so edges are black; "
    "batch normalisation uses the statistics of 128 images, not of 64 on each of two GPUs"
)
STRIKES_BACK_DIFFERS = (
    "RandAugment as in its paper, where timm draws each strength with a deviation of 0.5 and skips half of the operations; "
    "scaled bilinearly, not bicubically; tested on the full centre crop, not on 95 % of it"
)

PROTOCOLS = {
    "digits": Protocol(
        Recipe(epochs=30, batch_size=32, learning_rate=0.05, learning_rate_batch=32, weight_decay=5e-5, crop=1, flip=False),
        "one-cycle, arXiv:1708.07120",
        "resnet8",
        1295,
        "cosine instead of linear decay, and constant momentum",
        evidence="98.7 +- 0.4 % on the 359 test digits, 10 seeds, AMD EPYC without AVX-512",
        size=8,
    ),
    "cifar-30": Protocol(
        Recipe(epochs=30, batch_size=128, learning_rate=0.4, learning_rate_batch=128, weight_decay=2e-4),
        "one-cycle, arXiv:1708.07120; crop and flip of arXiv:1512.03385 section 4.2",
        "resnet20",
        CIFAR,
        "cosine instead of linear decay, constant momentum, and mirrored edges",
        evidence="87.2 +- 0.2 % on CIFAR-10 (JPEG copy), 3 seeds, bfloat16, 20 to 35 minutes each on two shared cores",
    ),
    "he-2015": Protocol(
        HE_2015,
        "arXiv:1512.03385 section 4.2",
        "resnet20",
        CIFAR,
        HE_DIFFERS,
        "CIFAR-10 test error 8.75 %; resnet32, 44, 56: 7.51, 7.17, 6.97 %",
    ),
    "he-2015-warmup": Protocol(
        replace(HE_2015, warmup=400 / 64_000, warmup_start=0.1, warmup_shape="constant"),
        "arXiv:1512.03385 section 4.2, for 110 layers",
        "resnet110",
        CIFAR,
        f"the warm-up ends after 400 steps, not at a training error below 80 %; {HE_DIFFERS}",
        "CIFAR-10 test error 6.43 % (6.61 +- 0.16)",
    ),
    "he-2016": Protocol(
        replace(HE_2015, epochs=164, warmup=400 / 64_000, warmup_start=0.1, warmup_shape="constant"),
        "arXiv:1603.05027",
        "resnet164v2",
        50_000,
        HE_DIFFERS,
        "CIFAR-10 test error 5.46 %; resnet110v2: 6.37 %",
    ),
    "goyal-2017": Protocol(
        replace(
            IMAGENET,
            epochs=90,
            batch_size=8192,
            schedule="step",
            milestones=(30 / 90, 60 / 90, 80 / 90),
            warmup=5 / 90,
            warmup_start=1 / 32,  # the rate of a batch of 256, which takes no warm-up itself
        ),
        "arXiv:1706.02677; with zero_init=true",
        "resnet50",
        IMAGES_OF_IMAGENET,
        "no decay of the classifier's bias, no momentum correction when the learning rate changes; tested on the full centre crop, "
        "not on 224 of 256 pixels",
        "ImageNet 76.3 %; 76.4 % with batches of 256",
    ),
    "bag-of-tricks": Protocol(
        replace(IMAGENET, epochs=200, batch_size=1024, warmup=5 / 200, label_smoothing=0.1, mixup=0.2),
        "arXiv:1812.01187, without distillation; with zero_init=true",
        "resnet50d",
        IMAGES_OF_IMAGENET,
        "no changes of hue, saturation and brightness and no PCA noise; weights initialised by He's rule, not Xavier's; tested on "
        "the full centre crop, not on 224 of 256 pixels",
        "ImageNet 79.15 %",
    ),
    "strikes-back-a1": Protocol(
        replace(STRIKES_BACK, epochs=600, weight_decay=0.01, warmup=5 / 600, label_smoothing=0.1, mixup=0.2),
        "arXiv:2110.00476; with stochastic_depth=0.05",
        "resnet50",
        IMAGES_OF_IMAGENET,
        STRIKES_BACK_DIFFERS,
        "ImageNet 80.4 %",
    ),
    "strikes-back-a2": Protocol(
        STRIKES_BACK,
        "arXiv:2110.00476; with stochastic_depth=0.05",
        "resnet50",
        IMAGES_OF_IMAGENET,
        STRIKES_BACK_DIFFERS,
        "ImageNet 79.8 %",
    ),
    "strikes-back-a3": Protocol(
        replace(STRIKES_BACK, epochs=100, learning_rate=8e-3, warmup=5 / 100, magnitude=6, repeats=1),
        "arXiv:2110.00476; trained at 160x160, tested at 224x224",
        "resnet50",
        IMAGES_OF_IMAGENET,
        STRIKES_BACK_DIFFERS,
        "ImageNet 78.1 %",
        size=160,
    ),
    "resnet-rs": Protocol(
        replace(
            IMAGENET,
            epochs=350,
            batch_size=4096,
            weight_decay=4e-5,
            warmup=5 / 350,
            label_smoothing=0.1,
            augment="randaugment",
            magnitude=10,
            ema=0.9999,
        ),
        "arXiv:2103.07579; with head_dropout=0.25",
        "resnetrs50",
        IMAGES_OF_IMAGENET,
        "no decay of the classifier's bias, and RandAugment has the 14 operations of its own paper",
        "ImageNet 78.8 %",
        size=160,
    ),
    "bit-hyperrule": Protocol(
        HYPERRULE,
        "arXiv:1912.11370, to fine-tune; `recipes.hyperrule(images)` for other numbers of images",
        "resnet50v2",
        10_000,
        "images are shifted by up to 4 pixels, not scaled to 160 pixels and cut to 128 at random (512 and 480 for larger ones); "
        "the number of steps is rounded to whole epochs",
    ),
}
GENTLE = 0.01  # share of the learning rate that a network was trained with, to train it further
RECIPES = {name: protocol.recipe for name, protocol in PROTOCOLS.items()}


def resolve(recipe: str | Recipe, **fields: Any) -> Recipe:
    """The recipe of that name, or the recipe itself, with `fields` changed.

    >>> resolve("cifar-30", epochs=5).epochs
    5
    """
    return change(look_up(recipe, RECIPES, "recipe"), fields)


def hyperrule(images: int) -> Recipe:
    """BiT-HyperRule (arXiv:1912.11370): the recipe to fine-tune a trained network on so many images.

    500 steps of 512 images below 20,000 images, 10,000 steps below 500,000 and 20,000 from there, with MixUp from 20,000 on.
    """
    if images < 20_000:
        return replace(HYPERRULE, epochs=max(1, round(500 * min(512, images) / images)))  # a batch has all images at most
    steps = 10_000 if images < 500_000 else 20_000
    epochs = max(1, round(steps * 512 / images))
    return replace(HYPERRULE, epochs=epochs, milestones=(0.3, 0.6, 0.9), warmup=500 / steps, mixup=0.1)


def fine_tuning(recipe: Recipe, *, quantization_aware: bool = False) -> Recipe:
    """The recipe to fine-tune a network that was trained by `recipe`: a hundredth of its learning rate, cosine to zero.

    >>> fine_tuning(Recipe(learning_rate=0.2), quantization_aware=True).learning_rate
    0.002
    """
    integers: dict[str, Any] = {"precision": "float32", "remat": False} if quantization_aware else {}
    gentle = replace(recipe, learning_rate=recipe.learning_rate * GENTLE, schedule="cosine", warmup=0.0, progressive=())
    return replace(gentle, quantization_aware=quantization_aware, **integers)
