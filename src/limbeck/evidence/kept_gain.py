"""The share of an ensemble's gain that its student keeps, where the ensembles overlap.

Shape legend, this file:  S seeds, G groups of ensemble members.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from typing import final

import numpy as np
from scipy import stats

from limbeck.errors import ArgumentError
from limbeck.evidence.gap import Matrix, fieller
from limbeck.evidence.statistics import jackknife_variance


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class KeptGain:
    """(alone - student) / (alone - ensemble), of mean errors: 0 nothing kept, 1 as good as the ensemble."""

    share: float | None
    """The ratio of the means; above 1 where the student passed the ensemble; None where the ensemble gains nothing."""
    interval: tuple[float, float]
    """Fieller's; (-inf, inf) where it is not bounded, as the ensemble's gain is not clearly above zero."""
    level: float
    """Confidence level of the interval."""
    gain: float
    """Of the ensemble over the student alone, in errors."""
    gain_interval: tuple[float, float]
    """Of that gain, at the same level; the share's interval is bounded only where this one lies above zero."""

    @property
    def bounded(self) -> bool:
        """Whether the interval says anything."""
        return isfinite(self.interval[0])


def kept_gain(
    alone: Sequence[float], student: Sequence[float], ensemble: Sequence[float], *, level: float = 0.95
) -> KeptGain:
    """Return the share of the gain that was kept, with Fieller's interval.  (S,), (S,), (G,) -> record.

    Ensemble g is made of all members but those of group g, so the G ensembles overlap, and their errors are replicates
    of a delete-a-group jackknife: the variance of their mean is `jackknife_variance`, not sd² / G. The student at g is
    taught by ensemble g and has a seed of its own: the variance of the students' mean is sd² / S for what is
    independent, and on top the jackknife variance of the ensembles for what the shared members add, as a student is
    assumed to follow its ensemble at most one to one. The variance of the student alone is sd² / S. The covariance
    between student and ensemble, and that between student and student alone, are taken as zero: where they are positive
    the interval is too wide for shares from 0 to 1.

    The interval holds all shares r at which alone - student - r (alone - ensemble) does not differ from zero by
    Student's t with the fewest degrees of freedom of any part. It covers other seeds, other ensemble members and other
    students on the same test rows; it does not cover other test rows.

    Args:
        alone: errors of the student alone, one number a seed.
        student: errors of the student that the ensembles taught.
        ensemble: errors of the ensembles, each without one group of members.
        level: of the interval.

    Raises: ArgumentError for fewer than two values of any, or for one that is not finite.
    Reference: Fieller, Some problems in interval estimation, JRSS B 1954; of degrees of freedom: Mickey and Brown,
    Bounds on the distribution functions of the Behrens-Fisher statistic, Annals of Mathematical Statistics 1966.
    """
    named = {"alone": alone, "student": student, "ensemble": ensemble}
    _require_spread(named)
    means = {name: float(np.mean(values)) for name, values in named.items()}
    kept, gain = means["alone"] - means["student"], means["alone"] - means["ensemble"]
    covariance = _covariance(alone, student, ensemble)
    quantile = float(stats.t.ppf(0.5 + level / 2, min(map(len, named.values())) - 1))
    half = quantile * sqrt(covariance[1, 1])
    return KeptGain(
        share=kept / gain if gain > 0 else None,
        interval=fieller(kept, gain, covariance, quantile) if gain > half else (-inf, inf),
        level=level,
        gain=gain,
        gain_interval=(gain - half, gain + half),
    )


def _require_spread(named: Mapping[str, Sequence[float]]) -> None:
    for name, values in named.items():
        if len(values) < 2 or not all(map(isfinite, values)):
            raise ArgumentError(f"kept_gain: {name} needs at least two errors, all finite. Got {list(values)}.")


def _covariance(alone: Sequence[float], student: Sequence[float], ensemble: Sequence[float]) -> Matrix:
    """Covariance matrix of the means alone - student and alone - ensemble.  -> (2, 2)."""
    of_alone, of_student = (float(np.var(values, ddof=1)) / len(values) for values in (alone, student))
    of_members = jackknife_variance(ensemble)
    return np.array([[of_alone + of_student + of_members, of_alone], [of_alone, of_alone + of_members]])
