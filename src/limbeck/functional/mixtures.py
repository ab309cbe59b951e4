"""Several teachers as one, and how far they differ.

A mixture is returned as logits L such that softmax(L / T) is the mixture's distribution at T. So whatever takes a
single teacher's logits and a temperature takes a mixture's, provided that it is *the same* temperature: the arithmetic
mixture's distribution at T is not a tempering of its distribution at 1.

Shape legend, this file:  M members, B rows (any number of axes), C classes.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from limbeck._checks import check_positive, check_weights
from limbeck.functional._numerics import expectation, tempered_log_softmax, widened


def arithmetic_mixture(logits_MBC: Tensor, *, temperature: float, weights: Iterable[float] | None = None) -> Tensor:
    """L = T log sum_m w_m softmax(z_m / T): logits of the weighted mean of probs.  (M, ..., C) -> (..., C).

    softmax(L / T) is the mean of the members' distributions at T. Weights are scaled to sum to 1; None: equal weights.
    Range: (-inf, 0], and -inf for a class that every member of positive weight rules out.
    Raises: ArgumentError if temperature is not a positive finite number, or weights are not M numbers of at least zero
    with one above it.
    Reference: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015, section 2.

    >>> import torch
    >>> members = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]]).log()
    >>> arithmetic_mixture(members, temperature=1.0).softmax(-1)
    tensor([[0.7000, 0.3000]])
    """
    check_positive("arithmetic_mixture", temperature=temperature)
    log_probs_MBC = tempered_log_softmax(logits_MBC, temperature)
    return temperature * _log_mean(log_probs_MBC, _normalised("arithmetic_mixture", weights, log_probs_MBC))


def geometric_mixture(logits_MBC: Tensor, *, temperature: float, weights: Iterable[float] | None = None) -> Tensor:
    """L = sum_m w_m z_m: logits of the weighted geometric mean of probs.  (M, ..., C) -> (..., C).

    softmax(L / T) is proportional to prod_m softmax(z_m / T)_c ^ w_m at every T: here, unlike in `arithmetic_mixture`,
    the temperature cancels. It is asked for so that either can stand where a mixture is called for.
    Weights are scaled to sum to 1; None: equal weights. A class is out if any member of positive weight rules it out.
    Raises: ArgumentError if temperature is not a positive finite number, or weights are not M numbers of at least zero
    with one above it.
    Reference: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015, section 2.

    >>> import torch
    >>> members = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]]).log()
    >>> geometric_mixture(members, temperature=1.0).softmax(-1)  # 3 : 1
    tensor([[0.7500, 0.2500]])
    """
    check_positive("geometric_mixture", temperature=temperature)
    wide_MBC = widened(logits_MBC)
    return expectation(_normalised("geometric_mixture", weights, wide_MBC), wide_MBC.movedim(0, -1))


def disagreement(logits_MBC: Tensor, *, temperature: float, weights: Iterable[float] | None = None) -> Tensor:
    """H(mean of p_m) - mean of H(p_m), p_m = softmax(z_m / T), in nats.  (M, ..., C) -> (...).

    The generalised Jensen-Shannon divergence of the members: what a member's identity tells about the class.
    Range: [0, log M]. Zero iff all members of positive weight agree.
    Weights are scaled to sum to 1; None: equal weights.
    Raises: ArgumentError if temperature is not a positive finite number, or weights are not M numbers of at least zero
    with one above it.
    Reference: Lin, Divergence Measures Based on the Shannon Entropy, 1991, section V.

    >>> import torch
    >>> members = torch.tensor([[[50.0, -50.0]], [[-50.0, 50.0]]])
    >>> disagreement(members, temperature=1.0)  # log 2
    tensor([0.6931])
    """
    check_positive("disagreement", temperature=temperature)
    log_probs_MBC = tempered_log_softmax(logits_MBC, temperature)
    weights_M = _normalised("disagreement", weights, log_probs_MBC)
    # H(mean) - mean H = mean_m KL(p_m || mean), which does not subtract two large numbers.
    divergence_MB = expectation(log_probs_MBC.exp(), log_probs_MBC - _log_mean(log_probs_MBC, weights_M))
    return expectation(weights_M, divergence_MB.movedim(0, -1))


def _log_mean(log_probs_MBC: Tensor, weights_M: Tensor) -> Tensor:
    per_member = weights_M.log().view(-1, *[1] * (log_probs_MBC.dim() - 1))
    # Where all members are -inf, logsumexp has a derivative of NaN: there it is taken at a floor, and -inf put back.
    # (Of M floors it is the floor: log M is far below its precision.)
    floor = torch.finfo(log_probs_MBC.dtype).min
    log_mean_BC = (log_probs_MBC + per_member).clamp_min(floor).logsumexp(0)
    return log_mean_BC.masked_fill(log_mean_BC == floor, -torch.inf)


def _normalised(caller: str, weights: Iterable[float] | None, like_MBC: Tensor) -> Tensor:
    members = like_MBC.shape[0]
    checked = check_weights(caller, [1.0] * members if weights is None else weights, members)
    total = sum(checked)
    return torch.tensor([weight / total for weight in checked], dtype=like_MBC.dtype, device=like_MBC.device)
