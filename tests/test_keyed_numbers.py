"""Random numbers by key: the published SplitMix64, and no trace of a pattern in ids, views, streams or draws."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from limbeck.keyed import row_keys, uniforms

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
IDS = torch.arange(20_000)


def output(state):
    """SplitMix64's finaliser in Python's own integers."""
    mixed = state
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
    return mixed ^ (mixed >> 31)


def stepped(state):
    return output((state + GOLDEN) & MASK)


@pytest.mark.parametrize(
    ("seed", "published"),
    [
        (1234567, [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]),
        (0, [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]),
    ],
)
def test_the_oracle_is_the_published_generator(seed, published):
    assert [output((seed + step * GOLDEN) & MASK) for step in range(1, 5)] == published


@given(
    seed=st.integers(0, 2**63 - 1), view=st.integers(0, 99), id_=st.integers(-9, 2**62), stream=st.integers(0, 2**62)
)
def test_keys_and_numbers_are_those_of_the_oracle(seed, view, id_, stream):
    key = stepped(stepped(stepped(seed) ^ view) ^ (id_ & MASK))
    keys = row_keys(seed, view, torch.tensor([id_]))
    assert keys.tolist() == [key]
    own = stepped(key ^ stepped(stream))
    expected = [(output((own + (step + 1) * GOLDEN) & MASK) >> 11) / 2**53 for step in range(1, 4)]
    assert uniforms(keys, 3, stream=stream).tolist() == [expected]


def test_a_rows_numbers_do_not_depend_on_who_stands_beside_it():
    together = uniforms(row_keys(3, 1, IDS), 4)
    alone = torch.cat([uniforms(row_keys(3, 1, part), 4) for part in IDS.flip(0)[:64].split(5)])
    assert torch.equal(alone, together.flip(0)[:64])
    assert torch.equal(uniforms(row_keys(3, 1, IDS), 2), together[:, :2])


def test_no_rows_have_no_numbers():
    assert uniforms(row_keys(0, 0, torch.arange(0)), 3).shape == (0, 3)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_numbers_are_spread_evenly(seed):
    numbers = uniforms(row_keys(seed, 0, IDS), 2).numpy()
    assert numbers.dtype == np.float64 and numbers.min() >= 0 and numbers.max() < 1
    for column in numbers.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
        assert stats.chisquare(np.histogram(column, 1000, (0, 1))[0]).pvalue > 1e-4
    bits = (numbers * 2**53).astype(np.uint64)
    ones = [int(((bits >> np.uint64(bit)) & np.uint64(1)).sum()) for bit in range(53)]
    assert max(abs(count - bits.size / 2) for count in ones) < 5 * (bits.size / 4) ** 0.5


def test_ids_views_seeds_streams_and_draws_are_independent_of_one_another():
    base = row_keys(0, 0, IDS)
    columns = [uniforms(base, 2)[:, 0], uniforms(base, 2)[:, 1], uniforms(base, 1, stream=1)[:, 0]]
    columns += [uniforms(keys, 1)[:, 0] for keys in (row_keys(0, 1, IDS), row_keys(1, 0, IDS), row_keys(0, 0, IDS + 1))]
    for one, other in itertools.combinations(columns, 2):
        assert abs(stats.pearsonr(one, other).statistic) < 5 / len(IDS) ** 0.5
        table = np.histogram2d(one, other, 10, ((0, 1), (0, 1)))[0]
        assert stats.chisquare(table.ravel()).pvalue > 1e-5


def test_no_two_rows_have_one_key():
    keys = np.concatenate([row_keys(seed, view, IDS) for seed in (0, 1, 2) for view in range(4)])
    assert len(np.unique(keys)) == len(keys)
