"""How errors over seeds stand against a published figure and against a goal.

Shape legend, this file:  S seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import final

from limbeck.errors import ArgumentError
from limbeck.evidence.statistics import mean_and_sd, t_interval


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class AgainstPublished:
    """Errors of one row of a table, over seeds, beside what was published and what was hoped for.

    The interval is for the mean over all seeds, on the same test rows: other initial weights, other orders, and other
    teachers where each seed has a teacher of its own. It does not cover other test rows, and the published figure is
    taken as the number that it is, though most are single runs on the same rows.
    """

    mean: float
    """Errors, mean over the seeds."""
    sd: float | None
    """Their standard deviation (n - 1 in the denominator); None for one seed."""
    interval: tuple[float, float] | None
    """Student's t interval for the mean; None for one seed."""
    level: float
    """Confidence level of the interval."""
    seeds: int
    """How many."""
    figure: float | None
    """What was published; None where nothing was."""
    goal: float | None
    """At most so many errors were hoped for; None where nothing was."""

    @property
    def beaten(self) -> bool:
        """Whether the interval's upper end is below the published figure."""
        return self.figure is not None and self.interval is not None and self.interval[1] < self.figure

    @property
    def met(self) -> bool | None:
        """Whether the mean is at most the goal; None without a goal."""
        return None if self.goal is None else self.mean <= self.goal

    @property
    def words(self) -> str:
        """The verdict for people; nothing where there is neither a goal nor a figure.

        Without a goal nothing can be met or missed, and it is said on which side of the figure the interval lies.
        """
        if self.goal is None:
            return self._side()
        if self.mean > self.goal:
            missed = f"missed by {_errors(self.mean - self.goal)}"
            return f"beaten, but the goal {missed}" if self.beaten else missed
        return "beaten" if self.beaten else "met in the mean"

    def _side(self) -> str:
        if self.figure is None:
            return ""
        if self.interval is None:
            return "one seed"
        low, high = self.interval
        return "fewer" if high < self.figure else "more" if low > self.figure else "not told apart"


def against_published(
    errors: Sequence[float],
    *,
    figure: float | None = None,
    goal: float | None = None,
    variance_of_mean: float | None = None,
    level: float = 0.95,
) -> AgainstPublished:
    """Hold errors over seeds against a published figure and a goal.  (S,) -> record.

    Args:
        errors: one number a seed, fewer is better.
        figure: what was published, in the same unit.
        goal: at most so many were hoped for.
        variance_of_mean: of the mean over seeds, where the seeds are not independent, such as those of overlapping
            ensembles (`statistics.jackknife_variance`); sd² / S if None.
        level: of the interval.

    Raises: ArgumentError for no errors, or for one that is not finite.
    """
    if not errors or not all(map(isfinite, errors)):
        raise ArgumentError(f"against_published: needs at least one seed's errors, all finite. Got {list(errors)}.")
    (mean, sd), seeds = mean_and_sd(errors), len(errors)
    variance = sd**2 / seeds if variance_of_mean is None else variance_of_mean
    return AgainstPublished(
        mean=mean,
        sd=sd if seeds > 1 else None,
        interval=t_interval(mean, sqrt(variance), seeds - 1, level=level) if seeds > 1 else None,
        level=level,
        seeds=seeds,
        figure=figure,
        goal=goal,
    )


def _errors(count: float) -> str:
    """One decimal, or one digit that matters where that would be zero."""
    return f"{count:.1f}" if count >= 0.05 else f"{count:.1g}"
