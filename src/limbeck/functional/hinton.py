"""Matching softened distributions.

Shape legend, this file:  ... any leading axes, C classes.
"""

from torch import Tensor

from limbeck._checks import check_positive, check_same_shape
from limbeck.functional.divergences import forward_kl


def hinton_kd(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """T^2 · KL(p_T || q_T) at T = `temperature`, in nats times T^2.  (..., C), (..., C) -> (...).

    Range: [0, inf]. Zero iff the tempered distributions agree. The gradient in the student's logits is exactly
    T (q_T - p_T); as T grows, the value tends to `logit_matching`.
    Raises: ArgumentError on shape mismatch, or if temperature is not a positive finite number.
    Reference: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015, section 2.

    >>> import torch
    >>> teacher = torch.tensor([[2.0, 7.0, 10.0]])
    >>> hinton_kd(torch.zeros(1, 3), teacher, temperature=4.0)
    tensor([3.7614])
    """
    check_same_shape("hinton_kd", student=student, teacher=teacher)
    check_positive("hinton_kd", temperature=temperature)
    # d KL(p_T || q_T) / d student = (q_T - p_T) / T, and q_T - p_T itself shrinks like 1/T, so the gradient falls like
    # 1/T^2. The factor keeps the soft term's share beside a hard-label term when T changes. It is not optional:
    # a loss whose scale depends on whether a flag was set is how weights stop carrying over.
    return temperature**2 * forward_kl(student, teacher, temperature=temperature)
