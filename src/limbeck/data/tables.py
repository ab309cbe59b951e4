"""One Parquet or CSV file as a transfer set.

Shape legend, this file:  N rows, F feature columns, L numbers of a list.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.data.arrow import class_indices, class_names, column_of, first_line
from limbeck.data.columns import Column
from limbeck.data.tensors import TensorSet
from limbeck.errors import DataError, MissingExtra

SUFFIXES = (".parquet", ".csv")


def table(
    file: str | Path,
    *,
    features: str | Sequence[str] | None = None,
    label: str | None = None,
    classes: Sequence[str] | None = None,
    id_column: str | None = None,
) -> TensorSet:
    """Read one Parquet or CSV file into memory.

    All numeric feature columns together become one column "features", (N, F) float32, in order. A column of lists of L
    numbers stays a column of its own, (N, L), and so does any other column, text above all, as a list.

    Args:
        file: Ends in .parquet or .csv; the first line of a CSV file names its columns.
        features: The feature columns, in the order in which to stack them; if None, all but label and ids, in the
            file's order.
        label: The label column; if None, the column "label" where there is one, else the rows have no labels. Text
            labels are classes in alphabetical order, whole numbers keep their values.
        classes: The class names in the order of the labels; needed where the file lacks some of them.
        id_column: The column of the rows' ids, distinct whole numbers; if None, ids are row numbers.

    Raises:
        DataError: The file is missing or unreadable, lacks a column, or has labels, ids or gaps that do not fit.
        MissingExtra: pyarrow is not installed.
    """
    path = Path(file)
    where = f"The table {path}"
    rows = _read(path)
    if not rows.num_rows:
        raise DataError(f"{where} must have at least one row.")
    if label is None and "label" in rows.column_names:
        label = "label"
    names = _feature_names(
        where, rows.column_names, features, [name for name in (label, id_column) if name is not None]
    )
    columns = stacked(where, {name: column_of(where, name, rows[name]) for name in names})
    ids = None if id_column is None else _ids(where, id_column, rows[id_column])
    labels = None
    if label is not None:
        classes = classes or _recorded_classes(rows.schema, label) or class_names([rows[label]])
        labels = class_indices(where, label, rows[label], classes)
    return TensorSet(columns, labels=labels, classes=classes, ids=ids)


def _read(path: Path) -> Any:
    if path.suffix not in SUFFIXES:
        raise DataError(f"A table must be a file that ends in {' or '.join(SUFFIXES)}. Got {path}.")
    if not path.is_file():
        raise DataError(f"There is no file {path}.")
    try:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra(f"reading {path.name} with pyarrow", "tables") from error
    try:
        if path.suffix == ".csv":
            return pyarrow.csv.read_csv(path)
        with pyarrow.parquet.ParquetFile(path) as parquet:
            return parquet.read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"The table {path} cannot be read: {first_line(error)}") from error


def _feature_names(
    where: str, present: list[str], features: str | Sequence[str] | None, others: list[str]
) -> list[str]:
    if features is None:
        names = [name for name in present if name not in others]
    else:
        names = [features] if isinstance(features, str) else list(features)
    for name in [*names, *others]:
        if present.count(name) != 1:
            how_many = "more than one" if name in present else "no"
            raise DataError(f"{where} has {how_many} column {name!r}; it has: {', '.join(present)}.")
    if not names:
        raise DataError(f"{where} has no feature columns; it has: {', '.join(present)}.")
    return names


def stacked(where: str, columns: Mapping[str, Column]) -> dict[str, Column]:
    """Stack the columns of single numbers, F × (N,), into the column "features", (N, F); keep the others."""
    numbers = {name: values for name, values in columns.items() if isinstance(values, Tensor) and values.dim() == 1}
    others = {name: values for name, values in columns.items() if name not in numbers}
    if not numbers:
        return others
    if "features" in others:
        raise DataError(f'{where} has numbers beside a column "features" of another kind; choose with `features`.')
    return {"features": torch.stack([values.to(torch.float32) for values in numbers.values()], dim=1), **others}


def _ids(where: str, name: str, values: Any) -> Tensor:
    ids = column_of(where, name, values)
    if not isinstance(ids, Tensor) or ids.dim() != 1 or ids.is_floating_point() or ids.dtype == torch.bool:
        raise DataError(f"{where}: id column {name!r} must hold whole numbers. Got {values.type}.")
    return ids


def _recorded_classes(schema: Any, label: str) -> tuple[str, ...] | None:
    """Return the class names that a Hugging Face dataset leaves in its Parquet files; None where there are none."""
    recorded = (schema.metadata or {}).get(b"huggingface")
    features = json.loads(recorded)["info"]["features"] if recorded else {}
    names = features.get(label, {}).get("names")
    return tuple(names) if names else None
