"""From a transfer set to batches that every model of a run can read.

Shape legend, this file:  N rows of the set, B rows of a batch.
"""

import pickle
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from limbeck.data.kept import KeptViews
from limbeck.data.order import epoch_order, private_generator, share
from limbeck.data.views import view_of
from limbeck.errors import ArgumentError, DataError, NotImportable
from limbeck.types import Augment, Batch, Columns, ModelInput, Prepare, Rows, TransferSet


@final
class Loader:
    """Batches of a transfer set, shuffled by seed and epoch, or in order.

    A batch is a function of the rows, the seeds, the epoch and the step alone: neither torch's global generator nor the
    number of workers has a say, and skipping the first steps skips their reading. A `prepare` must therefore be
    deterministic, and an augmentation a function of each row's key (`views.require_deterministic` looks whether it is).
    """

    def __init__(
        self,
        rows: TransferSet,
        prepares: Sequence[Prepare],
        *,
        batch_size: int,
        workers: int = 0,
        augment: Augment | None = None,
        view_seed: int = 0,
        views: int | None = None,
        keep: int = 0,
    ) -> None:
        """Check the arguments; nothing is read yet.

        Args:
            rows: What to read.
            prepares: The models' own; equal ones are called once a batch, and their input is shared.
            batch_size: Rows of a global batch, over all ranks.
            workers: Processes that read and prepare ahead; 0 reads in this process, which is faster for rows in memory.
            augment: Makes the views but the first of raw rows, before any `prepare`; None for raw rows always.
            view_seed: Of the views.
            views: How many an epoch may show, one after the other, the raw rows being the first; None for a new one
                each epoch.
            keep: Bytes of memory for views that come again (`KeptViews`), where this process reads.

        Raises:
            ArgumentError: A number is out of its range, `augment` cannot be called, or a `prepare` cannot be called or
                hashed.
        """
        _check_whole("Loader", "batch_size", batch_size, 1)
        _check_whole("Loader", "workers", workers, 0)
        _check_whole("Loader", "view_seed", view_seed, 0)
        if views is not None:
            _check_whole("Loader", "views", views, 1)
        _check_whole("Loader", "keep", keep, 0)
        if augment is not None and not callable(augment):
            raise ArgumentError(f"Loader: augment must be a function of columns and keys. Got {augment!r}.")
        self._rows = rows
        self._prepares = _distinct(prepares)
        self._batch_size = batch_size
        self._workers = workers
        self._augment = augment
        self._view_seed = view_seed
        self._views = views
        self._kept = KeptViews(len(rows), keep) if keep and views is not None and not workers else None

    @property
    def rows(self) -> TransferSet:
        """What is read."""
        return self._rows

    @property
    def batch_size(self) -> int:
        """Rows of a global batch, over all ranks; the last of an epoch may have fewer."""
        return self._batch_size

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch: N / batch_size, rounded up."""
        return -(-len(self._rows) // self._batch_size)

    def view_at(self, epoch: int) -> int:
        """Return the view that an epoch shows: the raw rows (0) first, then each in turn; always 0 unaugmented."""
        if self._augment is None:
            return 0
        return epoch if self._views is None else epoch % self._views

    def epoch(
        self, seed: int, epoch: int, *, start: int = 0, rank: int = 0, ranks: int = 1, microbatches: int = 1
    ) -> Iterator[Batch]:
        """Yield this rank's part of every batch of an epoch, shuffled, in the epoch's view, from the step `start` on.

        All ranks see the same number of batches, and each row of a global batch goes to one of them. For accumulated
        gradients a part is dealt on to `microbatches` batches, which come one after the other: `microbatches` × the
        steps in all. A batch without rows (a part may have fewer than it is dealt to) has inputs of the usual shapes.

        Raises:
            ArgumentError: `start` lies outside [0, steps_per_epoch], `rank` outside [0, ranks), or `microbatches` < 1.
            DataError: While iterating: rows cannot be read, or the augmentation or a `prepare` failed.
            NotImportable: While iterating: there are workers, and rows or a function cannot be sent to them.

        >>> from limbeck.data.tensors import TensorSet
        >>> from limbeck.data.prepare import plain_features
        >>> loader = Loader(TensorSet(torch.randn(5, 3)), [plain_features], batch_size=2)
        >>> [tuple(batch.inputs[plain_features].shape) for batch in loader.epoch(seed=0, epoch=0, start=1)]
        [(2, 3), (1, 3)]
        """
        if not 0 <= start <= self.steps_per_epoch:
            raise ArgumentError(f"Loader: start must lie in [0, {self.steps_per_epoch}], steps. Got {start}.")
        _check_whole("Loader", "microbatches", microbatches, 1)
        share(torch.arange(0), rank, ranks)  # refuses a wrong rank now, not at the first batch
        order = epoch_order(len(self._rows), seed, epoch)[start * self._batch_size :]
        batches = _cut(order, self._batch_size)
        parts = (part for batch in batches for part in _dealt(batch, rank, ranks, microbatches))
        return self._batches(parts, self.view_at(epoch))

    def sequential(
        self, positions: Tensor | None = None, *, batch_size: int | None = None, view: int = 0
    ) -> Iterator[Batch]:
        """Yield all rows, or those at the positions (M,) int64, in order; evaluation may take larger batches.

        Raises:
            ArgumentError: `batch_size` is no positive whole number, or `view` is negative or above 0 without an
                augmentation.
            DataError: While iterating: rows cannot be read, or the augmentation or a `prepare` failed.
            NotImportable: While iterating: there are workers, and rows or a function cannot be sent to them.
        """
        size = self._batch_size if batch_size is None else batch_size
        _check_whole("Loader", "batch_size", size, 1)
        _check_whole("Loader", "view", view, 0)
        if view and self._augment is None:
            raise ArgumentError(f"Loader: without an augmentation there is only view 0, the raw rows. Got view {view}.")
        parts = _cut(torch.arange(len(self._rows)) if positions is None else positions, size)
        return self._batches(parts, view)

    def _batches(self, parts: Iterator[Tensor], view: int) -> Iterator[Batch]:
        reader = _Reader(self._rows, self._prepares, self._augment, self._view_seed, view, self._kept)
        if not self._workers:
            return map(reader.read, parts)
        return self._from_workers(reader, list(parts))

    def _from_workers(self, reader: "_Reader", parts: list[Tensor]) -> Iterator[Batch]:
        # A private generator: the loader would otherwise draw its workers' seeds from torch's global one.
        loader: DataLoader[Any] = DataLoader(
            reader,
            batch_size=None,
            sampler=parts,
            num_workers=self._workers,
            collate_fn=_unchanged,
            generator=private_generator(0, "workers"),
        )
        try:
            answers = iter(loader)
        except (AttributeError, TypeError, pickle.PicklingError) as error:
            what = "rows and prepares" if self._augment is None else "rows, prepares and an augmentation"
            raise NotImportable(
                f"Loader: {self._workers} workers need {what} that another process can import: {error}. "
                "Define them at the top level of a module, or use workers=0."
            ) from error
        for answer in answers:
            if isinstance(answer, _Failure):
                break
            inputs, labels, ids = answer
            # A worker's copies of the prepares are other objects: its inputs come by place and get our keys here.
            yield Batch(dict(zip(self._prepares, inputs, strict=True)), labels, ids, reader.view)
        else:
            return
        del answers  # ends the workers now, not when the last reference to the error's traceback goes
        raise DataError(answer.sentence) from RuntimeError(f"in a worker process:\n{answer.trace}")


class _Failure(NamedTuple):
    """An error in a worker, as text: the loader of torch would wrap the sentence in a traceback."""

    sentence: str
    trace: str


class _Reader(Dataset[Any]):
    """Positions -> what models read of a view; in this process or, as a map-style dataset of batches, in a worker."""

    def __init__(
        self,
        rows: TransferSet,
        prepares: tuple[Prepare, ...],
        augment: Augment | None,
        seed: int,
        view: int,
        kept: KeptViews | None,
    ) -> None:
        self._rows = rows
        self._prepares = prepares
        self._augment = augment
        self._seed = seed
        self.view = view
        self._kept = kept

    def read(self, positions: Tensor) -> Batch:
        if not len(positions):
            return self._empty()
        rows = self._rows.rows(positions)
        columns, ids = self._seen(rows, positions), rows.ids
        inputs = {prepare: _prepared(prepare, columns, ids) for prepare in self._prepares}
        return Batch(inputs, rows.labels, ids, self.view)

    def _seen(self, rows: Rows, positions: Tensor) -> Columns:
        def made(some: Rows) -> Columns:
            return view_of(some, self.view, augment=self._augment, seed=self._seed)

        if self._kept is None or not self.view:
            return made(rows)
        return self._kept.seen(self.view, positions, rows, made)

    def __getitem__(self, positions: Tensor) -> tuple[tuple[ModelInput, ...], Tensor | None, Tensor] | _Failure:
        try:
            batch = self.read(positions)
        except DataError as error:
            return _Failure(str(error), "".join(traceback.format_exception(error)))
        return tuple(batch.inputs.values()), batch.labels, batch.ids

    def _empty(self) -> Batch:
        """Cut one prepared row down to none: no tokenizer or padding need know what a batch without rows is."""
        batch = self.read(torch.zeros(1, dtype=torch.int64))
        inputs = {prepare: _no_rows(value) for prepare, value in batch.inputs.items()}
        return Batch(inputs, None if batch.labels is None else batch.labels[:0], batch.ids[:0], self.view)


def _cut(order: Tensor, size: int) -> Iterator[Tensor]:
    return (order[first : first + size] for first in range(0, len(order), size))


def _dealt(batch: Tensor, rank: int, ranks: int, microbatches: int) -> Iterator[Tensor]:
    mine = share(batch, rank, ranks)
    return (share(mine, index, microbatches) for index in range(microbatches))


def _prepared(prepare: Prepare, columns: Columns, ids: Tensor) -> ModelInput:
    try:
        return prepare(columns)
    except Exception as error:
        name = getattr(prepare, "__qualname__", type(prepare).__name__)
        first = ", ".join(map(str, ids[:3].tolist())) + (", …" if len(ids) > 3 else "")
        raise DataError(
            f"The prepare {name!r} failed on a batch of {len(ids)} rows (ids {first}): {type(error).__name__}: {error}"
        ) from error


def _no_rows(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value[:0] if value.dim() else value
    if isinstance(value, dict):
        return {key: _no_rows(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_no_rows(item) for item in value)
    return value[:0] if isinstance(value, list) else value


def _distinct(prepares: Sequence[Prepare]) -> tuple[Prepare, ...]:
    for prepare in prepares:
        if not callable(prepare):
            raise ArgumentError(f"Loader: a prepare must be a function of columns. Got {type(prepare).__name__}.")
        try:
            hash(prepare)
        except TypeError as error:
            raise ArgumentError(
                f"Loader: a prepare must be hashable, because inputs are filed under it. Got {type(prepare).__name__}; "
                "make its class a frozen dataclass or leave `__eq__` alone."
            ) from error
    return tuple(dict.fromkeys(prepares))


def _check_whole(caller: str, name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ArgumentError(f"{caller}: {name} must be a whole number from {least} up. Got {value!r}.")


def _unchanged(answer: Any) -> Any:
    return answer
