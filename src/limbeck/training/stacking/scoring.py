"""Rows that a stack is scored on: prepared once for all epochs, answered by all replicas at once, by a teacher once.

Shape legend, this file:  R replicas, N rows of a split, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from limbeck.data.loader import Loader
from limbeck.data.splits import Splits
from limbeck.objective import Loss
from limbeck.specification import Distillation
from limbeck.training.distill import taught_answers
from limbeck.training.evaluate import Predictions, predict_teacher
from limbeck.training.harvest import kept_positions
from limbeck.training.place import Place
from limbeck.training.stacking.stack import Stack
from limbeck.types import ModelInput, Teacher, TransferSet

_MOST_ROWS = 512  # of one forward pass


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredRows:
    """One split, prepared."""

    loader: Loader
    ids: Tensor
    """(N,) int64."""
    labels: Tensor | None
    """(N,) int64, (N, C) float for a sigmoid head, or None."""
    batches: Sequence[ModelInput]
    """What the students read, on the device."""


@final
class Scoring:
    """The splits of a stack, and what is known of them already.

    Args:
        spec: of any replica; what counts here is common to all.
        splits: the rows.
        loss: of any replica, for its `prepare` and its head.
        place: where the students compute.
    """

    def __init__(self, spec: Distillation, splits: Splits, loss: Loss, place: Place) -> None:
        self._spec, self._loss, self._place = spec, loss, place
        parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
        self._splits = {name: rows for name, rows in parts.items() if rows is not None}
        self._rows: dict[str, ScoredRows] = {}
        self._taught: dict[tuple[int, str], Predictions | None] = {}

    def rows(self, name: str) -> ScoredRows:
        """Return a split that there is, read when it is first asked for."""
        if name not in self._rows:
            self._rows[name] = self._read(name, self._splits[name])
        return self._rows[name]

    def _read(self, name: str, rows: TransferSet) -> ScoredRows:
        prepare = self._loss.prepare
        size = max(self._spec.batch_size, _MOST_ROWS)
        loader = Loader(rows, (prepare,), batch_size=size, workers=self._spec.workers)
        batches = list(loader.sequential(kept_positions(self._spec, name, rows)))
        labels = [batch.labels for batch in batches if batch.labels is not None]
        return ScoredRows(
            loader=loader,
            ids=torch.cat([batch.ids for batch in batches]),
            labels=torch.cat(labels) if labels else None,
            batches=[batch.to(self._place.device).inputs[prepare] for batch in batches],
        )

    @torch.no_grad()
    def answers(self, stack: Stack, name: str, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """All replicas' logits on a split, (R, N, C) on the CPU, by the weights they have now or by others."""
        batches = self.rows(name).batches
        parts = [stack(inputs, training=False, shared=True, weights=weights) for inputs in batches]
        return torch.cat(parts, dim=1).float().cpu()

    def taught(self, teacher: Teacher | None, name: str) -> Predictions | None:
        """A teacher's answers to a split, taken once for all replicas that share it; None where it has none.

        Raises: MismatchError for validation rows without labels that it has no answers to.
        """
        key = (id(teacher), name)
        if key not in self._taught:
            loader = self.rows(name).loader
            if name == "validation":
                self._taught[key] = taught_answers(teacher, loader, self._place)
            else:
                batches = loader.sequential(kept_positions(self._spec, name, loader.rows))
                self._taught[key] = None if teacher is None else predict_teacher(teacher, batches, self._place)
        return self._taught[key]
