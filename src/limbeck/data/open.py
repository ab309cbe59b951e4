"""Whatever a path or an id names, as rows to learn from: what the command line's `--data` calls."""

from collections.abc import Sequence
from pathlib import Path

from limbeck.data.hub import hub
from limbeck.data.idx import holds_idx, idx
from limbeck.data.splits import Splits
from limbeck.data.tables import SUFFIXES, table
from limbeck.data.tensors import TensorSet
from limbeck.errors import DataError


def load(
    path_or_id: str | Path, *, features: str | Sequence[str] | None = None, label: str | None = None
) -> Splits | TensorSet:
    """Read a file, a folder or a dataset of the Hugging Face hub.

    A .parquet or .csv file is one `table`; a folder of MNIST's raw files is read by `idx`; any other folder, and any
    other name, by `hub`.

    Args:
        path_or_id: A file, a folder, or an id of the hub such as "owner/name".
        features: The feature columns; all but the label if None.
        label: The label column; if None, "label", without which a table is unlabelled and a folder refused.

    Raises:
        DataError: There is nothing of that name, or what there is cannot be read.
        MissingExtra: pyarrow (files) or datasets (folders) is not installed.
    """
    path = Path(path_or_id).expanduser()
    if path.is_file() or path.suffix in SUFFIXES:
        return table(path, features=features, label=label)
    if not path.is_dir():
        return hub(path_or_id, features=features, label=label or "label")
    if holds_idx(path):
        if features is not None or label is not None:
            raise DataError(f"The folder {path} holds MNIST's raw files, whose columns cannot be chosen.")
        return idx(path)
    return hub(path, features=features, label=label or "label")
