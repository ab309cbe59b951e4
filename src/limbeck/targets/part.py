"""`Part`: the recorded rows of one split, found by id and gathered a batch at a time.

A batch is one gather for each shard that it touches, straight from the memory map, and no step of it is a loop over
rows in Python.

Shape legend, this file:  N rows of the part, n of a shard, K views, B rows of a batch, W bytes of a packed row,
P positions of ragged rows.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import ArgumentError, MismatchError
from limbeck.targets.layout import Field
from limbeck.targets.tensorfile import Bytes

Positions: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
"""Where rows stand in a part, in the order of ids; not ids."""

Cells: TypeAlias = np.ndarray[Any, np.dtype[np.void]]
"""Rows of equal length, one element each: NumPy copies an element at once."""

_LONG_ROW = 512  # bytes from which on a look at each row's beginning pays


class ShardArrays(NamedTuple):
    """The content of a shard; cells are its rows times views, the views of a row side by side."""

    rows: Cells
    """(n * K,) packed rows; (P,) packed positions where rows are ragged."""
    features: Mapping[str, Cells]
    """(n * K,) bytes of inner activations by name."""
    offsets: Positions | None
    """(n * K + 1,) where each ragged row begins, and where the last ends."""


def cells_of(content: Bytes, width: int) -> Cells:
    """See bytes as rows of a width, without a copy."""
    found: Cells = content.view(np.dtype((np.void, width)))
    return found


@final
class Part:
    """The recorded rows of one split.

    Args:
        ids: (N,) int64, ascending and distinct.
        contents: (N,) int64 hashes of the rows' contents; None where they are not known.
        views: how many views were recorded, the raw rows included.
        firsts: the position of each shard's first row.
        shard: from a shard's number to its content.
        row_bytes: W.
        features: inner activations of one row, by name.
        ragged: whether a row is a sequence of positions.
        where: the store and the part, for the sentences of errors.
    """

    def __init__(
        self,
        ids: Tensor,
        contents: Tensor | None,
        views: int,
        *,
        firsts: Sequence[int],
        shard: Callable[[int], ShardArrays],
        row_bytes: int,
        features: Sequence[Field],
        ragged: bool = False,
        where: str,
    ) -> None:
        self.ids, self.contents, self.views = ids, contents, views
        self._firsts = np.array(firsts, np.int64)
        self._numbers = np.arange(len(firsts) + 1)
        self._shard, self._row_bytes, self._ragged, self._where = shard, row_bytes, ragged, where
        self._features = {field.name: field for field in features}
        self._ids: Positions = ids.numpy()
        rows = len(ids)
        # Ids are distinct and ascending, so that the ends tell whether they are all the numbers between.
        self._run_from = int(ids[0]) if rows and int(ids[-1]) - int(ids[0]) == rows - 1 else None
        sizes = np.diff(self._firsts)
        self._even = int(sizes[0]) if len(sizes) and (sizes == sizes[0]).all() and self._last() <= sizes[0] else None

    def _last(self) -> int:
        return len(self._ids) - int(self._firsts[-1])

    def __len__(self) -> int:
        return len(self._ids)

    def open(self) -> None:
        """Map every shard. Raises: StoreError where one is damaged."""
        for number in range(len(self._firsts)):
            self._shard(number)

    def positions(self, ids: Tensor) -> Positions:
        """Find rows by their ids.  (B,) int64 -> (B,).

        Raises: MismatchError for ids that were not recorded; names the first of them and says how many there are.
        """
        asked: Positions = ids.numpy() if ids.dtype == torch.int64 else ids.long().numpy()
        if self._run_from is not None:
            found = asked - self._run_from if self._run_from else asked
            if _inside(found, len(self._ids)):
                return found
        else:
            found = np.searchsorted(self._ids, asked)
            if not len(asked) or (len(self._ids) and (self._ids.take(found, mode="clip") == asked).all()):
                return found
        raise self._missing(asked)

    def read(self, ids: Tensor, view: int = 0, features: Sequence[str] = ()) -> tuple[Tensor, dict[str, Tensor]]:
        """Find rows by their ids and read them, and some of their inner activations.

        (B,) int64 -> (B, W) uint8, {name: (B, *shape)}: memory of their own.

        Raises: MismatchError for rows, a view or features that were not recorded; StoreError for damage.
        """
        self.require_features(features)
        self._require_ragged(False)
        place = self._place(self.positions(ids), view)
        return self._rows(place), {name: self._feature(name, place) for name in features}

    def gather(self, positions: Positions | Tensor, view: int = 0) -> Tensor:
        """Read packed rows.  (B,) int64 in [0, N) -> (B, W) uint8, memory of its own.

        Raises: ArgumentError for positions out of their range; MismatchError for a view that was not recorded;
            StoreError where the store is damaged.
        """
        self._require_ragged(False)
        return self._rows(self._place(self._checked(positions), view))

    def features(
        self, positions: Positions | Tensor, view: int = 0, names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Read inner activations: those named, or all.  (B,) -> {name: (B, *shape)}.

        Raises: as `gather` does, and MismatchError for features that were not recorded.
        """
        wanted = tuple(self._features) if names is None else names
        self.require_features(wanted)
        place = self._place(self._checked(positions), view)
        return {name: self._feature(name, place) for name in wanted}

    def require_features(self, names: Sequence[str]) -> None:
        """Refuse features that were not recorded. Raises: MismatchError."""
        for name in names:
            if name not in self._features:
                held = ", ".join(self._features) or "none"
                raise MismatchError(
                    f"{self._where} holds no features of {name!r}; recorded are {held}. Record it again with them."
                )

    def gather_ragged(self, positions: Positions | Tensor, view: int = 0) -> tuple[Tensor, Tensor]:
        """Read packed rows that are sequences.  (B,) -> (P, W) uint8, row after row, and their lengths (B,) int64.

        Raises: as `gather` does.
        """
        self._require_ragged(True)
        return self._sequences(self._place(self._checked(positions), view))

    def block(self, first: int, rows: int) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
        """Read consecutive rows in all views, as `Recording.commit` takes them: packed rows, features, offsets."""
        positions = np.repeat(np.arange(first, first + rows), self.views)
        place = self._place(positions, np.tile(np.arange(self.views), rows))
        found = {name: self._feature(name, place) for name in self._features}
        features = {name: values.view(rows, self.views, *values.shape[1:]) for name, values in found.items()}
        if self._ragged:
            packed, lengths = self._sequences(place)
            return packed, features, torch.cat((lengths.new_zeros(1), lengths.cumsum(0)))
        return self._rows(place).view(rows, self.views, self._row_bytes), features, None

    def _require_ragged(self, ragged: bool) -> None:
        if self._ragged and not ragged:
            raise MismatchError(f"{self._where} holds ragged rows: read them with gather_ragged.")
        if ragged and not self._ragged:
            raise MismatchError(f"{self._where} holds rows of one length: read them with gather.")

    def _checked(self, positions: Positions | Tensor) -> Positions:
        rows: Positions = positions.numpy() if isinstance(positions, Tensor) else positions
        if rows.dtype != np.int64 or not _inside(rows, len(self._ids)):
            raise ArgumentError(f"{self._where}: positions must be int64 in [0, {len(self._ids)}).")
        return rows

    def _place(self, rows: Positions, view: int | Positions) -> "_Place":
        """Find where the rows of a batch are.  (B,) in [0, N), a view or one each."""
        if isinstance(view, int) and not 0 <= view < self.views:
            held = "view 0 only, the raw rows," if self.views == 1 else f"the views 0 to {self.views - 1}"
            raise MismatchError(f"{self._where} holds {held} and was asked for view {view}; record more views.")
        if len(self._firsts) <= 1:
            return self._grouped(None, rows if self.views == 1 else rows * self.views + view)
        if self._even is not None:
            numbers = rows // self._even
            local = rows - numbers * self._even
        else:
            numbers = self._firsts.searchsorted(rows, side="right") - 1
            local = rows - self._firsts[numbers]
        return self._grouped(numbers, local if self.views == 1 else local * self.views + view)

    def _grouped(self, numbers: Positions | None, cells: Positions) -> "_Place":
        """Sort a batch by shard; numbers of shards are None where there is but one.  (B,), (B,)."""
        if numbers is None or not len(cells):
            return _Place(numbers, len(cells), [(self._shard(0), slice(None), cells)] if len(cells) else [])
        order = numbers.argsort(kind="stable")
        ends = numbers[order].searchsorted(self._numbers).tolist()
        cells_by_shard = cells[order]
        groups = [
            (self._shard(number), order[start:end], cells_by_shard[start:end])
            for number, (start, end) in enumerate(pairwise(ends))
            if start < end
        ]
        return _Place(numbers, len(cells), groups)

    def _rows(self, place: "_Place") -> Tensor:
        return _gathered(place, _rows_of, self._row_bytes)

    def _feature(self, name: str, place: "_Place") -> Tensor:
        field = self._features[name]
        found = _gathered(place, lambda shard: shard.features[name], field.nbytes)
        return found.view(field.dtype).view(place.size, *field.shape)

    def _sequences(self, place: "_Place") -> tuple[Tensor, Tensor]:
        starts, lengths = np.empty(place.size, np.int64), np.empty(place.size, np.int64)
        for shard, where, own in place.groups:
            assert shard.offsets is not None  # the caller knows that rows are ragged
            starts[where] = shard.offsets[own]
            lengths[where] = shard.offsets[own + 1] - shard.offsets[own]
        # Within a row, positions count up from its start: i - (positions of the rows before) + start.
        before = np.cumsum(lengths) - lengths
        inner = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
        outer = None if place.numbers is None else np.repeat(place.numbers, lengths)
        return self._rows(self._grouped(outer, inner)), torch.from_numpy(lengths)

    def _missing(self, asked: Positions) -> MismatchError:
        missing = asked[~np.isin(asked, self._ids)]
        first = ", ".join(map(str, missing[:5].tolist()))
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        return MismatchError(
            f"{self._where} holds no answers to {len(missing)} of the rows asked for, with the ids {first}{more}; "
            "record them too, or leave them out."
        )


class _Place(NamedTuple):
    """Where the rows of a batch are."""

    numbers: Positions | None
    """(B,) each one's shard; None where there is but one."""
    size: int
    """B."""
    groups: list[tuple[ShardArrays, Any, Positions]]
    """For each shard that is touched: its content, which rows of the batch are there, and their cells."""


def _gathered(place: _Place, array: Callable[[ShardArrays], Cells], width: int) -> Tensor:
    """Copy cells out of their shards.  -> (B, width) uint8."""
    out: Cells = np.empty(place.size, np.dtype((np.void, width)))
    for shard, where, own in place.groups:
        rows = array(shard)
        if width >= _LONG_ROW:
            # The memory looks up many rows' beginnings at once, and one long row after another.
            rows.view(np.uint8)[::width][own]
        # `take` copies whole elements, faster than an index. No cell is out of range, so that nothing is clipped.
        out[where] = rows.take(own, mode="clip")
    return torch.from_numpy(out.view(np.uint8).reshape(place.size, width))


def _rows_of(shard: ShardArrays) -> Cells:
    return shard.rows


def _inside(values: Positions, end: int) -> bool:
    # As unsigned numbers, negative ones are the largest: one look tells of both ends.
    return not len(values) or bool(values.view(np.uint64).max() < end)
