import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch

from limbeck.errors import ArgumentError, DataError, MismatchError, MissingExtra
from limbeck.targets.imports.open import read_predictions
from tolerances import assert_close

IDS = np.array([7, 3, 11])
PROBS = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.25, 0.25, 0.5]])
NAMES = ("oak", "ash", "elm")
BY_PREFIX = {"id": IDS, **{f"p_{name}": PROBS[:, column] for column, name in enumerate(NAMES)}}
BY_NAME = {"id": IDS, **{name: PROBS[:, column] for column, name in enumerate(NAMES)}}
LISTS = {"id": IDS, "probabilities": PROBS.tolist()}


def archive(folder, **changes):
    arrays = {"ids": IDS, "probabilities": PROBS, "classes": np.array(NAMES)} | changes
    path = folder / "predictions.npz"
    np.savez(path, **{name: values for name, values in arrays.items() if values is not None})
    return path


def written(folder, columns, suffix=".parquet"):
    path = folder / f"predictions{suffix}"
    if suffix == ".csv":
        pyarrow.csv.write_csv(pa.table(columns), path)
    else:
        pyarrow.parquet.write_table(pa.table(columns), path)
    return path


def assert_these(found, classes=NAMES):
    assert found.ids.tolist() == [3, 7, 11]
    assert found.classes == classes
    assert_close(found.logits.exp(), PROBS[[1, 0, 2]])


# archives


def test_an_archive_holds_ids_probabilities_and_classes(tmp_path):
    found = read_predictions(archive(tmp_path), marks=["out-of-fold"])
    assert_these(found)
    assert found.marks == ("out-of-fold",)


def test_an_archive_of_logits_keeps_them(tmp_path):
    logits = np.log(PROBS).astype(np.float32) + 5
    found = read_predictions(archive(tmp_path, probabilities=None, logits=logits))
    assert torch.equal(found.logits, torch.from_numpy(logits)[[1, 0, 2]])


def test_of_both_arrays_the_one_that_is_asked_for_is_read(tmp_path):
    path = archive(tmp_path, logits=np.log(PROBS) + 5)
    assert_these(read_predictions(path, kind="probabilities"))


def test_an_archive_without_ids_has_row_numbers_and_says_so(tmp_path):
    found = read_predictions(archive(tmp_path, ids=None))
    assert found.ids.tolist() == [0, 1, 2]
    assert found.notes == ("The file has no ids: its rows are taken to be rows 0, 1, 2, … of the data, in order.",)


def test_names_that_an_archive_lacks_can_be_given(tmp_path):
    assert_these(read_predictions(archive(tmp_path, classes=None), classes=NAMES))


def test_any_array_can_hold_the_ids(tmp_path):
    found = read_predictions(archive(tmp_path, row=IDS, ids=IDS * 2), id_column="row")
    assert_these(found)


@pytest.mark.parametrize(
    ("changes", "arguments", "sentence"),
    [
        ({"probabilities": None, "scores": PROBS}, {}, "it holds neither, among ids, classes, scores"),
        ({"logits": PROBS}, {}, "must hold an array `probabilities` or an array `logits`; it holds both"),
        ({}, {"kind": "logits"}, "holds probabilities by name, and kind='logits' was asked for"),
        ({}, {"id_column": "row"}, "has no array 'row'; it holds: ids, probabilities, classes"),
        ({}, {"classes": ["a", "b", "c"]}, "names its columns itself: oak, ash, elm; leave out classes"),
        ({"classes": np.array(NAMES, dtype=object)}, {}, "holds Python objects, which are code and are not loaded"),
        ({"ids": np.array([1, 1, 2])}, {}, "predictions.npz: ids must be distinct. Id 1 comes 2 times"),
        ({"probabilities": PROBS[:, 0]}, {}, r"probabilities must be \(N, C\).* Got shape \(3,\)"),
    ],
)
def test_archives_of_something_else_are_refused(tmp_path, changes, arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        read_predictions(archive(tmp_path, **changes), **arguments)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_files_that_are_no_archives_are_refused(tmp_path, content):
    path = tmp_path / "predictions.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"The archive .*predictions.npz cannot be read: it is no NumPy archive"):
        read_predictions(path)


def test_an_archive_with_any_flipped_byte_is_refused_or_read_as_it_was(tmp_path):
    path = archive(tmp_path)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            assert_these(read_predictions(path))
        except DataError:
            refused += 1
    assert refused > 50


# tables


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize(
    ("columns", "arguments"),
    [
        (BY_PREFIX, {}),
        ({"text": ["a", "b", "c"], "label": [0, 1, 2], **BY_PREFIX}, {}),
        (BY_NAME, {"kind": "probabilities"}),
        ({"label": [0, 1, 2], "age": [1.5, 2.5, 3.5], **BY_NAME}, {"kind": "probabilities", "classes": NAMES}),
        ({"p_fir": [9.0, 9.0, 9.0], **BY_PREFIX}, {"classes": NAMES}),
    ],
)
def test_a_column_for_each_class(tmp_path, columns, arguments, suffix):
    assert_these(read_predictions(written(tmp_path, columns, suffix), **arguments))


@pytest.mark.parametrize("prefix", ["p_", "prob_", "proba_", "probability_"])
def test_prefixes_of_probabilities(tmp_path, prefix):
    columns = {"id": IDS} | {f"{prefix}{name}": PROBS[:, column] for column, name in enumerate(NAMES)}
    assert_these(read_predictions(written(tmp_path, columns)))


@pytest.mark.parametrize("prefix", ["logit_", "logits_"])
def test_prefixes_of_logits(tmp_path, prefix):
    columns = {"id": IDS} | {f"{prefix}{name}": PROBS[:, column] * 10 for column, name in enumerate(NAMES)}
    found = read_predictions(written(tmp_path, columns))
    assert_close(found.logits, PROBS[[1, 0, 2]] * 10)
    assert found.classes == NAMES


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.list_(pa.float32(), 3), pa.large_list(pa.float64())])
def test_one_column_of_lists(tmp_path, kind):
    columns = {"id": IDS, "probabilities": pa.array(PROBS.tolist(), kind), "notes": ["a", "b", "c"]}
    assert_these(read_predictions(written(tmp_path, columns), classes=NAMES))


def test_a_column_of_lists_by_any_name(tmp_path):
    path = written(tmp_path, {"row": IDS, "forest": PROBS.tolist(), "logits": PROBS.tolist()})
    found = read_predictions(path, id_column="row", list_column="forest", kind="probabilities", classes=NAMES)
    assert_these(found)


def test_columns_in_another_order_are_matched_by_name(tmp_path):
    found = read_predictions(written(tmp_path, BY_PREFIX), expected_classes=["elm", "oak", "ash"])
    assert found.classes == ("elm", "oak", "ash")
    assert_close(found.logits.exp(), PROBS[[1, 0, 2]][:, [2, 0, 1]])


def test_a_table_without_ids_has_row_numbers_and_says_so(tmp_path):
    columns = {name: values for name, values in BY_PREFIX.items() if name != "id"}
    found = read_predictions(written(tmp_path, columns))
    assert found.ids.tolist() == [0, 1, 2]
    assert "rows 0, 1, 2, …" in found.notes[0]


@pytest.mark.parametrize(
    ("columns", "arguments", "sentence"),
    [
        (BY_NAME, {}, r"does not say whether its columns \(oak, ash, elm\) are probabilities or logits; say kind="),
        (BY_PREFIX, {"kind": "logits"}, "holds probabilities by name, and kind='logits' was asked for"),
        ({"forest": PROBS.tolist()}, {"list_column": "forest"}, r"columns \(forest\) are probabilities or logits"),
        (BY_PREFIX, {"id_column": "row"}, "has no column 'row'; it has: id, p_oak, p_ash, p_elm"),
        (LISTS, {"list_column": "probs"}, "has no column 'probs'; it has: id, probabilities"),
        (BY_PREFIX, {"classes": ["oak", "fir"]}, "has no column 'fir', nor p_fir; it has: p_oak, p_ash, p_elm"),
        (BY_PREFIX | {"logit_oak": IDS}, {}, r"several sets of columns for the classes \(p_oak and logit_oak, …\)"),
        ({"label": [0, 1, 2]} | BY_NAME, {"kind": "logits"}, "column 'label' holds int64; name the classes with"),
        ({"text": ["a", "b", "c"]}, {"classes": ["text"], "kind": "logits"}, "'text' must hold numbers. Got string"),
        ({"id": ["a", "b", "c"], "p_a": [1.0, 1.0, 1.0]}, {}, "column 'id' must hold numbers. Got string"),
        ({"id": IDS}, {}, "has no columns besides the ids"),
        (BY_PREFIX | {"p_oak": [0.5, None, 0.25]}, {}, "column 'p_oak' is empty in the row with id 3"),
        (BY_PREFIX | {"id": [7, None, None]}, {}, "column 'id' is empty in row 1 and 1 more"),
        (LISTS | {"probabilities": [[1.0], [0.5, 0.5], [1.0]]}, {}, "That of id 7 has 1 numbers, that of id 3 has 2"),
        (LISTS | {"probabilities": [[1.0], [None], [1.0]]}, {}, "lacks a number in the list of id 3"),
        (LISTS | {"probabilities": [[1.0], None, [1.0]]}, {}, "'probabilities' is empty in the row with id 3"),
        (LISTS | {"probs": [["a"]] * 3}, {"list_column": "probs"}, "'probs' must hold lists of numbers. Got list"),
        (BY_PREFIX, {"list_column": "p_oak", "kind": "logits"}, "'p_oak' must hold lists of numbers. Got double"),
        (BY_PREFIX | {"p_oak": [0.5, 0.5, 0.25]}, {}, r"predictions.parquet: .* Those of id 3 sum to 1.375\."),
        (BY_PREFIX | {"id": [7, 3, 3]}, {}, r"predictions.parquet: ids must be distinct. Id 3 comes 2 times"),
    ],
)
def test_tables_of_something_else_are_refused(tmp_path, columns, arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        read_predictions(written(tmp_path, columns), **arguments)


def test_a_column_that_comes_twice_is_refused(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("id,p_oak,p_oak\n1,0.5,0.5\n")
    with pytest.raises(DataError, match="has more than one column 'p_oak'"):
        read_predictions(path)


def test_an_id_column_that_comes_twice_is_refused(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("id,id,p_oak\n1,1,0.5\n")
    with pytest.raises(DataError, match="has more than one column 'id'"):
        read_predictions(path)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_damaged_tables_are_refused(tmp_path, suffix):
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(b"a,b\n1\n1,2,3\n")
    with pytest.raises(DataError, match=r"The table .*damaged.* cannot be read: "):
        read_predictions(path)


def test_a_table_without_rows_is_refused(tmp_path):
    with pytest.raises(DataError, match="must have at least one row"):
        read_predictions(written(tmp_path, {"p_oak": pa.array([], pa.float64())}))


def test_a_table_without_class_names_cannot_be_matched(tmp_path):
    with pytest.raises(MismatchError, match="has no class names, so that its columns cannot be matched"):
        read_predictions(written(tmp_path, LISTS), expected_classes=NAMES)


def test_a_table_without_class_names_is_used_by_position_if_that_is_said(tmp_path):
    assert_these(read_predictions(written(tmp_path, LISTS), expected_classes=NAMES, by_position=True))


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    path = written(tmp_path, BY_PREFIX)
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=r"pip install 'limbeck\[tables\]'"):
        read_predictions(path)


# any file


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"There is no file .*absent.npz"):
        read_predictions(tmp_path / "absent.npz")


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"must end in .npz, .parquet, .csv, .jsonl. Got .*scores.pkl"):
        read_predictions(tmp_path / "scores.pkl")


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("a.npz", {"list_column": "p"}, "list_column is for files that end in .parquet or .csv. Got a.npz"),
        ("a.csv", {"verbaliser": {"a": "a"}}, "verbaliser is for files that end in .jsonl. Got a.csv"),
    ],
)
def test_arguments_for_other_files_are_refused(name, arguments, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        read_predictions(name, **arguments)


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"kind must be auto, probabilities or logits. Got 'scores'"):
        read_predictions(archive(tmp_path), kind="scores")
