from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.data import kept as kept_views
from limbeck.data.augment import Noise, Shift
from limbeck.data.elastic import Elastic
from limbeck.data.kept import MOST, KeptViews, memory_for_views
from limbeck.data.loader import Loader
from limbeck.data.mapstyle import MapStyleSet
from limbeck.data.prepare import plain_features
from limbeck.data.tensors import TensorSet
from limbeck.types import Rows

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


def test_of_an_epoch_that_was_begun_in_the_middle_the_rest_is_made():
    counting = Counting(Shift(2))
    loader = loader_of(counting, MOST, views=2)
    list(loader.epoch(3, 1, start=2))  # the last three rows of eleven
    again = list(loader.epoch(3, 3))  # in another order
    assert counting.rows == 11
    assert same(again, loader_of(Shift(2), 0, views=2).epoch(3, 3))


def test_rows_that_other_ranks_have_seen_are_made_once_here_too():
    counting = Counting(Shift(2))
    loader = loader_of(counting, MOST, views=2)
    for number in range(1, 40, 2):
        list(loader.epoch(3, number, rank=1, ranks=2))
    assert counting.rows == 11


class Pictures:
    """A map-style dataset of images of two sizes, the first ones of the same."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return IMAGES[index] if index < 5 else IMAGES[index][:, :6]


def brighter(columns, keys):
    images = columns["features"]
    if isinstance(images, torch.Tensor):
        return {"features": images.clamp(max=200) + 7}
    return {"features": [image.clamp(max=200) + 7 for image in images]}


def first_pixels(columns):
    return torch.stack([image[0, :3] for image in columns["features"]])


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_images_of_several_sizes_are_made_anew(size):
    seen = []
    for keep in (0, MOST):
        loader = Loader(
            MapStyleSet(Pictures(), labels=None), [first_pixels], batch_size=size, augment=brighter, views=2, keep=keep
        )
        found = [batch for number in range(6) for batch in loader.epoch(3, number)]
        seen.append([(batch.ids.tolist(), batch.inputs[first_pixels].tolist()) for batch in found])
    assert seen[0] == seen[1]


def rows_of(images):
    return Rows({"image": images}, None, torch.arange(len(images)))


def test_a_batch_that_is_changed_leaves_what_is_kept():
    kept = KeptViews(rows=2, most=100)
    positions = torch.tensor([1, 0])
    for _ in range(2):
        made = kept.seen(1, positions, rows_of(torch.tensor([[7], [5]])), lambda rows: rows.columns)
        assert made["image"].tolist() == [[7], [5]]
    made["image"].zero_()
    assert kept.seen(1, positions, rows_of(made["image"]), dict)["image"].tolist() == [[7], [5]]


def test_columns_that_are_not_all_tensors_are_not_kept():
    kept = KeptViews(rows=2, most=100)
    columns = {"image": torch.tensor([[7], [5]]), "text": ["a", "b"]}
    calls = []
    for _ in range(2):
        found = kept.seen(1, torch.arange(2), rows_of(columns["image"]), lambda rows: calls.append(rows) or columns)
        assert found is columns
    assert len(calls) == 2


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="the machine says otherwise how much memory it has")
def test_runs_side_by_side_take_half_of_the_memory_at_most(tmp_path, monkeypatch):
    lines = Path("/proc/meminfo").read_text().splitlines()
    whole = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal")) * 1024
    for runs in (1, 2, 64):
        assert 0 < memory_for_views(runs) <= min(MOST, whole / (2 * runs) * 1.05)
    group = tmp_path / "memory.max"
    monkeypatch.setattr(kept_views, "LIMIT_OF_THE_GROUP", group)
    free = memory_for_views(2)
    for told, expected in (("max\n", free), (f"{2**28}\n", 2**26)):
        group.write_text(told)
        assert memory_for_views(2) == expected
