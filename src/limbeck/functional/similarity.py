"""How alike two representations of the same rows are, whatever their widths and axes.

Shape legend, this file:  N rows, P and Q features.
"""

import torch
from torch import Tensor

from limbeck.errors import ArgumentError
from limbeck.functional._numerics import widened


def linear_cka(first: Tensor, second: Tensor) -> Tensor:
    """Centred kernel alignment with linear kernels: |Y'X|² / (|X'X| |Y'Y|), columns centred.  (N, P), (N, Q) -> ().

    Range: [0, 1]. One iff the two are equal up to a shift, a rotation and one scale; zero iff every feature of one is
    uncorrelated with every feature of the other. Biased upwards where N is not much larger than P and Q, so that a
    value is read beside one between two runs of the same kind. NaN where either is the same for all rows. Symmetric.
    Raises: ArgumentError unless both are matrices with the same number of rows.
    Reference: Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, section 3.

    >>> import torch
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    >>> linear_cka(x, 3 * x.flip(-1) + 5)
    tensor(1.)
    """
    if first.dim() != 2 or second.dim() != 2 or len(first) != len(second):
        raise ArgumentError(
            "linear_cka: both must be matrices with the same number of rows. "
            f"Got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    x, y = _centred(first), _centred(second)
    if max(x.shape[1], y.shape[1]) <= len(x):
        shared, own = (y.T @ x).square().sum(), (x.T @ x).norm() * (y.T @ y).norm()
    else:  # |Y'X|² = tr(XX' YY'): of wide layers, matrices of rows are the smaller ones
        x_gram, y_gram = x @ x.T, y @ y.T
        shared, own = (x_gram * y_gram).sum(), x_gram.norm() * y_gram.norm()
    alike: Tensor = shared / own
    return alike.clamp(max=1)


def _centred(features: Tensor) -> Tensor:
    wide = widened(features)
    centred = wide - wide.mean(0)
    largest = centred.abs().max()
    # What rounding leaves of equal rows is no feature. One scale for all, which the ratio does not feel, keeps the
    # fourth powers of small activations from vanishing.
    noise = 8 * torch.finfo(wide.dtype).eps * wide.abs().max()
    return torch.where(largest > noise, centred / largest, torch.zeros_like(centred))
