"""Distributions at a temperature, and their entropy."""

import math

import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from functional.cases import PROPERTY, logits_strategy, random_logits
from limbeck.functional import entropy, log_softmax_at, softmax_at
from tolerances import SLACK, assert_close

KNOWN = {  # softmax([2, 7, 10] / T)
    1.0: [3.19450938e-04, 4.74107229e-02, 9.52269826e-01],
    2.0: [0.01475347, 0.17973411, 0.80551241],
    3.0: [0.04834092, 0.25594054, 0.69571853],
    4.0: [0.08417934, 0.29381477, 0.62200588],
}


@pytest.mark.parametrize("temperature", KNOWN)
def test_the_known_table_is_met(temperature):
    logits = torch.tensor([2.0, 7.0, 10.0], dtype=torch.float64)
    probs = softmax_at(logits, temperature=temperature)
    assert_close(probs, KNOWN[temperature], precision=torch.float32)  # the table has eight digits
    assert_close(log_softmax_at(logits, temperature=temperature).exp(), probs)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_entropy_is_that_of_scipy(temperature):
    logits = random_logits(5, 7)
    probs = scipy.special.softmax(logits.numpy() / temperature, axis=-1)
    assert_close(entropy(logits, temperature=temperature), scipy.stats.entropy(probs, axis=-1))
    assert_close(softmax_at(logits, temperature=temperature), probs)


def test_entropy_of_certainty_is_zero_and_has_a_slope():
    logits = torch.tensor([0.0, -math.inf, -math.inf], requires_grad=True)
    value = entropy(logits, temperature=1.0)
    value.backward()
    assert_close(value, 0.0)
    assert_close(logits.grad, torch.zeros(3))


@given(logits=logits_strategy(2, 5), temperature=st.floats(0.5, 20))
@PROPERTY
def test_entropy_lies_between_certainty_and_uniform_and_grows_with_temperature(logits, temperature):
    value = entropy(logits, temperature=temperature)
    assert (value > -SLACK).all()
    assert (value < math.log(5) + SLACK).all()
    assert (entropy(logits, temperature=2 * temperature) > value - SLACK).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64], ids=str)
@pytest.mark.parametrize("function", [softmax_at, log_softmax_at, entropy])
def test_narrow_types_are_computed_in_float32(function, dtype):
    logits = random_logits(5, 7).to(dtype)
    value = function(logits, temperature=1.0)
    assert value.dtype == torch.float32
    assert_close(value, function(logits.double(), temperature=1.0))


@pytest.mark.parametrize("function", [log_softmax_at, entropy])
def test_slopes_are_those_of_finite_differences(function):
    assert torch.autograd.gradcheck(lambda z: function(z, temperature=2.0), (random_logits(3, 5).requires_grad_(),))
