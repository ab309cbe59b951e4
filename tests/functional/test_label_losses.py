"""Hard labels: as a loss, smoothed, edited into soft targets, and for independent labels."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from functional.cases import PROPERTY, logits_strategy, name_of, random_labels, random_logits
from limbeck.errors import ArgumentError
from limbeck.functional import (
    accuracy,
    binary_cross_entropy,
    brier,
    cross_entropy,
    cross_entropy_with_probs,
    edit_labels,
    expected_calibration_error,
    forward_kl,
    nll,
    smooth_labels,
    smoothed_cross_entropy,
    soft_cross_entropy,
    softmax_at,
)
from tolerances import assert_close


def smoothed(logits, labels):
    return smoothed_cross_entropy(logits, labels, smoothing=0.1)


def edited(logits, labels):
    return edit_labels(logits, labels, temperature=2.0, weight=0.5)


by_index = pytest.mark.parametrize(
    ("name", "function"),
    [
        *((name_of(f), f) for f in (cross_entropy, nll, accuracy, brier, expected_calibration_error)),
        ("smoothed_cross_entropy", smoothed),
        ("edit_labels", edited),
    ],
)


@by_index
@pytest.mark.parametrize("wrong", [-1, -100, 7, 255])
def test_labels_that_are_no_class_are_named(name, function, wrong):
    labels = torch.tensor([0, 6, wrong, 3, 2])
    with pytest.raises(ArgumentError, match=rf"^{name}: labels must lie in \[0, 7\)\. Got {wrong}\.$"):
        function(random_logits(5, 7), labels)


@by_index
@pytest.mark.parametrize("shape", [(5, 1), (4,), ()])
def test_labels_of_another_shape_are_refused(name, function, shape):
    with pytest.raises(ArgumentError, match=f"^{name}: labels must have the shape of logits without their last axis"):
        function(random_logits(5, 7), torch.zeros(shape, dtype=torch.int64))


@by_index
def test_labels_that_are_no_integers_are_refused(name, function):
    with pytest.raises(
        ArgumentError, match=rf"^{name}: labels must be integer class indices\. Got dtype torch.bool\.$"
    ):
        function(random_logits(5, 7), torch.zeros(5, dtype=torch.bool))


@by_index
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32], ids=str)
def test_labels_may_be_any_integers(name, function, dtype):
    logits, labels = random_logits(5, 7), random_labels(5, classes=7)
    assert_close(function(logits, labels.to(dtype)), function(logits, labels))


@pytest.mark.parametrize("rows", [(), (5,), (2, 3), (2, 3, 5)], ids=str)
def test_torch_agrees(rows):
    logits, labels = random_logits(*rows, 7), random_labels(*rows, classes=7)
    flat = logits.reshape(-1, 7), labels.reshape(-1)
    plain = torch.nn.functional.cross_entropy(*flat, reduction="none").reshape(rows)
    smooth = torch.nn.functional.cross_entropy(*flat, reduction="none", label_smoothing=0.3).reshape(rows)
    assert_close(cross_entropy(logits, labels), plain)
    assert_close(smoothed_cross_entropy(logits, labels, smoothing=0.3), smooth)


def test_labels_that_vary_with_the_student_work_under_vmap():
    logits, labels = random_logits(3, 5, 7), random_labels(3, 5, classes=7)
    assert_close(torch.vmap(cross_entropy)(logits, labels), cross_entropy(logits, labels))


def test_a_class_that_is_ruled_out_costs_nothing_but_for_its_own_rows():
    logits = torch.tensor([[0.0, -math.inf], [0.0, -math.inf]], requires_grad=True)
    values = cross_entropy(logits, torch.tensor([0, 1]))
    assert values.tolist() == [0.0, math.inf]
    assert smoothed_cross_entropy(logits[:1], torch.tensor([0]), smoothing=0.0).tolist() == [0.0]
    assert smoothed_cross_entropy(logits[:1], torch.tensor([0]), smoothing=0.1).tolist() == [math.inf]
    assert cross_entropy_with_probs(logits, torch.tensor([[1.0, 0.0], [0.0, 1.0]])).tolist() == [0.0, math.inf]


@given(logits=logits_strategy(3, 5), smoothing=st.floats(0, 1))
@PROPERTY
def test_smoothed_cross_entropy_is_the_cross_entropy_of_smoothed_labels(logits, smoothing):
    labels = torch.tensor([4, 0, 2])
    probs = smooth_labels(labels, classes=5, smoothing=smoothing).double()
    # float32 smooth labels against float64 logits
    assert_close(
        smoothed_cross_entropy(logits, labels, smoothing=smoothing),
        cross_entropy_with_probs(logits, probs),
        precision=torch.float32,
    )
    assert_close(probs.sum(-1), torch.ones(3), precision=torch.float32)


def test_smooth_labels_at_both_ends():
    labels = torch.tensor([[2, 0]])
    assert_close(smooth_labels(labels, classes=3, smoothing=0.0), [[[0, 0, 1], [1, 0, 0]]])
    assert_close(smooth_labels(labels, classes=3, smoothing=1.0), torch.full((1, 2, 3), 1 / 3))


def test_cross_entropy_with_probs_of_a_teacher_is_the_soft_cross_entropy():
    student, teacher = random_logits(5, 7), random_logits(5, 7, seed=1)
    probs = softmax_at(teacher, temperature=1.0)
    assert_close(cross_entropy_with_probs(student, probs), soft_cross_entropy(student, teacher))


@given(logits=logits_strategy(3, 5), weight=st.floats(0, 1), temperature=st.floats(0.5, 20))
@PROPERTY
def test_edited_labels_are_the_mixture_of_label_and_teacher(logits, weight, temperature):
    labels = torch.tensor([4, 0, 2])
    probs = edit_labels(logits, labels, temperature=temperature, weight=weight)
    expected = (1 - weight) * softmax_at(logits, temperature=temperature)
    expected[torch.arange(3), labels] += weight
    assert_close(probs, expected)
    assert_close(probs.sum(-1), torch.ones(3))


def test_binary_cross_entropy_sums_over_labels():
    logits, labels = random_logits(5, 7), random_logits(5, 7, seed=1).sigmoid()
    q = logits.sigmoid()
    terms = labels * q.log() + (1 - labels) * (1 - q).log()
    assert_close(binary_cross_entropy(logits, labels), -terms.sum(-1))
    assert_close(binary_cross_entropy(torch.zeros(2, 3), torch.ones(2, 3)), [3 * math.log(2)] * 2)


def test_a_sigmoid_head_is_a_row_of_two_class_softmax_heads():
    student, teacher = random_logits(5, 7), random_logits(5, 7, seed=1)
    pair = [torch.stack((z, torch.zeros_like(z)), -1) for z in (student, teacher)]
    expected = binary_cross_entropy(student, teacher.sigmoid()) - binary_cross_entropy(teacher, teacher.sigmoid())
    assert_close(forward_kl(*pair).sum(-1), expected)


@pytest.mark.parametrize("function", [binary_cross_entropy, cross_entropy_with_probs], ids=name_of)
@pytest.mark.parametrize("wrong", [-0.5, 1.5, math.nan])
def test_what_is_no_probability_is_refused(function, wrong):
    with pytest.raises(ArgumentError, match=rf"^{name_of(function)}: (labels|probs) must lie in \[0, 1\]\. Got values"):
        function(torch.zeros(1, 2), torch.tensor([[0.5, wrong]]))


@pytest.mark.parametrize("function", [binary_cross_entropy, cross_entropy_with_probs], ids=name_of)
def test_integers_are_no_probabilities(function):
    sentence = rf"^{name_of(function)}: (labels|probs) must be floating-point probabilities\. Got dtype torch.int64\.$"
    with pytest.raises(ArgumentError, match=sentence):
        function(torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.int64))


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, math.nan])
def test_a_smoothing_outside_the_unit_interval_is_refused(smoothing):
    with pytest.raises(ArgumentError, match=r"^smoothed_cross_entropy: smoothing must lie in \[0, 1\]"):
        smoothed_cross_entropy(torch.zeros(1, 2), torch.tensor([0]), smoothing=smoothing)
    with pytest.raises(ArgumentError, match=r"^smooth_labels: smoothing must lie in \[0, 1\]"):
        smooth_labels(torch.tensor([0]), classes=2, smoothing=smoothing)
