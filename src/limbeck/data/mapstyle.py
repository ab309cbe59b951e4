"""Any dataset with `__len__` and `__getitem__` as a transfer set.

Shape legend, this file:  N rows, B rows asked for, C classes.
"""

import sys
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any, NamedTuple, Protocol, final

import numpy as np
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from limbeck.data.columns import Column, as_ids, as_labelling, tensor_of
from limbeck.data.content import content_fingerprint
from limbeck.data.images import pixels, stack_if_equal
from limbeck.errors import DataError
from limbeck.types import Head, Rows

_CHUNK = 256  # items read at a time in a pass over all


class MapStyle(Protocol):
    """A dataset in the sense of torch: a length, and an item for each number below it."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@final
class MapStyleSet:
    """A transfer set that reads its rows from a map-style dataset when they are asked for.

    Items are x, tuples (x, y), or mappings of column names to values; x is the column "features", y the label. Values
    of equal shape and dtype are stacked to a tensor, PIL images as uint8 (C, H, W); others stay a list. An item must
    read the same every time: augment in a view or in `prepare`, not in the dataset.
    """

    def __init__(
        self,
        dataset: MapStyle,
        *,
        labels: Any = None,
        classes: Sequence[str] | None = None,
        ids: Any = None,
        head: Head | None = None,
    ) -> None:
        """Find the labels; read no features but those of the first item, where the labels can be had without.

        Args:
            dataset: What to read; a whole batch at once where it has `__getitems__`.
            labels: The name of the label column of items that are mappings, or all labels, (N,) integers or (N, C)
                floats of zeros and ones. If None, the labels are the y of items (x, y): the dataset's own `targets`
                where it has them, else what one pass over all items finds.
            classes: The C class names; if None and there are labels, "0" to "C - 1", as for `TensorSet`.
            ids: (N,) distinct whole numbers; 0 to N - 1 if None.
            head: softmax or sigmoid; if None, what the labels' shape says.

        Raises:
            DataError: There are no items, they have another form, or labels or ids do not fit.
        """
        count = len(dataset)
        if not count:
            raise DataError(f"MapStyleSet: there must be at least one item. The {type(dataset).__name__} is empty.")
        self._items = _Items(dataset, labels if isinstance(labels, str) else None)
        self._names = tuple(self._items.read([0])[0].columns)
        self._ids = as_ids("MapStyleSet", ids, count)
        found = self._items.labels() if labels is None or isinstance(labels, str) else labels
        self._labels, self._classes, self._head = as_labelling("MapStyleSet", found, classes, head, count)

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

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the content: rows, labels, ids and class names; a pass over the items when first asked for."""
        return content_fingerprint(self)

    def __len__(self) -> int:
        return self._ids.shape[0]

    def rows(self, positions: Tensor) -> Rows:
        """Read the rows at the given positions (not ids), (B,) int64 in [0, N).

        Raises:
            DataError: A position lies outside [0, N), an item cannot be read, or items differ in their columns.
        """
        try:
            ids = self._ids.index_select(0, positions)
        except IndexError as error:
            raise DataError(
                f"MapStyleSet: positions must lie in [0, {len(self)}). Got {positions.tolist()}."
            ) from error
        items = self._items.read(positions.tolist())
        try:
            columns = {name: stacked([item.columns[name] for item in items]) for name in self._names}
        except KeyError as error:
            raise DataError(
                f"MapStyleSet: every item must have the columns of the first ({', '.join(self._names)}). "
                f"One of the rows with ids {ids.tolist()} has no {error}."
            ) from error
        return Rows(columns, None if self._labels is None else self._labels.index_select(0, positions), ids)

    def subset(self, positions: Tensor) -> "MapStyleSet":
        """Return the rows at the given distinct positions as a set of its own, with the ids that they have here."""
        part = copy(self)
        part.__dict__.pop("fingerprint", None)
        part._items = self._items.picked(positions.tolist())
        part._ids = as_ids("MapStyleSet", self._ids.index_select(0, positions), len(positions))
        part._labels = None if self._labels is None else self._labels.index_select(0, positions)
        return part

    def __repr__(self) -> str:
        classes = f"{len(self._classes or ())} classes" if self.labelled else "unlabelled"
        return f"MapStyleSet({len(self)} rows, {classes}: {', '.join(self._names)})"


def stacked(values: list[Any]) -> Column:
    """Return values of rows as one tensor with the rows first where they are numbers or arrays of one shape and dtype.

    Arrays, PIL images and lists of numbers become tensors even where their shapes differ and the column stays a list.
    """
    if values and all(isinstance(value, bool | int | float | np.number | np.bool_) for value in values):
        return tensor_of(np.asarray(values))
    values = [_as_tensor(value) for value in values]
    return stack_if_equal(values) if all(isinstance(value, Tensor) for value in values) else values


class _Item(NamedTuple):
    columns: Mapping[str, Any]
    label: Any
    """None where the item has none."""


class _Items:
    """The chosen items of a dataset, taken apart into columns and labels."""

    def __init__(self, dataset: MapStyle, label_column: str | None, chosen: list[int] | None = None) -> None:
        self._dataset = dataset
        self._label_column = label_column
        self._chosen = chosen

    def picked(self, positions: list[int]) -> "_Items":
        chosen = positions if self._chosen is None else [self._chosen[position] for position in positions]
        return _Items(self._dataset, self._label_column, chosen)

    def read(self, positions: list[int]) -> list[_Item]:
        numbers = positions if self._chosen is None else [self._chosen[position] for position in positions]
        try:
            if hasattr(self._dataset, "__getitems__"):
                read = self._dataset.__getitems__(numbers)
            else:
                read = [self._dataset[number] for number in numbers]
        except Exception as error:
            raise DataError(
                f"MapStyleSet: {type(self._dataset).__name__} failed on a batch of {len(numbers)} items, "
                f"the first being number {numbers[0]}: {type(error).__name__}: {error}"
            ) from error
        return [_taken_apart(item, self._label_column) for item in read]

    def labels(self) -> Column | None:
        """Return the labels of all items, by a pass over them if there is no other way; None where they have none."""
        first = self.read([0])[0].label
        if first is None:
            return None
        if self._label_column is None:
            known = _known_labels(self._dataset)
            # A wrapper may hand on the `targets` of what it wraps and relabel the items.
            if known is not None and len(known) == len(self._dataset) and np.array_equal(known[0], first):
                return stacked(list(known))
        items = self
        if self._label_column is not None and hasattr(self._dataset, "select_columns"):
            # A Hugging Face dataset: this leaves the features unread.
            items = _Items(self._dataset.select_columns([self._label_column]), self._label_column)
        every = range(len(self._dataset))
        chunks = (list(every[start : start + _CHUNK]) for start in every[::_CHUNK])
        return stacked([item.label for chunk in chunks for item in items.read(chunk)])


def _taken_apart(item: Any, label_column: str | None) -> _Item:
    if isinstance(item, Mapping):
        if label_column is None:
            return _Item(item, None)
        if label_column not in item:
            raise DataError(f"MapStyleSet: items have no column {label_column!r}; they have: {', '.join(item)}.")
        return _Item({name: value for name, value in item.items() if name != label_column}, item[label_column])
    if label_column is not None:
        raise DataError(
            f"MapStyleSet: labels={label_column!r} names a column, which items of type {type(item).__name__} have not; "
            "leave it out for items (x, y), or pass the labels themselves."
        )
    if not isinstance(item, tuple):
        return _Item({"features": item}, None)
    if len(item) not in {1, 2}:
        raise DataError(f"MapStyleSet: items must be x, (x, y) or a mapping. Got a tuple of {len(item)}.")
    return _Item({"features": item[0]}, item[1] if len(item) == 2 else None)


def _known_labels(dataset: Any) -> Any:
    """Return the labels that a dataset of tuples knows without reading its items; None where it knows none."""
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[1]
    if isinstance(dataset, Subset):
        labels = _known_labels(dataset.dataset)
        return None if labels is None else [labels[index] for index in dataset.indices]
    targets = getattr(dataset, "targets", None)
    untransformed = getattr(dataset, "target_transform", None) is None
    return targets if untransformed and hasattr(targets, "__len__") else None


def _as_tensor(value: Any) -> Any:
    """Return arrays, PIL images and (nested, even) lists of numbers as tensors, anything else as it is."""
    if isinstance(value, Tensor):
        return value
    pillow = sys.modules.get("PIL.Image")  # whoever hands over an image has imported it
    if pillow is not None and isinstance(value, pillow.Image):
        return pixels(value)
    if not isinstance(value, np.ndarray | list) or len(value) == 0:
        return value
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal lengths
        return value
    return tensor_of(array) if array.dtype.kind in "biuf" else value
