"""Scores of a finished model against hand values and slow loops."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from functional.cases import PROPERTY, logits_strategy, random_labels, random_logits
from limbeck.errors import ArgumentError
from limbeck.functional import (
    accuracy,
    agreement,
    brier,
    cross_entropy,
    expected_calibration_error,
    nll,
    softmax_at,
    summed,
)
from tolerances import SLACK, assert_close


def slow_calibration_error(logits, labels, bins):
    """Guo et al. 2017, equations 2, 3 and 5, one bin and one row at a time."""
    probs = softmax_at(logits, temperature=1.0)
    error = 0.0
    for k in range(bins):
        right, confidence, rows = 0.0, 0.0, 0
        for row in range(len(probs)):
            sure = probs[row].max().item()
            if k < sure * bins <= k + 1:
                right += float(probs[row].argmax() == labels[row])
                confidence += sure
                rows += 1
        if rows:
            error += rows / len(probs) * abs(right / rows - confidence / rows)
    return error


def test_agreement_and_accuracy_are_shares_once_averaged():
    student = torch.tensor([[1.0, 2.0, 0.0], [5.0, 2.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    teacher = torch.tensor([[0.0, 9.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 3.0], [2.0, 1.0, 1.0]])
    assert summed(agreement(student, teacher)).mean().item() == 0.75
    assert agreement(student, teacher).tolist() == [1.0, 0.0, 1.0, 1.0]
    assert accuracy(student, torch.tensor([1, 0, 1, 0])).tolist() == [1.0, 1.0, 0.0, 1.0]


def test_of_tied_classes_the_first_is_preferred():
    assert accuracy(torch.zeros(2, 3), torch.tensor([0, 1])).tolist() == [1.0, 0.0]


def test_agreement_refuses_two_shapes():
    with pytest.raises(ArgumentError, match=r"^agreement: student and teacher must have the same shape"):
        agreement(torch.zeros(2, 3), torch.zeros(2, 5))


def test_nll_is_the_cross_entropy():
    logits, labels = random_logits(5, 3, 7), random_labels(5, 3, classes=7)
    assert_close(nll(logits, labels), cross_entropy(logits, labels))


@given(logits=logits_strategy(3, 5))
@PROPERTY
def test_brier_is_the_squared_distance_to_the_label(logits):
    labels = torch.tensor([4, 0, 2])
    probs = softmax_at(logits, temperature=1.0)
    by_hand = [sum((probs[row, c].item() - float(c == labels[row])) ** 2 for c in range(5)) for row in range(3)]
    assert_close(brier(logits, labels), by_hand)
    assert (brier(logits, labels) <= 2 + SLACK).all()


def test_brier_at_both_ends():
    certain = torch.tensor([[0.0, -math.inf], [0.0, -math.inf]])
    assert brier(certain, torch.tensor([0, 1])).tolist() == [0.0, 2.0]


@pytest.mark.parametrize("bins", [1, 7, 15])
@given(logits=logits_strategy(11, 3, bound=4.0), seed=st.integers(0, 99))
@PROPERTY
def test_the_slow_loop_agrees_on_calibration(bins, logits, seed):
    labels = random_labels(11, classes=3, seed=seed)
    error = expected_calibration_error(logits, labels, bins=bins)
    assert_close(error, slow_calibration_error(logits, labels, bins))
    assert 0 <= error <= 1


def test_calibration_of_the_sure():
    certain = torch.tensor([[0.0, -math.inf]] * 4)
    assert expected_calibration_error(certain, torch.tensor([0, 0, 0, 0])).item() == 0.0
    assert expected_calibration_error(certain, torch.tensor([0, 0, 0, 1])).item() == 0.25


def test_calibration_needs_all_rows_at_once_and_takes_them_in_any_shape():
    logits, labels = random_logits(5, 3, 7), random_labels(5, 3, classes=7)
    flat = expected_calibration_error(logits.flatten(0, 1), labels.flatten())
    assert_close(expected_calibration_error(logits, labels), flat)
    assert_close(expected_calibration_error(logits[:0], labels[:0]), 0.0)
    assert expected_calibration_error(logits[0, 0], labels[0, 0]).shape == ()


def test_calibration_refuses_no_bins():
    with pytest.raises(ArgumentError, match=r"^expected_calibration_error: bins must be a positive finite number"):
        expected_calibration_error(torch.zeros(2, 3), torch.tensor([0, 1]), bins=0)


@pytest.mark.parametrize("score", [nll, brier, expected_calibration_error])
def test_half_types_are_scored_in_float32(score):
    logits, labels = random_logits(5, 7, dtype=torch.bfloat16), random_labels(5, classes=7)
    assert score(logits, labels).dtype == torch.float32
    assert_close(score(logits, labels), score(logits.double(), labels))
