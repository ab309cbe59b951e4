"""Hard labels: as a loss, smoothed, edited into soft targets, and for heads of independent labels.

Shape legend, this file:  ... any leading axes, C classes (softmax head) or independent labels (sigmoid head).
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from limbeck._checks import (
    check_fraction,
    check_label_per_row,
    check_labels,
    check_positive,
    check_probs,
    check_same_shape,
)
from limbeck.functional._numerics import expectation, surprise, widened


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """- log q[label] with q = softmax(logits), in nats.  (..., C), (...) -> (...).

    Range: [0, inf]. Zero iff the label's class has all the probability. Labels are integer class indices in [0, C).
    Raises: ArgumentError if labels lack the shape of logits without the last axis, are no integers, or leave [0, C).

    >>> import torch
    >>> cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]))  # log 4
    tensor([1.3863, 1.3863])
    """
    return surprise("cross_entropy", widened(logits).log_softmax(-1), labels)


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, *, smoothing: float) -> Tensor:
    """H(y, q) with y = (1 - smoothing) onehot(label) + smoothing / C, in nats.  (..., C), (...) -> (...).

    Range: [H(y), inf]; at smoothing = 0 it is `cross_entropy`, above that zero is out of reach.
    Raises: ArgumentError as `cross_entropy` does, or if smoothing lies outside [0, 1].
    Reference: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016, section 7.

    >>> import torch
    >>> smoothed_cross_entropy(torch.zeros(1, 4), torch.tensor([3]), smoothing=0.1)  # log 4, whatever the smoothing
    tensor([1.3863])
    """
    check_fraction("smoothed_cross_entropy", smoothing=smoothing)
    log_q = widened(logits).log_softmax(-1)
    hard = surprise("smoothed_cross_entropy", log_q, labels)
    if smoothing == 0:  # the other summand would be 0 · inf where a logit is -inf
        return hard
    return (1 - smoothing) * hard - smoothing * log_q.mean(-1)


def cross_entropy_with_probs(logits: Tensor, probs: Tensor) -> Tensor:
    """H(probs, q) = - sum_c probs_c log q_c with q = softmax(logits), in nats.  (..., C), (..., C) -> (...).

    Range: [0, inf]; at q = probs it is the entropy of probs, not zero. That rows of probs sum to 1 is not checked.
    Raises: ArgumentError on shape mismatch, or if probs are not floating-point numbers in [0, 1].

    >>> import torch
    >>> cross_entropy_with_probs(torch.zeros(1, 4), torch.tensor([[0.7, 0.1, 0.1, 0.1]]))  # log 4
    tensor([1.3863])
    """
    check_same_shape("cross_entropy_with_probs", logits=logits, probs=probs)
    check_probs("cross_entropy_with_probs", probs=probs)
    return expectation(widened(probs), -widened(logits).log_softmax(-1))


def smooth_labels(labels: Tensor, *, classes: int, smoothing: float) -> Tensor:
    """(1 - smoothing) onehot(label) + smoothing / C: probs.  (...) -> (..., C).

    Range: [0, 1], each row sums to 1. In torch's default floating-point type.
    Raises: ArgumentError if labels are not integers in [0, classes), or smoothing lies outside [0, 1].
    Reference: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016, section 7.

    >>> import torch
    >>> smooth_labels(torch.tensor([2]), classes=4, smoothing=0.4)
    tensor([[0.1000, 0.1000, 0.7000, 0.1000]])
    """
    check_positive("smooth_labels", classes=classes)
    check_labels("smooth_labels", labels, classes)
    check_fraction("smooth_labels", smoothing=smoothing)
    return (1 - smoothing) * _one_hot(labels, classes, torch.get_default_dtype()) + smoothing / classes


def edit_labels(teacher_logits: Tensor, labels: Tensor, *, temperature: float, weight: float) -> Tensor:
    """Mixture weight · onehot(label) + (1 - weight) · p_T: probs.  (..., C), (...) -> (..., C).

    The teacher's p_T = softmax(teacher_logits / temperature), edited towards the labels: the alternative to a weighted
    sum of two losses. Hinton, Vinyals & Dean found the weighted sum better; this is here to be compared with.
    Range: [0, 1], each row sums to 1. The teacher's own distribution at weight 0, the label at weight 1.
    Raises: ArgumentError as `cross_entropy` does, if weight lies outside [0, 1], or if temperature is not a positive
    finite number.
    Reference: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015, section 2.

    >>> import torch
    >>> edit_labels(torch.zeros(1, 4), torch.tensor([2]), temperature=4.0, weight=0.6)
    tensor([[0.1000, 0.1000, 0.7000, 0.1000]])
    """
    check_label_per_row("edit_labels", labels, teacher_logits)
    check_labels("edit_labels", labels, teacher_logits.shape[-1])
    check_positive("edit_labels", temperature=temperature)
    check_fraction("edit_labels", weight=weight)
    probs = (widened(teacher_logits) / temperature).softmax(-1)
    return weight * _one_hot(labels, probs.shape[-1], probs.dtype) + (1 - weight) * probs


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """- sum_c [y_c log q_c + (1 - y_c) log(1 - q_c)], q = sigmoid(logits), in nats.  (..., C), (..., C) -> (...).

    A sum over the C labels, not a mean: C independent questions carry C answers' worth of nats.
    Range: [0, inf); zero only in the limit of labels in {0, 1} that the logits are sure of. Logits must be finite.
    Raises: ArgumentError on shape mismatch, or if labels are not floating-point numbers in [0, 1].

    >>> import torch
    >>> binary_cross_entropy(torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 1.0]]))  # 3 log 2
    tensor([2.0794])
    """
    check_same_shape("binary_cross_entropy", logits=logits, labels=labels)
    check_probs("binary_cross_entropy", labels=labels)
    wide = widened(logits)
    return binary_cross_entropy_with_logits(wide, labels.to(wide.dtype), reduction="none").sum(-1)


def _one_hot(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    return one_hot(labels.long(), classes).to(dtype)
