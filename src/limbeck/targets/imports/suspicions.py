"""What targets say of themselves when they are laid beside the labels: memorised, or of other rows.

Shape legend, this file:  N rows, C classes (softmax head) or labels (sigmoid head).
"""

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from limbeck.errors import LimbeckWarning, MismatchError
from limbeck.types import Dense, Knowledge, TopK

ENOUGH = 20
"""Rows below which nothing is suspected."""

_NEARLY_ALL = 0.99
"""Share of rows that agree with their labels from which on a teacher may have learned them by heart."""
_DEVIATIONS = 3
"""Standard deviations that agreement must stand above chance."""


class MemorisedTargets(LimbeckWarning):
    """Targets repeat the labels of the rows that they are to teach."""


class MisalignedTargets(LimbeckWarning):
    """Targets agree with the labels no better than those of other rows would."""


class Agreement(NamedTuple):
    """How targets and labels of the same rows agree."""

    rows: int
    """N."""
    share: float
    """Of rows whose likeliest class is their label; of all yes/no decisions, for a sigmoid head."""
    chance: float
    """The share expected if the targets were dealt to the rows anew."""
    decisions: int
    """How many the share is of: N, or N · C for a sigmoid head."""
    confidence: float
    """Mean probability that the targets give the labels."""


def agreement(knowledge: Knowledge, labels: Tensor) -> Agreement | None:
    """Compare targets with the labels of their rows.  labels: (N,) int64, or (N, C) of zeros and ones.

    None where the targets do not show their likeliest class at T = 1: sampled ones, and those of other temperatures.

    >>> from limbeck.types import LogitKnowledge
    >>> found = agreement(LogitKnowledge(torch.tensor([[9.0, 0.0], [0.0, 9.0]])), torch.tensor([0, 1]))
    >>> found.share, found.chance
    (1.0, 0.5)
    """
    try:
        answer = knowledge.at(1.0)
    except MismatchError:
        return None
    if isinstance(answer, TopK):
        top = answer.ids.gather(1, answer.log_probs.argmax(1, keepdim=True))[:, 0]
        of_label = answer.log_probs.exp().masked_fill(answer.ids != labels[:, None], 0).sum(1)
        return _of_classes(top, of_label, labels, answer.classes)
    if not isinstance(answer, Dense):
        return None
    if answer.head == "sigmoid":
        return _of_labels(answer.logits.float().sigmoid(), labels)
    probs = answer.logits.float().softmax(1)
    return _of_classes(probs.argmax(1), probs.gather(1, labels[:, None])[:, 0], labels, probs.shape[1])


def warn_if_memorised(found: Agreement, marks: tuple[str, ...]) -> None:
    """Warn of targets that agree with nearly all labels and are marked neither way.

    Trees that were grown until their leaves are pure repeat the labels of the rows that they were grown on, so that the
    student learns nothing from them that it does not learn from the labels. (Of a bagged forest about 63 in a hundred
    trees have seen a row; the others still tell something.)

    Warns: MemorisedTargets.
    """
    if found.rows < ENOUGH or marks or found.share < _NEARLY_ALL:
        return
    warnings.warn(
        f"The targets agree with {found.share:.1%} of the labels of {found.rows:,} training rows (mean probability "
        f"{found.confidence:.2f}): they may say no more than the labels. So do the predictions of a forest, or of any "
        "model that learned its rows by heart, on the rows that it was trained on: nearly one-hot, they teach nothing. "
        'Predict each row by a model that has not seen it (cross_val_predict(model, x, y, method="predict_proba")) and '
        "mark the targets out-of-fold; or mark them in-sample if this is meant.",
        MemorisedTargets,
        stacklevel=2,
    )


def warn_if_misaligned(found: Agreement) -> None:
    """Warn of targets that agree with the labels no better than if they had been dealt to the rows anew.

    The share of such agreement has the standard deviation sqrt(chance (1 - chance) / decisions); targets that are
    not three of them above chance are suspected to be those of other rows, or of the same rows in another order.

    Warns: MisalignedTargets.
    """
    if found.rows < ENOUGH:
        return
    deviation = math.sqrt(found.chance * (1 - found.chance) / found.decisions)
    if found.share > found.chance + _DEVIATIONS * deviation:
        return
    warnings.warn(
        f"The targets agree with {found.share:.1%} of the labels of {found.rows:,} training rows, where "
        f"{found.chance:.1%} are expected of targets in any order: they seem to belong to other rows, or to the same "
        "rows in another order. Look at their ids, and at the order of their classes.",
        MisalignedTargets,
        stacklevel=2,
    )


def _of_classes(top: Tensor, of_label: Tensor, labels: Tensor, classes: int) -> Agreement:
    rows = len(labels)
    predicted = torch.bincount(top, minlength=classes).double() / rows
    labelled = torch.bincount(labels, minlength=classes).double() / rows
    return Agreement(
        rows=rows,
        share=float((top == labels).double().mean()),
        chance=float((predicted * labelled[: len(predicted)]).sum()),
        decisions=rows,
        confidence=float(of_label.double().mean()),
    )


def _of_labels(probs: Tensor, labels: Tensor) -> Agreement:
    yes, given = probs > 0.5, labels > 0.5
    predicted, labelled = yes.double().mean(0), given.double().mean(0)
    return Agreement(
        rows=len(labels),
        share=float((yes == given).double().mean()),
        chance=float((predicted * labelled + (1 - predicted) * (1 - labelled)).mean()),
        decisions=labels.numel(),
        confidence=float(torch.where(given, probs, 1 - probs).double().mean()),
    )
