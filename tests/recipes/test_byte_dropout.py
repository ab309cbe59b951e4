"""Dropout by bytes: the share that is dropped, the scale of what is left, its gradient, and eval mode."""

import pytest
import torch
from scipy import stats

from limbeck.errors import ArgumentError
from limbeck_recipes.layers.dropout import ByteDropout


@pytest.mark.parametrize("probability", [0.1, 0.2, 0.5])
def test_dropped_share_and_scale_are_those_of_the_rounded_probability(probability: float) -> None:
    torch.manual_seed(0)
    layer = ByteDropout(probability)
    values = layer(torch.ones(200, 1001))
    dropped = int((values == 0).sum())
    assert abs(layer.probability - probability) <= 1 / 512
    assert stats.binomtest(dropped, values.numel(), layer.probability).pvalue > 1e-4
    assert torch.equal(values[values != 0], torch.full_like(values[values != 0], 1 / (1 - layer.probability)))


def test_neighbours_are_independent_of_one_another() -> None:
    torch.manual_seed(1)
    kept = (ByteDropout(0.5)(torch.ones(400_000)) != 0).double()
    for lag in (1, 2, 7, 8, 64):
        correlation = float(torch.corrcoef(torch.stack((kept[:-lag], kept[lag:])))[0, 1])
        assert abs(correlation) < 5 / len(kept) ** 0.5


def test_gradient_passes_where_units_were_kept_alone() -> None:
    torch.manual_seed(2)
    values = torch.randn(7, 13, requires_grad=True)
    out = ByteDropout(0.3)(values)
    out.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad != 0, out != 0)


def test_eval_mode_and_probability_zero_change_nothing_and_draw_nothing() -> None:
    values = torch.randn(5)
    state = torch.get_rng_state()
    assert ByteDropout(0.5).eval()(values) is values
    assert ByteDropout(0.0)(values) is values
    assert torch.equal(torch.get_rng_state(), state)


def test_precision_of_the_values_is_kept() -> None:
    assert ByteDropout(0.5)(torch.ones(9, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_probabilities_out_of_range_are_refused(probability: float) -> None:
    with pytest.raises(ArgumentError, match="probability must lie in"):
        ByteDropout(probability)
