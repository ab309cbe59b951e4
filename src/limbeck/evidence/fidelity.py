"""How faithfully students follow their teacher, and what they make of its mistakes.

Good students need not be faithful ones (Stanton et al., Does Knowledge Distillation Really Work?, NeurIPS 2021):
whether an arm copies the teacher, and whether it repairs what the teacher gets wrong, are questions of their own.

Shape legend, this file:  N rows, C classes or labels.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from limbeck.evidence.answers import aligned, answer_at, targets_of, teacher_on
from limbeck.evidence.comparison import DISTILLED
from limbeck.functional.divergences import forward_kl
from limbeck.functional.partial import coarsened
from limbeck.functional.quality import agreement
from limbeck.knowledge import shown_logits
from limbeck.targets.store import Targets
from limbeck.training.evaluate import Predictions
from limbeck.training.run import Run
from limbeck.types import Dense, Head, Knowledge, TopK

_SPLITS = ("train", "test")


def fidelity(
    arms: Mapping[str, Mapping[int, Run]], targets: Targets | None, temperature: float
) -> dict[str, Any] | None:
    """Compare the answers of every arm with those of the teacher of the distilled runs.

    `splits[split][arm]` holds a number for each seed: `agreement`, the share of rows with the same first choice (of
    label decisions, for a sigmoid head), and `kl` by temperature, the mean KL(teacher || student) in nats: of top-k
    targets that of the coarse distributions, and left out at a temperature that the teacher's answers are not known at.
    `teacher_wrong` tells, of the test rows where the teacher is wrong, which share a student gives the label
    (`repaired`), and which share the teacher's own wrong answer (`copied`).

    Args:
        arms: finished runs by arm and seed; `distilled` is among them.
        targets: what the distilled runs were taught from; None for what their specification names.
        temperature: that of the objective, > 0.

    Returns: None where no answers of the teacher are known.
    Raises: MismatchError for runs that answered other rows.
    """
    taught = next(iter(arms[DISTILLED].values()))
    targets = targets_of(taught) if targets is None else targets
    splits = {split: found for split in _SPLITS if (found := _split(arms, taught, split, targets, temperature))}
    if not splits:
        return None
    return {"temperature": temperature, "splits": splits, "teacher_wrong": _teacher_wrong(arms, taught, targets)}


def _split(
    arms: Mapping[str, Mapping[int, Run]], taught: Run, split: str, targets: Targets | None, temperature: float
) -> dict[str, Any]:
    rows = taught.predictions("student", split)
    knowledge = None if rows is None else teacher_on(taught, split, rows.ids, targets)
    if rows is None or knowledge is None:
        return {}
    head: Head = taught.spec["head"]
    first = shown_logits(knowledge)
    first = shown_logits(knowledge, temperature) if first is None else first
    answers = {at: answer_at(knowledge, at) for at in sorted({1.0, temperature})}
    known = {at: answer for at, answer in answers.items() if isinstance(answer, Dense | TopK)}
    if first is None and not known:
        return {}
    found = {}
    for arm, students in _students(arms, split, rows.ids).items():
        kl = {f"{at:g}": [_kl(student, answer, at, head) for student in students] for at, answer in known.items()}
        found[arm] = {
            "agreement": None if first is None else [_agreement(student, first, head) for student in students],
            "kl": {at: values for at, values in kl.items() if None not in values},
        }
    return found


def _students(arms: Mapping[str, Mapping[int, Run]], split: str, ids: Tensor) -> dict[str, list[Predictions]]:
    """The answers of every arm, seeds in ascending order; arms that did not answer these rows are left out."""
    found: dict[str, list[Predictions]] = {}
    for arm, runs in arms.items():
        answers = [(runs[seed], runs[seed].predictions("student", split)) for seed in sorted(runs)]
        if all(one is not None for _, one in answers):
            found[arm] = [aligned(one, ids, f"The run {run.path}") for run, one in answers if one is not None]
    return found


def _agreement(student: Predictions, teacher: Tensor, head: Head) -> float:
    ours, theirs = Dense(student.logits, head).as_categorical(), Dense(teacher, head).as_categorical()
    return float(agreement(ours, theirs).double().mean())


def _kl(student: Predictions, teacher: Dense | TopK, temperature: float, head: Head) -> float | None:
    """Mean over rows in nats, summed over the labels of a sigmoid head; None where it is infinite."""
    if isinstance(teacher, Dense):
        ours, theirs = Dense(student.logits, head).as_categorical(), teacher.as_categorical()
    else:
        ours, theirs = coarsened(
            student.logits, teacher.ids, teacher.log_probs, teacher.tail_log_prob, temperature=temperature
        )
    found = float(forward_kl(ours.double(), theirs.double(), temperature=temperature).sum()) / len(student.ids)
    return found if math.isfinite(found) else None


def _teacher_wrong(
    arms: Mapping[str, Mapping[int, Run]], taught: Run, targets: Targets | None
) -> dict[str, Any] | None:
    rows = taught.predictions("student", "test")
    if rows is None or rows.labels is None:
        return None
    knowledge: Knowledge | None = teacher_on(taught, "test", rows.ids, targets)
    shown = None if knowledge is None else shown_logits(knowledge)
    if shown is None:
        return None
    given, right = _decisions(shown, rows.labels), _as_decisions(rows.labels)
    wrong = (given != right).any(-1)
    repaired: dict[str, list[float]] = {}
    copied: dict[str, list[float]] = {}
    if wrong.any():
        for arm, students in _students(arms, "test", rows.ids).items():
            answers = [_decisions(student.logits, rows.labels)[wrong] for student in students]
            repaired[arm] = [_share(answer, right[wrong]) for answer in answers]
            copied[arm] = [_share(answer, given[wrong]) for answer in answers]
    return {"rows": int(wrong.sum()), "repaired": repaired, "copied": copied}


def _decisions(logits: Tensor, labels: Tensor) -> Tensor:
    """What was decided: the class (N, 1), or yes and no for each label (N, C)."""
    return logits.argmax(-1, keepdim=True) if labels.ndim == 1 else logits > 0


def _as_decisions(labels: Tensor) -> Tensor:
    return labels.unsqueeze(-1) if labels.ndim == 1 else labels > 0.5


def _share(answers: Tensor, wanted: Tensor) -> float:
    return float(torch.all(answers == wanted, dim=-1).double().mean())
