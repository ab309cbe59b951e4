import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.data.order import epoch_order, mixed_seed, private_generator, share
from limbeck.errors import ArgumentError


def test_an_epoch_has_every_row_once():
    assert epoch_order(101, seed=3, epoch=5).sort().values.tolist() == list(range(101))


def test_another_seed_or_epoch_gives_another_order():
    orders = {tuple(epoch_order(50, seed, epoch).tolist()) for seed in range(10) for epoch in range(10)}
    assert len(orders) == 100


def test_the_order_is_the_same_in_another_process():
    program = "from limbeck.data.order import epoch_order; print(epoch_order(97, 11, 4).tolist())"
    elsewhere = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert elsewhere.strip() == str(epoch_order(97, 11, 4).tolist())


def test_the_order_has_not_moved_since_records_were_made():
    assert mixed_seed(0, 0) == 4481077711173917646
    assert epoch_order(10, 0, 0).tolist() == [5, 3, 6, 4, 8, 1, 2, 0, 9, 7]


def test_torchs_own_generator_is_neither_read_nor_moved():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = epoch_order(20, 0, 0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(epoch_order(20, 0, 0), first)


def test_nearby_seeds_and_epochs_do_not_collide():
    seeds = {mixed_seed(seed, epoch) for seed in range(-50, 50) for epoch in range(100)}
    assert len(seeds) == 100 * 100
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mixed_seed(1, 23) != mixed_seed(12, 3)


def test_what_a_seed_is_for_is_part_of_it():
    assert private_generator(0, "split").initial_seed() != private_generator(0, "sample").initial_seed()


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(0, 20), ranks=st.integers(1, 6))
def test_ranks_share_a_batch_without_repeats_or_rests(rows, ranks):
    shares = [share(torch.arange(rows), rank, ranks) for rank in range(ranks)]
    assert torch.cat(shares).sort().values.tolist() == list(range(rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("rank", [-1, 2])
def test_a_rank_that_is_none_of_the_ranks_is_refused(rank):
    with pytest.raises(ArgumentError, match=rf"rank must lie in \[0, ranks\). Got rank {rank} of 2."):
        share(torch.arange(3), rank, 2)


def test_negative_counts_are_refused():
    with pytest.raises(ArgumentError, match=r"count and epoch must not be negative. Got 3 and -1."):
        epoch_order(3, 0, -1)
