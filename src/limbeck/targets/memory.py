"""Recorded answers that are held in memory: what an import makes, and what `Targets.save` writes.

Shape legend, this file:  N rows of a part, K views, W bytes of a packed row, P positions of ragged rows.
"""

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from limbeck.errors import ArgumentError
from limbeck.targets.manifest import Manifest
from limbeck.targets.part import Cells, Part, ShardArrays, cells_of
from limbeck.targets.plan import Plan, file_record, shard_tensors
from limbeck.targets.tensorfile import serialised


@final
class MemorySource:
    """Parts held in memory. Raises: ArgumentError for rows of another shape than the plan's."""

    def __init__(
        self,
        plan: Plan,
        packed: Mapping[str, Tensor],
        features: Mapping[str, Mapping[str, Tensor]],
        offsets: Mapping[str, Tensor],
    ) -> None:
        self._plan, self._features, self._offsets = plan, features, offsets
        self._packed = {name: _checked(plan, name, packed) for name in plan.parts}

    def manifest(self) -> Manifest:
        """Return the manifest of the store that would be written."""
        parts = {name: self.part(name) for name in self._plan.parts}
        written = {}
        for shard in self._plan.shards:
            tensors = shard_tensors(*parts[shard.part].block(shard.first, shard.rows))
            written[shard] = file_record(shard.file, serialised(tensors))
        return self._plan.manifest(written)

    def part(self, name: str) -> Part:
        """Return a split: one shard, whatever the shards of its files will be."""
        plan = self._plan.parts[name]
        return Part(
            plan.ids,
            plan.contents,
            plan.views,
            firsts=[0] if len(plan.ids) else [],
            shard=_Held(self._arrays(name)),
            row_bytes=self._plan.layout.nbytes,
            features=self._plan.feature_fields,
            ragged=self._plan.ragged,
            where=f"The split {name!r} of the targets in memory",
        )

    def _arrays(self, name: str) -> ShardArrays:
        held = self._features.get(name, {})
        return ShardArrays(
            _cells(self._packed[name], self._plan.layout.nbytes),
            {field.name: _cells(held[field.name], field.nbytes) for field in self._plan.feature_fields},
            self._offsets[name].numpy() if self._plan.ragged else None,
        )


@final
class _Held:
    """The one shard of a part in memory; unlike a lambda, it can be sent to another process."""

    def __init__(self, arrays: ShardArrays) -> None:
        self._arrays = arrays

    def __call__(self, number: int) -> ShardArrays:
        return self._arrays


def _checked(plan: Plan, name: str, packed: Mapping[str, Tensor]) -> Tensor:
    rows, part = packed.get(name), plan.parts[name]
    wanted = (len(part.ids), part.views, plan.layout.nbytes)
    if rows is None or rows.dtype != torch.uint8 or (not plan.ragged and rows.shape != wanted):
        got = None if rows is None else (rows.dtype, tuple(rows.shape))
        raise ArgumentError(f"Targets.in_memory: the rows of {name} must be uint8 {wanted}. Got {got}.")
    return rows


def _cells(values: Tensor, width: int) -> Cells:
    return cells_of(values.contiguous().view(-1).view(torch.uint8).numpy(), width)
