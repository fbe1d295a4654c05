"""A claim of a paper as a comparison of networks, and its test on the seeds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

LEVEL = 0.05  # of significance, on one side
Metric = Literal["training_error", "test_error"]
Contrast = dict[str, float]
"""A factor of the mean of each network; they sum to zero. The claim is that the sum is above zero."""


def called(kind: str, layers: int) -> str:
    """The name of a network of an experiment."""
    return f"{kind}-{layers}"


def rises(kind: str) -> Callable[[Sequence[int]], Contrast]:
    """That the error of a kind of network grows with its number of layers: how much the line of least squares through the errors
    rises from the least to the most layers."""

    def contrast(depths: Sequence[int]) -> Contrast:
        middle = sum(depths) / len(depths)
        squares = sum((depth - middle) ** 2 for depth in depths)
        return {called(kind, depth): (depth - middle) * (max(depths) - min(depths)) / squares for depth in depths}

    return contrast


def falls(kind: str) -> Callable[[Sequence[int]], Contrast]:
    """That the error of a kind of network shrinks with its number of layers."""
    return lambda depths: {name: -factor for name, factor in rises(kind)(depths).items()}


def exceeds(higher: str, lower: str) -> Callable[[Sequence[int]], Contrast]:
    """That one kind has a larger error than another one at the largest number of layers."""
    return lambda depths: {called(higher, max(depths)): 1.0, called(lower, max(depths)): -1.0}


@dataclass(frozen=True)
class Claim:
    """One sentence, and the contrast of errors that says the same."""

    text: str
    metric: Metric
    contrast: Callable[[Sequence[int]], Contrast]


@dataclass(frozen=True)
class Verdict:
    """What the seeds say of a claim."""

    claim: str
    verdict: Literal["holds", "does not hold", "not decided"]
    points: float | None
    """The contrast in percentage points, above zero for the claim. None before every network is trained."""
    p: float | None
    """Probability of a contrast so large if there were none; None if there is no spread to compare with."""


def decide(claim: Claim, depths: Sequence[int], errors: dict[str, list[float]]) -> Verdict:
    """Test a claim on the errors of each network, a number from 0 to 1 for each seed.

    The test is Welch's t-test, for contrasts of several means (doi:10.1093/biomet/38.3-4.330): the networks may vary differently
    from seed to seed. A claim holds at 5 % on one side, and does not hold if its opposite does. With one seed nothing is decided.
    """
    contrast = claim.contrast(depths)
    samples = [(factor, np.array(errors.get(name, []))) for name, factor in contrast.items()]
    if any(len(values) == 0 for _, values in samples):
        return Verdict(claim.text, "not decided", None, None)
    total = sum(factor * float(values.mean()) for factor, values in samples)
    p = one_sided(total, samples)
    verdict: Literal["holds", "does not hold", "not decided"] = "not decided"
    if p is not None:
        verdict = "holds" if p < LEVEL else "does not hold" if p > 1 - LEVEL else "not decided"
    return Verdict(claim.text, verdict, 100 * total, p)


def one_sided(total: float, samples: Sequence[tuple[float, np.ndarray]]) -> float | None:
    """The probability, without a difference, of a contrast of at least `total`; None without a spread from seed to seed."""
    from scipy import stats

    samples = [(factor, values) for factor, values in samples if factor]
    if any(len(values) < 2 for _, values in samples):
        return None
    parts = [factor**2 * float(values.var(ddof=1)) / len(values) for factor, values in samples]
    spread = sum(parts)
    if spread == 0:
        return None
    freedom = spread**2 / sum(part**2 / (len(values) - 1) for part, (_, values) in zip(parts, samples, strict=True))
    return float(stats.t.sf(total / math.sqrt(spread), freedom))
