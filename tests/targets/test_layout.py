"""How a row lies in bytes: the widest first, every bit back, and as NumPy reads it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.targets.layout import DTYPES, Field, Layout


def random_bits(rows, field, generator):
    count = rows * field.nbytes
    bits = torch.randint(256, (count,), dtype=torch.uint8, generator=generator)
    return bits.view(field.dtype).view(rows, *field.shape)


def same_bits(one, other):
    assert one.shape == other.shape and one.dtype == other.dtype
    first, second = (torch.empty(x.shape, dtype=x.dtype).copy_(x).view(-1).view(torch.uint8) for x in (one, other))
    return torch.equal(first, second)


FIELDS = st.lists(
    st.tuples(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(1, 4), max_size=3)), min_size=1, max_size=5
)


@given(kinds=FIELDS, rows=st.integers(0, 5), seed=st.integers(0, 99))
def test_every_bit_comes_back(kinds, rows, seed):
    fields = [Field(f"f{i}", DTYPES[dtype], tuple(shape)) for i, (dtype, shape) in enumerate(kinds)]
    layout, generator = Layout(fields), torch.Generator().manual_seed(seed)
    values = {field.name: random_bits(rows, field, generator) for field in fields}
    packed = layout.pack(values)
    assert packed.shape == (rows, layout.nbytes) and packed.dtype == torch.uint8
    for chosen in (slice(None), slice(1, None), slice(1, 2), slice(0, 0), slice(None, None, 2)):
        found = layout.unpack(packed[chosen])
        assert found.keys() == values.keys()
        assert all(same_bits(found[name], values[name][chosen]) for name in values)


@given(kinds=FIELDS)
def test_every_field_is_aligned_and_the_row_is_as_short_as_that_allows(kinds):
    layout = Layout([Field(f"f{i}", DTYPES[dtype], tuple(shape)) for i, (dtype, shape) in enumerate(kinds)])
    start = 0
    for field in layout.fields:
        assert start % field.dtype.itemsize == 0
        start += field.nbytes
    widest = max(field.dtype.itemsize for field in layout.fields)
    assert layout.nbytes == math.ceil(start / widest) * widest


def test_numpy_reads_the_same_bytes():
    layout = Layout(
        [Field("ids", torch.uint8, (3,)), Field("scale", torch.float32, ()), Field("l", torch.float16, (2, 2))]
    )
    values = {
        "ids": torch.tensor([[1, 2, 255], [0, 9, 7]], dtype=torch.uint8),
        "scale": torch.tensor([0.5, -3.0]),
        "l": torch.arange(8).view(2, 2, 2).half(),
    }
    dtype = np.dtype([("scale", "<f4"), ("l", "<f2", (2, 2)), ("ids", "u1", (3,)), ("padding", "V1")])
    assert layout.nbytes == dtype.itemsize == 16
    rows = layout.pack(values).numpy().view(dtype)[:, 0]
    for name, expected in values.items():
        np.testing.assert_array_equal(rows[name], expected.numpy())


def test_values_that_do_not_lie_in_order_are_packed_in_order():
    layout = Layout([Field("logits", torch.float32, (2, 3))])
    members = torch.randn(2, 5, 3)
    found = layout.unpack(layout.pack({"logits": members.transpose(0, 1)}))["logits"]
    assert torch.equal(found, members.transpose(0, 1))


def test_one_row_of_one_number_is_packed_whatever_its_stride():
    layout = Layout([Field("tail", torch.float16, (1,)), Field("ids", torch.uint8, (1,))])
    values = {"tail": torch.arange(8.0).half()[None, ::8], "ids": torch.arange(8, dtype=torch.uint8)[None, 5:6]}
    assert torch.equal(layout.pack(values), torch.tensor([[0, 0, 5, 0]], dtype=torch.uint8))


def test_rows_of_a_view_among_views_are_found():
    layout = Layout([Field("a", torch.float32, (2,)), Field("b", torch.uint8, ())])
    values = [{"a": torch.randn(4, 2), "b": torch.arange(4, dtype=torch.uint8) + view} for view in range(3)]
    shard = torch.stack([layout.pack(each) for each in values], 1)  # (rows, views, W)
    for view, each in enumerate(values):
        found = layout.unpack(shard[:, view])
        assert torch.equal(found["a"], each["a"]) and torch.equal(found["b"], each["b"])


@pytest.mark.parametrize(("name", "dtype"), DTYPES.items())
def test_a_manifest_names_every_type(name, dtype):
    assert Layout([Field("x", dtype, (2,))]).as_json() == [{"name": "x", "dtype": name, "shape": [2]}]
