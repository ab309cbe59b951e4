"""The fitted temperature against a grid, SciPy and LBFGS; kernel alignment against its definition."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from functional.cases import PROPERTY, random_labels, random_logits
from limbeck.errors import ArgumentError
from limbeck.functional import fitted_temperature, linear_cka, nll
from limbeck.functional.calibration import COLDEST, HOTTEST
from tolerances import SLACK, assert_close


def noisy_answers(seed=0, rows=101, classes=5, scale=1.0):
    """Logits that know something of the labels, and are surer than they should be."""
    labels = random_labels(rows, classes=classes, seed=seed)
    logits = random_logits(rows, classes, seed=seed + 1)
    logits[torch.arange(rows), labels] += 6.0
    return scale * logits, labels


def loss_at(logits, labels, temperature):
    return float(nll(logits / temperature, labels).mean())


def test_two_logits_can_be_fitted_by_hand():
    # Sure by z of what is right in 3 of 4 rows: sigmoid(z / T) = 3/4 at T = z / log 3.
    logits = torch.tensor([[5.0, 0.0]] * 4, dtype=torch.float64)
    assert_close(fitted_temperature(logits, torch.tensor([0, 0, 1, 0])), 5 / math.log(3))


@given(seed=st.integers(0, 999), scale=st.floats(0.2, 9.0))
@PROPERTY
def test_no_temperature_of_a_grid_is_better(seed, scale):
    logits, labels = noisy_answers(seed, scale=scale)
    best = loss_at(logits, labels, float(fitted_temperature(logits, labels)))
    for temperature in torch.logspace(math.log10(COLDEST), math.log10(HOTTEST), 211).tolist():
        assert best <= loss_at(logits, labels, temperature) + SLACK


def test_scipys_bounded_search_and_torchs_lbfgs_find_the_same():
    logits, labels = noisy_answers()
    found = float(fitted_temperature(logits, labels))
    bounds = (math.log(COLDEST), math.log(HOTTEST))
    searched = minimize_scalar(
        lambda x: loss_at(logits, labels, math.exp(x)), bounds=bounds, method="bounded", options={"xatol": 1e-9}
    )
    assert found == pytest.approx(math.exp(searched.x), rel=1e-6)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = nll(logits / log_temperature.exp(), labels).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert found == pytest.approx(float(log_temperature.detach().exp()), rel=1e-6)


def test_scaled_logits_ask_for_a_scaled_temperature():
    logits, labels = noisy_answers()
    assert_close(fitted_temperature(1.7 * logits, labels), 1.7 * fitted_temperature(logits, labels))


def test_beyond_the_ends_the_end_is_taken():
    labels = torch.tensor([0, 1, 2])
    assert_close(fitted_temperature(torch.eye(3), labels), COLDEST)  # all right: the surer the better
    assert_close(fitted_temperature(-torch.eye(3), labels), HOTTEST)  # all wrong
    assert fitted_temperature(torch.ones(3, 3), labels) == 1.0  # no temperature makes a difference


def test_rows_may_have_any_shape_and_classes_may_be_ruled_out():
    logits, labels = noisy_answers(rows=15)
    assert_close(fitted_temperature(logits.view(3, 5, 5), labels.view(3, 5)), fitted_temperature(logits, labels))
    wide = torch.nn.functional.pad(logits, (0, 2), value=-math.inf)
    assert_close(fitted_temperature(wide, labels), fitted_temperature(logits, labels))
    assert fitted_temperature(logits[0], labels[0]).shape == ()


def test_no_rows_are_refused():
    with pytest.raises(ArgumentError, match=r"^fitted_temperature: there must be at least one row\.$"):
        fitted_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


def slow_alignment(first, second):
    """Kornblith et al. 2019, equations 1 and 2: HSIC of the linear kernels with the centring matrix, as written."""
    count = len(first)
    centring = torch.eye(count, dtype=torch.float64) - 1 / count
    k, m = centring @ first @ first.T @ centring, centring @ second @ second.T @ centring
    return torch.trace(k @ m) / (torch.trace(k @ k) * torch.trace(m @ m)).sqrt()


@pytest.mark.parametrize(("p", "q"), [(2, 3), (3, 31), (29, 31)])
def test_the_definition_agrees_for_narrow_and_for_wide_layers(p, q):
    first, second = random_logits(13, p), random_logits(13, q, seed=1)
    assert_close(linear_cka(first, second), slow_alignment(first, second))
    assert_close(linear_cka(second, first), linear_cka(first, second))


@given(seed=st.integers(0, 999), scale=st.floats(0.01, 100), shift=st.floats(-9, 9))
@PROPERTY
def test_a_shift_a_rotation_and_a_scale_change_nothing(seed, scale, shift):
    first, second = random_logits(13, 5, seed=seed), random_logits(13, 7, seed=seed + 1)
    rotation = torch.linalg.qr(random_logits(7, 7, seed=seed + 2)).Q
    assert_close(linear_cka(first, scale * second @ rotation + shift), linear_cka(first, second))
    assert_close(linear_cka(second, scale * second @ rotation + shift), 1.0)
    assert 0 <= linear_cka(first, second) <= 1


def test_uncorrelated_features_are_not_alike_and_features_without_variation_cannot_be_compared():
    x = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    assert linear_cka(x, torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])) == 0
    assert linear_cka(x, torch.full((4, 3), 0.1)).isnan()
    assert_close(linear_cka(1e-12 * x, 1e12 * x), 1.0)


@pytest.mark.parametrize("shape", [(5,), (4, 2), (5, 2, 1)])
def test_what_is_no_matrix_of_the_same_rows_is_refused(shape):
    with pytest.raises(ArgumentError, match=r"^linear_cka: both must be matrices with the same number of rows\. Got"):
        linear_cka(torch.zeros(5, 2), torch.zeros(shape))
