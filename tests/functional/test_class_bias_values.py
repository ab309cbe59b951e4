"""The bias for a prior: by hand, against SciPy's optimisers, and what it promises of every logits and prior."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize

from functional.cases import PROPERTY, random_logits
from limbeck.errors import ArgumentError
from limbeck.functional import bias_for_prior
from tolerances import assert_close

F64 = torch.float64


def mean_probs(logits, bias):
    return (logits + bias).softmax(-1).mean(0)


def some_prior(classes, seed):
    return random_logits(classes, seed=seed).softmax(-1)


def test_two_classes_in_one_row_have_a_closed_form():
    # softmax([1 + b, -1 - b])_0 = sigmoid(2 + 2 b) = 3/4 at b = (log 3 - 2) / 2.
    found = bias_for_prior(torch.tensor([[1.0, -1.0]], dtype=F64), torch.tensor([0.75, 0.25], dtype=F64))
    assert_close(found, [(math.log(3) - 2) / 2, (2 - math.log(3)) / 2])


def test_two_rows_of_opposite_logits_have_a_closed_form():
    # With z = ±d and e = exp(b), mean sigmoid = p is a quadratic in e; at p = 1/2 its root is e = 1, at d = 0 odds p.
    logits = torch.tensor([[2.0, 0.0], [-2.0, 0.0]], dtype=F64)
    found = bias_for_prior(logits, torch.tensor([0.8, 0.2], dtype=F64), classes=[0])
    # mean of e u / (1 + e u) over u = exp(±2) is 0.8  <=>  0.2 e² + (0.5 - 0.8) (u + 1/u) e - 0.8 = 0
    middle = 0.3 * 2 * math.cosh(2)
    root = (middle + math.sqrt(middle**2 + 4 * 0.2 * 0.8)) / (2 * 0.2)
    assert_close(found, [math.log(root), 0.0])


def test_equal_logits_give_the_log_prior_centred():
    prior = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64)
    found = bias_for_prior(torch.full((7, 4), 5.0, dtype=F64), prior)
    assert_close(found, prior.log() - prior.log().mean())


def test_a_shared_bias_of_equal_logits_is_the_log_of_the_odds():
    # Classes 1 and 2 of five are to have 0.1 together; they have 2/5, so that b = log(0.1 / 0.9) - log(2 / 3).
    found = bias_for_prior(torch.zeros(3, 5), torch.tensor([0.9, 0.04, 0.06, 0.9, 0.9]), classes=[2, 1], shared=True)
    wanted = math.log(0.1 / 0.9) - math.log(2 / 3)
    assert_close(found, [0.0, wanted, wanted, 0.0, 0.0])


def test_one_class_is_scipys_root():
    logits, prior = random_logits(211, 7), some_prior(7, seed=3)
    found = bias_for_prior(logits, prior, classes=[4])
    one = torch.eye(7, dtype=F64)[4]
    root = brentq(lambda b: float(mean_probs(logits, b * one)[4] - prior[4]), -50, 50, xtol=1e-13)
    assert_close(found, root * one)


def test_a_shared_bias_is_scipys_root():
    logits, prior = random_logits(211, 7, seed=1), some_prior(7, seed=4)
    found = bias_for_prior(logits, prior, classes=[0, 5], shared=True)
    both = torch.eye(7, dtype=F64)[[0, 5]].sum(0)
    root = brentq(lambda b: float((mean_probs(logits, b * both) - prior)[[0, 5]].sum()), -50, 50, xtol=1e-13)
    assert_close(found, root * both)


@pytest.mark.parametrize("classes", [[1, 3], [6, 0, 2, 4], None], ids=str)
def test_several_classes_are_scipys_minimum(classes):
    logits, prior = random_logits(101, 7, seed=2), some_prior(7, seed=5)
    named = list(range(7)) if classes is None else classes

    def value(at):
        bias = torch.zeros(7, dtype=F64)
        bias[named] = torch.from_numpy(at)
        slope = mean_probs(logits, bias) - prior
        return float((logits + bias).logsumexp(-1).mean() - prior @ bias), slope[named].numpy()

    best = minimize(value, torch.zeros(len(named), dtype=F64).numpy(), jac=True, method="BFGS", options={"gtol": 1e-9})
    wanted = torch.from_numpy(best.x)
    found = bias_for_prior(logits, prior, classes=classes)[named]
    # Half of the digits: a minimum is flat, and SciPy ends where values no longer differ.
    torch.testing.assert_close(found, wanted - wanted.mean() if classes is None else wanted, rtol=1e-4, atol=1e-4)


CASES = {
    "seed": st.integers(0, 9999),
    "rows": st.integers(1, 23),
    "scale": st.floats(0.0, 10.0),
    "named": st.sets(st.integers(0, 4), min_size=1, max_size=4) | st.none(),
}


@given(**CASES)
@PROPERTY
def test_the_mean_probability_of_each_named_class_is_its_prior(seed, rows, scale, named):
    logits, prior = scale * random_logits(rows, 5, seed=seed), some_prior(5, seed=seed + 1)
    bias = bias_for_prior(logits, prior, classes=None if named is None else sorted(named))
    inside = sorted(named or range(5))
    assert float((mean_probs(logits, bias) - prior)[inside].abs().max()) < 1.01e-10
    if named is None:
        assert_close(bias.sum(), 0.0)
    else:
        assert not bias[[number for number in range(5) if number not in named]].any()


@given(**{**CASES, "named": st.sets(st.integers(0, 4), min_size=1, max_size=4)})
@PROPERTY
def test_a_shared_bias_is_one_number_that_sets_the_total(seed, rows, scale, named):
    logits, prior = scale * random_logits(rows, 5, seed=seed), some_prior(5, seed=seed + 1)
    bias = bias_for_prior(logits, prior, classes=sorted(named), shared=True)
    inside = sorted(named)
    assert bias[inside].unique().numel() == 1
    assert bias.count_nonzero() <= len(named)
    assert abs(float((mean_probs(logits, bias) - prior)[inside].sum())) < 1.01e-10


@given(seed=st.integers(0, 9999), row=st.floats(-40, 40), column=st.floats(-5, 5))
@PROPERTY
def test_constants_of_a_row_do_not_matter_and_those_of_a_class_are_taken_back(seed, row, column):
    logits, prior = random_logits(13, 5, seed=seed), some_prior(5, seed=seed + 1)
    plain = bias_for_prior(logits, prior, classes=[1, 2])
    rows = torch.linspace(-1, 1, 13, dtype=F64).unsqueeze(1) * row
    torch.testing.assert_close(bias_for_prior(logits + rows, prior, classes=[1, 2]), plain, rtol=1e-6, atol=1e-6)
    moved = torch.tensor([0, 0, column, 0, 0], dtype=F64)
    found = bias_for_prior(logits + moved, prior, classes=[1, 2])
    torch.testing.assert_close(found, plain - moved, rtol=1e-6, atol=1e-6)


def test_a_model_that_never_says_a_class_and_is_sure_of_others_is_corrected():
    logits = 60 * random_logits(307, 10)
    logits[:, 3] -= 400.0
    prior = torch.full((10,), 0.1, dtype=F64)
    bias = bias_for_prior(logits, prior, classes=[3])
    assert_close(mean_probs(logits, bias)[3], 0.1)
    assert bias[3] > 100
    assert_close(mean_probs(logits, bias_for_prior(logits, prior)), prior)


@pytest.mark.parametrize(
    ("dtype", "out"), [(F64, F64), (torch.float32, torch.float32), (torch.bfloat16, torch.float32)], ids=str
)
def test_types_follow_the_logits(dtype, out):
    logits, prior = random_logits(53, 5).to(dtype), some_prior(5, seed=1)
    found = bias_for_prior(logits, prior, classes=[0, 1])
    assert found.dtype == out
    assert_close(found, bias_for_prior(logits.double(), prior, classes=[0, 1]), precision=out)
    assert not bias_for_prior(logits.requires_grad_(), prior).requires_grad


THIRD = [1 / 3] * 3


@pytest.mark.parametrize(
    ("prior", "options", "sentence"),
    [
        (
            [0.5, 0.5],
            {},
            r"logits must be \(N, C\) with rows, and the prior \(C,\)\. Got logits \(5, 3\), prior \(2,\)\.",
        ),
        ([0.5, 0.25, 0.2], {}, r"the prior of all classes must sum to 1\. Got a sum of 0\.95\."),
        ([0.0, 0.5, 0.5], {}, r"the prior of a named class must lie in \(0, 1\)\. Got \[0\.0, 0\.5, 0\.5\]\."),
        ([1.0, 0.5, 0.5], {"classes": [0]}, r"must lie in \(0, 1\)\. Got \[1\.0\]\."),
        ([math.nan, 0.5, 0.5], {"classes": [0]}, r"must lie in \(0, 1\)\. Got \[nan\]\."),
        ([0.5, 0.5, 0.5], {"classes": [0, 1]}, r"must leave some to the others\. Got a sum of 1\."),
        (THIRD, {"classes": [3]}, r"classes must be distinct numbers in \[0, 3\)\. Got \[3\]\."),
        (THIRD, {"classes": [-1]}, r"distinct numbers in \[0, 3\)\. Got \[-1\]\."),
        (THIRD, {"classes": [1, 1]}, r"distinct numbers in \[0, 3\)\. Got \[1, 1\]\."),
        (THIRD, {"classes": []}, r"distinct numbers in \[0, 3\)\. Got \[\]\."),
        (THIRD, {"shared": True}, r"a bias that all classes share changes nothing; leave a class out\."),
    ],
)
def test_what_has_no_answer_is_refused(prior, options, sentence):
    with pytest.raises(ArgumentError, match=rf"^bias_for_prior: .*{sentence}$"):
        bias_for_prior(random_logits(5, 3), torch.tensor(prior, dtype=F64), **options)


def test_rows_without_numbers_and_numbers_without_bounds_are_refused():
    prior = torch.tensor([0.5, 0.5], dtype=F64)
    for logits in (torch.zeros(0, 2), torch.zeros(2), torch.zeros(2, 3, 2)):
        with pytest.raises(ArgumentError, match=r"logits must be \(N, C\) with rows"):
            bias_for_prior(logits, prior)
    for wrong in (math.inf, math.nan):
        with pytest.raises(ArgumentError, match=r"^bias_for_prior: logits must be finite numbers\.$"):
            bias_for_prior(torch.tensor([[0.0, wrong]]), prior)


def test_logits_thousands_of_nats_apart_are_refused_after_so_many_steps(monkeypatch):
    monkeypatch.setattr("limbeck.functional.class_bias._MOST_STEPS", 3)
    with pytest.raises(
        ArgumentError, match=r"too far apart for a bias to be found in 3 steps; has the model diverged\?$"
    ):
        bias_for_prior(1e4 * random_logits(53, 5), some_prior(5, seed=1))
