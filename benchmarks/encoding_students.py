"""Students of a recorded language model: one run, from its setting to its scores.

The loop is a few lines of this project's parts (`Loader`, `Loss`, a `Teacher`), not `limbeck.distill`: that would keep
both models' answers on every training row, half a gigabyte a run at 1,000 classes, and choose its checkpoint by errors,
where a language model is judged in nats.

Shape legend, this file:  N rows, B rows of a batch, C classes.
"""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

import torch
from shakespeare import answers, last_tokens, mean_nll, student_network
from torch import Tensor, nn

from limbeck.data import TensorSet
from limbeck.data.loader import Loader
from limbeck.keyed import row_keys
from limbeck.objective import Loss, Objective
from limbeck.targets.encoding import Encoding
from limbeck.targets.plan import PartPlan, Plan
from limbeck.targets.writer import Recording
from limbeck.types import Batch, Head, LogitKnowledge, Prepare, Teacher

BATCH = 256
ENCODING_SEED = 0
"""Of the rows' keys, by which sampled targets are drawn."""
RECORDING_BATCH = 1024


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is chosen on the validation rows."""

    rate: float
    """Adam's first learning rate; it falls to zero along a cosine."""
    epochs: int
    """Passes over the rows; the weights kept are those of the best epoch on the validation rows."""
    dropout: float = 0.0
    """Share of the inputs of either linear layer that is left out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """The rows that a student learns from, is chosen by and is judged on; test rows only where it is judged."""

    train: TensorSet
    validation: TensorSet
    test: TensorSet | None


@final
class Replayed:
    """A teacher whose logits on all rows are in memory, as they were computed: what an encoding is compared with."""

    head: Head = "softmax"
    classes = None
    prepares: tuple[Prepare, ...] = ()
    fingerprint = "replayed"

    def __init__(self, ids_N: Tensor, logits_NC: Tensor) -> None:
        self._ids, self._logits = ids_N, logits_NC

    def __call__(self, batch: Batch) -> LogitKnowledge:
        """Look the rows up."""
        return LogitKnowledge(self._logits[torch.searchsorted(self._ids, batch.ids)])

    def to(self, device: torch.device) -> Self:
        """Stay: there is only the CPU here."""
        return self


def record_logits(rows: TensorSet, logits_NC: Tensor, encoding: Encoding, folder: Path) -> None:
    """Write a store of a teacher's logits on rows, whose ids ascend, in an encoding."""
    ids, width = rows.ids, logits_NC.shape[1]
    plan = Plan(
        head="softmax",
        classes=rows.classes,
        width=width,
        encoding=encoding,
        teacher={"fingerprint": None, "specification": None, "kind": "ensemble", "precision": "float32"},
        transform=None,
        marks=(),
        batch_size=RECORDING_BATCH,
        features={},
        parts={"train": PartPlan(ids, None, views=1, shard_rows=8 * RECORDING_BATCH)},
    )
    recording = Recording(folder, plan, resume=True)
    for shard in list(recording.missing()):
        own = slice(shard.first, shard.first + shard.rows)
        packed = [
            plan.layout.pack(encoding.encode(LogitKnowledge(logits), row_keys(ENCODING_SEED, 0, names)))
            for names, logits in zip(
                ids[own].split(RECORDING_BATCH), logits_NC[own].split(RECORDING_BATCH), strict=True
            )
        ]
        recording.commit(shard, torch.cat(packed).unsqueeze(1), {})
    recording.finish()


def train_student(
    splits: Splits, teacher: Teacher | None, objective: Objective, setting: Setting, seed: int
) -> tuple[nn.Module, dict[str, Any]]:
    """Train one student. Returns it as it was after its best epoch on the validation rows, and its scores."""
    torch.manual_seed(seed)
    student = student_network(dropout=setting.dropout)
    loader = Loader(splits.train, (last_tokens,), batch_size=BATCH)
    optimizer = torch.optim.Adam(student.parameters(), lr=setting.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, setting.epochs * loader.steps_per_epoch)
    loss = Loss(objective, last_tokens)
    curve: list[float] = []
    best = deepcopy(student)
    for epoch in range(setting.epochs):
        student.train()
        for batch in loader.epoch(seed, epoch):
            knowledge = None if teacher is None else teacher(batch)
            value = loss(student, batch, knowledge, schedule.last_epoch)
            optimizer.zero_grad()
            (value.total / len(batch)).backward()
            optimizer.step()
            schedule.step()
        curve.append(token_nll(student.eval(), splits.validation))
        if curve[-1] == min(curve):
            best = deepcopy(student)
    scores: dict[str, Any] = {"validation": min(curve), "curve": curve}
    return best, scores if splits.test is None else {**scores, "test": token_nll(best, splits.test)}


def token_nll(student: nn.Module, rows: TensorSet) -> float:
    """A student's mean cross-entropy with the tokens, in nats."""
    assert rows.labels is not None  # every row has its token
    return mean_nll(answers(student, last_tokens(rows.columns), batch=2048), rows.labels)
