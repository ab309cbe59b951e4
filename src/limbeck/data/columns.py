"""What every transfer set does with the columns, labels and ids that it is given: check once, index by batch.

Shape legend, this file:  N rows, B rows asked for, C classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.types import Head

Column: TypeAlias = Tensor | list[Any]
"""Rows of one column: a tensor whose first axis is the rows, or a list."""

_WIDER = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64, np.dtype(np.uint64): np.int64}


class Labelling(NamedTuple):
    """Labels that were checked against their classes."""

    labels: Tensor | None
    """(N,) int64, or (N, C) float32 of zeros and ones for a sigmoid head; None where unlabelled."""
    classes: tuple[str, ...] | None
    """C names, in the order of the labels; None where nothing names or counts them."""
    head: Head
    """softmax for one class a row, sigmoid for any number of labels."""


def as_column(caller: str, name: str, values: Any) -> Column:
    """Return a tensor (arrays of numbers share their memory) or a list (everything else)."""
    if isinstance(values, Tensor):
        if values.dim() == 0:
            raise DataError(f"{caller}: column {name!r} must have rows along its first axis. Got a single number.")
        return values.detach()
    if isinstance(values, np.ndarray) and values.dtype.kind in "biufc":
        if values.ndim == 0:
            raise DataError(f"{caller}: column {name!r} must have rows along its first axis. Got a single number.")
        return tensor_of(values)
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__len__"):
        raise DataError(
            f"{caller}: column {name!r} must be a tensor, an array or a sequence of rows. Got {type(values).__name__}."
        )
    return list(values)


def tensor_of(array: np.ndarray[Any, Any]) -> Tensor:
    """Return the array as a tensor: its memory is shared where torch can (native, writable, no negative strides)."""
    wanted = np.dtype(_WIDER.get(array.dtype, array.dtype)).newbyteorder("=")
    if array.dtype != wanted:
        array = array.astype(wanted)
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    return torch.from_numpy(array)


def take(column: Column, positions: Tensor) -> Column:
    """Return the rows of a column at the positions, (B,) int64 in [0, N)."""
    if isinstance(column, Tensor):
        return column.index_select(0, positions if column.is_cpu else positions.to(column.device))
    return [column[position] for position in positions.tolist()]


def as_ids(caller: str, ids: Any, count: int) -> Tensor:
    """Return the ids as (N,) int64, the row numbers 0 to N - 1 if None; refuse repeats.

    Raises:
        DataError: There are not N whole numbers, or one comes twice.
    """
    if ids is None:
        return torch.arange(count)
    numbers = _as_tensor(ids)
    if numbers is None or _not_integers(numbers) or numbers.shape != (count,):
        raise DataError(f"{caller}: ids must be {count} whole numbers, one for each row. Got {_kind_of(ids, numbers)}.")
    numbers = numbers.to("cpu", torch.int64)
    ordered = numbers.sort().values
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        raise DataError(f"{caller}: ids must be distinct. Id {int(repeated[0])} comes more than once.")
    return numbers


def as_labelling(caller: str, labels: Any, classes: Sequence[str] | None, head: Head | None, count: int) -> Labelling:
    """Check labels, class names and head against one another; fill in what was left out.

    Without `head`: sigmoid for labels of shape (N, C), else softmax. Without `classes`: the names "0" to "C - 1", where
    C is the highest label plus one (softmax) or the width of the labels (sigmoid); None where there are no labels.

    Raises:
        DataError: Labels are not N whole numbers or N rows of zeros and ones, lie outside the classes, or contradict
            the head; class names repeat.
    """
    names = _as_classes(caller, classes)
    if labels is None:
        return Labelling(None, names, head or "softmax")
    numbers = _as_tensor(labels)
    if numbers is None or numbers.dim() not in {1, 2}:
        raise DataError(
            f"{caller}: labels must be ({count},) integer class indices or ({count}, C) floats of zeros and ones. "
            f"Got {_kind_of(labels, numbers)}."
        )
    if len(numbers) != count:
        raise DataError(f"{caller}: there must be one label for each of {count} rows. Got {len(numbers)} labels.")
    fitting: Head = "softmax" if numbers.dim() == 1 else "sigmoid"
    if head not in {None, fitting}:
        raise DataError(f"{caller}: labels of shape {tuple(numbers.shape)} need a {fitting} head. Got {head!r}.")
    check = _class_indices if fitting == "softmax" else _multi_hot
    checked, width = check(caller, numbers.detach().cpu(), names)
    return Labelling(checked, names or tuple(map(str, range(width))), fitting)


def _class_indices(caller: str, labels: Tensor, classes: tuple[str, ...] | None) -> tuple[Tensor, int]:
    if _not_integers(labels):
        raise DataError(f"{caller}: labels must be integer class indices. Got dtype {labels.dtype}.")
    labels = labels.to(torch.int64)
    low, high = (int(bound) for bound in labels.aminmax()) if len(labels) else (0, -1)
    width = high + 1 if classes is None else len(classes)
    if low < 0 or high >= width:
        wrong = low if low < 0 else high
        where = int((labels == wrong).nonzero()[0])
        bound = "not be negative" if classes is None else f"lie in [0, {width}), one for each class"
        raise DataError(f"{caller}: labels must {bound}. Got {wrong} in row {where}.")
    return labels, width


def _multi_hot(caller: str, labels: Tensor, classes: tuple[str, ...] | None) -> tuple[Tensor, int]:
    if not (labels.is_floating_point() or labels.dtype == torch.bool):
        raise DataError(f"{caller}: labels of shape (N, C) must be floats of zeros and ones. Got dtype {labels.dtype}.")
    labels = labels.to(torch.float32)
    if not bool(((labels == 0) | (labels == 1)).all()):
        raise DataError(f"{caller}: labels of shape (N, C) must be 0 or 1. Got another value, or NaN.")
    if classes is not None and labels.shape[1] != len(classes):
        raise DataError(f"{caller}: labels have {labels.shape[1]} columns for {len(classes)} classes.")
    return labels, labels.shape[1]


def _as_classes(caller: str, classes: Sequence[str] | None) -> tuple[str, ...] | None:
    if classes is None:
        return None
    names = () if isinstance(classes, str) else tuple(classes)
    if not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{caller}: classes must be the names of the classes, a list of text. Got {classes!r}.")
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{caller}: class names must be distinct. {repeated!r} comes {names.count(repeated)} times.")
    return names


def _as_tensor(values: Any) -> Tensor | None:
    """Return numbers as a tensor, or None where they are none (text, ragged lists)."""
    if isinstance(values, Tensor):
        return values
    try:
        array = np.asarray(values)
    except ValueError:  # rows of unequal length
        return None
    return tensor_of(array) if array.dtype.kind in "biuf" else None


def _not_integers(numbers: Tensor) -> bool:
    return numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool


def _kind_of(values: Any, numbers: Tensor | None) -> str:
    if numbers is not None:
        return f"{tuple(numbers.shape)} of {numbers.dtype}"
    return f"{type(values).__name__} of something else"
