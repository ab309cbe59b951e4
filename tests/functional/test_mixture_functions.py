"""Mixtures of teachers against a slow loop in NumPy, and their limits."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from functional.cases import PROPERTY, logits_strategy, name_of, random_logits
from limbeck.errors import ArgumentError
from limbeck.functional import (
    arithmetic_mixture,
    disagreement,
    entropy,
    geometric_mixture,
    jensen_shannon,
    log_softmax_at,
    softmax_at,
)
from tolerances import SLACK, assert_close

TEMPERATURES = [0.5, 1.0, 4.0, 20.0]
WEIGHTS = [None, [1.0, 1.0, 1.0], [0.2, 0.5, 0.3], [6.0, 3.0, 1.0], [2.0, 0.0, 1.0]]
both_mixtures = pytest.mark.parametrize("mixture", [arithmetic_mixture, geometric_mixture], ids=name_of)
all_three = pytest.mark.parametrize("function", [arithmetic_mixture, geometric_mixture, disagreement], ids=name_of)


def slow_arithmetic(member_probs, weights):
    mixed = np.zeros_like(member_probs[0])
    for probs, weight in zip(member_probs, weights, strict=True):
        for row in range(len(probs)):
            mixed[row] += weight / sum(weights) * probs[row]
    return mixed


def slow_geometric(member_probs, weights):
    mixed = np.ones_like(member_probs[0])
    for probs, weight in zip(member_probs, weights, strict=True):
        for row in range(len(probs)):
            mixed[row] *= probs[row] ** (weight / sum(weights))
    return mixed / mixed.sum(-1, keepdims=True)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_the_slow_loop_agrees(temperature, weights):
    members = random_logits(3, 5, 7)
    probs = scipy.special.softmax(members.numpy() / temperature, axis=-1)
    plain_weights = weights or [1.0] * 3
    arithmetic, geometric = slow_arithmetic(probs, plain_weights), slow_geometric(probs, plain_weights)
    how = {"temperature": temperature, "weights": weights}
    assert_close(softmax_at(arithmetic_mixture(members, **how), temperature=temperature), arithmetic)
    assert_close(softmax_at(geometric_mixture(members, **how), temperature=temperature), geometric)
    mean_entropy = np.average(scipy.stats.entropy(probs, axis=-1), axis=0, weights=plain_weights)
    assert_close(disagreement(members, **how), scipy.stats.entropy(arithmetic, axis=-1) - mean_entropy)


@both_mixtures
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_a_mixture_of_one_is_the_member(mixture, temperature):
    members = random_logits(1, 5, 7)
    mixed = mixture(members, temperature=temperature)
    for at in TEMPERATURES:  # also away from the temperature at which it was mixed
        assert_close(softmax_at(mixed, temperature=at), softmax_at(members[0], temperature=at))
    assert_close(disagreement(members, temperature=temperature), torch.zeros(5))


def test_only_the_geometric_mixture_is_a_tempering_of_itself():
    members = random_logits(3, 5, 7)
    for mixture, differs in ((geometric_mixture, False), (arithmetic_mixture, True)):
        mixed_at_one = softmax_at(mixture(members, temperature=1.0), temperature=4.0)
        mixed_at_four = softmax_at(mixture(members, temperature=4.0), temperature=4.0)
        assert ((mixed_at_one - mixed_at_four).abs().max() > 0.01) == differs


@all_three
def test_a_member_of_weight_zero_has_no_say(function):
    members = random_logits(3, 5, 7)
    members[1, :, 2] = -math.inf
    without = function(members[[0, 2]], temperature=2.0, weights=[2.0, 1.0])
    assert_close(function(members, temperature=2.0, weights=[2.0, 0.0, 1.0]), without)


@all_three
@pytest.mark.parametrize("rows", [(), (5,), (2, 3)], ids=str)
def test_members_come_first_and_rows_are_any_axes(function, rows):
    value = function(random_logits(3, *rows, 7), temperature=2.0)
    assert value.shape == (rows if function is disagreement else (*rows, 7))


@all_three
@given(members=logits_strategy(3, 2, 5), constants=logits_strategy(3, 2, 1))
@PROPERTY
def test_constants_added_to_members_do_not_matter(function, members, constants):
    mixed, moved = (function(z, temperature=2.0, weights=[3, 1, 2]) for z in (members, members + constants))
    if function is not disagreement:
        mixed, moved = softmax_at(mixed, temperature=2.0), softmax_at(moved, temperature=2.0)
    assert_close(moved, mixed)


@given(members=logits_strategy(3, 2, 5), temperature=st.floats(0.5, 20))
@PROPERTY
def test_disagreement_lies_between_zero_and_the_information_in_the_members_names(members, temperature):
    value = disagreement(members, temperature=temperature)
    assert (value > -SLACK).all()
    assert (value < math.log(3) + SLACK).all()
    mixture = arithmetic_mixture(members, temperature=temperature)
    mean_entropy = entropy(members, temperature=temperature).mean(0)
    assert_close(value, entropy(mixture, temperature=temperature) - mean_entropy)


def test_disagreement_of_two_is_the_jensen_shannon_divergence():
    one, other = random_logits(5, 7), random_logits(5, 7, seed=1)
    expected = jensen_shannon(one, other, beta=0.3, temperature=2.0)
    assert_close(disagreement(torch.stack((other, one)), temperature=2.0, weights=[0.3, 0.7]), expected)


@all_three
def test_classes_that_all_members_rule_out_stay_out(function):
    members = random_logits(3, 5, 7)
    wide = torch.nn.functional.pad(members, (0, 2), value=-math.inf).requires_grad_()
    value, expected = function(wide, temperature=2.0), function(members, temperature=2.0)
    if function is disagreement:
        assert_close(value, expected)
    else:
        assert_close(log_softmax_at(value, temperature=2.0)[:, :7], log_softmax_at(expected, temperature=2.0))
        assert value[:, 7:].isneginf().all()
    value[value.isfinite()].sum().backward()
    assert wide.grad.isfinite().all()


def test_a_class_that_one_member_rules_out_is_halved_or_gone():
    members = torch.tensor([[0.0, 0.0], [0.0, -math.inf]])
    assert_close(arithmetic_mixture(members, temperature=1.0).softmax(-1), [0.75, 0.25])
    assert_close(geometric_mixture(members, temperature=1.0).softmax(-1), [1.0, 0.0])
    assert disagreement(members, temperature=1.0).isfinite()


@all_three
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_types_are_mixed_in_float32(function, dtype):
    members = random_logits(3, 5, 7, dtype=dtype)
    value = function(members, temperature=2.0, weights=[1, 2, 3])
    assert value.dtype == torch.float32
    assert_close(value, function(members.double(), temperature=2.0, weights=[1, 2, 3]))


@all_three
def test_slopes_are_those_of_finite_differences(function):
    members = random_logits(3, 2, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: function(z, temperature=2.0, weights=[1, 2, 3]), (members,))


@all_three
@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ([1.0, 1.0], r"there must be one weight for each of 3\. Got 2 weights\."),
        ([1.0, 1.0, -1.0], "weights must be finite and not negative"),
        ([0.0, 0.0, 0.0], "at least one weight must be above zero"),
    ],
)
def test_weights_that_make_no_mean_are_refused(function, weights, sentence):
    with pytest.raises(ArgumentError, match=f"^{name_of(function)}: {sentence}"):
        function(random_logits(3, 5, 7), temperature=1.0, weights=weights)
