"""Biases on the logits that bring a finished model's mean probabilities to a known class prior.

Shape legend, this file:  N rows, C classes, M groups of classes.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.errors import ArgumentError
from limbeck.functional._numerics import widened

_WITHIN = 1e-10
"""How far the mean probabilities may be from the prior."""

_ROUNDING, _MOST_STEPS = 1e-14, 500
"""Relative error of a sum of float64 numbers; steps after which logits count as too far apart."""


def bias_for_prior(
    logits_NC: Tensor, prior_C: Tensor, *, classes: Sequence[int] | None = None, shared: bool = False
) -> Tensor:
    """b such that mean_n softmax(z_n + b)_k = prior_k for each named class k, in nats.  (N, C), (C,) -> (C,).

    For a model that saw the classes in other proportions than they come in, or some of them never: the rows must be
    distributed as the prior says. No label is needed. b minimises mean_n logsumexp(z_n + b) - prior · b, which is
    convex, of the gradient mean_n softmax(z_n + b) - prior. It is zero for the classes that are not named, and sums to
    zero where all are named, since a constant added to all logits changes nothing. Solved in float64 to 1e-10, returned
    in the type of the logits (float32 for half types). Range: finite, of either sign.

    Args:
        logits_NC: the model's logits on N rows, finite.
        prior_C: probability of each class; those of classes that are not named are not read.
        classes: numbers of the classes that get a bias; None for all.
        shared: one common bias for all named classes, such that their mean probabilities together are their priors
            together; some class must be left out.

    Raises: ArgumentError for shapes other than (N, C) and (C,) with at least one row, logits that are not finite,
    classes that are not distinct numbers in [0, C), a prior of a named class outside (0, 1), priors that do not sum to
    1 where all classes are named or leave nothing to the others where not, a shared bias of all classes, and logits
    too far apart for a bias to be found (hundreds of nats).
    Reference: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015, section 3, where such biases
    were set by the test errors; Saerens, Latinne & Decaestecker, Adjusting the Outputs of a Classifier to New a Priori
    Probabilities, 2002.

    >>> import torch
    >>> logits = torch.tensor([[0.0, 0.0, 0.0]])  # one row, a third for each class
    >>> bias_for_prior(logits, torch.tensor([0.5, 0.0, 0.0]), classes=[0])  # log 2: then 2 to 1 to 1
    tensor([0.6931, 0.0000, 0.0000])
    """
    _check_inputs(logits_NC, prior_C)
    count = logits_NC.shape[1]
    named = _named(classes, count, shared)
    left_out = [number for number in range(count) if number not in set(named)]
    prior = prior_C.detach().to(logits_NC.device, torch.float64)[named]
    prior_M = torch.cat((prior.sum(0, keepdim=True) if shared else prior, _rest(prior, whole=not left_out)))
    # Classes with a common bias, and those with none, are as one class each, of the logit logsumexp of theirs.
    groups = [*([named] if shared else [[number] for number in named]), *([left_out] if left_out else [])]
    rows = logits_NC.detach().double()
    offsets_M = _offsets(torch.stack([rows[:, group].logsumexp(1) for group in groups], 1), prior_M / prior_M.sum())
    offsets_M = offsets_M - (offsets_M[-1] if left_out else offsets_M.mean())
    bias = rows.new_zeros(count)
    bias[named] = offsets_M[:1] if shared else offsets_M[: len(named)]
    return bias.to(widened(logits_NC).dtype)


def _check_inputs(logits_NC: Tensor, prior_C: Tensor) -> None:
    if logits_NC.dim() != 2 or not logits_NC.numel() or prior_C.shape != logits_NC.shape[1:]:
        got = f"logits {tuple(logits_NC.shape)}, prior {tuple(prior_C.shape)}"
        raise ArgumentError(f"bias_for_prior: logits must be (N, C) with rows, and the prior (C,). Got {got}.")
    if not logits_NC.isfinite().all():
        raise ArgumentError("bias_for_prior: logits must be finite numbers.")


def _named(classes: Sequence[int] | None, count: int, shared: bool) -> list[int]:
    named = list(range(count)) if classes is None else list(classes)
    if not named or len(set(named)) < len(named) or not all(0 <= number < count for number in named):
        raise ArgumentError(f"bias_for_prior: classes must be distinct numbers in [0, {count}). Got {named}.")
    if shared and len(named) == count:
        raise ArgumentError("bias_for_prior: a bias that all classes share changes nothing; leave a class out.")
    return named


def _rest(prior: Tensor, *, whole: bool) -> Tensor:
    """What the prior leaves to the classes that are not named: (1,), or (0,) where all of them are."""
    if not ((prior > 0) & (prior < 1)).all():
        raise ArgumentError(f"bias_for_prior: the prior of a named class must lie in (0, 1). Got {prior.tolist()}.")
    total = float(prior.sum())
    if whole and not math.isclose(total, 1.0, abs_tol=1e-5):
        raise ArgumentError(f"bias_for_prior: the prior of all classes must sum to 1. Got a sum of {total:g}.")
    if not whole and total >= 1:
        raise ArgumentError(
            f"bias_for_prior: the prior of the named classes must leave some to the others. Got a sum of {total:g}."
        )
    return prior.new_tensor([] if whole else [1 - total])


def _offsets(scores_NM: Tensor, prior_M: Tensor) -> Tensor:
    """b, (M,), with mean softmax(scores + b) = prior, up to a constant. Raises: ArgumentError where none is found.

    Each step is the better of two: Newton's, whole or damped, and b + log(prior / mean), the scaling of Sinkhorn, which
    never makes the convex function greater and takes over where softmax is so sure that no curvature is left.
    """
    bias = torch.zeros_like(prior_M)
    for _ in range(_MOST_STEPS):
        log_probs = (scores_NM + bias).log_softmax(1)
        log_mean = log_probs.logsumexp(0) - math.log(len(scores_NM))
        gap = log_mean.exp() - prior_M
        if gap.abs().max() <= _WITHIN / 100:
            return bias
        scaled = bias + prior_M.log() - log_mean
        enough = _value(scores_NM, scaled, prior_M)
        enough += _ROUNDING * (1 + abs(enough))  # near the end values are equal, and Newton's step is the better one
        steps = (bias + step for step in _newton_steps(log_probs.exp(), gap))
        bias = next((step for step in steps if _value(scores_NM, step, prior_M) <= enough), scaled)
    if float(((scores_NM + bias).softmax(1).mean(0) - prior_M).abs().max()) <= _WITHIN:
        return bias
    raise ArgumentError(
        f"bias_for_prior: the logits are too far apart for a bias to be found in {_MOST_STEPS} steps; has the model "
        "diverged?"
    )


def _newton_steps(probs_NM: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
    """Newton's step and the damped one, which may be taken from anywhere.

    The third derivative along a step d is at most (max d - min d) times the second: damped by log(1 + w) / w, with
    that width w, the step never makes the function greater. Reference: Sun & Tran-Dinh, Generalized Self-Concordant
    Functions, 2019, section 3.
    """
    curvature = probs_NM.mean(0).diag() - probs_NM.T @ probs_NM / len(probs_NM)
    whole = -torch.linalg.pinv(curvature, hermitian=True) @ gap
    width = float(whole.max() - whole.min())
    return whole, whole * (math.log1p(width) / width if width > 0 else 1.0)


def _value(scores_NM: Tensor, bias: Tensor, prior_M: Tensor) -> float:
    return float((scores_NM + bias).logsumexp(1).mean() - prior_M @ bias)
