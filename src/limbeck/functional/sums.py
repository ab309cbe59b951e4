"""The one way to reduce: carry sums and counts, divide once at the end.

A mean of means weights rows by the size of the batch, the shard or the sequence that they happened to be in; sums and
counts add up to the same mean however the rows were split.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from limbeck._checks import check_same_shape
from limbeck.errors import ArgumentError


class Summed(NamedTuple):
    """A sum and the number of values in it. `+` adds both; `mean` divides.

    A NamedTuple, because torch takes those apart by itself: a function under `vmap` may return one.

    >>> import torch
    >>> (summed(torch.tensor([1.0, 2.0])) + summed(torch.tensor([6.0]))).mean()
    tensor(3.)
    """

    total: Tensor
    """Scalar, differentiable where the values were."""
    count: Tensor  # type: ignore[assignment]  # the number of values; tuple.count is of no use here
    """Scalar, int64."""

    def __add__(self, other: "Summed") -> "Summed":  # type: ignore[override]  # adds, where tuples would be joined
        """Sum of both."""
        return Summed(self.total + other.total, self.count + other.count)

    def mean(self) -> Tensor:
        """total / count, and 0 where there is nothing: an empty batch has no say."""
        return self.total / self.count.clamp_min(1)


def summed(values: Tensor) -> Summed:
    """Sum of all values, and how many there are.  (...) -> (), ().

    >>> import torch
    >>> summed(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    Summed(total=tensor(10.), count=tensor(4))
    """
    return Summed(values.sum(), torch.full((), values.numel(), device=values.device))


def masked_sum(values: Tensor, keep: Tensor) -> Summed:
    """Sum of the values where `keep` is True, and how many those are.  (...), (...) -> (), ().

    The mean is that of `values[keep]`, without a shape that depends on the data. What is not kept does not enter
    the sum, even if it is infinite or NaN.
    Raises: ArgumentError on shape mismatch, or if keep is not boolean.

    >>> import torch
    >>> masked_sum(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([True, True, False]))
    Summed(total=tensor(3.), count=tensor(2))
    """
    check_same_shape("masked_sum", values=values, keep=keep)
    if keep.dtype != torch.bool:
        raise ArgumentError(f"masked_sum: keep must be boolean. Got dtype {keep.dtype}.")
    return Summed(values.masked_fill(~keep, 0.0).sum(), keep.sum())
