"""A claim of a paper as a contrast of errors, and its t-test over the seeds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

LEVEL = 0.05  # of significance, one-sided
Metric = Literal["training_error", "test_error"]
Contrast = dict[str, float]
"""A factor for the mean error of each network; the factors sum to zero. The claim is that the weighted sum is above zero."""


def called(kind: str, layers: int) -> str:
    """The name of a network of an experiment."""
    return f"{kind}-{layers}"


def rises(kind: str) -> Callable[[Sequence[int]], Contrast]:
    """Claim that the error of a kind of network grows with depth: the contrast is the rise of the least-squares line through the
    errors, from the fewest to the most layers."""

    def contrast(depths: Sequence[int]) -> Contrast:
        middle = sum(depths) / len(depths)
        squares = sum((depth - middle) ** 2 for depth in depths)
        return {called(kind, depth): (depth - middle) * (max(depths) - min(depths)) / squares for depth in depths}

    return contrast


def falls(kind: str) -> Callable[[Sequence[int]], Contrast]:
    """Claim that the error of a kind of network falls with depth."""
    return lambda depths: {name: -factor for name, factor in rises(kind)(depths).items()}


def exceeds(higher: str, lower: str) -> Callable[[Sequence[int]], Contrast]:
    """Claim that one kind of network has a larger error than another at the largest depth."""
    return lambda depths: {called(higher, max(depths)): 1.0, called(lower, max(depths)): -1.0}


@dataclass(frozen=True)
class Claim:
    """A sentence, and its contrast of errors."""

    text: str
    metric: Metric
    contrast: Callable[[Sequence[int]], Contrast]


@dataclass(frozen=True)
class Verdict:
    """The result of the test of a claim."""

    claim: str
    verdict: Literal["holds", "does not hold", "not decided"]
    points: float | None
    """The contrast in percentage points, above zero if the errors agree with the claim. None until every network is trained."""
    p: float | None
    """One-sided p-value; None if there is only one seed, or no spread between the seeds."""


def decide(claim: Claim, depths: Sequence[int], errors: dict[str, list[float]]) -> Verdict:
    """Test a claim on the errors of each network, a number from 0 to 1 for each seed.

    The test is Welch's t-test for contrasts of several means (doi:10.1093/biomet/38.3-4.330), which allows different variances of
    the networks. A claim holds at the one-sided 5 % level, and does not hold if its opposite does. One seed decides nothing.
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
    """The one-sided p-value of a contrast `total`; None with one seed, or without spread between the seeds."""
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
