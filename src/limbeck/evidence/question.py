"""What a comparison is to find out, fixed before a test row is scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from limbeck._checks import check_positive
from limbeck.errors import ArgumentError
from limbeck.evidence.sign_flips import attained

LEAST_ALPHA = 1e-4
"""What a look must have to spend: below it even the drawn patterns of signs could hardly reject."""


@final
@dataclass(frozen=True, kw_only=True)
class Question:
    """The smallest difference worth having, the margin against the teacher, the level and the planned looks.

    Raises: ArgumentError for a number out of its range.
    """

    worth: float | None = None
    """The smallest difference worth having, in percentage points, above zero; None: that there is none worth having
    cannot be claimed."""
    within: float | None = None
    """By how many percentage points more errors than the teacher's a student may still replace it, above zero; None:
    not asked."""
    level: float = 0.95
    """Confidence level of all that is said, over all looks together; at least 0.5, below 1."""
    looks: int = 1
    """How often the test rows may be looked at; each look spends a part of 1 - level."""

    def __post_init__(self) -> None:
        for name in ("worth", "within"):
            value = getattr(self, name)
            if value is not None:
                check_positive("Question", **{name: value})
        if not 0.5 <= self.level < 1:
            raise ArgumentError(f"Question: level must be at least 0.5 and below 1. Got {self.level}.")
        if self.looks < 1 or self.looks != int(self.looks):
            raise ArgumentError(f"Question: looks must be a whole number, at least 1. Got {self.looks}.")
        if (1 - self.level) / self.looks < LEAST_ALPHA:
            raise ArgumentError(
                f"Question: level {self.level} and {self.looks} looks leave each look less than {LEAST_ALPHA} to "
                "spend, which hardly any number of pairs could reject at; take a lower level or fewer looks."
            )

    def alpha(self, look: int = 1, earlier: Sequence[int] = ()) -> float:
        """Return the two-sided level at which a look may speak, such that all looks together stay within 1 - level.

        Spending is linear: after look k of K, at most k / K of the whole is spent. The union bound makes that valid
        however the looks depend on one another; no look needs the earlier ones to be independent of it. An exact test
        of few pairs cannot spend its share to the last (its p-values are multiples of 2 / 2^S), so where the numbers
        of pairs at the `earlier` looks are given, a later look spends what they left; where they are not, they count
        as having spent their shares whole. A look beyond those planned has no share left: it gets that of one look, to
        draw an exploratory interval with.

        Args:
            look: which one, from 1.
            earlier: pairs at each of the looks before, fixed in advance.

        Reference: Lan and DeMets, Discrete sequential boundaries for clinical trials, Biometrika 1983 (spending).
        """
        if look < 1 or len(earlier) not in (0, look - 1):
            raise ArgumentError(f"Question: look {look} comes after {max(look - 1, 0)} others. Got {list(earlier)}.")
        whole = round(1 - self.level, 12)
        if look > self.looks:
            return whole / self.looks
        spent = 0.0 if earlier else whole * (look - 1) / self.looks
        for number, pairs in enumerate(earlier, start=1):
            spent += attained(whole * number / self.looks - spent, pairs)
        return whole * look / self.looks - spent
