"""The exact test and its interval: against every pattern by hand, SciPy's permutations, and its own inversion."""

import doctest
from functools import reduce
from itertools import combinations, product
from math import inf, isinf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from limbeck.errors import ArgumentError
from limbeck.evidence import sign_flips as module
from limbeck.evidence import words
from limbeck.evidence.contrast import contrast
from limbeck.evidence.sign_flips import attained, fewest_pairs, patterns_of, sign_flips

counts = st.lists(st.integers(-9, 9), min_size=1, max_size=8)
levels = st.sampled_from([0.01, 0.025, 0.05, 0.1, 0.2, 0.5])


def share_of_patterns(differences):
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in signs_of(differences)]
    return sum(total >= abs(sum(differences)) for total in sums) / len(sums)


def signs_of(differences):
    return product((1, -1), repeat=len(differences))


def means_of_subsets(differences):
    sizes = range(1, len(differences) + 1)
    return sorted(sum(chosen) / size for size in sizes for chosen in combinations(differences, size))


@given(counts)
def test_the_p_value_is_the_share_of_patterns_at_least_as_far_from_zero(differences):
    assert sign_flips(differences).p_value == pytest.approx(share_of_patterns(differences), abs=1e-15)


@pytest.mark.parametrize("count", [2, 5, 9])
def test_the_p_value_is_scipys(count):
    differences = np.random.default_rng(count).normal(0.4, 1.0, count)
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flips(differences).p_value == pytest.approx(theirs.pvalue)


def test_rounding_does_not_part_sums_that_are_equal():
    assert sign_flips([0.1, 0.2, -0.3]).p_value == 1.0  # their sum is 5.6e-17
    assert sign_flips([0.1, 0.2, 0.3]).p_value == 0.25
    assert contrast([0.1, 0.2, -0.3]).mean == 0.0


@given(counts, levels)
def test_the_ends_are_typical_values(differences, alpha):
    found, means = sign_flips(differences, alpha=alpha), means_of_subsets(differences)
    k = int(alpha * 2 ** len(differences) / 2 + 1e-9)
    assert found.coverage == 1 - 2 * k / 2 ** len(differences)
    assert found.interval == ((-inf, inf) if k == 0 else pytest.approx((means[k - 1], means[-k]), abs=1e-12))


@given(counts, levels)
def test_zero_is_outside_the_interval_just_where_the_test_rejects(differences, alpha):
    found = sign_flips(differences, alpha=alpha)
    low, high = found.interval
    assert (low > 0 or high < 0) == (found.p_value <= alpha + 1e-12)


@pytest.mark.parametrize("count", [4, 6, 7])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_the_interval_is_the_set_of_means_that_the_test_does_not_reject(count, alpha):
    differences = np.random.default_rng(count).standard_cauchy(count)
    low, high = sign_flips(differences, alpha=alpha).interval
    means = np.array(means_of_subsets(differences))
    between = np.concatenate([[means[0] - 1], (means[1:] + means[:-1]) / 2, [means[-1] + 1]])
    for shift in between:  # p-values change at the means of subsets and nowhere else
        kept = share_of_patterns(list(differences - shift)) > alpha
        assert kept == (low <= shift <= high)


def test_the_ends_are_found_by_a_search_for_roots_as_well():
    differences = np.random.default_rng(3).normal(0.2, 1.0, 9)
    low, _ = sign_flips(differences).interval
    outside, inside = differences.min() - 1, differences.mean()
    for _ in range(60):
        middle = (outside + inside) / 2
        rejected = sign_flips(differences - middle).p_value <= 0.05
        outside, inside = (middle, inside) if rejected else (outside, middle)
    assert low == pytest.approx(inside, abs=1e-9)


def test_at_six_pairs_it_is_the_range():
    found = sign_flips([0.3, -0.1, 2.0, 0.8, 0.5, 0.9])
    assert found.interval == (-0.1, 2.0)
    assert found.coverage == 0.96875
    assert sign_flips([1, 2, 3, 4, 5, 6]).p_value == 2 / 2**6


def test_too_few_pairs_bound_nothing():
    for count in range(1, 6):
        found = sign_flips([5.0] * count)
        assert all(map(isinf, found.interval))
        assert (found.coverage, found.p_value) == (1.0, 2 / 2**count)
    assert fewest_pairs(0.05) == 6
    assert fewest_pairs(0.025) == 7
    assert fewest_pairs(0.5) == 2
    assert attained(0.05, 5) == 0
    assert attained(0.05, 8) == 12 / 256


def test_differences_of_zero_everywhere_are_no_difference():
    for count in (1, 6, 20, 24):
        found = sign_flips([0.0] * count)
        assert found.p_value == 1.0
    assert sign_flips([0.0] * 8).interval == (0.0, 0.0)


@given(st.lists(st.integers(-50, 50), min_size=6, max_size=9), st.randoms(use_true_random=False), st.floats(0.1, 50))
def test_signs_order_and_scale_do_what_they_must(differences, chance, scale):
    values = np.array(differences, dtype=float)
    found, turned = sign_flips(values), sign_flips(-values)
    assert turned.p_value == found.p_value
    assert turned.interval == (-found.interval[1], -found.interval[0])
    shuffled = list(differences)
    chance.shuffle(shuffled)
    assert sign_flips(shuffled).interval == found.interval
    assert sign_flips(scale * values).p_value == found.p_value
    assert sign_flips(scale * values).interval == pytest.approx(tuple(scale * end for end in found.interval), abs=1e-9)
    assert sign_flips(values + 3).interval == pytest.approx(tuple(end + 3 for end in found.interval), abs=1e-9)


def share_by_polynomials(differences):
    """How many subsets have each sum, by multiplying 1 + x^d: exact for any number of whole differences."""
    offset = -sum(d for d in differences if d < 0)
    polynomial = [1]
    for d in differences:
        factor = np.zeros(abs(d) + 1, dtype=object)
        factor[0 if d >= 0 else abs(d)] += 1
        factor[abs(d) if d >= 0 else 0] += 1
        polynomial = reduce(np.convolve, [np.array(polynomial, dtype=object), factor])
    sums = np.arange(len(polynomial)) - offset
    at_most = sum(count for total, count in zip(sums, polynomial, strict=True) if total <= 0)
    at_least = sum(count for total, count in zip(sums, polynomial, strict=True) if total >= 0)
    return min(1.0, 2 * min(at_most, at_least) / 2 ** len(differences))


def test_twenty_pairs_are_exact_to_the_last_pattern():
    differences = [int(d) for d in np.random.default_rng(0).integers(-9, 14, 20)]
    found = sign_flips(differences)
    assert found.exact
    assert found.patterns == 2**20
    assert found.p_value == share_by_polynomials(differences)


@pytest.mark.parametrize("seed", range(4))
def test_more_pairs_are_sampled_near_the_exact_p_value_and_say_so(seed):
    differences = [int(d) for d in np.random.default_rng(seed).integers(-9, 14, 26)]
    found, exact = sign_flips(differences), share_by_polynomials(differences)
    assert not found.exact
    assert found.patterns == patterns_of(26)
    assert found.p_value >= 2 / found.patterns  # the pattern seen counts as one: never zero
    assert abs(found.p_value - exact) < 5 * (exact / found.patterns) ** 0.5 + 4 / found.patterns
    assert sign_flips(differences) == found
    low, high = found.interval
    assert (low > 0 or high < 0) == (found.p_value <= 0.05)


@pytest.mark.parametrize("count", [6, 8])
def test_symmetric_noise_is_called_a_difference_just_as_often_as_the_level_says(count):
    draw = np.random.default_rng(7)
    noise = draw.standard_t(2, (3000, count)) * draw.random((3000, 1)) * 5
    ends = np.array([sign_flips(row).interval for row in noise])
    expected = attained(0.05, count) / 2
    for wrong in (ends[:, 0] > 0, ends[:, 1] < 0):
        assert stats.binomtest(int(wrong.sum()), 3000, expected).pvalue > 1e-4
        assert wrong.mean() <= 0.025 + 0.01


@pytest.mark.parametrize(
    "differences", [[], [1.0, float("nan")], [1.0, inf], [[1.0, 2.0]]], ids=["none", "nan", "inf", "matrix"]
)
def test_what_is_no_list_of_finite_numbers_is_refused(differences):
    with pytest.raises(ArgumentError, match="must be finite numbers, at least one"):
        sign_flips(differences)


def test_a_level_outside_its_range_is_refused():
    with pytest.raises(ArgumentError, match="alpha must lie between 0 and 1"):
        sign_flips([1.0], alpha=0.0)
    with pytest.raises(ArgumentError, match="alpha must lie between"):
        fewest_pairs(1e-7)


@settings(max_examples=30)
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=12))
def test_the_t_interval_is_scipys(differences):
    found = contrast(differences)
    if found.sd == 0:
        assert found.t_interval == (found.mean, found.mean)
        return
    theirs = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert found.t_interval == pytest.approx((theirs.low, theirs.high), rel=1e-6, abs=1e-9)


def test_the_bootstrap_begins_at_twenty_pairs_and_is_scipys():
    differences = np.random.default_rng(5).gumbel(0.5, 1.0, 20)
    assert contrast(differences[:19]).bca_interval is None
    theirs = stats.bootstrap((differences,), np.mean, method="BCa", n_resamples=9_999, random_state=1)
    ours = contrast(differences).bca_interval
    width = ours[1] - ours[0]
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.05 * width)
    assert contrast([0.0] * 20).bca_interval == (0.0, 0.0)


@pytest.mark.parametrize("where", [module, words], ids=["sign_flips", "words"])
def test_the_examples_in_docstrings_hold(where):
    found = doctest.testmod(where)
    assert (found.attempted > 0, found.failed) == (True, 0)
