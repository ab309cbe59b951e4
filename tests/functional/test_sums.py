"""Sums and counts: splitting must not change the mean."""

import math

import pytest
import torch

from functional.cases import random_logits
from limbeck.errors import ArgumentError
from limbeck.functional import Summed, masked_sum, summed
from tolerances import assert_close


@pytest.mark.parametrize("split", [[16], [8, 8], [1, 7, 8], [0, 15, 1]], ids=str)
def test_splitting_does_not_change_the_mean(split):
    values = random_logits(16)
    total = Summed(torch.zeros(()), torch.zeros((), dtype=torch.int64))
    for part in values.split(split):
        total = total + summed(part)
    assert_close(total.mean(), values.mean())
    assert total.count.item() == 16


def test_the_mean_of_nothing_is_zero_and_has_a_slope():
    values = torch.zeros(0, requires_grad=True)
    mean = summed(values).mean()
    mean.backward()
    assert mean.item() == 0.0
    assert values.grad.shape == (0,)


def test_a_mask_equals_a_subset_in_value_and_slope():
    values, keep = random_logits(5, 3).requires_grad_(), random_logits(5, 3, seed=1) > 0
    masked_sum(values, keep).mean().backward()
    slope, values.grad = values.grad, None
    values[keep].mean().backward()
    assert_close(slope, values.grad)


def test_what_is_not_kept_may_be_infinite_or_nan():
    values = torch.tensor([1.0, math.inf, math.nan, 3.0])
    kept = masked_sum(values, torch.tensor([True, False, False, True]))
    assert kept.mean().item() == 2.0


def test_a_mask_that_keeps_nothing_gives_zero():
    assert masked_sum(torch.ones(3), torch.zeros(3, dtype=torch.bool)).mean().item() == 0.0


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ArgumentError, match=r"^masked_sum: values and keep must have the same shape"):
        masked_sum(torch.ones(3), torch.ones(1, dtype=torch.bool))


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(ArgumentError, match=r"^masked_sum: keep must be boolean\. Got dtype torch.float32\.$"):
        masked_sum(torch.ones(3), torch.ones(3))


def test_sums_and_counts_come_out_of_vmap():
    values = random_logits(3, 5)
    stacked = torch.vmap(summed)(values)
    assert isinstance(stacked, Summed)
    assert_close(stacked.mean(), values.mean(-1))


def test_a_sum_unpacks_into_total_and_count():
    total, count = summed(torch.tensor([1.0, 2.0]))
    assert (total.item(), count.item()) == (3.0, 2)
