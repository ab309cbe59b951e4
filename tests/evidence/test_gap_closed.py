"""The share of the gap that was closed: Fieller's interval against a search, a bootstrap and its own coverage."""

import json

import numpy as np
import pytest
from judged import wrong_with
from scipy import stats

from limbeck.errors import MismatchError
from limbeck.evidence.gap import fieller, gap_closed

DISTILLED, ALONE, TEACHER = [70, 75, 68, 74, 71, 66, 73, 72], [100, 108, 97, 102, 104, 95, 99, 105], 50


def closed(distilled=DISTILLED, alone=ALONE, teacher=TEACHER, rows=1000, **named):
    return gap_closed(wrong_with(distilled, rows), wrong_with(alone, rows), wrong_with([teacher], rows)[0], **named)


def test_by_hand():
    found = gap_closed(wrong_with(DISTILLED), wrong_with(ALONE), 5.0)
    assert found.closed == pytest.approx((np.mean(ALONE) - np.mean(DISTILLED)) / (np.mean(ALONE) - 50))
    assert found.why is None
    exact = gap_closed(wrong_with([60] * 6), wrong_with([100] * 6), 5.0)
    assert exact.closed == pytest.approx(0.8)
    assert exact.interval == pytest.approx((0.8, 0.8))


def test_the_interval_is_the_set_of_ratios_that_a_t_test_does_not_reject():
    low, high = gap_closed(wrong_with(DISTILLED), wrong_with(ALONE), 5.0).interval
    gained, gap = (np.array(ALONE) - DISTILLED) / 10, (np.array(ALONE) - TEACHER) / 10
    for ratio in np.linspace(0.3, 0.9, 61):
        kept = stats.ttest_1samp(gained - ratio * gap, 0).pvalue > 0.05
        assert kept == (low < ratio < high), ratio
    for end in (low, high):
        assert stats.ttest_1samp(gained - end * gap, 0).pvalue == pytest.approx(0.05)


def test_the_chance_of_rows_widens_it():
    fixed = gap_closed(wrong_with(DISTILLED), wrong_with(ALONE), TEACHER / 10)
    by_row = closed()
    assert by_row.closed == pytest.approx(fixed.closed)
    assert by_row.interval[0] < fixed.interval[0] < fixed.interval[1] < by_row.interval[1]


def test_a_joint_bootstrap_of_seeds_comes_to_about_the_same():
    draw = np.random.default_rng(0)
    alone = draw.normal(100, 6, 40).round()
    distilled = (alone - draw.normal(30, 5, 40)).round()
    low, high = gap_closed(wrong_with(distilled), wrong_with(alone), 5.0).interval
    chosen = draw.integers(0, 40, (20_000, 40))
    ratios = (alone[chosen] - distilled[chosen]).mean(1) / (alone[chosen].mean(1) - 50)
    assert (low, high) == pytest.approx(tuple(np.quantile(ratios, [0.025, 0.975])), abs=0.1 * (high - low))


def test_a_joint_bootstrap_of_rows_comes_to_about_the_same():
    draw = np.random.default_rng(1)
    rows, seeds = 600, 40
    difficulty = draw.beta(0.5, 2, rows)
    alone, distilled = (draw.random((seeds, rows)) < scale * difficulty for scale in (1.0, 0.75))
    teacher = draw.random(rows) < 0.5 * difficulty
    low, high = gap_closed(distilled, alone, teacher).interval
    d, a, t = distilled.mean(0), alone.mean(0), teacher.astype(float)
    chosen = draw.integers(0, rows, (5_000, rows))
    ratios = (a - d)[chosen].mean(1) / (a - t)[chosen].mean(1)
    assert (low, high) == pytest.approx(tuple(np.quantile(ratios, [0.025, 0.975])), abs=0.25 * (high - low))
    assert low < np.quantile(ratios, 0.025)  # seeds' chance comes on top


@pytest.mark.parametrize("seeds", [3, 8])
def test_it_covers_the_true_ratio_as_often_as_it_says(seeds):
    draw = np.random.default_rng(seeds)
    trials, covered = 1500, 0
    quantile = stats.t.ppf(0.975, seeds - 1)
    for _ in range(trials):
        alone = draw.normal(10, 0.8, seeds)
        distilled = alone - draw.normal(3.0, 0.6, seeds)
        pairs = np.stack([alone - distilled, alone - 5])
        low, high = fieller(*pairs.mean(1), np.cov(pairs) / seeds, quantile)
        covered += low <= 0.6 <= high
    assert stats.binomtest(covered, trials, 0.95).pvalue > 1e-3


def test_with_the_chance_of_rows_the_true_ratio_is_covered_too():
    draw = np.random.default_rng(6)
    trials, rows, seeds, covered, given = 400, 800, 6, 0, 0
    for _ in range(trials):
        difficulty = draw.beta(0.5, 1, rows)
        luck = 1 + 0.05 * draw.standard_normal((2, seeds, 1))
        alone, distilled = (
            draw.random((seeds, rows)) < luck[0] * difficulty,
            (draw.random((seeds, rows)) < 0.7 * luck[1] * difficulty),
        )
        found = gap_closed(distilled, alone, draw.random(rows) < 0.5 * difficulty)
        if found.interval is not None:
            given += 1
            covered += found.interval[0] <= 0.6 <= found.interval[1]
    assert given > 300
    assert stats.binomtest(covered, given, 0.95, alternative="less").pvalue > 1e-3


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ({"teacher": 100}, "not clearly better than the student alone: by 0.12 points"),
        ({"teacher": 150}, "not clearly better than the student alone: by −4.88 points"),
        ({"distilled": [70], "alone": [100]}, "One seed has no spread"),
    ],
)
def test_it_is_left_out_where_it_means_nothing(named, why):
    found = closed(**named)
    assert (found.closed, found.interval) == (None, None)
    assert why in found.why
    json.dumps(found.as_json(), allow_nan=False)


def test_without_a_teacher_it_is_left_out_and_other_rows_are_refused():
    assert gap_closed(wrong_with(DISTILLED), wrong_with(ALONE), None).why == (
        "The teacher's answers to the test rows are missing."
    )
    with pytest.raises(MismatchError, match="the same rows"):
        gap_closed(wrong_with(DISTILLED), wrong_with(ALONE), wrong_with([50], 999)[0])


def test_arms_that_are_alike_closed_nothing():
    assert closed(distilled=ALONE).closed == 0
    low, high = closed(distilled=ALONE).interval
    assert low <= 0 <= high
