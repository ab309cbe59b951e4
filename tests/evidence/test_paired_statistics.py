"""The paired difference against SciPy and against every pattern of signs."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from limbeck.errors import ArgumentError
from limbeck.evidence.statistics import mean_and_sd, paired_difference

FIRST, SECOND = [27.0, 31.0, 25.0, 29.0, 28.0, 30.0], [14.0, 19.0, 15.0, 11.0, 21.0, 10.0]


def test_the_interval_is_that_of_scipys_paired_t_test():
    found = paired_difference(FIRST, SECOND)
    expected = stats.ttest_rel(FIRST, SECOND).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(np.mean(FIRST) - np.mean(SECOND))


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=7))
def test_the_p_value_is_the_share_of_sign_patterns_at_least_as_far_from_zero(pairs):
    first, second = zip(*pairs, strict=True)
    differences = [a - b for a, b in pairs]
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(pairs))
    ]
    share = sum(total >= abs(sum(differences)) for total in sums) / len(sums)
    assert paired_difference(first, second).p_value == pytest.approx(share)


def test_six_seeds_that_all_agree_reach_one_in_thirty_two_and_three_never_reach_one_in_twenty():
    assert paired_difference(FIRST, SECOND).p_value == 2 / 2**6
    assert paired_difference(FIRST[:3], SECOND[:3]).p_value == 2 / 2**3


def test_seeds_that_agree_to_the_last_error_decide_nothing_while_they_are_too_few():
    assert paired_difference([3.0, 4.0], [2.0, 3.0]).verdict == "undecided"  # an interval of no width, p = 1/2
    assert paired_difference([3.0] * 6, [2.0] * 6).verdict == "positive"
    assert paired_difference([2.0] * 6, [3.0] * 6).verdict == "negative"
    assert paired_difference([3.0, 1.0] * 4, [2.0] * 8).verdict == "undecided"


def test_the_sign_of_the_difference_is_first_minus_second():
    assert paired_difference([2.0, 3.0], [1.0, 1.0]).mean == 1.5
    assert paired_difference([1.0, 1.0], [2.0, 3.0]).mean == -1.5


@pytest.mark.parametrize(("first", "second"), [([1.0], [2.0]), ([1.0, 2.0], [1.0]), ([0.0] * 21, [0.0] * 21)])
def test_too_few_too_many_or_unequal_numbers_of_pairs_are_refused(first, second):
    with pytest.raises(ArgumentError, match="the same 2 to 20 seeds"):
        paired_difference(first, second)


def test_a_single_value_has_no_spread():
    assert mean_and_sd([5.0]) == (5.0, 0.0)
    assert mean_and_sd([1.0, 3.0]) == (2.0, math.sqrt(2))
