from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.data.splits import Splits, hold_out, stratified_sample
from limbeck.data.tensors import TensorSet
from limbeck.errors import ArgumentError, DataError

few = settings(deadline=None, max_examples=40)
label_lists = st.lists(st.integers(0, 5), min_size=2, max_size=60)


def labelled(labels):
    ids = torch.arange(len(labels)) * 3 + 100
    return TensorSet(torch.arange(len(labels)).float()[:, None], labels=labels, ids=ids, classes=list("abcdef"))


@few
@given(labels=label_lists, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 3))
def test_a_hold_out_splits_the_rows_and_keeps_both_sides_of_every_class(labels, fraction, seed):
    sizes = Counter(labels)
    if max(sizes.values()) == 1:
        with pytest.raises(DataError, match="has a single row, and a class's only row is not held out"):
            hold_out(labelled(labels), fraction, seed)
        return
    rows = labelled(labels)
    train, validation = hold_out(rows, fraction, seed)
    assert sorted(train.ids.tolist() + validation.ids.tolist()) == rows.ids.tolist()
    kept, held = Counter(train.labels.tolist()), Counter(validation.labels.tolist())
    for label, size in sizes.items():
        assert kept[label] >= 1
        assert held[label] >= (size > 1)
        assert abs(held[label] - fraction * size) < 2
    for part in (train, validation):
        assert torch.equal(part.rows(torch.arange(len(part))).columns["features"][:, 0], (part.ids - 100).float() / 3)
        assert part.ids.tolist() == sorted(part.ids.tolist())


def test_a_hold_out_takes_the_fraction_asked_for():
    train, validation = hold_out(labelled(list(range(6)) * 50), 0.1, seed=0)
    assert (len(train), len(validation)) == (270, 30)
    assert validation.labels.bincount().tolist() == [5] * 6


def test_small_classes_do_not_take_their_row_from_large_ones():
    labels = [0] * 1000 + [1, 2, 3, 4, 5] * 2
    assert hold_out(labelled(labels), 0.1, seed=0)[1].labels.bincount().tolist() == [100, 1, 1, 1, 1, 1]


def test_uneven_remainders_still_sum_to_the_fraction():
    _, validation = hold_out(labelled([0] * 33 + [1] * 33 + [2] * 34), 0.1, seed=0)
    assert len(validation) == 10


@pytest.mark.parametrize("labels", [None, torch.eye(2).repeat(50, 1)], ids=["unlabelled", "multi-label"])
def test_rows_without_single_classes_are_drawn_plainly(labels):
    rows = TensorSet(torch.ones(100, 2), labels=labels)
    train, validation = hold_out(rows, 0.25, seed=1)
    assert (len(train), len(validation)) == (75, 25)
    assert train.head == rows.head
    assert set(train.ids.tolist()).isdisjoint(validation.ids.tolist())


def test_a_hold_out_is_a_function_of_its_seed():
    rows = labelled([0, 1, 2] * 20)
    first, again, other = (hold_out(rows, 0.3, seed)[1].ids.tolist() for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_that_leaves_a_side_empty_is_refused(fraction):
    with pytest.raises(ArgumentError, match=f"fraction must lie strictly between 0 and 1. Got {fraction}."):
        hold_out(labelled([0, 1]), fraction, seed=0)


def test_a_single_row_cannot_be_split():
    with pytest.raises(DataError, match=r"a split needs at least two rows. Got 1."):
        hold_out(labelled([0]), 0.5, seed=0)


@few
@given(labels=label_lists, share=st.floats(0, 1), seed=st.integers(0, 3))
def test_a_stratified_sample_has_each_class_in_proportion(labels, share, seed):
    labels = torch.tensor(labels)
    count = max(1, round(share * len(labels)))
    positions = stratified_sample(labels, count, seed)
    assert len(positions) == count
    assert positions.tolist() == sorted(set(positions.tolist()))
    drawn, sizes = Counter(labels[positions].tolist()), Counter(labels.tolist())
    if count >= len(sizes):
        assert set(drawn) == set(sizes)
    for label, size in sizes.items():
        excess = len(sizes) - 1  # rows that classes below one row in proportion may take from others
        assert abs(drawn[label] - size * count / len(labels)) < 1 + excess


def test_a_sample_of_few_of_many_classes_takes_no_class_twice():
    assert stratified_sample(torch.arange(50).repeat(4), 20, 0).remainder(50).unique().numel() == 20


def test_multi_hot_labels_are_sampled_plainly():
    assert len(stratified_sample(torch.eye(3).repeat(4, 1), 5, seed=0)) == 5


@pytest.mark.parametrize("count", [0, 4])
def test_a_sample_needs_rows_to_draw_from(count):
    with pytest.raises(ArgumentError, match=rf"count must lie in \[1, 3\], the number of rows. Got {count}."):
        stratified_sample(torch.tensor([0, 1, 1]), count, seed=0)


def test_splits_with_other_classes_are_refused():
    train, test = (TensorSet(torch.ones(2, 1), labels=[0, 1], classes=names) for names in (["a", "b"], ["b", "a"]))
    with pytest.raises(DataError, match="where train has class 'a', test has 'b'; give every split the same `classes`"):
        Splits(train=train, test=test)


def test_splits_with_more_classes_are_refused():
    train, other = (TensorSet(torch.ones(2, 1), labels=labels) for labels in ([0, 1], [0, 2]))
    with pytest.raises(DataError, match="train has 2 classes and validation has 3; give every split"):
        Splits(train=train, validation=other)


def test_splits_with_another_head_are_refused():
    train, other = (TensorSet(torch.ones(2, 1), labels=labels) for labels in ([0, 1], torch.eye(2)))
    with pytest.raises(DataError, match=r"train has a softmax head and test a sigmoid head; they must agree."):
        Splits(train=train, test=other)


def test_splits_without_labels_go_with_any_classes():
    splits = Splits(train=labelled([0, 1]), test=TensorSet(torch.ones(2, 1)))
    assert splits.validation is None
    assert splits.test.classes is None
