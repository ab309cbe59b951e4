"""How the terms of the objective pulled: their gradients over training, and how much these differ between rows.

Shape legend, this file:  N rows, C classes or labels, P parameters, E probes.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import mean
from typing import Any

import torch

from limbeck.errors import LimbeckError
from limbeck.evidence.answers import targets_of, teacher_on
from limbeck.evidence.comparison import DISTILLED
from limbeck.evidence.gradient_variance import spread_and_size
from limbeck.evidence.rebuilt import Net, finished, fresh, or_none, rows_and_spec, some_rows
from limbeck.models import parameter_count
from limbeck.objective import HardLabels, Objective, Term
from limbeck.schedules import value_at
from limbeck.specification import from_json
from limbeck.targets.store import Targets
from limbeck.training.run import Run
from limbeck.types import Batch, Knowledge, LogitKnowledge

FEWEST_ROWS, MOST_ROWS = 16, 256
"""Training rows whose gradients are taken one by one."""

_IN_ALL = 2**26
"""Numbers that the gradients of all these rows together may have."""


def gradient_facts(arms: Mapping[str, Mapping[int, Run]], targets: Targets | None = None) -> dict[str, Any] | None:
    """Collect what the probes of the distilled runs measured, means over the seeds, and the variance between rows.

    `epoch`; `norms` by term, weighted (what the optimiser sees, weight, T² and all); `cosines` by pair ("a·b"), below
    zero where they pull apart; `balance`, the weights with the same total at which the mean norms of all terms
    over training would be equal (None for one term, for weights that change with the step, and for a term without any
    gradient); `variance`, as `gradient_variance` measures it at the first seed's student.

    Args:
        arms: finished runs by arm and seed; `distilled` is among them.
        targets: what the distilled runs were taught from; None for what their specification names.

    Returns: None where the distilled runs were not probed.
    """
    runs = [arms[DISTILLED][seed] for seed in sorted(arms[DISTILLED])]
    probes = [_probes(run) for run in runs]
    epochs = sorted(set.intersection(*(set(found) for found in probes)))
    if not epochs:
        return None
    terms = list(probes[0][epochs[0]]["norms"])
    norms = {name: [mean(found[at]["norms"][name] for found in probes) for at in epochs] for name in terms}
    cosines = {
        f"{a}·{b}": [_mean_cosine([found[at] for found in probes], a, b) for at in epochs]
        for a, b in combinations(terms, 2)
    }
    return {
        "epoch": epochs,
        "norms": norms,
        "cosines": cosines,
        "variance": variance_of_run(runs[0], targets),
        "balance": _balance(runs[0], norms),
    }


def _probes(run: Run) -> dict[float, dict[str, Any]]:
    return {record["epoch"]: record["gradients"] for record in run.records() if "gradients" in record}


def _mean_cosine(probes: Sequence[Mapping[str, Any]], a: str, b: str) -> float | None:
    """Mean over the seeds where neither gradient is zero; None where there is no such seed."""
    sizes = [found["norms"][a] * found["norms"][b] for found in probes]
    dots = [found["dots"][f"{a}·{b}"] for found in probes]
    known = [dot / size for dot, size in zip(dots, sizes, strict=True) if size > 0]
    return mean(known) if known else None


def _balance(run: Run, norms: Mapping[str, Sequence[float]]) -> dict[str, float] | None:
    objective = or_none(lambda: _objective(run))
    if objective is None or len(objective.parts) < 2 or any(callable(part.weight) for part in objective.parts):
        return None
    return balanced({name: value_at(part.weight, 0) for name, part in objective.terms.items()}, norms)


def balanced(weights: Mapping[str, float], norms: Mapping[str, Sequence[float]]) -> dict[str, float] | None:
    """The weights with the same total that would make the mean weighted norms equal; None where one is zero.

    >>> balanced({"soft": 0.5, "hard": 0.5}, {"soft": [3.0, 3.0], "hard": [1.0, 1.0]})
    {'soft': 0.25, 'hard': 0.75}
    """
    means = {name: mean(norms[name]) for name in weights}
    if any(not (weights[name] > 0 and means[name] > 0) for name in weights):
        return None
    # A norm is its weight times what the term alone would give, so that equal ones need weights of weight / norm.
    shares = {name: weights[name] / means[name] for name in weights}
    scale = sum(weights.values()) / sum(shares.values())
    return {name: scale * share for name, share in shares.items()}


def _objective(run: Run) -> Objective:
    found: Objective | Term = from_json(run.spec["specification"]["fields"]["objective"])
    return Objective(found.as_parts())


def variance_of_run(run: Run, targets: Targets | None = None) -> dict[str, Any] | None:
    """Measure how much the gradients of training rows differ, for soft targets and for labels, at a run's student.

    With g_i the gradient of one row's loss in all parameters, and ḡ their mean over N rows, the measure is
    Σ |g_i - ḡ|² / (N - 1) / |ḡ|²: the trace of the covariance by the squared norm of the mean. It has no unit, so that
    neither weights nor T² matter; a step on B rows has B times less of it. `soft` and `hard` are those of the student
    before the first step, `end` those of the finished one, in eval mode, on `rows` training rows (256, and fewer for a
    student of many parameters); the soft term is the objective's first with a teacher, at its first temperature, and
    `hard` the cross-entropy with the label.

    Returns: None where rows, student or the teacher's answers cannot be brought back, or a mean gradient is zero.
    Reference: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015, section 1: soft targets
    "provide much more information per training case than hard targets and much less variance in the gradient between
    training cases".
    """
    found = rows_and_spec(run)
    nets = or_none(lambda: (fresh(run), finished(run)))
    if found is None or nets is None or not found[0].train.labelled:
        return None
    splits, spec = found
    soft = next((term for _, term in spec.goal.parts if term.needs_teacher), None)
    most = max(FEWEST_ROWS, min(MOST_ROWS, _IN_ALL // max(parameter_count(nets[0].module), 1)))
    batch = or_none(lambda: some_rows(splits.train, most, nets, spec))
    if soft is None or batch is None or len(batch) < 2:
        return None
    taught = targets_of(run) if targets is None else targets
    knowledge = or_none(lambda: teacher_on(run, "train", batch.ids, taught))
    terms: dict[str, Term] = {"soft": soft, "hard": HardLabels()}
    try:
        start, end = ({name: _variance(net, batch, term, knowledge) for name, term in terms.items()} for net in nets)
    except LimbeckError:
        return None  # answers that are not known at this temperature, or a student that vmap cannot call
    if None in (*start.values(), *end.values()):
        return None
    return {**start, "rows": len(batch), "end": end, "seed": spec.seed}


def _variance(net: Net, batch: Batch, term: Term, knowledge: Knowledge | None) -> float | None:
    """The measure for one term. Given the logits, rows have nothing to do with one another in eval mode."""
    with torch.no_grad():
        answers = net.logits(batch)
    logits = answers.requires_grad_()
    values = term(LogitKnowledge(logits, net.head), knowledge, batch.labels, 0)
    (slopes,) = torch.autograd.grad(values.sum(), logits)
    spread, size = spread_and_size(net.module, batch.inputs[net.prepare], slopes)
    return spread / size if size > 0 and math.isfinite(spread / size) else None
