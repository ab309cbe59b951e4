"""What a sweep found: the errors at each value of one number, at every seed, with intervals and paired differences.

Shape legend, this file:  S seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, final

from limbeck.evidence.comparison import predictions_of, wrong_of
from limbeck.evidence.contrast import contrast
from limbeck.evidence.statistics import mean_and_sd, t_interval
from limbeck.training.run import Run

LEVEL = 0.95
"""Of every interval, each by itself."""

Score: TypeAlias = Literal["validation", "test"]
"""The rows that errors are counted on."""

Fixed: TypeAlias = Literal["steps", "epochs"]
"""What stays equal where the share of the training rows changes."""


class Difference(NamedTuple):
    """A value's errors minus those of the best value, in percentage points, paired over seeds."""

    mean: float
    """Over the seeds."""
    interval: tuple[float, float] | None
    """Student's t interval of the mean; None for a single seed."""
    p_value: float
    """Of the exact sign-flip test, two-sided."""


@final
@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of the number, at every seed."""

    value: float
    """Of the number that is swept."""
    errors: tuple[float | None, ...]
    """(S,): wrong rows at each seed, in percent; None where the loss became NaN or infinite."""
    failed: Mapping[int, str] = field(default_factory=dict)
    """By seed: what broke, in a sentence."""
    rows: int
    """That the student learns from."""
    epochs: int
    """Passes over them."""
    steps: int
    """Of the optimiser, in all."""

    @property
    def whole(self) -> tuple[float, ...] | None:
        """The errors at every seed; None where one is missing: those that are left would flatter the value."""
        found = tuple(error for error in self.errors if error is not None)
        return found if len(found) == len(self.errors) else None

    @property
    def mean(self) -> float | None:
        """Over the seeds, in percent; None where a seed failed."""
        return None if self.whole is None else mean_and_sd(self.whole)[0]

    @property
    def sd(self) -> float | None:
        """Over the seeds (n - 1 in the denominator); None where a seed failed, or there is one."""
        return mean_and_sd(self.whole)[1] if self.whole is not None and len(self.whole) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's interval for the mean: it covers the chance of seeds, not the choice of rows; None as for `sd`."""
        if self.mean is None or self.sd is None:
            return None
        return t_interval(self.mean, self.sd / len(self.errors) ** 0.5, len(self.errors) - 1, level=LEVEL)

    def minus(self, other: "Point") -> Difference | None:
        """Compare with another value over paired seeds; None where a seed of either failed."""
        if self.whole is None or other.whole is None:
            return None
        pairs = zip(self.whole, other.whole, strict=True)
        found = contrast([first - second for first, second in pairs], alpha=1 - LEVEL)
        return Difference(found.mean, found.t_interval, found.p_value)


@final
@dataclass(frozen=True, kw_only=True)
class Sweep:
    """How a result depends on one number of a specification, all else being equal."""

    folder: Path
    """Where sweep.json and the runs are."""
    over: str
    """The number's name, of `campaigns.settings.SETTINGS`."""
    own: float
    """The specification's own."""
    seeds: tuple[int, ...]
    """(S,): the same at every value."""
    score: Score
    """The rows that errors are counted on."""
    fixed: Fixed | None
    """What stays equal while the share of rows changes; None for other numbers."""
    points: tuple[Point, ...]
    """In ascending order of the value."""
    alone: tuple[Point, ...] = ()
    """The student alone at the same seeds: a single point, or one for each value where it follows them; none where the
    specification has no soft term, or there are no labels."""
    why_not_alone: str | None = None
    """Why a student with soft terms has none beside it."""

    @property
    def follows(self) -> bool:
        """Whether the student alone was trained at each value too, not once as the specification stands."""
        return len(self.alone) > 1

    @property
    def best(self) -> Point | None:
        """The value with the lowest mean error, of equal ones the lowest; None where every value failed."""
        return min(
            (point for point in self.points if point.mean is not None),
            key=lambda point: (round(point.mean or 0.0, 9), point.value),  # equal counts, summed in another order
            default=None,
        )


def errors_of(runs: Sequence[Run | None], score: Score) -> tuple[float | None, ...]:
    """Return the wrong rows of each run, in percent; None for no run.

    A row of a sigmoid head is wrong if any of its label decisions is.
    Raises: RunError for missing answers, or rows without labels.
    """
    return tuple(None if run is None else _wrong(run, score) for run in runs)


def _wrong(run: Run, score: Score) -> float:
    return 100.0 * float(wrong_of(predictions_of(run, "student", score)).mean())
