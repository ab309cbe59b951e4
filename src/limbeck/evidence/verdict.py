"""The first verdict: was the teaching worth it? Arrays of right and wrong in, one record with a sentence out.

Shape legend, this file:  S seeds, N test rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final, get_args

from numpy.typing import NDArray

from limbeck.errors import ArgumentError
from limbeck.evidence.contrast import Contrast, contrast
from limbeck.evidence.question import Question
from limbeck.evidence.resolution import Resolution, finite, pairs_needed, resolution
from limbeck.evidence.sign_flips import DRAWN_PATTERNS, fewest_pairs
from limbeck.evidence.words import counted, percent, points, probability
from limbeck.evidence.wrong import differences_in_points, paired_matrices

Outcome: TypeAlias = Literal["helped", "harmed", "no worthwhile difference", "cannot tell", "refused"]
"""What a verdict may say."""

Saw: TypeAlias = Literal["no", "yes", "unknown"]
"""Whether the teacher was trained on the rows that judge."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether distillation helped, against the same student alone, over paired seeds; differences in points."""

    outcome: Outcome
    """helped and harmed: shown, and not shown to be too small to matter; no worthwhile difference: shown to be smaller
    than is worth having, whatever its sign; cannot tell; refused: these numbers cannot answer the question."""
    sentence: str
    """The verdict for people, which ends in what it is bound to."""
    why: str | None
    """What else there is to know: what a number of pairs is based on, what stays open, why there is no verdict."""
    contrast: Contrast
    """The numbers: other arm minus distilled."""
    question: Question
    """What was asked."""
    look: int
    """Which look at the test rows this is, from 1."""
    pairs_needed: int | None
    """About how many pairs would decide, where so many as there are cannot; None where they can or nothing tells."""
    resolution: Resolution
    """The smallest true differences that these runs could have shown."""
    against: str = "alone"
    """The other arm."""

    def as_json(self) -> dict[str, Any]:
        """As it stands in facts.json: ends of intervals that are infinite are null."""
        found = self.contrast
        return {
            "outcome": self.outcome,
            "sentence": self.sentence,
            "why": self.why,
            "against": self.against,
            "mean": found.mean,
            "sd": found.sd,
            "interval": [finite(end) for end in found.interval],
            "coverage": found.coverage,
            "level": self.question.level,
            "alpha": found.alpha,
            "p_value": found.p_value,
            "t_interval": [None, None] if found.t_interval is None else list(found.t_interval),
            "bca_interval": None if found.bca_interval is None else list(found.bca_interval),
            "differences": list(found.differences),
            "pairs": found.pairs,
            "worth": self.question.worth,
            "look": self.look,
            "looks": self.question.looks,
            "pairs_needed": self.pairs_needed,
            "resolution": self.resolution.as_json(),
        }


def verdict(
    distilled_wrong: NDArray[Any],
    alone_wrong: NDArray[Any],
    question: Question,
    *,
    look: int = 1,
    earlier: Sequence[int] = (),
    saw_test: Saw = "unknown",
    tuned_per_seed: bool = False,
) -> Verdict:
    """Say whether distillation helped.  (S, N) bool, (S, N) bool -> record.

    The exact sign-flip test over seeds decides, by its interval: wholly inside ±worth, there is no worthwhile
    difference, even where zero is excluded, for a gain that small was said not to be worth having; else above zero,
    it helped; below zero, it harmed; else it cannot be told. The false alarm "helped" has a probability of at most
    half the level that this look may spend. The chance of test rows is not part of it: see `Resolution`.

    Args:
        distilled_wrong: which test rows each run of the distilled student got wrong.
        alone_wrong: the same of the student alone, at the same seeds in the same order, on the same rows.
        question: fixed before a test row was scored.
        look: which look at the test rows this is; one beyond those planned gets no verdict.
        earlier: pairs at each look before, so that this one may spend what they left; see `Question.alpha`.
        saw_test: whether the teacher was trained on these rows; "yes" gets no verdict.
        tuned_per_seed: whether settings were searched anew for each seed or block of seeds; else the sentence says
            that it holds at these settings.

    Raises: MismatchError for arms of other rows or other numbers of seeds; ArgumentError for arrays that are not bool.
    """
    if saw_test not in get_args(Saw):
        raise ArgumentError(f"verdict: saw_test must be one of {', '.join(get_args(Saw))}. Got {saw_test!r}.")
    distilled_SN, alone_SN = paired_matrices("verdict", distilled=distilled_wrong, alone=alone_wrong)
    found = contrast(differences_in_points(distilled_SN, alone_SN), alpha=question.alpha(look, earlier))
    resolved = resolution(found, distilled_SN, alone_SN)
    outcome = _outcome(found, question, look, saw_test)
    needed = pairs_needed(found, question.worth) if outcome == "cannot tell" or found.pairs == 1 else None
    case = _Case(
        outcome=outcome,
        found=found,
        question=question,
        look=look,
        saw_test=saw_test,
        tuned_per_seed=tuned_per_seed,
        needed=needed,
        rows=resolved.rows,
    )
    return Verdict(
        outcome=outcome,
        sentence=_sentence(case),
        why=_why(case),
        contrast=found,
        question=question,
        look=look,
        pairs_needed=needed,
        resolution=resolved,
    )


def _outcome(found: Contrast, question: Question, look: int, saw_test: Saw) -> Outcome:
    if saw_test == "yes" or look > question.looks or found.pairs == 1:
        return "refused"
    low, high = found.interval
    if question.worth is not None and -question.worth < low and high < question.worth:
        return "no worthwhile difference"
    return "helped" if found.side > 0 else "harmed" if found.side < 0 else "cannot tell"


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class _Case:
    """What the wording depends on."""

    outcome: Outcome
    found: Contrast
    question: Question
    look: int
    saw_test: Saw
    tuned_per_seed: bool
    needed: int | None
    rows: float


def _sentence(case: _Case) -> str:
    if case.outcome == "refused":
        return _refusal(case)
    found, worth = case.found, case.question.worth
    bound = _bound_to(case)
    if case.outcome in ("helped", "harmed"):
        side = "below" if found.side > 0 else "above"
        return (
            f"Distillation {case.outcome}: an error rate {points(abs(found.mean))} points {side} that of the same "
            f"student alone {_numbers(found, turned=found.side < 0)}{_against_worth(found, worth)}; {bound}."
        )
    if case.outcome == "no worthwhile difference":
        return (
            f"No worthwhile difference: {_gain(found.mean)} {_numbers(found)} lies inside "
            f"±{worth:g}, {_TOO_SMALL[found.side]}; {bound}."
        )
    return f"Cannot tell: {_gain(found.mean)} {_numbers(found)}{_what_would_decide(case)}; {bound}."


def _gain(mean: float) -> str:
    return f"the {'gain' if mean >= 0 else 'difference'} of {points(mean)} points"


_TOO_SMALL = {
    1: "a true gain, but too small to be worth having",
    -1: "a true loss, but too small to matter",
    0: "too small to matter, whatever its sign",
}


def _numbers(found: Contrast, *, turned: bool = False) -> str:
    """Interval, p-value and pairs in brackets; turned where harm is told with positive numbers."""
    how = "exact" if found.exact else "Monte Carlo"
    test = f"{how} p {probability(found.p_value)}, {counted(found.pairs, 'paired seed')}"
    if finite(found.interval[0]) is None:
        return f"({test})"
    low, high = found.interval if not turned else (-found.interval[1], -found.interval[0])
    return f"({percent(found.coverage)} interval {points(low)} to {points(high)}, {test})"


def _against_worth(found: Contrast, worth: float | None) -> str:
    if worth is None:
        return ""
    nearest = min(abs(end) for end in found.interval)
    size = f"the {worth:g} point{'' if worth == 1 else 's'} worth having"
    return f", at least {size}" if nearest >= worth else f", perhaps less than {size}"


def _what_would_decide(case: _Case) -> str:
    found, worth = case.found, case.question.worth
    fewest = fewest_pairs(found.alpha)
    if found.pairs < fewest:
        return f" may be chance: {counted(found.pairs, 'pair')} can show nothing at this level, {fewest} are the fewest"
    about = "" if case.needed is None else f"; about {counted(case.needed, 'pair')} would decide"
    if worth is None:
        return f" may be chance{about}; that there is none cannot be claimed without a smallest difference worth having"
    return f" may be chance, and may be worth having{about}"


def _bound_to(case: _Case) -> str:
    settings = "" if case.tuned_per_seed else "at these settings, "
    unknown = " (whether the teacher saw them is unknown)" if case.saw_test == "unknown" else ""
    return f"{settings}on these test rows{unknown}, with this teacher"


def _refusal(case: _Case) -> str:
    gain = f"{points(case.found.mean)} points"
    if case.saw_test == "yes":
        return (
            "No verdict: the teacher was trained on these test rows, so they cannot show what a student gains with "
            "this teacher."
        )
    if case.look > case.question.looks:
        return (
            f"No verdict: this is look {case.look} at the test rows and {case.question.looks} "
            f"{'was' if case.question.looks == 1 else 'were'} planned, so a gain of {gain} is exploratory; "
            f"{_bound_to(case)}."
        )
    return (
        f"No verdict: one seed cannot tell a gain of {gain} from the luck of that seed; "
        f"{fewest_pairs(case.found.alpha)} paired seeds or more can; {_bound_to(case)}."
    )


def _why(case: _Case) -> str | None:
    parts = [*_notes(case)]
    return " ".join(parts) if parts else None


def _notes(case: _Case) -> list[str]:
    found, worth = case.found, case.question.worth
    notes = []
    if case.outcome == "refused" and case.look > case.question.looks:
        notes.append("A verdict needs a look that was planned before the test rows were scored, or other test rows.")
    if case.outcome == "refused" and case.saw_test == "yes":
        notes.append("Hold rows out of the teacher's training and score the students on those.")
    if case.outcome == "cannot tell" and case.needed is not None:
        notes.append(_basis(case))
    if case.outcome in ("helped", "harmed") and abs(found.mean) < case.rows:
        notes.append(
            f"On other test rows of the same kind it may come out otherwise: for one pair of runs the choice of rows "
            f"alone accounts for ±{points(case.rows)} points."
        )
    if case.outcome in ("helped", "harmed") and worth is None:
        notes.append("Whether so much is worth having was not asked.")
    if not found.exact:
        notes.append(f"Test and interval are from {DRAWN_PATTERNS:,} patterns of signs (Monte Carlo, fixed seed).")
    return notes


def _basis(case: _Case) -> str:
    found, worth = case.found, case.question.worth
    fewest = fewest_pairs(found.alpha)
    if case.needed == fewest:
        return f"An exact test at the level {found.alpha:.3g} needs {fewest} pairs to reject at all."
    size = "the smallest worth having" if worth is not None and worth >= abs(found.mean) else "the one seen"
    return (
        f"About {counted(case.needed or fewest, 'pair')} would show a true difference as large as {size} in nine of "
        f"ten such campaigns, if the spread over seeds stays at {points(found.sd or 0.0)} points."
    )
