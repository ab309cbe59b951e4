"""Statistics of paired runs: the same seeds in both arms, so that what both share cancels.

Shape legend, this file:  S seeds, G groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy import stats

from limbeck.errors import ArgumentError
from limbeck.evidence.sign_flips import MOST_EXACT_PAIRS, sign_flips

MOST_EXACT_SEEDS = MOST_EXACT_PAIRS
"""Up to so many seeds the sign-flip test visits every pattern of signs."""


Verdict: TypeAlias = Literal["positive", "negative", "undecided"]
"""What a paired difference shows of the sign of its mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedDifference:
    """The difference of two arms over paired seeds, in the unit of what was measured."""

    mean: float
    """Mean over the seeds of (first arm - second arm)."""
    sd: float
    """Standard deviation over the seeds of that difference (n - 1 in the denominator)."""
    interval: tuple[float, float]
    """Student's t interval for the mean: it covers the chance of seeds, not the choice of test rows."""
    level: float
    """Confidence level of the interval."""
    p_value: float
    """Two-sided exact sign-flip test: how often signs drawn at random give a mean at least as far from zero."""
    seeds: int
    """Number of pairs."""

    @property
    def verdict(self) -> Verdict:
        """On which side of 0 the mean lies, if both the interval and the exact test say that it is not chance.

        The t interval alone would trust a few seeds that happen to agree to the last error.
        """
        low, high = self.interval
        if self.p_value > 1 - self.level + 1e-9 or low <= 0 <= high:
            return "undecided"
        return "positive" if low > 0 else "negative"


def paired_difference(first: Sequence[float], second: Sequence[float], *, level: float = 0.95) -> PairedDifference:
    """Compare two arms that were run with the same seeds, in the same order.  (S,), (S,) -> record.

    With S pairs the smallest two-sided p-value is 2 / 2^S: three seeds can never reach 0.05, six can.
    Raises: ArgumentError for fewer than two pairs, unequal numbers, or more than `MOST_EXACT_SEEDS` pairs.
    Reference: Fisher, The Design of Experiments, 1935, section 21 (the randomisation test).
    """
    if len(first) != len(second) or not 2 <= len(first) <= MOST_EXACT_SEEDS:
        raise ArgumentError(
            f"paired_difference: each arm needs the same 2 to {MOST_EXACT_SEEDS} seeds. "
            f"Got {len(first)} and {len(second)}."
        )
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    mean, sd, count = float(differences.mean()), float(differences.std(ddof=1)), len(differences)
    return PairedDifference(
        mean=mean,
        sd=sd,
        interval=t_interval(mean, sd / count**0.5, count - 1, level=level),
        level=level,
        p_value=sign_flips(differences).p_value,
        seeds=count,
    )


def t_interval(mean: float, error: float, freedom: int, *, level: float = 0.95) -> tuple[float, float]:
    """Student's interval for a mean.

    Args:
        mean: what was found.
        error: its standard error, in the same unit.
        freedom: degrees of freedom of the standard error.
        level: of the interval.
    """
    half = float(stats.t.ppf(0.5 + level / 2, freedom)) * error
    return mean - half, mean + half


def jackknife_variance(replicates: Sequence[float]) -> float:
    """Variance of the mean of delete-a-group jackknife replicates.  (G,) -> squared unit.

    Replicate g is a statistic of all groups but the g-th; then (G - 1) / G · Σ_g (θ_g - θ̄)² estimates the variance, and
    in expectation never too low, whatever the statistic, smooth or not: Σ_g (θ_g - θ̄)² is at least the variance of
    one replicate in expectation (Efron and Stein), and the mean of all of them has at most (G - 1) / G of that
    (Hoeffding, as it is a U-statistic). The groups are to be independent and of one kind.

    Raises: ArgumentError for fewer than two replicates.
    References: Efron and Stein, The jackknife estimate of variance, Annals of Statistics 1981; Hoeffding, A class of
    statistics with asymptotically normal distribution, Annals of Mathematical Statistics 1948.
    """
    if len(replicates) < 2:
        raise ArgumentError(f"jackknife_variance: needs at least two replicates. Got {len(replicates)}.")
    values_G = np.asarray(replicates, dtype=np.float64)
    return float((len(values_G) - 1) / len(values_G) * np.square(values_G - values_G.mean()).sum())


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1 in the denominator; 0 for a single value)."""
    array = np.asarray(values, dtype=np.float64)
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else 0.0
