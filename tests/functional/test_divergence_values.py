"""Divergences against hand values, SciPy, one another, and their limits."""

import math

import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from functional.cases import PROPERTY, logits_strategy, random_logits
from limbeck.errors import ArgumentError
from limbeck.functional import (
    entropy,
    forward_kl,
    hinton_kd,
    jensen_shannon,
    logit_matching,
    reverse_kl,
    soft_cross_entropy,
    softmax_at,
    total_variation,
)
from tolerances import SLACK, assert_close

HALVES = torch.tensor([0.5, 0.5], dtype=torch.float64).log()
QUARTERS = torch.tensor([0.75, 0.25], dtype=torch.float64).log()


def test_hand_values():  # p = (1/2, 1/2), q = (3/4, 1/4), m = (5/8, 3/8)
    assert_close(forward_kl(QUARTERS, HALVES), 0.5 * math.log(4 / 3))
    assert_close(reverse_kl(QUARTERS, HALVES), 0.75 * math.log(3 / 2) - 0.25 * math.log(2))
    assert_close(soft_cross_entropy(QUARTERS, HALVES), 0.5 * math.log(16 / 3))
    assert_close(total_variation(QUARTERS, HALVES), 0.25)
    to_middle = 0.5 * math.log(4 / 5) + 0.5 * math.log(4 / 3), 0.75 * math.log(6 / 5) + 0.25 * math.log(2 / 3)
    assert_close(jensen_shannon(QUARTERS, HALVES), sum(to_middle) / 2)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_scipy_agrees(temperature):
    student, teacher = random_logits(5, 7), random_logits(5, 7, seed=1)
    q, p = (scipy.special.softmax(z.numpy() / temperature, axis=-1) for z in (student, teacher))
    at = {"temperature": temperature}
    assert_close(forward_kl(student, teacher, **at), scipy.stats.entropy(p, q, axis=-1))
    assert_close(reverse_kl(student, teacher, **at), scipy.stats.entropy(q, p, axis=-1))
    assert_close(jensen_shannon(student, teacher, **at), scipy.spatial.distance.jensenshannon(p, q, axis=-1) ** 2)
    distances = [scipy.spatial.distance.cityblock(a, b) / 2 for a, b in zip(p, q, strict=True)]
    assert_close(total_variation(student, teacher, **at), distances)


@given(student=logits_strategy(2, 5), teacher=logits_strategy(2, 5), temperature=st.floats(0.5, 20))
@PROPERTY
def test_known_relations_hold(student, teacher, temperature):
    at = {"temperature": temperature}
    forward, apart = forward_kl(student, teacher, **at), total_variation(student, teacher, **at)
    assert_close(soft_cross_entropy(student, teacher, **at), forward + entropy(teacher, **at))
    assert_close(reverse_kl(student, teacher, **at), forward_kl(teacher, student, **at))
    assert (2 * apart**2 <= forward + SLACK).all()  # Pinsker
    assert (apart <= 1 + SLACK).all()
    assert (jensen_shannon(student, teacher, **at) <= apart * math.log(2) + SLACK).all()  # Lin


@given(student=logits_strategy(2, 5), teacher=logits_strategy(2, 5), beta=st.floats(0.01, 0.99))
@PROPERTY
def test_generalised_jensen_shannon_is_its_definition(student, teacher, beta):
    p, q = softmax_at(teacher, temperature=1.0), softmax_at(student, temperature=1.0)
    middle = (beta * p + (1 - beta) * q).log()
    definition = beta * forward_kl(middle, teacher) + (1 - beta) * forward_kl(middle, student)
    value = jensen_shannon(student, teacher, beta=beta)
    assert_close(value, definition)
    assert_close(value, jensen_shannon(teacher, student, beta=1 - beta))
    assert (value <= -beta * math.log(beta) - (1 - beta) * math.log(1 - beta) + SLACK).all()


def test_jensen_shannon_at_its_ends_is_by_convention_the_divergence_that_its_slope_tends_to():
    student, teacher = random_logits(5, 7) / 3, random_logits(5, 7, seed=1) / 3
    forward, reverse = forward_kl(student, teacher), reverse_kl(student, teacher)
    assert_close(jensen_shannon(student, teacher, beta=0.0), forward)
    assert_close(jensen_shannon(student, teacher, beta=1.0), reverse)
    near_zero = jensen_shannon(student, teacher, beta=1e-6)
    near_one = jensen_shannon(student, teacher, beta=1 - 1e-6)
    assert (near_zero < 1e-5).all()  # the expression itself vanishes ...
    assert (near_one < 1e-5).all()
    close = {"rtol": 1e-4, "atol": 0.0}  # the limit is approached like beta
    torch.testing.assert_close(near_zero / 1e-6, forward, **close)  # ... with these slopes
    torch.testing.assert_close(near_one / 1e-6, reverse, **close)


@pytest.mark.parametrize("beta", [-0.1, 1.1, math.nan])
def test_jensen_shannon_refuses_a_beta_outside_the_unit_interval(beta):
    with pytest.raises(ArgumentError, match=rf"^jensen_shannon: beta must lie in \[0, 1\]\. Got {beta}\.$"):
        jensen_shannon(HALVES, QUARTERS, beta=beta)


def test_distributions_without_a_common_class_are_as_far_apart_as_can_be():
    one, other = torch.tensor([0.0, -math.inf]), torch.tensor([-math.inf, 0.0])
    assert_close(total_variation(one, other), 1.0)
    assert_close(jensen_shannon(one, other), math.log(2))
    assert forward_kl(one, other).isposinf()
    assert reverse_kl(one, other).isposinf()


@pytest.mark.parametrize("temperature", [1.0, 2.5, 20.0])
def test_the_slope_of_hinton_kd_is_temperature_times_the_difference_of_probs(temperature):
    student, teacher = random_logits(5, 7).requires_grad_(), random_logits(5, 7, seed=1)
    hinton_kd(student, teacher, temperature=temperature).sum().backward()
    q, p = softmax_at(student, temperature=temperature), softmax_at(teacher, temperature=temperature)
    assert_close(student.grad, temperature * (q - p))


def test_hinton_kd_at_a_high_temperature_is_logit_matching():
    student, teacher = random_logits(5, 7).requires_grad_(), random_logits(5, 7, seed=1)
    hot, limit = hinton_kd(student, teacher, temperature=1e4), logit_matching(student, teacher)
    close = {"rtol": 2e-3, "atol": 0.0}  # the limit is approached like 1/T
    torch.testing.assert_close(hot, limit, **close)
    (hot_slope,) = torch.autograd.grad(hot.sum(), student)
    (limit_slope,) = torch.autograd.grad(limit.sum(), student)
    torch.testing.assert_close(hot_slope, limit_slope, rtol=2e-3, atol=2e-3)
    difference = (student - student.mean(-1, keepdim=True)) - (teacher - teacher.mean(-1, keepdim=True))
    assert_close(limit, difference.square().mean(-1).detach() / 2)
    assert_close(limit_slope, difference.detach() / 7)


@pytest.mark.parametrize("classes", [2, 10, 97])
def test_the_default_reduction_of_torch_is_wrong_by_the_number_of_classes(classes):
    student, teacher = random_logits(5, classes), random_logits(5, classes, seed=1)
    with pytest.warns(UserWarning, match="batchmean"):
        copied_line = torch.nn.KLDivLoss()((student / 4).log_softmax(-1), (teacher / 4).softmax(-1)) * 4 * 4
    assert_close(copied_line * classes, hinton_kd(student, teacher, temperature=4.0).mean())


def test_hinton_kd_is_what_torch_computes_when_told_to_divide_by_rows():
    student, teacher = random_logits(5, 7), random_logits(5, 7, seed=1)
    by_rows = torch.nn.KLDivLoss(reduction="batchmean")((student / 4).log_softmax(-1), (teacher / 4).softmax(-1))
    assert_close(hinton_kd(student, teacher, temperature=4.0).mean(), 16 * by_rows)
