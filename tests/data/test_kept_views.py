from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.data.augment import Noise, Shift
from limbeck.data.elastic import Elastic
from limbeck.data.kept import MOST, SHARE, KeptViews, memory_for_views
from limbeck.data.loader import Loader
from limbeck.data.prepare import plain_features
from limbeck.data.tensors import TensorSet

IMAGES = torch.arange(11 * 64).remainder(251).to(torch.uint8).view(11, 8, 8)
VIEW = 11 * (1 + 64)  # bytes of a view of eleven images of 64 bytes, and whether each is there


class Counting:
    """An augmentation that notes how many rows it is asked to change."""

    def __init__(self, part):
        self.part = part
        self.rows = 0

    def __call__(self, columns, keys):
        self.rows += len(keys)
        return self.part(columns, keys)


def batches(loader, epochs, **epoch):
    return [batch for number in range(epochs) for batch in loader.epoch(3, number, **epoch)]


def same(one, other):
    return [(a.ids.tolist(), a.view, a.inputs[plain_features].tolist()) for a in one] == [
        (b.ids.tolist(), b.view, b.inputs[plain_features].tolist()) for b in other
    ]


def loader_of(augment, keep, *, images=IMAGES, views=3, **others):
    return Loader(TensorSet(images), [plain_features], batch_size=4, augment=augment, views=views, keep=keep, **others)


@given(
    epochs=st.integers(1, 9),
    views=st.integers(1, 4),
    keep=st.integers(0, 5 * VIEW),
    start=st.integers(0, 3),
    ranks=st.integers(1, 3),
    microbatches=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_what_is_kept_is_what_would_be_computed(epochs, views, keep, start, ranks, microbatches):
    for rank in range(ranks):
        asked = {"start": start, "rank": rank, "ranks": ranks, "microbatches": microbatches}
        fresh = batches(loader_of(Elastic(1.0), 0, views=views), epochs, **asked)
        assert same(batches(loader_of(Elastic(1.0), keep, views=views), epochs, **asked), fresh)


def test_each_row_is_changed_once_a_view():
    counting = Counting(Shift(2))
    batches(loader_of(counting, 2 * VIEW), 9)
    assert counting.rows == 2 * 11


def test_whole_views_are_kept_while_there_is_memory():
    counting = Counting(Shift(2))
    batches(loader_of(counting, 2 * VIEW - 1), 9)  # of views 1 and 2, each seen three times
    assert counting.rows == 11 + 3 * 11


def test_new_views_in_every_epoch_are_not_kept():
    counting = Counting(Shift(2))
    loader = loader_of(counting, MOST, views=None)
    batches(loader, 3)
    batches(loader, 3)
    assert counting.rows == 2 * 2 * 11


def test_floats_are_computed_anew():
    counting = Counting(Noise(0.1))
    loader = loader_of(counting, MOST, images=IMAGES.float())
    assert same(batches(loader, 6), batches(loader_of(Noise(0.1), 0, images=IMAGES.float()), 6))
    assert counting.rows == 4 * 11


def test_an_epoch_that_was_begun_in_the_middle_is_completed():
    counting = Counting(Shift(2))
    loader = loader_of(counting, MOST, views=2)
    list(loader.epoch(3, 1, start=2))  # the last three rows of eleven
    again = list(loader.epoch(3, 1))
    assert counting.rows == 3 + 8
    assert same(again, loader_of(Shift(2), 0, views=2).epoch(3, 1))


def test_a_batch_that_is_changed_leaves_what_is_kept():
    kept = KeptViews(rows=2, most=100)
    positions = torch.tensor([1, 0])
    kept.add(1, positions, {"image": torch.tensor([[7], [5]])})
    kept.columns(1, positions)["image"].zero_()
    assert kept.columns(1, positions)["image"].tolist() == [[7], [5]]


def test_columns_that_are_not_all_tensors_are_not_kept():
    kept = KeptViews(rows=2, most=100)
    positions = torch.tensor([0, 1])
    kept.add(1, positions, {"image": torch.tensor([[7], [5]]), "text": ["a", "b"]})
    assert kept.columns(1, positions) is None


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="the machine says otherwise how much memory it has")
def test_a_run_takes_a_small_part_of_the_memory():
    lines = Path("/proc/meminfo").read_text().splitlines()
    whole = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal")) * 1024
    assert 0 < memory_for_views() <= min(MOST, whole / SHARE * 1.05)
