"""What a model answers on rows, and the scores of the answers.

Shape legend, this file:  R models, N rows, B rows of a batch, C classes or labels.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import vmap

from limbeck.errors import RunError
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
        """Read what `save` wrote. Raises: RunError where it is missing, damaged, or something else."""
        tensors = read_tensors(path)
        why = _no_answers(tensors)
        if why is not None:
            raise RunError(f"{path} holds no answers of a model: {why}.")
        return cls(ids=tensors["ids"], logits=tensors["logits"], labels=tensors.get("labels"))


def _no_answers(tensors: Mapping[str, Tensor]) -> str | None:
    """Why these tensors cannot be somebody's answers; None if they can."""
    missing = [name for name in ("ids", "logits") if name not in tensors]
    if missing:
        return f"it lacks {' and '.join(missing)}"
    ids, logits, labels = tensors["ids"], tensors["logits"], tensors.get("labels")
    if ids.ndim != 1 or ids.dtype != torch.int64:
        return f"ids must be (N,) int64, and are {tuple(ids.shape)} {ids.dtype}"
    if logits.ndim != 2 or len(logits) != len(ids) or not logits.is_floating_point():
        return f"logits must be ({len(ids)}, C) floats, and are {tuple(logits.shape)} {logits.dtype}"
    if labels is None:
        return None
    if labels.ndim == 1 and labels.dtype == torch.int64 and len(labels) == len(ids):
        low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
        return None if low >= 0 and high < max(1, logits.shape[1]) else f"it has a label {low if low < 0 else high}"
    if labels.shape == logits.shape and labels.is_floating_point():
        return None
    return f"labels must be one for each of {len(ids)} rows, and are {tuple(labels.shape)} {labels.dtype}"


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
    found = _measured(student.logits, student.labels, None if teacher is None else teacher.logits, head)
    return {"rows": len(student.ids), **{name: float(value) for name, value in found.items()}}


def scores_of_many(
    logits_RNC: Tensor, labels: Tensor | None, teacher: Predictions | None, head: Head
) -> list[dict[str, float]]:
    """Score the answers of R models to the same rows, each as `scores` does, all in one go."""
    theirs = None if teacher is None else teacher.logits.to(logits_RNC.device)
    found = vmap(lambda logits: _measured(logits, labels, theirs, head))(logits_RNC)
    columns = {name: values.tolist() for name, values in found.items()}
    rows = {"rows": logits_RNC.shape[1]}
    return [{**rows, **{name: column[index] for name, column in columns.items()}} for index in range(len(logits_RNC))]


def _measured(logits: Tensor, labels: Tensor | None, theirs: Tensor | None, head: Head) -> dict[str, Tensor]:
    """Each score as a tensor without axes."""
    found: dict[str, Tensor] = {}
    if labels is not None:
        found.update(_softmax_scores(logits, labels) if head == "softmax" else _sigmoid_scores(logits, labels))
    if theirs is not None:
        ours, others = Dense(logits, head).as_categorical(), Dense(theirs, head).as_categorical()
        found["agreement"] = agreement(ours, others).double().mean()
        found["kl"] = forward_kl(ours, others).double().sum() / len(logits)
    return found


def _softmax_scores(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    right = accuracy(logits, labels).double()
    return {
        "errors": len(right) - right.sum(),
        "accuracy": right.mean(),
        "nll": nll(logits, labels).double().mean(),
        "brier": brier(logits, labels).double().mean(),
        "ece": expected_calibration_error(logits, labels),
    }


def _sigmoid_scores(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    right = ((logits > 0) == (labels > 0.5)).double()
    loss = binary_cross_entropy(logits, labels).double().mean()
    return {"errors": (1 - right).sum(), "accuracy": right.mean(), "nll": loss}


def merit(found: dict[str, float]) -> tuple[float, float]:
    """Order scores, smaller is better: errors, then nats; disagreement with the teacher where there are no labels."""
    if "errors" in found:
        return found["errors"], found["nll"]
    return 1 - found["agreement"], found["kl"]
