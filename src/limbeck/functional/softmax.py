"""Distributions at a temperature, and how uncertain they are.

Shape legend, this file:  ... any leading axes, C classes.
"""

from torch import Tensor

from limbeck._checks import check_positive
from limbeck.functional._numerics import expectation, tempered_log_softmax, widened


def softmax_at(logits: Tensor, *, temperature: float) -> Tensor:
    """softmax(logits / temperature): probs.  (..., C) -> (..., C).

    Range: [0, 1], each row sums to 1. A higher temperature is softer; the order of the classes does not change.
    Raises: ArgumentError if temperature is not a positive finite number.
    Reference: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015, equation 1.

    >>> import torch
    >>> softmax_at(torch.tensor([2.0, 7.0, 10.0]), temperature=4.0)
    tensor([0.0842, 0.2938, 0.6220])
    """
    check_positive("softmax_at", temperature=temperature)
    return (widened(logits) / temperature).softmax(-1)


def log_softmax_at(logits: Tensor, *, temperature: float) -> Tensor:
    """log softmax(logits / temperature): log_probs, in nats.  (..., C) -> (..., C).

    Range: (-inf, 0], and -inf for a class whose logit is -inf.
    Raises: ArgumentError if temperature is not a positive finite number.
    Reference: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015, equation 1.

    >>> import torch
    >>> log_softmax_at(torch.tensor([0.0, 0.0]), temperature=4.0)
    tensor([-0.6931, -0.6931])
    """
    check_positive("log_softmax_at", temperature=temperature)
    return tempered_log_softmax(logits, temperature)


def entropy(logits: Tensor, *, temperature: float) -> Tensor:
    """H(p) = - sum_c p_c log p_c with p = softmax(logits / temperature), in nats.  (..., C) -> (...).

    Range: [0, log C]. Zero iff one class has all the probability; log C iff the distribution is uniform.
    Raises: ArgumentError if temperature is not a positive finite number.
    Reference: Shannon, A Mathematical Theory of Communication, 1948.

    >>> import torch
    >>> entropy(torch.zeros(4), temperature=1.0)  # log 4
    tensor(1.3863)
    """
    check_positive("entropy", temperature=temperature)
    log_probs = tempered_log_softmax(logits, temperature)
    return -expectation(log_probs.exp(), log_probs)
