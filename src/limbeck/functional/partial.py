"""What can be asked of a student when only a part of the teacher's distribution is known.

q is the student's distribution, p the teacher's.

Shape legend, this file:  ... any leading axes, C classes, K classes that are told apart, or draws.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from limbeck._checks import check_positive, check_same_shape
from limbeck.errors import ArgumentError
from limbeck.functional._numerics import expectation, tempered_log_softmax, widened


class Coarse(NamedTuple):
    """Two distributions over the same K + 1 events: each of K classes, and any of the others."""

    student: Tensor
    """(..., K+1) logits; the last is that of all others."""
    teacher: Tensor
    """(..., K+1) logits; the last is that of all others."""


def coarsened(
    student_logits: Tensor, ids: Tensor, log_probs: Tensor, tail_log_prob: Tensor, *, temperature: float
) -> Coarse:
    """Both distributions with all classes but K in one bucket.  (..., C), (..., K), (..., K), (...) -> 2 x (..., K+1).

    `ids` are K distinct classes a row, `log_probs` and `tail_log_prob` the teacher's *at* `temperature`: of each of
    them, and of all others together (-inf where nothing is left, as it always is where K = C). Of what is returned,
    softmax(coarse / temperature) are the distributions, so that every divergence takes it at that temperature. By the
    data-processing inequality no f-divergence of the coarse distributions is above that of the full ones; they are
    equal where p and q are proportional on the tail, and where K = C. The gradient reaches all C of the student's
    logits: within the tail, in proportion to q.

    Range: logits, with -inf for a class or a tail that has no probability.
    Raises: ArgumentError on shape mismatch, ids that are no integers in [0, C), or if temperature is not a positive
    finite number.
    Reference: Cover & Thomas, Elements of Information Theory, 2006, section 2.8 (data-processing inequality).

    >>> import torch
    >>> ids, log_probs = torch.tensor([[2]]), torch.tensor([[0.5]]).log()
    >>> student, teacher = coarsened(torch.zeros(1, 4), ids, log_probs, log_probs[:, 0], temperature=1.0)
    >>> student.softmax(-1), teacher.softmax(-1)
    (tensor([[0.2500, 0.7500]]), tensor([[0.5000, 0.5000]]))
    """
    _check_partial("coarsened", student_logits, ids)
    check_same_shape("coarsened", ids=ids, log_probs=log_probs)
    if tail_log_prob.shape != ids.shape[:-1]:
        got = f"tail_log_prob {tuple(tail_log_prob.shape)}, ids {tuple(ids.shape)}"
        raise ArgumentError(f"coarsened: tail_log_prob must have the shape of ids without their last axis. Got {got}.")
    check_positive("coarsened", temperature=temperature)
    wide = widened(student_logits)
    if ids.shape[-1] == wide.shape[-1]:
        tail_log_prob = torch.full_like(tail_log_prob, -torch.inf)
    # Of the K classes the logits as they are, of the others T log sum_c exp(z_c / T): summed over the others, since
    # 1 - sum over the K classes loses a small tail, and its gradient, to rounding.
    kept = _taken("coarsened", wide, ids)
    others = wide.scatter(-1, ids.long(), -torch.inf)
    student = torch.cat((kept, _tempered_sum(others, temperature)), -1)
    teacher = temperature * torch.cat((widened(log_probs), widened(tail_log_prob).unsqueeze(-1)), -1)
    return Coarse(student, teacher)


def sampled_cross_entropy(student_logits: Tensor, ids: Tensor, weights: Tensor, *, temperature: float) -> Tensor:
    """- sum_i w_i log q[id_i] at `temperature`, in nats.  (..., C), (..., K), (..., K) -> (...).

    Where the expected weight of a class is its probability under the teacher, this is an unbiased estimate of
    `soft_cross_entropy`, and its gradient of that function's gradient. No other divergence of the core can be
    estimated so: they are not linear in p. A class may come several times.
    Range: [0, inf] for weights that are not negative. That they sum to 1 is not checked.
    Raises: ArgumentError on shape mismatch, ids that are no integers in [0, C), or if temperature is not a positive
    finite number.
    Reference: Anshumann et al., Sparse Logit Sampling: Accelerating Knowledge Distillation in LLMs, ACL 2025.

    >>> import torch
    >>> ids, weights = torch.tensor([[3, 3, 0]]), torch.full((1, 3), 1 / 3)
    >>> sampled_cross_entropy(torch.zeros(1, 4), ids, weights, temperature=1.0)  # log 4
    tensor([1.3863])
    """
    _check_partial("sampled_cross_entropy", student_logits, ids)
    check_same_shape("sampled_cross_entropy", ids=ids, weights=weights)
    check_positive("sampled_cross_entropy", temperature=temperature)
    log_q = tempered_log_softmax(student_logits, temperature)
    return -expectation(widened(weights), _taken("sampled_cross_entropy", log_q, ids))


def _tempered_sum(logits: Tensor, temperature: float) -> Tensor:
    """T log sum_c exp(z_c / T), and -inf with gradient 0, not NaN, where every logit is.  (..., C) -> (..., 1)."""
    largest = logits.detach().amax(-1, keepdim=True).clamp_min(torch.finfo(logits.dtype).min)
    below = logits - largest
    total = (below if temperature == 1 else below / temperature).exp().sum(-1, keepdim=True)
    # The largest gives exp(0) = 1, so the sum is at least 1, or there was nothing to sum and it is 0.
    log_total = temperature * total.clamp_min(0.5).log()
    return (log_total + largest).masked_fill(total == 0, -torch.inf)


def _taken(caller: str, values: Tensor, ids: Tensor) -> Tensor:
    """values[..., ids].  (..., C), (..., K) -> (..., K).  Raises ArgumentError in the name of the caller."""
    try:
        return values.gather(-1, ids.long())
    except (IndexError, RuntimeError) as error:
        # The kernel looks at each index anyway: they are only gone through again to name the wrong one.
        classes = values.shape[-1]
        wrong = ids[(ids < 0) | (ids >= classes)]
        if not wrong.numel():
            raise
        raise ArgumentError(f"{caller}: ids must lie in [0, {classes}). Got {int(wrong[0])}.") from error


def _check_partial(caller: str, student_logits: Tensor, ids: Tensor) -> None:
    if ids.ndim != student_logits.ndim or ids.shape[:-1] != student_logits.shape[:-1] or not ids.shape[-1]:
        got = f"student_logits {tuple(student_logits.shape)}, ids {tuple(ids.shape)}"
        raise ArgumentError(f"{caller}: ids must have one or more classes for each row of student_logits. Got {got}.")
    if ids.dtype.is_floating_point or ids.dtype == torch.bool:
        raise ArgumentError(f"{caller}: ids must be integer class indices. Got dtype {ids.dtype}.")
