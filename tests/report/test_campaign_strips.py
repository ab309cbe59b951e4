"""Strips: round numbers below them, and everything in its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.report.campaign.strips import difference_strip, scale_of


def test_a_scale_has_round_numbers_and_a_true_minus():
    assert [tick.text for tick in scale_of([-1.0, 3.0]).ticks] == ["−1", "0", "1", "2", "3"]
    assert [tick.text for tick in scale_of([0.0, 0.25]).ticks] == ["0.00", "0.05", "0.10", "0.15", "0.20", "0.25"] or [
        tick.text for tick in scale_of([0.0, 0.25]).ticks
    ] == ["0", "0.05", "0.10", "0.15", "0.20", "0.25"]


finite = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 3))


@given(st.lists(finite, min_size=1, max_size=8))
def test_every_value_lies_on_its_scale(values):
    scale = scale_of(values)
    assert scale.low < min(values)
    assert scale.high > max(values)
    assert all(0 <= tick.place <= 100 for tick in scale.ticks)
    assert len(scale.ticks) <= 8
    for value in values:
        share = (value - scale.low) / (scale.high - scale.low)
        assert scale.place(value) == pytest.approx(100 * share, abs=0.01)


def test_a_difference_is_told_in_words_too():
    strip = difference_strip(scale_of([0.0, 3.0]), 2.0, (1.0, 3.0), worth=0.5)
    assert (
        strip.alt
        == "difference 2.00 points, interval 1.00 to 3.00; less than 0.5 points either way is not worth having"
    )
    assert strip.low < strip.mean < strip.high
    assert strip.band[0] < strip.zero < strip.band[1] < strip.low


def test_an_interval_without_ends_is_left_out():
    strip = difference_strip(scale_of([0.0, 2.0]), 2.0, (None, None))
    assert (strip.low, strip.high, strip.band) == (None, None, None)
    assert strip.alt == "difference 2.00 points"


def test_nothing_known_still_has_a_scale():
    assert scale_of([None, float("inf")]).ticks
