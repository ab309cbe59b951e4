"""What a model answers on rows, and the scores of the answers.

Shape legend, this file:  N rows, B rows of a batch, C classes or labels.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from limbeck.files import read_tensors, write_tensors
from limbeck.functional.divergences import forward_kl
from limbeck.functional.labels import binary_cross_entropy
from limbeck.functional.quality import accuracy, agreement, brier, expected_calibration_error, nll
from limbeck.knowledge import shown_logits
from limbeck.models import CallModel, knowledge_of
from limbeck.training.place import Place
from limbeck.types import Batch, Dense, Head, Knowledge, Prepare, Teacher


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Predictions:
    """One model's answers on rows, at temperature 1."""

    ids: Tensor
    """(N,) int64."""
    logits: Tensor
    """(N, C) float32."""
    labels: Tensor | None
    """(N,) int64, (N, C) float for a sigmoid head, or None."""

    def save(self, path: Path) -> None:
        """Write as safetensors: `ids`, `logits` and, where there are any, `labels`."""
        tensors = {"ids": self.ids, "logits": self.logits}
        write_tensors(path, tensors if self.labels is None else {**tensors, "labels": self.labels})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. Raises: RunError where it is missing or damaged."""
        tensors = read_tensors(path)
        return cls(ids=tensors["ids"], logits=tensors["logits"], labels=tensors.get("labels"))


@torch.no_grad()
def predict_student(
    call: CallModel, module: nn.Module, prepare: Prepare, head: Head, batches: Iterable[Batch], place: Place
) -> Predictions:
    """Answer all batches with a student in eval mode; its mode is put back afterwards."""
    training = module.training
    module.eval()
    try:
        return _collect(batches, place, lambda batch: knowledge_of(call, batch.inputs[prepare], head).logits)
    finally:
        module.train(training)


def predict_teacher(teacher: Teacher, batches: Iterable[Batch], place: Place) -> Predictions | None:
    """Answer all batches with a teacher, at temperature 1; None where a recorded one cannot (`shown_logits`)."""
    try:
        return _collect(batches, place, lambda batch: _shown(teacher(batch)))
    except _NotShown:
        return None


class _NotShown(Exception):
    """A recorded teacher holds nothing to score at temperature 1."""


def _shown(knowledge: Knowledge) -> Tensor:
    logits = shown_logits(knowledge)
    if logits is None:
        raise _NotShown
    return logits


def _collect(batches: Iterable[Batch], place: Place, answer: Callable[[Batch], Tensor]) -> Predictions:
    ids, logits, labels = [], [], []
    for batch in batches:
        with place.arithmetic():
            logits.append(answer(batch.to(place.device)).float().cpu())
        ids.append(batch.ids)
        if batch.labels is not None:
            labels.append(batch.labels)
    return Predictions(ids=torch.cat(ids), logits=torch.cat(logits), labels=torch.cat(labels) if labels else None)


def scores(student: Predictions, teacher: Predictions | None, head: Head) -> dict[str, float]:
    """Score answers: against the labels where there are any, against a teacher where there is one.

    `rows`; `errors` (rows wrong; label decisions wrong for a sigmoid head) and `accuracy`; `nll` in nats; `brier` and
    `ece` in [0, 2] and [0, 1] for a softmax head; `agreement` with the teacher and `kl` to it at T = 1, in nats.
    """
    found: dict[str, float] = {"rows": len(student.ids)}
    if student.labels is not None:
        found.update(_softmax_scores(student) if head == "softmax" else _sigmoid_scores(student))
    if teacher is not None:
        ours, theirs = Dense(student.logits, head).as_categorical(), Dense(teacher.logits, head).as_categorical()
        found["agreement"] = float(agreement(ours, theirs).double().mean())
        found["kl"] = float(forward_kl(ours, theirs).double().sum()) / len(student.ids)
    return found


def _softmax_scores(student: Predictions) -> dict[str, float]:
    assert student.labels is not None  # the caller has looked
    right = accuracy(student.logits, student.labels).double()
    return {
        "errors": float(len(right) - right.sum()),
        "accuracy": float(right.mean()),
        "nll": float(nll(student.logits, student.labels).double().mean()),
        "brier": float(brier(student.logits, student.labels).double().mean()),
        "ece": float(expected_calibration_error(student.logits, student.labels)),
    }


def _sigmoid_scores(student: Predictions) -> dict[str, float]:
    assert student.labels is not None  # the caller has looked
    right = ((student.logits > 0) == (student.labels > 0.5)).double()
    loss = binary_cross_entropy(student.logits, student.labels).double().mean()
    return {"errors": float((1 - right).sum()), "accuracy": float(right.mean()), "nll": float(loss)}


def merit(found: dict[str, float]) -> tuple[float, float]:
    """Order scores, smaller is better: errors, then nats; disagreement with the teacher where there are no labels."""
    if "errors" in found:
        return found["errors"], found["nll"]
    return 1 - found["agreement"], found["kl"]
