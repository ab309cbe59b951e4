"""Predictions as the rows of a store.

Shape legend, this file:  N rows, W bytes of a packed row.
"""

import torch
from torch import Tensor

from limbeck.keyed import row_keys
from limbeck.targets.encoding import Encoding
from limbeck.targets.imports.arrays import Predictions
from limbeck.targets.plan import PartPlan, Plan, default_shard_rows
from limbeck.types import LogitKnowledge

PART = "train"
"""The part of a store that holds imported predictions: whatever their rows are used for, they share ids with these."""

IMPORTED = "imported"
"""What a manifest calls a teacher of which nothing is known but its predictions."""

_BATCH = 512


def plan_of(found: Predictions, encoding: Encoding) -> Plan:
    """Return what a store of these predictions says of itself.

    Raises: ArgumentError for an encoding that does not fit their number of classes.
    """
    width = found.logits.shape[1]
    shard_rows = default_shard_rows(len(found.ids), encoding.layout(width).nbytes, _BATCH)
    return Plan(
        head=found.head,
        classes=found.classes,
        width=width,
        encoding=encoding,
        teacher={"fingerprint": None, "specification": None, "kind": IMPORTED, "precision": "float32"},
        transform=None,
        marks=found.marks,
        batch_size=_BATCH,
        features={},
        parts={PART: PartPlan(found.ids, found.contents, views=1, shard_rows=shard_rows)},
    )


def packed_rows(found: Predictions, plan: Plan) -> Tensor:
    """Encode the predictions.  -> (N, 1, W) uint8. Raises: as the encoding does."""
    packed = torch.empty(len(found.ids), 1, plan.layout.nbytes, dtype=torch.uint8)
    for start in range(0, len(found.ids), _BATCH):
        rows = slice(start, start + _BATCH)
        knowledge = LogitKnowledge(found.logits[rows], found.head)
        fields = plan.encoding.encode(knowledge, row_keys(0, 0, found.ids[rows]))
        packed[rows, 0] = plan.layout.pack(fields)
    return packed
