import numpy as np
import pytest
import torch
from PIL import Image

from limbeck.data.content import content_fingerprint
from limbeck.data.mapstyle import MapStyleSet
from limbeck.data.tensors import TensorSet
from limbeck.errors import DataError

FEATURES = torch.arange(1500, dtype=torch.float32).reshape(500, 3)
LABELS = torch.arange(500) % 7


def made(**changes):
    given = {"columns": {"x": FEATURES, "text": [str(i) for i in range(500)]}, "labels": LABELS} | changes
    return TensorSet(given.pop("columns"), **given)


def with_text(text):
    return {"x": FEATURES, "text": text}


def nudged():
    features = FEATURES.clone()
    features[499, 2] += 1e-3
    return {"x": features, "text": [str(i) for i in range(500)]}


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": nudged()},
        {"columns": with_text([str(i) for i in range(499)] + ["500"])},
        {"columns": {"x": FEATURES}},
        {"columns": {"y": FEATURES, "text": [str(i) for i in range(500)]}},
        {"columns": {"x": FEATURES.double(), "text": [str(i) for i in range(500)]}},
        {"columns": {"x": FEATURES.reshape(500, 1, 3), "text": [str(i) for i in range(500)]}},
        {"labels": None},
        {"labels": LABELS.flip(0)},
        {"labels": torch.nn.functional.one_hot(LABELS).float()},
        {"ids": range(1, 501)},
        {"classes": ["0", "1", "2", "3", "4", "5", "seven"]},
    ],
    ids=["value", "text", "column", "name", "dtype", "shape", "unlabelled", "labels", "head", "ids", "class-name"],
)
def test_any_change_of_content_changes_it(changes):
    assert made(**changes).fingerprint != made().fingerprint


def test_the_order_of_rows_changes_it():
    backwards = torch.arange(500).flip(0)
    assert made().subset(backwards).fingerprint != made().fingerprint
    assert made().subset(backwards).subset(backwards).fingerprint == made().fingerprint


def test_equal_content_has_an_equal_one_whatever_the_storage():
    columns = {"text": [str(i) for i in range(500)], "x": list(FEATURES.numpy())}
    assert made(columns=columns, labels=LABELS.to(torch.uint8)).fingerprint == made().fingerprint


def test_rows_read_lazily_have_that_of_rows_in_memory():
    items = [{"x": FEATURES[i], "text": str(i), "label": int(LABELS[i])} for i in range(500)]
    assert MapStyleSet(items, labels="label").fingerprint == made().fingerprint


def test_it_is_computed_once():
    rows = made()
    assert rows.fingerprint is rows.fingerprint
    assert len(bytes.fromhex(rows.fingerprint)) == 32


def test_texts_do_not_run_into_one_another():
    assert content_fingerprint(TensorSet({"t": ["ab", "c"]})) != content_fingerprint(TensorSet({"t": ["a", "bc"]}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([b"a", None], [b"a", b""]),
        ([1, 2], [1, True]),
        ([1.0, 2.0], [1, 2]),
        ([["a", "b"], []], [["a"], ["b"]]),
        ([{"a": 1}, {}], [{"b": 1}, {}]),
        ([torch.ones(2), torch.ones(3)], [torch.ones(3), torch.ones(2)]),
        ([Image.new("L", (2, 3)), None], [Image.new("L", (3, 2)), None]),
    ],
)
def test_lists_of_anything_with_content_can_be_told_apart(one, other):
    assert TensorSet({"c": one}).fingerprint == TensorSet({"c": list(one)}).fingerprint
    assert TensorSet({"c": one}).fingerprint != TensorSet({"c": other}).fingerprint


def test_numbers_of_one_kind_hash_alike_as_scalars_of_numpy_or_torch():
    assert TensorSet({"c": [np.float32(1.5)]}).fingerprint == TensorSet({"c": [torch.tensor(1.5)]}).fingerprint


def test_the_order_of_a_mappings_keys_does_not_count():
    assert TensorSet({"c": [{"a": 1, "b": 2}]}).fingerprint == TensorSet({"c": [{"b": 2, "a": 1}]}).fingerprint


def test_objects_without_defined_bytes_are_refused():
    with pytest.raises(DataError, match="Column 'c' holds objects of type object, which have no fingerprint"):
        _ = TensorSet({"c": [object()]}).fingerprint
