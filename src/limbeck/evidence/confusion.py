"""Which classes are taken for which, counted on the stored answers to the test rows.

Shape legend, this file:  N rows, C classes.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from limbeck.evidence.answers import aligned, class_names
from limbeck.evidence.comparison import ALONE, DISTILLED
from limbeck.training.evaluate import Predictions
from limbeck.training.run import Run

MOST_CLASSES = 30
"""Larger matrices are cut to so many classes: more cannot be read."""


def confusion(arms: Mapping[str, Mapping[int, Run]]) -> dict[str, Any] | None:
    """Count the test rows by label (rows of the matrix) and given class (columns), means over the seeds.

    `classes`, and a matrix for each of `distilled`, `alone` and `teacher` that has answers; `cut` where only the 30
    classes are shown that are most often confused, all three taken together. None without labels, for a sigmoid head,
    and where there are no test rows.
    Raises: MismatchError for runs that answered other rows.
    """
    answers = {who: found for who in (DISTILLED, ALONE) if (found := _answers(arms.get(who, {}), "student"))}
    taught = _answers(arms[DISTILLED], "teacher")[:1]  # one teacher: it answers all seeds alike
    everybody = {**answers, "teacher": taught} if taught else answers
    first = next(iter(answers.values()), [None])[0]
    if first is None or first.labels is None or first.labels.ndim != 1:
        return None
    matrices = {
        who: torch.stack([_counts(aligned(one, first.ids, f"A run ({who})")) for one in found]).mean(0)
        for who, found in everybody.items()
    }
    shown = most_confused(torch.stack([*matrices.values()]).sum(0))
    names = class_names(next(iter(arms[DISTILLED].values())), first.logits.shape[1])
    return {
        "classes": [names[number] for number in shown.tolist()],
        **{who: matrix[shown][:, shown].tolist() for who, matrix in matrices.items()},
        "cut": len(shown) < len(names),
    }


def _answers(runs: Mapping[int, Run], who: str) -> list[Predictions]:
    found = (runs[seed].predictions(who, "test") for seed in sorted(runs))
    return [one for one in found if one is not None]


def _counts(answers: Predictions) -> Tensor:
    """(C, C) float64."""
    assert answers.labels is not None  # the caller has looked at the first, and all answered the same rows
    classes = answers.logits.shape[1]
    pairs = answers.labels * classes + answers.logits.argmax(-1)
    return pairs.bincount(minlength=classes**2).view(classes, classes).double()


def most_confused(matrix: Tensor, most: int = MOST_CLASSES) -> Tensor:
    """The classes with the largest sums off the diagonal, rows and columns together, ascending.  (C, C) -> (<= most,).

    >>> most_confused(torch.tensor([[9.0, 0.0, 1.0], [0.0, 9.0, 0.0], [2.0, 0.0, 9.0]]), most=2)
    tensor([0, 2])
    """
    off = matrix - matrix.diag().diag()
    return (off.sum(0) + off.sum(1)).argsort(descending=True, stable=True)[:most].sort().values
