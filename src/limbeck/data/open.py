"""Whatever a path or an id names, as rows to learn from: what the command line's `--data` calls."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from limbeck.data.hub import hub
from limbeck.data.idx import holds_idx, idx
from limbeck.data.splits import Splits
from limbeck.data.tables import SUFFIXES, stacked, table
from limbeck.data.tensors import TensorSet
from limbeck.errors import DataError
from limbeck.types import TransferSet

_HUB_ID = re.compile(r"(?P<owner>[\w-][\w.-]*)/[\w-][\w.-]*")
_ENDING = re.compile(r"\.[A-Za-z]+")  # a file's, not the ".0" of a version


def load(
    path_or_id: str | Path,
    *,
    features: str | Sequence[str] | None = None,
    label: str | None = None,
    classes: Sequence[str] | None = None,
) -> Splits | TensorSet:
    """Read a file, a folder or a dataset of the Hugging Face hub.

    A .parquet or .csv file is one `table`; a folder of MNIST's raw files is read by `idx`; any other folder, and an id
    of the hub, by `hub`. Of a folder whose feature columns are all single numbers, these are one column "features",
    (N, F) float32, as they are of a table.

    Args:
        path_or_id: A file, a folder, or an id of the hub such as "owner/name".
        features: The feature columns; all but the label if None.
        label: The label column; if None, "label", without which a table is unlabelled and a folder refused.
        classes: The class names in the order of the labels, for rows that may lack some of them; if None, those found.

    Raises:
        DataError: There is nothing of that name, or what there is cannot be read.
        MissingExtra: pyarrow (files) or datasets (folders) is not installed.
    """
    path = Path(path_or_id).expanduser()
    if path.is_file() or path.suffix in SUFFIXES:
        return table(path, features=features, label=label, classes=classes)
    if not path.is_dir():
        _refuse_unless_id(path_or_id)
        return _stacked(hub(path_or_id, features=features, label=label or "label", classes=classes))
    if holds_idx(path):
        if features is not None or label is not None:
            raise DataError(f"The folder {path} holds MNIST's raw files, whose columns cannot be chosen.")
        return idx(path)
    return _stacked(hub(path, features=features, label=label or "label", classes=classes))


def _refuse_unless_id(name: str | Path) -> None:
    """Refuse a path to nothing at once: the hub would be asked for it over the network, again and again."""
    if _ENDING.fullmatch(Path(name).suffix):
        raise DataError(f"There is no file {name}.")
    found = None if isinstance(name, Path) else _HUB_ID.fullmatch(name)
    if found is None or Path(found["owner"]).is_dir():
        raise DataError(f"There is no file or folder {name}; an id of the hub has the form owner/name.")


def _stacked(splits: Splits) -> Splits:
    others = {"validation": splits.validation, "test": splits.test}
    there = {name: _as_of_a_table(rows) for name, rows in others.items() if rows is not None}
    return replace(splits, train=_as_of_a_table(splits.train), **there)


def _as_of_a_table(rows: TransferSet) -> TransferSet:
    if not isinstance(rows, TensorSet) or not all(_is_number(values) for values in rows.columns.values()):
        return rows
    columns = stacked("", rows.columns)
    return TensorSet(columns, labels=rows.labels, classes=rows.classes, ids=rows.ids, head=rows.head)


def _is_number(values: object) -> bool:
    return isinstance(values, Tensor) and values.dim() == 1
