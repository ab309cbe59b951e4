"""The `prepare` of models that ask for nothing special."""

from typing import Any

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.types import Columns, ModelInput


def plain_features(columns: Columns) -> ModelInput:
    """Pass columns to the model as they are: one as its tensor, several as a mapping of tensors (keyword arguments).

    uint8 is taken for pixels and becomes floats in [0, 1]; floats of any width become torch's default dtype (float32);
    integers and booleans are left alone.

    Raises:
        DataError: A column is no tensor (text, images of several sizes).

    >>> plain_features({"image": torch.tensor([[0, 255]], dtype=torch.uint8)})
    tensor([[0., 1.]])
    """
    tensors = {name: _model_ready(name, values) for name, values in columns.items()}
    if len(tensors) == 1:
        return next(iter(tensors.values()))
    return tensors


def _model_ready(name: str, values: Any) -> Tensor:
    if not isinstance(values, Tensor):
        kind = f"a list of {type(values[0]).__name__}" if len(values) else "an empty list"
        raise DataError(
            f"Column {name!r} is {kind}, not a tensor; the model needs its own `prepare`, which turns it into tensors."
        )
    if values.dtype == torch.uint8:
        return values.to(torch.get_default_dtype()).div_(255)
    return values.to(torch.get_default_dtype()) if values.is_floating_point() else values
