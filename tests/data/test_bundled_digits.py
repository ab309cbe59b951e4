import sys

import pytest
import torch
from sklearn.datasets import load_digits
from torch.testing import assert_close

from limbeck.data.digits import digits
from limbeck.errors import ArgumentError, MissingExtra


def test_the_three_splits_share_out_all_rows():
    splits = digits()
    parts = (splits.train, splits.validation, splits.test)
    assert [len(part) for part in parts] == [1197, 250, 350]
    assert torch.cat([part.ids for part in parts]).sort().values.tolist() == list(range(1797))


def test_rows_are_those_of_scikit_learn_by_id():
    test, bunch = digits().test, load_digits()
    rows = test.rows(torch.arange(len(test)))
    assert_close(rows.columns["features"] * 16, torch.from_numpy(bunch.data[test.ids.numpy()]).float())
    assert rows.labels.tolist() == bunch.target[test.ids.numpy()].tolist()


def test_features_are_floats_from_zero_to_one():
    features = digits().train.columns["features"]
    assert (features.dtype, features.shape[1]) == (torch.float32, 64)
    assert (float(features.min()), float(features.max())) == (0, 1)


def test_every_split_has_the_ten_classes_in_proportion():
    splits = digits()
    for part in (splits.train, splits.validation, splits.test):
        sizes = part.labels.bincount()
        assert part.classes == tuple("0123456789")
        assert int(sizes.max() - sizes.min()) <= 0.05 * len(part)


def test_fewer_training_rows_leave_validation_and_test_alone():
    small, whole = digits(train_rows=256), digits()
    assert len(small.train) == 256
    assert set(small.train.ids.tolist()) < set(whole.train.ids.tolist())
    assert small.train.labels.bincount().min() >= 25
    assert small.test.fingerprint == whole.test.fingerprint
    assert small.validation.fingerprint == whole.validation.fingerprint


def test_the_split_is_a_function_of_the_seed():
    assert digits().test.fingerprint == digits().test.fingerprint
    assert digits().test.fingerprint != digits(seed=1).test.fingerprint


@pytest.mark.parametrize("rows", [0, 1198])
def test_more_training_rows_than_there_are_are_refused(rows):
    with pytest.raises(ArgumentError, match=rf"train_rows must lie in \[1, 1197\]. Got {rows}."):
        digits(train_rows=rows)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        MissingExtra, match=r"needs an extra that is not installed. Run: pip install 'limbeck\[demo\]'."
    ):
        digits()
