import sys

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from torch.testing import assert_close

from limbeck.data.tables import table
from limbeck.errors import DataError, MissingExtra

COLUMNS = {
    "row": [7, 3, 9],
    "height": [1.5, 2.5, 3.5],
    "city": ["Rome", "Oslo", "Bonn"],
    "count": [1, 2, 3],
    "label": [0, 2, 1],
    "open": [True, False, True],
}


def written(folder, columns=COLUMNS, suffix=".parquet", **changes):
    rows, path = pa.table(columns | changes), folder / f"rows{suffix}"
    if suffix == ".csv":
        pyarrow.csv.write_csv(rows, path)
    else:
        pyarrow.parquet.write_table(rows, path)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_numbers_are_stacked_in_the_files_order_and_text_stays_text(tmp_path, suffix):
    rows = table(written(tmp_path, suffix=suffix), id_column="row")
    assert rows.columns["features"].dtype == torch.float32
    assert_close(rows.columns["features"], torch.tensor([[1.5, 1, 1], [2.5, 2, 0], [3.5, 3, 1]]))
    assert rows.columns["city"] == ["Rome", "Oslo", "Bonn"]
    assert list(rows.columns) == ["features", "city"]
    assert rows.ids.tolist() == [7, 3, 9]
    assert (rows.labels.tolist(), rows.classes) == ([0, 2, 1], ("0", "1", "2"))


def test_parquet_and_csv_of_the_same_rows_are_the_same(tmp_path):
    one, other = (table(written(tmp_path, suffix=suffix)) for suffix in (".parquet", ".csv"))
    assert one.fingerprint == other.fingerprint


def test_the_path_is_no_part_of_the_fingerprint(tmp_path):
    path = written(tmp_path)
    moved = path.rename(tmp_path / "elsewhere.parquet")
    assert table(moved).fingerprint == table(written(tmp_path)).fingerprint


def test_chosen_features_are_stacked_in_the_order_given(tmp_path):
    rows = table(written(tmp_path), features=["count", "height"])
    assert_close(rows.columns["features"], torch.tensor([[1, 1.5], [2, 2.5], [3, 3.5]]))
    assert list(table(written(tmp_path), features="city").columns) == ["city"]


def test_text_labels_are_classes_in_order_of_name(tmp_path):
    rows = table(written(tmp_path), features="height", label="city")
    assert (rows.classes, rows.labels.tolist()) == (("Bonn", "Oslo", "Rome"), [2, 1, 0])


def test_dictionary_encoded_text_is_text(tmp_path):
    city = pa.array(["Rome", "Oslo", "Rome"]).dictionary_encode()
    rows = table(written(tmp_path, city=city), label="city", features="height")
    assert (rows.classes, rows.labels.tolist()) == (("Oslo", "Rome"), [1, 0, 1])
    assert table(written(tmp_path, city=city)).columns["city"] == ["Rome", "Oslo", "Rome"]


def test_given_classes_say_the_order_of_text_labels(tmp_path):
    names = ["Oslo", "Rome", "Bonn", "Lima"]
    rows = table(written(tmp_path), features="height", label="city", classes=names)
    assert (rows.classes, rows.labels.tolist()) == (tuple(names), [1, 0, 2])


def test_true_and_false_are_two_classes(tmp_path):
    rows = table(written(tmp_path), features="height", label="open")
    assert (rows.classes, rows.labels.tolist()) == (("False", "True"), [1, 0, 1])


def test_lists_of_labels_are_multi_hot(tmp_path):
    rows = table(written(tmp_path, label=[[0, 2], [], [1]]), features="height", classes=["x", "y", "z"])
    assert rows.head == "sigmoid"
    assert rows.labels.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_a_table_without_a_column_label_is_unlabelled(tmp_path):
    assert table(written(tmp_path, {"x": [1.0, 2.0]})).labels is None


def test_labels_that_are_all_hidden_are_none(tmp_path):
    assert table(written(tmp_path, label=[-1, -1, -1])).labels is None
    assert table(written(tmp_path, label=pa.nulls(3, pa.int64()))).labels is None


@pytest.mark.parametrize("kind", [pa.list_(pa.float32(), 2), pa.list_(pa.float32())], ids=["fixed", "equal"])
def test_lists_of_numbers_become_a_matrix_of_their_own(tmp_path, kind):
    values = pa.array([[1.0, 2.0], [3.0, 4.0]], kind)
    rows = table(written(tmp_path, {"pixels": values, "label": [0, 1]}))
    assert_close(rows.columns["pixels"], torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert list(rows.columns) == ["pixels"]


def test_nested_and_ragged_lists_keep_their_shape(tmp_path):
    columns = {"image": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]], "tokens": [[1, 2, 3], [4]], "words": [["a"], ["b", "c"]]}
    rows = table(written(tmp_path, columns))
    assert rows.columns["image"].tolist() == columns["image"]
    assert [tokens.tolist() for tokens in rows.columns["tokens"]] == columns["tokens"]
    assert rows.columns["words"] == columns["words"]


def test_columns_in_several_chunks_are_joined(tmp_path):
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.table({"x": list(range(10)), "t": list("abcdefghij")}), path, row_group_size=3)
    rows = table(path)
    assert rows.columns["features"][:, 0].tolist() == list(range(10))
    assert rows.columns["t"] == list("abcdefghij")


def test_class_names_that_a_file_records_are_used(data_folder):
    rows = table(data_folder / "sst2" / "data" / "validation-00000-of-00001.parquet", features="sentence")
    assert rows.classes == ("negative", "positive")
    assert len(rows) == 872
    assert rows.labels.bincount().tolist() == [428, 444]


@pytest.mark.parametrize(
    ("changes", "arguments", "sentence"),
    [
        ({}, {"label": "y"}, "has no column 'y'; it has: row, height, city, count, label, open."),
        ({}, {"features": ["size"]}, "has no column 'size'; it has: row, "),
        ({}, {"id_column": "id"}, "has no column 'id'; it has: row, "),
        ({}, {"features": []}, "has no feature columns; it has: row, "),
        ({}, {"id_column": "city"}, "id column 'city' must hold whole numbers. Got string."),
        ({"row": [7, 7, 9]}, {"id_column": "row"}, "ids must be distinct. Id 7 comes more than once."),
        ({"height": [1.5, None, None]}, {}, "column 'height' is empty in 2 rows, row 1 for one."),
        ({"city": ["Rome", None, "Bonn"]}, {}, "column 'city' is empty in row 1."),
        ({"label": [0, None, 1]}, {}, "column 'label' is empty in row 1."),
        ({"label": [0, -1, 1]}, {}, r"must lie in \[0, 2\), one for each class. Got -1 in row 1."),
        (
            {"label": [0.0, 0.5, 1.0]},
            {},
            "label column 'label' must hold whole numbers or names of classes. Got double.",
        ),
        ({"label": [[0], [1], []]}, {}, "column 'label' holds lists of labels without names; pass `classes`."),
        ({"label": [[0], [2], []]}, {"classes": ["a", "b"]}, r"in column 'label' must lie in \[0, 2\), one for each"),
        ({}, {"label": "city", "classes": ["Rome", "Bonn"]}, "'Oslo', which is none of the 2 classes .'Rome', 'Bonn'."),
        ({"features": ["a", "b", "c"]}, {}, 'has numbers beside a column "features" of another kind; choose'),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(tmp_path, changes, arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        table(written(tmp_path, **changes), **arguments)


def test_a_column_named_twice_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("a,a\n1,2\n")
    with pytest.raises(DataError, match=r"has more than one column 'a'; it has: a, a."):
        table(tmp_path / "rows.csv")


def test_a_table_without_rows_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n")
    with pytest.raises(DataError, match="at least one row"):
        table(tmp_path / "rows.csv")


def test_missing_foreign_and_broken_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"There is no file .*rows.csv."):
        table(tmp_path / "rows.csv")
    with pytest.raises(DataError, match=r"must be a file that ends in .parquet or .csv. Got .*rows.xlsx."):
        table(tmp_path / "rows.xlsx")
    (tmp_path / "rows.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(DataError, match=r"The table .*rows.parquet cannot be read: Parquet magic bytes not found"):
        table(tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("a,b\n1\n")
    with pytest.raises(DataError, match=r"The table .*rows.csv cannot be read: CSV parse error"):
        table(tmp_path / "rows.csv")


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    path = written(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"Reading rows.parquet with pyarrow .* pip install 'limbeck\[tables\]'."):
        table(path)
