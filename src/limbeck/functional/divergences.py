"""How far a student's distribution is from a teacher's, row by row.

p is the teacher's distribution and q the student's, both at the same temperature; both are given as logits.

Shape legend, this file:  ... any leading axes, C classes.
"""

import torch
from torch import Tensor

from limbeck._checks import check_fraction, check_positive, check_same_shape
from limbeck.functional._numerics import expectation, tempered_log_softmax, widened


def soft_cross_entropy(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """H(p, q) = - sum_c p_c log q_c at `temperature`, in nats.  (..., C), (..., C) -> (...).

    Range: [0, inf]; at equality it is the teacher's entropy, not zero. Infinite where the student gives no probability
    to a class that the teacher allows. Its gradient in the student is that of `forward_kl`.
    Raises: ArgumentError on shape mismatch, or if temperature is not a positive finite number.
    Reference: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015, section 2.

    >>> import torch
    >>> uniform = torch.zeros(1, 2)
    >>> soft_cross_entropy(uniform, uniform)  # log 2
    tensor([0.6931])
    """
    check_same_shape("soft_cross_entropy", student=student, teacher=teacher)
    check_positive("soft_cross_entropy", temperature=temperature)
    log_q = tempered_log_softmax(student, temperature)
    log_p = tempered_log_softmax(teacher, temperature)
    return -expectation(log_p.exp(), log_q)


def forward_kl(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """KL(p || q) = sum_c p_c (log p_c - log q_c) at `temperature`, in nats.  (..., C), (..., C) -> (...).

    Range: [0, inf]. Zero iff the tempered distributions agree. Infinite where the student gives no probability to a
    class that the teacher allows; a class that the teacher rules out (a logit of -inf) contributes nothing.
    Raises: ArgumentError on shape mismatch, or if temperature is not a positive finite number.
    Reference: Kullback & Leibler, On Information and Sufficiency, 1951.

    >>> import torch
    >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.75, 0.25])
    >>> forward_kl(q.log(), p.log())  # 1/2 log(4/3)
    tensor(0.1438)
    """
    check_same_shape("forward_kl", student=student, teacher=teacher)
    check_positive("forward_kl", temperature=temperature)
    log_q = tempered_log_softmax(student, temperature)
    log_p = tempered_log_softmax(teacher, temperature)
    return expectation(log_p.exp(), log_p - log_q)


def reverse_kl(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """KL(q || p) = sum_c q_c (log q_c - log p_c) at `temperature`, in nats.  (..., C), (..., C) -> (...).

    Range: [0, inf]. Zero iff the tempered distributions agree. Infinite, and without a usable gradient, where the
    teacher rules out a class that the student allows: mask such classes in both.
    Raises: ArgumentError on shape mismatch, or if temperature is not a positive finite number.
    Reference: Gu et al., MiniLLM: Knowledge Distillation of Large Language Models, ICLR 2024.

    >>> import torch
    >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.75, 0.25])
    >>> reverse_kl(q.log(), p.log())  # 3/4 log(3/2) - 1/4 log 2
    tensor(0.1308)
    """
    check_same_shape("reverse_kl", student=student, teacher=teacher)
    check_positive("reverse_kl", temperature=temperature)
    log_q = tempered_log_softmax(student, temperature)
    log_p = tempered_log_softmax(teacher, temperature)
    return expectation(log_q.exp(), log_q - log_p)


def jensen_shannon(student: Tensor, teacher: Tensor, *, beta: float = 0.5, temperature: float = 1.0) -> Tensor:
    """beta KL(p || m) + (1 - beta) KL(q || m) with m = beta p + (1 - beta) q, in nats.  (..., C), (..., C) -> (...).

    Range: [0, h(beta)] for 0 < beta < 1, h the binary entropy (log 2 at beta = 1/2). Zero iff the tempered
    distributions agree; h(beta) iff they share no class. Symmetric at beta = 1/2 only.

    The expression itself vanishes at both ends, while its slopes there are the two Kullback-Leibler divergences:
    JS_beta / beta -> KL(p || q) as beta -> 0, and JS_beta / (1 - beta) -> KL(q || p) as beta -> 1. By the convention of
    generalised knowledge distillation beta = 0 returns `forward_kl` and beta = 1 returns `reverse_kl`, so the value
    jumps at both ends: a small beta above zero is a small loss, not nearly `forward_kl`.

    Raises: ArgumentError on shape mismatch, beta outside [0, 1], or a temperature that is not positive and finite.
    Reference: Agarwal et al., On-Policy Distillation of Language Models, ICLR 2024; Lin, Divergence Measures Based on
    the Shannon Entropy, 1991.

    >>> import torch
    >>> sure, sure_of_the_other = torch.tensor([50.0, -50.0]), torch.tensor([-50.0, 50.0])
    >>> jensen_shannon(sure, sure_of_the_other)  # log 2
    tensor(0.6931)
    """
    check_same_shape("jensen_shannon", student=student, teacher=teacher)
    check_fraction("jensen_shannon", beta=beta)
    check_positive("jensen_shannon", temperature=temperature)
    if beta == 0:
        return forward_kl(student, teacher, temperature=temperature)
    if beta == 1:
        return reverse_kl(student, teacher, temperature=temperature)
    log_q = tempered_log_softmax(student, temperature)
    log_p = tempered_log_softmax(teacher, temperature)
    p, q = log_p.exp(), log_q.exp()
    m = q.lerp(p, beta)
    # The floor is reached only where p and q are both zero or nearly: there log 0 would give the gradient 0 / 0.
    log_m = m.clamp_min(torch.finfo(m.dtype).tiny).log()
    return expectation(q, log_q - log_m).lerp(expectation(p, log_p - log_m), beta)


def total_variation(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Half the sum over classes of |p_c - q_c| at `temperature`.  (..., C), (..., C) -> (...).

    The largest difference that p and q can show on any set of classes: a probability, not nats. Symmetric.
    Range: [0, 1]. Zero iff the tempered distributions agree, one iff they share no class.
    Raises: ArgumentError on shape mismatch, or if temperature is not a positive finite number.
    Reference: Wen et al., f-Divergence Minimization for Sequence-Level Knowledge Distillation, ACL 2023.

    >>> import torch
    >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.75, 0.25])
    >>> total_variation(q.log(), p.log())
    tensor(0.2500)
    """
    check_same_shape("total_variation", student=student, teacher=teacher)
    check_positive("total_variation", temperature=temperature)
    p = (widened(teacher) / temperature).softmax(-1)
    q = (widened(student) / temperature).softmax(-1)
    return (p - q).abs().sum(-1) / 2
