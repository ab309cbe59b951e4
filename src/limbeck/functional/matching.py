"""Matching logits.

Shape legend, this file:  ... any leading axes, C classes.
"""

from torch import Tensor

from limbeck._checks import check_same_shape
from limbeck.functional._numerics import widened


def logit_matching(student: Tensor, teacher: Tensor) -> Tensor:
    """Half the mean over classes of the squared difference of centred logits.  (..., C), (..., C) -> (...).

    The limit of `hinton_kd` as the temperature grows. Unit: logits squared. Symmetric.
    Range: [0, inf). Zero iff the logits differ by a constant, that is iff the distributions agree.
    All logits must be finite: no distance to a logit of -inf means anything, and the result is not finite there.
    Raises: ArgumentError on shape mismatch.
    Reference: Ba & Caruana, Do Deep Nets Really Need to be Deep?, 2014; Hinton, Vinyals & Dean, 2015, equation 4.

    >>> import torch
    >>> logit_matching(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0]))
    tensor(0.5000)
    """
    check_same_shape("logit_matching", student=student, teacher=teacher)
    # The difference of centred logits is the centred difference.
    difference = widened(student) - widened(teacher)
    return (difference - difference.mean(-1, keepdim=True)).square().mean(-1) / 2
