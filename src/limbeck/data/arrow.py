"""Columns of Arrow tables (Parquet, CSV, Hugging Face datasets) as tensors and lists.

Shape legend, this file:  N rows, L numbers of a list, C classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.columns import Column, tensor_of
from limbeck.errors import DataError

_TRUTH = ("False", "True")


def column_of(where: str, name: str, values: Any) -> Column:
    """Return a column: numbers -> (N,), lists of L numbers -> (N, L), lists of other lengths and the rest -> a list.

    Args:
        where: What the column belongs to, the beginning of an error's sentence.
        name: The column's name.
        values: A `pyarrow.ChunkedArray` of N rows.

    Raises:
        DataError: A row is empty (null), in the column or inside one of its lists.
    """
    import pyarrow as pa

    array = _one_array(values)
    if array.null_count:
        first = array.is_null().index(True).as_py()
        where_empty = f"{array.null_count} rows, row {first} for one" if array.null_count > 1 else f"row {first}"
        raise DataError(f"{where}: column {name!r} is empty in {where_empty}.")
    if pa.types.is_boolean(array.type) or pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        return tensor_of(array.to_numpy(zero_copy_only=False))
    if is_list(array.type):
        return _rows_of_lists(where, name, array)
    rows: list[Any] = array.to_pylist()
    return rows


def is_list(kind: Any) -> bool:
    """Tell whether an Arrow type is a list of something, of a fixed size or not."""
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_text(kind: Any) -> bool:
    """Tell whether an Arrow type is text, dictionary-encoded or not."""
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def class_names(labels: Sequence[Any]) -> tuple[str, ...] | None:
    """Return the classes of label columns (one a split): text in order of name, False and True, or "0" to the highest.

    None where the labels are none of these: `class_indices` says so with the column's name.
    """
    import pyarrow as pa

    kinds = [values.type for values in labels]
    if all(is_text(kind) for kind in kinds):
        return tuple(
            sorted({str(name) for values in labels for name in values.unique().to_pylist() if name is not None})
        )
    if all(pa.types.is_boolean(kind) for kind in kinds):
        return _TRUTH
    if all(pa.types.is_integer(kind) for kind in kinds):
        highest = max(
            (int(row) for values in labels for row in values.unique().to_pylist() if row is not None), default=-1
        )
        return tuple(map(str, range(highest + 1))) or None
    return None


def class_indices(where: str, name: str, values: Any, classes: Sequence[str] | None) -> Tensor | None:
    """Return labels as (N,) int64, or (N, C) multi-hot where rows are lists of classes; None where all are hidden.

    Labels are hidden where every row is -1 or empty: so the Hugging Face hub marks a test split without labels.

    Raises:
        DataError: Some labels are empty, text outside the classes, or no labels (fractions, structures).
    """
    import pyarrow as pa

    array = _one_array(values)
    if array.null_count == len(array):
        return None
    if is_text(array.type):
        return _indices_of_names(where, name, column_of(where, name, array), classes or ())
    if is_list(array.type) and pa.types.is_integer(array.type.value_type):
        return _multi_hot(where, name, array, classes)
    if not (pa.types.is_integer(array.type) or pa.types.is_boolean(array.type)):
        raise DataError(
            f"{where}: label column {name!r} must hold whole numbers or names of classes. Got {array.type}."
        )
    labels = column_of(where, name, array)
    assert isinstance(labels, Tensor)
    labels = labels.to(torch.int64)
    if bool((labels == -1).all()):
        return None
    outside = ((labels < 0) | (labels >= len(classes or ()))).nonzero().flatten()
    if classes is not None and len(outside):
        row = int(outside[0])
        raise DataError(
            f"{where}: label column {name!r} must lie in [0, {len(classes)}), one for each class. "
            f"Got {int(labels[row])} in row {row}."
        )
    return labels


def first_line(error: Exception) -> str:
    """Return the first line of another library's message, ended like a sentence."""
    line = str(error).strip().partition("\n")[0].rstrip(" .:")
    return f"{line or type(error).__name__}."


def _indices_of_names(where: str, name: str, rows: Any, classes: Sequence[str]) -> Tensor:
    index = {label: number for number, label in enumerate(classes)}
    try:
        return torch.tensor([index[row] for row in rows])
    except KeyError as error:
        known = ", ".join(map(repr, list(classes)[:5])) + (", …" if len(classes) > 5 else "")
        raise DataError(
            f"{where}: column {name!r} holds the label {error}, which is none of the {len(classes)} classes ({known})."
        ) from error


def _multi_hot(where: str, name: str, array: Any, classes: Sequence[str] | None) -> Tensor:
    import pyarrow.compute as pc

    if classes is None:
        raise DataError(f"{where}: column {name!r} holds lists of labels without names; pass `classes`.")
    labels = torch.zeros(len(array), len(classes))
    rows = torch.from_numpy(np.array(pc.list_parent_indices(array), dtype=np.int64))
    columns = torch.from_numpy(np.array(pc.list_flatten(array), dtype=np.int64))
    if len(columns) and not 0 <= int(columns.min()) <= int(columns.max()) < len(classes):
        raise DataError(f"{where}: labels in column {name!r} must lie in [0, {len(classes)}), one for each class.")
    labels[rows, columns] = 1.0
    return labels


def _one_array(values: Any) -> Any:
    """Return a column as one array of its plain storage: chunks joined, dictionaries decoded, extensions unwrapped."""
    import pyarrow as pa

    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    chunks = [chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk for chunk in chunks]
    chunks = [chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk for chunk in chunks]
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks or [pa.array([], values.type)])


def _rows_of_lists(where: str, name: str, array: Any) -> Column:
    """Return equal lists of numbers, however deep, as a tensor; unequal ones as a list of tensors; others as lists."""
    import pyarrow.compute as pc

    inner = column_of(where, name, pc.list_flatten(array))
    if not isinstance(inner, Tensor):
        rows: list[Any] = array.to_pylist()
        return rows
    lengths = np.array(pc.list_value_length(array))
    if len(lengths) and (lengths == lengths[0]).all():
        return inner.reshape(len(lengths), int(lengths[0]), *inner.shape[1:])
    return list(torch.split(inner, lengths.tolist()))
