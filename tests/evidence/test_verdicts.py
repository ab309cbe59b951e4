"""The first verdict: its outcomes and words, its error rates, and a second implementation that recomputes it."""

import json
import re
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import arms, plain_verdict, wrong_with
from scipy import stats
from statsmodels.stats.power import TTestPower

from limbeck.errors import ArgumentError, MismatchError
from limbeck.evidence.contrast import contrast
from limbeck.evidence.question import Question
from limbeck.evidence.resolution import multiple, pairs_needed
from limbeck.evidence.sign_flips import sign_flips
from limbeck.evidence.verdict import verdict

CLEAR = [20, 24, 18, 22, 26, 21, 19, 23]  # rows of 1,000: about 2 points
SMALL = [2, -1, 1, 0, 2, -2, 1, -1]
VAGUE = [30, -14, 22, -9, 18, -25, 12, 6]


def judged(differences, *, worth=1.0, looks=1, **named):
    return verdict(*arms(differences), Question(worth=worth, looks=looks), **{"saw_test": "no", **named})


@pytest.mark.parametrize(
    ("differences", "worth", "outcome", "words"),
    [
        (
            CLEAR,
            1.0,
            "helped",
            "2.16 points below that of the same student alone .* at least the 1 point worth having;",
        ),
        (CLEAR, 2.0, "helped", "perhaps less than the 2 points worth having;"),
        (CLEAR, None, "helped", "exact p = 0.008, 8 paired seeds\\);"),
        ([-d for d in CLEAR], 1.0, "harmed", "2.16 points above .* interval 1.93 to 2.40"),
        (SMALL, 1.0, "no worthwhile difference", "gain of 0.03 points .* inside ±1, too small to matter, whatever its"),
        ([3, 4, 2, 5, 3, 4, 2, 3], 1.0, "no worthwhile difference", "a true gain, but too small to be worth having"),
        ([-3, -4, -2, -5, -3, -4], 1.0, "no worthwhile difference", "a true loss, but too small to matter"),
        (VAGUE, 1.0, "cannot tell", "may be chance, and may be worth having; about 41 pairs would decide;"),
        (SMALL, None, "cannot tell", "that there is none cannot be claimed without a smallest difference worth having"),
        ([20, 24, 18], 1.0, "cannot tell", "3 pairs can show nothing at this level, 6 are the fewest"),
        ([20], 1.0, "refused", "one seed cannot tell a gain of 2.00 points from the luck of that seed; 6 paired seeds"),
        ([0] * 8, 1.0, "no worthwhile difference", "gain of 0.00 points .* exact p = 1, 8 paired seeds"),
        ([0] * 8, None, "cannot tell", "gain of 0.00 points"),
        ([20] * 8, 1.0, "helped", "interval 2.00 to 2.00"),
    ],
)
def test_each_case_has_its_outcome_and_its_words(differences, worth, outcome, words):
    found = judged(differences, worth=worth)
    assert found.outcome == outcome
    assert re.search(words, found.sentence), found.sentence
    assert found.sentence.endswith("with this teacher.")
    json.dumps(found.as_json(), allow_nan=False)


def test_a_gain_below_what_is_worth_having_is_no_help_though_zero_is_excluded():
    found = judged([3, 4, 2, 5, 3, 4, 2, 3])
    assert found.contrast.interval[0] > 0
    assert found.outcome == "no worthwhile difference"
    assert judged([3, 4, 2, 5, 3, 4, 2, 3], worth=None).outcome == "helped"


def test_a_teacher_that_saw_the_test_rows_refuses_and_one_that_may_have_is_told():
    refused = judged(CLEAR, saw_test="yes")
    assert refused.outcome == "refused"
    assert "the teacher was trained on these test rows" in refused.sentence
    assert refused.sentence.endswith("with this teacher.")
    unknown = judged(CLEAR, saw_test="unknown")
    assert unknown.outcome == "helped"
    assert "whether the teacher saw them is unknown" in unknown.sentence
    assert "unknown" not in judged(CLEAR).sentence
    with pytest.raises(ArgumentError, match="saw_test must be one of no, yes, unknown"):
        judged(CLEAR, saw_test="perhaps")


def test_settings_that_were_not_searched_anew_for_each_seed_bind_the_verdict():
    assert "at these settings" in judged(CLEAR).sentence
    assert "at these settings" not in judged(CLEAR, tuned_per_seed=True).sentence


def test_later_looks_spend_alpha_and_a_look_too_many_has_no_verdict():
    first, second = judged(CLEAR, looks=2), judged(CLEAR, looks=2, look=2)
    assert first.contrast.alpha == second.contrast.alpha == pytest.approx(0.025)
    assert first.contrast.coverage == 1 - 6 / 256
    assert judged(CLEAR[:6], looks=2).outcome == "cannot tell"  # six pairs cannot reject at 0.025
    assert judged(CLEAR[:6], looks=2).pairs_needed == 7
    assert judged(CLEAR, looks=2, look=2, earlier=(6,)).contrast.alpha == pytest.approx(0.05)
    third = judged(CLEAR, looks=2, look=3)
    assert third.outcome == "refused"
    assert "look 3 at the test rows and 2 were planned" in third.sentence
    assert "exploratory" in third.sentence


@settings(max_examples=60)
@given(st.data())
def test_a_second_plain_implementation_finds_the_same(data):
    seeds, rows = data.draw(st.integers(2, 8)), data.draw(st.integers(5, 40))
    draw = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    distilled = draw.random((seeds, rows)) < draw.random()
    alone = draw.random((seeds, rows)) < draw.random()
    worth = data.draw(st.sampled_from([None, 0.5, 5.0, 30.0]))
    found, plain = verdict(distilled, alone, Question(worth=worth)), plain_verdict(distilled, alone, worth)
    assert found.outcome == plain["outcome"]
    assert found.contrast.interval == pytest.approx(plain["interval"], abs=1e-9)
    assert found.contrast.p_value == plain["p_value"]
    assert found.contrast.mean == pytest.approx(plain["mean"], abs=1e-9)


@settings(max_examples=30)
@given(st.lists(st.integers(-40, 40), min_size=2, max_size=8), st.integers(0, 10**6))
def test_arms_mirror_and_orders_do_not_matter(differences, seed):
    distilled, alone = arms(differences)
    question = Question(worth=1.0)
    found, turned = verdict(distilled, alone, question), verdict(alone, distilled, question)
    mirror = {"helped": "harmed", "harmed": "helped"}
    assert turned.outcome == mirror.get(found.outcome, found.outcome)
    assert turned.contrast.p_value == found.contrast.p_value
    assert turned.pairs_needed == found.pairs_needed
    draw = np.random.default_rng(seed)
    seeds, rows = draw.permutation(len(differences)), draw.permutation(distilled.shape[1])
    again = verdict(distilled[seeds][:, rows], alone[seeds][:, rows], question)
    assert again.outcome == found.outcome
    assert again.contrast.interval == pytest.approx(found.contrast.interval)
    assert astuple(again.resolution) == pytest.approx(astuple(found.resolution))


def test_the_record_is_that_of_the_facts():
    found = judged(VAGUE).as_json()
    assert list(found) == [
        "outcome", "sentence", "why", "against", "mean", "sd", "interval", "coverage", "level", "alpha", "p_value",
        "t_interval", "bca_interval", "differences", "pairs", "worth", "look", "looks", "pairs_needed", "resolution",
    ]  # fmt: skip
    assert list(found["resolution"]) == ["seeds", "rows", "both", "discordant"]
    assert judged([20, 24]).as_json()["interval"] == [None, None]
    assert judged([20]).as_json()["t_interval"] == [None, None]
    assert judged([20]).as_json()["sd"] is None
    assert judged([20]).as_json()["resolution"]["seeds"] is None


def test_more_than_twenty_pairs_are_sampled_and_bootstrapped_and_say_so():
    differences = list(np.random.default_rng(2).integers(5, 30, 24))
    found = judged(differences)
    assert found.outcome == "helped"
    assert "Monte Carlo p < 0.001" in found.sentence
    assert "Monte Carlo, fixed seed" in found.why
    assert found.as_json()["bca_interval"] is not None


def test_alike_arms_are_said_to_have_been_helped_no_more_often_than_the_level_allows():
    draw = np.random.default_rng(11)
    campaigns, seeds = 3000, 8
    errors = draw.poisson(40, (campaigns, 2, seeds)) + draw.poisson(20, (campaigns, 1, seeds))
    ends = np.array([sign_flips(one[1] - one[0]).interval for one in errors])
    helped, harmed = (ends[:, 0] > 0).sum(), (ends[:, 1] < 0).sum()
    limit = 6 / 256  # what eight pairs attain of 0.025
    for false in (helped, harmed):
        assert stats.binomtest(int(false), campaigns, limit, alternative="greater").pvalue > 1e-3
        assert false / campaigns < 0.025 + 3 * (0.025 / campaigns) ** 0.5


@pytest.mark.parametrize("pairs", [6, 8, 12, 16, 24])
def test_what_a_campaign_says_it_resolves_it_resolves_four_times_in_five(pairs):
    draw = np.random.default_rng(pairs)
    trials, shown = 800 if pairs <= 12 else 250, 0
    for _ in range(trials):
        noise = draw.standard_normal(pairs)
        claimed = multiple(pairs, 0.05) * noise.std(ddof=1) / pairs**0.5
        shown += sign_flips(noise + claimed).interval[0] > 0
    assert 0.8 - 2 * (0.16 / trials) ** 0.5 < shown / trials < 0.9


def test_the_multiple_is_above_students_and_comes_close_to_it():
    def student(pairs, alpha):
        return stats.t.ppf(1 - alpha / 2, pairs - 1) + stats.t.ppf(0.8, pairs - 1)

    excess = [multiple(pairs, 0.05) / student(pairs, 0.05) for pairs in (6, 8, 12, 30)]
    assert excess[0] > 1.2
    assert all(1.0 < ratio < 1.1 for ratio in excess[1:])
    assert multiple(8, 0.025) > multiple(8, 0.05)


def test_resolution_by_hand():
    # Two rows of 100 are discordant in each pair, one for each arm; no spread over seeds.
    distilled, alone = np.zeros((6, 100), bool), np.zeros((6, 100), bool)
    distilled[:, 0] = alone[:, 1] = True
    found = verdict(distilled, alone, Question()).resolution
    assert found.discordant == 2
    assert found.rows == pytest.approx(1.959964 * 2**0.5)
    assert found.seeds == 0
    assert found.both == pytest.approx(found.rows)
    spread = judged(VAGUE).resolution
    assert spread.both == pytest.approx((spread.seeds**2 + spread.rows**2) ** 0.5)
    assert spread.seeds == pytest.approx(multiple(8, 0.05) * np.std(VAGUE, ddof=1) / 10 / 8**0.5)


def test_the_pairs_needed_are_those_of_statsmodels():
    found = contrast([d / 10 for d in VAGUE])
    theirs = TTestPower().solve_power(effect_size=1.0 / found.sd, alpha=0.05, power=0.9)
    assert pairs_needed(found, 1.0) == int(np.ceil(theirs))
    by_mean = TTestPower().solve_power(effect_size=found.mean / found.sd, alpha=0.05, power=0.9)
    assert pairs_needed(found, None) == pytest.approx(by_mean, abs=1, rel=2e-3)
    assert pairs_needed(contrast([-d / 10 for d in VAGUE]), None) == pairs_needed(found, None)
    assert pairs_needed(contrast([1.0, -1.0] * 4), None) is None  # a mean of zero, and nothing worth having named
    assert pairs_needed(contrast([1.0, 1.01]), 1e-9) == 6
    assert pairs_needed(contrast([1.0, -1.0, 0.01]), None) > 50_000


@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_with_so_many_pairs_most_campaigns_decide(truth):
    draw = np.random.default_rng(4)
    question, decided = Question(worth=1.0), 0
    for _ in range(150):
        first = contrast(draw.normal(truth, 0.8, 8))
        needed = pairs_needed(first, question.worth) if not first.side else 8
        low, high = contrast(draw.normal(truth, 0.8, min(needed, 20))).interval
        decided += low > 0 or high < 0 or (low > -1 and high < 1)
    assert decided / 150 >= 0.8


def test_at_two_standard_deviations_most_campaigns_of_eight_seeds_decide():
    draw = np.random.default_rng(9)
    decided = sum(sign_flips(draw.normal(2.0, 1.0, 8)).interval[0] > 0 for _ in range(400))
    assert decided / 400 > 0.97


def test_arms_that_cannot_be_compared_are_refused():
    question = Question()
    with pytest.raises(MismatchError, match=r"the same rows\. Got 1,000 of distilled and 999 of alone"):
        verdict(wrong_with([3] * 6), wrong_with([3] * 6, 999), question)
    with pytest.raises(
        MismatchError, match=r"seeds pair only where each arm ran all of them\. Got 6 of distilled and 5"
    ):
        verdict(wrong_with([3] * 6), wrong_with([3] * 5), question)
    with pytest.raises(ArgumentError, match="must say of each row whether it is wrong"):
        verdict(wrong_with([3]).astype(float), wrong_with([3]), question)
    with pytest.raises(ArgumentError, match="a matrix of seeds by rows"):
        verdict(np.zeros((2, 0), bool), np.zeros((2, 0), bool), question)
