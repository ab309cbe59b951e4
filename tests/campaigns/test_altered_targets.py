"""Altered targets: by hand on three classes, by property on many, and as stores that training accepts."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from limbeck.campaigns.ablations import ablations
from limbeck.campaigns.altering import (
    donors,
    edited_logits,
    entropy_of_smoothing,
    exchange_labels,
    one_hot_logits,
    permute_others,
    smoothed_binary_logits,
    smoothed_logits,
    smoothing_of_entropy,
    top_class,
)
from limbeck.errors import ArgumentError, StoreError
from limbeck.functional.softmax import entropy
from limbeck.keyed import row_keys
from limbeck.targets.store import Targets
from limbeck.training.progress import Silent
from limbeck.training.recording import record

# p = (.7, .2, .1) and (.1, .3, .6) at T = 2
PROBS = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
LOGITS = 2 * PROBS.log()


def at(logits, temperature=2.0):
    return (logits / temperature).softmax(-1)


def many(rows, classes, seed=0):
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


def test_the_first_of_several_largest_is_the_top():
    assert top_class(torch.tensor([[2.0, 1.0, 2.0], [0.0, 0.0, 0.0], [1.0, 4.0, 4.0]])).tolist() == [0, 0, 1]


def test_exchanged_by_hand():
    found = at(exchange_labels(LOGITS, torch.tensor([2, 2])))
    torch.testing.assert_close(found, torch.tensor([[0.1, 0.2, 0.7], [0.1, 0.3, 0.6]]))


def test_edited_by_hand():
    found = at(edited_logits(LOGITS, torch.tensor([1, 2]), temperature=2.0, weight=0.4))
    torch.testing.assert_close(found, torch.tensor([[0.42, 0.52, 0.06], [0.06, 0.18, 0.76]]))


def test_smoothed_by_hand():
    found = at(smoothed_logits(torch.tensor([1]), 3, temperature=2.0, smoothing=0.3))
    torch.testing.assert_close(found, torch.tensor([[0.1, 0.8, 0.1]]))
    yes_no = smoothed_binary_logits(torch.tensor([[1.0, 0.0]]), temperature=2.0, smoothing=0.3)
    torch.testing.assert_close((yes_no / 2).sigmoid(), torch.tensor([[0.85, 0.15]]))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 20.0])
def test_one_hot_targets_are_one_hot_at_every_temperature(temperature):
    assert at(one_hot_logits(torch.tensor([2, 0]), 3), temperature).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_of_three_classes_the_two_others_change_places_in_about_half_the_rows():
    logits = LOGITS[:1].expand(2000, 3)
    found = permute_others(logits, row_keys(0, 0, torch.arange(2000)))
    assert (found[:, 0] == LOGITS[0, 0]).all()
    changed = (found[:, 1] == LOGITS[0, 2]) & (found[:, 2] == LOGITS[0, 1])
    assert (changed | (found == logits).all(-1)).all()
    assert 0.45 < changed.float().mean() < 0.55


@given(st.integers(2, 13), st.integers(0, 2**31), st.integers(0, 3))
def test_permuting_keeps_the_top_and_what_there_is_and_is_a_function_of_the_id(classes, seed, view):
    logits, ids = many(17, classes, seed % 97), torch.arange(17) * 5
    found = permute_others(logits, row_keys(seed, view, ids))
    assert torch.equal(found.sort(-1).values, logits.sort(-1).values)
    assert torch.equal(found.argmax(-1), logits.argmax(-1))
    backwards = permute_others(logits.flip(0), row_keys(seed, view, ids.flip(0))).flip(0)
    assert torch.equal(backwards, found)
    assert torch.equal(permute_others(logits[3:4], row_keys(seed, view, ids[3:4])), found[3:4])


def test_views_are_permuted_apart():
    logits, ids = many(19, 11), torch.arange(19)
    first, second = (permute_others(logits, row_keys(0, view, ids)) for view in (0, 1))
    assert not torch.equal(first, second)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 2**31))
def test_rows_take_from_another_row_of_their_class_and_give_once(groups, seed):
    groups = torch.tensor(groups)
    ids = torch.arange(len(groups)) * 3 + 1
    found = donors(groups, ids, seed=seed)
    assert found.sort().values.tolist() == list(range(len(groups)))
    assert torch.equal(groups[found], groups)
    alone = torch.tensor([int((groups == group).sum()) == 1 for group in groups])
    assert torch.equal(found == torch.arange(len(groups)), alone)
    # by id: rows in another order take from the same rows
    assert torch.equal(ids.flip(0)[donors(groups.flip(0), ids.flip(0), seed=seed)].flip(0), ids[found])


def test_rows_of_several_labels_take_from_rows_with_the_same_ones():
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    assert donors(labels, torch.arange(4), seed=0).tolist() == [2, 1, 0, 3]


@given(st.floats(0, 1), st.integers(2, 1000))
def test_the_smoothing_has_the_entropy_that_was_asked_for(share, classes):
    nats = share * math.log(classes)
    found = smoothing_of_entropy(nats, classes)
    assert 0 <= found <= 1
    assert entropy_of_smoothing(found, classes) == pytest.approx(nats, abs=1e-6)


def test_the_entropy_of_smoothed_labels_by_hand():
    # (.8, .1, .1)
    assert entropy_of_smoothing(0.3, 3) == pytest.approx(-0.8 * math.log(0.8) - 0.2 * math.log(0.1))


@pytest.mark.parametrize(("nats", "classes"), [(-0.1, 3), (1.2, 3), (0.0, 1)])
def test_an_entropy_that_no_smoothing_has_is_refused(nats, classes):
    with pytest.raises(ArgumentError, match="must lie in"):
        smoothing_of_entropy(nats, classes)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    folder = tmp_path_factory.mktemp("altered")
    spec = tiny.specification(data=tiny.splits, validation=0.1)
    record(spec, folder / "targets", watcher=Silent())
    return replace(spec, targets=folder / "targets"), folder


@pytest.fixture(scope="module")
def found(taught):
    spec, folder = taught
    names = ("matched-smoothing", "teacher-labels", "permuted", "shuffled", "edited")
    return {arm.name: arm for arm in ablations(spec, folder / "altered", names).arms}


def told(store, temperature=4.0):
    targets = Targets.open(store)
    ids = targets.part("train").ids if hasattr(targets.part("train"), "ids") else torch.arange(tiny.ROWS)
    return at(targets.knowledge(torch.as_tensor(ids)).at(temperature).logits, temperature)


def test_a_store_of_altered_targets_holds_what_the_functions_give(taught, found):
    recorded, labels = told(taught[0].targets), tiny.rows().labels
    logits = Targets.open(taught[0].targets).knowledge(torch.arange(tiny.ROWS)).at(4.0).logits
    altered = {name: told(arm.spec.targets) for name, arm in found.items()}
    torch.testing.assert_close(altered["permuted"].amax(-1), recorded.amax(-1))
    torch.testing.assert_close(altered["permuted"].sort(-1).values, recorded.sort(-1).values)
    keys = row_keys(0, 0, torch.arange(tiny.ROWS))
    torch.testing.assert_close(altered["permuted"], at(permute_others(logits, keys), 4.0))
    own = donors(labels, torch.arange(tiny.ROWS), seed=0)
    assert torch.equal(altered["shuffled"], recorded[own])
    assert torch.equal(altered["teacher-labels"].argmax(-1), recorded.argmax(-1))
    assert (altered["teacher-labels"].amax(-1) == 1).all()
    one_hot = torch.nn.functional.one_hot(labels, 3)
    torch.testing.assert_close(altered["edited"], 0.3 * one_hot + 0.7 * recorded)


def test_matched_labels_have_the_entropy_of_the_targets(taught, found):
    smoothed, recorded = (
        entropy(told(store).log(), temperature=1.0).mean()
        for store in (found["matched-smoothing"].spec.targets, taught[0].targets)
    )
    assert float(smoothed) == pytest.approx(float(recorded), abs=1e-4)
    assert torch.equal(told(found["matched-smoothing"].spec.targets).argmax(-1), tiny.rows().labels)


def test_what_is_there_is_not_written_again_and_what_comes_of_other_targets_is_refused(taught, found, tmp_path):
    spec, folder = taught
    files = {path: path.stat().st_mtime_ns for path in (folder / "altered").rglob("*") if path.is_file()}
    again = ablations(spec, folder / "altered", tuple(found))
    assert {arm.name: arm for arm in again.arms} == found
    assert {path: path.stat().st_mtime_ns for path in (folder / "altered").rglob("*") if path.is_file()} == files
    other = replace(spec, teacher=tiny.student, targets=None)
    record(other, tmp_path / "targets", watcher=Silent())
    with pytest.raises(StoreError, match="another teacher"):
        ablations(replace(other, targets=tmp_path / "targets"), folder / "altered", "permuted")


def test_one_that_was_begun_is_gone_on_with(taught, found, tmp_path):
    spec, _ = taught
    whole = ablations(spec, tmp_path / "a", "shuffled").arms[0].spec.targets
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    store = Targets.open(whole)
    plan = store.plan()
    from limbeck.targets.writer import Recording

    Recording(tmp_path / "b" / "shuffled", plan)  # stopped before its first shard
    ablations(spec, tmp_path / "b", "shuffled")
    assert {path.name: path.read_bytes() for path in (tmp_path / "b" / "shuffled").iterdir()} == before
