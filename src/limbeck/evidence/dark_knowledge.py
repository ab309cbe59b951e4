"""What soft targets tell beyond the label: which classes look alike, how unsure they are, how rows of a class differ.

Shape legend, this file:  N rows, C classes.
"""

import math
from typing import Any

import torch
from torch import Tensor

from limbeck.evidence.answers import class_names, targets_of, teacher_on
from limbeck.evidence.confusion import most_confused
from limbeck.functional.divergences import forward_kl
from limbeck.functional.softmax import entropy
from limbeck.knowledge import shown_logits
from limbeck.targets.store import Targets
from limbeck.training.run import Run

HISTOGRAM_BINS = 20
"""Of the entropies, between 0 and log C."""


def dark_knowledge(run: Run, targets: Targets | None, temperature: float) -> dict[str, Any] | None:
    """Describe the soft targets of the training rows at a temperature.

    `similarity`: by true class, the mean soft target. `entropy`: of the rows' targets in nats, `mean` and a histogram
    (`edges`, one more than `counts`). `within`: by class, the mean KL from a row's target to the mean of its class in
    nats, which is the mutual information of row and prediction: zero iff every row of the class says the same, so that
    the class's name would have told as much. Of top-k targets, the tail is spread evenly over the other classes. Of
    more than 30 classes, those are shown that the targets mix most (`cut`).

    Args:
        run: a distilled run.
        targets: what it was taught from; None for what its specification names.
        temperature: at which the targets are looked at, > 0.

    Returns: None for a sigmoid head, without labels, and where the teacher's answers at this temperature are not known.
    """
    rows = run.predictions("student", "train")
    if rows is None or rows.labels is None or rows.labels.ndim != 1 or run.spec["head"] != "softmax":
        return None
    knowledge = teacher_on(run, "train", rows.ids, targets_of(run) if targets is None else targets)
    logits = None if knowledge is None else shown_logits(knowledge, temperature)
    if logits is None:
        return None
    tempered = logits.double() / temperature
    probs, counts = tempered.softmax(-1), rows.labels.bincount(minlength=logits.shape[1])
    similarity = _class_means(probs, rows.labels, counts)
    to_mean = forward_kl(similarity.log()[rows.labels], tempered)
    within = _class_means(to_mean.unsqueeze(-1), rows.labels, counts).squeeze(-1)
    shown, names = most_confused(similarity.nan_to_num(0.0)), class_names(run, logits.shape[1])
    return {
        "temperature": temperature,
        "classes": [names[number] for number in shown.tolist()],
        "similarity": [_finite(row) for row in similarity[shown][:, shown]],
        "entropy": _entropies(tempered),
        "within": dict(zip([names[number] for number in shown.tolist()], _finite(within[shown]), strict=True)),
        "cut": len(shown) < len(names),
    }


def _class_means(values: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Mean over the rows of each class; NaN for a class without rows.  (N, K), (N,), (C,) -> (C, K)."""
    sums = values.new_zeros(len(counts), values.shape[1]).index_add(0, labels, values)
    return sums / counts.unsqueeze(-1)


def _entropies(tempered: Tensor) -> dict[str, Any]:
    found, most = entropy(tempered, temperature=1.0), math.log(tempered.shape[1])
    counts = torch.histc(found.clamp(0, most), HISTOGRAM_BINS, 0, most)
    edges = torch.linspace(0, most, HISTOGRAM_BINS + 1, dtype=torch.float64)
    return {"mean": float(found.mean()), "edges": edges.tolist(), "counts": counts.long().tolist()}


def _finite(values: Tensor) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]
