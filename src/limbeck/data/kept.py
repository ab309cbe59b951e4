"""Views that come again, kept: what an augmentation makes of a row is computed once a view, not once an epoch.

Shape legend, this file:  N rows of the set, B rows of a batch.
"""

import os
from collections.abc import Mapping
from typing import Any, TypeGuard, final

import torch
from torch import Tensor

from limbeck.types import Columns

MOST = 2 * 2**30
"""Bytes that one run keeps views in, at most."""
SHARE = 16
"""What part of the machine's memory one run keeps views in, at most: the inverse of it."""


def memory_for_views() -> int:
    """Bytes that a run may keep views in: a sixteenth of the machine's memory, and 2 GiB at most.

    Runs side by side keep their own.
    """
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # where nobody says how much there is
        return 0
    return max(0, min(MOST, memory // SHARE))


@final
class KeptViews:
    """The augmented columns of rows, by view and position, in up to so many bytes of memory.

    Whole views are kept in the order in which they first come, until the next one would not fit. Kept are columns of
    whole numbers, as images are before they are prepared. Floats are not: an augmentation may round them otherwise in
    another batch, and a run that was resumed, and keeps nothing yet, would part from one that was not.

    >>> kept = KeptViews(rows=3, most=100)
    >>> kept.add(1, torch.tensor([2, 0]), {"image": torch.tensor([[7], [5]], dtype=torch.uint8)})
    >>> kept.columns(1, torch.tensor([0])), kept.columns(1, torch.tensor([0, 1]))
    ({'image': tensor([[5]], dtype=torch.uint8)}, None)
    """

    def __init__(self, rows: int, most: int) -> None:
        """Keep nothing yet.

        Args:
            rows: N of the set.
            most: Bytes of all views together, >= 0.
        """
        self._rows = rows
        self._left = most
        self._views: dict[int, _View | None] = {}

    def columns(self, view: int, positions: Tensor) -> Columns | None:
        """Return copies of rows of a view, by their positions (B,) int64; None unless all of them are kept."""
        found = self._views.get(view)
        return None if found is None else found.columns(positions)

    def add(self, view: int, positions: Tensor, columns: Columns) -> None:
        """Keep the columns, B rows each, of the positions (B,) in a view, where there is memory left for the view."""
        if view not in self._views:
            self._views[view] = self._begun(columns)
        found = self._views[view]
        if found is not None:
            found.add(positions, columns)

    def _begun(self, columns: Columns) -> "_View | None":
        tensors = {name: one for name, one in columns.items() if _can_be_kept(one)}
        size = self._rows * (1 + sum(one[:1].numel() * one.element_size() for one in tensors.values()))
        if len(tensors) < len(columns) or size > self._left:
            return None
        self._left -= size
        return _View(self._rows, tensors)


class _View:
    """One view of all rows, of which some are there."""

    def __init__(self, rows: int, like: Mapping[str, Tensor]) -> None:
        self._there = torch.zeros(rows, dtype=torch.bool)
        # Memory that is not written to is not taken: rows that other ranks read cost nothing here.
        self._columns = {name: torch.empty((rows, *one.shape[1:]), dtype=one.dtype) for name, one in like.items()}

    def columns(self, positions: Tensor) -> Columns | None:
        if not bool(self._there[positions].all()):
            return None
        return {name: one.index_select(0, positions) for name, one in self._columns.items()}

    def add(self, positions: Tensor, columns: Mapping[str, Any]) -> None:
        for name, kept in self._columns.items():
            kept.index_copy_(0, positions, columns[name])
        self._there[positions] = True


def _can_be_kept(column: Any) -> TypeGuard[Tensor]:
    """Whether a column is a tensor of whole numbers, with at least one row, on the CPU."""
    if not isinstance(column, Tensor) or column.is_floating_point() or column.is_complex():
        return False
    return column.device.type == "cpu" and len(column) > 0
