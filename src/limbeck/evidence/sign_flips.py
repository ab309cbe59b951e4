"""The exact test of a mean by flips of signs, and its inversion: an interval that rejects just what the test rejects.

Where two arms are alike, each paired difference is as likely to come out with the other sign, whatever its size. So of
the 2^S patterns of signs all are equally likely, and the p-value is the share of those whose mean is at least as far
from zero as the one seen. No normal distribution is assumed, nor equal spread.

Shape legend, this file:  S pairs, F means of subsets.
"""

from dataclasses import dataclass
from math import floor, inf
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from limbeck.errors import ArgumentError

MOST_EXACT_PAIRS = 20
"""Up to so many pairs every pattern of signs is visited (2^20, about a million)."""

DRAWN_PATTERNS = 2**16
"""Patterns that stand for all of them where there are more pairs: the one seen, and others drawn at random."""

_ROUNDING = 1e-12
"""Sums closer to zero than this, relative to the sum of sizes, are zero but for rounding: 0.1 + 0.2 - 0.3."""

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class SignFlips:
    """The test of the mean of paired differences, and the interval of all means that it does not reject."""

    p_value: float
    """Two-sided: the share of patterns of signs whose mean is at least as far from zero."""
    interval: tuple[float, float]
    """Closed; it holds zero if and only if p_value > alpha. Infinite on both sides where the pairs are too few."""
    coverage: float
    """Exact confidence level of the interval: the first above 1 - alpha that so many pairs can give."""
    patterns: int
    """Patterns of signs that were compared, the one seen among them."""
    exact: bool
    """Whether these are all; else they are drawn at random with a fixed seed (Monte Carlo)."""


def sign_flips(differences: ArrayLike, *, alpha: float = 0.05) -> SignFlips:
    """Test whether the mean of paired differences is zero, and invert the test.  (S,) -> record.

    Hartigan's typical values: where the differences are symmetric about m, the mean of any subset of them is as likely
    below as above m, and the 2^S - 1 means of the non-empty subsets cut the line into 2^S stretches that hold m with
    equal probability. Flipping the signs of a subset raises the sum of (d - m) just where the subset's mean is below
    m; so the k-th smallest and the k-th largest of these means, k = floor(alpha 2^S / 2), are the ends of the interval
    of all m that the test does not reject at alpha. At six pairs k = 1: the interval is the range of the differences,
    with coverage 1 - 2 / 64.

    With more than `MOST_EXACT_PAIRS` pairs, subsets are drawn at random; the pattern seen counts as one of them, which
    keeps the test valid (Phipson and Smyth 2010).

    Raises: ArgumentError for no pairs, for a difference that is not finite, or for alpha outside (0, 1).
    Reference: Hartigan, Using subsample values as typical values, JASA 1969; Fisher, The Design of Experiments, 1935,
    section 21.

    >>> found = sign_flips([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> found.p_value, found.interval, found.coverage
    (0.03125, (1.0, 6.0), 0.96875)
    """
    values_S = finite_differences(differences)
    if not 0 < alpha < 1:
        raise ArgumentError(f"sign_flips: alpha must lie between 0 and 1. Got {alpha}.")
    exact = len(values_S) <= MOST_EXACT_PAIRS
    sums_F, sizes_F = _every_subset(values_S) if exact else _drawn_subsets(values_S)
    sums_F[np.abs(sums_F) <= _ROUNDING * np.abs(values_S).sum()] = 0.0
    patterns = len(sums_F) + 1
    at_most, at_least = (1 + int(np.count_nonzero(side)) for side in (sums_F <= 0, sums_F >= 0))
    rank = rejected(alpha, len(values_S))
    return SignFlips(
        p_value=min(1.0, 2 * min(at_most, at_least) / patterns),
        interval=_ends(sums_F, sizes_F, rank),
        coverage=1 - 2 * rank / patterns,
        patterns=patterns,
        exact=exact,
    )


def finite_differences(differences: ArrayLike) -> Floats:
    """Return the differences as an array. Raises: ArgumentError for none, or for one that is not finite."""
    values_S = np.asarray(differences, dtype=np.float64)
    if values_S.ndim != 1 or not len(values_S) or not np.isfinite(values_S).all():
        raise ArgumentError(f"The differences of pairs must be finite numbers, at least one. Got {values_S.tolist()}.")
    return values_S


def _every_subset(values_S: Floats) -> tuple[Floats, Floats]:
    """Sums and sizes of all non-empty subsets.  (S,) -> (2^S - 1,), (2^S - 1,)."""
    sums, sizes = np.zeros(1), np.zeros(1)
    for value in values_S:
        sums, sizes = np.concatenate([sums, sums + value]), np.concatenate([sizes, sizes + 1])
    return sums[1:], sizes[1:]


def _drawn_subsets(values_S: Floats) -> tuple[Floats, Floats]:
    """Sums and sizes of random subsets, the empty one allowed: flipping no sign is a pattern like any other."""
    draw = np.random.default_rng(0)
    sums, sizes = np.zeros(DRAWN_PATTERNS - 1), np.zeros(DRAWN_PATTERNS - 1)
    for value in values_S:
        inside = draw.random(DRAWN_PATTERNS - 1) < 0.5
        sums += inside * value
        sizes += inside
    return sums, sizes


def _ends(sums_F: Floats, sizes_F: Floats, rank: int) -> tuple[float, float]:
    if not rank:
        return -inf, inf
    filled_F = sizes_F > 0
    # The empty subset, drawn once in 2^S, rejects nothing: it stands beyond either end.
    low_F = np.divide(sums_F, sizes_F, out=np.full(len(sums_F), -inf), where=filled_F)
    high_F = np.where(filled_F, low_F, inf)
    return float(np.partition(low_F, rank - 1)[rank - 1]), float(np.partition(high_F, -rank)[-rank])


def patterns_of(pairs: int) -> int:
    """How many patterns of signs are compared with so many pairs."""
    return 2**pairs if pairs <= MOST_EXACT_PAIRS else DRAWN_PATTERNS


def rejected(alpha: float, pairs: int) -> int:
    """How many patterns on one side a test at `alpha` may reject; 0 where the pairs are too few to reject any."""
    return floor(alpha * patterns_of(pairs) / 2 + 1e-9)  # 0.05 is a little less or more than 1/20


def attained(alpha: float, pairs: int) -> float:
    """The level that a test at `alpha` really has with so many pairs: at most alpha, often less."""
    return 2 * rejected(alpha, pairs) / patterns_of(pairs)


def fewest_pairs(alpha: float) -> int:
    """The fewest pairs with which the test can reject at all: 6 at 0.05, as 2 / 2^5 > 0.05.

    Raises: ArgumentError for alpha outside (0, 1), or so small that not even the drawn patterns could.
    """
    if not rejected(alpha, MOST_EXACT_PAIRS) or alpha >= 1:
        raise ArgumentError(f"fewest_pairs: alpha must lie between {2 / 2**MOST_EXACT_PAIRS} and 1. Got {alpha}.")
    return next(pairs for pairs in range(1, MOST_EXACT_PAIRS + 1) if rejected(alpha, pairs))
