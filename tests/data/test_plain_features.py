import pytest
import torch
from torch.testing import assert_close

from limbeck.data.prepare import plain_features
from limbeck.errors import DataError


def test_one_column_is_passed_as_its_tensor():
    features = torch.randn(3, 2)
    assert plain_features({"features": features}) is features


def test_several_columns_are_passed_by_name():
    inputs = plain_features({"tokens": torch.tensor([[1, 2]]), "mask": torch.tensor([[True, False]])})
    assert list(inputs) == ["tokens", "mask"]
    assert (inputs["tokens"].dtype, inputs["mask"].dtype) == (torch.int64, torch.bool)


def test_pixels_become_floats_up_to_one():
    assert_close(plain_features({"image": torch.tensor([0, 51, 255], dtype=torch.uint8)}), torch.tensor([0, 0.2, 1]))


def test_wide_and_narrow_floats_become_the_default_dtype():
    assert plain_features({"x": torch.ones(2, dtype=torch.float64)}).dtype == torch.float32
    assert plain_features({"x": torch.ones(2, dtype=torch.float16)}).dtype == torch.float32


@pytest.mark.parametrize(
    ("values", "kind"),
    [(["a"], "a list of str"), ([torch.ones(2), torch.ones(3)], "a list of Tensor"), ([], "an empty list")],
)
def test_what_is_no_tensor_needs_a_prepare(values, kind):
    with pytest.raises(DataError, match=f"Column 'c' is {kind}, not a tensor; the model needs its own `prepare`"):
        plain_features({"c": values})
