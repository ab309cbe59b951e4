"""Scores of a finished model, row by row: right or wrong, sure or unsure, like its teacher or not.

Shape legend, this file:  ... any leading axes, C classes, K bins.
"""

from torch import Tensor
from torch.nn.functional import one_hot

from limbeck._checks import check_label_per_row, check_labels, check_positive, check_same_shape
from limbeck.functional._numerics import surprise, widened


def agreement(student: Tensor, teacher: Tensor) -> Tensor:
    """1 where student and teacher prefer the same class, else 0, in float32.  (..., C), (..., C) -> (...).

    Of tied classes the first is preferred. Symmetric.
    Raises: ArgumentError on shape mismatch.
    Reference: Stanton et al., Does Knowledge Distillation Really Work?, NeurIPS 2021.

    >>> import torch
    >>> agreement(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([[0.0, 9.0], [9.0, 0.0]]))
    tensor([1., 0.])
    """
    check_same_shape("agreement", student=student, teacher=teacher)
    return (student.argmax(-1) == teacher.argmax(-1)).float()


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """1 where the preferred class is the label, else 0, in float32.  (..., C), (...) -> (...).

    Of tied classes the first is preferred.
    Raises: ArgumentError if labels lack the shape of logits without the last axis, are no integers, or leave [0, C).

    >>> import torch
    >>> accuracy(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([1, 0]))
    tensor([1., 0.])
    """
    check_label_per_row("accuracy", labels, logits)
    check_labels("accuracy", labels, logits.shape[-1])
    return (logits.argmax(-1) == labels).float()


def nll(logits: Tensor, labels: Tensor) -> Tensor:
    """- log q[label] with q = softmax(logits), in nats.  (..., C), (...) -> (...).

    As a score what `cross_entropy` is as a loss: the same number. Range: [0, inf].
    Raises: ArgumentError if labels lack the shape of logits without the last axis, are no integers, or leave [0, C).

    >>> import torch
    >>> nll(torch.zeros(1, 4), torch.tensor([3]))  # log 4
    tensor([1.3863])
    """
    return surprise("nll", widened(logits).log_softmax(-1), labels)


def brier(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over classes of (q_c - onehot(label)_c)^2 with q = softmax(logits).  (..., C), (...) -> (...).

    Range: [0, 2]. Zero iff the label's class has all the probability, two iff another class has it.
    Raises: ArgumentError if labels lack the shape of logits without the last axis, are no integers, or leave [0, C).
    Reference: Brier, Verification of Forecasts Expressed in Terms of Probability, 1950.

    >>> import torch
    >>> brier(torch.zeros(1, 2), torch.tensor([0]))
    tensor([0.5000])
    """
    check_label_per_row("brier", labels, logits)
    check_labels("brier", labels, logits.shape[-1])
    probs = widened(logits).softmax(-1)
    return (probs - one_hot(labels.long(), probs.shape[-1])).square().sum(-1)


def expected_calibration_error(logits: Tensor, labels: Tensor, *, bins: int = 15) -> Tensor:
    """Mean over rows of |accuracy - confidence| of the row's bin.  (..., C), (...) -> ().

    The one score here that is not per row: it needs all rows at once, and is not the mean of its values on parts.
    Rows are put in K bins of equal width, (k/K, (k+1)/K], by the probability of the preferred class. Biased upwards on
    few rows. Range: [0, 1]; zero for no rows.
    Raises: ArgumentError if bins is not positive, if labels lack the shape of logits without the last axis, are no
    integers, or leave [0, C).
    Reference: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.

    >>> import torch
    >>> four_times_80_percent = torch.tensor([[0.8, 0.2]] * 4).log()
    >>> expected_calibration_error(four_times_80_percent, torch.tensor([0, 0, 0, 1]))  # 80 % sure, 75 % right
    tensor(0.0500)
    """
    check_positive("expected_calibration_error", bins=bins)
    check_label_per_row("expected_calibration_error", labels, logits)
    check_labels("expected_calibration_error", labels, logits.shape[-1])
    confidence, preferred = widened(logits).softmax(-1).max(-1)
    bin_of_row = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    # (rows in bin / rows) · |accuracy - confidence| = |sum over the bin of (correct - confidence)| / rows
    excess = (preferred == labels).to(confidence.dtype) - confidence
    in_bin = confidence.new_zeros(bins).index_add(0, bin_of_row.flatten(), excess.flatten())
    return in_bin.abs().sum() / max(labels.numel(), 1)
