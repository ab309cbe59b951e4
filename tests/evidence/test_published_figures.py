"""Errors over seeds beside a published figure: the interval is SciPy's, and each verdict has its word."""

import pytest
from scipy import stats

from limbeck.errors import ArgumentError
from limbeck.evidence.published import against_published

SIX = [70, 64, 66, 69, 63, 68]


def test_mean_sd_and_interval_are_scipys():
    found = against_published(SIX, figure=74, goal=74)
    described = stats.describe(SIX)
    assert found.mean == pytest.approx(described.mean)
    assert found.sd == pytest.approx(described.variance**0.5)
    assert found.interval == pytest.approx(stats.t.interval(0.95, 5, described.mean, stats.sem(SIX)))
    wider = against_published(SIX, level=0.99).interval
    assert wider[0] < found.interval[0] < found.interval[1] < wider[1]


@pytest.mark.parametrize(
    ("figure", "goal", "words"),
    [
        (74, 74, "beaten"),
        (69, 69, "met in the mean"),
        (None, 66.667, "met in the mean"),  # nothing was published, so nothing is beaten
        (64, 64, "missed by 2.7"),
        (None, 66.66, "missed by 0.007"),
        (74, 60, "beaten, but the goal missed by 6.7"),
        (74, None, "fewer"),
        (60, None, "more"),
        (67, None, "not told apart"),
        (None, None, ""),
    ],
)
def test_each_verdict_has_its_word(figure, goal, words):
    assert against_published(SIX, figure=figure, goal=goal).words == words


def test_beaten_needs_the_whole_interval_below_the_figure():
    high = against_published(SIX).interval[1]
    assert not against_published(SIX, figure=high, goal=high).beaten
    assert against_published(SIX, figure=high + 1e-9, goal=high).beaten


def test_one_seed_has_no_spread_and_beats_nothing():
    found = against_published([60], figure=74, goal=74)
    assert (found.sd, found.interval, found.beaten, found.met) == (None, None, False, True)
    assert found.words == "met in the mean"
    assert against_published([60], figure=74).words == "one seed"


def test_dependent_seeds_bring_their_own_variance_of_the_mean():
    found = against_published(SIX, figure=74, goal=74, variance_of_mean=9.0)
    assert found.interval == pytest.approx(stats.t.interval(0.95, 5, found.mean, 3.0))
    assert found.words == "met in the mean"
    assert found.sd == against_published(SIX).sd


@pytest.mark.parametrize("errors", [[], [1.0, float("nan")]])
def test_nothing_is_said_of_no_numbers(errors):
    with pytest.raises(ArgumentError, match="at least one seed"):
        against_published(errors)
