"""Two checkpoints on the same rows: McNemar's exact test, which says nothing about other seeds.

Shape legend, this file:  N test rows.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from limbeck.errors import ArgumentError
from limbeck.evidence.words import percent, points, probability
from limbeck.evidence.wrong import paired_matrices


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoints:
    """The difference of two checkpoints' error rates, second minus first, in percentage points."""

    mean: float
    """Above zero, the first checkpoint makes fewer errors."""
    interval: tuple[float, float]
    """For the rows' chance alone: these two checkpoints, other rows of the same kind."""
    level: float
    """Of the interval."""
    p_value: float
    """McNemar's exact test, two-sided."""
    only_first: int
    """Rows on which only the first is wrong."""
    only_second: int
    """Rows on which only the second is wrong."""
    rows: int
    """All rows."""

    @property
    def sentence(self) -> str:
        """The same for people, labelled."""
        low, high = self.interval
        than = "fewer" if self.mean >= 0 else "more"
        return (
            f"These two checkpoints: the first makes {points(abs(self.mean))} points {than} errors than the second "
            f"(difference {points(low)} to {points(high)}, {percent(self.level)} over test rows; McNemar's exact p "
            f"{probability(self.p_value)}, {self.only_second} to {self.only_first} of {self.rows:,} rows)."
        )

    def as_json(self) -> dict[str, Any]:
        """For facts and files."""
        return {
            "label": "these two checkpoints",
            "sentence": self.sentence,
            "mean": self.mean,
            "interval": list(self.interval),
            "level": self.level,
            "p_value": self.p_value,
            "only_first_wrong": self.only_first,
            "only_second_wrong": self.only_second,
            "rows": self.rows,
        }


def mcnemar(first_wrong: NDArray[Any], second_wrong: NDArray[Any], *, level: float = 0.95) -> Checkpoints:
    """Compare two checkpoints on the same rows.  (N,) bool, (N,) bool -> record.

    Only discordant rows count: under no difference each of them is as likely to favour either. The interval reaches
    as far on each side as the wider of two: Bonett and Price's adjusted Wald interval, which treats the number of
    discordant rows as chance, and Clopper and Pearson's for the share of them, which the test inverts; so it never
    excludes zero where the test does not reject.

    Raises: MismatchError for other rows; ArgumentError for several runs, or arrays that are not bool.
    References: McNemar, Psychometrika 1947; Bonett and Price, JEBS 2012.
    """
    first_SN, second_SN = paired_matrices("mcnemar", first=first_wrong, second=second_wrong)
    if len(first_SN) != 1:
        raise ArgumentError(f"mcnemar: compares one checkpoint with one. Got {len(first_SN)} runs of each.")
    only_first = int(np.count_nonzero(first_SN & ~second_SN))
    only_second = int(np.count_nonzero(second_SN & ~first_SN))
    rows, discordant = first_SN.shape[1], only_first + only_second
    low, high = _adjusted_wald(only_first, only_second, rows, level)
    p_value = 1.0
    if discordant:
        test = stats.binomtest(only_second, discordant, 0.5)
        share = test.proportion_ci(confidence_level=level, method="exact")
        p_value = float(test.pvalue)
        low = min(low, (2 * float(share.low) - 1) * discordant / rows)
        high = max(high, (2 * float(share.high) - 1) * discordant / rows)
    return Checkpoints(
        mean=100 * (only_second - only_first) / rows,
        interval=(100 * max(low, -1.0), 100 * min(high, 1.0)),
        level=level,
        p_value=p_value,
        only_first=only_first,
        only_second=only_second,
        rows=rows,
    )


def _adjusted_wald(only_first: int, only_second: int, rows: int, level: float) -> tuple[float, float]:
    """Bonett and Price's interval for second minus first, as shares of the rows: one row added to each discordance."""
    first, second = (only_first + 1) / (rows + 2), (only_second + 1) / (rows + 2)
    half = float(stats.norm.ppf(0.5 + level / 2)) * sqrt((first + second - (second - first) ** 2) / (rows + 2))
    return second - first - half, second - first + half
