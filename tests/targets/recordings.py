"""Small stores, and what they should hold."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from limbeck.targets.encodings.dense import DenseLogits
from limbeck.targets.plan import PartPlan, Plan
from limbeck.targets.writer import Recording

WIDTH = 3
TEACHER = {"fingerprint": "a" * 64, "specification": "b" * 64, "kind": "network", "precision": "float32"}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Known:
    """A plan, and the answers that its teacher would give."""

    plan: Plan
    logits: dict[str, torch.Tensor]
    features: dict[str, torch.Tensor]

    def block(self, shard):
        rows = slice(shard.first, shard.first + shard.rows)
        packed = self.logits[shard.part][rows].contiguous().view(torch.uint8)
        return packed, {"layer.0": self.features[shard.part][rows]} if self.plan.features else {}

    def write(self, folder, *, rank=0, ranks=1, resume=False, stop_after=None):
        recording = Recording(folder, self.plan, resume=resume)
        for shard in recording.missing(rank, ranks)[:stop_after]:
            recording.commit(shard, *self.block(shard))
        return recording

    def written(self, folder: Path) -> Path:
        assert self.write(folder).finish()
        return folder


def known(*, rows=50, views=2, shard_rows=16, features=True, ids=None, contents=True, **changes) -> Known:
    """A store of two splits, of which the first has several shards."""
    ids = torch.arange(rows) * 3 + 5 if ids is None else ids
    parts = {
        "train": PartPlan(ids, ids * 7 if contents else None, views, shard_rows),
        "test": PartPlan(torch.arange(7), None, 1, shard_rows),
    }
    plan = Plan(
        head="softmax",
        classes=("null", "eins", "zwö"),
        width=WIDTH,
        encoding=DenseLogits(),
        teacher=TEACHER,
        transform={"augment": "crop", "seed": 0},
        marks=(),
        batch_size=8,
        features={"layer.0": (torch.bfloat16, (2, 3))} if features else {},
        parts=parts,
    )
    logits = {name: draw(len(part.ids), part.views, WIDTH, seed=1) for name, part in parts.items()}
    extra = {name: draw(len(part.ids), part.views, 2, 3, seed=2).bfloat16() for name, part in parts.items()}
    return Known(replace(plan, **changes), logits, extra)


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
