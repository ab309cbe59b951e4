"""What a question may ask, and how looks share the level."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import ArgumentError
from limbeck.evidence.question import Question
from limbeck.evidence.sign_flips import attained


def test_one_look_spends_all():
    assert Question().alpha() == pytest.approx(0.05, abs=1e-15)
    assert Question(level=0.9).alpha() == pytest.approx(0.1, abs=1e-15)


def test_planned_looks_spend_equal_parts_and_never_more_than_the_whole():
    question = Question(looks=4)
    assert [question.alpha(look) for look in (1, 2, 3, 4)] == pytest.approx([0.0125] * 4)


def test_a_later_look_spends_what_an_exact_test_of_few_pairs_left():
    question = Question(looks=2)
    assert attained(0.025, 6) == 0  # six pairs cannot reject at 0.025
    assert question.alpha(2, earlier=(6,)) == pytest.approx(0.05)
    assert question.alpha(2, earlier=(8,)) == pytest.approx(0.05 - 6 / 256)


@given(st.lists(st.integers(1, 40), min_size=0, max_size=5))
def test_what_all_looks_spend_stays_within_the_whole(pairs):
    question = Question(looks=len(pairs) + 1)
    spent = 0.0
    for look in range(1, len(pairs) + 2):
        alpha = question.alpha(look, earlier=tuple(pairs[: look - 1]))
        assert alpha >= 0.05 / question.looks - 1e-12
        assert spent + alpha <= 0.05 + 1e-12
        spent += attained(alpha, [*pairs, 10][look - 1])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"worth": 0.0}, "worth must be a positive finite number"),
        ({"worth": -1.0}, "worth must be a positive finite number"),
        ({"within": float("nan")}, "within must be a positive finite number"),
        ({"level": 1.0}, "level must be at least 0.5 and below 1"),
        ({"level": 5.0}, "level must be at least 0.5 and below 1"),
        ({"level": 0.99999}, "leave each look less than 0.0001 to spend"),
        ({"looks": 10_000}, "leave each look less than 0.0001 to spend"),
        ({"looks": 0}, "looks must be a whole number, at least 1"),
        ({"looks": 1.5}, "looks must be a whole number, at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused(fields, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        Question(**fields)


def test_a_look_that_cannot_be_is_refused():
    with pytest.raises(ArgumentError, match="look 0"):
        Question().alpha(0)
    with pytest.raises(ArgumentError, match="look 3 comes after 2 others"):
        Question(looks=3).alpha(3, earlier=(6,))
