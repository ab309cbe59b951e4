"""Two checkpoints on the same rows: against statsmodels, and every table of a small test set."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as theirs

from limbeck.errors import ArgumentError, MismatchError
from limbeck.evidence.mcnemar import mcnemar


def checkpoints(only_first, only_second, rows=100, both=3):
    first, second = np.zeros(rows, bool), np.zeros(rows, bool)
    first[: both + only_first] = True
    second[:both] = True
    second[both + only_first : both + only_first + only_second] = True
    return first, second


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_p_value_is_that_of_statsmodels(only_first, only_second):
    found = mcnemar(*checkpoints(only_first, only_second))
    table = [[97 - only_first - only_second, only_second], [only_first, 3]]
    assert found.p_value == pytest.approx(theirs(table, exact=True).pvalue)
    assert found.mean == pytest.approx(only_second - only_first)
    assert (found.only_first, found.only_second) == (only_first, only_second)


def test_by_hand():
    found = mcnemar(*checkpoints(1, 9))  # 2 · (1 + 10) / 2^10
    assert found.p_value == pytest.approx(22 / 1024)
    first, second = 2 / 102, 10 / 102
    half = stats.norm.ppf(0.975) * ((first + second - (second - first) ** 2) / 102) ** 0.5
    assert found.interval[0] == pytest.approx(100 * min(second - first - half, 10 / 100 * (2 * 0.554984 - 1)), abs=1e-4)
    assert found.sentence == (
        "These two checkpoints: the first makes 8.00 points fewer errors than the second (difference 1.10 to 14.32, "
        "95 % over test rows; McNemar's exact p = 0.021, 9 to 1 of 100 rows)."
    )
    assert found.as_json()["label"] == "these two checkpoints"


@pytest.mark.parametrize("discordant", range(41))
def test_the_interval_excludes_zero_only_where_the_test_rejects(discordant):
    for only_first in range(discordant + 1):
        found = mcnemar(*checkpoints(only_first, discordant - only_first, rows=200))
        outside = found.interval[0] > 0 or found.interval[1] < 0
        assert outside == (found.p_value <= 0.05), (only_first, discordant)


@pytest.mark.parametrize("shares", [(0.02, 0.02), (0.01, 0.06), (0.2, 0.1), (0.002, 0.002)])
def test_it_covers_the_true_difference_at_least_as_often_as_it_says(shares):
    draw = np.random.default_rng(0)
    rows, covered, trials = 300, 0, 800
    for _ in range(trials):
        only_first, only_second, _ = draw.multinomial(rows, [*shares, 1 - sum(shares)])
        low, high = mcnemar(*checkpoints(only_first, only_second, rows, both=0)).interval
        covered += low <= 100 * (shares[1] - shares[0]) <= high
    assert stats.binomtest(covered, trials, 0.95, alternative="less").pvalue > 1e-3


def test_checkpoints_that_never_disagree_are_not_said_to_be_the_same():
    found = mcnemar(*checkpoints(0, 0))
    assert (found.p_value, found.mean) == (1.0, 0.0)
    assert found.interval[1] == -found.interval[0] > 2  # of 100 rows
    json.dumps(found.as_json(), allow_nan=False)


def test_several_runs_or_other_rows_are_refused():
    first, second = checkpoints(1, 2)
    with pytest.raises(ArgumentError, match="compares one checkpoint with one"):
        mcnemar(np.stack([first, first]), np.stack([second, second]))
    with pytest.raises(MismatchError, match="the same rows"):
        mcnemar(first, second[:-1])
