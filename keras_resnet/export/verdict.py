"""The decision about an exported file: passed, failed, or undecided if there are too few images.

Floating-point files are decided by the largest difference of their outputs. Quantised files may differ from the Keras model in some
top-1 classes. They are decided by counts with 95 % intervals: over all images, over classes, and for the probability that moves to
other classes. The limits are in `files.targets`. A file must repeat the model's class, right or wrong, so labels say little that
is new: they only refuse a file that certainly loses more accuracy on the test images than the required agreement leaves room for.
"""

from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import numpy as np

from keras_resnet.confidence import interval
from keras_resnet.files.targets import Tolerance

PASSED, FAILED, UNDECIDED = "passed", "failed", "undecided"
FALSE_ALARMS = 0.05  # chance that a file is refused for a class although every class reaches the lowest agreement
TAIL = 0.025  # to either side of a 95 % interval
MORE_IMAGES = "check on more images (data=, --data), or accept the file (accept_undecided=True, --accept-undecided)"
LOWER_AGREEMENT = "accept a lower min_agreement (--min-agreement)"
LARGER_DIFFERENCE = "accept a larger max_difference (--max-difference)"


@dataclass(frozen=True)
class ClassCount:
    """How often a file agrees with the Keras model on the images of one predicted class."""

    name: str
    agreed: int
    images: int
    """Images that the Keras model puts into the class."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Outputs of a file compared with those of the Keras model."""

    max_difference: float | None = None
    """Largest absolute difference of any output; None if the file does not run."""
    mean_difference: float | None = None
    """Mean absolute difference of the outputs."""
    images: int
    agreed: int = 0
    """Images with the same top-1 answer."""
    top1_agreement: float = 0.0
    """Share of images with the same top-1 answer."""
    agreement_interval: tuple[float, float] = (0.0, 1.0)
    """Its 95 % interval, see `exact_interval`."""
    classes: int = 0
    """Number of classes that the Keras model predicts."""
    class_agreement: float = 0.0
    """Mean agreement of those classes: rare ones count as much as others."""
    class_interval: tuple[float, float] = (0.0, 1.0)
    """Its 95 % interval, see `over_classes`."""
    worst_class: ClassCount | None = None
    """The class whose agreement is the least likely to be chance; of those alike the one with the fewest images."""
    moved_probability: float | None = None
    """Mean over images of the probability that the file gives to other classes than the Keras model does: half the sum of absolute
    differences, 0 to 1."""
    moved_interval: tuple[float, float] = (0.0, 1.0)
    """Where it is, with 95 % confidence (Wilson's interval, which is wide enough for the mean of any numbers from 0 to 1)."""
    lost: int = 0
    """Test images that only the Keras model puts into their class."""
    gained: int = 0
    """Test images that only the file puts into their class."""
    loss_interval: tuple[float, float] = (-1.0, 1.0)
    """Where the loss of accuracy is, see `losses`."""
    loss_chance: float = 1.0
    """Chance that so few of the `lost` and `gained` images are gained if both are as accurate: McNemar's test, exact, one-sided."""


def findings(
    answers: np.ndarray, expected: np.ndarray, moved: np.ndarray, class_names: list[str], tolerance: Tolerance
) -> Findings:
    """What follows from the top-1 classes of a file, those of the Keras model, and `moved_probabilities`, (images,) each."""
    same = answers == expected
    numbers, images = np.unique(expected, return_counts=True)
    agreed = np.array([np.sum(same[expected == number]) for number in numbers])
    chances = np.array([chance(*counts, tolerance.lowest_agreement) for counts in zip(agreed, images, strict=True)])
    worst = np.lexsort((images, chances))[0]
    class_agreement, class_interval = over_classes(agreed, images)
    return Findings(
        images=len(same),
        agreed=int(same.sum()),
        top1_agreement=float(same.mean()),
        agreement_interval=exact_interval(int(same.sum()), len(same)),
        classes=len(numbers),
        class_agreement=class_agreement,
        class_interval=class_interval,
        worst_class=ClassCount(class_names[numbers[worst]], int(agreed[worst]), int(images[worst])),
        moved_probability=float(moved.mean()),
        moved_interval=interval(float(moved.mean()), len(moved)),
    )


def moved_probabilities(differences: np.ndarray) -> np.ndarray:
    """The probability that moves to other classes, (images,), from differences of probabilities (images, classes).

    The total variation distance. Where only the best classes are known, it is the least that their differences show. Sigmoids,
    which do not sum to 1, count as 1 at most.
    """
    gained, lost = np.maximum(differences, 0).sum(1), np.maximum(-differences, 0).sum(1)
    return np.minimum(np.maximum(gained, lost), 1)


def over_classes(agreed: np.ndarray, images: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The mean of the agreements of classes, from the counts (classes,) of each, and its 95 % interval.

    A mean with weights is as certain as a plain one over Kish's effective number of images (Survey Sampling, 1965, 11.7): here
    classes^2 / sum(1 / images), which a class of one image among two classes brings down to 4.
    """
    share = float(np.mean(agreed / images))
    return share, interval(share, len(images) ** 2 / float(np.sum(1 / images)))


def losses(answers: np.ndarray, expected: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """What a file loses of the model's accuracy on the images that `labels` (test images,) belong to, which are the first.

    Both answer the same images, so only those count that one of them has right. The loss is the share of the lost ones without
    that of the gained ones; its interval, from the ends of both exact intervals, is rather too wide than too narrow.
    """
    count = len(labels)
    was_right, is_right = expected[:count] == labels, answers[:count] == labels
    lost, gained = int(np.sum(was_right & ~is_right)), int(np.sum(is_right & ~was_right))
    (fewest_lost, most_lost), (fewest_gained, most_gained) = exact_interval(lost, count), exact_interval(gained, count)
    interval = fewest_lost - most_gained, most_lost - fewest_gained
    return {"lost": lost, "gained": gained, "loss_interval": interval, "loss_chance": chance(gained, lost + gained, 0.5)}


def chance(agreed: int, images: int, agreement: float) -> float:
    """The probability of so few equal answers, or fewer, where each image has one with probability `agreement` (binomial)."""
    agreement = min(max(agreement, 1e-12), 1 - 1e-12)
    log_factorials = np.concatenate([[0], np.cumsum(np.log(np.arange(1, images + 1)))])
    counts = np.arange(agreed + 1)
    ways = log_factorials[images] - log_factorials[counts] - log_factorials[images - counts]
    return float(np.exp(ways + counts * np.log(agreement) + (images - counts) * np.log1p(-agreement)).sum())


def exact_interval(agreed: int, images: int) -> tuple[float, float]:
    """The 95 % interval of a share by Clopper and Pearson (doi:10.1093/biomet/26.4.404): the shares that make neither so few nor so
    many less likely than 2.5 %. Wilson's is too narrow here: by it 3 of 4 images would rule out a share of 0.98."""

    def where(count: int, level: float) -> float:
        """The share that makes at most `count` equal answers as likely as `level`, by bisection: the larger, the less likely."""
        low, high = 0.0, 1.0
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if chance(count, images, middle) > level else (low, middle)
        return middle

    low = where(agreed - 1, 1 - TAIL) if agreed else 0.0
    return low, where(agreed, TAIL) if agreed < images else 1.0


class Opinion(NamedTuple):
    """What one criterion says, why, and what a person can do about it."""

    verdict: str
    reason: str = ""
    way_out: str = ""


def judge(found: Findings, tolerance: Tolerance, class_names: list[str]) -> tuple[str, str]:
    """The verdict on a file, and if it has not passed the reason and what to do. One criterion that fails is enough; with one that
    is undecided it cannot pass."""
    opinions = [of_outputs(found, tolerance)]
    if tolerance.min_agreement is not None:
        opinions += [of_agreement(found, tolerance), of_classes(found, tolerance, class_names), of_accuracy(found, tolerance)]
    if tolerance.max_moved is not None:
        opinions.append(of_probabilities(found, tolerance))
    for verdict in (FAILED, UNDECIDED):
        if those := [opinion for opinion in opinions if opinion.verdict == verdict]:
            ways_out = dict.fromkeys(opinion.way_out for opinion in those)  # each reason needs its own
            return verdict, f"{'; '.join(opinion.reason for opinion in those)}. What to do: {', and '.join(ways_out)}"
    return PASSED, ""


def of_outputs(found: Findings, tolerance: Tolerance) -> Opinion:
    """Whether each output is close enough to the Keras model's."""
    difference, most = found.max_difference, tolerance.max_difference
    if difference is None or not np.isfinite(difference):
        return Opinion(FAILED, "outputs are not finite", "look for a layer whose outputs overflow")
    if most is not None and difference > most:
        text = f"largest difference {difference:.2e}, allowed {most:.2e}"
        return Opinion(FAILED, text, LARGER_DIFFERENCE)
    return Opinion(PASSED)


def of_agreement(found: Findings, tolerance: Tolerance) -> Opinion:
    """Whether enough images have the same answer. One that differs says little about few images, nor do few that agree."""
    low, high = found.agreement_interval
    least = tolerance.min_agreement or 0
    counts = f"{found.images - found.agreed} of {found.images:,} images have another top-1 class"
    text = f"{counts}: agreement {found.top1_agreement:.4f} (95 % interval {low:.3f} to {high:.3f}), required {least:g}"
    if high < least:
        return Opinion(FAILED, text, LOWER_AGREEMENT)
    if found.top1_agreement < least or low < tolerance.lowest_agreement:
        return Opinion(UNDECIDED, f"too few images to decide: {text}", MORE_IMAGES)
    return Opinion(PASSED)


def of_classes(found: Findings, tolerance: Tolerance, class_names: list[str]) -> Opinion:
    """Whether the file still knows every class. It fails for one that is surely below the lowest agreement, by an exact binomial
    test at `FALSE_ALARMS` over the number of classes (Bonferroni), so that many classes make no more false alarms than two."""
    lowest, least = tolerance.lowest_agreement, tolerance.min_agreement or 0
    assert found.worst_class
    name, agreed, images = astuple(found.worst_class)
    text = f"{images - agreed} of the {images:,} images that the Keras model puts into class {name!r} have another top-1 class"
    limit = FALSE_ALARMS / found.classes
    if chance(agreed, images, lowest) < limit:
        return Opinion(FAILED, f"{text}, so the agreement of this class is certainly below {lowest:.2g}", LOWER_AGREEMENT)
    if agreed / images < lowest and chance(agreed, images, least) < limit:
        return Opinion(UNDECIDED, f"too few images of a class to decide: {text}, which is unlikely by chance", MORE_IMAGES)
    low, high = found.class_interval
    if low < lowest:
        mean = f"mean agreement of classes {low:.3f} to {high:.3f}"
        return Opinion(UNDECIDED, f"too few images of a class to decide: {text}; {mean}", MORE_IMAGES)
    if found.classes == 1 < len(class_names) and lowest > 0:
        return Opinion(
            UNDECIDED, f"the Keras model predicts class {name!r} for all images, so other classes are not checked", MORE_IMAGES
        )
    return Opinion(PASSED)


def of_accuracy(found: Findings, tolerance: Tolerance) -> Opinion:
    """Whether the test images are still put into their classes. An image that is lost has another answer, so of files that agree on
    98 % of all images none loses more than 2 points, unless the test images suffer more than those that were added to them. A good
    int8 file loses some tenths of a point: it fails only where the loss is certainly larger."""
    low, high = found.loss_interval
    most = 1 - (tolerance.min_agreement or 0)
    if low <= most:
        return Opinion(PASSED)
    counts = f"{found.lost} test images are no longer in their class, and {found.gained} are now"
    return Opinion(FAILED, f"{counts}: accuracy is {low:.3f} to {high:.3f} lower (95 %), allowed {most:.2g}", LOWER_AGREEMENT)


def of_probabilities(found: Findings, tolerance: Tolerance) -> Opinion:
    """Whether probabilities stay where they are. This tells a coin from a file with few images, and near ties move little."""
    (low, high), most = found.moved_interval, tolerance.max_moved or 0
    moved = f"{found.moved_probability:.3f} of the probability moves to other classes"
    text = f"{moved} (95 % interval {low:.3f} to {high:.3f}), allowed {most:g}"
    if low > most:
        return Opinion(FAILED, text, LOWER_AGREEMENT)
    if (found.moved_probability or 0) > most:
        return Opinion(UNDECIDED, f"too few images to decide: {text}", MORE_IMAGES)
    return Opinion(PASSED)
