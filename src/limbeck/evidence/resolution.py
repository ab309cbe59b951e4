"""What a campaign could have seen: the smallest difference it resolves, and how many pairs would decide.

Shape legend, this file:  S pairs, F subsets, D simulated campaigns.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, hypot, inf, sqrt
from typing import final

import numpy as np
from scipy import stats

from limbeck.evidence.contrast import Contrast
from limbeck.evidence.sign_flips import Floats, fewest_pairs, rejected
from limbeck.evidence.wrong import Wrong

POWER = 0.8
"""With which a difference of the size that is called resolved would have been shown."""

_CALIBRATED_POWER = 0.84
"""Quantile of the simulated campaigns: above `POWER`, for the simulation's own error (0.006) and for differences with
tails a little heavier than normal (Student's with three degrees of freedom cost two points at eight pairs)."""

_CAMPAIGNS = 4_000
_MOST_SUBSETS = 4_095  # all of them up to twelve pairs; of more pairs a sample, in which a rank is a share

DECISIVE_POWER = 0.9
"""For `pairs_needed`: shows a true difference nine times in ten, and its absence at least eight times in ten."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """The smallest true differences that a campaign resolves, in percentage points, from its own numbers."""

    seeds: float | None
    """By the spread over seeds: shown with a power of at least 80 %; None where the pairs are too few to show any."""
    rows: float
    """By the test rows: the half-width of McNemar's interval for one pair of runs, 1.96 √discordant / rows."""
    both: float | None
    """The two in quadrature: what would be shown, and on other test rows of the same kind as well."""
    discordant: float
    """Rows on which only one run of a pair is wrong, mean over the pairs."""

    def as_json(self) -> dict[str, float | None]:
        """As it stands in facts.json."""
        return {"seeds": self.seeds, "rows": self.rows, "both": self.both, "discordant": self.discordant}


def resolution(found: Contrast, distilled_SN: Wrong, other_SN: Wrong) -> Resolution:
    """Return what a contrast could have shown, from its own spread over seeds and its own discordant rows."""
    discordant = float((distilled_SN ^ other_SN).sum(1).mean())
    rows = float(100 * stats.norm.ppf(1 - found.alpha / 2) * sqrt(discordant) / distilled_SN.shape[1])
    seeds = None
    if found.sd is not None and rejected(found.alpha, found.pairs):
        seeds = multiple(found.pairs, found.alpha) * found.sd / sqrt(found.pairs)
    return Resolution(seeds=seeds, rows=rows, both=None if seeds is None else hypot(seeds, rows), discordant=discordant)


@lru_cache(maxsize=256)
def multiple(pairs: int, alpha: float) -> float:
    """Return how many standard errors of the mean a true difference must be for the sign-flip test to show it.

    The standard error is the campaign's own, so that the claim "I resolve c · sd / √S" is as random as the test. For
    Student's test the c that keeps it with a power of 80 % is t(1 - alpha/2) + t(0.8), of the central t distribution:
    shifting every difference by c · sd / √S adds just c to the statistic. The same holds here. The low end of the
    interval, an order statistic of means, moves with every shift; so normal differences e are shown to be better once
    they are shifted by more than -low(e), and c is the quantile at the wanted power of -low(e) √S / sd(e), drawn with
    a fixed seed. It exceeds Student's by about a third at six pairs (two patterns of 64 are all that may be rejected)
    and by less than a tenth from seven on.
    """
    rng = np.random.default_rng(0)
    shifts = np.concatenate([_shifts(rng, pairs, alpha, count) for count in _in_parts(_CAMPAIGNS)])
    return float(np.quantile(shifts, _CALIBRATED_POWER))


def _shifts(rng: np.random.Generator, pairs: int, alpha: float, count: int) -> Floats:
    """By how many standard errors each simulated campaign must be shifted to be shown.  -> (count,)."""
    shares_FS = _shares(pairs)
    rank = max(1, int(rejected(alpha, pairs) if len(shares_FS) == 2**pairs - 1 else alpha / 2 * (len(shares_FS) + 1)))
    noise_DS = rng.standard_normal((count, pairs))
    means_DF = noise_DS @ shares_FS.T
    low_D = np.partition(means_DF, rank - 1, axis=1)[:, rank - 1]
    shifts_D: Floats = -low_D * sqrt(pairs) / noise_DS.std(axis=1, ddof=1)
    return shifts_D


@lru_cache(maxsize=4)
def _shares(pairs: int) -> Floats:
    """What each pair has in the mean of each subset.  -> (F, S)."""
    if 2**pairs - 1 <= _MOST_SUBSETS:
        inside_FS = ((np.arange(1, 2**pairs)[:, None] >> np.arange(pairs)) & 1).astype(np.float64)
    else:
        inside_FS = (np.random.default_rng(1).random((_MOST_SUBSETS, pairs)) < 0.5).astype(np.float64)
        inside_FS = inside_FS[inside_FS.any(axis=1)]
    shares_FS: Floats = inside_FS / inside_FS.sum(axis=1, keepdims=True)
    return shares_FS


def _in_parts(total: int, most: int = 250) -> Iterator[int]:
    for begin in range(0, total, most):
        yield min(most, total - begin)


def pairs_needed(found: Contrast, worth: float | None) -> int | None:
    """Return about how many pairs would decide, where so many as there are did not; None where nothing tells.

    By the power of Student's test with the spread that was seen, at a true difference of `worth`, or as large as the
    one seen where that is larger or `worth` is None. The power asked is 90 %: at the same number of pairs a true
    difference of zero is shown to be within ±worth at least eight times in ten, as each end of the interval stays
    inside nine times in ten. Never fewer than the exact test needs, and more than there are.
    """
    least = max(fewest_pairs(found.alpha), found.pairs + 1)
    if found.sd is None or not rejected(found.alpha, found.pairs):
        # Two or three numbers have a spread that says little; first let there be enough to test at all.
        least = fewest_pairs(found.alpha)
    effect = max(worth or 0.0, abs(found.mean))
    if not effect:
        return None
    if not found.sd:
        return least
    return max(least, _pairs_by_power(min(effect / found.sd, _CLEAR), found.alpha))


_CLEAR = 10.0
"""Standard deviations from which on any effect needs no more than the fewest pairs; far beyond, nct gives NaN."""


def _pairs_by_power(effect: float, alpha: float) -> int:
    """The fewest pairs that show an effect, in standard deviations of the differences, with `DECISIVE_POWER`."""
    by_normal = ceil(((stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(DECISIVE_POWER)) / effect) ** 2)
    if by_normal > 1_000:
        return int(by_normal)  # as by Student's t, to a part in a thousand
    from statsmodels.stats.power import TTestPower

    power = TTestPower().power
    return next(
        pairs
        for pairs in range(max(2, by_normal), by_normal + 100)
        if float(power(effect, pairs, alpha)) >= DECISIVE_POWER
    )


def finite(value: float | None) -> float | None:
    """For JSON, which has no infinity: None for one."""
    return None if value is None or abs(value) == inf else float(value)
