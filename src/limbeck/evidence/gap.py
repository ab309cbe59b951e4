"""How much of the gap between student and teacher the teaching closed, with Fieller's interval for a ratio.

Shape legend, this file:  S seeds, N test rows.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from limbeck.evidence.replacement import one_run
from limbeck.evidence.words import points
from limbeck.evidence.wrong import Wrong, paired_matrices

Matrix = NDArray[np.float64]


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """(alone - distilled) / (alone - teacher), of error rates: 0 nothing gained, 1 as good as the teacher."""

    closed: float | None
    """The ratio of the means; above 1 where the student passed the teacher; None where it means nothing."""
    interval: tuple[float, float] | None
    """Fieller's."""
    why: str | None
    """Why the ratio is left out."""

    def as_json(self) -> dict[str, Any]:
        """As it stands in facts.json."""
        return {
            "closed": self.closed,
            "interval": None if self.interval is None else list(self.interval),
            "why": self.why,
        }


def gap_closed(
    distilled_wrong: NDArray[Any],
    alone_wrong: NDArray[Any],
    teacher_wrong: NDArray[Any] | float | None,
    *,
    level: float = 0.95,
) -> Gap:
    """Return the share of the gap that was closed.  (S, N) bool, (S, N) bool, (N,) bool -> record.

    Numerator and denominator share the student alone, so a ratio of two means with one covariance matrix: that of
    the pairs over seeds divided by S, and, where the teacher's answers are given row by row, that of the rows divided
    by N, as in `replacement.difference_limits`. Fieller's interval is the set of ratios q at which alone - distilled
    - q (alone - teacher) does not differ from zero. It is bounded only where alone - teacher is above zero at the same
    level; elsewhere the ratio may be anything, and is left out.

    Args:
        distilled_wrong: which test rows each run got wrong.
        alone_wrong: the same of the student alone, paired.
        teacher_wrong: the teacher's rows, whose chance is then covered too; or its error rate in points, a fixed value
            (the interval then covers seeds alone); or None where it is not known.
        level: of the interval.

    Raises: MismatchError for other rows or seeds that do not pair; ArgumentError for arrays that are not bool.
    Reference: Fieller, Some problems in interval estimation, JRSS B 1954.
    """
    distilled_SN, alone_SN = paired_matrices("gap_closed", distilled=distilled_wrong, alone=alone_wrong)
    if teacher_wrong is None:
        return _left_out("The teacher's answers to the test rows are missing.")
    if len(distilled_SN) < 2:
        return _left_out("One seed has no spread to judge a ratio by.")
    teacher_N = None if isinstance(teacher_wrong, float | int) else one_run("gap_closed", teacher_wrong, alone_SN)
    teacher = float(teacher_wrong) if isinstance(teacher_wrong, float | int) else 100 * float(np.mean(teacher_wrong))
    alone_S = 100 * alone_SN.mean(1)
    gained, gap = float((alone_S - 100 * distilled_SN.mean(1)).mean()), float(alone_S.mean()) - teacher
    covariance = _over_seeds(distilled_SN, alone_SN)
    if teacher_N is not None:
        covariance = covariance + _over_rows(distilled_SN, alone_SN, teacher_N)
    # The quantile of the fewest degrees of freedom bounds that of any mixture of the two (Mickey and Brown 1966).
    quantile = float(stats.t.ppf(0.5 + level / 2, len(distilled_SN) - 1))
    least = gap - quantile * sqrt(covariance[1, 1])
    if least <= 0:
        return _left_out(
            f"The teacher is not clearly better than the student alone: by {points(gap)} points, at least "
            f"{points(least)}."
        )
    return Gap(closed=gained / gap, interval=fieller(gained, gap, covariance, quantile), why=None)


def _left_out(why: str) -> Gap:
    return Gap(closed=None, interval=None, why=why)


def _over_seeds(distilled_SN: Wrong, alone_SN: Wrong) -> Matrix:
    """Covariance matrix of the means of gain and gap, by seeds; the teacher adds nothing to it.  -> (2, 2)."""
    alone_S = 100 * alone_SN.mean(1)
    return _covariance_of_means(alone_S - 100 * distilled_SN.mean(1), alone_S)


def _over_rows(distilled_SN: Wrong, alone_SN: Wrong, teacher_N: Wrong) -> Matrix:
    """The same by rows.  -> (2, 2)."""
    alone_N = 100 * alone_SN.mean(0)
    return _covariance_of_means(alone_N - 100 * distilled_SN.mean(0), alone_N - 100 * teacher_N)


def _covariance_of_means(gain: Matrix, gap: Matrix) -> Matrix:
    found: Matrix = np.cov(np.stack([gain, gap])) / len(gain)
    return found


def fieller(above: float, below: float, covariance: Matrix, quantile: float) -> tuple[float, float]:
    """Return the ratios q with (above - q below)² <= quantile² · variance(above - q below), `below` clearly not zero.

    A quadratic inequality in q, whose leading coefficient below² - quantile² variance(below) is then positive; its
    discriminant is too, as the ratio of the means fulfils the inequality.
    """
    scaled = quantile**2 * covariance
    leading = below**2 - scaled[1, 1]
    middle = above * below - scaled[0, 1]
    constant = above**2 - scaled[0, 0]
    root = sqrt(max(middle**2 - leading * constant, 0.0))
    return float((middle - root) / leading), float((middle + root) / leading)
