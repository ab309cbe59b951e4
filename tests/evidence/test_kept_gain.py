"""The share of an ensemble's gain that a student keeps, from overlapping ensembles: closed forms and coverage."""

from math import inf

import numpy as np
import pytest
from scipy import optimize, stats

from limbeck.errors import ArgumentError
from limbeck.evidence.kept_gain import kept_gain
from limbeck.evidence.statistics import jackknife_variance

ALONE = [140, 151, 146, 149, 143, 147]
STUDENT = [66, 72, 69, 64, 70, 73]
ENSEMBLE = [58, 59, 57, 58, 60, 56]


def test_of_a_mean_the_jackknife_gives_the_variance_of_the_mean():
    groups = np.random.default_rng(0).normal(size=6)
    without = (groups.sum() - groups) / 5
    assert jackknife_variance(without) == pytest.approx(groups.var(ddof=1) / 6)
    with pytest.raises(ArgumentError, match="two replicates"):
        jackknife_variance([1.0])


def test_the_jackknifes_variance_is_not_too_low_in_expectation_for_counts_of_a_threshold():
    """A count of rows on the wrong side is no smooth statistic; Efron, Stein and Hoeffding's inequalities hold all the
    same."""
    draw = np.random.default_rng(1)
    pools = [overlapping_counts(draw, np.linspace(-0.5, 1.5, 40)) for _ in range(600)]
    expected = np.mean([jackknife_variance(counts) for counts in pools])
    assert expected >= 0.95 * np.var([counts.mean() for counts in pools])


def overlapping_counts(draw, margins_N):
    """Rows that each of six ensembles of ten gets wrong, by the mean margin of its members.  -> (6,)"""
    return (overlapping_means(draw, margins_N) < 0).sum(1)


def overlapping_means(draw, margins_N):
    members = margins_N + draw.normal(size=(12, len(margins_N)))
    groups = members.reshape(6, 2, -1).sum(1)
    return (groups.sum(0) - groups) / 10


def test_exact_numbers_give_the_ratio_and_no_width():
    found = kept_gain([146] * 6, [70] * 6, [58] * 6)
    assert found.share == pytest.approx(76 / 88)
    assert found.interval == pytest.approx((76 / 88, 76 / 88))
    assert found.gain_interval == pytest.approx((88, 88))


def test_the_ends_are_the_shares_at_which_students_t_stands_at_its_quantile():
    found = kept_gain(ALONE, STUDENT, ENSEMBLE)
    assert found.share == pytest.approx((146 - 69) / (146 - 58))

    def statistic(share):
        """|t| of alone - student - share (alone - ensemble), its variance written out part by part."""
        rest = (1 - share) * np.mean(ALONE) - np.mean(STUDENT) + share * np.mean(ENSEMBLE)
        members = 5 / 6 * np.sum((np.array(ENSEMBLE) - np.mean(ENSEMBLE)) ** 2)
        parts = (1 - share) ** 2 * stats.sem(ALONE) ** 2 + stats.sem(STUDENT) ** 2 + (1 + share**2) * members
        return abs(rest) / parts**0.5 - stats.t.ppf(0.975, 5)

    assert found.interval[0] == pytest.approx(optimize.brentq(statistic, 0.0, found.share))
    assert found.interval[1] == pytest.approx(optimize.brentq(statistic, found.share, 2.0))


def test_the_chance_of_members_widens_it():
    fixed = kept_gain(ALONE, STUDENT, [58.0] * 6).interval
    drawn = kept_gain(ALONE, STUDENT, ENSEMBLE).interval
    assert drawn[0] < fixed[0] < fixed[1] < drawn[1]


def test_the_fewest_values_give_the_degrees_of_freedom():
    found = kept_gain([146.0] * 8, [66, 72, 69], [58.0] * 6)
    half = stats.t.ppf(0.975, 2) * stats.sem([66, 72, 69]) / 88
    assert found.interval == pytest.approx((77 / 88 - half, 77 / 88 + half))


@pytest.mark.parametrize("ensemble", [[140, 150, 139, 149, 141, 151], [170, 171, 169, 170, 172, 168]])
def test_a_gain_that_is_not_clear_bounds_nothing(ensemble):
    found = kept_gain(ALONE, STUDENT, ensemble)
    assert found.interval == (-inf, inf)
    assert not found.bounded
    assert found.gain_interval[0] <= 0
    assert (found.share is None) == (found.gain <= 0)


def test_it_needs_a_spread_of_each():
    with pytest.raises(ArgumentError, match="student needs at least two"):
        kept_gain(ALONE, [70], ENSEMBLE)
    with pytest.raises(ArgumentError, match="ensemble needs at least two"):
        kept_gain(ALONE, STUDENT, [50, float("nan")])


def test_it_covers_the_true_share_where_errors_follow_the_members():
    """Errors of an ensemble are a constant plus the mean of its groups; a student follows it to a degree."""
    draw, trials = np.random.default_rng(2), 3000
    for spread, follows, own in [(2.0, 1.0, 3.0), (3.0, 1.0, 0.5), (1.0, 0.5, 5.0), (4.0, 0.0, 1.0)]:
        covered = 0
        for _ in range(trials):
            groups = draw.normal(0, spread, 6)
            pools = (groups.sum() - groups) / 5
            student = 70 + follows * pools + draw.normal(0, own, 6)
            found = kept_gain(draw.normal(146, 4, 6), student, 58 + pools)
            covered += found.interval[0] <= 76 / 88 <= found.interval[1]
        assert covered / trials >= 0.94, (spread, follows, own)


def test_it_covers_the_true_share_where_rows_are_counted():
    """Twelve members with a normal margin on each row; a student has its ensemble's margin and noise of its own."""
    draw, trials, noise = np.random.default_rng(3), 1500, 0.5
    margins = np.linspace(-0.4, 2.0, 120)
    wrong = [stats.norm.cdf(-margins / sd).sum() for sd in ((1 + 1) ** 0.5, (0.1 + noise**2) ** 0.5, 0.1**0.5)]
    true = (wrong[0] - wrong[1]) / (wrong[0] - wrong[2])
    covered = 0
    for _ in range(trials):
        pools = overlapping_means(draw, margins)
        student = ((pools + noise * draw.normal(size=pools.shape)) < 0).sum(1)
        alone = ((margins + 2**0.5 * draw.normal(size=(6, 120))) < 0).sum(1)
        low, high = kept_gain(alone, student, (pools < 0).sum(1)).interval
        covered += low <= true <= high
    assert covered / trials >= 0.94
