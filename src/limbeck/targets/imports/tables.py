"""Predictions in a Parquet or CSV file: a column for each class, or one column of lists.

Which columns are classes, and what their numbers are, is read from names or told, never guessed from the values:

    p_cat, p_dog                    probabilities of cat and dog (also prob_, proba_, probability_)
    logit_cat, logit_dog            logits (also logits_)
    cat, dog                        the classes given, or all columns but the id's; `kind` must be told
    probabilities: [0.2, 0.8]       one column of lists named probabilities, probs, proba or logits, and `classes`

Shape legend, this file:  N rows, C classes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from limbeck.errors import DataError, MissingExtra
from limbeck.targets.imports.arrays import Kind
from limbeck.targets.imports.source import ROW_NUMBERS, Source, agreed_kind

SUFFIXES = (".parquet", ".csv")

_PREFIXES: tuple[tuple[str, Kind], ...] = (
    ("probability_", "probabilities"),
    ("proba_", "probabilities"),
    ("prob_", "probabilities"),
    ("p_", "probabilities"),
    ("logits_", "logits"),
    ("logit_", "logits"),
)

_LISTS: dict[str, Kind] = {
    "probabilities": "probabilities",
    "probs": "probabilities",
    "proba": "probabilities",
    "logits": "logits",
}


class _Columns(NamedTuple):
    """The columns of the classes."""

    names: list[str]
    classes: list[str]
    kind: Kind | None


def read_table(
    path: Path, *, kind: Kind | None, id_column: str | None, classes: Sequence[str] | None, list_column: str | None
) -> Source:
    """Read predictions from one Parquet or CSV file.

    Args:
        path: Ends in .parquet or .csv.
        kind: What the numbers are; None where the names of the columns say it.
        id_column: The column of the rows' ids; None for the column `id`, or row numbers where there is none.
        classes: The names of the classes; needed for a column of lists.
        list_column: The column of lists; None where its name says so, or where there are columns for the classes.

    Raises: DataError for columns that are missing, empty in a row, or of which nothing says what they are;
    MissingExtra without pyarrow.
    """
    where = f"The table {path}"
    table = _read(path, where)
    present = list(table.column_names)
    id_column = "id" if id_column is None and "id" in present else id_column
    for name in (id_column, list_column):
        if name is not None and present.count(name) != 1:
            raise DataError(f"{where} has {_how_many(present, name)} column {name!r}; it has: {', '.join(present)}.")
    ids = np.arange(table.num_rows) if id_column is None else _column(where, table, id_column)
    notes = (ROW_NUMBERS,) if id_column is None else ()
    rest = [name for name in present if name != id_column]
    if list_column is None and len(named := [name for name in rest if name in _LISTS and _is_list(table, name)]) == 1:
        list_column = named[0]
    if list_column is not None:
        shown = _LISTS.get(list_column)
        kind = _require_kind(where, kind, list_column) if shown is None else agreed_kind(where, kind, shown)
        return Source(ids, _lists(where, table, list_column, ids), kind, classes, notes)
    found = _class_columns(where, rest, classes)
    if classes is None and found.kind is None:
        _require_fractions(where, table, found.names)
    kind = _require_kind(where, kind, *found.names) if found.kind is None else agreed_kind(where, kind, found.kind)
    values = np.stack([_column(where, table, name, ids) for name in found.names], axis=1)
    return Source(ids, values, kind, found.classes, notes)


def _read(path: Path, where: str) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra(f"reading {path.name} with pyarrow", "tables") from error
    try:
        if path.suffix == ".csv":
            table = pyarrow.csv.read_csv(path)
        else:
            with pyarrow.parquet.ParquetFile(path) as parquet:
                table = parquet.read()
    except (pa.ArrowException, OSError) as error:
        line = str(error).strip().partition("\n")[0].rstrip(" .:")
        raise DataError(f"{where} cannot be read: {line}.") from error
    if not table.num_rows:
        raise DataError(f"{where} must have at least one row.")
    return table


def _class_columns(where: str, present: list[str], classes: Sequence[str] | None) -> _Columns:
    """Find the columns of the classes by prefix or by name."""
    by_prefix = [
        _Columns(matching, [name[len(prefix) :] for name in matching], kind)
        for prefix, kind in _PREFIXES
        if (matching := [name for name in present if name.startswith(prefix) and len(name) > len(prefix)])
    ]
    wanted = None if classes is None else [str(name) for name in classes]
    if wanted is not None and set(wanted) <= set(present):
        return _Columns(_once(where, present, wanted), wanted, None)
    known = {*present, *(name for found in by_prefix for name in found.classes)}
    if wanted is not None:
        by_prefix = [_restricted(found, wanted) for found in by_prefix if set(wanted) <= set(found.classes)]
    if len(by_prefix) > 1:
        kinds = " and ".join(found.names[0] for found in by_prefix)
        raise DataError(f"{where} has several sets of columns for the classes ({kinds}, …); keep one in the file.")
    if by_prefix:
        return by_prefix[0]._replace(names=_once(where, present, by_prefix[0].names))
    if wanted is not None:
        first = min(wanted, key=lambda name: (name in known, name in present))
        raise DataError(f"{where} has no column {first!r}, nor p_{first}; it has: {', '.join(present)}.")
    if not present:
        raise DataError(f"{where} has no columns besides the ids.")
    return _Columns(_once(where, present, present), present, None)


def _restricted(found: _Columns, wanted: list[str]) -> _Columns:
    names = dict(zip(found.classes, found.names, strict=True))
    return _Columns([names[name] for name in wanted], wanted, found.kind)


def _once(where: str, present: list[str], names: list[str]) -> list[str]:
    for name in names:
        if present.count(name) != 1:
            raise DataError(f"{where} has more than one column {name!r}.")
    return names


def _require_kind(where: str, kind: Kind | None, *names: str) -> Kind:
    if kind is None:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise DataError(
            f"{where} does not say whether its columns ({shown}) are probabilities or logits; say "
            "kind='probabilities' or kind='logits', or begin their names with p_ or logit_."
        )
    return kind


def _require_fractions(where: str, table: Any, names: list[str]) -> None:
    """Refuse to take a column of text or whole numbers (a label, a count) for a class that nobody named."""
    import pyarrow as pa

    for name in names:
        if not pa.types.is_floating(table[name].type):
            raise DataError(
                f"{where}: nothing says which columns are classes, and column {name!r} holds {table[name].type}; name "
                "the classes with classes=…, or begin their columns with p_ or logit_."
            )


def _column(where: str, table: Any, name: str, ids: Any = None) -> np.ndarray[Any, Any]:
    """Return a column of numbers, (N,). Raises: DataError for text, lists and rows without a value."""
    import pyarrow as pa

    column = table[name]
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        hint = f"; name the classes with classes=…, or the ids with id_column={name!r}" if ids is not None else ""
        raise DataError(f"{where}: column {name!r} must hold numbers. Got {column.type}{hint}.")
    _require_filled(where, name, column, ids)
    values: np.ndarray[Any, Any] = column.to_numpy()
    return values


def _lists(where: str, table: Any, name: str, ids: Any) -> np.ndarray[Any, Any]:
    """Return a column of lists of C numbers, (N, C)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table[name].combine_chunks()
    if not _is_list(table, name):
        raise DataError(f"{where}: column {name!r} must hold lists of numbers. Got {column.type}.")
    _require_filled(where, name, column, ids)
    numbers = pc.list_flatten(column)
    if not (pa.types.is_integer(numbers.type) or pa.types.is_floating(numbers.type)):
        raise DataError(f"{where}: column {name!r} must hold lists of numbers. Got {column.type}.")
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    odd = (lengths != lengths[0]).nonzero()[0]
    if len(odd):
        raise DataError(
            f"{where}: column {name!r} must hold lists of one length. That of id {ids[0]} has {lengths[0]} numbers, "
            f"that of id {ids[odd[0]]} has {lengths[odd[0]]}."
        )
    width = int(lengths[0])
    if numbers.null_count:
        row = numbers.is_null().index(True).as_py() // width
        raise DataError(f"{where}: column {name!r} lacks a number in the list of id {ids[row]}.")
    values: np.ndarray[Any, Any] = numbers.to_numpy(zero_copy_only=False).reshape(len(lengths), width)
    return values


def _require_filled(where: str, name: str, column: Any, ids: Any) -> None:
    if column.null_count:
        row = column.is_null().index(True).as_py()
        which = f"row {row}" if ids is None else f"the row with id {ids[row]}"
        others = f" and {column.null_count - 1} more" if column.null_count > 1 else ""
        raise DataError(f"{where}: column {name!r} is empty in {which}{others}.")


def _is_list(table: Any, name: str) -> bool:
    import pyarrow as pa

    kind = table.schema.types[table.column_names.index(name)]
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _how_many(present: list[str], name: str) -> str:
    return "more than one" if name in present else "no"
