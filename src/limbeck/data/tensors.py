"""A transfer set in memory.

Shape legend, this file:  N rows, B rows asked for, C classes.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, final

import numpy as np
from torch import Tensor

from limbeck.data.columns import Column, as_column, as_ids, as_labelling, take
from limbeck.data.content import content_fingerprint
from limbeck.errors import DataError
from limbeck.types import Head, Rows


@final
class TensorSet:
    """A transfer set whose columns are tensors or lists in memory.

    A batch is one `index_select` a column, and no row of a tensor is touched from Python.

    >>> import torch
    >>> rows = TensorSet({"features": torch.eye(3), "text": ["a", "b", "c"]}, labels=[0, 1, 1], classes=["no", "yes"])
    >>> rows.rows(torch.tensor([2, 0])).columns["text"], rows.subset(torch.tensor([2, 0])).ids
    (['c', 'a'], tensor([2, 0]))
    """

    def __init__(
        self,
        columns: Tensor | np.ndarray[Any, Any] | Mapping[str, Any],
        *,
        labels: Any = None,
        classes: Sequence[str] | None = None,
        ids: Any = None,
        head: Head | None = None,
    ) -> None:
        """Check the parts against one another and keep them; tensors and arrays are not copied.

        Args:
            columns: Tensors and arrays with N rows along the first axis, or sequences of N (text, images of several
                sizes), by name. A bare tensor or array is the column "features".
            labels: (N,) integer class indices, (N, C) floats of zeros and ones (a sigmoid head), or None.
            classes: The C class names in the order of the labels. If None and there are labels: the names "0" to
                "C - 1", where C is the highest label plus one, or the width of multi-hot labels.
            ids: (N,) distinct whole numbers, each row's name; 0 to N - 1 if None.
            head: softmax or sigmoid; if None, what the labels' shape says, softmax without labels.

        Raises:
            DataError: No rows, unequal lengths, labels outside the classes or not whole numbers, repeated ids.
        """
        self._columns = _checked_columns(columns)
        count = len(next(iter(self._columns.values())))
        self._ids = as_ids("TensorSet", ids, count)
        self._labels, self._classes, self._head = as_labelling("TensorSet", labels, classes, head, count)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes in the order of the label indices."""
        return self._classes

    @property
    def head(self) -> Head:
        """softmax where a row has one class, sigmoid where it has any number of labels."""
        return self._head

    @property
    def labelled(self) -> bool:
        """Whether rows carry labels."""
        return self._labels is not None

    @property
    def ids(self) -> Tensor:
        """(N,) int64: each row's number in the dataset that it came from."""
        return self._ids

    @property
    def labels(self) -> Tensor | None:
        """(N,) int64 or (N, C) float32 labels; None where unlabelled."""
        return self._labels

    @property
    def columns(self) -> Mapping[str, Column]:
        """All rows by column."""
        return self._columns

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the content: rows, labels, ids and class names; computed when first asked for."""
        return content_fingerprint(self)

    def __len__(self) -> int:
        return self._ids.shape[0]

    def rows(self, positions: Tensor) -> Rows:
        """Read the rows at the given positions (not ids), (B,) int64 in [0, N).

        Raises:
            DataError: A position lies outside [0, N).
        """
        try:
            ids = self._ids.index_select(0, positions)
        except IndexError as error:
            raise DataError(f"TensorSet: positions must lie in [0, {len(self)}). Got {positions.tolist()}.") from error
        columns = {name: take(column, positions) for name, column in self._columns.items()}
        return Rows(columns, None if self._labels is None else self._labels.index_select(0, positions), ids)

    def subset(self, positions: Tensor) -> "TensorSet":
        """Return the rows at the given distinct positions as a set of its own, with the ids that they have here."""
        rows = self.rows(positions)
        return TensorSet(rows.columns, labels=rows.labels, classes=self._classes, ids=rows.ids, head=self._head)

    def __repr__(self) -> str:
        columns = ", ".join(
            f"{name} {tuple(column.shape)}" if isinstance(column, Tensor) else f"{name} [{len(column)}]"
            for name, column in self._columns.items()
        )
        classes = "unlabelled" if self._labels is None else f"{len(self._classes or ())} classes"
        return f"TensorSet({len(self)} rows, {classes}: {columns})"


def _checked_columns(columns: Any) -> dict[str, Column]:
    if isinstance(columns, Tensor | np.ndarray):
        columns = {"features": columns}
    if not isinstance(columns, Mapping) or not columns:
        raise DataError(
            "TensorSet: columns must be a tensor, or a mapping of at least one name to a tensor, array or sequence. "
            f"Got {type(columns).__name__}{' without entries' if isinstance(columns, Mapping) else ''}."
        )
    checked = {name: as_column("TensorSet", name, values) for name, values in columns.items()}
    lengths = {name: len(column) for name, column in checked.items()}
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"TensorSet: columns must have the same number of rows. Got {got}.")
    if not next(iter(lengths.values())):
        raise DataError(f"TensorSet: there must be at least one row. Column {next(iter(lengths))!r} is empty.")
    return checked
