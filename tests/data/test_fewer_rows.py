"""A share of the training rows: nested, in proportion, the same at every seed; and nobody else's rows are touched."""

from fractions import Fraction
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.data.splits import Splits, fewer_rows, hold_out, stratified_order
from limbeck.data.tensors import TensorSet
from limbeck.errors import ArgumentError, DataError
from limbeck.specification import from_json, to_json
from tiny import rows, splits

few = settings(deadline=None, max_examples=40)
label_lists = st.lists(st.integers(0, 4), min_size=1, max_size=50)


def labelled(labels):
    ids = torch.arange(len(labels)) * 3 + 100
    return TensorSet(torch.arange(len(labels)).float()[:, None], labels=labels, ids=ids, classes=list("abcde"))


def seats(sizes, total):
    """Deal seats one by one to the class with the largest n / (2 k + 1): Webster's method, as slowly as can be."""
    dealt = [0] * len(sizes)
    for _ in range(total):
        claims = [Fraction(n, 2 * k + 1) if k < n else Fraction(0) for n, k in zip(sizes, dealt, strict=True)]
        dealt[max(range(len(sizes)), key=lambda place: (claims[place], -place))] += 1
    return dealt


@few
@given(labels=label_lists, seed=st.integers(0, 3))
def test_every_beginning_of_the_order_deals_the_classes_as_webster_does(labels, seed):
    order = stratified_order(torch.tensor(labels), len(labels), seed)
    assert sorted(order.tolist()) == list(range(len(labels)))
    sizes = [labels.count(label) for label in range(5)]
    for count in range(1, len(labels) + 1):
        taken = [labels[place] for place in order[:count].tolist()]
        assert [taken.count(label) for label in range(5)] == seats(sizes, count)


@few
@given(labels=label_lists, shares=st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0)), seed=st.integers(0, 3))
def test_the_rows_of_a_smaller_share_are_among_those_of_a_larger(labels, shares, seed):
    found = []
    for share in sorted(shares):
        try:
            thinned = fewer_rows(labelled(labels), share=share, validation=None, split_seed=seed).train
        except DataError as error:
            assert "of the class" in str(error)
            return
        assert len(thinned) == max(1, round(share * len(labels)))
        assert thinned.ids.tolist() == sorted(thinned.ids.tolist())
        values = thinned.rows(torch.arange(len(thinned))).columns["features"][:, 0]
        assert torch.equal(values, (thinned.ids - 100).float() / 3)  # ids go with their contents
        for label in set(labels):
            assert abs(int((thinned.labels == label).sum()) - share * labels.count(label)) <= 1.5
        found.append(set(thinned.ids.tolist()))
    assert found[0] <= found[1]


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_held_out_rows_are_those_that_the_whole_data_would_hold_out(share):
    train, validation = hold_out(rows(), 0.3, seed=5)
    found = fewer_rows(rows, share=share, validation=0.3, split_seed=5)
    assert torch.equal(found.validation.ids, validation.ids)
    assert set(found.train.ids.tolist()) <= set(train.ids.tolist())
    assert len(found.train) == round(share * len(train))


def test_splits_that_the_data_bring_stay_as_they_are():
    found = fewer_rows(splits, share=0.3, validation=0.1)
    assert found.validation.fingerprint == splits().validation.fingerprint
    assert found.test.fingerprint == splits().test.fingerprint
    assert fewer_rows(rows, share=0.3, validation=None).validation is None


def test_another_split_seed_draws_other_rows_and_the_same_draws_the_same():
    drawn = [fewer_rows(splits, share=0.5, validation=None, split_seed=seed).train.ids for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("labels", [None, torch.eye(2).repeat(50, 1)], ids=["unlabelled", "multi-label"])
def test_rows_without_single_classes_are_drawn_plainly_and_nested(labels):
    whole = Splits(train=TensorSet(torch.ones(100, 2), labels=labels))
    small, large = (fewer_rows(whole, share=share, validation=None).train.ids.tolist() for share in (0.1, 0.4))
    assert (len(small), len(large)) == (10, 40)
    assert set(small) < set(large)
    assert large != list(range(40))


def test_a_share_is_a_data_factory_that_another_process_rebuilds():
    factory = partial(fewer_rows, splits, share=0.4, validation=0.1, split_seed=2)
    rebuilt = from_json(to_json(factory))
    assert rebuilt().train.fingerprint == factory().train.fingerprint


def test_what_leaves_a_class_without_a_row_is_refused_by_name():
    with pytest.raises(DataError, match=r"A share of 0.1 leaves 3 of 31 training rows, and none of the class 'c', wh"):
        fewer_rows(labelled([0] * 15 + [1] * 15 + [2]), share=0.1, validation=None)
    for share in (0.0, -0.5, 1.5, float("nan")):
        with pytest.raises(ArgumentError, match=r"share must lie in \(0, 1\]. Got"):
            fewer_rows(rows, share=share, validation=None)
