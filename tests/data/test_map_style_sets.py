import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from torch.utils.data import Subset, TensorDataset

from limbeck.data.loader import Loader
from limbeck.data.mapstyle import MapStyleSet
from limbeck.data.prepare import plain_features
from limbeck.data.tensors import TensorSet
from limbeck.errors import DataError

X = torch.arange(14, dtype=torch.float32).reshape(7, 2)
Y = torch.tensor([0, 1, 2, 0, 1, 2, 0])


class Watched:
    """A dataset that writes down which items were read."""

    def __init__(self, items):
        self.items = items
        self.read = []

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        self.read.append(index)
        return self.items[index]


def mappings():
    return [{"x": X[i], "text": f"row {i}", "y": int(Y[i])} for i in range(7)]


@pytest.mark.parametrize(
    "dataset",
    [
        TensorDataset(X, Y),
        [(X[i], int(Y[i])) for i in range(7)],
        [(X[i].numpy(), np.int64(Y[i])) for i in range(7)],
        [(X[i].double().tolist(), Y[i]) for i in range(7)],
    ],
    ids=["tensors", "pairs", "arrays", "lists"],
)
def test_pairs_are_features_and_label(dataset):
    rows = MapStyleSet(dataset).rows(torch.tensor([5, 1]))
    assert_close(rows.columns["features"], X[[5, 1]], check_dtype=False)
    assert rows.labels.tolist() == [2, 1]
    assert rows.ids.tolist() == [5, 1]


def test_items_without_label_are_features_alone():
    for dataset in (X, TensorDataset(X)):
        rows = MapStyleSet(dataset)
        assert (rows.labels, rows.labelled, rows.classes, rows.head) == (None, False, None, "softmax")
        assert_close(rows.rows(torch.tensor([3])).columns["features"], X[[3]])


def test_mappings_have_named_columns_and_a_named_label():
    rows = MapStyleSet(mappings(), labels="y", classes=["a", "b", "c"])
    read = rows.rows(torch.tensor([2, 0]))
    assert_close(read.columns["x"], X[[2, 0]])
    assert read.columns["text"] == ["row 2", "row 0"]
    assert list(read.columns) == ["x", "text"]
    assert read.labels.tolist() == [2, 0]
    assert (rows.classes, rows.labels.tolist()) == (("a", "b", "c"), Y.tolist())


def test_mappings_without_a_label_name_are_unlabelled():
    assert MapStyleSet(mappings()).labels is None


def test_several_labels_a_row_mean_a_sigmoid_head():
    rows = MapStyleSet([(X[i], torch.eye(3)[Y[i]]) for i in range(7)])
    assert (rows.head, rows.classes, tuple(rows.labels.shape)) == ("sigmoid", ("0", "1", "2"), (7, 3))


def test_values_of_unequal_shape_stay_a_list():
    rows = MapStyleSet([torch.ones(3), torch.ones(2), torch.ones(2)])
    assert [tuple(value.shape) for value in rows.rows(torch.arange(2)).columns["features"]] == [(3,), (2,)]
    assert rows.rows(torch.tensor([1, 2])).columns["features"].shape == (2, 2)


def test_images_become_channels_first_bytes():
    grey = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    rows = MapStyleSet([(grey, 0), (grey.rotate(180), 1)])
    images = rows.rows(torch.arange(2)).columns["features"]
    assert images.dtype == torch.uint8
    assert images[:, 0].tolist() == [[[0, 1, 2], [3, 4, 5]], [[5, 4, 3], [2, 1, 0]]]


def test_labels_that_are_passed_spare_reading_the_items():
    dataset = Watched([(X[i], 0) for i in range(7)])
    rows = MapStyleSet(dataset, labels=Y)
    assert rows.labels.tolist() == Y.tolist()
    assert dataset.read == [0]


def test_the_datasets_own_targets_spare_reading_the_items():
    dataset = Watched([(X[i], int(Y[i])) for i in range(7)])
    dataset.targets = Y.tolist()
    assert MapStyleSet(Subset(dataset, [6, 5, 4])).labels.tolist() == [0, 2, 1]
    assert set(dataset.read) == {6}


@pytest.mark.parametrize("change", ["transformed", "relabelled", "of another length"])
def test_targets_that_are_not_the_items_labels_are_not_trusted(change):
    dataset = Watched([(X[i], 2 - int(Y[i])) for i in range(7)])
    dataset.targets = Y[:6] if change == "of another length" else Y
    dataset.target_transform = (lambda y: 2 - y) if change == "transformed" else None
    assert MapStyleSet(dataset).labels.tolist() == (2 - Y).tolist()


def test_labels_without_targets_take_one_pass():
    dataset = Watched([(X[i], int(Y[i])) for i in range(7)])
    rows = MapStyleSet(dataset)
    assert rows.labels.tolist() == rows.labels.tolist() == Y.tolist()
    assert sorted(dataset.read) == [0, 0, 1, 2, 3, 4, 5, 6] or dataset.read.count(6) == 1


def test_a_subset_reads_only_its_own_rows():
    dataset = Watched(mappings())
    part = (
        MapStyleSet(dataset, labels="y", ids=range(20, 27)).subset(torch.tensor([6, 2, 4])).subset(torch.tensor([2, 0]))
    )
    dataset.read.clear()
    read = part.rows(torch.tensor([1, 0]))
    assert dataset.read == [6, 4]
    assert read.ids.tolist() == [26, 24]
    assert part.labels.tolist() == Y[[4, 6]].tolist()
    assert part.classes == ("0", "1", "2")


def test_a_subset_has_a_fingerprint_of_its_own():
    rows = MapStyleSet(TensorDataset(X, Y))
    whole, part = rows.fingerprint, rows.subset(torch.arange(3))
    assert part.fingerprint != whole
    assert part.fingerprint == TensorSet(X, labels=Y).subset(torch.arange(3)).fingerprint


def test_a_batch_is_read_at_once_where_the_dataset_can():
    class Batched(Watched):
        def __getitems__(self, indices):
            self.read.append(indices)
            return [self.items[index] for index in indices]

    dataset = Batched(mappings())
    rows = MapStyleSet(dataset, labels=Y)
    dataset.read.clear()
    rows.rows(torch.tensor([4, 3]))
    assert dataset.read == [[4, 3]]


def test_workers_make_no_difference():
    alone, helped = (Loader(MapStyleSet(mappings(), labels="y"), [len, words], batch_size=3, workers=n) for n in (0, 2))
    for one, other in zip(alone.epoch(0, 0), helped.epoch(0, 0), strict=True):
        assert one.ids.tolist() == other.ids.tolist()
        assert_close(one.inputs[words], other.inputs[words])


def words(columns):
    return torch.tensor([int(text.split()[1]) for text in columns["text"]])


def test_an_image_dataset_trains_as_it_is():
    images = [(Image.new("RGB", (4, 3), (255, 0, 51)), 0)] * 2
    inputs = next(Loader(MapStyleSet(images), [plain_features], batch_size=2).sequential()).inputs[plain_features]
    assert_close(inputs[:, :, 0, 0], torch.tensor([[1.0, 0.0, 0.2]] * 2))


@pytest.mark.parametrize(
    ("dataset", "arguments", "sentence"),
    [
        ([], {}, "at least one item. The list is empty."),
        ([(1, 2, 3)], {}, r"items must be x, \(x, y\) or a mapping. Got a tuple of 3."),
        (mappings(), {"labels": "z"}, "items have no column 'z'; they have: x, text, y."),
        ([(X[0], 1)], {"labels": "y"}, "labels='y' names a column, which items of type tuple have not"),
        ([(X[0], 0.5)], {}, "labels must be integer class indices. Got dtype torch.float64."),
        ([(X[0], "cat")], {}, "labels must be .* integer class indices .* Got list of something else."),
        ([(X[0], 3)], {"classes": ["a", "b"]}, r"must lie in \[0, 2\), one for each class. Got 3 in row 0."),
        (X, {"labels": [0, 1]}, "one label for each of 7 rows. Got 2 labels."),
        (X, {"ids": [1] * 7}, "ids must be distinct. Id 1 comes more than once."),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(dataset, arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        MapStyleSet(dataset, **arguments)


def test_an_item_with_other_columns_is_refused():
    rows = MapStyleSet([{"a": 1, "b": 2}, {"a": 1}])
    with pytest.raises(
        DataError, match=r"the columns of the first \(a, b\). One of the rows with ids \[0, 1\] has no 'b'."
    ):
        rows.rows(torch.arange(2))


def test_a_dataset_that_fails_is_named_with_the_row():
    class Broken(Watched):
        def __getitem__(self, index):
            if index == 5:
                raise OSError("disk gone")
            return super().__getitem__(index)

    rows = MapStyleSet(Broken(mappings()), labels=Y)
    with pytest.raises(
        DataError, match="Broken failed on a batch of 2 items, the first being number 4: OSError: disk gone"
    ):
        rows.rows(torch.tensor([4, 5]))


@pytest.mark.parametrize("positions", [[7], [-1]])
def test_positions_outside_the_set_are_refused(positions):
    with pytest.raises(DataError, match=r"positions must lie in \[0, 7\)"):
        MapStyleSet(X).rows(torch.tensor(positions))


def test_its_representation_says_what_it_holds():
    assert repr(MapStyleSet(mappings(), labels="y")) == "MapStyleSet(7 rows, 3 classes: x, text)"
