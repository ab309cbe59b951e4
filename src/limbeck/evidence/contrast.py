"""One paired contrast: the mean difference of two arms over seeds, tested exactly, with three intervals.

Shape legend, this file:  S seeds.
"""

from dataclasses import dataclass
from math import isfinite
from typing import final

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from limbeck.evidence.sign_flips import Floats, finite_differences, sign_flips
from limbeck.evidence.statistics import t_interval

FEWEST_FOR_BOOTSTRAP = 20
"""Pairs from which a bootstrap interval is given: with fewer, resamples of a handful of numbers say too little."""

RESAMPLES = 9_999
"""Of the bootstrap."""

Interval = tuple[float, float]


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """Differences of two arms over paired seeds, in percentage points: other arm minus distilled."""

    differences: tuple[float, ...]
    """Per seed; above zero, the distilled student made fewer errors."""
    mean: float
    """Of the differences."""
    sd: float | None
    """Their standard deviation (n - 1 in the denominator); None for a single pair."""
    alpha: float
    """Two-sided level of the test and of the intervals."""
    p_value: float
    """Of the sign-flip test, two-sided."""
    interval: Interval
    """Its inversion: excludes zero if and only if p_value <= alpha."""
    coverage: float
    """Of that interval, exactly."""
    exact: bool
    """Whether all patterns of signs were visited, not a sample of them."""
    t_interval: Interval | None
    """Student's, which takes the differences as normal; None for a single pair."""
    bca_interval: Interval | None
    """Bias-corrected and accelerated bootstrap; None below `FEWEST_FOR_BOOTSTRAP` pairs."""

    @property
    def pairs(self) -> int:
        """How many there are."""
        return len(self.differences)

    @property
    def side(self) -> int:
        """1 where the distilled student is shown to be better, -1 where it is shown to be worse, else 0."""
        low, high = self.interval
        return 1 if low > 0 else -1 if high < 0 else 0


def contrast(differences: ArrayLike, *, alpha: float = 0.05) -> Contrast:
    """Collect what paired differences show.  (S,) -> record.

    Raises: ArgumentError for no pairs, for a difference that is not finite, or for alpha outside (0, 1).
    """
    values_S = finite_differences(differences)
    flips = sign_flips(values_S, alpha=alpha)
    mean, sd, pairs = _mean(values_S), _sd(values_S), len(values_S)
    return Contrast(
        differences=tuple(values_S.tolist()),
        mean=mean,
        sd=sd,
        alpha=alpha,
        p_value=flips.p_value,
        interval=flips.interval,
        coverage=flips.coverage,
        exact=flips.exact,
        t_interval=None if sd is None else t_interval(mean, sd / pairs**0.5, pairs - 1, level=1 - alpha),
        bca_interval=None if sd is None else _bca_interval(values_S, mean, sd, alpha),
    )


def _mean(values_S: Floats) -> float:
    mean = float(values_S.mean())
    return 0.0 if abs(mean) <= 1e-12 * float(np.abs(values_S).max()) else mean  # as sign_flips takes such a sum


def _sd(values_S: Floats) -> float | None:
    if len(values_S) < 2:
        return None
    # The mean of equal numbers may miss them by a bit, and 1e-17 is a spread to divide by, where 0 is none.
    return 0.0 if np.ptp(values_S) <= 1e-12 * np.abs(values_S).max() else float(values_S.std(ddof=1))


def _bca_interval(values_S: Floats, mean: float, sd: float, alpha: float) -> Interval | None:
    if len(values_S) < FEWEST_FOR_BOOTSTRAP:
        return None
    if not sd:
        return mean, mean
    found = stats.bootstrap(
        (values_S,),
        np.mean,
        confidence_level=1 - alpha,
        n_resamples=RESAMPLES,
        method="BCa",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    low, high = float(found.low), float(found.high)
    return (low, high) if isfinite(low) and isfinite(high) else None
