"""How sure an accuracy is, by the number of images that it was measured on."""

import math

Z = 1.959964  # standard deviations on both sides that hold 95 % of a normal distribution


def interval(share: float, count: float) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share that was seen in `count` trials (doi:10.1080/01621459.1927.10502953)."""
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    margin = Z / (1 + Z**2 / count) * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    return max(0.0, middle - margin), min(1.0, middle + margin)


def standard_error(share: float, count: int) -> float:
    """Of a share that was seen in `count` trials, with two hits and two misses added, so that it is above 0 at 0 and at 1 too
    (doi:10.1080/00031305.1998.10480550)."""
    share, count = (share * count + 2) / (count + 4), count + 4
    return math.sqrt(share * (1 - share) / count)


def are_told_apart(one: float, other: float, count: int, other_count: int | None = None) -> bool:
    """Whether two shares, each of `count` trials (or the other of its own), differ by more than chance explains in 95 of 100
    cases."""
    return abs(one - other) > Z * math.hypot(standard_error(one, count), standard_error(other, other_count or count))


def interval_text(share: float, count: int) -> str:
    """The interval as a person reads it."""
    return "{:.4f} to {:.4f}".format(*interval(share, count))


def as_text(share: float, count: int) -> str:
    """An accuracy as a person reads it.

    >>> as_text(0.975, 359)
    '0.9750 (95 % interval 0.9531 to 0.9868, 359 images)'
    """
    return f"{share:.4f} (95 % interval {interval_text(share, count)}, {count:,} images)"
