"""The second verdict: limits that cover seeds and rows, and what is said with them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import crossed, plain_upper_limit, wrong_with
from scipy import stats

from limbeck.errors import ArgumentError, MismatchError
from limbeck.evidence.question import Question
from limbeck.evidence.replacement import difference_limits, replacement

STUDENT, TEACHER = wrong_with([100, 104, 98, 102, 101, 99]), wrong_with([100])[0]


def judged(within, *, student=STUDENT, teacher=TEACHER, looks=1, **named):
    return replacement(student, teacher, Question(within=within, looks=looks), **{"saw_test": "no", **named})


def test_a_margin_above_the_upper_limit_is_a_yes_one_below_the_lower_a_no():
    found = judged(1.0)
    assert found.outcome == "yes"
    assert found.upper == pytest.approx(plain_upper_limit(STUDENT, TEACHER))
    assert found.lower == pytest.approx(2 * found.mean - found.upper)
    assert judged(found.upper + 1e-6).outcome == "yes"
    assert judged(found.upper - 1e-6).outcome == "cannot tell"
    worse = wrong_with([130, 134, 128, 132, 131, 129])
    assert judged(0.5, student=worse).outcome == "no"
    assert "cannot replace the teacher: its error rate is 3.07 points higher" in judged(0.5, student=worse).sentence


def test_the_sentence_tells_mean_limit_and_margin():
    found = judged(1.0)
    assert found.sentence == (
        "The student can replace the teacher: its error rate is 0.07 points higher, and at most 0.45 points higher "
        "(one-sided 97.5 %, over seeds and test rows), where 1 more is allowed."
    )
    assert "cannot be told: its error rate is 0.07 points higher, between −0.32 and 0.45" in judged(0.2).sentence


@pytest.mark.parametrize(
    ("named", "outcome", "words"),
    [
        ({"within": None}, "not asked", "was not asked: no margin was named. Its error rate is 0.07 points higher"),
        ({"within": 1.0, "teacher": None}, "refused", "the teacher's answers to the test rows are missing"),
        ({"within": 1.0, "saw_test": "yes"}, "refused", "the teacher was trained on these test rows"),
        ({"within": 1.0, "student": STUDENT[:1]}, "refused", "one run of the student has an error rate 0.00 points"),
        ({"within": 1.0, "look": 2}, "refused", "this is look 2"),
        ({"within": 1.0, "saw_test": "unknown"}, "yes", "whether the teacher saw these test rows is unknown"),
    ],
)
def test_what_cannot_be_said_is_not_said(named, outcome, words):
    found = judged(**named)
    assert found.outcome == outcome
    assert words in found.sentence
    json.dumps(found.as_json(), allow_nan=False)


def test_costs_pass_through_into_the_record():
    costs = {
        "seconds_per_row": {"student": 1e-5, "teacher": 1e-4},
        "bytes": {"student": 9},
        "parameters": {"teacher": 3},
    }
    found = judged(1.0, **costs).as_json()
    assert {name: found[name] for name in costs} == costs
    assert list(found) == [
        "outcome", "sentence", "within", "mean", "lower", "upper", "level", "seconds_per_row", "bytes", "parameters"
    ]  # fmt: skip


def test_no_disagreement_on_a_few_rows_is_no_certainty():
    same = np.zeros((6, 40), bool)
    found = judged(5.0, student=same, teacher=same[0])
    assert found.mean == 0
    assert found.upper > 5.0  # two rows of 42 that were not seen to disagree
    assert judged(0.5, student=np.zeros((6, 4000), bool), teacher=np.zeros(4000, bool)).outcome == "yes"


@settings(max_examples=25)
@given(st.integers(2, 6), st.integers(3, 30), st.integers(0, 10**6))
def test_a_plain_implementation_finds_the_same_limit(runs, rows, seed):
    draw = np.random.default_rng(seed)
    student, teacher = draw.random((runs, rows)) < 0.3, draw.random(rows) < 0.2
    found = difference_limits(student, teacher, alpha=0.05)
    assert found.upper == pytest.approx(plain_upper_limit(student, teacher))
    assert found.mean == pytest.approx(100 * (student.mean() - teacher.mean()))


@pytest.mark.parametrize(("runs", "spread"), [(2, 0.03), (3, 0.03), (8, 0.03), (8, 0.0), (3, 0.2)])
def test_a_true_difference_at_the_margin_is_passed_as_one_below_it_no_more_often_than_one_time_in_forty(runs, spread):
    draw = np.random.default_rng(runs)
    rows, trials, missed = 300, 1200, 0
    # Student and teacher are alike but for the student's luck of seeds, which has the mean zero: the truth is zero.
    for _ in range(trials):
        difficulty = 0.5 + 0.15 * draw.standard_normal(rows).clip(-2, 2)
        luck = spread * draw.standard_normal(runs)
        student = draw.random((runs, rows)) < difficulty + luck[:, None]
        missed += difference_limits(student, draw.random(rows) < difficulty, alpha=0.05).upper < 0
    assert stats.binomtest(missed, trials, 0.025, alternative="greater").pvalue > 1e-3


def test_limits_by_hand():
    # Three runs, wrong on 1, 2 and 3 rows of 10; the teacher on none. Seeds: rates 10, 20, 30, variance 100, of which
    # the mean has a third.
    student = wrong_with([1, 2, 3], rows=10)
    found = difference_limits(student, np.zeros(10, bool), alpha=0.05)
    by_row = 100 * np.array([1, 2 / 3, 1 / 3, 0, 0, 0, 0, 0, 0, 0, 1, -1])
    rows = by_row.var(ddof=1) / 12
    seeds = 100 / 3
    quantile = (seeds * stats.t.ppf(0.975, 2) + rows * stats.t.ppf(0.975, 11)) / (seeds + rows)
    assert found.mean == pytest.approx(20)
    assert found.upper == pytest.approx(20 + quantile * (seeds + rows) ** 0.5)
    two = difference_limits(student[:2], np.zeros(10, bool), alpha=0.05)
    by_row = 100 * np.array([1, 0.5, 0, 0, 0, 0, 0, 0, 0, 0, 1, -1])
    assert two.upper == pytest.approx(15 + stats.t.ppf(0.975, 1) * (25 + by_row.var(ddof=1) / 12) ** 0.5)


def test_other_rows_or_several_teachers_are_refused():
    with pytest.raises(MismatchError, match="student and teacher must have answered the same rows"):
        judged(1.0, teacher=TEACHER[:9])
    with pytest.raises(ArgumentError, match="there is one teacher"):
        judged(1.0, teacher=STUDENT)


def test_variances_of_crossed_runs_and_rows_are_never_too_small_in_expectation():
    draw = np.random.default_rng(1)
    means, variances = [], []
    for _ in range(400):
        student = crossed(draw, 4, 150)
        means.append(100 * student.mean())
        seeds = (100 * student.mean(1)).var(ddof=1) / 4
        rows = (100 * student.mean(0)).var(ddof=1) / 150
        variances.append(seeds + rows)
    assert np.mean(variances) > 0.95 * np.var(means)


@pytest.mark.parametrize("runs", [2, 3, 4, 8])
@pytest.mark.parametrize("ratio", [0.0, 0.1, 1.0, 10.0, 100.0])
def test_the_quantile_is_on_the_safe_side_whichever_variance_is_larger(runs, ratio):
    # The mean is normal with variance ratio + 1; the first part is estimated with runs - 1 degrees of freedom.
    draw, trials = np.random.default_rng(0), 40_000
    mean = draw.normal(size=trials) * (ratio + 1) ** 0.5
    seeds = ratio * draw.chisquare(runs - 1, trials) / (runs - 1)
    low, high = stats.t.ppf(0.975, runs - 1), stats.t.ppf(0.975, 999)
    quantile = low if runs == 2 else (seeds * low + high) / (seeds + 1)
    missed = int((mean > quantile * (seeds + 1) ** 0.5).sum())
    assert stats.binomtest(missed, trials, 0.025, alternative="greater").pvalue > 1e-3
