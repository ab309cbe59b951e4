"""How far a decoded target is from the teacher's distribution, in a way that serves every encoding.

p is the teacher's distribution at T, q a student's at T. What a student is pulled towards is a distribution p' too:
the gradient in its logits of what it is trained on is q - p' (times T, for T² · divergence), where q - p would be that
of the teacher itself.

- A dense answer, low-rank ones included: p' is what was decoded.
- Top-k: the divergence of the coarsened distributions, kept classes and one bucket for the rest, has the gradient
  q - p' with p' as decoded on the kept classes, and the bucket's weight spread over the others as the student's own q
  spreads it. So p' depends on q, and what the coarsening hides is KL(p || p'), to the precision of what is stored:
  KL(p || q) is the coarse divergence and the bucket's weight times the divergence within it.
- Sampled: p' is the draws' own distribution. Its expectation is p; it is all noise and no bias.

Shape legend, this file:  B rows, C classes, K kept or drawn classes, R repeated encodings.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.types import Answer, Dense, Sampled


@dataclass(frozen=True, kw_only=True)
class Error:
    """Means over rows; of a sampled encoding, over its draws too."""

    gradient: float
    """E||p' - p||² / E||q - p||²: the squared error of the gradient in the student's logits, relative to its square."""
    bias: float
    """The part of it that stays when a row is encoded again and again: of its expectation."""
    variance: float
    """The part of it that averages out."""
    total_variation: float
    """Half of E||p' - p||_1."""
    kl: float | None
    """E KL(p || p') in nats; None where p' leaves out classes that p allows: there it is infinite."""
    student_kl: float
    """E KL(p || q), the student's own distance, to compare with."""


def pulled_towards(answer: Answer, q_BC: Tensor, temperature: float) -> Tensor:
    """The distribution p' that the gradient of training on an answer pulls a student at q towards.  -> (B, C)."""
    if isinstance(answer, Dense):
        return (answer.logits.to(q_BC.dtype) / temperature).softmax(-1)
    if isinstance(answer, Sampled):
        return torch.zeros_like(q_BC).scatter_add_(1, answer.ids, answer.weights.to(q_BC.dtype))
    others_BC = q_BC.scatter(1, answer.ids, 0.0)
    tail_B1 = answer.tail_log_prob.to(q_BC.dtype).exp().unsqueeze(1)
    spread_BC = others_BC * (tail_B1 / others_BC.sum(1, keepdim=True))
    return spread_BC.scatter(1, answer.ids, answer.log_probs.to(q_BC.dtype).exp())


def mean_error(p_BC: Tensor, q_BC: Tensor, answers_R: Sequence[Answer], temperature: float) -> Error:
    """Compare what was decoded with what was encoded; several answers are draws of one encoding, apart by their keys.

    With R answers the squared error of their mean has bias² + variance / R, so that the bias is told without that part.
    """
    pulled_RBC = torch.stack([pulled_towards(answer, q_BC, temperature) for answer in answers_R])
    square = (q_BC - p_BC).square().sum(-1).mean()
    repeats = len(answers_R)
    error = (pulled_RBC - p_BC).square().sum(-1).mean()
    variance = pulled_RBC.var(0).sum(-1).mean() if repeats > 1 else torch.zeros(())
    of_mean = (pulled_RBC.mean(0) - p_BC).square().sum(-1).mean()
    kl = _kl(p_BC, pulled_RBC[0])
    return Error(
        gradient=float(error / square),
        bias=float((of_mean - variance / repeats) / square),
        variance=float(variance / square),
        total_variation=float((pulled_RBC - p_BC).abs().sum(-1).mean() / 2),
        kl=kl if math.isfinite(kl) else None,
        student_kl=_kl(p_BC, q_BC),
    )


def _kl(p_BC: Tensor, other_BC: Tensor) -> float:
    return float(torch.where(p_BC > 0, p_BC * (p_BC / other_BC).log(), 0.0).sum(-1).mean())
