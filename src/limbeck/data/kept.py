"""Views that come again, kept: what an augmentation makes of a row is computed once a view, not once an epoch.

Shape legend, this file:  N rows of the set, B rows of a batch.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeGuard, final

import torch
from torch import Tensor

from limbeck.data.columns import take
from limbeck.types import Columns, Rows

MOST = 2 * 2**30
"""Bytes that one run keeps views in, at most."""
LIMIT_OF_THE_GROUP = Path("/sys/fs/cgroup/memory.max")
"""Where Linux says how much memory a container may take."""


def memory_for_views(runs: int) -> int:
    """Bytes that each of so many runs side by side may keep views in: half of the memory for all, 2 GiB at most.

    The memory is the machine's, or what the container may take of it. Nothing where nobody says how much that is.
    """
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
    with suppress(OSError, ValueError):  # there is no such file, or it says "max"
        memory = min(memory, int(LIMIT_OF_THE_GROUP.read_text()))
    return max(0, min(MOST, memory // (2 * max(runs, 1))))


@final
class KeptViews:
    """The augmented columns of rows, by view and position, in up to so many bytes of memory.

    Whole views are kept in the order in which they first come, until the next one would not fit. Kept are columns of
    whole numbers, as images are before they are prepared, where all rows have one size. Floats are not: an augmentation
    may round them otherwise in another batch, and a run that was resumed, and keeps nothing yet, would part from one
    that was not.

    >>> kept = KeptViews(rows=3, most=100)
    >>> rows = Rows({"image": torch.tensor([[7], [5]], dtype=torch.uint8)}, None, torch.tensor([12, 10]))
    >>> kept.seen(1, torch.tensor([2, 0]), rows, lambda rows: {"image": rows.columns["image"] + 1})
    {'image': tensor([[8],
            [6]], dtype=torch.uint8)}
    >>> kept.seen(1, torch.tensor([2, 0]), rows, lambda rows: {})["image"].tolist()
    [[8], [6]]
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

    def seen(self, view: int, positions: Tensor, rows: Rows, make: Callable[[Rows], Columns]) -> Columns:
        """Return the columns of rows in a view: those that are kept, and of the others what is made now, and kept.

        Args:
            view: which one, above 0.
            positions: (B,) int64 of the rows in the set.
            rows: as they are in the set.
            make: from rows to their columns in that view.
        """
        found = self._views.get(view)
        if found is None:
            made = make(rows)
            if view not in self._views:
                self._views[view] = self._begun(positions, made)
            return made
        missing = found.missing(positions)
        if len(missing) and not found.add(positions[missing], make(_some(rows, missing))):
            self._views[view] = None  # of several sizes after all; its memory is free, but not dealt again
            return make(rows)
        return found.columns(positions)

    def _begun(self, positions: Tensor, columns: Columns) -> "_View | None":
        tensors = {name: one for name, one in columns.items() if _can_be_kept(one)}
        size = self._rows * (1 + sum(one[:1].numel() * one.element_size() for one in tensors.values()))
        if len(tensors) < len(columns) or not len(positions) or size > self._left:
            return None
        self._left -= size
        view = _View(self._rows, tensors)
        view.add(positions, tensors)
        return view


class _View:
    """One view of all rows, of which some are there."""

    def __init__(self, rows: int, like: Mapping[str, Tensor]) -> None:
        self._there = torch.zeros(rows, dtype=torch.bool)
        self._columns = {name: torch.empty((rows, *one.shape[1:]), dtype=one.dtype) for name, one in like.items()}

    def missing(self, positions: Tensor) -> Tensor:
        """The places in the batch whose rows are not there."""
        return (~self._there[positions]).nonzero()[:, 0]

    def columns(self, positions: Tensor) -> Columns:
        return {name: one.index_select(0, positions) for name, one in self._columns.items()}

    def add(self, positions: Tensor, columns: Columns) -> bool:
        """Keep rows; False, and nothing is kept, where they are not like those that are there."""
        tensors = {name: one for name, one in columns.items() if _can_be_kept(one)}
        if _forms(tensors) != _forms(self._columns) or len(tensors) < len(columns):
            return False
        for name, kept in self._columns.items():
            kept.index_copy_(0, positions, tensors[name])
        self._there[positions] = True
        return True


def _forms(columns: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    return {name: (one.dtype, one.shape[1:]) for name, one in columns.items()}


def _some(rows: Rows, places: Tensor) -> Rows:
    """The rows at some places of a batch, (B',) int64."""
    columns = {
        name: take(one if isinstance(one, Tensor | list) else list(one), places) for name, one in rows.columns.items()
    }
    return Rows(columns, None if rows.labels is None else rows.labels[places], rows.ids[places])


def _can_be_kept(column: Any) -> TypeGuard[Tensor]:
    """Whether a column is a tensor of whole numbers on the CPU."""
    if not isinstance(column, Tensor) or column.is_floating_point() or column.is_complex():
        return False
    return column.device.type == "cpu"
