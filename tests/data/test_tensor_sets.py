import numpy as np
import pytest
import torch
from torch.testing import assert_close

from limbeck.data.tensors import TensorSet
from limbeck.errors import DataError
from limbeck.types import TransferSet

TEXT = ["one", "two", "three", "four", "five"]


def five(**changes):
    given = {"labels": [0, 1, 2, 1, 0], "classes": ["a", "b", "c"], "ids": [10, 11, 12, 13, 14]} | changes
    columns = given.pop("columns", {"image": torch.arange(15).reshape(5, 3), "text": TEXT})
    return TensorSet(columns, **given)


def test_rows_come_in_the_order_of_the_positions():
    rows = five().rows(torch.tensor([3, 0, 3]))
    assert_close(rows.columns["image"], torch.tensor([[9, 10, 11], [0, 1, 2], [9, 10, 11]]))
    assert rows.columns["text"] == ["four", "one", "four"]
    assert_close(rows.labels, torch.tensor([1, 0, 1]))
    assert_close(rows.ids, torch.tensor([13, 10, 13]))
    assert len(rows) == 3


def test_a_subset_keeps_ids_classes_and_head():
    part = five().subset(torch.tensor([4, 1])).subset(torch.tensor([1]))
    assert part.ids.tolist() == [11]
    assert part.classes == ("a", "b", "c")
    assert part.labels.tolist() == [1]
    assert part.rows(torch.tensor([0])).columns["text"] == ["two"]


def test_a_bare_tensor_or_array_is_the_column_features():
    for values in (torch.ones(2, 3), np.ones((2, 3), np.float32)):
        assert_close(TensorSet(values).rows(torch.tensor([1])).columns["features"], torch.ones(1, 3))


def test_it_is_a_transfer_set():
    rows: TransferSet = five()
    members = [name for name in dir(TransferSet) if not name.startswith("_")]
    assert members
    assert all(hasattr(rows, name) for name in members)


def test_defaults_without_labels():
    rows = TensorSet(torch.ones(2, 3))
    assert (rows.labels, rows.classes, rows.head, rows.labelled) == (None, None, "softmax", False)
    assert rows.rows(torch.tensor([0])).labels is None
    assert rows.ids.tolist() == [0, 1]


def test_classes_without_names_are_counted_by_the_highest_label():
    assert TensorSet(torch.ones(2, 3), labels=np.array([0, 3], np.uint8)).classes == ("0", "1", "2", "3")


def test_multi_hot_labels_mean_a_sigmoid_head():
    rows = TensorSet(torch.ones(2, 3), labels=[[0.0, 1.0], [1.0, 1.0]])
    assert (rows.head, rows.classes, rows.labels.dtype) == ("sigmoid", ("0", "1"), torch.float32)


def test_a_head_can_be_said_of_unlabelled_rows():
    assert TensorSet(torch.ones(2, 3), classes=["x", "y"], head="sigmoid").head == "sigmoid"


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">i4"),
        np.arange(6, dtype=np.uint16),
        np.arange(6)[::-1],
        np.broadcast_to(np.arange(1), (6,)),
        np.frombuffer(bytes(range(6)), np.uint8),
    ],
    ids=["big-endian", "uint16", "negative-stride", "broadcast", "read-only"],
)
def test_any_array_of_numbers_becomes_a_tensor_of_equal_values(array):
    column = TensorSet(array).columns["features"]
    assert column.tolist() == array.tolist()


def test_arrays_share_their_memory():
    array = np.ones((3, 2), np.float32)
    assert TensorSet(array).columns["features"].data_ptr() == array.ctypes.data


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"columns": {"a": torch.ones(5), "b": TEXT[:4]}}, "the same number of rows. Got a 5, b 4."),
        ({"columns": {"a": []}, "labels": None, "ids": None}, "at least one row. Column 'a' is empty."),
        ({"columns": {}}, "at least one name .* Got dict without entries."),
        ({"columns": TEXT}, "a tensor, or a mapping .* Got list."),
        ({"columns": {"a": "five!"}}, "column 'a' must be a tensor, an array or a sequence of rows. Got str."),
        ({"columns": {"a": torch.tensor(5)}}, "column 'a' must have rows along its first axis. Got a single number."),
        ({"labels": [0, 1, 2, 3, 0]}, r"must lie in \[0, 3\), one for each class. Got 3 in row 3."),
        ({"labels": [0, -1, 2, 3, 0]}, "Got -1 in row 1."),
        ({"labels": [0, -1, 0, 0, 0], "classes": None}, "must not be negative. Got -1 in row 1."),
        ({"labels": [0.0, 1.0, 2.0, 1.0, 0.0]}, "must be integer class indices. Got dtype torch.float64."),
        ({"labels": ["a", "b", "c", "b", "a"]}, "must be .* integer class indices .* Got list of something else."),
        ({"labels": [[0], [0, 1], [], [1], [2]]}, "must be .* integer class indices .* Got list of something else."),
        ({"labels": [0, 1, 2]}, "one label for each of 5 rows. Got 3 labels."),
        ({"labels": torch.eye(5).long()}, "must be floats of zeros and ones. Got dtype torch.int64."),
        ({"labels": torch.eye(5) / 2}, "must be 0 or 1."),
        ({"labels": torch.eye(5)}, "labels have 5 columns for 3 classes."),
        ({"labels": torch.eye(5), "classes": None, "head": "softmax"}, "need a sigmoid head. Got 'softmax'."),
        ({"head": "sigmoid"}, r"labels of shape \(5,\) need a softmax head. Got 'sigmoid'."),
        ({"classes": ["a", "b", "a"]}, "class names must be distinct. 'a' comes 2 times."),
        ({"classes": "abc"}, "classes must be the names .* Got 'abc'."),
        ({"ids": [1, 2, 3, 2, 5]}, "ids must be distinct. Id 2 comes more than once."),
        ({"ids": [1, 2, 3]}, r"ids must be 5 whole numbers, one for each row. Got \(3,\) of torch.int64."),
        ({"ids": ["a", "b", "c", "d", "e"]}, "ids must be 5 whole numbers.* Got list of something else."),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(DataError, match=sentence):
        five(**changes)


@pytest.mark.parametrize("positions", [[5], [-1]])
def test_positions_outside_the_set_are_refused(positions):
    with pytest.raises(DataError, match=r"positions must lie in \[0, 5\). Got"):
        five().rows(torch.tensor(positions))


def test_a_subset_with_a_row_twice_is_refused():
    with pytest.raises(DataError, match=r"ids must be distinct. Id 11 comes more than once."):
        five().subset(torch.tensor([1, 1]))


def test_its_representation_says_what_it_holds():
    assert repr(five()) == "TensorSet(5 rows, 3 classes: image (5, 3), text [5])"
