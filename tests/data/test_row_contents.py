"""A hash of each row's content: the row alone decides it, however it is stored, read or stacked."""

import hashlib
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limbeck.data.content import ids_fingerprint, row_fingerprints
from limbeck.data.mapstyle import MapStyleSet
from limbeck.data.tensors import TensorSet
from limbeck.errors import ArgumentError, DataError

COUNT = 300  # more than are read at a time
PIXELS = torch.arange(COUNT * 6).reshape(COUNT, 2, 3).to(torch.uint8)
WEIGHTS = torch.randn(COUNT, generator=torch.Generator().manual_seed(0))
TEXTS = [f"row {number}" for number in range(COUNT)]
COLUMNS = {"pixels": PIXELS, "weight": WEIGHTS}


def hashes(columns, **more):
    return row_fingerprints(TensorSet(columns, **more))


def test_the_hash_is_the_one_that_is_written_down():
    written = b'["pixels", "torch.uint8 (2, 3)"]\n' + bytes(PIXELS[7].flatten().tolist())
    written += b'["weight", "torch.float32 ()"]\n' + struct.pack("<f", float(WEIGHTS[7]))
    expected = int.from_bytes(hashlib.blake2b(written, digest_size=8).digest(), "little", signed=True)
    found = hashes(COLUMNS)
    assert (found.shape, found.dtype) == ((COUNT,), torch.int64)
    assert int(found[7]) == expected


def test_the_hash_of_text_is_the_one_that_is_written_down():
    written = b'["text", "str"]\n' + struct.pack("<q", 3) + "äb".encode()
    expected = int.from_bytes(hashlib.blake2b(written, digest_size=8).digest(), "little", signed=True)
    assert hashes({"text": ["äb"]}).tolist() == [expected]


@settings(max_examples=25, deadline=None)
@given(positions=st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=9))
@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS | {"text": TEXTS}], ids=["tensors", "with text"])
def test_a_row_has_its_hash_whichever_rows_are_read_with_it(columns, positions):
    rows, chosen = TensorSet(columns), torch.tensor(positions)
    assert torch.equal(row_fingerprints(rows, chosen), row_fingerprints(rows)[chosen])
    distinct = torch.tensor(sorted(set(positions)))
    assert torch.equal(row_fingerprints(rows.subset(distinct)), row_fingerprints(rows)[distinct])


def test_no_rows_have_no_hashes():
    found = row_fingerprints(TensorSet(COLUMNS), torch.arange(0))
    assert (found.shape, found.dtype) == ((0,), torch.int64)


@pytest.mark.parametrize(
    "columns",
    [
        {"weight": WEIGHTS, "pixels": PIXELS},
        {"pixels": list(PIXELS), "weight": WEIGHTS},
        {"pixels": list(PIXELS.numpy()), "weight": list(WEIGHTS)},
        {"pixels": PIXELS.numpy(), "weight": WEIGHTS.numpy()},
        {"pixels": PIXELS.transpose(1, 2).contiguous().transpose(1, 2), "weight": WEIGHTS},
    ],
    ids=["order", "list of tensors", "lists of arrays", "arrays", "strides"],
)
def test_storage_does_not_change_it(columns):
    assert torch.equal(hashes(columns), hashes(COLUMNS))


def test_rows_read_lazily_have_those_of_rows_in_memory():
    items = [{"pixels": PIXELS[row], "weight": WEIGHTS[row], "text": TEXTS[row], "y": 1} for row in range(COUNT)]
    lazily = row_fingerprints(MapStyleSet(items, labels="y"))
    assert torch.equal(lazily, hashes(COLUMNS | {"text": TEXTS}))


def test_images_of_several_sizes_have_those_that_they_have_among_their_like():
    small, large = [torch.full((1, 2, size), 5, dtype=torch.uint8) for size in (3, 4)]
    mixed = row_fingerprints(MapStyleSet([small, large, small]))
    alone = row_fingerprints(MapStyleSet([small, small]))
    assert mixed[[0, 2]].tolist() == alone.tolist()
    assert int(mixed[1]) not in alone.tolist()
    pictures = [Image.new("L", (size, 2), 5) for size in (3, 4, 3)]
    assert torch.equal(row_fingerprints(MapStyleSet(pictures)), mixed)


def test_neither_labels_nor_ids_change_it():
    labelled = hashes(COLUMNS, labels=torch.arange(COUNT) % 3, ids=torch.arange(COUNT).flip(0))
    assert torch.equal(labelled, hashes(COLUMNS))


def test_equal_rows_have_equal_hashes_and_different_ones_do_not():
    found = hashes({"x": torch.arange(COUNT) // 2})
    assert torch.equal(found[::2], found[1::2])
    assert len(found.unique()) == COUNT // 2


@pytest.mark.parametrize(
    "columns",
    [
        {"pixels": PIXELS, "other": WEIGHTS},
        {"pixels": PIXELS},
        {"pixels": PIXELS.reshape(COUNT, 3, 2), "weight": WEIGHTS},
        {"pixels": PIXELS.to(torch.int8), "weight": WEIGHTS},
        {"pixels": PIXELS, "weight": WEIGHTS[:, None]},
        {"pixels": PIXELS, "weight": -WEIGHTS},
        {"pixels": WEIGHTS, "weight": PIXELS},
    ],
    ids=["name", "column", "shape", "dtype", "axis", "value", "swapped"],
)
def test_any_change_of_a_row_changes_it(columns):
    assert not set(hashes(columns).tolist()) & set(hashes(COLUMNS).tolist())


def test_text_does_not_run_from_one_column_into_the_next():
    one, other = hashes({"a": ["xy", "x"], "b": ["z", "yz"]}).tolist()
    assert one != other


@pytest.mark.parametrize("dtype", [torch.bool, torch.bfloat16, torch.float16, torch.float64, torch.complex64])
def test_every_dtype_has_bytes(dtype):
    column = torch.tensor([[0, 1, 0], [1, 0, 1]]).to(dtype)
    assert torch.equal(hashes({"x": column}), hashes({"x": list(column)}))


def test_rows_without_values_have_a_hash():
    assert hashes({"x": torch.zeros(3, 0)}).unique().shape == (1,)


def test_objects_without_defined_bytes_are_refused():
    with pytest.raises(DataError, match="Column 'c' holds objects of type object, which have no fingerprint"):
        hashes({"c": [object()]})


def test_ids_and_contents_together_are_one_sha256():
    ids, contents = torch.tensor([3, 5]), torch.tensor([-1, 2**40])
    expected = hashlib.sha256(np.array([3, 5, -1, 2**40], "<i8").tobytes()).hexdigest()
    assert ids_fingerprint(ids, contents) == expected
    assert ids_fingerprint(ids, contents.flip(0)) != expected
    assert ids_fingerprint(ids.flip(0), contents) != expected
    with pytest.raises(ArgumentError, match="ids_fingerprint: ids and contents must have the same shape"):
        ids_fingerprint(ids, contents[:1])
