"""Stores of altered soft targets: the rows, views and names of a recorded store, with other answers.

Shape legend, this file:  N rows that are trained on, B rows of a batch, C classes or labels, W bytes of a packed row.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, final

import torch
from torch import Tensor

from limbeck.campaigns.arms import LeftOut
from limbeck.data.splits import Splits
from limbeck.errors import SpecificationError
from limbeck.keyed import row_keys
from limbeck.knowledge import shown_logits
from limbeck.objective import Objective
from limbeck.specification import Distillation, Json
from limbeck.targets.encodings.dense import DenseLogits
from limbeck.targets.manifest import ALTERED
from limbeck.targets.store import Targets
from limbeck.targets.teacher import RecordedTeacher
from limbeck.targets.writer import PartPlan, Plan, Recording, default_shard_rows
from limbeck.training.progress import Silent, Watcher
from limbeck.training.recorded import by_split, recorded_teacher
from limbeck.types import Dense, Head, LogitKnowledge

Answers: TypeAlias = Callable[[Tensor, int], Tensor]
"""From positions, (B,) in [0, N), and a view to logits, (B, C)."""

_BATCH = 4096


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """What was recorded of the rows that a student is trained on, in ascending order of their ids."""

    targets: Targets
    """Where it was recorded."""
    part: str
    """Under which split."""
    ids: Tensor
    """(N,) int64, ascending."""
    labels: Tensor | None
    """(N,) int64, (N, C) for a sigmoid head, or None."""

    @property
    def head(self) -> Head:
        """How logits become probabilities."""
        return self.targets.manifest.head

    @property
    def classes(self) -> int:
        """C."""
        return self.targets.manifest.width

    @property
    def views(self) -> int:
        """How many views of each row were recorded."""
        return self.targets.part(self.part).views

    def logits(self, positions: Tensor, view: int, temperature: float) -> Tensor:
        """Return logits such that softmax(. / T) is what was recorded at a temperature.  (B,) -> (B, C) float32.

        Raises: LeftOut where only a part of the answers was recorded; MismatchError for another temperature.
        """
        answer = self.targets.knowledge(self.ids[positions], view, self.part).at(temperature)
        if not isinstance(answer, Dense):
            name = self.targets.manifest.encoding["name"]
            raise LeftOut(f"the targets hold a part of each answer only ({name}), and the whole of it must be altered")
        return answer.logits.float()

    def chosen(self, positions: Tensor, view: int) -> Tensor:
        """Return logits whose largest is the teacher's choice: at T = 1, or at what was recorded.  (B,) -> (B, C).

        Raises: LeftOut where the teacher's choice was not recorded.
        """
        knowledge = self.targets.knowledge(self.ids[positions], view, self.part)
        for temperature in (1.0, *(self.targets.temperatures or ())):
            if (logits := shown_logits(knowledge, temperature)) is not None:
                return logits.float()
        name = self.targets.manifest.encoding["name"]
        raise LeftOut(f"the targets do not tell which class the teacher finds likeliest ({name})")

    def gathered(self, answers: Answers, view: int = 0) -> Tensor:
        """Return the answers to all rows in a view.  -> (N, C)."""
        return torch.cat([answers(part, view) for part in torch.split(torch.arange(len(self.ids)), _BATCH)])


def recorded_of(distilled: Distillation, splits: Splits) -> Recorded:
    """Open the recorded targets of a specification at the rows that it trains on.

    Raises: SpecificationError where it has none; MismatchError and StoreError as its run would.
    """
    if distilled.targets is None:
        raise SpecificationError(
            "Only recorded targets can be altered, and the specification names none; record them first, and name them "
            "as `targets`."
        )
    teacher = by_split(recorded_teacher(distilled, splits), splits, distilled, Silent())["train"]
    assert isinstance(teacher, RecordedTeacher)  # made by recorded_teacher
    order = splits.train.ids.argsort()
    labels = splits.train.labels
    return Recorded(
        targets=teacher.targets,
        part=teacher.part,
        ids=splits.train.ids[order],
        labels=None if labels is None else labels[order],
    )


def write_altered(
    source: Recorded,
    folder: Path,
    answers: Answers,
    *,
    temperature: float | None,
    how: Mapping[str, Json],
    watcher: Watcher,
) -> None:
    """Write a store of other answers to the rows that are trained on, in every view; a whole one is left as it is.

    Of the rows that are held out it holds nothing. It bears the contents of the rows, so that it is bound to them as
    the recorded store is, and a fingerprint that follows from that store's and from how it was altered.

    Args:
        source: what was recorded.
        folder: of the new store; new, empty, or with the same store, whole or begun.
        answers: the other answers, as logits.
        temperature: at which they can be asked for; None for every one.
        how: what was done, for the manifest.
        watcher: is told that something is written.

    Raises: StoreError where the folder holds anything else.
    """
    plan = _plan(source, temperature, how)
    recording = Recording(folder, plan, resume=True)
    missing = recording.missing()
    if missing:
        watcher.say(f"Writing altered targets into {folder}")
    for shard in missing:
        packed = torch.empty(shard.rows, shard.views, plan.layout.nbytes, dtype=torch.uint8)
        for view in range(shard.views):
            for rows in torch.split(torch.arange(shard.rows), _BATCH):
                positions = shard.first + rows
                knowledge = LogitKnowledge(answers(positions, view), source.head)
                fields = plan.encoding.encode(knowledge, row_keys(0, view, source.ids[positions]))
                packed[rows, view] = plan.layout.pack(fields)
        recording.commit(shard, packed)
    recording.finish()


def _plan(source: Recorded, temperature: float | None, how: Mapping[str, Json]) -> Plan:
    manifest, part = source.targets.manifest, source.targets.part(source.part)
    encoding = DenseLogits(temperatures=None if temperature is None else (float(temperature),))
    told = {"store": source.targets.fingerprint, "alteration": dict(how)}
    contents = None if part.contents is None else part.contents[torch.from_numpy(part.positions(source.ids))]
    row_bytes = encoding.layout(source.classes).nbytes * source.views
    shard_rows = default_shard_rows(len(source.ids), row_bytes, _BATCH)
    return Plan(
        head=manifest.head,
        classes=manifest.classes,
        width=manifest.width,
        encoding=encoding,
        teacher={
            "fingerprint": hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest(),
            "specification": None,
            "kind": ALTERED,
            "precision": manifest.teacher["precision"],
            **{key: manifest.teacher[key] for key in ("trained_on",) if key in manifest.teacher},
            **told,
        },
        transform=manifest.transform,
        marks=(*manifest.marks, ALTERED),
        batch_size=_BATCH,
        features={},
        parts={"train": PartPlan(source.ids, contents, source.views, shard_rows)},
    )


def require_learnable(objective: Objective, source: Recorded, answers: Answers) -> None:
    """Refuse answers from which an objective gets no finite loss: some divergences allow no class to be ruled out.

    Raises: LeftOut that names the term.
    """
    positions = torch.arange(min(len(source.ids), 64))
    taught = LogitKnowledge(answers(positions, 0), source.head)
    student = LogitKnowledge(torch.zeros_like(taught.logits).requires_grad_(), source.head)
    labels = None if source.labels is None else source.labels[positions]
    value = objective(student, taught, labels, 0)
    value.total.backward()  # type: ignore[no-untyped-call]
    for name, values in value.values.items():
        if not bool(values.isfinite().all()):
            raise LeftOut(f"the term {name!r} has no finite value where the targets rule a class out, which these do")
    gradient = student.logits.grad
    if gradient is not None and not bool(gradient.isfinite().all()):
        raise LeftOut("the objective has no finite gradient where the targets rule a class out, which these do")
