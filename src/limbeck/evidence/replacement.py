"""The second verdict: can the student replace the teacher? Non-inferiority within a margin of the user's.

Shape legend, this file:  S seeds, N test rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import hypot, sqrt
from typing import Any, Literal, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from limbeck.errors import ArgumentError, MismatchError
from limbeck.evidence.question import Question
from limbeck.evidence.verdict import Saw
from limbeck.evidence.words import percent, points
from limbeck.evidence.wrong import Wrong, wrong_matrix

Answer: TypeAlias = Literal["yes", "no", "cannot tell", "not asked", "refused"]
"""What the second verdict may say."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """A mean difference with its one-sided limits, in percentage points."""

    mean: float
    """Student's error rate minus the teacher's."""
    lower: float
    """The true difference is above this with the confidence asked for."""
    upper: float
    """The true difference is below this with the confidence asked for."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Replacement:
    """Whether a student can take a teacher's place; differences are student minus teacher, in points."""

    outcome: Answer
    """yes: the upper limit is below the margin; no: the lower one is above it; else it cannot be told."""
    sentence: str
    """The verdict for people."""
    within: float | None
    """The margin."""
    mean: float | None
    """Student's error rate minus the teacher's; None without a teacher's answers."""
    lower: float | None
    """One-sided lower limit; None where one cannot be given."""
    upper: float | None
    """One-sided upper limit; None where one cannot be given."""
    level: float
    """Of the question; each limit is one-sided at 1 - (1 - level) / 2."""
    seconds_per_row: Mapping[str, float | None] = field(default_factory=dict)
    """Of `student` and `teacher`, beside the verdict."""
    bytes: Mapping[str, int | None] = field(default_factory=dict)
    """Of the weights of `student` and `teacher`."""
    parameters: Mapping[str, int | None] = field(default_factory=dict)
    """Of `student` and `teacher`."""

    def as_json(self) -> dict[str, Any]:
        """As it stands in facts.json."""
        return {
            "outcome": self.outcome,
            "sentence": self.sentence,
            "within": self.within,
            "mean": self.mean,
            "lower": self.lower,
            "upper": self.upper,
            "level": self.level,
            "seconds_per_row": dict(self.seconds_per_row),
            "bytes": dict(self.bytes),
            "parameters": dict(self.parameters),
        }


def replacement(
    student_wrong: NDArray[Any],
    teacher_wrong: NDArray[Any] | None,
    question: Question,
    *,
    look: int = 1,
    saw_test: Saw = "unknown",
    seconds_per_row: Mapping[str, float | None] | None = None,
    bytes: Mapping[str, int | None] | None = None,
    parameters: Mapping[str, int | None] | None = None,
) -> Replacement:
    """Say whether the student can replace the teacher.  (S, N) bool, (N,) bool -> record.

    Args:
        student_wrong: which test rows each run of the student got wrong.
        teacher_wrong: the same of the teacher, on the same rows; None where its answers are missing.
        question: its `within` is the margin.
        look: which look at the test rows this is; one beyond those planned gets no verdict.
        saw_test: whether the teacher was trained on these rows; "yes" gets no verdict.
        seconds_per_row: of `student` and `teacher`; passed on.
        bytes: of the weights of both; passed on.
        parameters: of both; passed on.

    Raises: MismatchError for other rows; ArgumentError for arrays that are not bool.
    """
    student_SN = wrong_matrix("replacement", "student", student_wrong)
    limits = mean = None
    if teacher_wrong is not None:
        teacher_N = one_run("replacement", teacher_wrong, student_SN)
        mean = float(100 * (student_SN.mean() - teacher_N.mean()))
        limits = difference_limits(student_SN, teacher_N, alpha=question.alpha(look)) if len(student_SN) > 1 else None
    outcome = _outcome(limits, teacher_wrong is not None, question, look, saw_test)
    return Replacement(
        outcome=outcome,
        sentence=_sentence(outcome, limits, mean, question, look, saw_test),
        within=question.within,
        mean=mean,
        lower=None if limits is None else limits.lower,
        upper=None if limits is None else limits.upper,
        level=question.level,
        seconds_per_row=seconds_per_row or {},
        bytes=bytes or {},
        parameters=parameters or {},
    )


def one_run(caller: str, teacher_wrong: NDArray[Any], student_SN: Wrong) -> Wrong:
    """Return the teacher's row.  -> (N,). Raises: MismatchError for other rows, ArgumentError for several runs."""
    teacher_SN = wrong_matrix(caller, "teacher", teacher_wrong)
    if len(teacher_SN) != 1:
        raise ArgumentError(f"{caller}: there is one teacher; answers of several give none. Got {len(teacher_SN)}.")
    if teacher_SN.shape[1] != student_SN.shape[1]:
        raise MismatchError(
            f"{caller}: student and teacher must have answered the same rows. Got {student_SN.shape[1]:,} and "
            f"{teacher_SN.shape[1]:,}."
        )
    teacher_N: Wrong = teacher_SN[0]
    return teacher_N


def difference_limits(student_SN: Wrong, teacher_N: Wrong, *, alpha: float) -> Limits:
    """Return limits of the difference of error rates that cover both chances: of seeds, and of test rows.

    Seeds and rows are crossed: each run answers all rows. With variances s² of seeds, r² of rows and i² of what is
    left, the mean difference has the variance s²/S + r²/N + i²/(S N). The variance between the runs' error rates,
    divided by S, has the expectation s²/S + i²/(S N); that between rows of the mean over runs, divided by N, has
    r²/N + i²/(S N). Their sum counts the last part twice, and so is never too small in expectation.

    To the rows two are added, on one of which only the student is wrong and on the other only the teacher, so that
    no disagreement in a few rows is not taken for certainty (Bonett and Price 2012). The quantile is that of Cochran
    and Cox: between t with S - 1 and t with N - 1 degrees of freedom, weighted by the two variances. For a sum of two
    estimated variances it errs on the safe side, but for two runs whose chance outweighs the rows', where 3.0 % are
    missed in place of 2.5; so for two runs t with one degree of freedom is taken, the bound that holds whatever the
    variances are (Mickey and Brown 1966).

    Args:
        student_SN: at least two runs.
        teacher_N: the teacher is one, and fixed.
        alpha: two-sided; each limit is missed with a probability of about alpha / 2.

    References: Cochran and Cox, Experimental Designs, 1957, section 4.14; Mickey and Brown, Bounds on the distribution
    functions of the Behrens-Fisher statistic, Annals of Mathematical Statistics 1966; Bonett and Price, Adjusted Wald
    confidence interval for a difference of binomial proportions based on paired data, JEBS 2012.
    """
    seeds, rows = student_SN.shape
    mean = 100 * (float(student_SN.mean()) - float(teacher_N.mean()))
    of_seeds = float((100 * student_SN.mean(1)).var(ddof=1)) / seeds
    of_rows = row_variance(student_SN.mean(0) - teacher_N)
    quantiles = stats.t.ppf(1 - alpha / 2, [seeds - 1, rows + 1])
    weights = [of_seeds, of_rows] if seeds > 2 else [1.0, 0.0]
    half = float(np.average(quantiles, weights=weights)) * hypot(sqrt(of_seeds), sqrt(of_rows))
    return Limits(mean=mean, lower=mean - half, upper=mean + half)


def row_variance(differences_N: NDArray[np.float64]) -> float:
    """Variance of the mean over rows of differences in [-1, 1], in squared points, with two rows added: -1 and 1."""
    values = np.concatenate([differences_N, [-1.0, 1.0]])
    return float((100 * values).var(ddof=1)) / len(values)


def _outcome(limits: Limits | None, known: bool, question: Question, look: int, saw_test: Saw) -> Answer:
    if question.within is None:
        return "not asked"
    if saw_test == "yes" or look > question.looks or not known or limits is None:
        return "refused"
    return "yes" if limits.upper < question.within else "no" if limits.lower > question.within else "cannot tell"


def _sentence(
    outcome: Answer, limits: Limits | None, mean: float | None, question: Question, look: int, saw_test: Saw
) -> str:
    unknown = " (whether the teacher saw these test rows is unknown)" if saw_test == "unknown" else ""
    if outcome == "not asked":
        seen = "" if mean is None else f" Its error rate is {_more(mean)} than the teacher's{unknown}."
        return f"Whether the student can replace the teacher was not asked: no margin was named.{seen}"
    if outcome == "refused":
        return _refusal(mean, question, look, saw_test)
    assert limits is not None
    one_sided = percent(1 - question.alpha(look) / 2)
    limit = f"one-sided {one_sided}, over seeds and test rows"
    allowed = f"{question.within:g} more {'is' if question.within == 1 else 'are'} allowed{unknown}"
    if outcome == "yes":
        return (
            f"The student can replace the teacher: its error rate is {_more(limits.mean)}, and at most "
            f"{_more(limits.upper)} ({limit}), where {allowed}."
        )
    if outcome == "no":
        return (
            f"The student cannot replace the teacher: its error rate is {_more(limits.mean)}, and at least "
            f"{_more(limits.lower)} ({limit}), where {allowed}."
        )
    return (
        f"Whether the student can replace the teacher cannot be told: its error rate is {_more(limits.mean)}, between "
        f"{points(limits.lower)} and {points(limits.upper)} ({limit}), where {allowed}."
    )


def _more(value: float) -> str:
    return f"{points(abs(value))} points {'higher' if value >= 0 else 'lower'}"


def _refusal(mean: float | None, question: Question, look: int, saw_test: Saw) -> str:
    begin = "No verdict on whether the student can replace the teacher: "
    if mean is None:
        return f"{begin}the teacher's answers to the test rows are missing."
    if saw_test == "yes":
        return f"{begin}the teacher was trained on these test rows, so its own errors there say nothing."
    if look > question.looks:
        return f"{begin}this is look {look} at the test rows, and planned were {question.looks}."
    return (
        f"{begin}one run of the student has an error rate {_more(mean)}, and says nothing about how another seed would "
        "come out."
    )
