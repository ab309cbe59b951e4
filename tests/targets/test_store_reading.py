"""What was written is what is read, wherever the rows stand."""

import multiprocessing
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import draw, known
from torch.utils.data import DataLoader

from limbeck.errors import ArgumentError, MismatchError, StoreError
from limbeck.targets.encodings.dense import DenseLogits
from limbeck.targets.part import Part, ShardArrays, cells_of
from limbeck.targets.plan import PartPlan, Plan, default_shard_rows
from limbeck.targets.store import Targets


@pytest.fixture(scope="module")
def recorded():
    return known()


@pytest.fixture(scope="module")
def folder(recorded, tmp_path_factory):
    return recorded.written(tmp_path_factory.mktemp("targets") / "store")


@pytest.mark.parametrize("view", [0, 1])
def test_stored_bits_are_the_bits_that_were_produced(recorded, folder, view):
    targets = Targets.open(folder)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    found = targets.knowledge(recorded.plan.parts["train"].ids[order], view, features=["layer.0"])
    assert found.at(4.0).logits.equal(recorded.logits["train"][order, view])
    assert found.features["layer.0"].equal(recorded.features["train"][order, view])


def test_rows_may_come_twice_and_none_may_come(recorded, folder):
    targets = Targets.open(folder)
    ids = torch.tensor([8, 5, 8, 152])
    assert targets.knowledge(ids).at(1.0).logits.equal(recorded.logits["train"][(ids - 5) // 3, 0])
    nothing = targets.knowledge(torch.empty(0, dtype=torch.int64), features=["layer.0"])
    assert nothing.at(1.0).logits.shape == (0, 3)
    assert nothing.features["layer.0"].shape == (0, 2, 3)


def test_every_split_has_ids_of_its_own(recorded, folder):
    targets = Targets.open(folder)
    assert targets.parts == ("test", "train")
    assert targets.knowledge(torch.tensor([5]), part="test").at(1.0).logits.equal(recorded.logits["test"][5:6, 0])
    with pytest.raises(MismatchError, match=r"no answers to the split 'validation'.*there are: test, train"):
        targets.part("validation")


def test_missing_rows_are_named_and_counted(folder):
    part = Targets.open(folder).part("train")
    with pytest.raises(MismatchError, match=r"'train' of .* holds no answers to 1 of the rows .* ids 6;"):
        part.positions(torch.tensor([5, 6, 8]))
    with pytest.raises(MismatchError, match=r"to 7 of the rows asked for, with the ids 0, 1, 2, 3, 4 and 2 more"):
        part.positions(torch.arange(8))


@pytest.mark.parametrize("view", [-1, 2])
def test_views_that_were_not_recorded_are_refused(folder, view):
    targets = Targets.open(folder)
    with pytest.raises(MismatchError, match=f"holds the views 0 to 1 and was asked for view {view}"):
        targets.knowledge(torch.tensor([5]), view)
    with pytest.raises(MismatchError, match="view 0 only, the raw rows, and was asked for view 1"):
        targets.knowledge(torch.tensor([5]), 1, part="test")


def test_features_that_were_not_recorded_are_refused(folder):
    with pytest.raises(MismatchError, match=r"no features of 'layer\.1'; recorded are layer\.0"):
        Targets.open(folder).knowledge(torch.tensor([5]), features=["layer.1"])


@pytest.mark.parametrize("wrong", [torch.tensor([50]), torch.tensor([-1]), torch.tensor([0], dtype=torch.int32)])
def test_positions_out_of_their_range_are_refused(folder, wrong):
    with pytest.raises(ArgumentError, match=r"positions must be int64 in \[0, 50\)"):
        Targets.open(folder).part("train").gather(wrong)


IDS = st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=40, unique=True).map(sorted)


@given(ids=st.one_of(IDS, st.integers(-50, 50).map(lambda first: list(range(first, first + 20)))), data=st.data())
def test_positions_are_those_of_a_dictionary(ids, data):
    where = {row: position for position, row in enumerate(ids)}
    shard = ShardArrays(cells_of(np.zeros(len(ids), np.uint8), 1), {}, None)
    part = Part(
        torch.tensor(ids), None, 1, firsts=[0], shard=lambda number: shard, row_bytes=1, features=[], where="It"
    )
    asked = data.draw(st.lists(st.sampled_from(ids)))
    assert part.positions(torch.tensor(asked, dtype=torch.int64)).tolist() == [where[row] for row in asked]
    stranger = data.draw(st.integers(-(2**62), 2**62).filter(lambda row: row not in where))
    with pytest.raises(MismatchError, match=f"ids {stranger};"):
        part.positions(torch.tensor([*asked, stranger]))


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6), views=st.integers(1, 3), data=st.data())
def test_any_cut_into_shards_gives_the_same_rows(sizes, views, data):
    width = data.draw(st.sampled_from([4, 600]))
    rows = torch.arange(sum(sizes) * views * width).remainder(251).to(torch.uint8).view(-1, views, width)
    pieces = [ShardArrays(cells_of(piece.numpy().reshape(-1), width), {}, None) for piece in rows.split(sizes)]
    firsts = np.cumsum([0, *sizes[:-1]]).tolist()
    part = Part(
        torch.arange(len(rows)),
        None,
        views,
        firsts=firsts,
        shard=pieces.__getitem__,
        row_bytes=width,
        features=[],
        where="It",
    )
    positions = torch.tensor(data.draw(st.lists(st.integers(0, len(rows) - 1))), dtype=torch.int64)
    view = data.draw(st.integers(0, views - 1))
    assert part.gather(positions, view).equal(rows[positions, view])


def ragged(lengths, views, shard_rows):
    """A plan of ragged rows, their positions (P, W) and their offsets."""
    rows = len(lengths) // views
    offsets = torch.cat((torch.zeros(1, dtype=torch.int64), torch.tensor(lengths, dtype=torch.int64).cumsum(0)))
    plan = Plan(
        head="softmax",
        classes=None,
        width=2,
        encoding=DenseLogits(),
        teacher={"fingerprint": None, "specification": None, "kind": "network", "precision": "float32"},
        transform=None,
        marks=(),
        batch_size=1,
        features={},
        parts={"train": PartPlan(torch.arange(rows), None, views, shard_rows)},
        ragged=True,
    )
    return plan, draw(int(offsets[-1]), 2).view(torch.uint8), offsets


@settings(deadline=None, max_examples=30)
@given(data=st.data(), views=st.integers(1, 3), shard_rows=st.integers(1, 5))
def test_ragged_rows_come_back_with_their_lengths(tmp_path_factory, data, views, shard_rows):
    rows = data.draw(st.integers(1, 9))
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=rows * views, max_size=rows * views))
    plan, packed, offsets = ragged(lengths, views, shard_rows)
    held = Targets.in_memory(plan, {"train": packed}, offsets={"train": offsets})
    folder = tmp_path_factory.mktemp("ragged") / "store"
    held.save(folder)
    read = Targets.open(folder)
    assert read.fingerprint == held.fingerprint
    positions = torch.tensor(data.draw(st.lists(st.integers(0, rows - 1))), dtype=torch.int64)
    view = data.draw(st.integers(0, views - 1))
    cells = (positions * views + view).tolist()
    wanted = [packed[offsets[cell] : offsets[cell + 1]] for cell in cells]
    for targets in (held, read):
        found, sizes = targets.part("train").gather_ragged(positions, view)
        assert sizes.tolist() == [lengths[cell] for cell in cells]
        assert found.equal(torch.cat(wanted) if wanted else packed[:0])


def test_ragged_rows_are_read_with_their_lengths_or_not_at_all():
    plan, packed, offsets = ragged([2, 0, 1], 1, 3)
    part = Targets.in_memory(plan, {"train": packed}, offsets={"train": offsets}).part("train")
    with pytest.raises(MismatchError, match=r"ragged.*gather_ragged"):
        part.gather(torch.tensor([0]))


def test_rows_of_one_length_are_not_ragged(folder):
    with pytest.raises(MismatchError, match="rows of one length"):
        Targets.open(folder).part("train").gather_ragged(torch.tensor([0]))


def test_targets_in_memory_are_those_of_the_folder(recorded, folder, tmp_path):
    packed = {name: logits.view(torch.uint8) for name, logits in recorded.logits.items()}
    features = {name: {"layer.0": values} for name, values in recorded.features.items()}
    held = Targets.in_memory(recorded.plan, packed, features=features)
    assert held.fingerprint == Targets.open(folder).fingerprint
    assert held.path is None
    ids = torch.tensor([152, 5])
    for targets in (held, pickle.loads(pickle.dumps(held))):
        assert targets.knowledge(ids, 1).at(1.0).logits.equal(recorded.logits["train"][[49, 0], 1])
    with pytest.raises(ArgumentError, match=r"rows of train must be uint8 \(50, 2, 12\)"):
        Targets.in_memory(recorded.plan, {**packed, "train": packed["train"][:, :1]})


def test_a_pickled_store_is_opened_again(recorded, folder):
    targets = Targets.open(folder)
    ids = torch.tensor([8])
    targets.knowledge(ids)
    again = pickle.loads(pickle.dumps(targets))
    assert again.knowledge(ids).at(1.0).logits.equal(recorded.logits["train"][1:2, 0])
    assert len(pickle.dumps(targets)) < 500


def test_a_store_that_was_replaced_is_noticed(tmp_path):
    first = known().written(tmp_path / "store")
    sent = pickle.dumps(Targets.open(first))
    first.rename(tmp_path / "old")
    known(marks=("out-of-fold",)).written(tmp_path / "store")
    with pytest.raises(StoreError, match="replaced by another one"):
        pickle.loads(sent)


class Answers(torch.utils.data.Dataset):
    def __init__(self, targets):
        self.targets = targets

    def __len__(self):
        return 50

    def __getitem__(self, position):
        return self.targets.knowledge(torch.tensor([position * 3 + 5]), 1).at(1.0).logits[0]


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_workers_read_the_same_store(recorded, folder):
    targets = Targets.open(folder)
    targets.knowledge(torch.tensor([5]))
    loader = DataLoader(Answers(targets), batch_size=10, num_workers=1, multiprocessing_context="fork")
    assert torch.cat(list(loader)).equal(recorded.logits["train"][:, 1])


MEMORY = Path("/proc/self/smaps_rollup")


def anonymous_bytes():
    lines = MEMORY.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


@pytest.mark.skipif(not MEMORY.exists(), reason="asks Linux")
def test_reading_a_store_does_not_load_it(tmp_path):
    # 32 MB of answers, read whole in small batches.
    rows, width = 8192, 1024
    logits = torch.zeros(rows, 1, width)
    parts = {"train": PartPlan(torch.arange(rows), None, 1, 1024)}
    plan = known(features=False, classes=None, width=width, transform=None, parts=parts).plan
    Targets.in_memory(plan, {"train": logits.view(torch.uint8)}).save(tmp_path / "store")
    del logits
    part = Targets.open(tmp_path / "store").part("train")
    part.gather(torch.arange(64))
    before = anonymous_bytes()
    for positions in torch.arange(rows).split(64):
        part.gather(positions)
    assert anonymous_bytes() - before < 4e6


def test_shards_are_about_eight_and_neither_tiny_nor_huge():
    assert default_shard_rows(60_000, 40, 512) == 7680
    assert default_shard_rows(100, 40, 512) == 1024
    assert default_shard_rows(10_000_000, 40, 512) == 65_536
    assert default_shard_rows(10_000_000, 40, 500) == 65_500
    assert default_shard_rows(1_000_000, 4000, 512) * 4000 <= 128 * 2**20
    assert default_shard_rows(1_000, 2**20, 512) == 128
    assert default_shard_rows(10, 2**30, 512) == 1


@given(rows=st.integers(0, 10**7), row_bytes=st.integers(1, 10**6), batch_size=st.integers(1, 10_000))
def test_a_shard_is_whole_batches_and_at_most_128_mib(rows, row_bytes, batch_size):
    found = default_shard_rows(rows, row_bytes, batch_size)
    assert found * row_bytes <= 128 * 2**20
    assert found <= 65_536
    assert found % batch_size == 0 or batch_size * row_bytes > 128 * 2**20 or batch_size > 65_536


@pytest.mark.parametrize("view", [0, 1])
def test_a_small_part_is_read_as_one_shard_and_answers_like_many(recorded, tmp_path, monkeypatch, view):
    plain = replace(recorded, plan=replace(recorded.plan, features={}))
    folder = plain.written(tmp_path / "store")
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    ids = plain.plan.parts["train"].ids[order]
    joined = Targets.open(folder)
    assert joined.knowledge(ids, view).at(1.0).logits.equal(recorded.logits["train"][order, view])
    again = pickle.loads(pickle.dumps(joined))
    assert again.knowledge(ids, view).at(1.0).logits.equal(recorded.logits["train"][order, view])
    monkeypatch.setattr("limbeck.targets.folder.SMALL", 0)
    apart = Targets.open(folder)
    assert len(apart.manifest.parts["train"].shards) > 1
    assert apart.knowledge(ids, view).at(1.0).logits.equal(recorded.logits["train"][order, view])
